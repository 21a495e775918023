//! bKash's refusals, tokens and refunds.

use std::time::Duration;

use holdfast_sandbox::{Options, Wish};
use serde_json::{Value, json};

use crate::{World, answer};

const V1: &str = "/v1.2.0-beta/tokenized/checkout";
const V2: &str = "/v2/tokenized-checkout/refund/payment";

impl World {
    async fn grant(&self) -> (u16, Value) {
        let keys = self.sandbox.keys();
        let request = self.client.post(self.url(&format!("{V1}/token/grant")));
        let request = request.header("username", &keys.bkash_username);
        let request = request.header("password", &keys.bkash_password);
        let body = json!({ "app_key": keys.bkash_app_key, "app_secret": keys.bkash_app_secret });
        answer(request.json(&body)).await
    }

    async fn refresh(&self, token: &Value) -> (u16, Value) {
        let keys = self.sandbox.keys();
        let request = self.client.post(self.url(&format!("{V1}/token/refresh")));
        let request = request.header("username", &keys.bkash_username);
        let request = request.header("password", &keys.bkash_password);
        let body = json!({
            "app_key": keys.bkash_app_key, "app_secret": keys.bkash_app_secret,
            "refresh_token": token,
        });
        answer(request.json(&body)).await
    }

    async fn token(&self) -> String {
        self.grant().await.1["id_token"].as_str().unwrap().to_owned()
    }

    async fn say(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(self.url(path)).header("authorization", token);
        let request = request.header("x-app-key", self.sandbox.keys().bkash_app_key);
        answer(request.json(&body)).await
    }

    async fn initiated(&self, token: &str, invoice: &str) -> String {
        let (_, body) =
            self.say(token, &format!("{V1}/create"), with("merchantInvoiceNumber", invoice)).await;
        body["paymentID"].as_str().unwrap().to_owned()
    }

    async fn executed(&self, token: &str, id: &str) -> Value {
        self.say(token, &format!("{V1}/execute"), json!({ "paymentID": id })).await.1
    }

    async fn paid(&self, token: &str, invoice: &str) -> (String, String) {
        let id = self.initiated(token, invoice).await;
        self.sandbox.wish(&id, Wish::Success { wallet: None }).unwrap();
        let body = self.executed(token, &id).await;
        (id, body["trxID"].as_str().unwrap().to_owned())
    }
}

