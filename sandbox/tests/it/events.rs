//! Events on their way to a service: once, twice, late, backwards, again, and before the answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_sandbox::{Act, Call, Fault, Options, RefundEnd};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{World, answer};

/// What was received: signature and body.
type Received = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes events; the first `refusals` of them with 500.
async fn receiver(refusals: usize) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let received = Received::default();
    let taken = received.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move {
        let mut left = refusals;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let mut part = [0; 4_096];
            let (head, body) = loop {
                let read = stream.read(&mut part).await.unwrap();
                text.push_str(std::str::from_utf8(&part[..read]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length: usize = header(head, "content-length").parse().unwrap();
                if body.len() == length {
                    break (head, body);
                }
            };
            let status = if left > 0 { "500 No" } else { "200 OK" };
            left = left.saturating_sub(1);
            let event = (header(head, "stripe-signature"), serde_json::from_str(body).unwrap());
            taken.lock().unwrap().push(event);
            let reply =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    (url, received)
}

fn header(head: &str, name: &str) -> String {
    let found = head.lines().find_map(|line| {
        let (known, value) = line.split_once(": ")?;
        known.eq_ignore_ascii_case(name).then(|| value.to_owned())
    });
    found.unwrap()
}

impl World {
    async fn session(&self) -> String {
        let request = self.client.post(self.url("/v1/checkout/sessions")).form(&[
            ("mode", "payment"),
            ("success_url", "https://shop.example.org/ok"),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", "1999"),
            ("line_items[0][price_data][product_data][name]", "Sneaker"),
        ]);
        let request = request.bearer_auth(self.sandbox.keys().stripe_secret_key);
        answer(request).await.1["id"].as_str().unwrap().to_owned()
    }
}

/// Waits until so many came; the answer decides, not the pause.
async fn kinds(received: &Received, count: usize) -> Vec<String> {
    let begun = Instant::now();
    while received.lock().unwrap().len() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{received:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let received = received.lock().unwrap();
    received.iter().map(|(_, event)| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_and_signed() {
    let world = World::new().await;
    let early = world.session().await;
    world.sandbox.act(&early, Act::Pay).unwrap();
    // What happened before there was an address is told then.
    let (url, received) = receiver(0).await;
    world.sandbox.set_webhook_url(&url);
    assert_eq!(kinds(&received, 1).await, ["checkout.session.completed"]);
    let later = world.session().await;
    world.sandbox.act(&later, Act::PayLater).unwrap();
    world.sandbox.act(&later, Act::Succeed).unwrap();
    kinds(&received, 3).await;
    let failed = world.session().await;
    world.sandbox.act(&failed, Act::PayLater).unwrap();
    world.sandbox.act(&failed, Act::Fail).unwrap();
    world.session().await;
    world.sandbox.advance(Duration::from_secs(25 * 3_600));
    let mut all = kinds(&received, 6).await;
    all.sort();
    assert_eq!(
        all,
        [
            "checkout.session.async_payment_failed",
            "checkout.session.async_payment_succeeded",
            "checkout.session.completed",
            "checkout.session.completed",
            "checkout.session.completed",
            "checkout.session.expired",
        ]
    );
    for (signature, event) in received.lock().unwrap().iter() {
        let (time, v1) = signature.split_once(",v1=").unwrap();
        assert!(time.starts_with("t=") && v1.len() == 64, "{signature}");
        assert_eq!(event["livemode"], false);
        assert!(event["id"].as_str().unwrap().starts_with("evt_"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_twice_late_or_backwards_where_that_is_switched_on() {
    let world = World::new().await;
    let (url, received) = receiver(0).await;
    world.sandbox.set_webhook_url(&url);
    world.sandbox.deliver_events(2, Duration::from_millis(300));
    let begun = Instant::now();
    let twice = world.session().await;
    world.sandbox.act(&twice, Act::Pay).unwrap();
    kinds(&received, 2).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    {
        let received = received.lock().unwrap();
        assert_eq!(received[0].1["id"], received[1].1["id"]);
    }
    world.sandbox.deliver_events(1, Duration::ZERO);
    world.sandbox.hold_events();
    let session = world.session().await;
    world.sandbox.act(&session, Act::PayLater).unwrap();
    world.sandbox.act(&session, Act::Succeed).unwrap();
    assert_eq!(received.lock().unwrap().len(), 2);
    world.sandbox.release_events(true);
    let mut told = kinds(&received, 4).await.split_off(2);
    // Sent at once, the last first; the network may turn two of them round.
    told.sort();
    assert_eq!(told, ["checkout.session.async_payment_succeeded", "checkout.session.completed"]);
    let id = world.sandbox.events()[0]["id"].as_str().unwrap().to_owned();
    world.sandbox.send_event(&id).unwrap();
    kinds(&received, 5).await;
    assert_eq!(received.lock().unwrap()[4].1["id"], id);
    assert!(world.sandbox.send_event("evt_x").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_taken_comes_again() {
    let world = World::new().await;
    let (url, received) = receiver(2).await;
    world.sandbox.set_webhook_url(&url);
    let session = world.session().await;
    world.sandbox.act(&session, Act::Pay).unwrap();
    kinds(&received, 3).await;
    let key = world.sandbox.keys().stripe_secret_key;
    let list = async |query: &str| {
        let request = world.client.get(world.url(&format!("/v1/events?{query}")));
        answer(request.bearer_auth(&key)).await.1["data"].as_array().unwrap().len()
    };
    let begun = Instant::now();
    while list("delivery_success=true").await < 1 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(list("delivery_success=false").await, 0);
    assert_eq!(list("types[]=checkout.session.completed").await, 1);
    assert_eq!(list("types[]=refund.created").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_can_be_faster_than_the_answer() {
    let world = World::new().await;
    let (url, received) = receiver(0).await;
    world.sandbox.set_webhook_url(&url);
    world.sandbox.fail(Call::StripeCreate, Fault::PaidBeforeAnswer, 1);
    let session = world.session().await;
    // It is here before the session's id is.
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].1["data"]["object"]["id"], session.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_tell_how_they_end() {
    let world = World::new().await;
    world.sandbox.delay_refunds(true);
    let session = world.session().await;
    world.sandbox.act(&session, Act::Pay).unwrap();
    let shown = world.sandbox.session(&session).unwrap();
    let intent = shown["payment_intent"].as_str().unwrap().to_owned();
    let request = world.client.post(world.url("/v1/refunds")).form(&[("payment_intent", intent)]);
    let request = request.bearer_auth(world.sandbox.keys().stripe_secret_key);
    let (_, refund) = answer(request).await;
    assert_eq!(refund["status"], "pending");
    let refund = refund["id"].as_str().unwrap();
    world.sandbox.end_refund(refund, RefundEnd::Fail).unwrap();
    assert!(world.sandbox.end_refund(refund, RefundEnd::Succeed).is_err());
    let told: Vec<Value> = world.sandbox.events().iter().map(|e| e["type"].clone()).collect();
    let expected =
        ["checkout.session.completed", "refund.created", "charge.refunded", "refund.failed"];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_outlives_the_sandbox_where_it_has_a_file() {
    let path = std::env::temp_dir().join(format!("holdfast-sandbox-{}", std::process::id()));
    let options = || Options { state: Some(path.clone()), ..Options::default() };
    let world = World::with(options()).await;
    let [paid, open] = [world.session().await, world.session().await];
    world.sandbox.act(&paid, Act::Pay).unwrap();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    drop(world);
    assert_ne!(text, std::fs::read_to_string(&path).unwrap());
    // Another run, another port, other keys; and the event that nobody heard is told now.
    let world = World::with(options()).await;
    let shown = world.sandbox.session(&open).unwrap();
    assert!(shown["url"].as_str().unwrap().starts_with(&world.sandbox.url));
    assert_eq!(world.sandbox.session(&paid).unwrap()["payment_status"], "paid");
    let (url, received) = receiver(0).await;
    world.sandbox.set_webhook_url(&url);
    assert_eq!(kinds(&received, 1).await, ["checkout.session.completed"]);
    let saved = std::fs::read_to_string(&path).unwrap();
    let keys = world.sandbox.keys();
    drop(world);
    std::fs::remove_file(&path).unwrap();
    assert!(!saved.contains(&keys.stripe_secret_key) && !saved.contains("whsec_"), "{saved}");
}
