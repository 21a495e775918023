//! What a Checkout Session, or a refund, says.

use serde_json::{Map, Value};

use crate::kernel::{Currency, Money};
use crate::payments::gateway::{Receipt, RefundStatus, Refunded, Standing};

/// How a session stands; none if it cannot be read.
pub(super) fn standing(session: &Map<String, Value>, live: bool) -> Option<Standing> {
    let status = text(session, "status")?;
    let paid = matches!(text(session, "payment_status")?, "paid" | "no_payment_required");
    match (status, paid) {
        ("complete", true) => receipt(session, live).map(Standing::Paid),
        ("complete", false) if has_failed(session) => Some(Standing::Dead),
        ("complete", false) => Some(Standing::Processing),
        ("open", _) => Some(Standing::Open),
        ("expired", _) => Some(Standing::Dead),
        _ => None,
    }
}

/// The money of a session that is paid.
pub(super) fn receipt(session: &Map<String, Value>, live: bool) -> Option<Receipt> {
    Some(Receipt {
        amount: amount(session, "amount_total")?,
        reference: reference(session),
        intent: intent(session),
        transaction: None,
        mode_fits: session.get("livemode")?.as_bool()? == live,
    })
}

/// Our payment id, as we sent it.
pub(super) fn reference(session: &Map<String, Value>) -> Option<String> {
    text(session, "client_reference_id").map(str::to_owned)
}

/// The PaymentIntent: its id, or all of it where the question asked for that.
pub(super) fn intent(session: &Map<String, Value>) -> Option<String> {
    match session.get("payment_intent")? {
        Value::String(id) => Some(id.clone()),
        Value::Object(intent) => text(intent, "id").map(str::to_owned),
        _ => None,
    }
}

/// A delayed payment that did not come: the session stays complete, and only its PaymentIntent tells.
fn has_failed(session: &Map<String, Value>) -> bool {
    let Some(Value::Object(intent)) = session.get("payment_intent") else { return false };
    matches!(text(intent, "status"), Some("requires_payment_method" | "canceled"))
}

/// An amount in minor units beside its `currency`.
pub(super) fn amount(object: &Map<String, Value>, field: &str) -> Option<Money> {
    let currency: Currency = text(object, "currency")?.to_ascii_uppercase().parse().ok()?;
    Some(Money::new(object.get(field)?.as_i64()?, currency))
}

/// A refund.
pub(super) fn refunded(refund: &Map<String, Value>) -> Option<Refunded> {
    let status = match text(refund, "status")? {
        "pending" | "requires_action" => RefundStatus::Pending,
        "succeeded" => RefundStatus::Succeeded,
        "failed" => RefundStatus::Failed,
        "canceled" => RefundStatus::Canceled,
        _ => return None,
    };
    Some(Refunded { id: text(refund, "id")?.to_owned(), status })
}

/// One of the `metadata` that we sent.
pub(super) fn metadata<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get(name)?.as_str()
}

/// A member that is text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(more: Value) -> Map<String, Value> {
        let mut session = json!({
            "id": "cs_test_1", "object": "checkout.session", "status": "complete",
            "payment_status": "paid", "amount_total": 1999, "currency": "usd", "livemode": false,
            "client_reference_id": "01935f6e-9c40-7d18-8e2a-6b7c8d9e0f1a", "payment_intent": "pi_1",
        });
        let members = session.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        members.clone()
    }

    fn stands(more: Value) -> Option<Standing> {
        standing(&session(more), false)
    }

    #[test]
    fn a_session_is_paid_only_when_it_is_complete_and_paid() {
        let Some(Standing::Paid(receipt)) = stands(json!({})) else { panic!("not paid") };
        assert_eq!(receipt.amount, Money::new(1999, "USD".parse().unwrap()));
        assert_eq!(receipt.intent.as_deref(), Some("pi_1"));
        assert!(receipt.mode_fits);
        let free = json!({ "payment_status": "no_payment_required", "amount_total": 0 });
        assert!(matches!(stands(free), Some(Standing::Paid(_))));
        let unpaid = "unpaid";
        let open = json!({ "status": "open", "payment_status": unpaid });
        assert_eq!(stands(open), Some(Standing::Open));
        let expired = json!({ "status": "expired", "payment_status": unpaid });
        assert_eq!(stands(expired), Some(Standing::Dead));
        assert_eq!(stands(json!({ "payment_status": unpaid })), Some(Standing::Processing));
    }

    #[test]
    fn a_delayed_payment_that_did_not_come_is_over() {
        for (status, standing) in [
            ("processing", Standing::Processing),
            ("requires_payment_method", Standing::Dead),
            ("canceled", Standing::Dead),
        ] {
            let intent = json!({ "id": "pi_1", "status": status });
            let session = json!({ "payment_status": "unpaid", "payment_intent": intent });
            assert_eq!(stands(session), Some(standing));
        }
    }

    #[test]
    fn money_of_the_wrong_mode_is_marked() {
        let Some(Standing::Paid(receipt)) = standing(&session(json!({})), true) else {
            panic!("not paid")
        };
        assert!(!receipt.mode_fits);
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for odd in [
            json!({ "status": "paused" }),
            json!({ "status": null }),
            json!({ "payment_status": 1 }),
            json!({ "amount_total": 19.99 }),
            json!({ "amount_total": "1999" }),
            json!({ "currency": "dollars" }),
            json!({ "livemode": "no" }),
        ] {
            assert_eq!(stands(odd.clone()), None, "{odd}");
        }
    }
}
