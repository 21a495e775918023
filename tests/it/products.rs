//! Creating and reading products: every field and its bounds, who sees what.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp};
use crate::reserve::{members, moment};

const ALL: [&str; 19] = [
    "category",
    "created_at",
    "currency",
    "description",
    "hold_ttl_seconds",
    "id",
    "low_stock_threshold",
    "max_per_buyer",
    "name",
    "owner_id",
    "price",
    "published",
    "sale_ends_at",
    "sale_starts_at",
    "sku",
    "supplier_id",
    "total_stock",
    "updated_at",
    "version",
];

/// A good product but for these members.
async fn create(app: &TestApp, token: &str, more: Value) -> Reply {
    let mut body = json!({ "name": "Phone", "total_stock": 5 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.post("/api/products", token, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_every_field_that_was_set() {
    let app = TestApp::start().await;
    let body = json!({
        "sku": "PHONE-15_pro.max", "name": "  Phone\u{2764} ", "description": "Two\nlines", "category": "phones",
        "price": 999.5, "currency": "EUR", "total_stock": 7, "published": false, "low_stock_threshold": 3,
        "hold_ttl_seconds": 90, "max_per_buyer": 2, "sale_starts_at": "2026-01-01T01:00:00.5+01:00",
        "sale_ends_at": "2036-01-01T00:00:00Z",
    });
    let reply = app.post("/api/products", &app.merchant("maker"), body).await;
    let location = reply.headers["location"].to_str().unwrap().to_owned();
    let created = reply.expect(201);
    assert_eq!(location, format!("/api/products/{}", created["id"]));
    assert_eq!(members(&created), ALL);
    for (field, value) in [
        ("sku", json!("PHONE-15_pro.max")),
        ("name", json!("Phone\u{2764}")),
        ("description", json!("Two\nlines")),
        ("category", json!("phones")),
        ("price", json!("999.50")),
        ("currency", json!("EUR")),
        ("total_stock", json!(7)),
        ("published", json!(false)),
        ("low_stock_threshold", json!(3)),
        ("hold_ttl_seconds", json!(90)),
        ("max_per_buyer", json!(2)),
        ("sale_starts_at", json!("2026-01-01T00:00:00.500Z")),
        ("sale_ends_at", json!("2036-01-01T00:00:00.000Z")),
        ("owner_id", json!("maker")),
        ("version", json!(1)),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    assert_eq!(moment(&created["created_at"]), moment(&created["updated_at"]));
    assert_eq!(app.get(&location, &app.merchant("maker")).await.expect(200), created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_needs_a_name_and_its_stock_only() {
    let app = TestApp::start().await;
    let created = create(&app, &app.admin(), json!({})).await.expect(201);
    let sku = created["sku"].as_str().unwrap();
    assert!(sku.starts_with("SKU-") && sku.len() == 20, "{sku}");
    for field in
        ["category", "price", "hold_ttl_seconds", "max_per_buyer", "sale_starts_at", "sale_ends_at"]
    {
        assert_eq!(created[field], Value::Null, "{field}");
    }
    assert_eq!((&created["currency"], &created["published"]), (&json!("USD"), &json!(true)));
    assert_eq!(created["description"], "");
    let other = create(&app, &app.admin(), json!({})).await.expect(201);
    assert_ne!(other["sku"], created["sku"]);
    assert_eq!(app.stock(sku).await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_says_what_currency_is_meant() {
    let app = TestApp::start_with(&[("HOLDFAST__SHOP__CURRENCY", "JPY")]).await;
    let created = create(&app, &app.admin(), json!({ "price": "500" })).await.expect(201);
    assert_eq!((&created["currency"], &created["price"]), (&json!("JPY"), &json!("500")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_goes_up_to_its_bounds_and_not_beyond() {
    let app = TestApp::start().await;
    let long = |length: usize| "x".repeat(length);
    for (field, good, bad) in [
        (
            "sku",
            vec![json!("A"), json!(long(64)), json!("0.-_")],
            vec![
                json!(""),
                json!(long(65)),
                json!("-A"),
                json!("A B"),
                json!("Ä"),
                json!("A\u{0}"),
                json!("A}"),
                json!(7),
            ],
        ),
        (
            "name",
            vec![json!("x"), json!("\u{1f600}".repeat(200))],
            vec![
                json!(""),
                json!("   "),
                json!(long(201)),
                json!("a\u{0}b"),
                json!("a\u{1b}b"),
                json!(7),
                Value::Null,
            ],
        ),
        (
            "description",
            vec![json!(""), json!("\u{1f600}".repeat(4_096)), Value::Null],
            vec![json!(long(4_097)), json!("a\u{0}b"), json!([])],
        ),
        (
            "category",
            vec![json!(long(64)), Value::Null],
            vec![json!(""), json!(long(65)), json!("a\u{0}"), json!({})],
        ),
        (
            "price",
            vec![json!("0"), json!("0.00"), json!(0.1), json!("9999999999999.99"), Value::Null],
            vec![
                json!("-0.01"),
                json!(-1),
                json!("1.001"),
                json!("10000000000000.01"),
                json!(1e30),
                json!("1e2"),
                json!("0x10"),
                json!("\u{0661}"),
                json!(""),
                json!("1 000"),
                json!(true),
                json!(["1"]),
            ],
        ),
        (
            "currency",
            vec![json!("EUR"), json!("XAF")],
            vec![json!("usd"), json!("US"), json!("USDX"), json!("ZZZ"), json!(""), json!(840)],
        ),
        (
            "total_stock",
            vec![json!(0), json!(1_000_000_000)],
            vec![
                json!(-1),
                json!(1_000_000_001),
                json!("5"),
                json!(1.5),
                json!(1e30),
                json!(true),
                Value::Null,
            ],
        ),
        ("published", vec![json!(true), json!(false), Value::Null], vec![json!("true"), json!(1)]),
        (
            "low_stock_threshold",
            vec![json!(0), json!(1_000_000_000)],
            vec![json!(-1), json!(1_000_000_001), json!("1")],
        ),
        (
            "hold_ttl_seconds",
            vec![json!(1), json!(86_400)],
            vec![json!(0), json!(-1), json!(86_401), json!(3_000_000_000_u64), json!("60")],
        ),
        (
            "max_per_buyer",
            vec![json!(1), json!(1_000_000)],
            vec![
                json!(0),
                json!(1_000_001),
                json!(-5),
                json!("2"),
                json!(9_223_372_036_854_775_808_u64),
            ],
        ),
        (
            "sale_starts_at",
            vec![
                json!("2026-01-01T00:00:00Z"),
                json!("0001-01-01T00:00:00Z"),
                json!("9999-12-30T00:00:00Z"),
            ],
            vec![
                json!("tomorrow"),
                json!(""),
                json!(1_767_225_600),
                json!("2026-01-01"),
                json!("2026-13-01T00:00:00Z"),
                json!("2026-01-01T00:00:00"),
                json!("-009999-01-03T00:00:00Z"),
                json!("+10000-01-01T00:00:00Z"),
            ],
        ),
        (
            "sale_ends_at",
            vec![json!("2026-01-01T00:00:00Z")],
            vec![json!("never"), json!("-009999-01-03T00:00:00Z")],
        ),
    ] {
        for value in good {
            create(&app, &app.admin(), json!({ field: value })).await.expect(201);
        }
        for value in bad {
            let reply = create(&app, &app.admin(), json!({ field: value })).await;
            assert_eq!(reply.status, 422, "{field}: {value}: {reply:#?}");
            let refused = reply.expect_problem(422, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], field, "{value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_refused_only_when_it_ends_before_it_starts() {
    let app = TestApp::start().await;
    let (early, late) = ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    for (starts, ends) in [(late, early), (early, early)] {
        let window = json!({ "sale_starts_at": starts, "sale_ends_at": ends });
        let refused = create(&app, &app.admin(), window).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "sale_ends_at");
    }
    let past = json!({ "sale_starts_at": early, "sale_ends_at": late });
    create(&app, &app.admin(), past).await.expect(201);
    create(&app, &app.admin(), json!({ "sale_ends_at": early })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_is_given_once() {
    let app = TestApp::start().await;
    create(&app, &app.merchant("maker"), json!({ "sku": "A" })).await.expect(201);
    for token in [app.merchant("maker"), app.merchant("rival"), app.admin()] {
        create(&app, &token, json!({ "sku": "A" })).await.expect_problem(409, "sku_taken");
    }
    create(&app, &app.admin(), json!({ "sku": "a" })).await.expect(201);
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owner_and_admin_see_what_is_theirs() {
    let app = TestApp::start().await;
    let low = json!({ "sku": "A", "low_stock_threshold": 2 });
    let created = create(&app, &app.merchant("maker"), low).await.expect(201);
    let path = format!("/api/products/{}", created["id"]);
    for token in [app.merchant("maker"), app.admin()] {
        let read = app.get(&path, &token).await.expect(200);
        assert_eq!((&read["owner_id"], &read["low_stock_threshold"]), (&json!("maker"), &json!(2)));
    }
    let shown: Vec<&str> = ALL
        .into_iter()
        .filter(|name| !["owner_id", "low_stock_threshold", "supplier_id"].contains(name))
        .collect();
    for token in [app.merchant("rival"), app.customer("alice"), app.service()] {
        assert_eq!(members(&app.get(&path, &token).await.expect(200)), shown);
    }
    assert_eq!(members(&app.anonymous(Method::GET, &path).await.expect(200)), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_published_is_nothing_to_others() {
    let app = TestApp::start().await;
    let hidden = json!({ "sku": "A", "published": false });
    let created = create(&app, &app.merchant("maker"), hidden).await.expect(201);
    let path = format!("/api/products/{}", created["id"]);
    for token in [app.merchant("maker"), app.admin()] {
        assert_eq!(app.get(&path, &token).await.expect(200)["published"], false);
    }
    for token in [app.merchant("rival"), app.customer("alice"), app.service()] {
        app.get(&path, &token).await.expect_problem(404, "not_found");
    }
    app.anonymous(Method::GET, &path).await.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn product_status_and_inventory_tell_the_same_story() {
    let app = TestApp::start().await;
    let id = app.product("A", 10, json!({})).await;
    let bought = app.held("alice", "A", 3).await;
    app.checkout("alice", &bought).await.expect(201);
    app.held("bob", "A", 2).await;
    let product = app.anonymous(Method::GET, &format!("/api/products/{id}")).await.expect(200);
    assert_eq!((&product["total_stock"], &product["version"]), (&json!(10), &json!(1)));
    assert_eq!(app.stock("A").await, (10, 5, 2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_without_stock_is_sold_out_from_the_start() {
    let app = TestApp::start().await;
    app.product("A", 0, json!({})).await;
    let refused = app.reserve("alice", "A", 1).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([{ "sku": "A", "requested": 1, "available": 0 }]));
    assert_eq!(app.stock("A").await, (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_product_is_404() {
    let app = TestApp::start().await;
    app.product("A", 1, json!({})).await;
    for id in ["0", "2", "-1", "x", "1.0", "281474976710656", "99999999999999999999", "%00", "1%20"]
    {
        let path = format!("/api/products/{id}");
        app.anonymous(Method::GET, &path).await.expect_problem(404, "not_found");
        let reply = app.anonymous(Method::GET, &format!("{path}/status")).await;
        assert_eq!(reply.status, 404, "{id}");
    }
    for sku in ["B", "a", "-A", "A%20B", "%00", "A%00", "%F0%9F%98%80", "A;drop"] {
        let reply = app.anonymous(Method::GET, &format!("/api/inventory/{sku}")).await;
        assert_eq!(reply.status, 404, "{sku}");
    }
}
