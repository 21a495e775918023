//! The provider has the money: the hold is sold, or the money came late. Any number of handlers may learn it at once, in
//! any order; one row decides, and the rest is repeated without harm.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::ProductId;
use crate::payments::Payments;
use crate::payments::gateway::Receipt;
use crate::payments::store::{self, Fate, Row, Status};
use crate::platform::{Fault, Outcome, fault_point, metrics as names};
use crate::reservations::{DecisionOutcome, EndError, PinError};

/// How often it pins again because a SKU was rebuilt.
const ATTEMPTS: u32 = 4;

impl Payments {
    /// Takes the provider's word for the money of this payment. A fault leaves it to whoever asks again.
    pub(super) async fn paid(
        &self,
        row: &Row,
        receipt: &Receipt,
        actor: &str,
    ) -> Result<(), Fault> {
        if let Some(why) = receipt.mismatch(row.id, row.amount) {
            return self.hold_for_review(row, why).await;
        }
        self.take(row, receipt, actor).await
    }

    /// Takes money that is for this payment.
    pub(super) async fn take(
        &self,
        row: &Row,
        receipt: &Receipt,
        actor: &str,
    ) -> Result<(), Fault> {
        // An event may name the page before it was attached.
        let page = row.provider_payment_id.clone();
        for _ in 0..ATTEMPTS {
            let row = self.row(row.id).await?;
            match row.status {
                Status::Review | Status::Refunded => return Ok(()),
                Status::Paid => return self.settle(&row, Status::Paid).await,
                Status::Refunding => return self.give_money_back(&row).await.map(drop),
                Status::Initiated
                | Status::Pending
                | Status::Failed
                | Status::Cancelled
                | Status::Expired
                | Status::Late => {}
            }
            let Some(epochs) = self.join_pins(&row).await? else { continue };
            let provider_id = row.provider_payment_id.as_deref().or(page.as_deref());
            match store::pay(&self.db, row.id, &epochs, provider_id, receipt, actor).await? {
                Fate::Sold => {
                    fault_point::reach("after_pay");
                    metrics::counter!(names::PAYMENTS, "provider" => row.provider.as_str(), "end" => "paid")
                        .increment(1);
                    return self.settle(&row, Status::Paid).await;
                }
                Fate::Late => {
                    fault_point::reach("after_late_noted");
                    let row = self.row(row.id).await?;
                    return self.place_late(&row).await;
                }
                Fate::Stale => {
                    for name in self.names_of(&row).await? {
                        self.reservations.catch_up(&name).await?;
                    }
                }
                Fate::Known => {}
            }
        }
        Err(Fault::unavailable("selling what is paid against rebuilds", Outcome::Unknown))
    }

    /// What the provider says is not what was ordered: never a sale, and a person must look.
    pub(super) async fn hold_for_review(&self, row: &Row, why: &'static str) -> Result<(), Fault> {
        metrics::counter!(names::PAYMENT_REVIEWS, "why" => why).increment(1);
        let held = store::review(&self.db, row.id, why).await?;
        tracing::error!(payment.id = %row.id, order.id = %row.order, provider = %row.provider, why, held, "money does not fit its payment; a person must look");
        Ok(())
    }

    /// Joins the pins of a payment that is open, for the epochs that they are of. Nothing to join: none. None: a SKU
    /// had to be rebuilt first.
    async fn join_pins(&self, row: &Row) -> Result<Option<Vec<(ProductId, i64)>>, Fault> {
        let mut epochs = Vec::new();
        if !row.status.is_open() {
            return Ok(Some(epochs));
        }
        for decision in store::decisions(&self.db, row.id).await? {
            if decision.outcome != DecisionOutcome::Pending {
                continue;
            }
            match self.reservations.pin(decision.id, &row.user, None).await {
                Ok(pinned) => {
                    epochs.extend(pinned.lines.iter().map(|line| (line.name.id, line.epoch)));
                }
                Err(PinError::Fault(fault) | PinError::Ended(EndError::Fault(fault))) => {
                    return Err(fault);
                }
                // Postgres knows of a payment that Redis has no pin of: the rebuild restores it.
                Err(PinError::Ended(_) | PinError::Decided(_) | PinError::OtherQuantity) => {
                    for name in self.names_of(row).await? {
                        self.reservations.catch_up(&name).await?;
                    }
                    return Ok(None);
                }
            }
        }
        Ok(Some(epochs))
    }

    /// Tells Redis what was decided about the reservations of a payment. What fails is done by whoever looks next.
    pub(super) async fn settle(&self, row: &Row, status: Status) -> Result<(), Fault> {
        let names = self.names_of(row).await?;
        let mut decisions = store::decisions(&self.db, row.id).await?;
        if matches!(status, Status::Paid) {
            decisions.extend(store::decision_of(&self.db, row.late).await?);
        }
        let mut whole = true;
        for decision in &decisions {
            let of = |name: &&Arc<Name>| {
                decision.lines.is_empty()
                    || decision.lines.iter().any(|line| line.product == name.id)
            };
            let names: Vec<Arc<Name>> = names.iter().filter(of).cloned().collect();
            whole &= self.reservations.settle(decision, &names).await;
        }
        if whole {
            store::checked(&self.db, row.id, status).await?;
        }
        Ok(())
    }
}
