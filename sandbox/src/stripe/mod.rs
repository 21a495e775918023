//! Stripe: what stands before every call (key, version, pace, idempotency), and the routes.

pub(crate) mod events;
mod hosted;
pub(crate) mod refunds;
pub(crate) mod sessions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::fault::{Call, Fault};
use crate::form;
use crate::serve::{self, Reply};
use crate::world::{State, World};

pub use refunds::RefundEnd;
pub use sessions::Act;

/// A key is forgotten after a day.
const KEY_LIFE_S: i64 = 24 * 60 * 60;

/// All that Stripe knows.
pub(crate) struct StripeState {
    pub(crate) sessions: Vec<sessions::Session>,
    pub(crate) intents: Vec<sessions::Intent>,
    pub(crate) refunds: Vec<refunds::Refund>,
    pub(crate) refunds_pending: bool,
    pub(crate) events: events::Events,
    pub(crate) kept: BTreeMap<String, Kept>,
    in_flight: BTreeSet<String>,
    /// When the calls of the last second came.
    calls: VecDeque<i64>,
    calls_per_second: usize,
}

/// The answer to a key's first use.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    asked: (String, Value),
    reply: Reply,
    at_s: i64,
}

impl StripeState {
    pub(crate) fn new(calls_per_second: usize, sender: Sender<String>) -> Self {
        Self {
            sessions: Vec::new(),
            intents: Vec::new(),
            refunds: Vec::new(),
            refunds_pending: false,
            events: events::Events::new(sender),
            kept: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            calls: VecDeque::new(),
            calls_per_second,
        }
    }

    fn is_too_fast(&mut self, now_ms: i64) -> bool {
        while self.calls.front().is_some_and(|call| *call <= now_ms - 1_000) {
            self.calls.pop_front();
        }
        self.calls.push_back(now_ms);
        self.calls.len() > self.calls_per_second
    }
}

/// The routes of the API and of the pages.
pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/v1/checkout/sessions", web::post().to(create))
        .route("/v1/checkout/sessions/{id}", web::get().to(retrieve))
        .route("/v1/checkout/sessions/{id}/expire", web::post().to(expire))
        .route("/v1/payment_intents/{id}", web::get().to(intent))
        .route("/v1/refunds", web::post().to(refund))
        .route("/v1/refunds", web::get().to(refund_list))
        .route("/v1/refunds/{id}", web::get().to(refund_one))
        .route("/v1/events", web::get().to(event_list))
        .route("/v1/events/{id}", web::get().to(event_one))
        .configure(hosted::routes);
}

async fn create(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let asked = Asked::post(&request, &body);
    call(&world, Call::StripeCreate, asked, sessions::create).await
}

async fn retrieve(world: Data<World>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let asked = Asked::get(&request);
    call(&world, Call::StripeRetrieve, asked, |state, given| sessions::retrieve(state, &id, given))
        .await
}

async fn expire(
    world: Data<World>,
    request: HttpRequest,
    id: Path<String>,
    body: Bytes,
) -> HttpResponse {
    let asked = Asked::post(&request, &body);
    call(&world, Call::StripeExpire, asked, |state, given| sessions::expire(state, &id, given))
        .await
}

async fn intent(world: Data<World>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let asked = Asked::get(&request);
    call(&world, Call::StripeIntent, asked, |state, given| sessions::intent(state, &id, given))
        .await
}

async fn refund(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let asked = Asked::post(&request, &body);
    call(&world, Call::StripeRefund, asked, refunds::create).await
}

async fn refund_list(world: Data<World>, request: HttpRequest) -> HttpResponse {
    call(&world, Call::StripeRefunds, Asked::get(&request), |state, given| {
        refunds::list(state, given)
    })
    .await
}

async fn refund_one(world: Data<World>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let asked = Asked::get(&request);
    call(&world, Call::StripeRefunds, asked, |state, given| refunds::one(state, &id, given)).await
}

async fn event_list(world: Data<World>, request: HttpRequest) -> HttpResponse {
    call(&world, Call::StripeEvents, Asked::get(&request), |state, given| {
        events::list(state, given)
    })
    .await
}

async fn event_one(world: Data<World>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let asked = Asked::get(&request);
    call(&world, Call::StripeEvents, asked, |state, given| events::one(state, &id, given)).await
}

/// What came over the wire.
struct Asked<'a> {
    headers: &'a HeaderMap,
    target: String,
    text: String,
    is_post: bool,
}

impl<'a> Asked<'a> {
    fn get(request: &'a HttpRequest) -> Self {
        Self {
            headers: request.headers(),
            target: request.path().to_owned(),
            text: request.query_string().to_owned(),
            is_post: false,
        }
    }

