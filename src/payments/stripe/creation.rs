//! Making a session: what is sent, and which answer is taken for it.

use serde_json::{Map, Value};

use super::form::Form;
use super::session;
use super::{plain, unreadable};
use crate::kernel::Instant;
use crate::payments::gateway::{Attempt, GatewayError, Session};

/// Lines of a page.
const MOST_LINES: usize = 100;
/// Characters of a name.
const LONGEST_NAME: usize = 250;

/// The body of a creation: the same attempt makes the same bytes.
pub(super) fn creation(attempt: &Attempt) -> Form {
    let expires_at = attempt.parameters.get("expires_at").and_then(Value::as_i64);
    let currency = attempt.amount.currency.to_string().to_ascii_lowercase();
    let mut form = Form::default()
        .with("mode", "payment")
        .with("success_url", &attempt.success_url)
        .with("cancel_url", &attempt.cancel_url)
        .with("client_reference_id", attempt.payment)
        .with("expires_at", expires_at.unwrap_or_default())
        .with("allowed_payment_method_types[0]", "card")
        .with("adaptive_pricing[enabled]", "false");
    // The PaymentIntent does not inherit what the session carries.
    for owner in ["metadata", "payment_intent_data[metadata]"] {
        form = form.with(format!("{owner}[payment_id]"), attempt.payment);
        form = form.with(format!("{owner}[order_id]"), attempt.order);
    }
    for (number, (name, quantity, minor)) in listed(attempt).into_iter().enumerate() {
        let line = format!("line_items[{number}]");
        form = form
            .with(format!("{line}[quantity]"), quantity)
            .with(format!("{line}[price_data][currency]"), &currency)
            .with(format!("{line}[price_data][unit_amount]"), minor)
            .with(format!("{line}[price_data][product_data][name]"), name);
    }
    form
}

/// What the page lists: the lines, or one for all where they are too many or are not what the order costs.
fn listed(attempt: &Attempt) -> Vec<(String, i64, i64)> {
    let sum = attempt.lines.iter().try_fold(0_i64, |sum, line| {
        let same = line.unit.currency == attempt.amount.currency;
        let cost = line.unit.minor.checked_mul(line.quantity).filter(|_| same)?;
        sum.checked_add(cost)
    });
    if attempt.lines.len() > MOST_LINES || sum != Some(attempt.amount.minor) {
        return vec![(format!("Order {}", attempt.order), 1, attempt.amount.minor)];
    }
    let name = |name: &str| match name.trim() {
        "" => "Item".to_owned(),
        name => name.chars().take(LONGEST_NAME).collect(),
    };
    let lines = attempt.lines.iter();
    lines.map(|line| (name(&line.name), line.quantity, line.unit.minor)).collect()
}

