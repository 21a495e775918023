//! The buyer comes back from bKash. What the address says is a hint that anybody can forge: money moves only by our own
//! execute, which is claimed once and only while the hold stands, and what came of it is asked of bKash.

use crate::payments::Payments;
use crate::payments::deadline::Wish;
use crate::payments::gateway::{Direction, Exchange, GatewayError, ProviderName, Standing};
use crate::payments::journal_store::{self, Source};
use crate::payments::store::{self, Ending, Row, Status};
use crate::platform::{Fault, fault_point};

/// What the address of the callback says.
#[derive(Clone, Debug)]
pub struct Callback {
    /// Which payment, in bKash's words.
    pub provider_payment_id: String,
    /// How it went, if that is true.
    pub said: Said,
    /// What came with it.
    pub signature: Option<String>,
}

/// How the buyer left the page of bKash, as the address says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The buyer released the money.
    Success,
    /// It did not work.
    Failure,
    /// The buyer gave up.
    Cancel,
}

impl Said {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancel => "cancel",
        }
    }
}

impl Payments {
    /// Does what a callback asks for, and answers where the buyer goes. None: there is no such payment.
    pub async fn take_callback(&self, callback: Callback) -> Result<Option<String>, Fault> {
        let provider = ProviderName::Bkash;
        let id = &callback.provider_payment_id;
        let Some(row) = store::find_by_provider(&self.db, provider, id).await? else {
            return Ok(None);
        };
        let this = self.clone();
        self.to_its_end(async move {
            let id = row.id;
            if let Err(fault) = this.run_callback(&row, &callback).await {
                tracing::warn!(error = fault.chain(), payment.id = %id, "a callback was left to the next look");
            }
            Ok(Some(way_back(&this.row(id).await?)))
        })
        .await
    }

    async fn run_callback(&self, row: &Row, callback: &Callback) -> Result<(), Fault> {
        let exchange = Exchange {
            direction: Direction::In,
            what: "callback".to_owned(),
            http_status: None,
            duration_ms: 0,
            request: serde_json::json!({
                "paymentID": callback.provider_payment_id,
                "status": callback.said.as_str(),
            }),
            response: serde_json::Value::Null,
        };
        let kept = [exchange];
        journal_store::record(&self.db, Some(row.id), row.provider, None, Source::Callback, &kept)
            .await?;
        let genuine = row.callback_signature.is_none()
            || callback.signature.is_some() && row.callback_signature == callback.signature;
        if !genuine {
            tracing::warn!(payment.id = %row.id, "a callback carries another signature than its payment");
        }
        match callback.said {
            Said::Success => self.execute(row).await,
            // A forgery ends nothing.
            Said::Failure | Said::Cancel if !genuine => Ok(()),
            Said::Failure => self.let_go(row, Status::Failed, "payment_failed").await,
            Said::Cancel => self.let_go(row, Status::Cancelled, "cancelled").await,
        }
    }

    async fn let_go(&self, row: &Row, status: Status, reason: &str) -> Result<(), Fault> {
        if !row.status.is_open() {
            return Ok(());
        }
        self.close(row, Wish { status, reason, actor: "buyer" }).await.map(drop)
    }

    /// Takes the money that the buyer has released: once, and only while the hold stands.
    async fn execute(&self, row: &Row) -> Result<(), Fault> {
        if !store::claim_execute(&self.db, row.id, self.doubt() / 2).await? {
            // Claimed by another callback, or over.
            let row = self.row(row.id).await?;
            return if row.status.is_open() { self.ask(&row).await } else { Ok(()) };
        }
        fault_point::reach("after_claim");
        let (gateway, attempt) = self.asking(row).await?;
        let answer = self.told(row, gateway.execute(&attempt).await).await;
        fault_point::reach("after_execute");
        match answer {
            Ok(Standing::Open | Standing::Processing) => Ok(()),
            Ok(standing) => self.stands(row, &standing).await,
            Err(GatewayError::Refused { code, message, .. }) => {
                tracing::info!(payment.id = %row.id, code, message, "bkash took no money");
                let ending = Ending {
                    status: Status::Failed,
                    reason: "payment_failed",
                    failure: Some(&code),
                    asked: true,
                    actor: "bkash",
                };
                self.end(row, ending).await.map(drop)
            }
            Err(GatewayError::Unknown { reason }) => {
                tracing::warn!(payment.id = %row.id, reason, "bkash may have taken the money; it is asked again");
                Ok(())
            }
        }
    }
}

/// Where the buyer goes, told which payment it was and how it stands.
fn way_back(row: &Row) -> String {
    let (url, status) = match row.status {
        Status::Paid | Status::Refunding | Status::Refunded => (&row.success_url, "paid"),
        Status::Initiated | Status::Pending | Status::Late | Status::Review => {
            (&row.success_url, "pending")
        }
        Status::Failed | Status::Cancelled | Status::Expired => {
            (&row.cancel_url, row.status.as_str())
        }
    };
    let (address, fragment) = url.split_once('#').map_or((url.as_str(), ""), |parts| parts);
    let joint = if address.contains('?') { '&' } else { '?' };
    let hash = if fragment.is_empty() { "" } else { "#" };
    format!("{address}{joint}payment_id={}&status={status}{hash}{fragment}", row.id)
}
