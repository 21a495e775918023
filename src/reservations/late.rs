//! What late money needs of the reservations: units pinned again, under an id that all who handle the payment know.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::ids::hold_token;
use crate::kernel::{Quantity, ReservationId, UserId};
use crate::platform::Fault;
use crate::reservations::ledger::Late;
use crate::reservations::{Decision, PinnedLine, Reservations};

impl Reservations {
    /// Pins units of one product for a buyer whose hold has ended. None: there are not so many, the buyer may not have
    /// so many, or what was pinned under this id has come to its end. A pin of this id that stands is joined.
    pub async fn pin_late(
        &self,
        name: &Arc<Name>,
        id: ReservationId,
        user: &UserId,
        quantity: Quantity,
    ) -> Result<Option<PinnedLine>, Fault> {
        let token = hold_token();
        let late = || self.ledger.late(&name.sku, id, &token, user, quantity);
        let pinned = match self.on_sku(name, late).await? {
            Late::Pinned { token, epoch, quantity, cap } => {
                Some(PinnedLine { name: name.clone(), quantity, token, epoch, cap })
            }
            Late::Ended | Late::Refused => None,
        };
        self.shared.watch.of(name).pinned_at(self.shared.watch.now_ms());
        Ok(pinned)
    }

    /// Makes sure that this reservation is decided: ABORTED where it was not. Applies what stands, and answers it.
    pub async fn fence_one(
        &self,
        id: ReservationId,
        user: &UserId,
        names: &[Arc<Name>],
        reason: &str,
    ) -> Result<Decision, Fault> {
        let fenced = self.fence(&[(id, user.clone())], reason, "payments").await?.pop();
        let decision = fenced.ok_or_else(|| Fault::internal("fencing a reservation"))?;
        self.settle(&decision, names).await;
        Ok(decision)
    }
}
