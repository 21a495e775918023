//! Reserving several products under one id: all of them or none.

use serde_json::{Value, json};

use crate::app::{Reply, TestApp};
use crate::reserve::{id_of, members};

async fn reserve(app: &TestApp, user: &str, items: Value) -> Reply {
    app.post("/api/reserve", &app.customer(user), json!({ "items": items })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_products_are_held_and_sold_under_one_id() {
    let app = TestApp::start().await;
    let b = app.product("B", 5, json!({})).await;
    let a = app.product("A", 5, json!({ "price": "2.50" })).await;
    let items = json!([{ "sku": "A", "quantity": 2 }, { "product_id": b, "quantity": 3 }]);
    let held = reserve(&app, "alice", items).await.expect(201);
    assert_eq!(held["items"].as_array().unwrap().len(), 2);
    assert!(!members(&held).contains(&"sku"), "with several items none stands on top");
    assert_eq!((app.stock("A").await, app.stock("B").await), ((5, 3, 2, 0), (5, 2, 3, 0)));

    let id = id_of(&held);
    let read = app.reservation(&id).await.expect(200);
    assert_eq!((&read["items"], &read["expires_at"]), (&held["items"], &held["expires_at"]));
    // Who names one product agrees to pay for no other.
    let by_product = json!({ "user_id": "alice", "product_id": a, "quantity": 2 });
    let refused = app.post("/api/checkout", &app.customer("alice"), by_product).await;
    refused.expect_problem(409, "quantity_mismatch");
    let order = app.checkout("alice", &id).await.expect(201);
    assert_eq!(order["total_amount"], "35.00");
    let sold: Vec<_> = order["items"].as_array().unwrap().iter().collect();
    assert!(sold.iter().any(|item| item["product_id"] == a && item["line_total"] == "5.00"));
    assert!(sold.iter().any(|item| item["product_id"] == b && item["line_total"] == "30.00"));
    assert_eq!((app.stock("A").await, app.stock("B").await), ((5, 3, 0, 2), (5, 2, 0, 3)));
    assert_eq!(app.checkout("alice", &id).await.expect(200), order);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_short_line_refuses_all_and_every_short_line_is_named() {
    let app = TestApp::start().await;
    for (sku, stock) in [("A", 9), ("B", 1), ("C", 9), ("D", 2)] {
        app.product(sku, stock, json!({})).await;
    }
    let bobs = app.reserve("bob", "B", 1).await.expect(201);
    let items: Vec<Value> =
        ["A", "B", "C", "D"].iter().map(|sku| json!({ "sku": sku, "quantity": 3 })).collect();
    let refused =
        reserve(&app, "alice", json!(items)).await.expect_problem(409, "insufficient_stock");
    let short =
        |sku: &str, available: i64| json!({ "sku": sku, "requested": 3, "available": available });
    assert_eq!(refused["lines"], json!([short("B", 0), short("D", 2)]));
    assert_eq!(refused["soonest_expiry"], bobs["expires_at"]);
    for (sku, stock) in [("A", 9), ("C", 9), ("D", 2)] {
        assert_eq!(app.stock(sku).await, (stock, stock, 0, 0), "{sku}");
    }
    let path = "/api/users/alice/reservations";
    let listed = app.get(path, &app.customer("alice")).await.expect(200);
    assert_eq!(listed["items"], json!([]), "nobody was told of the lines that were undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_one_product_are_summed_before_anything_is_checked() {
    let app = TestApp::start().await;
    let product = app.product("A", 3, json!({ "max_per_buyer": 3 })).await;
    let twice = json!([{ "sku": "A", "quantity": 2 }, { "product_id": product, "quantity": 2 }]);
    reserve(&app, "alice", twice).await.expect_problem(409, "buyer_limit");
    let thrice = json!([{ "sku": "A" }, { "product_id": product }, { "sku": "A" }]);
    let held = reserve(&app, "alice", thrice).await.expect(201);
    assert_eq!((&held["quantity"], &held["sku"]), (&json!(3), &json!("A")));
    assert_eq!(app.stock("A").await, (3, 0, 3, 0));

    let twice = json!([{ "sku": "A" }, { "sku": "A" }]);
    let refused = reserve(&app, "bob", twice).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([{ "sku": "A", "requested": 2, "available": 0 }]));
    let million = json!([{ "sku": "A", "quantity": 1_000_000 }, { "sku": "A" }]);
    let refused = reserve(&app, "bob", million).await.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], "items[1].quantity");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_of_a_hold_of_several_cannot_be_reserved_again() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    app.product("B", 9, json!({})).await;
    let items = json!([{ "sku": "A" }, { "sku": "B", "quantity": 2 }]);
    let held = reserve(&app, "alice", items.clone()).await.expect(201);
    for (sku, quantity) in [("A", 1), ("A", 2), ("B", 2), ("B", 1)] {
        let refused = app.reserve("alice", sku, quantity).await.expect_problem(409, "already_held");
        assert_eq!(refused["reservation_id"], held["reservation_id"], "{sku}");
    }
    let again = reserve(&app, "alice", items).await.expect_problem(409, "already_held");
    assert_eq!(again["reservation_id"], held["reservation_id"]);
    assert_eq!((app.stock("A").await, app.stock("B").await), ((9, 8, 1, 0), (9, 7, 2, 0)));
    // Another buyer is not concerned.
    app.reserve("bob", "A", 1).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_products_do_not_take_over_a_hold_of_one() {
    let app = TestApp::start().await;
    for sku in ["A", "B", "C"] {
        app.product(sku, 9, json!({})).await;
    }
    let standing = app.held("alice", "B", 2).await;
    let items = json!([{ "sku": "A" }, { "sku": "B", "quantity": 2 }, { "sku": "C" }]);
    let refused = reserve(&app, "alice", items.clone()).await.expect_problem(409, "already_held");
    assert_eq!(refused["reservation_id"], standing);
    assert_eq!((app.stock("A").await, app.stock("C").await), ((9, 9, 0, 0), (9, 9, 0, 0)));
    assert_eq!(app.reservation(&standing).await.expect(200)["status"], "held");

    app.delete(&format!("/api/reservations/{standing}"), &app.customer("alice")).await.expect(200);
    reserve(&app, "alice", items).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_products_are_held_for_the_shortest_of_their_times() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({ "hold_ttl_seconds": 50 })).await;
    app.product("B", 9, json!({ "hold_ttl_seconds": 700 })).await;
    let items = json!([{ "sku": "B" }, { "sku": "A" }]);
    let held = reserve(&app, "alice", items.clone()).await.expect(201);
    assert_eq!(held["expires_in"], 50);
    let body = json!({ "items": items, "ttl_seconds": 60 });
    let refused = app.post("/api/reserve", &app.customer("bob"), body).await;
    let refused = refused.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], "ttl_seconds");
    assert_eq!(app.stock("B").await, (9, 8, 1, 0), "the refused lines went back");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_products_fit_in_one_hold() {
    let app = TestApp::start().await;
    for number in 0..20 {
        app.product(&format!("P{number}"), 1, json!({})).await;
    }
    let items: Vec<Value> = (0..20).map(|number| json!({ "sku": format!("P{number}") })).collect();
    let held = reserve(&app, "alice", json!(items)).await.expect(201);
    assert_eq!(held["items"].as_array().unwrap().len(), 20);
    let order = app.checkout("alice", &id_of(&held)).await.expect(201);
    assert_eq!(order["total_amount"], "200.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_hold_of_several_gives_all_of_it_back() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    let b = app.product("B", 9, json!({})).await;
    let items = json!([{ "sku": "A", "quantity": 4 }, { "sku": "B", "quantity": 5 }]);

    let held = reserve(&app, "alice", items.clone()).await.expect(201);
    let ended = app.delete(&format!("/api/reserve/alice/{b}"), &app.customer("alice")).await;
    assert_eq!(id_of(&ended.expect(200)), id_of(&held), "one product of it names all of it");
    assert_eq!((app.stock("A").await, app.stock("B").await), ((9, 9, 0, 0), (9, 9, 0, 0)));

    let body = json!({ "items": items, "ttl_seconds": 1 });
    let held = app.post("/api/reserve", &app.customer("bob"), body).await.expect(201);
    let (app, id) = (&app, &id_of(&held));
    app.until("the hold runs out", || async move {
        app.reservation(id).await.expect(200)["status"] == "expired"
    })
    .await;
    app.until("both are back", || async move {
        (app.stock("A").await, app.stock("B").await) == ((9, 9, 0, 0), (9, 9, 0, 0))
    })
    .await;
    app.checkout("bob", id).await.expect_problem(410, "reservation_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn extending_a_hold_of_several_extends_all_of_it() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    app.product("B", 9, json!({})).await;
    let items = json!([{ "sku": "A" }, { "sku": "B" }]);
    let body = json!({ "items": items, "ttl_seconds": 6 });
    let held = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    let id = id_of(&held);
    let path = format!("/api/reservations/{id}/extend");
    let extended =
        app.post(&path, &app.customer("alice"), json!({ "seconds": 60 })).await.expect(200);
    assert!(extended["expires_in"].as_i64().unwrap() > 55);
    // A hold of B that is made after and ends before shows that its time has passed.
    let body = json!({ "sku": "B", "ttl_seconds": 7 });
    let later = app.post("/api/reserve", &app.customer("bob"), body).await.expect(201);
    let (app, later) = (&app, &id_of(&later));
    app.until("the later hold runs out", || async move {
        app.reservation(later).await.expect(200)["status"] == "expired"
    })
    .await;
    assert_eq!(app.checkout("alice", &id).await.expect(201)["items"].as_array().unwrap().len(), 2);
}
