//! From hold to order: by either name of the hold, at the right price, once, and visible to those it concerns.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::reserve::{id_of, members, moment};

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_the_route_confirms() {
    let app = TestApp::start().await;
    let product = app.product("A", 50, json!({})).await;
    let paths = [
        "/api/checkout",
        "/api/checkout/",
        "/checkout",
        "/checkout/",
        "/api/checkout/confirm",
        "/api/checkout/confirm/",
        "/checkout/confirm",
        "/checkout/confirm/",
    ];
    for (number, path) in paths.iter().enumerate() {
        let user = format!("buyer{number}");
        let id = app.held(&user, "A", 2).await;
        let reply = app.post(path, &app.customer(&user), json!({ "reservation_id": id })).await;
        let location = reply.headers["location"].to_str().unwrap().to_owned();
        let order = reply.expect(201);
        assert_eq!(location, format!("/api/orders/{}", order["id"].as_str().unwrap()), "{path}");
        assert_eq!(app.get(&location, &app.customer(&user)).await.expect(200), order);
        let by_product = json!({ "product_id": product, "quantity": 2 });
        assert_eq!(app.post(path, &app.customer(&user), by_product).await.expect(200), order);
    }
    assert_eq!(app.stock("A").await, (50, 34, 0, 16));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reads_as_the_contract_says() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({ "name": "Phone", "price": "999.99" })).await;
    let id = app.held("alice", "A", 2).await;
    let order = app.checkout("alice", &id).await.expect(201);
    assert_eq!(
        members(&order),
        [
            "created_at",
            "currency",
            "id",
            "items",
            "payment",
            "reservation_id",
            "status",
            "total_amount",
            "user_id"
        ]
    );
    let item = json!({ "product_id": product, "sku": "A", "name": "Phone", "unit_price": "999.99",
        "quantity": 2, "line_total": "1999.98" });
    assert_eq!(order["items"], json!([item]));
    assert_eq!((&order["total_amount"], &order["currency"]), (&json!("1999.98"), &json!("USD")));
    assert_eq!((&order["status"], &order["payment"]), (&json!("paid"), &Value::Null));
    assert_eq!((&order["user_id"], &order["reservation_id"]), (&json!("alice"), &json!(id)));
    moment(&order["created_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_confirmed_by_its_buyer_and_product() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 2).await;
    let wanted =
        |quantity: i64| json!({ "user_id": "alice", "product_id": product, "quantity": quantity });
    for quantity in [1, 3] {
        let refused = app.post("/api/checkout", &app.service(), wanted(quantity)).await;
        let refused = refused.expect_problem(409, "quantity_mismatch");
        assert_eq!(refused["held"], 2);
    }
    assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");

    let order = app.post("/api/checkout", &app.service(), wanted(2)).await.expect(201);
    assert_eq!((&order["reservation_id"], &order["user_id"]), (&json!(id), &json!("alice")));
    for token in [app.service(), app.admin(), app.customer("alice")] {
        assert_eq!(app.post("/api/checkout", &token, wanted(2)).await.expect(200), order);
    }
    // The order is found when Redis has forgotten the hold, too.
    crate::ends::archived(&app, "A", &id).await;
    assert_eq!(app.post("/api/checkout", &app.service(), wanted(2)).await.expect(200), order);
    assert_eq!(app.stock("A").await, (5, 3, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storefront_that_names_the_wrong_buyer_buys_nothing() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let of = |user: &str| json!({ "reservation_id": id, "user_id": user });
    let storefront = app.service();
    let refused = app.post("/api/checkout", &storefront, of("bob")).await;
    refused.expect_problem(404, "not_found");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
    let order = app.post("/api/checkout", &storefront, of("alice")).await.expect(201);
    assert_eq!(order["user_id"], "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_bought_that_was_not_held() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    app.held("bob", "A", 1).await;
    let mine = json!({ "product_id": product, "quantity": 1 });
    let reply = app.post("/api/checkout", &app.customer("alice"), mine).await;
    reply.expect_problem(404, "not_found");
    let bobs = json!({ "user_id": "bob", "product_id": product, "quantity": 1 });
    let reply = app.post("/api/checkout", &app.customer("alice"), bobs).await;
    reply.expect_problem(403, "not_yours");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hold_must_be_named_in_one_way() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    for (body, field) in [
        (json!({}), "reservation_id"),
        (json!({ "quantity": 1 }), "reservation_id"),
        (json!({ "reservation_id": id, "product_id": product, "quantity": 1 }), "reservation_id"),
        (json!({ "reservation_id": id, "quantity": 1 }), "reservation_id"),
        (json!({ "product_id": product }), "quantity"),
        (json!({ "reservation_id": "x" }), "reservation_id"),
        (json!({ "reservation_id": 7 }), "reservation_id"),
        (json!({ "reservation_id": id, "total_amount": true }), "total_amount"),
        (json!({ "reservation_id": id, "email": "nobody" }), "email"),
    ] {
        let reply = app.post("/api/checkout", &app.customer("alice"), body.clone()).await;
        let refused = reply.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
    let nobody = json!({ "product_id": product, "quantity": 1 });
    let refused = app.post("/api/checkout", &app.service(), nobody).await;
    let refused = refused.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], "user_id");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_is_named_must_be_the_computed_one() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({ "price": "19.99" })).await;
    let checkout = async |id: &str, total: Value| {
        let body = json!({ "reservation_id": id, "total_amount": total });
        app.post("/api/checkout", &app.customer("alice"), body).await
    };
    for total in [json!("39.98"), json!(39.98)] {
        let id = app.held("alice", "A", 2).await;
        for wrong in [json!("39.97"), json!(39.99), json!("0"), json!(40)] {
            let refused = checkout(&id, wrong).await.expect_problem(422, "total_mismatch");
            assert_eq!(refused["total_amount"], "39.98");
            assert_eq!(refused["errors"][0]["field"], "total_amount");
        }
        for odd in [
            json!("39.980"),
            json!("-39.98"),
            json!("39,98"),
            json!(""),
            json!("NaN"),
            json!([39.98]),
        ] {
            checkout(&id, odd).await.expect_problem(422, "invalid_field");
        }
        assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
        let order = checkout(&id, total).await.expect(201);
        assert_eq!(order["total_amount"], "39.98");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_have_the_decimals_of_their_currency() {
    let app = TestApp::start().await;
    app.product("YEN", 5, json!({ "price": "500", "currency": "JPY" })).await;
    app.product("DINAR", 5, json!({ "price": 1.5, "currency": "KWD" })).await;
    for (sku, currency, price, total) in
        [("YEN", "JPY", "500", "1000"), ("DINAR", "KWD", "1.500", "3.000")]
    {
        let id = app.held("alice", sku, 2).await;
        let body = json!({ "reservation_id": id, "total_amount": total });
        let order = app.post("/api/checkout", &app.customer("alice"), body).await.expect(201);
        assert_eq!((&order["total_amount"], &order["currency"]), (&json!(total), &json!(currency)));
        assert_eq!(order["items"][0]["unit_price"], price);
    }
    let id = app.held("bob", "YEN", 1).await;
    let body = json!({ "reservation_id": id, "total_amount": "500.00" });
    let reply = app.post("/api/checkout", &app.customer("bob"), body).await;
    reply.expect_problem(422, "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storefront_prices_what_has_no_price() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({ "price": null })).await;
    let checkout = async |token: &str, id: &str, total: Value| {
        let body = json!({ "reservation_id": id, "total_amount": total });
        app.post("/api/checkout", token, body).await
    };
    for token in [app.service(), app.admin()] {
        let id = app.held("alice", "A", 2).await;
        let alice = app.customer("alice");
        checkout(&alice, &id, Value::Null).await.expect_problem(422, "price_missing");
        checkout(&alice, &id, json!("7.00")).await.expect_problem(422, "price_missing");
        let refused = checkout(&token, &id, Value::Null).await.expect_problem(422, "price_missing");
        assert_eq!(refused["sku"], "A");
        assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
        let order = checkout(&token, &id, json!("7.5")).await.expect(201);
        assert_eq!(order["total_amount"], "7.50");
        let item = &order["items"][0];
        assert_eq!((&item["unit_price"], &item["line_total"]), (&Value::Null, &Value::Null));
        assert_eq!(checkout(&alice, &id, Value::Null).await.expect(200), order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn products_of_different_currencies_are_not_one_order() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({ "price": "1.00" })).await;
    app.product("B", 5, json!({ "price": "100", "currency": "JPY" })).await;
    let items = json!({ "items": [{ "sku": "A" }, { "sku": "B" }] });
    let held = app.post("/api/reserve", &app.customer("alice"), items).await.expect(201);
    let id = id_of(&held);
    app.checkout("alice", &id).await.expect_problem(422, "mixed_currency");
    assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_costs_more_than_any_amount_may() {
    let app = TestApp::start().await;
    for sku in ["A", "B"] {
        app.product(sku, 5, json!({ "price": "9999999999999.99" })).await;
    }
    for items in [json!([{ "sku": "A", "quantity": 2 }]), json!([{ "sku": "A" }, { "sku": "B" }])] {
        let body = json!({ "items": items });
        let held = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
        let reply = app.checkout("alice", &id_of(&held)).await;
        let refused = reply.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "total_amount");
        let path = format!("/api/reservations/{}", id_of(&held));
        app.delete(&path, &app.customer("alice")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_pay_here_unless_the_shop_says_otherwise() {
    let app = TestApp::start_with(&[("HOLDFAST__CHECKOUT__CUSTOMERS_MUST_PAY_HERE", "true")]).await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    app.checkout("alice", &id).await.expect_problem(403, "payment_required");
    let body = json!({ "reservation_id": id });
    let merchant = app.post("/api/checkout", &app.merchant("alice"), body.clone()).await;
    merchant.expect_problem(403, "payment_required");
    assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
    app.post("/api/checkout", &app.service(), body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_needs_a_provider_that_is_set_up() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let with = async |payment: Value| {
        let body = json!({ "reservation_id": id, "payment": payment });
        app.post("/api/checkout", &app.customer("alice"), body).await
    };
    let urls = |provider: &str| json!({ "provider": provider, "success_url": "https://shop.example/ok", "cancel_url": "https://shop.example/no" });
    for provider in ["stripe", "bkash"] {
        with(urls(provider)).await.expect_problem(404, "provider_disabled");
    }
    with(urls("paypal")).await.expect_problem(422, "invalid_field");
    with(json!({ "provider": "stripe" })).await.expect_problem(422, "invalid_field");
    with(json!("stripe")).await.expect_problem(422, "invalid_field");
    assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_seen_by_those_it_concerns() {
    let app = TestApp::start().await;
    let body = json!({ "sku": "A", "name": "A", "price": "1.00", "total_stock": 5 });
    app.post("/api/products", &app.merchant("maker"), body).await.expect(201);
    app.product("B", 5, json!({})).await;
    let items = json!({ "items": [{ "sku": "A" }, { "sku": "B" }] });
    let held = app.post("/api/reserve", &app.customer("alice"), items).await.expect(201);
    let order = app.checkout("alice", &id_of(&held)).await.expect(201);

    let path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    for token in [
        app.customer("alice"),
        app.merchant("alice"),
        app.merchant("maker"),
        app.service(),
        app.admin(),
    ] {
        assert_eq!(app.get(&path, &token).await.expect(200), order);
    }
    for token in [app.customer("bob"), app.merchant("rival"), app.customer("maker")] {
        app.get(&path, &token).await.expect_problem(404, "not_found");
    }
    app.anonymous(Method::GET, &path).await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_stands_in_every_table_it_belongs_in() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let body = json!({ "sku": "A", "quantity": 2, "email": "alice@example.org" });
    let held = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    let body = json!({ "reservation_id": id_of(&held) });
    let order = app.post("/api/checkout", &app.service(), body).await.expect(201);

    let postgres = app.stores.postgres().await;
    let sql = "select o.order_id::text, o.email, o.actor, m.movement_type, m.quantity, m.stock_after, m.actor as mover,
                      x.topic, x.payload, d.outcome, u.bought
                 from orders o join stock_movements m using (order_id)
                 join outbox_seen x on x.reservation_id = o.reservation_id
                 join reservation_decisions d on d.reservation_id = o.reservation_id
                 join user_sku u on u.user_id = o.user_id and u.product_id = m.product_id
                where m.product_id = $1";
    let row = postgres.query_one(sql, &[&product]).await.unwrap();
    let text = |column: &str| row.get::<_, String>(column);
    assert_eq!(text("order_id"), order["id"]);
    assert_eq!(
        (text("email"), text("actor")),
        ("alice@example.org".into(), "service:storefront".into())
    );
    assert_eq!(
        (text("movement_type"), text("mover")),
        ("SALE".into(), "service:storefront".into())
    );
    assert_eq!((row.get::<_, i64>("quantity"), row.get::<_, i64>("stock_after")), (2, 3));
    assert_eq!((text("topic"), text("outcome")), ("order.paid".into(), "CONFIRMED".into()));
    let expected = json!({ "order_id": order["id"], "reservation_id": held["reservation_id"], "user_id": "alice" });
    assert_eq!(row.get::<_, Value>("payload"), expected);
    assert_eq!(row.get::<_, i64>("bought"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_keeps_the_price_it_was_made_at() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({ "price": "10.00" })).await;
    let id = app.held("alice", "A", 1).await;
    let order = app.checkout("alice", &id).await.expect(201);
    let postgres = app.stores.postgres().await;
    let sql = "update products set price_minor = 2000, name = 'Dearer' where product_id = $1";
    postgres.execute(sql, &[&product]).await.unwrap();
    let path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    assert_eq!(app.get(&path, &app.service()).await.expect(200), order);
    // A total that was right a moment ago is looked at again with the price as it is now.
    let id = app.held("bob", "A", 1).await;
    let body = json!({ "reservation_id": id, "total_amount": "20.00" });
    let dearer = app.post("/api/checkout", &app.customer("bob"), body).await.expect(201);
    assert_eq!(dearer["items"][0]["name"], "Dearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn news_go_to_the_address_that_was_named_last() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    let postgres = app.stores.postgres().await;
    for (reserved, confirmed, expected) in [
        (json!("first@shop.example"), json!("second@shop.example"), Some("second@shop.example")),
        (json!("first@shop.example"), Value::Null, Some("first@shop.example")),
        (Value::Null, json!("second@shop.example"), Some("second@shop.example")),
        (Value::Null, Value::Null, None),
    ] {
        let body = json!({ "sku": "A", "email": reserved });
        let held = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
        let body = json!({ "reservation_id": id_of(&held), "email": confirmed });
        app.post("/api/checkout", &app.customer("alice"), body).await.expect(201);
        let sql = "select email from orders order by created_at desc limit 1";
        let row = postgres.query_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<String>>("email").as_deref(), expected);
    }
}
