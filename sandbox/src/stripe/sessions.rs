//! Checkout Sessions: open, complete (paid or not yet), expired; and the PaymentIntents they make.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::schema::{Field, Kind, checked, may, must};
use crate::serve::Reply;
use crate::world::{State, World, random};

const SHORTEST_LIFE_S: i64 = 30 * 60;
const LONGEST_LIFE_S: i64 = 24 * 60 * 60;
const LARGEST: i64 = 99_999_999;

const PRODUCT: &[Field] = &[
    must("name", Kind::Text(5_000)),
    may("description", Kind::Text(40_000)),
    may("images", Kind::List(&Kind::Url, 8)),
    may("metadata", Kind::Metadata),
];
const PRICE: &[Field] = &[
    must("currency", Kind::OneOf(&["usd", "bdt", "eur", "gbp", "jpy"])),
    must("unit_amount", Kind::Whole(0, LARGEST)),
    must("product_data", Kind::Object(PRODUCT)),
];
const LINE: Kind = Kind::Object(&[
    must("quantity", Kind::Whole(1, 999_999)),
    must("price_data", Kind::Object(PRICE)),
    may("metadata", Kind::Metadata),
]);
const TYPES: Kind = Kind::OneOf(&["card", "link", "cashapp", "sepa_debit", "us_bank_account"]);
const INTENT: &[Field] = &[
    may("metadata", Kind::Metadata),
    may("description", Kind::Text(1_000)),
    may("capture_method", Kind::OneOf(&["automatic", "automatic_async"])),
    may("statement_descriptor_suffix", Kind::Text(22)),
];
const SESSION: &[Field] = &[
    must("mode", Kind::OneOf(&["payment"])),
    must("success_url", Kind::Url),
    may("cancel_url", Kind::Url),
    must("line_items", Kind::List(&LINE, 100)),
    may("client_reference_id", Kind::Text(200)),
    may("customer_email", Kind::Text(512)),
    may("expires_at", Kind::Whole(0, i64::MAX)),
    may("metadata", Kind::Metadata),
    may("payment_intent_data", Kind::Object(INTENT)),
    may("allowed_payment_method_types", Kind::List(&TYPES, 20)),
    may("payment_method_types", Kind::Gone("payment_method_types_no_longer_supported")),
    may("adaptive_pricing", Kind::Object(&[may("enabled", Kind::Flag)])),
    may("ui_mode", Kind::OneOf(&["hosted_page"])),
    may("locale", Kind::Text(10)),
    may("expand", Kind::List(&EXPANSION, 10)),
];
const EXPANSION: Kind = Kind::OneOf(&["payment_intent"]);
const RETRIEVAL: &[Field] = &[may("expand", Kind::List(&EXPANSION, 10))];
/// Least totals: about half a dollar.
const LEAST: [(&str, i64); 5] =
    [("usd", 50), ("eur", 50), ("gbp", 30), ("jpy", 50), ("bdt", 6_000)];

/// What a buyer does, or what becomes of a delayed payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Pays; the money is there at once.
    Pay,
    /// Is declined; may try again.
    Decline,
    /// Pays by a way whose money comes later.
    PayLater,
    /// The delayed money came.
    Succeed,
    /// The delayed money did not come.
    Fail,
}

/// A session.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// What it was made with.
    pub(crate) given: Value,
    pub(crate) created: i64,
    pub(crate) expires_at: i64,
    pub(crate) status: Cow<'static, str>,
    pub(crate) paid: bool,
    pub(crate) intent: Option<String>,
    pub(crate) total: i64,
    pub(crate) currency: String,
    /// How often a card was declined on its page.
    pub(crate) declined: u32,
}

/// A PaymentIntent.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) status: Cow<'static, str>,
    pub(crate) metadata: Value,
    pub(crate) charge: String,
    pub(crate) created: i64,
}

impl Intent {
    pub(crate) fn shown(&self) -> Value {
        let received = if self.status == "succeeded" { self.amount } else { 0 };
        json!({
            "id": self.id, "object": "payment_intent", "amount": self.amount,
            "amount_received": received, "currency": self.currency, "status": self.status,
            "metadata": self.metadata, "latest_charge": self.charge, "created": self.created,
            "livemode": false,
        })
    }
}

/// `POST /v1/checkout/sessions`
pub(crate) fn create(state: &mut State, given: &Value) -> Reply {
    match made(state, given) {
        Ok(id) => Reply::ok(state.session_shown(&id, false).unwrap_or_default()),
        Err(refused) => refused,
    }
}

