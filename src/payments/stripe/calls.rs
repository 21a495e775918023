//! Calls of Stripe's API: headers, repetitions, and what an error means.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::Stripe;
use super::form::Form;
use crate::payments::gateway::{Cause, Exchange, GatewayError};
use crate::payments::transport::{Heard, Lost, Question};
use crate::platform::tasks::jittered;

/// How often a call is repeated, and how long it waits before: the policy of the official clients.
const REPEATS: u32 = 2;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A call.
pub(super) struct Call<'a> {
    /// Its name in exchanges and metrics.
    pub(super) what: &'static str,
    /// Its verb.
    pub(super) method: Method,
    /// Below the base, with its query.
    pub(super) path: String,
    /// The body, or none.
    pub(super) form: Option<Form>,
    /// The idempotency key, or none.
    pub(super) key: Option<&'a str>,
}

/// Why there is no answer.
pub(super) struct Failed {
    /// For the caller of the gateway.
    pub(super) error: GatewayError,
    /// The status, if one came.
    pub(super) status: Option<u16>,
    /// The `code` of the error, or its `type`.
    pub(super) code: String,
}

impl Failed {
    fn unknown(status: Option<u16>, reason: String) -> Self {
        Self { error: GatewayError::Unknown { reason }, status, code: String::new() }
    }

    /// Whether the parameters were refused, so that the call did nothing now, and nothing earlier under its key.
    pub(super) fn is_invalid(&self) -> bool {
        self.status == Some(400) && matches!(self.error, GatewayError::Refused { .. })
    }
}

impl Stripe {
    /// Makes a call, and repeats it where that is safe and may help, while there is time.
    pub(super) async fn call(
        &self,
        call: Call<'_>,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Map<String, Value>, Failed> {
        let end = Instant::now() + self.timeout;
        let (mut delay, mut repeat) = (FIRST_DELAY, 0);
        loop {
            let turn = tokio::time::timeout_at(end.into(), self.pace.turn(self.subject(&call)));
            match turn.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(busy("too many calls wait for their turn")),
                Err(_) => return Err(busy("no turn came in time")),
            }
            let left = end.saturating_duration_since(Instant::now());
            let heard = self.transport.ask(self.question(&call, left), exchanges).await;
            let (again, failed) = match heard {
                Ok(heard) if heard.status == 200 => {
                    self.pace.go_on();
                    return Ok(heard.body);
                }
                Ok(heard) => (repeats(Some(heard.status), &heard.headers), self.failed(&heard)),
                Err(Lost { status, headers, reason }) => {
                    self.mind(status);
                    (repeats(status, &headers), Failed::unknown(status, reason))
                }
            };
            let pause = jittered(delay);
            if !again || repeat == REPEATS || Instant::now() + pause >= end {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            delay = (delay * 2).min(LONGEST_DELAY);
            repeat += 1;
        }
    }

    fn question(&self, call: &Call<'_>, left: Duration) -> Question {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self
            .transport
            .client()
            .request(call.method.clone(), url)
            .bearer_auth(self.key.expose_secret())
            .header("stripe-version", &self.version);
        let mut shown = json!({ "method": call.method.as_str(), "path": call.path });
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
            shown["idempotency_key"] = key.into();
        }
        if let Some(form) = &call.form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.encoded());
            shown["body"] = form.shown();
        }
        // One try must not use up the time of the next.
        let patience = left.min(self.timeout * 2 / 3);
        Question { what: call.what, request, shown, patience }
    }

    /// Test accounts have one limit for all, live ones one for each endpoint.
    fn subject(&self, call: &Call<'_>) -> &'static str {
        if self.live { call.what } else { "all" }
    }

    fn mind(&self, status: Option<u16>) {
        if status == Some(429) {
            self.pace.slow_down();
        }
    }

    fn failed(&self, heard: &Heard) -> Failed {
        self.mind(Some(heard.status));
        let text = |name: &str| {
            let error = heard.body.get("error").and_then(|error| error.get(name));
            error.and_then(Value::as_str).unwrap_or_default()
        };
        let (kind, code) = (text("type"), text("code"));
        let code = if code.is_empty() { kind } else { code };
        let message = self.transport.redactor().line(text("message"));
        let error = match meaning(heard.status, kind, code) {
            Some(cause) => GatewayError::Refused { cause, code: code.to_owned(), message },
            None => GatewayError::Unknown { reason: format!("{} {code}: {message}", heard.status) },
        };
        Failed { error, status: Some(heard.status), code: code.to_owned() }
    }
}

fn busy(reason: &str) -> Failed {
    Failed::unknown(None, reason.to_owned())
}

/// Whether a call may be made once more (official policy): Stripe's own word first; else after no answer, 409 and 5xx.
fn repeats(status: Option<u16>, headers: &HeaderMap) -> bool {
    match headers.get("stripe-should-retry").map(|word| word.as_bytes()) {
        Some(b"true") => true,
        Some(b"false") => false,
        Some(_) | None => status.is_none_or(|status| matches!(status, 200..300 | 409 | 500..)),
    }
}

/// Whose affair an error is; none where the outcome is open.
fn meaning(status: u16, kind: &str, code: &str) -> Option<Cause> {
    const AMOUNTS: [&str; 3] = ["amount_too_small", "amount_too_large", "invalid_currency"];
    match (status, kind) {
        // The key was used with other parameters: what that call did is not known here.
        (_, "idempotency_error") => None,
        (400 | 402, _) if AMOUNTS.contains(&code) => Some(Cause::Order),
        (402, _) | (_, "card_error") => Some(Cause::Customer),
        (400 | 401 | 403 | 404, _) => Some(Cause::Setup),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_help_is_repeated() {
        let said = |word: &str| {
            let word = word.parse().unwrap();
            HeaderMap::from_iter([("stripe-should-retry".parse().unwrap(), word)])
        };
        let nothing = HeaderMap::new();
        for (status, again) in [
            (None, true),
            (Some(200), true),
            (Some(400), false),
            (Some(402), false),
            (Some(409), true),
            (Some(429), false),
            (Some(500), true),
            (Some(503), true),
        ] {
            assert_eq!(repeats(status, &nothing), again, "{status:?}");
            assert!(repeats(status, &said("true")));
            assert!(!repeats(status, &said("false")));
        }
    }

    #[test]
    fn an_error_is_a_no_only_where_it_is_definite() {
        let invalid = "invalid_request_error";
        for (status, kind, code, cause) in [
            (400, invalid, "parameter_unknown", Some(Cause::Setup)),
            (400, invalid, "amount_too_small", Some(Cause::Order)),
            (400, "idempotency_error", "", None),
            (401, invalid, "", Some(Cause::Setup)),
            (402, "card_error", "card_declined", Some(Cause::Customer)),
            (403, invalid, "", Some(Cause::Setup)),
            (404, invalid, "resource_missing", Some(Cause::Setup)),
            (409, invalid, "lock_timeout", None),
            (418, "", "", None),
            (429, invalid, "rate_limit", None),
            (500, "api_error", "", None),
        ] {
            assert_eq!(meaning(status, kind, code), cause, "{status} {kind} {code}");
        }
    }
}
