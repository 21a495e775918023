//! Cancelling a hold. The home line decides: whoever pinned it first keeps the reservation.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::{ProductId, ReservationId, UserId};
use crate::platform::{Fault, metrics as names};
use crate::reservations::ledger::Cancelled;
use crate::reservations::query::{Live, Status};
use crate::reservations::record::Record;
use crate::reservations::{Reservation, Reservations, history_store};

/// The reason of holds that ended with their sale.
pub(super) const SALE_CLOSED: &str = "sale_closed";
const CANCELLED: &str = "cancelled";

/// Why a hold was not cancelled or extended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// There is no such reservation, or it is somebody else's.
    #[error("there is no such reservation")]
    NotFound,
    /// Its sale is being decided.
    #[error("the reservation is being confirmed")]
    PaymentInProgress,
    /// It is sold.
    #[error("the reservation is confirmed")]
    AlreadyConfirmed,
    /// It was cancelled.
    #[error("the reservation was cancelled")]
    Cancelled,
    /// It ran out.
    #[error("the reservation has expired")]
    Expired,
    /// It was extended as often, or to as long a life, as is allowed.
    #[error("the reservation cannot be extended further")]
    ExtensionLimit,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl EndError {
    /// What an end that was already there means for somebody who wanted another.
    pub(super) fn of(status: Status) -> Self {
        match status {
            Status::Held | Status::Confirming => Self::PaymentInProgress,
            Status::Confirmed => Self::AlreadyConfirmed,
            Status::Cancelled => Self::Cancelled,
            Status::Expired => Self::Expired,
        }
    }
}

impl Reservations {
    /// Cancels the hold; cancelling it again gives the same answer.
    pub async fn cancel(
        &self,
        id: ReservationId,
        viewer: Option<&UserId>,
        actor: &str,
    ) -> Result<Reservation, EndError> {
        self.in_time(async {
            let Some(live) = self.live(id).await? else {
                return self.cancelled_before(id, viewer).await;
            };
            let user = live.home().user.clone();
            if viewer.is_some_and(|viewer| *viewer != user) {
                return Err(EndError::NotFound);
            }
            self.cancel_lines(live, &user, actor, CANCELLED).await
        })
        .await
    }

    /// Cancels the one live hold of a buyer on a product.
    pub async fn cancel_by_product(
        &self,
        user: &UserId,
        product: ProductId,
        actor: &str,
    ) -> Result<Reservation, EndError> {
        self.in_time(async {
            let id = self.find(user, product).await?.ok_or(EndError::NotFound)?;
            self.cancel(id, Some(user), actor).await
        })
        .await
    }

    /// Ends the hold for another reason than its buyer's wish.
    pub(super) async fn cancel_because(
        &self,
        id: ReservationId,
        user: &UserId,
        actor: &str,
        reason: &str,
    ) -> Result<Reservation, EndError> {
        let live = self.live(id).await?.ok_or(EndError::NotFound)?;
        self.cancel_lines(live, user, actor, reason).await
    }

    async fn cancel_lines(
        &self,
        mut live: Live,
        user: &UserId,
        actor: &str,
        reason: &str,
    ) -> Result<Reservation, EndError> {
        for at in 0..live.lines.len() {
            let name = live.lines[at].0.clone();
            match self.cancel_line(live.id, &name, user, actor, reason).await? {
                Cancelled::Ended(record) => live.lines[at].1 = record,
                Cancelled::Confirming if at == 0 => return Err(EndError::PaymentInProgress),
                Cancelled::Sold if at == 0 => return Err(EndError::AlreadyConfirmed),
                Cancelled::Absent if at == 0 => {
                    return self.cancelled_before(live.id, Some(user)).await;
                }
                // Once the home line has ended, no confirm can take the others; they can only have ended too.
                Cancelled::Confirming | Cancelled::Sold | Cancelled::Absent => {}
            }
        }
        let reservation = live.view();
        match reservation.status {
            Status::Cancelled => {
                metrics::counter!(names::ENDS, "end" => "cancelled").increment(1);
                Ok(reservation)
            }
            other => Err(EndError::of(other)),
        }
    }

    async fn cancel_line(
        &self,
        id: ReservationId,
        name: &Arc<Name>,
        user: &UserId,
        actor: &str,
        reason: &str,
    ) -> Result<Cancelled, EndError> {
        let settings = self.shared.settings.load().reservation.clone();
        let counted = settings.churn_burst > 0 && reason == CANCELLED;
        let churn_ms = if !counted { 0 } else { settings.churn_interval.as_millis() as i64 };
        let cancel = || self.ledger.cancel(&name.sku, id, user, actor, reason, churn_ms);
        let cancelled = self.on_sku(name, cancel).await?;
        if let Cancelled::Ended(Record { end: Some(end), .. }) = &cancelled {
            self.shared.watch.of(name).ended_at(end.at_ms);
        }
        Ok(cancelled)
    }

    /// The end of a reservation that Redis no longer has.
    async fn cancelled_before(
        &self,
        id: ReservationId,
        viewer: Option<&UserId>,
    ) -> Result<Reservation, EndError> {
        let ended = history_store::ended(&self.shared.db, id).await?;
        let ended = ended.filter(|ended| viewer.is_none_or(|viewer| *viewer == ended.user));
        match ended {
            None => Err(EndError::NotFound),
            Some(ended) if ended.status == Status::Cancelled => Ok(ended),
            Some(ended) => Err(EndError::of(ended.status)),
        }
    }
}