fn made(state: &mut State, given: &Value) -> Result<String, Reply> {
    let given = checked(given, SESSION).map_err(|bad| Reply::new(400, bad.body()))?;
    let refused = |code: &str, param: &str, message: &str| {
        let error = json!({
            "type": "invalid_request_error", "code": code, "param": param, "message": message,
        });
        Err(Reply::new(400, json!({ "error": error })))
    };
    let now = state.clock.now_s();
    let expires_at = given["expires_at"].as_i64().unwrap_or(now + LONGEST_LIFE_S);
    if expires_at < now + SHORTEST_LIFE_S {
        let message = "The `expires_at` timestamp must be at least 30 minutes from Checkout \
                       Session creation.";
        return refused("", "expires_at", message);
    }
    if expires_at > now + LONGEST_LIFE_S {
        let message = "The `expires_at` timestamp must be less than 24 hours from Checkout \
                       Session creation.";
        return refused("", "expires_at", message);
    }
    let lines = given["line_items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let price = |line: &Value| {
        let price = &line["price_data"];
        let amount = price["unit_amount"].as_i64()?.checked_mul(line["quantity"].as_i64()?)?;
        Some((price["currency"].as_str()?.to_owned(), amount))
    };
    let prices: Option<Vec<(String, i64)>> = lines.iter().map(price).collect();
    let prices = prices.unwrap_or_default();
    let Some((currency, _)) = prices.first().cloned() else {
        return refused("parameter_missing", "line_items", "Missing required param: line_items.");
    };
    if prices.iter().any(|(other, _)| *other != currency) {
        return refused("", "line_items", "All line items must have the same currency.");
    }
    let total = prices.iter().try_fold(0_i64, |sum, (_, amount)| sum.checked_add(*amount));
    let Some(total) = total.filter(|total| *total <= LARGEST) else {
        return refused("amount_too_large", "line_items", "The total amount is too large.");
    };
    let least = LEAST.iter().find(|(known, _)| *known == currency).map_or(50, |(_, least)| *least);
    if total < least {
        let message = "The Checkout Session's total amount must convert to at least 50 cents.";
        return refused("amount_too_small", "line_items", message);
    }
    let id = format!("cs_test_a1{}", random(56));
    state.stripe.sessions.push(Session {
        id: id.clone(),
        given,
        created: now,
        expires_at,
        status: "open".into(),
        paid: false,
        intent: None,
        total,
        currency,
        declined: 0,
    });
    Ok(id)
}

/// `GET /v1/checkout/sessions/{id}`
pub(crate) fn retrieve(state: &State, id: &str, given: &Value) -> Reply {
    let given = match checked(given, RETRIEVAL) {
        Ok(given) => given,
        Err(bad) => return Reply::new(400, bad.body()),
    };
    let expanded = given["expand"].as_array().is_some_and(|paths| !paths.is_empty());
    match state.session_shown(id, expanded) {
        Some(shown) => Reply::ok(shown),
        None => missing("checkout.session", id),
    }
}

/// `POST /v1/checkout/sessions/{id}/expire`
pub(crate) fn expire(state: &mut State, id: &str, given: &Value) -> Reply {
    if let Err(bad) = checked(given, RETRIEVAL) {
        return Reply::new(400, bad.body());
    }
    let Some(session) = state.stripe.sessions.iter_mut().find(|session| session.id == id) else {
        return missing("checkout.session", id);
    };
    if session.status != "open" {
        let message = format!(
            "Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout \
             Session has a status of `{}`.",
            session.status
        );
        let error = json!({ "type": "invalid_request_error", "message": message });
        return Reply::new(400, json!({ "error": error }));
    }
    session.status = "expired".into();
    state.session_event("checkout.session.expired", id);
    Reply::ok(state.session_shown(id, false).unwrap_or_default())
}

/// `GET /v1/payment_intents/{id}`
pub(crate) fn intent(state: &State, id: &str, given: &Value) -> Reply {
    if let Err(bad) = checked(given, &[]) {
        return Reply::new(400, bad.body());
    }
    match state.stripe.intents.iter().find(|intent| intent.id == id) {
        Some(intent) => Reply::ok(intent.shown()),
        None => missing("payment_intent", id),
    }
}

/// Nothing of this id.
pub(crate) fn missing(what: &str, id: &str) -> Reply {
    let error = json!({
        "type": "invalid_request_error", "code": "resource_missing", "param": "id",
        "message": format!("No such {what}: '{id}'"),
    });
    Reply::new(404, json!({ "error": error }))
}