/// A good creation with one member changed.
fn with(name: &str, value: &str) -> Value {
    let mut body = json!({
        "mode": "0011", "payerReference": "buyer-1", "callbackURL": "https://shop.example.org/back",
        "amount": "500.00", "currency": "BDT", "intent": "sale", "merchantInvoiceNumber": "i-0",
    });
    body[name] = value.into();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_goes_its_way() {
    let world = World::new().await;
    let token = world.token().await;
    let (status, made) = world.say(&token, &format!("{V1}/create"), with("mode", "0011")).await;
    assert_eq!((status, &made["statusCode"]), (200, &"0000".into()));
    assert_eq!(made["transactionStatus"], "Initiated");
    let success = made["successCallbackURL"].as_str().unwrap();
    assert!(success.starts_with("https://shop.example.org/back?paymentID=TR0011"), "{success}");
    let id = made["paymentID"].as_str().unwrap();
    assert_eq!(world.executed(&token, id).await["statusCode"], "2056");
    let back = world.sandbox.wish(id, Wish::Success { wallet: Some("01770618575".into()) });
    assert_eq!(back.unwrap(), success);
    let done = world.executed(&token, id).await;
    assert_eq!(
        (&done["transactionStatus"], &done["amount"]),
        (&"Completed".into(), &"500.00".into())
    );
    assert_eq!(done["merchantInvoiceNumber"], "i-0");
    assert_eq!(world.executed(&token, id).await["statusCode"], "2062");
    let query = format!("{V1}/payment/status");
    let (_, shown) =
        world.say(&format!("Bearer {token}"), &query, json!({ "paymentID": id })).await;
    assert_eq!((&shown["merchantInvoice"], &shown["trxID"]), (&"i-0".into(), &done["trxID"]));
    let search = format!("{V1}/general/searchTransaction");
    let (_, found) = world.say(&token, &search, json!({ "trxID": done["trxID"] })).await;
    assert_eq!(found["amount"], "500.00");
    let (_, none) = world.say(&token, &search, json!({ "trxID": "X" })).await;
    assert_eq!(none["statusCode"], "2077");
    // The same wallet and amount: only later.
    let second = world.initiated(&token, "i-1").await;
    world.sandbox.wish(&second, Wish::Success { wallet: Some("01770618575".into()) }).unwrap();
    assert_eq!(world.executed(&token, &second).await["statusCode"], "2029");
    world.sandbox.advance(Duration::from_secs(121));
    assert_eq!(world.executed(&token, &second).await["statusCode"], "0000");
    // A day later what was not executed is dead.
    let third = world.initiated(&token, "i-2").await;
    world.sandbox.wish(&third, Wish::Success { wallet: None }).unwrap();
    world.sandbox.advance(Duration::from_secs(24 * 3_600));
    let token = world.token().await;
    assert_eq!(world.executed(&token, &third).await["statusCode"], "2056");
    assert!(world.sandbox.wish(&third, Wish::Cancel).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_it_must_be_is_refused() {
    let world = World::new().await;
    let token = world.token().await;
    let create = format!("{V1}/create");
    world.initiated(&token, "taken").await;
    let long = "x".repeat(256);
    for (name, value, code) in [
        ("mode", "0010", "2063"),
        ("payerReference", "<b>", "2048"),
        ("payerReference", &long, "2048"),
        ("callbackURL", "shop", "2049"),
        ("amount", "500.001", "2006"),
        ("amount", "0", "2006"),
        ("currency", "USD", "2007"),
        ("intent", "authorization", "2008"),
        ("merchantInvoiceNumber", "taken", "2031"),
        ("merchantInvoiceNumber", "", "2065"),
        ("note", "x", "2025"),
    ] {
        let (status, body) = world.say(&token, &create, with(name, value)).await;
        assert_eq!((status, &body["statusCode"]), (200, &code.into()), "{name}={value}");
    }
    let (status, body) = world.say(&token, &create, json!({ "amount": 500 })).await;
    assert_eq!((status, body["message"].is_string()), (400, true));
    assert_eq!(world.executed(&token, "TR0011x").await["statusCode"], "2002");
    let (_, body) =
        world.say(&token, &format!("{V1}/payment/status"), json!({ "paymentID": "x" })).await;
    assert_eq!(body["statusCode"], "2002");
    // Neither of the two heads alone is enough.
    let url = world.url(&create);
    let keyless = world.client.post(&url).header("authorization", &token).json(&json!({}));
    assert_eq!(answer(keyless).await.0, 401);
    assert_eq!(world.say("wrong", &create, json!({})).await.0, 401);
    let (status, body) = world.say(&token, "/tokenized/checkout/create", json!({})).await;
    assert_eq!((status, &body["message"]), (403, &"Missing Authentication Token".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_live_for_an_hour_and_are_few() {
    let world = World::with(Options { grants_per_hour: 2, ..Options::default() }).await;
    let (_, granted) = world.grant().await;
    assert_eq!((&granted["expires_in"], &granted["token_type"]), (&3_600.into(), &"Bearer".into()));
    let token = granted["id_token"].as_str().unwrap().to_owned();
    world.initiated(&token, "i-1").await;
    world.sandbox.advance(Duration::from_secs(3_601));
    assert_eq!(world.say(&token, &format!("{V1}/create"), with("mode", "0011")).await.0, 401);
    let (_, again) = world.refresh(&granted["refresh_token"]).await;
    world.initiated(again["id_token"].as_str().unwrap(), "i-2").await;
    assert_eq!(world.refresh(&"wrong".into()).await.1["statusCode"], "2079");
    // A third refresh within the hour shuts the merchant out for one.
    assert_eq!(world.refresh(&granted["refresh_token"]).await.0, 429);
    assert_eq!(world.grant().await.0, 429);
    world.sandbox.advance(Duration::from_secs(3_601));
    for status in [200, 200, 429, 429] {
        assert_eq!(world.grant().await.0, status);
    }
    world.sandbox.revoke_tokens();
    let url = world.url(&format!("{V1}/token/grant"));
    assert_eq!(answer(world.client.post(url).json(&json!({}))).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_have_a_shape_of_their_own() {
    let world = World::new().await;
    let token = world.token().await;
    let (id, transaction) = world.paid(&token, "i-1").await;
    let open = world.initiated(&token, "i-2").await;
    let ask = |name: &str, value: &str| {
        let mut body = json!({
            "paymentId": id, "trxId": transaction, "refundAmount": "100.00", "sku": "s",
            "reason": "r",
        });
        body[name] = value.into();
        body
    };
    let refund = format!("{V2}/transaction");
    for (name, value, code) in [
        ("paymentId", "x", "2002"),
        ("paymentId", open.as_str(), "2127"),
        ("trxId", "x", "2077"),
        ("refundAmount", "500.01", "2072"),
        ("refundAmount", "1.001", "2072"),
        ("sku", "", "2073"),
        ("reason", "", "2076"),
        ("note", "x", "2025"),
    ] {
        let (status, body) = world.say(&token, &refund, ask(name, value)).await;
        assert_eq!((status, &body["externalCode"]), (400, &code.into()), "{name}={value}");
        assert!(body["errorMessageEn"].is_string() && body["errorMessageBn"].is_string());
    }
    let (status, done) = world.say(&token, &refund, ask("sku", "s")).await;
    assert_eq!((status, &done["refundTransactionStatus"]), (200, &"Completed".into()));
    assert_eq!(
        (&done["originalTrxId"], &done["refundAmount"]),
        (&transaction.as_str().into(), &"100.00".into())
    );
    assert_eq!(done["statusCode"], Value::Null);
    for _ in 0..4 {
        assert_eq!(world.say(&token, &refund, ask("sku", "s")).await.0, 200);
    }
    assert_eq!(world.say(&token, &refund, ask("sku", "s")).await.1["externalCode"], "2072");
    let ids = json!({ "paymentId": id, "trxId": transaction });
    let (_, status) = world.say(&token, &format!("{V2}/status"), ids).await;
    assert_eq!(status["refundTransactions"].as_array().unwrap().len(), 5);

    let (id, transaction) = world.paid(&token, "i-3").await;
    for number in 0..11 {
        let body = json!({
            "paymentId": id, "trxId": transaction, "refundAmount": "1.00", "sku": "s",
            "reason": "r",
        });
        let (status, body) = world.say(&token, &refund, body).await;
        assert_eq!(status, if number < 10 { 200 } else { 400 }, "{body}");
    }

    // The first version allows one, and tells of it when no amount is given.
    let (id, transaction) = world.paid(&token, "i-4").await;
    let first = format!("{V1}/payment/refund");
    let ids = json!({ "paymentID": id, "trxID": transaction });
    let mut body = ids.clone();
    for (name, value) in [("amount", "500"), ("sku", "s"), ("reason", "r")] {
        body[name] = value.into();
    }
    let (_, done) = world.say(&token, &first, body.clone()).await;
    assert_eq!((&done["statusCode"], &done["amount"]), (&"0000".into(), &"500.00".into()));
    assert_eq!(world.say(&token, &first, body).await.1["statusCode"], "2074");
    assert_eq!(world.say(&token, &first, ids).await.1["refundTrxID"], done["refundTrxID"]);
}