    fn post(request: &'a HttpRequest, body: &Bytes) -> Self {
        Self {
            headers: request.headers(),
            target: request.path().to_owned(),
            text: String::from_utf8_lossy(body).into_owned(),
            is_post: true,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The key that counts: only of a POST.
    fn key(&self) -> Option<String> {
        self.header("idempotency-key").filter(|_| self.is_post).map(str::to_owned)
    }
}

async fn call(
    world: &Arc<World>,
    call: Call,
    asked: Asked<'_>,
    work: impl FnOnce(&mut State, &Value) -> Reply,
) -> HttpResponse {
    world.tick();
    let key = asked.key();
    let fault = world.lock().faults.take(call);
    let (reply, mut in_flight) = match serve::before(fault.as_ref()) {
        Some(Ok(reply)) => (reply, None),
        Some(Err(response)) => {
            world.lock().saw(call, None, key);
            return response;
        }
        None => answered(world, &asked, key.as_ref(), fault.as_ref(), work),
    };
    if fault == Some(Fault::PaidBeforeAnswer) && reply.status == 200 {
        pay_first(world, &reply).await;
    }
    world.lock().saw(call, serve::seen_status(fault.as_ref(), &reply), key);
    if fault == Some(Fault::Hang) {
        // It is done, only the answer is lost.
        in_flight = None;
    }
    let response = serve::after(fault, &reply).await;
    drop(in_flight);
    response
}

/// The buyer was faster than the answer.
async fn pay_first(world: &Arc<World>, reply: &Reply) {
    let id = reply.body["id"].as_str().unwrap_or_default();
    if sessions::act(world, id, Act::Pay).is_ok() {
        events::delivered(world, id).await;
    }
}

fn answered(
    world: &Arc<World>,
    asked: &Asked<'_>,
    key: Option<&String>,
    fault: Option<&Fault>,
    work: impl FnOnce(&mut State, &Value) -> Reply,
) -> (Reply, Option<InFlight>) {
    let mut guard = world.lock();
    let state = &mut *guard;
    let given = match admitted(state, asked) {
        Ok(given) => given,
        Err(refused) => return (refused, None),
    };
    let Some(key) = key else {
        return (changed(work(state, &given), fault), None);
    };
    let now_s = state.clock.now_s();
    let asked_for = (asked.target.clone(), given);
    if let Some(reply) = known(state, key, &asked_for, now_s) {
        return (reply, None);
    }
    let reply = changed(work(state, &asked_for.1), fault);
    // Refusals of the parameters are not kept; what began is, an error 500 too.
    if matches!(reply.status, 200 | 402 | 500..) {
        let kept = Kept { asked: asked_for, reply: reply.clone(), at_s: now_s };
        state.stripe.kept.insert(key.clone(), kept);
    }
    state.stripe.in_flight.insert(key.clone());
    (reply, Some(InFlight { world: world.clone(), key: key.clone() }))
}

fn changed(reply: Reply, fault: Option<&Fault>) -> Reply {
    match fault {
        Some(Fault::AnswerAfter { status, body }) => Reply::new(*status, body.clone()),
        _ => reply,
    }
}

/// What a key that was used before answers.
fn known(state: &mut State, key: &str, asked: &(String, Value), now_s: i64) -> Option<Reply> {
    let stripe = &mut state.stripe;
    stripe.kept.retain(|_, kept| now_s - kept.at_s < KEY_LIFE_S);
    if stripe.in_flight.contains(key) {
        let message = "There is currently another in-progress request using this Idempotent Key.";
        let error = json!({
            "type": "idempotency_error", "code": "idempotency_key_in_use", "message": message,
        });
        return Some(Reply::new(409, json!({ "error": error })));
    }
    let kept = stripe.kept.get(key)?;
    if kept.asked != *asked {
        let message = "Keys for idempotent requests can only be used with the same parameters \
                       they were first used with.";
        let error = json!({ "type": "idempotency_error", "message": message });
        return Some(Reply::new(400, json!({ "error": error })));
    }
    Some(Reply { replayed: true, ..kept.reply.clone() })
}

/// A key whose answer has not left.
struct InFlight {
    world: Arc<World>,
    key: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.world.lock().stripe.in_flight.remove(&self.key);
    }
}

/// The parameters, if the call may be made at all.
fn admitted(state: &mut State, asked: &Asked<'_>) -> Result<Value, Reply> {
    let refused = |status, code: &str, message: &str| {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": message });
        Reply::new(status, json!({ "error": error }))
    };
    let authorization = asked.header("authorization").unwrap_or_default();
    let Some(given) = authorization.strip_prefix("Bearer ") else {
        return Err(refused(401, "", "You did not provide an API key."));
    };
    if given != state.keys.stripe_secret_key {
        let shown: String = given.chars().take(8).collect();
        let message = format!("Invalid API Key provided: {shown}****");
        return Err(refused(401, "", &message));
    }
    let now_ms = state.clock.now_ms();
    if state.stripe.is_too_fast(now_ms) {
        return Err(refused(429, "rate_limit", "Request rate limit exceeded."));
    }
    if let Some(version) = asked.header("stripe-version")
        && !is_version(version)
    {
        let message = format!("Invalid Stripe API version: {version}");
        return Err(refused(400, "", &message));
    }
    if asked.key().is_some_and(|key| key.is_empty() || key.len() > 255) {
        let message = "The idempotency key must be 1 to 255 characters.";
        return Err(refused(400, "idempotency_key_invalid", message));
    }
    let kind = asked.header("content-type").unwrap_or_default();
    if asked.is_post && !kind.starts_with("application/x-www-form-urlencoded") {
        let message = "The content type must be application/x-www-form-urlencoded.";
        return Err(refused(400, "", message));
    }
    form::decoded(&asked.text).map_err(|message| refused(400, "", &message))
}

/// `2026-10-28.endive`
fn is_version(version: &str) -> bool {
    let (date, name) = version.split_once('.').unwrap_or((version, "a"));
    let numbers: Vec<&str> = date.split('-').collect();
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.iter().map(|number| number.len()).eq([4, 2, 2])
        && numbers.iter().all(digits)
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase())
}
