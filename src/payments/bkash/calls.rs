//! Calls of bKash: token, one try, and what an error means. Only a query is repeated.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::answers::{self, Said};
use super::codes::{self, Meaning};
use super::{Bkash, lost};
use crate::payments::gateway::{Cause, Exchange, GatewayError};
use crate::payments::transport::{Heard, Question};
use crate::platform::tasks::jittered;

/// Before a query is repeated.
const PAUSE: Duration = Duration::from_millis(500);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Create,
    Execute,
    Query,
    Refund,
    RefundStatus,
}

impl Method {
    /// Its name in exchanges and metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Create => "checkout.create",
            Self::Execute => "checkout.execute",
            Self::Query => "checkout.payment.status",
            Self::Refund => "refund.payment.transaction",
            Self::RefundStatus => "refund.payment.status",
        }
    }

    /// Below the base. Refunds are of another version.
    fn path(self) -> &'static str {
        match self {
            Self::Create => "/v1.2.0-beta/tokenized/checkout/create",
            Self::Execute => "/v1.2.0-beta/tokenized/checkout/execute",
            Self::Query => "/v1.2.0-beta/tokenized/checkout/payment/status",
            Self::Refund => "/v2/tokenized-checkout/refund/payment/transaction",
            Self::RefundStatus => "/v2/tokenized-checkout/refund/payment/status",
        }
    }

    /// Whether it only looks.
    fn is_question(self) -> bool {
        matches!(self, Self::Query | Self::RefundStatus)
    }
}

/// Why there is no yes.
pub(super) enum Failed {
    /// A no that stands for itself.
    Refused(GatewayError),
    /// Somebody must be asked what became of it.
    Doubt(GatewayError),
    /// There was no token to send it with.
    Unsent(GatewayError),
}

impl Failed {
    /// For the caller of the gateway.
    pub(super) fn error(self) -> GatewayError {
        match self {
            Self::Refused(error) | Self::Doubt(error) | Self::Unsent(error) => error,
        }
    }

    /// The no, if it is one.
    pub(super) fn refusal(self) -> Option<GatewayError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Doubt(_) | Self::Unsent(_) => None,
        }
    }
}

impl Bkash {
    /// Makes a call; a question is repeated once where no answer came.
    pub(super) async fn call(
        &self,
        method: Method,
        body: Value,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Map<String, Value>, Failed> {
        let first = self.call_once(method, &body, exchanges).await;
        match first {
            Err(Failed::Doubt(_)) if method.is_question() => {
                tokio::time::sleep(jittered(PAUSE)).await;
                self.call_once(method, &body, exchanges).await
            }
            answer => answer,
        }
    }

    async fn call_once(
        &self,
        method: Method,
        body: &Value,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Map<String, Value>, Failed> {
        let token = self.token(exchanges).await.map_err(of_token)?;
        let heard = self.send(method, body, &token, exchanges).await?;
        if heard.status != 401 {
            return self.read(heard);
        }
        // A rejected token means that nothing was done: with another one it may be asked again.
        if let Err(fault) = self.cache.drop(&token).await {
            tracing::warn!(error = fault.chain(), "a rejected token of bkash could not be dropped");
        }
        let token = self.token(exchanges).await.map_err(of_token)?;
        let heard = self.send(method, body, &token, exchanges).await?;
        if heard.status == 401 {
            let message = "the app key or a new token is rejected".to_owned();
            return Err(refused(Cause::Setup, "unauthorized", message));
        }
        self.read(heard)
    }

    async fn send(
        &self,
        method: Method,
        body: &Value,
        token: &SecretString,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Heard, Failed> {
        let request = self
            .transport
            .client()
            .post(format!("{}{}", self.base, method.path()))
            .header("authorization", token.expose_secret())
            .header("x-app-key", self.account.app_key.expose_secret())
            .json(body);
        let shown = json!({ "method": "POST", "path": method.path(), "body": body });
        let question = Question { what: method.name(), request, shown, patience: self.timeout };
        self.transport.ask(question, exchanges).await.map_err(|gone| Failed::Doubt(lost(gone)))
    }

    fn read(&self, heard: Heard) -> Result<Map<String, Value>, Failed> {
        let status = heard.status;
        let said = answers::sorted(heard.body);
        if status == 429 || status >= 500 || (300..400).contains(&status) {
            return Err(doubt(format!("status {status}")));
        }
        match said {
            Said::Yes(body) if status == 200 => Ok(body),
            Said::Yes(_) => Err(doubt(format!("a yes with status {status}"))),
            Said::No { code, message } => {
                let message = self.transport.redactor().line(&message);
                Err(match codes::meaning(&code) {
                    Some(Meaning::No(cause)) => refused(cause, &code, message),
                    Some(Meaning::MaybePaid | Meaning::Transient) | None => {
                        doubt(format!("{code}: {message}"))
                    }
                })
            }
            Said::Gateway(message) => {
                let message = self.transport.redactor().line(&message);
                // The gateway checks before it passes a call on.
                match status {
                    400 | 403 | 404 => Err(refused(Cause::Setup, "gateway", message)),
                    _ => Err(doubt(format!("{status} {message}"))),
                }
            }
        }
    }
}

fn refused(cause: Cause, code: &str, message: String) -> Failed {
    Failed::Refused(GatewayError::Refused { cause, code: code.to_owned(), message })
}

fn doubt(reason: String) -> Failed {
    Failed::Doubt(GatewayError::Unknown { reason })
}

fn of_token(error: GatewayError) -> Failed {
    match error {
        GatewayError::Refused { .. } => Failed::Refused(error),
        GatewayError::Unknown { .. } => Failed::Unsent(error),
    }
}
