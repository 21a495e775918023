//! Giving money back: once for each payment, under a key of its own. The units of an order come back in the transaction
//! that notes the refund; late money never had any.

use crate::kernel::OrderId;
use crate::orders::PayError;
use crate::payments::Payments;
use crate::payments::gateway::{Gateway, GatewayError, RefundStatus, Refunded};
use crate::payments::refund_store;
use crate::payments::store::{self, Row, Status};
use crate::platform::{Fault, Outcome, fault_point, metrics as names};
use crate::reservations::EndError;
use crate::stock::Units;

/// What became of a wish to give money back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// It went back, now or before.
    Done,
    /// The provider will not.
    Refused(String),
    /// The provider did not answer; it is asked again.
    Unknown,
}

impl Payments {
    /// Refunds an order that was paid here. False: it was not.
    pub(super) async fn run_back(
        self,
        order: OrderId,
        units: Units,
        actor: String,
    ) -> Result<bool, PayError> {
        if store::current(&self.db, &[order]).await?.is_empty() {
            return Ok(false);
        }
        let restock = units == Units::Restocked;
        let look = self.doubt();
        let id = match refund_store::refund_begin(&self.db, order, restock, &actor, look).await? {
            Some((id, true)) => id,
            // Whoever began it is at it; should they have died, another replica comes.
            Some((_, false)) => return Err(EndError::PaymentInProgress.into()),
            None => return Ok(true),
        };
        fault_point::reach("after_refund_begun");
        let row = self.row(id).await?;
        match self.give_money_back(&row).await? {
            Back::Done => Ok(true),
            Back::Refused(code) => Err(PayError::RefundRefused(code)),
            Back::Unknown => Err(PayError::ProviderUnavailable(Outcome::Unknown)),
        }
    }

    /// Has the provider give the money of a payment back that is being refunded, and notes it.
    pub(super) async fn give_money_back(&self, row: &Row) -> Result<Back, Fault> {
        if row.status != Status::Refunding {
            return Ok(Back::Done);
        }
        let key = format!("refund:{}", row.id);
        let (gateway, attempt) = self.asking(row).await?;
        let answer = self.refund_once(row, gateway, &attempt, &key).await;
        fault_point::reach("after_refund");
        match answer {
            Ok(refund) if is_good(&refund) => {
                refund_store::refund_finish(&self.db, row.id, &refund.id).await?;
                metrics::counter!(names::PAYMENTS, "provider" => row.provider.as_str(), "end" => "refunded")
                    .increment(1);
                fault_point::reach("after_refund_noted");
                self.bring_units_back(row).await?;
                Ok(Back::Done)
            }
            Ok(refund) => self.refund_failed(row, &format!("{:?}", refund.status)).await,
            Err(GatewayError::Refused { code, message, .. }) => {
                tracing::warn!(payment.id = %row.id, code, message, "a refund was refused");
                self.refund_failed(row, &code).await
            }
            Err(GatewayError::Unknown { reason }) => {
                tracing::warn!(payment.id = %row.id, reason, "a refund may have been made; it is asked for again");
                Ok(Back::Unknown)
            }
        }
    }

    /// A first try may have been heard: whoever comes after it asks what became of it.
    async fn refund_once(
        &self,
        row: &Row,
        gateway: &dyn Gateway,
        attempt: &crate::payments::gateway::Attempt,
        key: &str,
    ) -> Result<Refunded, GatewayError> {
        if row.checks > 0
            && let Some(refund) = self.told(row, gateway.refund_status(attempt, key).await).await?
        {
            return Ok(refund);
        }
        self.told(row, gateway.refund(attempt, key).await).await
    }

    async fn refund_failed(&self, row: &Row, code: &str) -> Result<Back, Fault> {
        tracing::error!(payment.id = %row.id, order.id = %row.order, code, "money was not given back; a person must look");
        metrics::counter!(names::PAYMENT_REVIEWS, "why" => "refund").increment(1);
        refund_store::refund_refused(&self.db, row.id, code).await?;
        Ok(Back::Refused(code.to_lowercase()))
    }

    /// Redis takes the returned units and the buyer's share before anybody is told.
    async fn bring_units_back(&self, row: &Row) -> Result<(), Fault> {
        let Some(restock) = row.refund_restock else { return Ok(()) };
        let units = if restock { Units::Restocked } else { Units::WrittenOff };
        let actor = row.refund_actor.clone().unwrap_or_default();
        self.movements.give_back(row.order, units, actor).await.map(drop)
    }
}

fn is_good(refund: &Refunded) -> bool {
    matches!(refund.status, RefundStatus::Pending | RefundStatus::Succeeded)
}
