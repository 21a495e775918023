//! Events: made with what happened, signed, and sent to one address; again if it does not answer 2xx, a few times.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;

use super::sessions::missing;
use crate::schema::{Field, Kind, checked, may};
use crate::serve::Reply;
use crate::world::{State, World, random};

/// Events on their way to be sent, and sendings at a time.
const QUEUE: usize = 10_000;
const AT_ONCE: usize = 32;
/// How long an answer may take, and the pauses before it is sent again.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSES: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
const LIST: &[Field] = &[
    may("types", Kind::List(&Kind::Text(100), 20)),
    may("type", Kind::Text(100)),
    may("delivery_success", Kind::Flag),
    may("limit", Kind::Whole(1, 100)),
    may("ending_before", Kind::Text(255)),
    may("starting_after", Kind::Text(255)),
];

/// All events, and how they are sent.
pub(crate) struct Events {
    pub(crate) all: Vec<Value>,
    pub(crate) held: bool,
    pub(crate) copies: usize,
    pub(crate) delay: Duration,
    url: Option<String>,
    pub(crate) waiting: Vec<String>,
    pub(crate) delivered: BTreeSet<String>,
    sender: Sender<String>,
}

impl Events {
    pub(crate) fn new(sender: Sender<String>) -> Self {
        Self {
            all: Vec::new(),
            held: false,
            copies: 1,
            delay: Duration::ZERO,
            url: None,
            waiting: Vec::new(),
            delivered: BTreeSet::new(),
            sender,
        }
    }

    fn send(&mut self, id: String) {
        if self.held || self.url.is_none() {
            self.waiting.push(id);
            return;
        }
        if let Err(full) = self.sender.try_send(id) {
            eprintln!("sandbox: an event is not sent: {full}");
        }
    }

    fn send_waiting(&mut self, reversed: bool) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if reversed {
            waiting.reverse();
        }
        waiting.into_iter().for_each(|id| self.send(id));
    }
}

/// The way from events to their sending.
pub(crate) fn channel() -> (Sender<String>, Receiver<String>) {
    tokio::sync::mpsc::channel(QUEUE)
}

impl State {
    /// Makes an event and lets it go.
    pub(crate) fn event(&mut self, kind: &str, object: Value) {
        let id = format!("evt_1{}", random(23));
        // Of the mode of its object, which may have been tampered with.
        let livemode = object.get("livemode").cloned().unwrap_or(false.into());
        self.stripe.events.all.push(json!({
            "id": id, "object": "event", "api_version": "2026-10-28.endive",
            "created": self.clock.now_s(), "livemode": livemode, "type": kind,
            "pending_webhooks": 1, "request": { "id": null, "idempotency_key": null },
            "data": { "object": object },
        }));
        self.stripe.events.send(id);
    }
}

impl World {
    /// Sends to this address from now on.
    pub(crate) fn set_webhook_url(&self, url: &str) {
        let mut state = self.lock();
        state.stripe.events.url = Some(url.to_owned());
        if !state.stripe.events.held {
            state.stripe.events.send_waiting(false);
        }
    }

    /// Sends what was held back.
    pub(crate) fn release_events(&self, reversed: bool) {
        let mut state = self.lock();
        state.stripe.events.held = false;
        state.stripe.events.send_waiting(reversed);
    }

    /// Sends an event once more.
    pub(crate) fn send_event(&self, id: &str) -> Result<(), String> {
        let mut state = self.lock();
        if !state.stripe.events.all.iter().any(|event| event["id"] == id) {
            return Err(format!("no event {id}"));
        }
        state.stripe.events.send(id.to_owned());
        Ok(())
    }
}

/// The `Stripe-Signature` of a body.
pub(crate) fn signed(secret: &str, now_s: i64, body: &str) -> String {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{now_s}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("t={now_s},v1={hex}")
}

