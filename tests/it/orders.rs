//! Orders of a whole cart, lists of orders, and what becomes of them.

use reqwest::Method;
use serde_json::{Value, json};

#[cfg(feature = "fault-points")]
use crate::app::{LATE, SOON, hasty};
use crate::app::{Reply, Stores, TestApp, until};
use crate::cart::{cart, put};
#[cfg(feature = "fault-points")]
use crate::process::ServiceProcess;

async fn order(app: &TestApp, user: &str) -> Reply {
    app.send(app.request(Method::POST, "/api/orders").bearer_auth(app.customer(user))).await
}

async fn act(app: &TestApp, token: &str, order: &Value, what: &str) -> Reply {
    let path = format!("/api/orders/{}/{what}", order["id"].as_str().unwrap());
    app.send(app.request(Method::POST, &path).bearer_auth(token)).await
}

async fn orders_in(stores: &Stores) -> i64 {
    stores.postgres().await.query_one("select count(*) from orders", &[]).await.unwrap().get(0)
}

/// A, held alone by alice in the quantity of her cart, and B and C, which are not held.
async fn three(app: &TestApp) -> (i64, String) {
    let a = app.product("A", 3, json!({})).await;
    let b = app.product("B", 3, json!({})).await;
    let c = app.product("C", 3, json!({})).await;
    for (product, quantity) in [(a, 1), (b, 2), (c, 3)] {
        put(app, "alice", product, quantity).await.expect(201);
    }
    (b, app.held("alice", "A", 1).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_becomes_one_order_with_the_hold_that_stood() {
    let app = TestApp::start().await;
    order(&app, "alice").await.expect_problem(409, "cart_empty");
    let (_, hold) = three(&app).await;
    let placed = order(&app, "alice").await.expect(201);
    assert_eq!((&placed["total_amount"], &placed["status"]), (&json!("60.00"), &json!("paid")));
    assert_eq!(app.stock("A").await, (3, 2, 0, 1));
    assert_eq!(app.stock("C").await, (3, 0, 0, 3));
    assert_eq!(cart(&app, "alice").await["items"], json!([]));
    assert_eq!(app.reservation(&hold).await.expect(200)["order_id"], placed["id"]);
    let path = format!("/api/orders/{}", placed["id"].as_str().unwrap());
    assert_eq!(app.get(&path, &app.customer("alice")).await.expect(200), placed);
    app.get(&path, &app.customer("bob")).await.expect_problem(404, "not_found");
    order(&app, "alice").await.expect_problem(409, "cart_empty");
    act(&app, &app.customer("alice"), &placed, "cancel").await.expect_problem(409, "order_paid");
    act(&app, &app.customer("alice"), &placed, "fulfil").await.expect_problem(403, "forbidden");
    act(&app, &app.merchant("nobody"), &placed, "fulfil").await.expect_problem(404, "not_found");
    let fulfilled = act(&app, &app.service(), &placed, "fulfil").await.expect(200);
    assert_eq!(fulfilled["status"], "fulfilled");
    assert_eq!(act(&app, &app.admin(), &placed, "fulfil").await.expect(200), fulfilled);
    let news = "select count(*) from outbox_seen where topic = 'order.fulfilled'";
    let told: i64 = app.stores.postgres().await.query_one(news, &[]).await.unwrap().get(0);
    assert_eq!(told, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_short_line_is_named_and_cart_and_hold_stay() {
    let app = TestApp::start().await;
    let (_, hold) = three(&app).await;
    app.held("bob", "B", 2).await;
    app.held("bob", "C", 1).await;
    let refused = order(&app, "alice").await.expect_problem(409, "insufficient_stock");
    let short = |sku: &str, requested: i64, available: i64| json!({ "sku": sku, "requested": requested, "available": available });
    assert_eq!(refused["lines"], json!([short("B", 2, 1), short("C", 3, 2)]));
    assert_eq!(cart(&app, "alice").await["items"].as_array().unwrap().len(), 3);
    assert_eq!(app.reservation(&hold).await.expect(200)["status"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_does_not_fit_the_cart_is_named() {
    let app = TestApp::start().await;
    let (b, _) = three(&app).await;
    let other = app.held("alice", "B", 1).await;
    let refused = order(&app, "alice").await.expect_problem(409, "already_held");
    assert_eq!(refused["reservation_id"], other);
    app.delete(&format!("/api/reservations/{other}"), &app.customer("alice")).await.expect(200);
    let items = json!({ "items": [{ "product_id": b, "quantity": 2 }, { "sku": "C" }] });
    let both = app.post("/api/reserve", &app.customer("alice"), items).await.expect(201);
    let refused = order(&app, "alice").await.expect_problem(409, "already_held");
    assert_eq!(refused["reservation_id"], both["reservation_id"]);
    assert_eq!(app.stock("A").await, (3, 2, 1, 0));
    assert_eq!(cart(&app, "alice").await["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_one_cart_at_once_become_one_order() {
    let app = TestApp::start().await;
    three(&app).await;
    let replies = futures_util::future::join_all((0..6).map(|_| order(&app, "alice"))).await;
    let created = replies.iter().filter(|reply| reply.status == 201).count();
    assert!(created <= 1, "{replies:#?}");
    if created == 0 {
        order(&app, "alice").await.expect(201);
    }
    assert_eq!(orders_in(&app.stores).await, 1);
    assert_eq!(app.stock("B").await, (3, 1, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_against_the_checkout_or_the_cancel_of_its_hold_is_whole_or_nothing() {
    let app = TestApp::start().await;
    let (_, hold) = three(&app).await;
    let (placed, bought) = tokio::join!(order(&app, "alice"), app.checkout("alice", &hold));
    assert!(placed.status == 201 || bought.status.is_success(), "{placed:#?} {bought:#?}");
    let rows = "select sum(bought)::bigint from user_sku where user_id = 'alice'";
    let units: i64 = app.stores.postgres().await.query_one(rows, &[]).await.unwrap().get(0);
    assert!([1, 6, 7].contains(&units), "{units}");

    let (d, e) = (app.product("D", 2, json!({})).await, app.product("E", 2, json!({})).await);
    put(&app, "bob", d, 1).await.expect(201);
    put(&app, "bob", e, 1).await.expect(201);
    let hold = app.held("bob", "D", 1).await;
    let path = format!("/api/reservations/{hold}");
    let token = app.customer("bob");
    let (placed, _) = tokio::join!(order(&app, "bob"), app.delete(&path, &token));
    assert!([201, 409, 503].contains(&placed.status.as_u16()), "{placed:#?}");
    let sold = i64::from(placed.status == 201);
    assert_eq!((app.stock("D").await.3, app.stock("E").await.3), (sold, sold));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_whom_they_concern_page_by_page() {
    let app = TestApp::start().await;
    let a = app.product("A", 9, json!({})).await;
    for user in ["alice", "bob", "alice"] {
        put(&app, user, a, 1).await.expect(201);
        order(&app, user).await.expect(201);
    }
    let mine = app.get("/api/orders?limit=1", &app.customer("alice")).await.expect(200);
    let next = format!("/api/orders?limit=1&cursor={}", mine["next_cursor"].as_str().unwrap());
    let second = app.get(&next, &app.customer("alice")).await.expect(200);
    assert_eq!(second["next_cursor"], Value::Null);
    assert_ne!(mine["items"][0]["id"], second["items"][0]["id"]);
    let count = async |path: &str, token: String| {
        app.get(path, &token).await.expect(200)["items"].as_array().unwrap().len()
    };
    assert_eq!(count("/api/orders", app.service()).await, 3);
    assert_eq!(count("/api/orders?user_id=bob", app.admin()).await, 1);
    assert_eq!(count("/api/orders?status=fulfilled", app.admin()).await, 0);
    assert_eq!(count("/api/orders", app.merchant("root")).await, 3, "the products are root's");
    assert_eq!(count("/api/orders", app.merchant("nobody")).await, 0);
    app.get("/api/orders?user_id=bob", &app.customer("alice"))
        .await
        .expect_problem(403, "not_yours");
    app.get("/api/orders?status=lost", &app.admin()).await.expect_problem(422, "invalid_field");
}

#[cfg(feature = "fault-points")]
#[tokio::test(flavor = "multi_thread")]
async fn an_order_killed_at_any_point_ends_as_one_order_or_none() {
    for (point, stands) in [
        ("before_pin", false),
        ("after_pin", false),
        ("after_decision", true),
        ("after_settle", true),
    ] {
        let app = TestApp::start_with(&hasty(&[SOON])).await;
        three(&app).await;
        let fault = format!("{point}:kill");
        let doomed = ServiceProcess::start(&app.stores, &[LATE, ("HOLDFAST_FAULT", &fault)]).await;
        let request = doomed.request(Method::POST, "/api/orders");
        let answer = doomed.try_send(request.bearer_auth(doomed.customer("alice"))).await;
        assert!(answer.is_err(), "{point}: {answer:?}");
        assert_eq!(doomed.ended().await.code, None, "{point}");
        assert_eq!(orders_in(&app.stores).await, i64::from(stands), "{point}");
        let app = &app;
        until("B is decided", || async move {
            app.stock("B").await == if stands { (3, 1, 0, 2) } else { (3, 3, 0, 0) }
        })
        .await;
        if stands {
            order(app, "alice").await.expect_problem(409, "cart_empty");
        } else {
            until(
                "the cart can be ordered",
                || async move { order(app, "alice").await.status == 201 },
            )
            .await;
        }
        assert_eq!(orders_in(&app.stores).await, 1, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_that_shrank_meanwhile_is_not_ordered() {
    let app = TestApp::start().await;
    let a = app.product("A", 3, json!({})).await;
    put(&app, "alice", a, 2).await.expect(201);
    app.held("alice", "A", 2).await;
    // The order waits for the cart line, which another transaction takes away.
    let mut postgres = app.stores.postgres().await;
    let transaction = postgres.transaction().await.unwrap();
    transaction.execute("update cart_items set quantity = 1", &[]).await.unwrap();
    let (api, token) = (app.api.clone(), app.customer("alice"));
    #[expect(clippy::disallowed_methods, reason = "a test")]
    let ordering = tokio::spawn(async move {
        api.send(api.request(Method::POST, "/api/orders").bearer_auth(token)).await
    });
    let app = &app;
    until("the order waits for the line", || async move {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%confirm_order%'";
        let row = app.stores.postgres().await.query_one(waiting, &[]).await.unwrap();
        row.get::<_, i64>(0) > 0
    })
    .await;
    transaction.commit().await.unwrap();
    ordering.await.unwrap().expect_problem(409, "cart_changed");
    assert_eq!(cart(app, "alice").await["items"][0]["quantity"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_longer_for_sale_are_named_and_the_cart_stays() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for sku in ["KEPT", "DELETED", "HIDDEN"] {
        let id = app.product(sku, 5, json!({})).await;
        put(&app, "alice", id, 2).await.expect(201);
        ids.push(id);
    }
    app.delete(&format!("/api/products/{}", ids[1]), &app.admin()).await.expect(204);
    let hide = app.request(Method::PATCH, &format!("/api/products/{}", ids[2]));
    let hide = hide.bearer_auth(app.admin()).json(&json!({ "published": false }));
    app.send(hide).await.expect(200);
    let shown = cart(&app, "alice").await;
    let available = |at: usize| shown["items"][at]["available"].as_i64().unwrap();
    assert_eq!((available(0), available(1), available(2)), (5, 0, 0));
    let refused = order(&app, "alice").await.expect_problem(409, "insufficient_stock");
    assert_eq!(
        refused["lines"],
        json!([
            { "sku": "DELETED", "requested": 2, "available": 0 },
            { "sku": "HIDDEN", "requested": 2, "available": 0 },
        ])
    );
    assert_eq!(cart(&app, "alice").await, shown);
    put(&app, "alice", ids[1], 1).await.expect_problem(404, "unknown_product");
    for item in &shown["items"].as_array().unwrap()[1..] {
        let path = format!("/api/cart/items/{}", item["id"]);
        app.delete(&path, &app.customer("alice")).await.expect(204);
    }
    order(&app, "alice").await.expect(201);
}
