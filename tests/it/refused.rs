//! What Redis held after it lost data, and Postgres cannot give: refusals at the decision name what those of a reserve do.

use serde_json::{Value, json};

use crate::app::TestApp;
use crate::cart::{cart, put};
use crate::reserve::id_of;
use crate::till::{Till, asked, product, with_payment};

/// Stock that Postgres knows to be less than what Redis has.
async fn only(app: &TestApp, product: i64, stocked: i64) {
    let sql = "update sku_stock set stocked = $2 where product_id = $1";
    app.stores.postgres().await.execute(sql, &[&product, &stocked]).await.unwrap();
}

/// Units that Postgres knows of and Redis does not: bought, given back, and in payments under way.
async fn had(app: &TestApp, product: i64, user: &str, [bought, returned, pending]: [i64; 3]) {
    let sql = "insert into user_sku (product_id, user_id, bought, returned, pending) values ($1, $2, $3, $4, $5)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&product, &user, &bought, &returned, &pending];
    app.stores.postgres().await.execute(sql, &values).await.unwrap();
}

fn short(sku: &str, requested: i64, available: i64) -> Value {
    json!({ "sku": sku, "requested": requested, "available": available })
}

#[track_caller]
fn assert_cap(refused: &Value, cap: (i64, i64, i64)) {
    let figure = |name: &str| refused[name].as_i64().unwrap();
    assert_eq!((figure("limit"), figure("held"), figure("bought")), cap, "{refused:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_postgres_cannot_honour_ends_unsold() {
    let app = TestApp::start().await.unchecked();
    let a = app.product("A", 5, json!({})).await;
    let b = app.product("B", 5, json!({ "max_per_buyer": 2 })).await;
    let (first, second) = (app.held("alice", "A", 2).await, app.held("alice", "B", 2).await);
    only(&app, a, 1).await;
    had(&app, b, "alice", [4, 3, 0]).await;

    let refused = app.checkout("alice", &first).await.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([short("A", 2, 1)]));
    let refused = app.checkout("alice", &second).await.expect_problem(409, "buyer_limit");
    assert_cap(&refused, (2, 0, 1));
    for (id, reason) in [(first, "insufficient_stock"), (second, "buyer_limit")] {
        let read = app.reservation(&id).await.expect(200);
        assert_eq!((&read["status"], &read["reason"]), (&json!("expired"), &json!(reason)));
        app.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
        let path = format!("/api/reservations/{id}");
        app.delete(&path, &app.service()).await.expect_problem(410, "reservation_expired");
    }
    let postgres = app.stores.postgres().await;
    let orders = postgres.query_one("select count(*) from orders", &[]).await.unwrap();
    assert_eq!(orders.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_several_products_names_each_short_line() {
    let app = TestApp::start().await.unchecked();
    let a = app.product("A", 5, json!({})).await;
    let b = app.product("B", 5, json!({})).await;
    let c = app.product("C", 5, json!({})).await;
    let items = json!({ "items": [{ "sku": "C", "quantity": 3 }, { "sku": "B" }, { "sku": "A", "quantity": 2 }] });
    let held = app.post("/api/reserve", &app.customer("alice"), items).await.expect(201);
    only(&app, a, 0).await;
    only(&app, b, 1).await;
    only(&app, c, 2).await;
    let refused = app.checkout("alice", &id_of(&held)).await;
    let refused = refused.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([short("A", 2, 0), short("C", 3, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_a_cart_names_each_short_line_and_the_cart_stays() {
    let app = TestApp::start().await.unchecked();
    let a = app.product("A", 5, json!({})).await;
    let b = app.product("B", 5, json!({ "max_per_buyer": 3 })).await;
    put(&app, "alice", a, 4).await.expect(201);
    put(&app, "alice", b, 2).await.expect(201);
    let wanted = cart(&app, "alice").await["items"].clone();
    let token = app.customer("alice");
    only(&app, a, 3).await;
    app.held("alice", "A", 4).await;
    let refused = app.post("/api/orders", &token, json!({})).await;
    let refused = refused.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([short("A", 4, 3)]));

    only(&app, a, 5).await;
    had(&app, b, "alice", [2, 0, 0]).await;
    let refused = app.post("/api/orders", &token, json!({})).await;
    assert_cap(&refused.expect_problem(409, "buyer_limit"), (3, 0, 2));
    let quantities = |items: &Value| -> Vec<Value> {
        items.as_array().unwrap().iter().map(|item| item["quantity"].clone()).collect()
    };
    assert_eq!(quantities(&cart(&app, "alice").await["items"]), quantities(&wanted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_cannot_begin_says_the_same() {
    let Till { app, sandbox: _sandbox } = Till::start().await;
    let app = app.unchecked();
    let a = product(&app, "A", 5, json!({})).await;
    let b = product(&app, "B", 5, json!({ "max_per_buyer": 2 })).await;
    let (first, second) = (app.held("alice", "A", 2).await, app.held("alice", "B", 2).await);
    only(&app, a, 1).await;
    had(&app, b, "alice", [0, 0, 1]).await;
    let token = app.customer("alice");
    let refused = app.post("/api/checkout", &token, with_payment(&first, "stripe")).await;
    let refused = refused.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([short("A", 2, 1)]));
    let refused = app.post("/api/checkout", &token, with_payment(&second, "bkash")).await;
    assert_cap(&refused.expect_problem(409, "buyer_limit"), (2, 1, 0));

    put(&app, "bob", a, 3).await.expect(201);
    let body = json!({ "payment": asked("stripe") });
    let refused = app.post("/api/orders", &app.customer("bob"), body).await;
    let refused = refused.expect_problem(409, "insufficient_stock");
    assert_eq!(refused["lines"], json!([short("A", 3, 1)]));
}
