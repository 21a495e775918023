//! News that begins in Redis: holds that are made, extended and given back, and stock that crosses a line.

use serde_json::{Value, json};

use crate::app::{TestApp, until};
use crate::receiver::{Receiver, subscribe};

const RESERVATION: [&str; 5] = [
    "reservation.held",
    "reservation.extended",
    "reservation.expired",
    "reservation.cancelled",
    "order.paid",
];
const STOCK: [&str; 3] = ["stock.low", "stock.sold_out", "stock.available"];

/// The events of one reservation, in the order in which they came.
fn of(receiver: &Receiver, id: &str) -> Vec<String> {
    let calls = receiver.calls();
    let own = calls.iter().filter(|call| call.body["data"]["reservation_id"] == id);
    own.map(|call| call.event().to_owned()).collect()
}

/// Every replica of the test knows what is wanted once it tells of it.
async fn warmed(app: &TestApp, receiver: &Receiver, sku: &str) {
    app.product(sku, 1_000, json!({})).await;
    let mut buyers = 0..;
    let mut buyer = || format!("warm-{}", buyers.next().unwrap());
    loop {
        app.held(&buyer(), sku, 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if !receiver.calls().is_empty() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_follows_a_hold_from_its_beginning_to_its_sale() {
    let app = TestApp::start().await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &RESERVATION).await;
    warmed(&app, &receiver, "WARM").await;
    let phone = app.product("PHONE", 5, json!({})).await;
    let held = app.reserve("alice", "PHONE", 1).await.expect(201);
    let id = held["reservation_id"].as_str().unwrap();
    let moved = app.reserve("alice", "PHONE", 2).await.expect(200);
    let path = format!("/api/reservations/{id}/extend");
    let extended = app.post(&path, &app.customer("alice"), json!({ "seconds": 60 })).await;
    let extended = extended.expect(200);
    app.checkout("alice", id).await.expect(201);
    until("the sale is told", || async { of(&receiver, id).len() >= 4 }).await;
    let wanted = ["reservation.held", "reservation.held", "reservation.extended", "order.paid"];
    assert_eq!(of(&receiver, id), wanted);
    let calls = receiver.calls();
    let told: Vec<&Value> = calls
        .iter()
        .map(|call| &call.body["data"])
        .filter(|data| data["reservation_id"] == id)
        .collect();
    for (data, shown) in told.iter().zip([&held, &moved, &extended]) {
        for field in
            ["user_id", "items", "product_id", "sku", "quantity", "expires_at", "created_at"]
        {
            assert_eq!(data[field], shown[field], "{field}");
        }
        assert_eq!((&data["status"], &data["product_id"]), (&json!("held"), &json!(phone)));
    }
    assert!(!calls.iter().any(|call| call.text.contains("email")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_hold_is_told_once_with_its_reason() {
    let app = TestApp::start_with(&[("HOLDFAST__SWEEPER__TOMBSTONE_AGE", "100ms")]).await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &RESERVATION).await;
    warmed(&app, &receiver, "WARM").await;
    app.product("PHONE", 5, json!({})).await;
    let cancelled = app.held("alice", "PHONE", 1).await;
    let path = format!("/api/reservations/{cancelled}");
    let ended = app.delete(&path, &app.customer("alice")).await.expect(200);
    let short = json!({ "sku": "PHONE", "ttl_seconds": 1 });
    let expired = app.post("/api/reserve", &app.customer("bob"), short).await.expect(201);
    let expired = expired["reservation_id"].as_str().unwrap();
    until("both ends are told", || async {
        of(&receiver, &cancelled).len() >= 2 && of(&receiver, expired).len() >= 2
    })
    .await;
    assert_eq!(of(&receiver, &cancelled), ["reservation.held", "reservation.cancelled"]);
    assert_eq!(of(&receiver, expired), ["reservation.held", "reservation.expired"]);
    let calls = receiver.calls();
    let end = |id: &str| {
        let mut ends = calls.iter().filter(|call| call.body["data"]["reservation_id"] == id);
        ends.next_back().unwrap().body.clone()
    };
    let data = end(&cancelled);
    assert_eq!(
        (&data["data"]["status"], &data["data"]["reason"]),
        (&json!("cancelled"), &ended["reason"])
    );
    assert_eq!(data["timestamp"], data["data"]["ended_at"]);
    assert_eq!(end(expired)["data"]["status"], "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_of_several_products_is_told_of_as_one() {
    let app = TestApp::start_with(&[("HOLDFAST__SWEEPER__TOMBSTONE_AGE", "100ms")]).await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &RESERVATION).await;
    warmed(&app, &receiver, "WARM").await;
    app.product("CASE", 5, json!({})).await;
    app.product("PHONE", 5, json!({})).await;
    let lines =
        json!({ "items": [{ "sku": "PHONE", "quantity": 2 }, { "sku": "CASE", "quantity": 3 }] });
    let held = app.post("/api/reserve", &app.customer("alice"), lines).await.expect(201);
    let id = held["reservation_id"].as_str().unwrap();
    let path = format!("/api/reservations/{id}/extend");
    app.post(&path, &app.customer("alice"), json!({ "seconds": 60 })).await.expect(200);
    app.delete(&format!("/api/reservations/{id}"), &app.customer("alice")).await.expect(200);
    // One that is refused as a whole is told to nobody.
    let short = json!({ "items": [{ "sku": "CASE" }, { "sku": "PHONE", "quantity": 9 }] });
    let refused = app.post("/api/reserve", &app.customer("bob"), short).await;
    refused.expect_problem(409, "insufficient_stock");
    until("its end is told", || async { of(&receiver, id).len() >= 3 }).await;
    assert_eq!(
        of(&receiver, id),
        ["reservation.held", "reservation.extended", "reservation.cancelled"]
    );
    let calls = receiver.calls();
    for call in calls.iter().filter(|call| call.body["data"]["reservation_id"] == id) {
        assert_eq!(call.body["data"]["items"], held["items"], "{}", call.event());
        assert!(call.body["data"].get("sku").is_none());
    }
    assert!(!calls.iter().any(|call| call.body["data"]["user_id"] == "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_subscribes_nothing_is_written_for_them() {
    let app = TestApp::start_with(&[("HOLDFAST__SWEEPER__TOMBSTONE_AGE", "100ms")]).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    app.delete(&format!("/api/reservations/{id}"), &app.customer("alice")).await.expect(200);
    until("the end is in the history", || async {
        let ended = "select count(*) from reservation_history";
        let postgres = app.stores.postgres().await;
        postgres.query_one(ended, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let told = "select count(*) from outbox_seen where topic like 'reservation.%'";
    let postgres = app.stores.postgres().await;
    assert_eq!(postgres.query_one(told, &[]).await.unwrap().get::<_, i64>(0), 0);
    let mut redis = app.stores.redis().await;
    let key = format!("{}n:{{PHONE}}", app.stores.prefix);
    let there: i64 = redis::cmd("EXISTS").arg(&key).query_async(&mut redis).await.unwrap();
    assert_eq!(there, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_runs_low_out_and_comes_back_is_told() {
    let app = TestApp::start().await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &STOCK).await;
    let phone = app.product("PHONE", 5, json!({ "low_stock_threshold": 2 })).await;
    let told = async |count: usize| receiver.has(count).await.pop().unwrap().body;
    let one = app.held("alice", "PHONE", 3).await;
    let low = told(1).await;
    assert_eq!(low["type"], "stock.low");
    for (field, value) in [
        ("product_id", json!(phone)),
        ("sku", json!("PHONE")),
        ("total_stock", json!(5)),
        ("available_stock", json!(2)),
        ("reserved_stock", json!(3)),
        ("sold_stock", json!(0)),
        ("low_stock_threshold", json!(2)),
    ] {
        assert_eq!(low["data"][field], value, "{field}");
    }
    assert_eq!(low["timestamp"], low["data"]["as_of"]);
    app.held("bob", "PHONE", 2).await;
    assert_eq!(told(2).await["type"], "stock.sold_out");
    // A sale changes nothing of what may be held, so the next thing told is what comes back.
    app.checkout("alice", &one).await.expect(201);
    let bob = app.get("/api/users/bob/reservations", &app.service()).await.expect(200);
    let two = bob["items"][0]["reservation_id"].as_str().unwrap();
    app.delete(&format!("/api/reservations/{two}"), &app.customer("bob")).await.expect(200);
    let back = told(3).await;
    assert_eq!(back["type"], "stock.available");
    assert_eq!(
        (&back["data"]["available_stock"], &back["data"]["sold_stock"]),
        (&json!(2), &json!(3))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_that_comes_back_is_told_whichever_way_it_comes() {
    let app = TestApp::start().await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &STOCK).await;
    let phone = app.product("PHONE", 1, json!({})).await;
    let told = async |count: usize| receiver.has(count).await.pop().unwrap().body;
    let id = app.held("alice", "PHONE", 1).await;
    assert_eq!(told(1).await["type"], "stock.sold_out");
    app.delete(&format!("/api/reservations/{id}"), &app.customer("alice")).await.expect(200);
    assert_eq!(told(2).await["type"], "stock.available");
    let short = json!({ "sku": "PHONE", "ttl_seconds": 4 });
    app.post("/api/reserve", &app.customer("bob"), short).await.expect(201);
    assert_eq!(told(3).await["type"], "stock.sold_out");
    assert_eq!(told(4).await["type"], "stock.available");
    app.held("carol", "PHONE", 1).await;
    assert_eq!(told(5).await["type"], "stock.sold_out");
    let more = json!({ "product_id": phone, "movement_type": "IN", "quantity": 3 });
    app.post("/api/stock", &app.admin(), more).await.expect(201);
    let back = told(6).await;
    assert_eq!(
        (&back["type"], &back["data"]["available_stock"]),
        (&json!("stock.available"), &json!(3))
    );
    assert_eq!(receiver.events().len(), 6);
}
