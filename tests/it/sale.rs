//! The terms of a product, enforced where units are held: its time, its cap, its window, and how often one may change
//! one's mind.

use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::reserve::{id_of, moment};

fn in_hours(hours: i64) -> String {
    let now = holdfast::kernel::Clock::System.now();
    let then: Timestamp = now.checked_add(hours.hours()).unwrap();
    format!("{then:.3}")
}

#[tokio::test(flavor = "multi_thread")]
async fn request_product_and_setting_rule_how_long_a_hold_lasts() {
    let app = TestApp::start_with(&[("REDIS_TTL", "120")]).await;
    app.product("A", 50, json!({})).await;
    app.product("B", 50, json!({ "hold_ttl_seconds": 700 })).await;
    let lasting = async |user: &str, sku: &str, ttl: Value| {
        let body = json!({ "sku": sku, "ttl_seconds": ttl });
        app.post("/api/reserve", &app.customer(user), body).await
    };
    for (user, sku, ttl, seconds) in [
        ("a", "A", Value::Null, 120),
        ("b", "A", json!(7), 7),
        ("c", "A", json!(120), 120),
        ("d", "B", Value::Null, 700),
        ("e", "B", json!(700), 700),
    ] {
        let held = lasting(user, sku, ttl).await.expect(201);
        let life = moment(&held["expires_at"]) - moment(&held["created_at"]);
        assert_eq!((life, &held["expires_in"]), (seconds * 1_000, &json!(seconds)), "{user}");
    }
    for (sku, ttl) in [("A", json!(121)), ("B", json!(701)), ("A", json!(0)), ("A", json!(86_401))]
    {
        let refused = lasting("z", sku, ttl).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "ttl_seconds");
    }
    assert_eq!(app.stock("A").await, (50, 47, 3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_has_at_most_what_one_buyer_may() {
    let app = TestApp::start().await;
    let product = app.product("A", 50, json!({ "max_per_buyer": 3 })).await;
    let refused = async |quantity: i64| {
        let body = app.reserve("alice", "A", quantity).await.expect_problem(409, "buyer_limit");
        [&body["limit"], &body["held"], &body["bought"]].map(|value| value.as_i64().unwrap())
    };
    assert_eq!(refused(4).await, [3, 0, 0]);
    let id = app.held("alice", "A", 2).await;
    app.checkout("alice", &id).await.expect(201);
    assert_eq!(refused(2).await, [3, 0, 2]);
    app.held("alice", "A", 1).await;
    assert_eq!(refused(2).await, [3, 1, 2]);
    // What is given back counts no more, and another buyer counts alone.
    app.delete(&format!("/api/reserve/alice/{product}"), &app.service()).await.expect(200);
    app.reserve("alice", "A", 1).await.expect(201);
    app.reserve("bob", "A", 3).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_sale_nothing_is_held() {
    let app = TestApp::start().await;
    let starts = in_hours(1);
    app.product("A", 5, json!({ "sale_starts_at": starts })).await;
    let refused = app.reserve("alice", "A", 1).await.expect_problem(409, "sale_not_open");
    assert_eq!(refused["opens_at"], starts);
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_sale_nothing_is_held() {
    let app = TestApp::start().await;
    for (sku, ends) in [
        ("A", in_hours(-1)),
        ("B", "1970-01-01T00:00:00Z".to_owned()),
        ("C", "1960-06-01T12:00:00+02:00".to_owned()),
    ] {
        app.product(sku, 5, json!({ "sale_ends_at": ends })).await;
        app.reserve("alice", sku, 1).await.expect_problem(409, "sale_closed");
        assert_eq!(app.stock(sku).await, (5, 5, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn during_the_sale_units_are_held() {
    let app = TestApp::start().await;
    let window = json!({ "sale_starts_at": in_hours(-1), "sale_ends_at": in_hours(1) });
    app.product("A", 5, window).await;
    app.product("B", 5, json!({ "sale_starts_at": "1960-06-01T12:00:00Z" })).await;
    app.reserve("alice", "A", 1).await.expect(201);
    app.reserve("alice", "B", 1).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_is_paused_or_closed_holds_nothing() {
    let app = TestApp::start().await;
    let postgres = app.stores.postgres().await;
    for (sku, sale) in [("A", "paused"), ("B", "closed")] {
        let product = app.product(sku, 5, json!({})).await;
        let sql = "update products set sale = $1 where product_id = $2";
        postgres.execute(sql, &[&sale, &product]).await.unwrap();
    }
    app.reserve("alice", "A", 1).await.expect_problem(409, "sale_paused");
    app.reserve("alice", "B", 1).await.expect_problem(409, "sale_closed");
    assert_eq!((app.stock("A").await, app.stock("B").await), ((5, 5, 0, 0), (5, 5, 0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_not_published_cannot_be_reserved() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({ "published": false })).await;
    app.reserve("alice", "A", 1).await.expect_problem(404, "unknown_product");
    let body = json!({ "product_id": product });
    let reply = app.post("/api/reserve", &app.customer("alice"), body).await;
    reply.expect_problem(404, "unknown_product");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reserves_and_cancels_in_turn_has_to_wait() {
    let churn = [
        ("HOLDFAST__RESERVATION__CHURN_BURST", "2"),
        ("HOLDFAST__RESERVATION__CHURN_INTERVAL", "1h"),
    ];
    let app = TestApp::start_with(&churn).await;
    app.product("A", 5, json!({})).await;
    app.product("B", 5, json!({})).await;
    for _ in 0..3 {
        let id = app.held("alice", "A", 1).await;
        app.delete(&format!("/api/reservations/{id}"), &app.customer("alice")).await.expect(200);
    }
    let reply = app.reserve("alice", "A", 1).await;
    let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_540..=3_600).contains(&wait), "{wait} s until one more cancel is allowed");
    reply.expect_problem(429, "hold_churn");
    app.reserve("alice", "B", 1).await.expect(201);
    app.reserve("bob", "A", 1).await.expect(201);
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_runs_out_or_is_sold_counts_for_nothing() {
    let churn = [
        ("HOLDFAST__RESERVATION__CHURN_BURST", "1"),
        ("HOLDFAST__RESERVATION__CHURN_INTERVAL", "1h"),
    ];
    let app = TestApp::start_with(&churn).await;
    app.product("A", 50, json!({})).await;
    for _ in 0..3 {
        let id = app.held("alice", "A", 1).await;
        app.checkout("alice", &id).await.expect(201);
    }
    for _ in 0..2 {
        crate::ends::expired(&app, "alice", "A").await;
    }
    app.reserve("alice", "A", 1).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_one_may_change_ones_mind_for_ever() {
    let app = TestApp::start_with(&[("HOLDFAST__RESERVATION__CHURN_BURST", "0")]).await;
    app.product("A", 5, json!({})).await;
    for _ in 0..30 {
        let held = app.reserve("alice", "A", 1).await.expect(201);
        let path = format!("/api/reservations/{}", id_of(&held));
        app.delete(&path, &app.customer("alice")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_reads_the_same_by_sku_and_by_number() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    app.held("alice", "A", 2).await;
    for path in [
        "/api/inventory/A".to_owned(),
        "/inventory/A/".to_owned(),
        format!("/api/products/{product}/status"),
        format!("/products/{product}/status/"),
    ] {
        let stock = app.anonymous(Method::GET, &path).await.expect(200);
        assert_eq!((&stock["product_id"], &stock["sku"]), (&json!(product), &json!("A")));
        assert_eq!((&stock["total_stock"], &stock["available_stock"]), (&json!(5), &json!(3)));
        assert_eq!((&stock["reserved_stock"], &stock["sold_stock"]), (&json!(2), &json!(0)));
        moment(&stock["as_of"]);
    }
}
