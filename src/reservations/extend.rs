//! Moving the deadline of a hold forward, a limited number of times and up to a limited age.

use crate::kernel::{Instant, ReservationId, UserId};
use crate::reservations::ledger::Extended;
use crate::reservations::query::{Live, Status, ended_status};
use crate::reservations::record::State;
use crate::reservations::{EndError, Reservation, Reservations, history_store};

/// How often an extension starts over because another one came in between.
const ATTEMPTS: usize = 3;

impl Reservations {
    /// Adds `seconds` to the deadline.
    pub async fn extend(
        &self,
        id: ReservationId,
        viewer: Option<&UserId>,
        seconds: u32,
    ) -> Result<Reservation, EndError> {
        self.in_time(async {
            for _ in 0..ATTEMPTS {
                let live = self.extendable(id, viewer).await?;
                if let Some(extended) = self.extend_lines(live, seconds).await? {
                    return Ok(extended);
                }
            }
            Err(EndError::ExtensionLimit)
        })
        .await
    }

    async fn extendable(
        &self,
        id: ReservationId,
        viewer: Option<&UserId>,
    ) -> Result<Live, EndError> {
        let sees = |user: &UserId| viewer.is_none_or(|viewer| viewer == user);
        match self.live(id).await? {
            Some(live) if !sees(&live.home().user) => Err(EndError::NotFound),
            Some(live) if live.home().state == State::Held => match live.view().status {
                Status::Held => Ok(live),
                other => Err(EndError::of(other)),
            },
            Some(live) => Err(EndError::of(live.view().status)),
            None => match history_store::ended(&self.shared.db, id).await? {
                Some(ended) if sees(&ended.user) => Err(EndError::of(ended.status)),
                _ => Err(EndError::NotFound),
            },
        }
    }

    /// Count and deadline come from the home line and go to all of them. None: somebody else extended meanwhile.
    async fn extend_lines(
        &self,
        live: Live,
        seconds: u32,
    ) -> Result<Option<Reservation>, EndError> {
        let home = live.home().clone();
        let settings = self.shared.settings.load().reservation.clone();
        let deadline_ms = home.deadline_ms + i64::from(seconds) * 1_000;
        let oldest_ms = home.created_ms + settings.max_lifetime.as_millis() as i64;
        if home.extensions >= settings.max_extensions || deadline_ms > oldest_ms {
            return Err(EndError::ExtensionLimit);
        }
        self.move_lines(live, deadline_ms).await
    }

    /// Moves the deadline of every line to this one, and counts it as one extension.
    pub(super) async fn move_lines(
        &self,
        mut live: Live,
        deadline_ms: i64,
    ) -> Result<Option<Reservation>, EndError> {
        let home = live.home().clone();
        for at in 0..live.lines.len() {
            let name = live.lines[at].0.clone();
            let extend =
                || self.ledger.extend(&name.sku, live.id, &home.user, home.extensions, deadline_ms);
            match self.on_sku(&name, extend).await? {
                Extended::Until { deadline_ms } => {
                    live.lines[at].1.deadline_ms = deadline_ms;
                    self.moved_again(&name);
                }
                Extended::Meanwhile => return Ok(None),
                Extended::Gone { reason } => {
                    self.give_up(&live).await;
                    return Err(EndError::of(ended_status(&reason)));
                }
                Extended::Absent => return Err(EndError::NotFound),
                Extended::Sold => return Err(EndError::AlreadyConfirmed),
                Extended::Confirming => return Err(EndError::PaymentInProgress),
            }
        }
        let view = live.view();
        Ok(Some(Reservation {
            expires_at: view.expires_at.min(Instant::from_ms(deadline_ms)),
            ..view
        }))
    }

    /// One line of several is gone: the others go too, because nobody can have all of it any more.
    async fn give_up(&self, live: &Live) {
        let user = &live.home().user;
        for (name, _) in &live.lines {
            let cancel = || self.ledger.cancel(&name.sku, live.id, user, "clock", "expired", 0);
            if let Err(fault) = self.on_sku(name, cancel).await {
                tracing::warn!(error = fault.chain(), reservation.id = %live.id, "a line was left to its deadline");
            }
        }
    }
}
