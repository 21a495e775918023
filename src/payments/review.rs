//! Payments in `review`: what the provider says is not what was ordered, so a person decides. Until then the units stay.

use crate::kernel::PaymentId;
use crate::orders::Payment;
use crate::payments::Payments;
use crate::payments::gateway::{GatewayError, Receipt, Standing};
use crate::payments::review_store::{self, Resolved, Wanted};
use crate::payments::store::{self, Row, Status};
use crate::platform::Fault;

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Resolution {
    /// The money is for this payment, whatever does not fit: sold.
    Accept,
    /// The units and the money go back.
    Refund,
    /// The units go back; the money is settled elsewhere, or there is none.
    Release,
}

impl Resolution {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refund => "refund",
            Self::Release => "release",
        }
    }
}

/// Why a payment was not resolved.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("there is no such payment")]
    NotFound,
    #[error("the payment is not in review")]
    NotInReview,
    #[error("the provider has no money for this payment: release it")]
    NotPaid,
    #[error("the units were given up, and the money is to go back: refund or release it")]
    GivenUp,
    #[error("the payment provider did not answer")]
    ProviderUnavailable,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A payment as those see it who look after it.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct AdminPayment {
    #[serde(flatten)]
    payment: Payment,
    /// Who pays.
    user_id: crate::kernel::UserId,
    /// What went wrong: the provider's code, or what did not fit in a review (`amount`, `currency`, `reference`, `livemode`).
    failure: Option<String>,
}

impl From<&Row> for AdminPayment {
    fn from(row: &Row) -> Self {
        Self { payment: row.view(), user_id: row.user.clone(), failure: row.failure.clone() }
    }
}

impl Payments {
    /// At most `limit` and one more, the newest first, those before this one.
    pub(super) async fn list(
        &self,
        wanted: &Wanted,
        before: Option<PaymentId>,
        limit: i64,
    ) -> Result<Vec<Row>, Fault> {
        review_store::page(&self.db, wanted, before, limit).await
    }

    /// Does what a person decided about a payment in review.
    pub(super) async fn resolve(
        &self,
        id: PaymentId,
        outcome: Resolution,
        actor: String,
        reason: Option<String>,
    ) -> Result<Row, ReviewError> {
        self.to_its_end(self.clone().run_resolve(id, outcome, actor, reason)).await
    }

    async fn run_resolve(
        self,
        id: PaymentId,
        outcome: Resolution,
        actor: String,
        reason: Option<String>,
    ) -> Result<Row, ReviewError> {
        let row = store::find(&self.db, id).await?.ok_or(ReviewError::NotFound)?;
        if row.status != Status::Review {
            return Err(ReviewError::NotInReview);
        }
        let receipt = match outcome {
            Resolution::Release => None,
            Resolution::Accept | Resolution::Refund => Some(self.receipt_of(&row).await?),
        };
        // Money of another mode is none.
        if outcome == Resolution::Accept && receipt.as_ref().is_some_and(|money| !money.mode_fits) {
            return Err(ReviewError::NotPaid);
        }
        match review_store::resolve(
            &self.db,
            id,
            outcome,
            receipt.as_ref(),
            &actor,
            reason.as_deref(),
        )
        .await?
        {
            Resolved::Now => {}
            Resolved::Known => return Err(ReviewError::NotInReview),
            Resolved::GivenUp => return Err(ReviewError::GivenUp),
        }
        tracing::info!(payment.id = %id, outcome = outcome.as_str(), actor, "a review was resolved");
        let row = self.row(id).await?;
        match (outcome, receipt) {
            (Resolution::Accept, Some(receipt)) => self.take(&row, &receipt, &actor).await?,
            (Resolution::Refund, _) => self.place_late(&row).await?,
            _ => self.settle(&row, row.status).await?,
        }
        Ok(self.row(id).await?)
    }

    async fn receipt_of(&self, row: &Row) -> Result<Receipt, ReviewError> {
        let (gateway, attempt) = self.asking(row).await?;
        match self.told(row, gateway.query(&attempt).await).await {
            Ok(Standing::Paid(receipt)) => Ok(receipt),
            Ok(Standing::Open | Standing::Processing | Standing::Dead) => Err(ReviewError::NotPaid),
            Err(GatewayError::Refused { .. } | GatewayError::Unknown { .. }) => {
                Err(ReviewError::ProviderUnavailable)
            }
        }
    }
}
