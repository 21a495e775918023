//! The cart: lines, prices of right now, bounds, and whose it is.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp};

/// Puts units into a buyer's cart.
pub async fn put(app: &TestApp, user: &str, product: i64, quantity: i64) -> Reply {
    let body = json!({ "product_id": product, "quantity": quantity });
    app.post("/api/cart/items", &app.customer(user), body).await
}

pub async fn cart(app: &TestApp, user: &str) -> Value {
    app.get("/api/cart", &app.customer(user)).await.expect(200)
}

async fn patch(app: &TestApp, user: &str, id: &Value, quantity: i64) -> Reply {
    let request = app.request(Method::PATCH, &format!("/api/cart/items/{id}"));
    app.send(request.bearer_auth(app.customer(user)).json(&json!({ "quantity": quantity }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_adds_up_and_shows_live_prices_and_stock() {
    let app = TestApp::start().await;
    let a = app.product("A", 5, json!({ "price": "2.50" })).await;
    let b = app.product("B", 1, json!({})).await;
    assert_eq!(
        cart(&app, "alice").await,
        json!({ "items": [], "total_amount": "0.00", "currency": "USD" })
    );
    put(&app, "alice", a, 2).await.expect(201);
    put(&app, "alice", b, 3).await.expect(201);
    let shown = put(&app, "alice", a, 1).await.expect(200);
    assert_eq!(shown["total_amount"], "37.50");
    assert_eq!(
        (&shown["items"][0]["quantity"], &shown["items"][0]["line_total"]),
        (&json!(3), &json!("7.50"))
    );
    app.held("bob", "B", 1).await;
    assert_eq!(cart(&app, "alice").await["items"][1]["available"], 0);

    let postgres = app.stores.postgres().await;
    postgres.execute("update products set price_minor = 300 where sku = 'A'", &[]).await.unwrap();
    let shown = cart(&app, "alice").await;
    assert_eq!(shown["total_amount"], "39.00");
    let id = &shown["items"][0]["id"];
    patch(&app, "bob", id, 1).await.expect_problem(404, "not_found");
    app.delete(&format!("/api/cart/items/{id}"), &app.customer("bob"))
        .await
        .expect_problem(404, "not_found");
    assert_eq!(patch(&app, "alice", id, 1).await.expect(200)["total_amount"], "33.00");
    patch(&app, "alice", id, 0).await.expect_problem(422, "invalid_field");
    app.delete(&format!("/api/cart/items/{id}"), &app.customer("alice")).await.expect(204);
    assert_eq!(cart(&app, "alice").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(cart(&app, "bob").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_has_bounds() {
    let app = TestApp::start().await;
    let euro = app.product("EURO", 5, json!({ "currency": "EUR" })).await;
    let hidden = app.product("HIDDEN", 5, json!({ "published": false })).await;
    let mut products = Vec::new();
    for number in 0..21 {
        products.push(app.product(&format!("P{number}"), 1, json!({})).await);
    }
    put(&app, "alice", hidden, 1).await.expect_problem(404, "unknown_product");
    for product in &products[..20] {
        put(&app, "alice", *product, 1).await.expect(201);
    }
    put(&app, "alice", products[20], 1).await.expect_problem(409, "cart_full");
    put(&app, "alice", products[0], 1_000_000).await.expect_problem(422, "invalid_field");
    put(&app, "alice", euro, 1).await.expect_problem(422, "mixed_currency");
    app.get("/api/cart", &app.service()).await.expect_problem(403, "forbidden");
}
