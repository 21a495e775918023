//! Events of Stripe: whether one is genuine, and what it says. The signature stands over the bytes as they came, so
//! they must never be parsed before.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::session::{amount, intent, metadata, reference, refunded, standing, text};
use super::{Stripe, plain};
use crate::kernel::Money;
use crate::payments::gateway::{Direction, Exchange, Refunded, Standing};

/// How far the time of a signature may be from ours.
const TOLERANCE_S: i64 = 300;
/// A longer header is none of Stripe's.
const LONGEST_HEADER: usize = 4 << 10;

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

/// Whether one of the header's `v1` is the HMAC of time and body under `secret`.
fn verify(
    secret: &str,
    raw: &[u8],
    header: Option<&str>,
    now: Timestamp,
) -> Result<(), WebhookError> {
    let header = header.filter(|header| header.len() <= LONGEST_HEADER);
    let fields = header.ok_or(WebhookError::Header)?.split(',').map(|field| field.split_once('='));
    let fields: Vec<(&str, &str)> = fields.flatten().collect();
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = fields.iter().find(|(name, _)| *name == "t").map(|(_, time)| *time);
    let time = time.filter(digits).ok_or(WebhookError::Header)?;
    let signed_at: i64 = time.parse().ok().ok_or(WebhookError::Header)?;
    let mut signatures = fields.iter().filter(|(name, _)| *name == "v1").peekable();
    if signatures.peek().is_none() {
        return Err(WebhookError::Header);
    }
    let expected = signature(secret, time, raw).ok_or(WebhookError::Signature)?;
    // All of them are compared, so that the time taken tells nothing.
    let matches = signatures.fold(subtle::Choice::from(0), |matches, (_, given)| {
        matches | given.as_bytes().ct_eq(expected.as_bytes())
    });
    if !bool::from(matches) {
        return Err(WebhookError::Signature);
    }
    let age = now.as_second().saturating_sub(signed_at);
    if (-TOLERANCE_S..=TOLERANCE_S).contains(&age) { Ok(()) } else { Err(WebhookError::Stale) }
}

/// Lower-case hex of the HMAC over time, a dot, and the body.
fn signature(secret: &str, time: &str, raw: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(raw);
    let hex = mac.finalize().into_bytes();
    Some(hex.iter().map(|byte| format!("{byte:02x}")).collect())
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

    const SECRET: &str = "whsec_test_secret";
    const TIME: i64 = 1_794_000_000;
    const BODY: &str = r#"{"id":"evt_test_0001","object":"event","type":"checkout.session.completed","data":{"object":{"id":"cs_test_0001","object":"checkout.session","payment_status":"paid"}}}"#;
    const V1: &str = "8eb18e0545125f770132b346b49e866a71d68bb89b6279966b260860139e20bb";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn given(header: &str, body: &str, now: i64) -> Result<(), WebhookError> {
        verify(SECRET, body.as_bytes(), Some(header), at(now))
    }

    #[test]
    fn the_known_answer_of_the_official_libraries_is_ours() {
        assert_eq!(signature(SECRET, &TIME.to_string(), BODY.as_bytes()).as_deref(), Some(V1));
        assert_eq!(given(&format!("t={TIME},v1={V1}"), BODY, TIME), Ok(()));
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_both_ways() {
        let header = format!("t={TIME},v1={V1}");
        for (age, verdict) in [
            (0, Ok(())),
            (299, Ok(())),
            (300, Ok(())),
            (301, Err(WebhookError::Stale)),
            (-300, Ok(())),
            (-301, Err(WebhookError::Stale)),
            (-3_600, Err(WebhookError::Stale)),
        ] {
            assert_eq!(given(&header, BODY, TIME + age), verdict, "{age}");
        }
    }

    #[test]
    fn any_right_signature_among_several_is_enough() {
        let wrong = "0".repeat(64);
        for header in [
            format!("t={TIME},v1={wrong},v1={V1}"),
            format!("t={TIME},v1={V1},v1={wrong}"),
            format!("t={TIME},v0={wrong},v1={V1},v2=x"),
            format!("v1={V1},t={TIME}"),
        ] {
            assert_eq!(given(&header, BODY, TIME), Ok(()), "{header}");
        }
    }

    #[test]
    fn what_is_not_signed_as_it_stands_is_not_believed() {
        let good = format!("t={TIME},v1={V1}");
        let changed = BODY.replace("paid", "paie");
        let written_anew = serde_json::from_str::<Value>(BODY).unwrap();
        let written_anew = serde_json::to_string_pretty(&written_anew).unwrap();
        for (header, body) in [
            (good.as_str(), changed.as_str()),
            (&good, &written_anew),
            (&good, &format!("{BODY}\n")),
            (&format!("t={},v1={V1}", TIME + 1), BODY),
            (&format!("t={TIME},v1={}", V1.to_uppercase()), BODY),
            (&format!("t={TIME},v1={}", &V1[..63]), BODY),
            (&format!("t={TIME},v1="), BODY),
        ] {
            assert_eq!(given(header, body, TIME), Err(WebhookError::Signature), "{header}");
        }
        for header in [
            "",
            ",",
            "t",
            &format!("t={TIME}"),
            &format!("v1={V1}"),
            &format!("t={TIME},v0={V1}"),
            &format!("t={TIME}, v1={V1}"),
            &format!("t=,v1={V1}"),
            &format!("t=-1,v1={V1}"),
            &format!("t=99999999999999999999,v1={V1}"),
            &format!("t={TIME},v1={V1},{}", "x".repeat(5_000)),
        ] {
            assert_eq!(given(header, BODY, TIME), Err(WebhookError::Header), "{header}");
        }
        assert_eq!(verify(SECRET, b"", None, at(TIME)), Err(WebhookError::Header));
    }

    #[test]
    fn the_time_is_judged_only_of_what_is_genuine() {
        let header = format!("t={TIME},v1={}", "0".repeat(64));
        assert_eq!(given(&header, BODY, TIME + 9_999), Err(WebhookError::Signature));
    }

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
