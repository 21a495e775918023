//! All that happened to one hold: for those who look after the shop.

use serde_json::{Value, json};

use crate::kernel::{Instant, ReservationId};
use crate::platform::Fault;
use crate::reservations::query::Live;
use crate::reservations::record::State;
use crate::reservations::{FoundHold, Reservations, Status, hold_events_store};

/// Something that happened to a hold.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub at: Instant,
    /// What.
    pub event: String,
    /// By whom; none where nobody wrote it down.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What else there is to say.
    pub detail: Value,
}

impl Reservations {
    /// When, by whom and why a hold ended whose tombstone stands.
    pub(super) async fn end_in_redis(
        &self,
        id: ReservationId,
    ) -> Result<Option<(Instant, String, String)>, Fault> {
        let live = self.live(id).await?;
        let home = live.as_ref().map(Live::home).filter(|home| home.state == State::Ended);
        let end = home.and_then(|home| home.end.clone());
        Ok(end.map(|end| (Instant::from_ms(end.at_ms), end.actor, end.reason)))
    }

    /// All that is known to have happened to a hold, the oldest first.
    pub async fn hold_history(&self, found: &FoundHold) -> Result<Vec<Happened>, Fault> {
        let reservation = &found.reservation;
        let id = reservation.id;
        let mut history = vec![Happened {
            at: reservation.created_at,
            event: "held".to_owned(),
            actor: None,
            reason: None,
            detail: json!({ "items": reservation.items, "expires_at": reservation.expires_at }),
        }];
        let products: Vec<String> =
            reservation.items.iter().map(|item| item.product_id.to_string()).collect();
        let over = !matches!(reservation.status, Status::Held | Status::Confirming);
        let until = over.then_some(reservation.read_at);
        let db = &self.shared.db;
        history.extend(
            hold_events_store::happened(db, id, &products, reservation.created_at, until).await?,
        );
        let told = history.iter().any(|happened| {
            matches!(happened.event.as_str(), "cancelled" | "expired" | "confirmed")
        });
        if !told && let Some((at, actor, reason)) = self.end_in_redis(id).await? {
            let event =
                if reservation.status == Status::Cancelled { "cancelled" } else { "expired" };
            history.push(Happened {
                at,
                event: event.to_owned(),
                actor: Some(actor),
                reason: Some(reason),
                detail: json!({}),
            });
        }
        history.sort_by_key(|happened| happened.at);
        Ok(history)
    }
}
