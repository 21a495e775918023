//! Five shops that lived on systems of their own before, and what each of them calls, with the bodies that it sends:
//! paths with and without `/api`, slashes at the end, numbers where we write strings.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp, until};
use crate::till::{BACK_URL, OK_URL, Till, product};
use crate::world::UNLIMITED;

/// Sends what a client of theirs sends: a token where it has one, a body where there is one.
async fn call(app: &TestApp, method: &str, path: &str, token: &str, body: Value) -> Reply {
    let request = app.request(method.parse().unwrap(), path);
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    app.send(if body.is_null() { request } else { request.json(&body) }).await
}

async fn stock(app: &TestApp, path: &str) -> (i64, i64, i64) {
    let shown = app.anonymous(Method::GET, path).await.expect(200);
    let of = |field: &str| shown[field].as_i64().unwrap();
    (of("total_stock"), of("reserved_stock"), of("available_stock"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_deal_is_reserved_bought_cancelled_and_runs_out() {
    let app = TestApp::start_with(&[("REDIS_TTL", "600")]).await;
    let (admin, storefront) = (app.admin(), app.service());
    let deal = json!({
        "name": "Flash Deal Laptop", "description": "High-performance laptop with discount", "total_stock": 200,
    });
    let made = call(&app, "POST", "/api/products", &admin, deal).await.expect(201);
    let product = made["id"].as_i64().unwrap();
    let status = format!("/api/products/{product}/status");
    assert_eq!(stock(&app, &status).await, (200, 0, 200));

    let wish = json!({ "user_id": "user123", "product_id": product, "quantity": 2 });
    let held = call(&app, "POST", "/api/reserve", &storefront, wish.clone()).await.expect(201);
    assert_eq!((&held["quantity"], &held["expires_in"]), (&json!(2), &json!(600)));
    assert_eq!(stock(&app, &status).await, (200, 2, 198));
    let listed = format!("/api/users/{}/reservations", "user123");
    let live = app.get(&listed, &storefront).await.expect(200);
    assert_eq!(live["items"][0]["reservation_id"], held["reservation_id"]);

    let purchase = json!({
        "user_id": "user123", "product_id": product, "quantity": 2, "total_amount": 1999.98,
    });
    let order = call(&app, "POST", "/api/checkout", &storefront, purchase).await.expect(201);
    assert_eq!(
        (&order["status"], &order["total_amount"], &order["user_id"]),
        (&json!("paid"), &json!("1999.98"), &json!("user123"))
    );
    assert_eq!(stock(&app, &status).await, (200, 0, 198));

    call(&app, "POST", "/api/reserve", &storefront, wish).await.expect(201);
    let cancel = format!("/api/reserve/user123/{product}");
    let ended = call(&app, "DELETE", &cancel, &storefront, Value::Null).await.expect(200);
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(stock(&app, &status).await, (200, 0, 198));
    assert_eq!(app.get(&listed, &storefront).await.expect(200)["items"], json!([]));

    // The buyer's own token does as well as the storefront's, and a hold that is left alone ends by itself.
    let short =
        json!({ "user_id": "user123", "product_id": product, "quantity": 2, "ttl_seconds": 1 });
    call(&app, "POST", "/api/reserve", &app.customer("user123"), short).await.expect(201);
    until("the hold has run out", || async { stock(&app, &status).await == (200, 0, 198) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_that_begins_with_a_sku_is_confirmed_or_cancelled_once() {
    let app = TestApp::start_with(&[("HOLDFAST__RESERVATION__TTL_SECONDS", "300")]).await;
    app.product("IPHONE15", 5, json!({})).await;
    let user = app.customer("user-1");
    let reserve = json!({ "sku": "IPHONE15" });
    let held = call(&app, "POST", "/inventory/reserve", &user, reserve.clone()).await.expect(201);
    assert!(held["reservation_id"].is_string() && held["expires_at"].is_string(), "{held}");
    assert_eq!(held["expires_in"], 300);
    let again = call(&app, "POST", "/inventory/reserve", &user, reserve.clone()).await.expect(200);
    assert_eq!(again["reservation_id"], held["reservation_id"]);
    let shown = app.anonymous(Method::GET, "/inventory/IPHONE15").await.expect(200);
    assert_eq!(
        (&shown["sku"], &shown["total_stock"], &shown["available_stock"]),
        (&json!("IPHONE15"), &json!(5), &json!(4))
    );
    let named = json!({ "reservation_id": held["reservation_id"] });
    let order = call(&app, "POST", "/checkout/confirm", &user, named.clone()).await.expect(201);
    let same = call(&app, "POST", "/checkout/confirm", &user, named).await.expect(200);
    assert_eq!(same, order);

    let held = call(&app, "POST", "/inventory/reserve", &user, reserve).await.expect(201);
    let named = json!({ "reservation_id": held["reservation_id"] });
    for _ in 0..2 {
        let ended = call(&app, "POST", "/checkout/cancel", &user, named.clone()).await.expect(200);
        assert_eq!(ended["status"], "cancelled");
    }
    let late = call(&app, "POST", "/checkout/confirm", &user, named).await;
    late.expect_problem(409, "reservation_cancelled");
    assert_eq!(app.stock("IPHONE15").await, (5, 4, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_owner_registers_and_keeps_products_suppliers_and_stock() {
    let app = TestApp::start_with(&UNLIMITED).await;
    let jay = json!({
        "username": "jay", "email": "jay@email.com", "password": "strongpassword", "role": "merchant",
    });
    call(&app, "POST", "/api/register/", "", jay).await.expect(201);
    let login = json!({ "username": "jay", "password": "strongpassword" });
    let session = call(&app, "POST", "/api/login/", "", login).await.expect(200);
    assert!(session["refresh"].is_string(), "{session}");
    let jay = session["access"].as_str().unwrap();

    let parts =
        json!({ "name": "Northern Parts", "email": "parts@example.org", "phone": "+1 555 0100" });
    let supplier = call(&app, "POST", "/api/suppliers/", jay, parts).await.expect(201);
    let listed = app.get("/api/suppliers/", jay).await.expect(200);
    assert_eq!(listed["items"], json!([supplier]));
    let mut products = Vec::new();
    for (name, stock) in [("Washers", 3), ("Bolts", 50)] {
        let body = json!({
            "name": name, "price": 1.5, "total_stock": stock, "low_stock_threshold": 5,
            "supplier_id": supplier["id"],
        });
        products.push(call(&app, "POST", "/api/products/", jay, body).await.expect(201));
    }
    let names = async |path: &str| {
        let page = app.get(path, jay).await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/api/products/?ordering=name").await, ["Bolts", "Washers"]);
    assert_eq!(names("/api/products/?low_stock=true").await, ["Washers"]);
    assert_eq!(names("/api/products/").await.len(), 2);

    let id = &products[0]["id"];
    let movement = |kind: &str, quantity: i64| {
        let body = json!({ "product_id": id, "movement_type": kind, "quantity": quantity });
        call(&app, "POST", "/api/stock/", jay, body)
    };
    assert_eq!(movement("IN", 10).await.expect(201)["stock_after"], 13);
    assert_eq!(names("/api/products/?low_stock=true").await, Vec::<String>::new());
    assert_eq!(movement("OUT", 9).await.expect(201)["stock_after"], 4);
    movement("OUT", 5).await.expect_problem(409, "insufficient_stock");
    let history = app.get(&format!("/api/stock/?product_id={id}"), jay).await.expect(200);
    assert_eq!(history["items"].as_array().unwrap().len(), 3);

    // Another owner sees and moves nothing of it.
    let rival = app.merchant("rival");
    let foreign = json!({ "product_id": id, "movement_type": "OUT", "quantity": 1 });
    call(&app, "POST", "/api/stock/", &rival, foreign).await.expect_problem(404, "unknown_product");
    for path in ["/api/suppliers/", "/api/stock/", "/api/products/?owner=me"] {
        assert_eq!(app.get(path, &rival).await.expect(200)["items"], json!([]), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_sells_what_is_in_carts_at_the_price_of_then() {
    let app = TestApp::start_with(&UNLIMITED).await;
    let admin = app.admin();
    let account =
        json!({ "username": "carol", "email": "carol@example.org", "password": "strongpassword" });
    call(&app, "POST", "/register", "", account).await.expect(201);
    let login = json!({ "username": "carol", "password": "strongpassword" });
    let session = call(&app, "POST", "/login", "", login).await.expect(200);
    let carol = session["access"].as_str().unwrap();

    let mut ids = Vec::new();
    for (name, category, price) in
        [("Lamp", "home", "20.00"), ("Desk", "home", "90.00"), ("Pen", "office", "2.00")]
    {
        let body = json!({ "name": name, "category": category, "price": price, "total_stock": 5 });
        call(&app, "POST", "/products", carol, body.clone()).await.expect_problem(403, "forbidden");
        let made = call(&app, "POST", "/products", &admin, body).await.expect(201);
        ids.push(made["id"].as_i64().unwrap());
    }
    let names = async |path: &str| {
        let page = app.anonymous(Method::GET, path).await.expect(200);
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/products").await.len(), 3);
    assert_eq!(names("/products?category=home&ordering=price").await, ["Lamp", "Desk"]);
    assert_eq!(names("/products?ordering=-price").await, ["Desk", "Lamp", "Pen"]);
    let (lamp, pen) = (ids[0], ids[2]);
    let edit = json!({ "name": "Lamp", "category": "home", "price": "25.00" });
    let path = format!("/products/{lamp}");
    call(&app, "PUT", &path, &admin, edit).await.expect(200);
    assert_eq!(app.anonymous(Method::GET, &path).await.expect(200)["price"], "25.00");

    for product in [lamp, pen] {
        let item = json!({ "product_id": product, "quantity": 2 });
        call(&app, "POST", "/cart/items", carol, item).await.expect(201);
    }
    let cart = app.get("/cart", carol).await.expect(200);
    assert_eq!(cart["total_amount"], "54.00");
    let line = format!("/cart/items/{}", cart["items"][1]["id"]);
    call(&app, "DELETE", &line, carol, Value::Null).await.expect(204);
    let order = call(&app, "POST", "/orders", carol, Value::Null).await.expect(201);
    assert_eq!((&order["total_amount"], &order["status"]), (&json!("50.00"), &json!("paid")));
    assert_eq!(app.get("/cart", carol).await.expect(200)["items"], json!([]));

    // The order keeps its prices, whatever becomes of the product.
    let edit = json!({ "name": "Lamp", "category": "home", "price": "99.00" });
    call(&app, "PUT", &path, &admin, edit).await.expect(200);
    call(&app, "DELETE", &path, &admin, Value::Null).await.expect(204);
    app.anonymous(Method::GET, &path).await.expect_problem(404, "not_found");
    let kept = format!("/orders/{}", order["id"].as_str().unwrap());
    assert_eq!(app.get(&kept, carol).await.expect(200), order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_with_its_own_slashes_signs_in_lists_and_orders_whole_or_not_at_all() {
    let app = TestApp::start_with(&UNLIMITED).await;
    let account =
        json!({ "username": "dave", "email": "dave@example.org", "password": "strongpassword" });
    call(&app, "POST", "/api/auth/register/", "", account).await.expect(201);
    let login = json!({ "username": "dave", "password": "strongpassword" });
    let session = call(&app, "POST", "/api/auth/login/", "", login).await.expect(200);
    let dave = session["access"].as_str().unwrap();
    for (sku, stock) in [("PLENTY", 9), ("SCARCE", 1)] {
        let product = app.product(sku, stock, json!({ "price": "7.25" })).await;
        let item = json!({ "product_id": product, "quantity": 2 });
        call(&app, "POST", "/api/cart/items/", dave, item).await.expect(201);
    }
    let products = app.anonymous(Method::GET, "/api/products/").await.expect(200);
    assert_eq!(products["items"].as_array().unwrap().len(), 2);
    let short = call(&app, "POST", "/api/orders/", dave, Value::Null).await;
    let short = short.expect_problem(409, "insufficient_stock");
    assert_eq!(short["lines"], json!([{ "sku": "SCARCE", "requested": 2, "available": 1 }]));
    assert_eq!(
        (app.stock("PLENTY").await, app.stock("SCARCE").await),
        ((9, 9, 0, 0), (1, 1, 0, 0))
    );

    let cart = app.get("/api/cart/", dave).await.expect(200);
    let line = format!("/api/cart/items/{}/", cart["items"][1]["id"]);
    call(&app, "PATCH", &line, dave, json!({ "quantity": 1 })).await.expect(200);
    let order = call(&app, "POST", "/api/orders/", dave, json!({})).await.expect(201);
    assert_eq!(order["total_amount"], "21.75");
    assert_eq!(
        (app.stock("PLENTY").await, app.stock("SCARCE").await),
        ((9, 7, 0, 2), (1, 0, 0, 1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_with_its_own_slashes_is_paid_with_stripe_and_bkash() {
    let till = Till::start_with(&UNLIMITED).await;
    let account =
        json!({ "username": "dave", "email": "dave@example.org", "password": "strongpassword" });
    call(&till, "POST", "/api/auth/register/", "", account).await.expect(201);
    let login = json!({ "username": "dave", "password": "strongpassword" });
    let session = call(&till, "POST", "/api/auth/login/", "", login).await.expect(200);
    let dave = session["access"].as_str().unwrap();
    product(&till, "PHONE", 5, json!({})).await;
    for (sold, path) in [(1, "/api/payment/stripe/session/"), (2, "/api/payment/bkash/initiate/")] {
        let wanted = json!({ "sku": "PHONE", "quantity": 1 });
        let held = call(&till, "POST", "/api/reserve/", dave, wanted).await.expect(201);
        let body = json!({
            "reservation_id": held["reservation_id"], "success_url": OK_URL, "cancel_url": BACK_URL,
        });
        let payment = call(&till, "POST", path, dave, body).await.expect(201);
        assert!(payment["url"].is_string(), "{path}");
        if payment["provider"] == "stripe" {
            till.pays(&till.only_session());
        } else {
            assert_eq!(till.releases(&payment).await.status, 303);
        }
        let order = format!("/api/orders/{}/", payment["order_id"].as_str().unwrap());
        until("the order is paid", || async {
            call(&till, "GET", &order, dave, Value::Null).await.expect(200)["status"] == "paid"
        })
        .await;
        // Until Redis knows, the buyer's hold still stands there.
        let stock = (5, 5 - sold, 0, sold);
        until("it is sold", || async { till.stock("PHONE").await == stock }).await;
    }
}
