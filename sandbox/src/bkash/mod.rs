//! bKash: what stands before every call (token, app key), and the routes.

mod hosted;
pub(crate) mod payments;
mod refunds;
mod tokens;

use std::sync::Arc;

use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::fault::{Call, Fault};
use crate::serve::{self, Reply};
use crate::world::{State, World};

pub use payments::Wish;

/// All that bKash knows.
pub(crate) struct BkashState {
    pub(crate) payments: Vec<payments::Payment>,
    pub(crate) tokens: Vec<tokens::Token>,
    pub(crate) clients: tokens::Clients,
}

impl BkashState {
    pub(crate) fn new(grants_per_hour: usize) -> Self {
        Self {
            payments: Vec::new(),
            tokens: Vec::new(),
            clients: tokens::Clients::new(grants_per_hour),
        }
    }
}

/// The routes of the API and of the pages.
pub(crate) fn routes(config: &mut ServiceConfig) {
    const V1: &str = "/v1.2.0-beta/tokenized/checkout";
    const V2: &str = "/v2/tokenized-checkout/refund/payment";
    config
        .route(&format!("{V1}/token/grant"), web::post().to(grant))
        .route(&format!("{V1}/token/refresh"), web::post().to(refresh))
        .route(&format!("{V1}/create"), web::post().to(create))
        .route(&format!("{V1}/execute"), web::post().to(execute))
        .route(&format!("{V1}/payment/status"), web::post().to(query))
        .route(&format!("{V1}/general/searchTransaction"), web::post().to(search))
        .route(&format!("{V1}/payment/refund"), web::post().to(refund_v1))
        .route(&format!("{V2}/transaction"), web::post().to(refund))
        .route(&format!("{V2}/status"), web::post().to(refund_status))
        .configure(hosted::routes);
}

/// What a handler of this module does.
type Work = fn(&mut State, &Map<String, Value>) -> Reply;

async fn grant(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    without_token(&world, Call::BkashGrant, &request, &body, tokens::grant).await
}

async fn refresh(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    without_token(&world, Call::BkashRefresh, &request, &body, tokens::refresh).await
}

async fn create(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashCreate, &request, &body, payments::create).await
}

async fn execute(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashExecute, &request, &body, payments::execute).await
}

async fn query(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashQuery, &request, &body, payments::query).await
}

async fn search(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashSearch, &request, &body, payments::search).await
}

async fn refund(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashRefund, &request, &body, refunds::create).await
}

async fn refund_status(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashRefundStatus, &request, &body, refunds::status).await
}

async fn refund_v1(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with_token(&world, Call::BkashRefundV1, &request, &body, refunds::first_version).await
}

/// The two calls that make tokens: they carry name and password of the merchant.
async fn without_token(
    world: &Arc<World>,
    call: Call,
    request: &HttpRequest,
    body: &Bytes,
    work: Work,
) -> HttpResponse {
    let admitted = |state: &mut State| {
        let is = |name: &str, own: &str| header(request, name) == Some(own);
        let keys = &state.keys;
        let known = is("username", &keys.bkash_username) && is("password", &keys.bkash_password);
        if known { Ok(()) } else { Err(unauthorized()) }
    };
    served(world, call, request, body, admitted, work).await
}

/// All others carry a token and the key of the application.
async fn with_token(
    world: &Arc<World>,
    call: Call,
    request: &HttpRequest,
    body: &Bytes,
    work: Work,
) -> HttpResponse {
    let admitted = |state: &mut State| {
        let token = header(request, "authorization").unwrap_or_default();
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let now = state.clock.now_s();
        let good = state.bkash.tokens.iter().any(|known| known.is(token, now));
        let key = header(request, "x-app-key") == Some(state.keys.bkash_app_key.as_str());
        if good && key { Ok(()) } else { Err(unauthorized()) }
    };
    served(world, call, request, body, admitted, work).await
}

