//! Stripe's refusals and repetitions.

use std::time::Duration;

use holdfast_sandbox::{Act, Call, Fault, Options};
use serde_json::Value;

use crate::{World, answer};

const NAME: &str = "line_items[0][price_data][product_data][name]";
const AMOUNT: &str = "line_items[0][price_data][unit_amount]";

/// Fields by name.
type Fields = Vec<(String, String)>;

fn good() -> Fields {
    [
        ("mode", "payment"),
        ("success_url", "https://shop.example.org/ok?id={CHECKOUT_SESSION_ID}"),
        ("line_items[0][quantity]", "2"),
        ("line_items[0][price_data][currency]", "usd"),
        (AMOUNT, "999"),
        (NAME, "Sneaker"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The good ones with some changed, added, or (empty) taken away.
fn with(changes: &[(&str, &str)]) -> Fields {
    let mut fields = good();
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    fields
}

impl World {
    async fn create(&self, fields: &Fields, key: Option<&str>) -> (u16, Value) {
        let request = self.client.post(self.url("/v1/checkout/sessions")).form(fields);
        let request = request.bearer_auth(self.sandbox.keys().stripe_secret_key);
        answer(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    }

    async fn made(&self) -> String {
        let (status, session) = self.create(&good(), None).await;
        assert_eq!(status, 200, "{session}");
        session["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(self.url(path));
        answer(request.bearer_auth(self.sandbox.keys().stripe_secret_key)).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let request = self.client.post(self.url(path)).form(fields);
        answer(request.bearer_auth(self.sandbox.keys().stripe_secret_key)).await
    }

    fn in_minutes(&self, minutes: u64) -> String {
        // The machine's time: nobody moved the sandbox's.
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        (now.as_secs() + minutes * 60).to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_the_fields_that_are_read() {
    let world = World::new().await;
    let fields = with(&[
        ("client_reference_id", "ours"),
        ("metadata[order_id]", "o1"),
        ("expires_at", &world.in_minutes(31)),
        ("adaptive_pricing[enabled]", "false"),
        ("allowed_payment_method_types[0]", "card"),
        ("payment_intent_data[metadata][order_id]", "o1"),
    ]);
    let (status, session) = world.create(&fields, None).await;
    assert_eq!(status, 200, "{session}");
    assert!(session["id"].as_str().unwrap().starts_with("cs_test_"));
    assert_eq!(session["amount_total"], 1_998);
    assert_eq!(
        (&session["status"], &session["payment_status"]),
        (&"open".into(), &"unpaid".into())
    );
    assert_eq!(session["payment_intent"], Value::Null);
    assert_eq!(session["client_reference_id"], "ours");
    assert_eq!(session["livemode"], false);
    let id = session["id"].as_str().unwrap();
    world.sandbox.act(id, Act::Pay).unwrap();
    let (_, session) = world.get(&format!("/v1/checkout/sessions/{id}")).await;
    assert_eq!(session["url"], Value::Null);
    let intent = session["payment_intent"].as_str().unwrap();
    let (_, shown) = world.get(&format!("/v1/payment_intents/{intent}")).await;
    assert_eq!(
        (&shown["status"], &shown["metadata"]["order_id"]),
        (&"succeeded".into(), &"o1".into())
    );
    let expanded = format!("/v1/checkout/sessions/{id}?expand[0]=payment_intent");
    let (_, session) = world.get(&expanded).await;
    assert_eq!(session["payment_intent"]["id"], intent);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_the_real_one_refuses_are_refused() {
    let world = World::with(Options { calls_per_second: 1_000, ..Options::default() }).await;
    let (soon, late) = (world.in_minutes(29), world.in_minutes(25 * 60));
    let (long, longer) = ("x".repeat(201), "x".repeat(501));
    for (changes, code, param) in [
        (vec![("colour", "red")], "parameter_unknown", "colour"),
        (vec![("line_items[0][price]", "p")], "parameter_unknown", "line_items[0][price]"),
        (vec![("adaptive_pricing[on]", "true")], "parameter_unknown", "adaptive_pricing[on]"),
        (vec![(AMOUNT, "9.99")], "parameter_invalid_integer", AMOUNT),
        (vec![(AMOUNT, "-1")], "parameter_invalid_integer", AMOUNT),
        (
            vec![("line_items[0][quantity]", "0")],
            "parameter_invalid_integer",
            "line_items[0][quantity]",
        ),
        (vec![(NAME, "")], "parameter_missing", "line_items[0][price_data][product_data]"),
        (vec![("mode", "")], "parameter_missing", "mode"),
        (vec![("mode", "subscription")], "", "mode"),
        (vec![("success_url", "")], "parameter_missing", "success_url"),
        (vec![("success_url", "shop")], "url_invalid", "success_url"),
        (
            vec![("line_items[0][price_data][currency]", "USD")],
            "",
            "line_items[0][price_data][currency]",
        ),
        (vec![("expires_at", &soon)], "", "expires_at"),
        (vec![("expires_at", &late)], "", "expires_at"),
        (vec![("client_reference_id", &long)], "parameter_invalid_string", "client_reference_id"),
        (vec![("metadata[a]", &longer)], "parameter_invalid_metadata", "metadata"),
        (vec![("adaptive_pricing[enabled]", "no")], "", "adaptive_pricing[enabled]"),
        (vec![("ui_mode", "hosted")], "", "ui_mode"),
        (
            vec![("payment_method_types[0]", "card")],
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
        (vec![(AMOUNT, "24")], "amount_too_small", "line_items"),
        (vec![(AMOUNT, "99999999")], "amount_too_large", "line_items"),
    ] {
        let (status, body) = world.create(&with(&changes), Some("key")).await;
        let error = &body["error"];
        assert_eq!((status, &error["type"]), (400, &"invalid_request_error".into()), "{changes:?}");
        assert_eq!((&error["code"], &error["param"]), (&code.into(), &param.into()), "{changes:?}");
    }
    // None of them was kept under the key.
    assert_eq!(world.create(&good(), Some("key")).await.0, 200);
    let mut two = good();
    for (name, value) in good().into_iter().filter(|(name, _)| name.starts_with("line_items")) {
        let value = if value == "usd" { "eur".into() } else { value };
        two.push((name.replace("[0]", "[1]"), value));
    }
    assert_eq!(world.create(&two, None).await.0, 400, "two currencies");
    let nothing: Fields =
        good().into_iter().filter(|(name, _)| !name.starts_with("line_items")).collect();
    assert_eq!(world.create(&nothing, None).await.1["error"]["code"], "parameter_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_is_not_heard() {
    let world = World::new().await;
    let url = world.url("/v1/checkout/sessions");
    let key = world.sandbox.keys().stripe_secret_key;
    let post = || world.client.post(&url).form(&good());
    assert_eq!(answer(post()).await.0, 401);
    let (status, body) = answer(post().bearer_auth("sk_test_other")).await;
    assert_eq!(status, 401);
    assert!(!body.to_string().contains("other"), "{body}");
    let versioned = |version: &str| post().bearer_auth(&key).header("stripe-version", version);
    assert_eq!(answer(versioned("latest")).await.0, 400);
    assert_eq!(answer(versioned("2026-10-28.endive")).await.0, 200);
    let json = world.client.post(&url).bearer_auth(&key).json(&good());
    assert_eq!(answer(json).await.0, 400);
    assert_eq!(world.get("/v1/customers").await.0, 404);
    assert_eq!(
        world.get("/v1/checkout/sessions/cs_test_x").await.1["error"]["code"],
        "resource_missing"
    );
    assert_eq!(world.get("/v1/payment_intents/pi_x").await.0, 404);
    assert_eq!(world.get("/v1/refunds/re_x").await.0, 404);
    assert_eq!(world.get("/v1/events/evt_x").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_answer_for_a_day() {
    let world = World::new().await;
    let (_, first) = world.create(&good(), Some("k")).await;
    assert_eq!(world.create(&good(), Some("k")).await, (200, first.clone()));
    let (status, body) = world.create(&with(&[(NAME, "Boot")]), Some("k")).await;
    assert_eq!((status, &body["error"]["type"]), (400, &"idempotency_error".into()));
    assert_eq!(world.sandbox.sessions().len(), 1);
    // An error 500 that did it is repeated, and does it once.
    world.sandbox.fail(Call::StripeCreate, Fault::error_after_commit(), 1);
    for _ in 0..3 {
        assert_eq!(world.create(&good(), Some("broken")).await.0, 500);
    }
    assert_eq!(world.sandbox.sessions().len(), 2);
    world.sandbox.advance(Duration::from_secs(25 * 3_600));
    let (status, later) = world.create(&good(), Some("k")).await;
    assert_eq!(status, 200);
    assert_ne!(later["id"], first["id"]);
    let long = "k".repeat(256);
    assert_eq!(world.create(&good(), Some(&long)).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_use_is_a_conflict() {
    let world = World::new().await;
    world.sandbox.fail(Call::StripeCreate, Fault::Delay { ms: 4_000 }, 1);
    let fields = good();
    let (slow, quick) = tokio::join!(world.create(&fields, Some("k")), async {
        // The first is done, and its answer under way.
        while world.sandbox.sessions().is_empty() {
            tokio::task::yield_now().await;
        }
        world.create(&fields, Some("k")).await
    });
    assert_eq!((slow.0, quick.0), (200, 409));
    assert_eq!(quick.1["error"]["code"], "idempotency_key_in_use");
    assert_eq!(world.create(&fields, Some("k")).await, slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_25_calls_in_a_second_are_too_many() {
    let world = World::new().await;
    let calls = (0..200).map(|_| world.get("/v1/refunds"));
    let answers = futures_util::future::join_all(calls).await;
    let count = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    assert_eq!(count(200) + count(429), answers.len(), "{answers:?}");
    assert!(count(200) >= 25 && count(429) > 0, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_open_can_be_expired_or_paid() {
    let world = World::new().await;
    let [open, paid, later, timed] =
        [world.made().await, world.made().await, world.made().await, world.made().await];
    world.sandbox.act(&paid, Act::Pay).unwrap();
    world.sandbox.act(&later, Act::PayLater).unwrap();
    let expire =
        async |id: &str| world.post(&format!("/v1/checkout/sessions/{id}/expire"), &[]).await;
    assert_eq!(expire(&open).await.1["status"], "expired");
    for id in [&open, &paid, &later] {
        let (status, body) = expire(id).await;
        let message = body["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains("[\"open\"]"), "{message}");
    }
    assert_eq!(expire("cs_test_x").await.0, 404);
    assert!(world.sandbox.act(&open, Act::Pay).is_err());
    assert!(world.sandbox.act(&paid, Act::Succeed).is_err());
    assert!(world.sandbox.act(&later, Act::Pay).is_err());
    world.sandbox.act(&later, Act::Fail).unwrap();
    assert!(world.sandbox.act(&later, Act::Succeed).is_err());
    world.sandbox.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(world.sandbox.session(&timed).unwrap()["status"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_given_back_than_was_paid() {
    let world = World::new().await;
    let [paid, later] = [world.made().await, world.made().await];
    world.sandbox.act(&paid, Act::Pay).unwrap();
    world.sandbox.act(&later, Act::PayLater).unwrap();
    let intent = |id: &str| {
        world.sandbox.session(id).unwrap()["payment_intent"].as_str().unwrap().to_owned()
    };
    let (paid, later) = (intent(&paid), intent(&later));
    let refund = async |fields: &[(&str, &str)]| world.post("/v1/refunds", fields).await;
    for (fields, code) in [
        (vec![], "parameter_missing"),
        (vec![("payment_intent", paid.as_str()), ("charge", "ch_1")], "parameter_missing"),
        (vec![("payment_intent", "pi_x")], "resource_missing"),
        (vec![("payment_intent", &later)], "payment_intent_unexpected_state"),
        (vec![("payment_intent", &paid), ("amount", "1999")], "amount_too_large"),
        (vec![("payment_intent", &paid), ("amount", "0")], "parameter_invalid_integer"),
        (vec![("payment_intent", &paid), ("reason", "bored")], ""),
        (vec![("payment_intent", &paid), ("note", "x")], "parameter_unknown"),
    ] {
        let (status, body) = refund(&fields).await;
        assert!(status == 400 || status == 404, "{fields:?}");
        assert_eq!(body["error"]["code"], code, "{fields:?}");
    }
    let (_, part) = refund(&[("payment_intent", &paid), ("amount", "998")]).await;
    assert_eq!((&part["status"], &part["amount"]), (&"succeeded".into(), &998.into()));
    let (_, rest) = refund(&[("payment_intent", &paid)]).await;
    assert_eq!(rest["amount"], 1_000);
    let (_, none) = refund(&[("payment_intent", &paid)]).await;
    assert_eq!(none["error"]["code"], "charge_already_refunded");
    let (_, list) = world.get(&format!("/v1/refunds?payment_intent={paid}&limit=1")).await;
    assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&rest["id"], &true.into()));
    let one = format!("/v1/refunds/{}", part["id"].as_str().unwrap());
    assert_eq!(world.get(&one).await.1["amount"], 998);
}
