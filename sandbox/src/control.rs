//! The switches over HTTP: the same as the library's calls, for whoever tries the service by hand.

use std::time::Duration;

use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bkash::Wish;
use crate::bkash::payments::wish;
use crate::fault::{Call, Fault};
use crate::page;
use crate::stripe::refunds::end;
use crate::stripe::sessions::act;
use crate::stripe::{Act, RefundEnd};
use crate::world::World;

const HELP: &str = include_str!("control.html");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultRequest {
    call: Call,
    fault: Fault,
    /// How many calls; 0 is all.
    #[serde(default)]
    times: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActRequest {
    act: Act,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WishRequest {
    wish: Wish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundRequest {
    end: RefundEnd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsRequest {
    held: Option<bool>,
    #[serde(default)]
    reversed: bool,
    copies: Option<usize>,
    delay_ms: Option<u64>,
    webhook_url: Option<String>,
    refunds_pending: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockRequest {
    advance_s: u64,
}

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(help))
        .route("/shop/{end}", web::get().to(shop))
        .route("/control/state", web::get().to(state))
        .route("/control/faults", web::post().to(add_fault))
        .route("/control/faults", web::delete().to(clear_faults))
        .route("/control/events", web::post().to(events))
        .route("/control/events/{id}", web::post().to(send_event))
        .route("/control/clock", web::post().to(clock))
        .route("/control/tokens", web::delete().to(revoke))
        .route("/control/stripe/{id}", web::post().to(do_act))
        .route("/control/refunds/{id}", web::post().to(end_refund))
        .route("/control/bkash/{id}", web::post().to(do_wish))
        .route("/control/tamper/{id}", web::post().to(tamper));
}

async fn help() -> HttpResponse {
    page::page(200, "stripe", "Sandbox of payments", HELP)
}

/// Stands for the shop that a buyer comes back to.
async fn shop(end: Path<String>) -> HttpResponse {
    let (title, note) = match end.as_str() {
        "paid" => (
            "Back in the shop",
            "The page of payments is through. Whether the order is paid is not for a browser to \
             say: the service learns it from the provider.",
        ),
        "cancelled" => ("Back in the shop", "Nothing was paid."),
        _ => return page::page(404, "stripe", "Not here", "<h1>There is nothing here.</h1>"),
    };
    page::page(200, "stripe", title, &format!("<p class=\"total\">{title}</p><p>{note}</p>"))
}

async fn state(world: Data<World>) -> HttpResponse {
    world.tick();
    let state = world.lock();
    let sessions = state.stripe.sessions.iter().map(|session| session.id.as_str());
    let payments = state.bkash.payments.iter().map(|payment| payment.id.as_str());
    HttpResponse::Ok().json(json!({
        "faults": state.faults.shown(),
        "sessions": sessions.filter_map(|id| state.session_shown(id, true)).collect::<Vec<_>>(),
        "refunds": state.stripe.refunds.iter().map(|refund| refund.shown()).collect::<Vec<_>>(),
        "payments": payments.filter_map(|id| state.bkash_shown(id)).collect::<Vec<_>>(),
        "events": state.stripe.events.all,
    }))
}

async fn add_fault(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with(&request, &body, |asked: FaultRequest| {
        world.lock().faults.add(asked.call, asked.fault, asked.times);
        Ok(())
    })
}

async fn clear_faults(world: Data<World>) -> HttpResponse {
    world.lock().faults.clear();
    HttpResponse::NoContent().finish()
}

async fn events(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with(&request, &body, |asked: EventsRequest| {
        if let Some(url) = &asked.webhook_url {
            world.set_webhook_url(url);
        }
        {
            let mut state = world.lock();
            let stripe = &mut state.stripe;
            stripe.events.copies = asked.copies.unwrap_or(stripe.events.copies);
            let delay = asked.delay_ms.map(Duration::from_millis);
            stripe.events.delay = delay.unwrap_or(stripe.events.delay);
            stripe.refunds_pending = asked.refunds_pending.unwrap_or(stripe.refunds_pending);
        }
        match asked.held {
            Some(true) => world.lock().stripe.events.held = true,
            Some(false) => world.release_events(asked.reversed),
            None => {}
        }
        Ok(())
    })
}

async fn send_event(world: Data<World>, id: Path<String>) -> HttpResponse {
    done(world.send_event(&id))
}

async fn clock(world: Data<World>, request: HttpRequest, body: Bytes) -> HttpResponse {
    with(&request, &body, |asked: ClockRequest| {
        world.lock().clock.advance(Duration::from_secs(asked.advance_s));
        world.tick();
        Ok(())
    })
}

async fn revoke(world: Data<World>) -> HttpResponse {
    world.lock().bkash.tokens.clear();
    HttpResponse::NoContent().finish()
}

async fn do_act(
    world: Data<World>,
    id: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    with(&request, &body, |asked: ActRequest| act(&world, &id, asked.act))
}

async fn end_refund(
    world: Data<World>,
    id: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    with(&request, &body, |asked: RefundRequest| end(&world, &id, asked.end))
}

async fn do_wish(
    world: Data<World>,
    id: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    with(&request, &body, |asked: WishRequest| wish(&world, &id, &asked.wish).map(drop))
}

async fn tamper(
    world: Data<World>,
    id: Path<String>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    with(&request, &body, |members: Value| {
        world.lock().tampered.insert(id.into_inner(), members);
        Ok(())
    })
}

/// Only JSON is taken: no page of another origin can send that without asking.
fn with<T: DeserializeOwned>(
    request: &HttpRequest,
    body: &Bytes,
    work: impl FnOnce(T) -> Result<(), String>,
) -> HttpResponse {
    let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return HttpResponse::UnsupportedMediaType().json(json!({ "error": "send JSON" }));
    }
    match serde_json::from_slice(body) {
        Ok(asked) => done(work(asked)),
        Err(error) => HttpResponse::BadRequest().json(json!({ "error": error.to_string() })),
    }
}

fn done(outcome: Result<(), String>) -> HttpResponse {
    match outcome {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => HttpResponse::Conflict().json(json!({ "error": error })),
    }
}
