//! Reserving one product: every spelling of the request, the same again, and another quantity.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::app::TestApp;

/// Every name of the one route.
pub const SPELLINGS: [&str; 8] = [
    "/api/reserve",
    "/api/reserve/",
    "/reserve",
    "/reserve/",
    "/api/inventory/reserve",
    "/api/inventory/reserve/",
    "/inventory/reserve",
    "/inventory/reserve/",
];

/// The names of a body's members, in order.
#[track_caller]
pub fn members(body: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The id in a body that is a reservation.
#[track_caller]
pub fn id_of(body: &Value) -> String {
    body["reservation_id"].as_str().unwrap().to_owned()
}

/// A moment of a body, in milliseconds; fails the test unless it is written as all are.
#[track_caller]
pub fn moment(value: &Value) -> i64 {
    let text = value.as_str().unwrap();
    assert!(text.len() == 24 && text.ends_with('Z') && text.as_bytes()[19] == b'.', "{text}");
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_made_confirmed_and_read_again() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let held = app.reserve("alice", "PHONE", 2).await.expect(201);
    assert_eq!(held["status"], "held");
    assert_eq!(held["quantity"], 2);
    assert_eq!(held["expires_in"], 600);
    assert_eq!(app.stock("PHONE").await, (5, 3, 2, 0));

    let id = held["reservation_id"].as_str().unwrap();
    let order = app.checkout("alice", id).await.expect(201);
    assert_eq!(order["total_amount"], "20.00");
    assert_eq!(order["status"], "paid");
    assert_eq!(app.stock("PHONE").await, (5, 3, 0, 2));

    let again = app.checkout("alice", id).await.expect(200);
    assert_eq!(again, order);
    let read = app.reservation(id).await.expect(200);
    assert_eq!(read["status"], "confirmed");
    assert_eq!(read["order_id"], order["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_the_route_reserves() {
    let app = TestApp::start().await;
    app.product("A", 100, json!({})).await;
    for (number, path) in SPELLINGS.iter().enumerate() {
        let user = app.customer(&format!("buyer{number}"));
        let reply = app.post(path, &user, json!({ "sku": "A" })).await;
        let location = reply.headers["location"].to_str().unwrap().to_owned();
        let held = reply.expect(201);
        assert_eq!(held["quantity"], 1, "the quantity that is meant when none is named");
        assert_eq!(location, format!("/api/reservations/{}", id_of(&held)), "{path}");
        let read = app.get(&location, &user).await.expect(200);
        assert_eq!(read["expires_at"], held["expires_at"]);
    }
    assert_eq!(app.stock("A").await, (100, 92, 8, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_reads_as_the_contract_says() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let body = json!({ "product_id": product, "quantity": 3, "email": "alice@example.org" });
    let held = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    assert_eq!(
        members(&held),
        [
            "created_at",
            "expires_at",
            "expires_in",
            "items",
            "order_id",
            "product_id",
            "quantity",
            "reason",
            "reservation_id",
            "sku",
            "status",
            "user_id"
        ]
    );
    let item = json!({ "product_id": product, "sku": "A", "quantity": 3 });
    assert_eq!(held["items"], json!([item]));
    assert_eq!((&held["sku"], &held["product_id"]), (&json!("A"), &json!(product)));
    assert_eq!((&held["user_id"], &held["status"]), (&json!("alice"), &json!("held")));
    assert_eq!((&held["reason"], &held["order_id"]), (&Value::Null, &Value::Null));
    assert_eq!(moment(&held["expires_at"]) - moment(&held["created_at"]), 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_and_admin_reserve_for_the_buyer_they_name() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    for (token, user) in [(app.service(), "alice"), (app.admin(), "bob")] {
        let body = json!({ "sku": "A", "user_id": user });
        let held = app.post("/api/reserve", &token, body).await.expect(201);
        assert_eq!(held["user_id"], user);
        let path = format!("/api/reservations/{}", id_of(&held));
        app.get(&path, &app.customer(user)).await.expect(200);
    }
    // Naming oneself changes nothing.
    let body = json!({ "sku": "A", "user_id": "carol" });
    app.post("/api/reserve", &app.customer("carol"), body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_the_hold_that_stands() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let held = app.reserve("alice", "A", 2).await.expect(201);
    for body in [
        json!({ "sku": "A", "quantity": 2 }),
        json!({ "product_id": product, "quantity": 2 }),
        json!({ "items": [{ "sku": "A", "quantity": 2 }] }),
        json!({ "sku": "A", "quantity": 2, "ttl_seconds": 5 }),
    ] {
        let again = app.post("/api/reserve", &app.customer("alice"), body).await.expect(200);
        assert_eq!(id_of(&again), id_of(&held));
        assert_eq!(again["expires_at"], held["expires_at"]);
        assert_eq!(again["created_at"], held["created_at"]);
    }
    assert_eq!(app.stock("A").await, (5, 3, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_quantity_moves_the_hold_and_not_its_deadline() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let held = app.reserve("alice", "A", 2).await.expect(201);
    for (quantity, available) in [(5, 0), (1, 4), (4, 1)] {
        let moved = app.reserve("alice", "A", quantity).await.expect(200);
        assert_eq!(id_of(&moved), id_of(&held));
        assert_eq!(moved["quantity"], quantity);
        assert_eq!(moved["expires_at"], held["expires_at"]);
        assert_eq!(app.stock("A").await, (5, available, quantity, 0));
    }
    let order = app.checkout("alice", &id_of(&held)).await.expect(201);
    assert_eq!(order["items"][0]["quantity"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_does_not_grow_beyond_the_stock() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 2).await;
    app.held("bob", "A", 2).await;
    let refused = app.reserve("alice", "A", 4).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([{ "sku": "A", "requested": 4, "available": 1 }]));
    assert_eq!(app.reservation(&id).await.expect(200)["quantity"], 2);
    assert_eq!(app.stock("A").await, (5, 1, 4, 0));
    assert_eq!(app.reserve("alice", "A", 3).await.expect(200)["quantity"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_does_not_grow_beyond_what_one_buyer_may_have() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({ "max_per_buyer": 3 })).await;
    let id = app.held("alice", "A", 2).await;
    let refused = app.reserve("alice", "A", 4).await.expect_problem(409, "buyer_limit");
    assert_eq!((&refused["limit"], &refused["held"]), (&json!(3), &json!(2)));
    assert_eq!(app.reservation(&id).await.expect(200)["quantity"], 2);
    assert_eq!(app.reserve("alice", "A", 3).await.expect(200)["quantity"], 3);
    assert_eq!(app.stock("A").await, (50, 47, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sold_out_sku_answers_409_and_says_when_a_hold_ends() {
    let app = TestApp::start().await;
    app.product("A", 3, json!({})).await;
    let first = app.reserve("alice", "A", 2).await.expect(201);
    let refused = app.reserve("bob", "A", 2).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([{ "sku": "A", "requested": 2, "available": 1 }]));
    assert_eq!(refused["soonest_expiry"], first["expires_at"]);

    app.checkout("alice", &id_of(&first)).await.expect(201);
    let refused = app.reserve("bob", "A", 2).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["soonest_expiry"], Value::Null, "nothing is held any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_product_is_404() {
    let app = TestApp::start().await;
    app.product("A", 3, json!({})).await;
    for body in [
        json!({ "sku": "NOPE" }),
        json!({ "sku": "a" }),
        json!({ "product_id": 4711 }),
        json!({ "items": [{ "sku": "A" }, { "sku": "NOPE" }] }),
    ] {
        let reply = app.post("/api/reserve", &app.customer("alice"), body).await;
        reply.expect_problem(404, "unknown_product");
    }
    app.anonymous(reqwest::Method::GET, "/api/inventory/NOPE")
        .await
        .expect_problem(404, "unknown_product");
    assert_eq!(app.stock("A").await, (3, 3, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_with_unusual_names_have_holds_too() {
    let app = TestApp::start().await;
    let product = app.product("A", 50, json!({})).await;
    for (user, in_path) in [
        ("a+b@shop.example", "a%2Bb%40shop.example"),
        ("auth0|5f7c", "auth0%7C5f7c"),
        ("{x}~!$&'()*,;=:@", "%7Bx%7D~!$&'()*,;=:@"),
        ("plain+plus", "plain+plus"),
    ] {
        let id = app.held(user, "A", 1).await;
        let list = format!("/api/users/{in_path}/reservations");
        let listed = app.get(&list, &app.customer(user)).await.expect(200);
        assert_eq!(listed["items"][0]["user_id"], user);
        assert_eq!(id_of(&listed["items"][0]), id);
        let path = format!("/reserve/{in_path}/{product}");
        let ended = app.delete(&path, &app.customer(user)).await.expect(200);
        assert_eq!((id_of(&ended), &ended["status"]), (id, &json!("cancelled")));
    }
}
