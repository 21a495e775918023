//! Events of Stripe, and what a genuine one says.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::session::{amount, intent, metadata, reference, refunded, standing, text};
use super::signature::verify;
use super::{Stripe, plain};
use crate::kernel::Money;
use crate::payments::gateway::{Direction, Exchange, Refunded, Standing};

/// Why an event is not believed. Nothing of it may be kept as true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// There is no header, or it is not as Stripe writes it.
    #[error("the signature header is missing or malformed")]
    Header,
    /// Signed too long ago, or in the future: sent again by somebody else perhaps.
    #[error("the signature is not of this time")]
    Stale,
    /// Not signed with our secret, or changed since.
    #[error("the signature does not match")]
    Signature,
    /// Signed, and yet no event.
    #[error("the body is no event")]
    Malformed,
}

/// A genuine event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id: the same event may come again.
    pub id: String,
    /// Its type, such as `checkout.session.completed`.
    pub kind: String,
    /// When it was made, in seconds since the epoch. Events come in any order.
    pub created: i64,
    /// False for test money where real money is expected, and the other way round: never a sale then.
    pub mode_fits: bool,
    /// What it says.
    pub news: News,
    /// The event for the record of the payment, redacted; status and duration are the receiver's to fill in.
    pub exchange: Exchange,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A session moved.
    Session {
        /// Which.
        provider_payment_id: String,
        /// Our payment id, as we sent it: the event may be here before the creation was answered.
        reference: Option<String>,
        /// How it stands; none if the event does not tell: ask.
        standing: Option<Standing>,
    },
    /// A refund moved.
    Refund {
        /// How it stands; none if the event does not tell: ask.
        refund: Option<Refunded>,
        /// The key under which we asked for it; none for one that was made by hand.
        key: Option<String>,
        /// Of which payment: our id, if the refund is ours.
        reference: Option<String>,
        /// Of which payment: Stripe's name.
        intent: Option<String>,
    },
    /// So much of a payment was given back in all.
    ChargeRefunded {
        /// Of which payment: Stripe's name.
        intent: Option<String>,
        /// How much.
        amount: Option<Money>,
    },
    /// The buyer's bank wants the money back.
    Dispute {
        /// Of which payment: Stripe's name.
        intent: Option<String>,
    },
    /// Nothing that we act on.
    Other,
}

impl Stripe {
    /// Believes an event, or not: `raw` is the body as it came, `header` the `Stripe-Signature`.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it: the answer is 400.
    pub fn verify_webhook(
        &self,
        raw: &[u8],
        header: Option<&str>,
        now: Timestamp,
    ) -> Result<Event, WebhookError> {
        verify(self.webhook_secret.expose_secret(), raw, header, now)?;
        let body: Value = serde_json::from_slice(raw).unwrap_or_default();
        let event = body.as_object().ok_or(WebhookError::Malformed)?;
        let shown = self.transport.redactor().json(&body);
        read(event, self.live, shown).ok_or(WebhookError::Malformed)
    }
}

fn read(event: &Map<String, Value>, live: bool, shown: Value) -> Option<Event> {
    let id = text(event, "id").filter(|id| plain(id).is_ok())?;
    let kind = text(event, "type").filter(|kind| (1..=100).contains(&kind.len()))?;
    let object = event.get("data")?.get("object")?.as_object()?;
    Some(Event {
        id: id.to_owned(),
        kind: kind.to_owned(),
        created: event.get("created").and_then(Value::as_i64).unwrap_or_default(),
        mode_fits: event.get("livemode").and_then(Value::as_bool) == Some(live),
        news: news(kind, object, live),
        exchange: Exchange {
            direction: Direction::In,
            what: kind.to_owned(),
            http_status: None,
            duration_ms: 0,
            request: shown,
            response: Value::Null,
        },
    })
}

fn news(kind: &str, object: &Map<String, Value>, live: bool) -> News {
    if let Some(what) = kind.strip_prefix("checkout.session.") {
        return session_news(what, object, live).unwrap_or(News::Other);
    }
    match kind {
        "charge.refunded" => News::ChargeRefunded {
            intent: intent(object),
            amount: amount(object, "amount_refunded"),
        },
        "charge.dispute.created" => News::Dispute { intent: intent(object) },
        "refund.created" | "refund.updated" | "refund.failed" => News::Refund {
            refund: refunded(object),
            key: metadata(object, "refund_key").map(str::to_owned),
            reference: metadata(object, "payment_id").map(str::to_owned),
            intent: intent(object),
        },
        _ => News::Other,
    }
}