/// Waits until an event of this object was delivered, if it ever is.
pub(crate) async fn delivered(world: &Arc<World>, object: &str) {
    for _ in 0..1_000 {
        let there = {
            let state = world.lock();
            let events = &state.stripe.events;
            events.url.is_none()
                || events.all.iter().any(|event| {
                    event["data"]["object"]["id"] == object
                        && event["id"].as_str().is_some_and(|id| events.delivered.contains(id))
                })
        };
        if there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends what comes out of the queue, until the sandbox ends.
pub(crate) async fn deliver(world: Arc<World>, mut queue: Receiver<String>) {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return eprintln!("sandbox: events cannot be sent: {error}"),
    };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut sendings = JoinSet::new();
    while let Some(id) = queue.recv().await {
        while sendings.try_join_next().is_some() {}
        let (world, client, room) = (world.clone(), client.clone(), room.clone());
        let (copies, delay) = {
            let state = world.lock();
            (state.stripe.events.copies, state.stripe.events.delay)
        };
        sendings.spawn(async move {
            tokio::time::sleep(delay).await;
            let Ok(_room) = room.acquire().await else { return };
            for _ in 0..copies {
                send(&world, &client, &id).await;
            }
        });
    }
}

async fn send(world: &World, client: &reqwest::Client, id: &str) {
    for pause in PAUSES.map(Some).into_iter().chain([None]) {
        let Some((url, body, header)) = prepared(world, id) else { return };
        let request = client.post(url).header("stripe-signature", header);
        let request = request.header("content-type", "application/json; charset=utf-8");
        let answer = request.body(body).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            world.lock().stripe.events.delivered.insert(id.to_owned());
            return;
        }
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => eprintln!("sandbox: {id} was not taken by the webhook's address"),
        }
    }
}

fn prepared(world: &World, id: &str) -> Option<(String, String, String)> {
    let state = world.lock();
    let url = state.stripe.events.url.clone()?;
    let event = state.stripe.events.all.iter().find(|event| event["id"] == id)?;
    let body = event.to_string();
    // Signed at each sending; by the machine's time even if ours was moved, as the service judges it.
    let now = crate::clock::Clock::default().now_s();
    let header = signed(&state.keys.stripe_webhook_secret, now, &body);
    Some((url, body, header))
}

/// `GET /v1/events`
pub(crate) fn list(state: &State, given: &Value) -> Reply {
    let given = match checked(given, LIST) {
        Ok(given) => given,
        Err(bad) => return Reply::new(400, bad.body()),
    };
    let events = &state.stripe.events;
    let fits = |event: &&Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        let of_type = given["types"].as_array().is_none_or(|types| types.iter().any(|t| t == kind));
        let of_type = of_type && given["type"].as_str().is_none_or(|wanted| wanted == kind);
        let there = event["id"].as_str().is_some_and(|id| events.delivered.contains(id));
        of_type && given["delivery_success"].as_bool().is_none_or(|wanted| wanted == there)
    };
    // The newest first; "before" one is newer than it.
    let mut found: Vec<&Value> = events.all.iter().rev().filter(fits).collect();
    let place = |id: Option<&str>, found: &[&Value]| {
        found.iter().position(|event| id.is_some() && event["id"].as_str() == id)
    };
    if let Some(end) = place(given["ending_before"].as_str(), &found) {
        found.truncate(end);
    }
    if let Some(start) = place(given["starting_after"].as_str(), &found) {
        found.drain(..=start);
    }
    let limit = given["limit"].as_u64().unwrap_or(10) as usize;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let list = json!({
        "object": "list", "url": "/v1/events", "has_more": has_more, "data": found,
    });
    Reply::ok(list)
}

/// `GET /v1/events/{id}`
pub(crate) fn one(state: &State, id: &str, given: &Value) -> Reply {
    if let Err(bad) = checked(given, &[]) {
        return Reply::new(400, bad.body());
    }
    match state.stripe.events.all.iter().find(|event| event["id"] == id) {
        Some(event) => Reply::ok(event.clone()),
        None => missing("event", id),
    }
}
