//! Answers, right and wrong.

use super::*;
use crate::cli::loadtest::desk::Stays;

const HELD: &str = r#"{"reservation_id":"00000000-0000-8000-8000-000000000001","user_id":"lt-7",
    "items":[],"product_id":1,"sku":"A","quantity":1,"status":"held","reason":null,
    "expires_at":"1970-01-01T00:00:09.000Z","expires_in":9,"order_id":null}"#;

fn hold() -> Hold {
    Hold {
        id: "00000000-0000-8000-8000-000000000001".parse().unwrap(),
        buyer: 7,
        deadline_ms: 9_000,
    }
}

fn reserve(standing: Option<Hold>) -> Action {
    Action::Reserve { buyer: 7, stays: Stays::AsLongAsItMay, standing }
}

fn judged(action: &Action, status: u16, retry_after: bool, body: &str) -> Verdict {
    let skus = Rc::new(Skus::new(&"A".parse().unwrap(), None).unwrap());
    let expected = Expected { skus, buyers: "lt-".into(), page: RefCell::default() };
    let answer = Answer { status, retry_after, body: body.as_bytes() };
    judge(action, &answer, &expected, 5_000)
}

fn is_wrong(verdict: &Verdict, why: &str) -> bool {
    matches!(verdict, Verdict::Wrong(said) if said.contains(why))
}

#[test]
fn a_hold_is_of_the_right_buyer_sku_and_quantity() {
    let right = Verdict::Held { id: hold().id, deadline_ms: 9_000 };
    assert_eq!(judged(&reserve(None), 201, false, HELD), right);
    for (from, to) in [
        ("\"lt-7\"", "\"lt-8\""),
        ("\"A\"", "\"B\""),
        ("\"quantity\":1", "\"quantity\":2"),
        ("\"held\"", "\"expired\""),
        ("\"reservation_id\"", "\"id\""),
    ] {
        let verdict = judged(&reserve(None), 201, false, &HELD.replace(from, to));
        assert!(is_wrong(&verdict, ""), "{to}: {verdict:?}");
    }
}

#[test]
fn a_hold_stands_only_for_a_buyer_that_had_it() {
    assert!(is_wrong(&judged(&reserve(None), 200, false, HELD), "had no hold"));
    let right = Verdict::Held { id: hold().id, deadline_ms: 9_000 };
    assert_eq!(judged(&reserve(Some(hold())), 200, false, HELD), right);
    let earlier = Hold { deadline_ms: 8_000, ..hold() };
    assert!(is_wrong(&judged(&reserve(Some(earlier)), 200, false, HELD), "moved the deadline"));
}

#[test]
fn an_order_is_of_this_hold() {
    let order = r#"{"id":"x","reservation_id":"00000000-0000-8000-8000-000000000001",
        "status":"paid","items":[{"sku":"A","quantity":1}],"total_amount":"1.00"}"#;
    let confirm = Action::Confirm(hold());
    assert_eq!(judged(&confirm, 201, false, order), Verdict::Sold);
    assert!(is_wrong(&judged(&confirm, 200, false, order), "confirm"));
    assert!(is_wrong(&judged(&confirm, 201, false, &order.replace("paid", "refunded")), "paid"));
}

#[test]
fn a_hold_may_be_gone_only_when_it_was_due() {
    let gone = r#"{"code":"reservation_expired","status":410}"#;
    let due = Hold { deadline_ms: 5_000, ..hold() };
    assert_eq!(judged(&Action::Confirm(due), 410, false, gone), Verdict::Gone);
    assert!(is_wrong(&judged(&Action::Confirm(hold()), 410, false, gone), "not a refusal"));
}

#[test]
fn refusals_are_told_from_faults() {
    let sold_out = r#"{"code":"insufficient_stock","status":409}"#;
    let refused = judged(&reserve(None), 409, false, sold_out);
    assert_eq!(refused, Verdict::Refused { code: "insufficient_stock".into() });
    assert!(is_wrong(&judged(&Action::Confirm(hold()), 409, false, sold_out), "not a refusal"));
    let busy = r#"{"code":"overloaded","status":503,"outcome":"none"}"#;
    assert!(is_wrong(&judged(&reserve(None), 503, false, busy), "Retry-After"));
    let verdict = judged(&reserve(None), 503, true, busy);
    assert_eq!(verdict, Verdict::Refused { code: "overloaded".into() });
    let verdict = judged(&reserve(None), 503, true, &busy.replace("none", "unknown"));
    assert_eq!(verdict, Verdict::Open { code: "overloaded".into() });
    assert!(is_wrong(&judged(&reserve(None), 500, false, "{}"), ""));
}

#[test]
fn a_page_has_products_with_skus() {
    let page = |items: &str| format!(r#"{{"items":[{items}],"next_cursor":null}}"#);
    let good = page(r#"{"id":1,"sku":"A"},{"id":2,"sku":"B"}"#);
    assert_eq!(judged(&Action::List, 200, false, &good), Verdict::Seen);
    for bad in ["", r#"{"id":1}"#, r#"{"sku":""}"#] {
        let verdict = judged(&Action::List, 200, false, &page(bad));
        assert!(is_wrong(&verdict, ""), "{bad}: {verdict:?}");
    }
}