fn session_news(what: &str, session: &Map<String, Value>, live: bool) -> Option<News> {
    let stands = standing(session, live);
    let standing = match what {
        "completed" | "async_payment_succeeded" => match stands {
            Some(Standing::Paid(_) | Standing::Processing) => stands,
            // The event says what its object does not.
            Some(Standing::Open | Standing::Dead) | None => None,
        },
        // It has ended, whatever its object shows.
        "async_payment_failed" | "expired" => match stands {
            Some(Standing::Paid(_)) => None,
            Some(Standing::Open | Standing::Processing | Standing::Dead) | None => {
                Some(Standing::Dead)
            }
        },
        _ => return None,
    };
    Some(News::Session {
        provider_payment_id: text(session, "id").filter(|id| plain(id).is_ok())?.to_owned(),
        reference: reference(session),
        standing,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TIME: i64 = 1_794_000_000;

    fn event(kind: &str, object: Value) -> Option<Event> {
        let event = json!({
            "id": "evt_1", "type": kind, "created": TIME, "livemode": false,
            "data": { "object": object },
        });
        read(event.as_object().unwrap(), false, Value::Null)
    }

    fn session(payment_status: &str, status: &str) -> Value {
        json!({
            "id": "cs_test_1", "status": status, "payment_status": payment_status,
            "amount_total": 1999, "currency": "usd", "livemode": false,
            "client_reference_id": "ours", "payment_intent": "pi_1",
        })
    }

    fn stands(kind: &str, payment_status: &str, status: &str) -> Option<Standing> {
        let event = event(kind, session(payment_status, status)).unwrap();
        let News::Session { provider_payment_id, reference, standing } = event.news else {
            panic!("{:?}", event.news)
        };
        assert_eq!(provider_payment_id, "cs_test_1");
        assert_eq!(reference.as_deref(), Some("ours"));
        standing
    }

    #[test]
    fn events_of_a_session_say_how_it_stands() {
        let completed = "checkout.session.completed";
        assert!(matches!(stands(completed, "paid", "complete"), Some(Standing::Paid(_))));
        assert_eq!(stands(completed, "unpaid", "complete"), Some(Standing::Processing));
        assert_eq!(stands(completed, "unpaid", "open"), None);
        let later = "checkout.session.async_payment_succeeded";
        assert!(matches!(stands(later, "paid", "complete"), Some(Standing::Paid(_))));
        let failed = "checkout.session.async_payment_failed";
        assert_eq!(stands(failed, "unpaid", "complete"), Some(Standing::Dead));
        assert_eq!(stands(failed, "paid", "complete"), None);
        let expired = "checkout.session.expired";
        assert_eq!(stands(expired, "unpaid", "expired"), Some(Standing::Dead));
    }

    #[test]
    fn other_events_are_told_apart() {
        let refund = json!({
            "id": "re_1", "status": "failed", "payment_intent": "pi_1",
            "metadata": { "refund_key": "refund:1", "payment_id": "ours" },
        });
        let News::Refund { refund, key, reference, intent } =
            event("refund.failed", refund).unwrap().news
        else {
            panic!("no refund")
        };
        assert_eq!(refund.unwrap().id, "re_1");
        assert_eq!(key.as_deref(), Some("refund:1"));
        assert_eq!((reference.as_deref(), intent.as_deref()), (Some("ours"), Some("pi_1")));
        let charge = json!({ "payment_intent": "pi_1", "amount_refunded": 500, "currency": "usd" });
        let News::ChargeRefunded { amount, .. } = event("charge.refunded", charge).unwrap().news
        else {
            panic!("no charge")
        };
        assert_eq!(amount.unwrap().to_string(), "5.00");
        let dispute = event("charge.dispute.created", json!({ "payment_intent": "pi_1" }));
        assert_eq!(dispute.unwrap().news, News::Dispute { intent: Some("pi_1".into()) });
        assert_eq!(event("customer.created", json!({})).unwrap().news, News::Other);
        assert_eq!(event("checkout.session.other", json!({})).unwrap().news, News::Other);
    }

    #[test]
    fn the_mode_must_be_that_of_the_key() {
        let test =
            json!({ "id": "evt_1", "type": "x", "livemode": false, "data": { "object": {} } });
        let test = test.as_object().unwrap();
        assert!(read(test, false, Value::Null).unwrap().mode_fits);
        assert!(!read(test, true, Value::Null).unwrap().mode_fits);
        let mut silent = test.clone();
        silent.remove("livemode");
        assert!(!read(&silent, false, Value::Null).unwrap().mode_fits);
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for odd in [
            json!({}),
            json!({ "id": "../evt", "type": "x", "data": { "object": {} } }),
            json!({ "id": "evt_1", "type": "", "data": { "object": {} } }),
            json!({ "id": "evt_1", "type": "x", "data": { "object": [] } }),
        ] {
            assert!(read(odd.as_object().unwrap(), false, Value::Null).is_none(), "{odd}");
        }
    }
}
