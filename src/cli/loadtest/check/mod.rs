//! Whether an answer is one that the service may give to this request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::client::Answer;
use super::desk::{Action, Hold};
use super::proof::Stock;
use super::skus::Skus;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A unit is held.
    Held { id: Uuid, deadline_ms: i64 },
    /// It became an order.
    Sold,
    /// It was given back.
    Cancelled,
    /// It had ended, and was due.
    Gone,
    /// Stock was shown, and adds up.
    Seen,
    /// Nothing has changed, for a reason the contract knows.
    Refused { code: String },
    /// The service could not say whether something has changed.
    Open { code: String },
    /// No answer of this service; says why.
    Wrong(String),
}

/// What requests have in common.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) skus: Rc<Skus>,
    /// Names of buyers: this and a number.
    pub(super) buyers: String,
    /// The last page of products that was good: the same again needs no reading.
    pub(super) page: RefCell<Vec<u8>>,
}

#[derive(Deserialize)]
struct Reservation<'a> {
    reservation_id: Uuid,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    sku: Cow<'a, str>,
    quantity: u32,
    #[serde(borrow)]
    status: Cow<'a, str>,
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Order<'a> {
    reservation_id: Uuid,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    quantity: u32,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    items: Vec<Shown<'a>>,
}

#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    status: u16,
    #[serde(borrow, default)]
    outcome: Option<Cow<'a, str>>,
}

/// Refusals of a hold that change nothing.
const RESERVE_REFUSALS: [(u16, &str); 7] = [
    (409, "insufficient_stock"),
    (409, "buyer_limit"),
    (409, "sale_not_open"),
    (409, "sale_closed"),
    (409, "sale_paused"),
    (429, "hold_churn"),
    (429, "rate_limited"),
];

/// Judges an answer.
pub(super) fn judge(
    action: &Action,
    answer: &Answer<'_>,
    expected: &Expected,
    now_ms: i64,
) -> Verdict {
    let judged = match (action, answer.status) {
        (Action::Reserve { buyer, standing, .. }, 200 | 201) => {
            held(answer, expected, *buyer, standing.as_ref())
        }
        (Action::Confirm(hold), 201) => sold(answer, expected, hold),
        (Action::Cancel(hold), 200) => cancelled(answer, hold),
        (Action::Look(number), 200) => seen(answer, expected.skus.of(*number)),
        (Action::List, 200) => listed(answer, &expected.page),
        _ => refused(action, answer, now_ms),
    };
    judged.unwrap_or_else(|why| Verdict::Wrong(wrong(action, answer, &why)))
}

fn held(
    answer: &Answer<'_>,
    expected: &Expected,
    buyer: u64,
    standing: Option<&Hold>,
) -> Result<Verdict, String> {
    let shown: Reservation<'_> = read(answer)?;
    let (id, deadline_ms) = (shown.reservation_id, shown.expires_at.as_millisecond());
    demand(shown.status == "held", "the status is not `held`")?;
    demand(shown.quantity == 1, "the quantity is not 1")?;
    demand(shown.sku == expected.skus.of(buyer), "the SKU is another")?;
    let name = shown.user_id.strip_prefix(expected.buyers.as_str());
    demand(name.and_then(|name| name.parse().ok()) == Some(buyer), "the buyer is another")?;
    match (answer.status, standing) {
        (200, None) => Err("this buyer had no hold that could stand".to_owned()),
        (200, Some(hold)) => {
            demand(id == hold.id, "the standing hold is another")?;
            demand(deadline_ms == hold.deadline_ms, "reserving again moved the deadline")?;
            Ok(Verdict::Held { id, deadline_ms })
        }
        (_, Some(hold)) if shown.expires_at.as_millisecond() - hold.deadline_ms < 0 => {
            Err("a second hold beside the one that stands".to_owned())
        }
        _ => Ok(Verdict::Held { id, deadline_ms }),
    }
}

fn sold(answer: &Answer<'_>, expected: &Expected, hold: &Hold) -> Result<Verdict, String> {
    let order: Order<'_> = read(answer)?;
    demand(order.reservation_id == hold.id, "the order is of another hold")?;
    demand(order.status == "paid", "the status is not `paid`")?;
    let [item] = order.items.as_slice() else {
        return Err("the order has not one item".to_owned());
    };
    let sku = expected.skus.of(hold.buyer);
    demand(item.sku == sku && item.quantity == 1, "the item is another")?;
    Ok(Verdict::Sold)
}

fn cancelled(answer: &Answer<'_>, hold: &Hold) -> Result<Verdict, String> {
    let shown: Reservation<'_> = read(answer)?;
    demand(shown.reservation_id == hold.id, "the hold is another")?;
    demand(shown.status == "cancelled", "the status is not `cancelled`")?;
    Ok(Verdict::Cancelled)
}

fn listed(answer: &Answer<'_>, known: &RefCell<Vec<u8>>) -> Result<Verdict, String> {
    if *known.borrow() != answer.body {
        let page: Listed<'_> = read(answer)?;
        demand(!page.items.is_empty(), "nothing is listed")?;
        demand(page.items.iter().all(|item| !item.sku.is_empty()), "a product without a SKU")?;
        known.replace(answer.body.to_vec());
    }
    Ok(Verdict::Seen)
}

fn seen(answer: &Answer<'_>, sku: &str) -> Result<Verdict, String> {
    let stock: Stock = read(answer)?;
    demand(stock.sku == sku, "the SKU is another")?;
    demand(stock.adds_up(), "total is not available + reserved + sold")?;
    Ok(Verdict::Seen)
}

fn refused(action: &Action, answer: &Answer<'_>, now_ms: i64) -> Result<Verdict, String> {
    let problem: Problem<'_> = read(answer)?;
    demand(problem.status == answer.status, "the document names another status")?;
    let code = problem.code.as_ref();
    if answer.status == 503 {
        demand(answer.retry_after, "a 503 without Retry-After")?;
        let code = code.to_owned();
        return match problem.outcome.as_deref() {
            Some("none") => Ok(Verdict::Refused { code }),
            Some("unknown") => Ok(Verdict::Open { code }),
            _ => Err("a 503 that does not tell its outcome".to_owned()),
        };
    }
    if answer.status == 429 {
        demand(answer.retry_after, "a 429 without Retry-After")?;
    }
    let known = match action {
        Action::Reserve { .. } => RESERVE_REFUSALS.contains(&(answer.status, code)),
        Action::Confirm(hold) | Action::Cancel(hold) => {
            if (answer.status, code) == (410, "reservation_expired") && hold.deadline_ms <= now_ms {
                return Ok(Verdict::Gone);
            }
            (answer.status, code) == (429, "rate_limited")
        }
        Action::Look(_) | Action::List => (answer.status, code) == (429, "rate_limited"),
    };
    demand(known, "not a refusal that fits")?;
    Ok(Verdict::Refused { code: code.to_owned() })
}

fn read<'a, T: Deserialize<'a>>(answer: &Answer<'a>) -> Result<T, String> {
    serde_json::from_slice(answer.body).map_err(|error| error.to_string())
}

fn demand(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn wrong(action: &Action, answer: &Answer<'_>, why: &str) -> String {
    let body: String = String::from_utf8_lossy(answer.body).chars().take(400).collect();
    format!("{}: {why}: {} {body}", action.kind().name(), answer.status)
}

#[cfg(test)]
mod tests;
