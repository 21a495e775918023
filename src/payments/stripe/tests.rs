//! What is sent, and which pages are taken.

use super::*;
use crate::kernel::{OrderId, PaymentId};
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
        assert!(matches!(outcome, Err(GatewayError::Unknown { .. })), "{name} {odd}: {outcome:?}");
    }
}