/// The page of a creation's answer, if it is the one that was asked for.
pub(super) fn page(
    session: &Map<String, Value>,
    attempt: &Attempt,
    live: bool,
) -> Result<Session, GatewayError> {
    let read = || {
        let id = session::text(session, "id").filter(|id| plain(id).is_ok())?;
        let url = session::text(session, "url")?;
        let url = (url.starts_with("https://") || url.starts_with("http://")).then_some(url)?;
        let expires_at = session.get("expires_at")?.as_i64()?.checked_mul(1_000)?;
        Some(Session {
            provider_payment_id: id.to_owned(),
            url: url.to_owned(),
            expires_at: Instant::from_ms(expires_at),
            callback_signature: None,
        })
    };
    let as_asked = session::amount(session, "amount_total") == Some(attempt.amount)
        && session::reference(session) == Some(attempt.payment.to_string())
        && session.get("livemode").and_then(Value::as_bool) == Some(live);
    let page = read().ok_or_else(unreadable)?;
    if !as_asked {
        let reason = "the session is not the one that was asked for".to_owned();
        return Err(GatewayError::Unknown { reason });
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::{Money, OrderId, PaymentId};
    use crate::payments::gateway::AttemptLine;

    fn usd(minor: i64) -> Money {
        Money::new(minor, "USD".parse().unwrap())
    }

    fn line(name: &str, quantity: i64, minor: i64) -> AttemptLine {
        AttemptLine { name: name.into(), quantity, unit: usd(minor) }
    }

    fn attempt(minor: i64, lines: Vec<AttemptLine>) -> Attempt {
        Attempt {
            payment: PaymentId::fresh(),
            order: OrderId::fresh(),
            user: "alice".parse().unwrap(),
            amount: usd(minor),
            lines,
            idempotency_key: "key".into(),
            parameters: json!({ "expires_at": 1_794_002_100 }),
            success_url: "https://shop.example.org/ok".into(),
            cancel_url: "https://shop.example.org/back".into(),
            provider_payment_id: None,
            intent: None,
            transaction: None,
        }
    }

    #[test]
    fn the_same_attempt_makes_the_same_bytes() {
        let attempt = attempt(5_997, vec![line("Sneaker", 3, 1_999)]);
        let body = creation(&attempt).encoded();
        assert_eq!(body, creation(&attempt.clone()).encoded());
        for part in [
            "mode=payment",
            "expires_at=1794002100",
            &format!("client_reference_id={}", attempt.payment),
            &format!("payment_intent_data[metadata][payment_id]={}", attempt.payment),
            "adaptive_pricing[enabled]=false",
            "line_items[0][quantity]=3",
            "line_items[0][price_data][currency]=usd",
            "line_items[0][price_data][unit_amount]=1999",
            "line_items[0][price_data][product_data][name]=Sneaker",
        ] {
            assert!(body.split('&').any(|field| field == part), "{part} is not in {body}");
        }
    }

    #[test]
    fn the_page_lists_what_the_order_costs_or_one_line_for_all() {
        let lines = vec![line("Sneaker", 1, 1_999), line(" ", 2, 50)];
        let fits = attempt(2_099, lines.clone());
        let expected = [("Sneaker".to_owned(), 1, 1_999), ("Item".to_owned(), 2, 50)];
        assert_eq!(listed(&fits), expected);
        let other_total = attempt(2_000, lines);
        let one = [(format!("Order {}", other_total.order), 1, 2_000)];
        assert_eq!(listed(&other_total), one);
        let many = attempt(101, (0..101).map(|_| line("x", 1, 1)).collect());
        assert_eq!(listed(&many).len(), 1);
        let huge = attempt(1, vec![line("x", i64::MAX, 2)]);
        assert_eq!(listed(&huge)[0].2, 1);
    }

    #[test]
    fn a_page_is_taken_only_if_it_is_the_one_asked_for() {
        let attempt = attempt(1_999, vec![line("Sneaker", 1, 1_999)]);
        let with = |name: &str, value: Value| {
            let mut session = json!({
                "id": "cs_test_1", "url": "https://checkout.example/c/pay/cs_test_1",
                "expires_at": 1_794_002_100, "amount_total": 1_999, "currency": "usd",
                "client_reference_id": attempt.payment, "livemode": false,
            });
            session[name] = value;
            page(session.as_object().unwrap(), &attempt, false)
        };
        assert_eq!(with("id", "cs_test_1".into()).unwrap().expires_at.as_ms(), 1_794_002_100_000);
        for (name, odd) in [
            ("id", json!("../refunds")),
            ("id", Value::Null),
            ("url", Value::Null),
            ("url", json!("javascript:alert(1)")),
            ("amount_total", json!(1_998)),
            ("currency", json!("bdt")),
            ("client_reference_id", json!("another")),
            ("livemode", json!(true)),
            ("expires_at", json!("soon")),
        ] {
            let outcome = with(name, odd.clone());
            assert!(
                matches!(outcome, Err(GatewayError::Unknown { .. })),
                "{name} {odd}: {outcome:?}"
            );
        }
    }
}
