//! Money that came after its hold had ended: it takes the units again if they are there, and goes back otherwise. One
//! row, that of the payment's own late reservation, decides which, whoever handles it and however often.

use crate::payments::Payments;
use crate::payments::refund_store;
use crate::payments::store::{self, Row, Status};
use crate::platform::{Fault, Outcome, fault_point, metrics as names};
use crate::reservations::{Decision, DecisionOutcome, PinnedLine};

/// How often it pins again because a SKU was rebuilt.
const ATTEMPTS: u32 = 4;

impl Payments {
    /// Finds a place for late money.
    pub(super) async fn place_late(&self, row: &Row) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            let decision = match self.pin_late(row).await? {
                Some(lines) => {
                    fault_point::reach("after_late_pin");
                    refund_store::sell_late(&self.db, row.id, &lines, "payments").await?
                }
                None => Some(self.fence_late(row).await?),
            };
            fault_point::reach("after_late_decision");
            match decision {
                Some(decision) => return self.follow(row, &decision).await,
                None => {
                    for name in self.names_of(row).await? {
                        self.reservations.catch_up(&name).await?;
                    }
                }
            }
        }
        Err(Fault::unavailable("placing late money against rebuilds", Outcome::Unknown))
    }

    /// All lines of the order under the payment's late id, or none: somebody has them, or the order has other money.
    async fn pin_late(&self, row: &Row) -> Result<Option<Vec<PinnedLine>>, Fault> {
        if refund_store::order_status(&self.db, row.order).await?.as_deref() != Some("cancelled") {
            return Ok(None);
        }
        let mut pinned = Vec::new();
        for line in store::lines(&self.db, row.order).await? {
            let name = self.name(&line);
            let taken =
                self.reservations.pin_late(&name, row.late, &row.user, line.quantity).await?;
            match taken {
                Some(line) => pinned.push(line),
                None => return Ok(None),
            }
        }
        Ok(Some(pinned))
    }

    /// Before money goes back, no sale may be on its way.
    async fn fence_late(&self, row: &Row) -> Result<Decision, Fault> {
        let names = self.names_of(row).await?;
        self.reservations.fence_one(row.late, &row.user, &names, "late_payment").await
    }

    async fn follow(&self, row: &Row, decision: &Decision) -> Result<(), Fault> {
        let names = self.names_of(row).await?;
        let settled = self.reservations.settle(decision, &names).await;
        let sold = decision.outcome == DecisionOutcome::Confirmed;
        let end = if sold { "taken" } else { "returned" };
        metrics::counter!(names::LATE_PAYMENTS, "end" => end).increment(1);
        if sold {
            tracing::info!(payment.id = %row.id, order.id = %row.order, "late money took its units again");
            return if settled {
                store::checked(&self.db, row.id, Status::Paid).await
            } else {
                Ok(())
            };
        }
        tracing::info!(payment.id = %row.id, order.id = %row.order, reason = decision.reason, "late money goes back");
        if !refund_store::refund_late(&self.db, row.id, self.doubt()).await? {
            // Somebody else is at it.
            return Ok(());
        }
        fault_point::reach("after_refund_begun");
        let row = self.row(row.id).await?;
        self.give_money_back(&row).await.map(drop)
    }
}
