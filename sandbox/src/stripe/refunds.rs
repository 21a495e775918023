//! Refunds: never more than was paid, and each told by events.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sessions::missing;
use crate::schema::{Field, Kind, checked, may};
use crate::serve::Reply;
use crate::world::{State, World, random};

const REFUND: &[Field] = &[
    may("payment_intent", Kind::Text(5_000)),
    may("charge", Kind::Text(5_000)),
    may("amount", Kind::Whole(1, 99_999_999)),
    may("reason", Kind::OneOf(&["duplicate", "fraudulent", "requested_by_customer"])),
    may("metadata", Kind::Metadata),
];
const LIST: &[Field] = &[
    may("payment_intent", Kind::Text(5_000)),
    may("charge", Kind::Text(5_000)),
    may("limit", Kind::Whole(1, 100)),
    may("starting_after", Kind::Text(255)),
];

/// How a pending refund ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundEnd {
    /// The buyer has the money.
    Succeed,
    /// It came back.
    Fail,
}

/// A refund.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Refund {
    id: String,
    intent: String,
    charge: String,
    amount: i64,
    currency: String,
    reason: Value,
    metadata: Value,
    status: Cow<'static, str>,
    created: i64,
}

impl Refund {
    pub(crate) fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "refund", "payment_intent": self.intent,
            "charge": self.charge, "amount": self.amount, "currency": self.currency,
            "reason": self.reason, "metadata": self.metadata, "status": self.status,
            "created": self.created,
        })
    }

    /// Whether it takes from what can still be given back.
    fn counts(&self) -> bool {
        self.status != "failed"
    }
}

/// `POST /v1/refunds`
pub(crate) fn create(state: &mut State, given: &Value) -> Reply {
    made(state, given).unwrap_or_else(|refused| refused)
}

fn made(state: &mut State, given: &Value) -> Result<Reply, Reply> {
    let given = checked(given, REFUND).map_err(|bad| Reply::new(400, bad.body()))?;
    let refused = |code: &str, message: &str| {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": message });
        Err(Reply::new(400, json!({ "error": error })))
    };
    let named = (given["payment_intent"].as_str(), given["charge"].as_str());
    let wanted = match named {
        (Some(wanted), None) | (None, Some(wanted)) => wanted,
        _ => {
            let message = "One of the following params should be provided for this request: \
                           payment_intent or charge.";
            return refused("parameter_missing", message);
        }
    };
    let intents = &state.stripe.intents;
    let Some(intent) = intents.iter().find(|i| i.id == wanted || i.charge == wanted) else {
        return Err(missing("payment_intent", wanted));
    };
    if intent.status != "succeeded" {
        return refused("payment_intent_unexpected_state", "This PaymentIntent has no charge.");
    }
    let back: i64 = of(state, &intent.id).filter(|refund| refund.counts()).map(|r| r.amount).sum();
    let left = intent.amount - back;
    if left == 0 {
        let message = format!("Charge {} has already been refunded.", intent.charge);
        return refused("charge_already_refunded", &message);
    }
    let amount = given["amount"].as_i64().unwrap_or(left);
    if amount > left {
        return refused("amount_too_large", "Refund amount is greater than unrefunded amount.");
    }
    let refund = Refund {
        id: format!("re_3{}", random(23)),
        intent: intent.id.clone(),
        charge: intent.charge.clone(),
        amount,
        currency: intent.currency.clone(),
        reason: given["reason"].clone(),
        metadata: if given["metadata"].is_null() { json!({}) } else { given["metadata"].clone() },
        status: if state.stripe.refunds_pending { "pending" } else { "succeeded" }.into(),
        created: state.clock.now_s(),
    };
    let charge = json!({
        "id": intent.charge, "object": "charge", "payment_intent": intent.id,
        "amount": intent.amount, "amount_refunded": back + amount, "currency": intent.currency,
        "refunded": back + amount == intent.amount, "metadata": intent.metadata,
        "livemode": false,
    });
    let shown = refund.shown();
    state.stripe.refunds.push(refund);
    state.event("refund.created", shown.clone());
    state.event("charge.refunded", charge);
    Ok(Reply::ok(shown))
}

/// `GET /v1/refunds`
pub(crate) fn list(state: &State, given: &Value) -> Reply {
    let given = match checked(given, LIST) {
        Ok(given) => given,
        Err(bad) => return Reply::new(400, bad.body()),
    };
    let fits = |refund: &&Refund| {
        let is = |name: &str, own: &str| given[name].as_str().is_none_or(|wanted| wanted == own);
        is("payment_intent", &refund.intent) && is("charge", &refund.charge)
    };
    let limit = given["limit"].as_u64().unwrap_or(10) as usize;
    let mut found: Vec<&Refund> = state.stripe.refunds.iter().filter(fits).collect();
    found.reverse();
    if let Some(after) = given["starting_after"].as_str() {
        let place = found.iter().position(|refund| refund.id == after);
        found.drain(..place.map_or(0, |place| place + 1));
    }
    let has_more = found.len() > limit;
    let data: Vec<Value> = found.into_iter().take(limit).map(Refund::shown).collect();
    let list = json!({
        "object": "list", "url": "/v1/refunds", "has_more": has_more, "data": data,
    });
    Reply::ok(list)
}

/// `GET /v1/refunds/{id}`
pub(crate) fn one(state: &State, id: &str, given: &Value) -> Reply {
    if let Err(bad) = checked(given, &[]) {
        return Reply::new(400, bad.body());
    }
    match state.stripe.refunds.iter().find(|refund| refund.id == id) {
        Some(refund) => Reply::ok(refund.shown()),
        None => missing("refund", id),
    }
}

/// Ends a pending refund.
pub(crate) fn end(world: &World, id: &str, end: RefundEnd) -> Result<(), String> {
    let mut state = world.lock();
    let refund = state.stripe.refunds.iter_mut().find(|refund| refund.id == id);
    let refund = refund.ok_or_else(|| format!("no refund {id}"))?;
    if refund.status != "pending" {
        return Err(format!("this refund is {}", refund.status));
    }
    let (status, kind) = match end {
        RefundEnd::Succeed => ("succeeded", "refund.updated"),
        RefundEnd::Fail => ("failed", "refund.failed"),
    };
    refund.status = status.into();
    let shown = refund.shown();
    state.event(kind, shown);
    Ok(())
}

fn of<'a>(state: &'a State, intent: &'a str) -> impl Iterator<Item = &'a Refund> {
    state.stripe.refunds.iter().filter(move |refund| refund.intent == intent)
}
