//! The token that every call of bKash carries: granted for an hour, shared by all replicas, renewed by one of them
//! before it ends. bKash shuts out a merchant for an hour who asks for tokens too often.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::answers::{self, Said};
use super::{Bkash, lost};
use crate::payments::gateway::{Cause, Exchange, GatewayError};
use crate::payments::transport::Question;
use crate::platform::Fault;

/// While another replica renews the token, how often to look.
const LOOK: Duration = Duration::from_millis(50);
/// After one grant until the next: after a good one only a token that bKash rejects at once leads here.
const AFTER_GRANT: Duration = Duration::from_secs(1);
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Added to the time that a grant may take, before another replica may try.
const MARGIN: Duration = Duration::from_secs(5);
/// A token that bKash gives for longer is renewed all the same.
const LONGEST_LIFE_S: u64 = 3_600;

impl Bkash {
    /// The token of all replicas; renewed if there is none.
    pub(super) async fn token(
        &self,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<SecretString, GatewayError> {
        let end = Instant::now() + self.timeout;
        // In this process too only one renews; the others wait for it here.
        let kept = self.cache.token().await.map_err(away)?;
        if let Some(token) = kept {
            return Ok(token);
        }
        let waiting = tokio::time::timeout_at(end.into(), self.renewing.lock()).await;
        let Ok(_renewing) = waiting else { return Err(late()) };
        loop {
            if let Some(token) = self.cache.token().await.map_err(away)? {
                return Ok(token);
            }
            if self.cache.begin_renewal(self.timeout + MARGIN).await.map_err(away)? {
                return self.renew(exchanges).await;
            }
            if Instant::now() + LOOK >= end {
                return Err(late());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn renew(&self, exchanges: &mut Vec<Exchange>) -> Result<SecretString, GatewayError> {
        let granted = self.grant(exchanges).await;
        let pause = if granted.is_ok() { AFTER_GRANT } else { AFTER_FAILURE };
        if let Ok((token, lifetime)) = &granted
            && let Err(fault) = self.cache.keep(token, *lifetime).await
        {
            tracing::warn!(error = fault.chain(), "a token of bkash could not be kept");
        }
        // If this fails the mark ends by itself.
        drop(self.cache.end_renewal(pause).await);
        granted.map(|(token, _)| token)
    }

    /// Asks for a token; answers it and how long it is to be used.
    async fn grant(
        &self,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<(SecretString, Duration), GatewayError> {
        let body = json!({
            "app_key": self.account.app_key.expose_secret(),
            "app_secret": self.account.app_secret.expose_secret(),
        });
        let path = "/v1.2.0-beta/tokenized/checkout/token/grant";
        let request = self
            .transport
            .client()
            .post(format!("{}{path}", self.base))
            .header("username", self.account.username.expose_secret())
            .header("password", self.account.password.expose_secret())
            .json(&body);
        let shown = json!({ "method": "POST", "path": path, "body": body });
        let question = Question { what: "token.grant", request, shown, patience: self.timeout };
        let heard = self.transport.ask(question, exchanges).await.map_err(lost)?;
        if heard.status == 429 || heard.status >= 500 {
            let reason = format!("{} to a grant", heard.status);
            return Err(GatewayError::Unknown { reason });
        }
        match answers::sorted(heard.body) {
            Said::Yes(body) => {
                let token = answers::text(&body, "id_token");
                let token = token.ok_or_else(|| unreadable("a grant without a token"))?;
                Ok((token.into(), lifetime(body.get("expires_in"))))
            }
            Said::No { code, message } => Err(GatewayError::Refused {
                cause: Cause::Setup,
                code,
                message: self.transport.redactor().line(&message),
            }),
            Said::Gateway(message) => {
                let message = self.transport.redactor().line(&message);
                Err(GatewayError::Refused { cause: Cause::Setup, code: "grant".into(), message })
            }
        }
    }
}

/// Five sixths to eleven twelfths of its life, minute 50 to 55 of an hour: not all at once.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(seconds)) => seconds.as_u64(),
        Some(Value::String(seconds)) => seconds.trim().parse().ok(),
        _ => None,
    };
    let life = Duration::from_secs(seconds.unwrap_or(LONGEST_LIFE_S).clamp(1, LONGEST_LIFE_S));
    life.mul_f64((50.0 + 5.0 * rand::random::<f64>()) / 60.0)
}

fn away(fault: Fault) -> GatewayError {
    GatewayError::Unknown { reason: format!("the token of bkash: {}", fault.chain()) }
}

fn late() -> GatewayError {
    unreadable("another replica is renewing the token of bkash")
}

fn unreadable(reason: &str) -> GatewayError {
    GatewayError::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_between_minute_50_and_55() {
        for given in [json!(3600), json!("3600"), json!(" 3600 "), json!(99_999), json!(null)] {
            let life = lifetime(Some(&given)).as_secs_f64() / 60.0;
            assert!((50.0..=55.0).contains(&life), "{given}: {life}");
        }
        assert!(lifetime(Some(&json!(60))) < Duration::from_secs(60));
        assert!(lifetime(Some(&json!(0))) > Duration::ZERO);
    }
}