/// Does what a buyer, or a bank, does.
pub(crate) fn act(world: &World, id: &str, act: Act) -> Result<(), String> {
    world.tick();
    let mut guard = world.lock();
    let state = &mut *guard;
    let stripe = &mut state.stripe;
    let session = stripe.sessions.iter_mut().find(|session| session.id == id);
    let session = session.ok_or_else(|| format!("no session {id}"))?;
    let intent =
        stripe.intents.iter_mut().find(|intent| Some(&intent.id) == session.intent.as_ref());
    match (act, session.status.as_ref(), intent) {
        (Act::Decline, "open", _) => session.declined += 1,
        (Act::Pay | Act::PayLater, "open", _) => {
            let status = if act == Act::Pay { "succeeded" } else { "processing" };
            let metadata = session.given["payment_intent_data"]["metadata"].clone();
            let intent = Intent {
                id: format!("pi_3{}", random(23)),
                amount: session.total,
                currency: session.currency.clone(),
                status: status.into(),
                metadata: if metadata.is_null() { json!({}) } else { metadata },
                charge: format!("ch_3{}", random(23)),
                created: state.clock.now_s(),
            };
            session.status = "complete".into();
            session.paid = act == Act::Pay;
            session.intent = Some(intent.id.clone());
            stripe.intents.push(intent);
            state.session_event("checkout.session.completed", id);
        }
        (Act::Succeed, "complete", Some(intent)) if intent.status == "processing" => {
            intent.status = "succeeded".into();
            session.paid = true;
            state.session_event("checkout.session.async_payment_succeeded", id);
        }
        (Act::Fail, "complete", Some(intent)) if intent.status == "processing" => {
            intent.status = "requires_payment_method".into();
            state.session_event("checkout.session.async_payment_failed", id);
        }
        (act, status, _) => return Err(format!("{act:?} on a session that is {status}")),
    }
    Ok(())
}

impl World {
    /// Lets what is due happen: sessions expire.
    pub(crate) fn tick(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let now = state.clock.now_s();
        let open = state.stripe.sessions.iter_mut().filter(|session| session.status == "open");
        let mut due = Vec::new();
        for session in open.filter(|session| session.expires_at <= now) {
            session.status = "expired".into();
            due.push(session.id.clone());
        }
        for id in due {
            state.session_event("checkout.session.expired", &id);
        }
    }
}

impl State {
    /// A session as the API shows it.
    pub(crate) fn session_shown(&self, id: &str, expanded: bool) -> Option<Value> {
        let session = self.stripe.sessions.iter().find(|session| session.id == id)?;
        let given = |name: &str| session.given.get(name).cloned().unwrap_or_default();
        let intent =
            match self.stripe.intents.iter().find(|i| Some(&i.id) == session.intent.as_ref()) {
                Some(intent) if expanded => intent.shown(),
                Some(intent) => intent.id.as_str().into(),
                None => Value::Null,
            };
        let url = format!("{}/stripe/pay/{id}", self.url);
        let complete = session.status == "complete";
        let email = match given("customer_email") {
            Value::Null => "buyer@example.com".into(),
            email => email,
        };
        let details = json!({ "email": email, "name": "Sandbox Buyer", "phone": null });
        let metadata = match given("metadata") {
            Value::Null => Map::new().into(),
            metadata => metadata,
        };
        let mut shown = json!({
            "id": session.id, "object": "checkout.session", "livemode": false,
            "mode": "payment", "ui_mode": "hosted_page", "status": session.status,
            "payment_status": if session.paid { "paid" } else { "unpaid" },
            "payment_intent": intent, "amount_subtotal": session.total,
            "amount_total": session.total, "currency": session.currency,
            "created": session.created, "expires_at": session.expires_at,
            "customer_details": if complete { details } else { Value::Null },
            "metadata": metadata, "payment_method_types": ["card"],
            "url": if session.status == "open" { url.into() } else { Value::Null },
            "total_details": { "amount_discount": 0, "amount_shipping": 0, "amount_tax": 0 },
        });
        for name in [
            "adaptive_pricing",
            "allowed_payment_method_types",
            "cancel_url",
            "client_reference_id",
            "customer_email",
            "locale",
            "success_url",
        ] {
            shown[name] = given(name);
        }
        Some(self.with_tampered(id, shown))
    }

    fn session_event(&mut self, kind: &str, id: &str) {
        let object = self.session_shown(id, false).unwrap_or_default();
        self.event(kind, object);
    }
}
