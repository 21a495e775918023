//! The switches over HTTP.

use serde_json::{Value, json};

use crate::{World, answer};

impl World {
    async fn control(&self, path: &str, body: Value) -> u16 {
        answer(self.client.post(self.url(&format!("/control/{path}"))).json(&body)).await.0
    }

    async fn state(&self) -> Value {
        answer(self.client.get(self.url("/control/state"))).await.1
    }

    async fn list(&self) -> Option<u16> {
        let request = self.client.get(self.url("/v1/refunds"));
        let request = request.bearer_auth(self.sandbox.keys().stripe_secret_key);
        request.send().await.ok().map(|response| response.status().as_u16())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_library_can_be_told_can_be_told_over_http() {
    let world = World::new().await;
    let fault = |fault: Value| json!({ "call": "stripe_refunds", "fault": fault, "times": 1 });
    let too_many = json!({ "answer": { "status": 429, "body": {} } });
    assert_eq!(world.control("faults", fault(too_many)).await, 204);
    assert_eq!(world.state().await["faults"][0]["left"], 1);
    assert_eq!(world.list().await, Some(429));
    assert_eq!(world.list().await, Some(200));
    assert_eq!(world.control("faults", fault("drop".into())).await, 204);
    assert_eq!(world.list().await, None);
    for odd in ["burn".into(), json!({ "delay": {} }), Value::Null] {
        assert_eq!(world.control("faults", fault(odd)).await, 400);
    }
    assert_eq!(world.control("faults", fault("hang".into())).await, 204);
    let clear = world.client.delete(world.url("/control/faults"));
    assert_eq!(answer(clear).await.0, 204);
    assert_eq!(world.list().await, Some(200));

    let request = world.client.post(world.url("/v1/checkout/sessions")).form(&[
        ("mode", "payment"),
        ("success_url", "https://shop.example.org/ok"),
        ("line_items[0][quantity]", "1"),
        ("line_items[0][price_data][currency]", "usd"),
        ("line_items[0][price_data][unit_amount]", "1999"),
        ("line_items[0][price_data][product_data][name]", "Sneaker"),
    ]);
    let request = request.bearer_auth(world.sandbox.keys().stripe_secret_key);
    let (_, session) = answer(request).await;
    let id = session["id"].as_str().unwrap();
    assert_eq!(
        world.control("events", json!({ "held": true, "copies": 2, "delay_ms": 5 })).await,
        204
    );
    assert_eq!(world.control(&format!("tamper/{id}"), json!({ "amount_total": 1 })).await, 204);
    assert_eq!(world.control(&format!("stripe/{id}"), json!({ "act": "pay" })).await, 204);
    assert_eq!(world.control(&format!("stripe/{id}"), json!({ "act": "pay" })).await, 409);
    let state = world.state().await;
    assert_eq!(state["sessions"][0]["amount_total"], 1);
    assert_eq!(state["events"][0]["data"]["object"]["amount_total"], 1);
    let event = state["events"][0]["id"].as_str().unwrap();
    assert_eq!(world.control(&format!("events/{event}"), json!({})).await, 204);
    assert_eq!(world.control("events/evt_x", json!({})).await, 409);
    assert_eq!(world.control("events", json!({ "held": false, "reversed": true })).await, 204);
    assert_eq!(world.control("clock", json!({ "advance_s": 60 })).await, 204);
    assert_eq!(world.control("refunds/re_x", json!({ "end": "succeed" })).await, 409);
    assert_eq!(world.control("bkash/TR_x", json!({ "wish": "cancel" })).await, 409);
    let tokens = world.client.delete(world.url("/control/tokens"));
    assert_eq!(answer(tokens).await.0, 204);
    // A page of another origin cannot send this without being asked.
    let form = world.client.post(world.url("/control/clock")).body("{\"advance_s\": 1}");
    assert_eq!(answer(form).await.0, 415);
}