async fn served(
    world: &Arc<World>,
    call: Call,
    request: &HttpRequest,
    body: &Bytes,
    admitted: impl FnOnce(&mut State) -> Result<(), Reply>,
    work: Work,
) -> HttpResponse {
    let fault = world.lock().faults.take(call);
    let reply = match serve::before(fault.as_ref()) {
        Some(Ok(reply)) => reply,
        Some(Err(response)) => {
            world.lock().saw(call, None, None);
            return response;
        }
        None => {
            let mut state = world.lock();
            let members = admitted(&mut state).and_then(|()| members(request, body));
            match members {
                Ok(members) => changed(work(&mut state, &members), fault.as_ref()),
                Err(refused) => refused,
            }
        }
    };
    world.lock().saw(call, serve::seen_status(fault.as_ref(), &reply), None);
    serve::after(fault, &reply).await
}

fn changed(mut reply: Reply, fault: Option<&Fault>) -> Reply {
    match fault {
        Some(Fault::AnswerAfter { status, body }) => Reply::new(*status, body.clone()),
        Some(Fault::WholeAmount) => {
            if let Some(amount) = reply.body["amount"].as_str().and_then(|a| a.strip_suffix(".00"))
            {
                reply.body["amount"] = amount.to_owned().into();
            }
            reply
        }
        _ => reply,
    }
}

/// The body: an object whose members are all text, as the gateway's schema demands.
fn members(request: &HttpRequest, body: &Bytes) -> Result<Map<String, Value>, Reply> {
    let bad = || Reply::new(400, json!({ "message": "Invalid request body" }));
    let kind = header(request, "content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Reply::new(415, json!({ "message": "Unsupported Media Type" })));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) if members.values().all(Value::is_string) => Ok(members),
        _ => Err(bad()),
    }
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn unauthorized() -> Reply {
    Reply::new(401, json!({ "message": "Unauthorized" }))
}

/// An error of the usual shape, with status 200.
fn code(code: &str, message: &str) -> Reply {
    Reply::ok(json!({ "statusCode": code, "statusMessage": message }))
}

/// A member, or nothing.
fn text<'a>(given: &'a Map<String, Value>, name: &str) -> &'a str {
    given.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Refuses members that the call does not know.
fn only(given: &Map<String, Value>, names: &[&str]) -> Result<(), Reply> {
    match given.keys().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => Err(code("2025", &format!("Invalid request body: {unknown}"))),
        None => Ok(()),
    }
}

/// Minor units of an amount with at most two decimals; more than nothing.
fn minor(amount: &str) -> Option<i64> {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 2 || whole.len() > 9 {
        return None;
    }
    let minor = format!("{whole}{decimals:0<2}").parse().ok()?;
    (minor > 0).then_some(minor)
}

/// Minor units as bKash writes them.
fn amount(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// `2025-06-09T21:26:42:858 GMT+0600`: a colon before the milliseconds.
fn time(ms: i64) -> String {
    // Dhaka is six hours ahead all year.
    let local = ms + 6 * 60 * 60 * 1_000;
    let (days, rest) = (local.div_euclid(86_400_000), local.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (h, m, s) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    let ms = rest % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}:{ms:03} GMT+0600")
}

/// Day of the Gregorian calendar, counted from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin in March, so that the leap day is the last of a year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_their_odd_way() {
        assert_eq!(time(1_749_482_802_858), "2025-06-09T21:26:42:858 GMT+0600");
        assert_eq!(time(0), "1970-01-01T06:00:00:000 GMT+0600");
        assert_eq!(time(951_782_400_000), "2000-02-29T06:00:00:000 GMT+0600");
    }

    #[test]
    fn amounts_have_two_decimals_at_most() {
        for (text, value) in [
            ("500", Some(50_000)),
            ("500.5", Some(50_050)),
            ("500.05", Some(50_005)),
            ("0.00", None),
            ("1.234", None),
            ("-1", None),
            ("1e2", None),
            ("", None),
        ] {
            assert_eq!(minor(text), value, "{text}");
        }
        assert_eq!(amount(50_005), "500.05");
    }
}
