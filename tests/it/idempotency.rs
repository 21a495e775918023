//! `Idempotency-Key`: what is replayed, what is refused, and what happens once even when Redis forgets.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp};
use crate::reserve::{SPELLINGS, id_of};

/// A POST under a key. An answer is kept just after it was sent, so a key that is still busy is tried again.
async fn post(api: &Api, path: &str, token: &str, key: &str, body: &Value) -> Reply {
    loop {
        let request = api.request(Method::POST, path).bearer_auth(token).json(body);
        let reply = api.send(request.header("Idempotency-Key", key)).await;
        if reply.body["code"] != "request_in_progress" {
            return reply;
        }
    }
}

fn replayed(reply: &Reply) -> bool {
    reply.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_replayed_byte_for_byte() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let alice = app.customer("alice");
    let text = async |body: &str| {
        loop {
            let request = app.request(Method::POST, "/api/reserve").bearer_auth(&alice);
            let request =
                request.header("Idempotency-Key", "one").header("Content-Type", "application/json");
            let response = request.body(body.to_owned()).send().await.unwrap();
            if response.status() != StatusCode::CONFLICT {
                let headers = response.headers().clone();
                return (response.status(), headers, response.text().await.unwrap());
            }
        }
    };
    let (status, headers, first) = text(r#"{"sku":"A","quantity":2}"#).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(!headers.contains_key("idempotency-replayed"));
    // Whatever became of the hold in between: the answer is that of then.
    let id = id_of(&serde_json::from_str(&first).unwrap());
    app.delete(&format!("/api/reservations/{id}"), &alice).await.expect(200);
    for spelling in [r#"{"sku":"A","quantity":2}"#, "{ \"quantity\" : 2,\n \"sku\": \"A\" }"] {
        let (status, again, second) = text(spelling).await;
        assert_eq!((status, &second), (StatusCode::CREATED, &first));
        assert_eq!(again["idempotency-replayed"], "true");
        for name in ["location", "content-type", "x-content-type-options"] {
            assert_eq!(again[name], headers[name]);
        }
        assert_ne!(again["x-request-id"], headers["x-request-id"]);
    }
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_the_same_key_is_refused() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let alice = app.customer("alice");
    let body = json!({ "sku": "A", "quantity": 2 });
    let held = post(&app, "/api/reserve", &alice, "one", &body).await.expect(201);
    for other in
        [json!({ "sku": "A", "quantity": 3 }), json!({ "sku": "A" }), json!({}), json!(null)]
    {
        let reply = post(&app, "/api/reserve", &alice, "one", &other).await;
        reply.expect_problem(422, "idempotency_key_reused");
    }
    let again = post(&app, "/api/reserve", &alice, "one", &body).await;
    assert!(replayed(&again));
    assert_eq!(again.expect(201), held);
    assert_eq!(app.stock("A").await, (5, 3, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_not_kept() {
    let app = TestApp::start().await;
    app.product("A", 1, json!({})).await;
    let bobs = app.held("bob", "A", 1).await;
    let (alice, body) = (app.customer("alice"), json!({ "sku": "A" }));
    for _ in 0..2 {
        let refused = post(&app, "/api/reserve", &alice, "one", &body).await;
        assert!(!replayed(&refused));
        refused.expect_problem(409, "insufficient_stock");
    }
    app.delete(&format!("/api/reservations/{bobs}"), &app.service()).await.expect(200);
    let held = post(&app, "/api/reserve", &alice, "one", &body).await;
    assert!(!replayed(&held));
    held.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_caller_and_its_route() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    let body = json!({ "sku": "A", "user_id": "alice" });
    let held = post(&app, "/api/reserve", &app.customer("alice"), "one", &body).await.expect(201);
    // Another subject, another role of the same subject.
    let bob = json!({ "sku": "A", "user_id": "bob" });
    assert!(!replayed(&post(&app, "/api/reserve", &app.customer("bob"), "one", &bob).await));
    for token in [app.merchant("alice"), app.service(), app.admin()] {
        let reply = post(&app, "/api/reserve", &token, "one", &body).await;
        assert!(!replayed(&reply));
        assert_eq!(id_of(&reply.expect(200)), id_of(&held));
    }
    // Another route.
    let checkout = json!({ "reservation_id": id_of(&held) });
    let order = post(&app, "/api/checkout", &app.customer("alice"), "one", &checkout).await;
    assert!(!replayed(&order));
    order.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_names_of_a_route_are_one_route_to_a_key() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    let (alice, body) = (app.customer("alice"), json!({ "sku": "A" }));
    let first = post(&app, SPELLINGS[0], &alice, "one", &body).await.expect(201);
    for path in SPELLINGS {
        let again = post(&app, path, &alice, "one", &body).await;
        assert!(replayed(&again), "{path}");
        assert_eq!(again.expect(201), first);
    }
    let checkout = json!({ "reservation_id": id_of(&first) });
    post(&app, "/api/checkout/confirm", &alice, "two", &checkout).await.expect(201);
    assert!(replayed(&post(&app, "/checkout", &alice, "two", &checkout).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_printable_and_not_too_long() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    let (alice, body) = (app.customer("alice"), json!({ "sku": "A" }));
    for good in ["x", "with blanks ~!", &"k".repeat(255)] {
        let reply = post(&app, "/api/reserve", &alice, good, &body).await;
        assert!(reply.status.is_success(), "{reply:#?}");
    }
    let request = || app.request(Method::POST, "/api/reserve").bearer_auth(&alice).json(&body);
    for bad in [&b""[..], &b"k".repeat(256), b"a\tb", "\u{e4}".as_bytes(), b"\xff"] {
        let refused = app.send(request().header("Idempotency-Key", bad)).await;
        let refused = refused.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "Idempotency-Key");
    }
    let two = request().header("Idempotency-Key", "x").header("Idempotency-Key", "y");
    app.send(two).await.expect_problem(422, "invalid_field");
    // Whoever has no token learns nothing of keys.
    let nobody =
        app.request(Method::POST, "/api/reserve").json(&body).header("Idempotency-Key", "");
    app.send(nobody).await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_in_flight_is_told_to_come_again() {
    let patient = [
        ("HOLDFAST__SERVER__REQUEST_DEADLINE", "20s"),
        ("HOLDFAST__DATABASE__STATEMENT_TIMEOUT", "18s"),
        ("HOLDFAST__DATABASE__LOCK_TIMEOUT", "18s"),
        ("HOLDFAST__SWEEPER__PIN_GRACE", "60s"),
    ];
    let app = TestApp::start_with(&patient).await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let locks = app.stores.postgres().await;
    locks.batch_execute("begin; select from sku_stock for update").await.unwrap();

    let checkout = {
        let request = app.request(Method::POST, "/api/checkout").bearer_auth(app.customer("alice"));
        request.header("Idempotency-Key", "one").json(&json!({ "reservation_id": id }))
    };
    let first = {
        let (api, checkout) = (app.api.clone(), checkout.try_clone().unwrap());
        #[expect(clippy::disallowed_methods, reason = "a test")]
        tokio::spawn(async move { api.send(checkout).await })
    };
    let (service, id) = (&app, &id);
    app.until("the first is under way", || async move {
        service.reservation(id).await.expect(200)["status"] == "confirming"
    })
    .await;
    let twin = app.send(checkout.try_clone().unwrap()).await;
    assert_eq!(twin.headers["retry-after"], "1");
    twin.expect_problem(409, "request_in_progress");

    locks.batch_execute("rollback").await.unwrap();
    let order = first.await.unwrap().expect(201);
    let body = json!({ "reservation_id": id });
    let again = post(&app, "/api/checkout", &app.customer("alice"), "one", &body).await;
    assert!(replayed(&again));
    assert_eq!(again.expect(201), order);
}

/// What a Redis does that has lost its data.
async fn forget_keys(app: &TestApp) {
    let mut redis = app.stores.redis().await;
    let pattern = format!("{}idem:*", app.stores.prefix);
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    assert!(!keys.is_empty());
    let () = redis::cmd("DEL").arg(keys).query_async(&mut redis).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn units_come_into_a_cart_once_even_if_redis_forgets_the_key() {
    let app = TestApp::start().await;
    let own = app.customer("alice");
    let product = app.product("A", 5, json!({ "price": "10.00" })).await;
    let body = json!({ "product_id": product, "quantity": 2 });
    let add = async |key: &str| post(&app, "/api/cart/items", &own, key, &body).await;
    let first = add("one").await.expect(201);
    forget_keys(&app).await;
    let again = add("one").await;
    assert!(!replayed(&again));
    assert_eq!(again.expect(201), first);
    assert_eq!(add("two").await.expect(200)["items"][0]["quantity"], 4);
    // What was kept for a day is over.
    let postgres = app.stores.postgres().await;
    let age = "update cart_additions set created_at = now() - interval '25 hours'";
    assert_eq!(postgres.execute(age, &[]).await.unwrap(), 2);
    add("three").await.expect(200);
    let kept = postgres.query_one("select count(*) from cart_additions", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_created_once_even_if_redis_forgets_the_key() {
    let app = TestApp::start().await;
    let (maker, rival) = (app.merchant("maker"), app.merchant("rival"));
    for body in [
        json!({ "name": "Phone", "total_stock": 5 }),
        json!({ "sku": "A", "name": "Phone", "total_stock": 5 }),
    ] {
        let key = body.to_string();
        let first = post(&app, "/api/products", &maker, &key, &body).await.expect(201);
        assert!(replayed(&post(&app, "/api/products", &maker, &key, &body).await));
        forget_keys(&app).await;
        let again = post(&app, "/api/products", &maker, &key, &body).await;
        assert!(!replayed(&again));
        assert_eq!(again.expect(201), first);
        if body["sku"].is_string() {
            let reply = post(&app, "/api/products", &rival, &key, &body).await;
            reply.expect_problem(409, "sku_taken");
        }
    }
    let postgres = app.stores.postgres().await;
    let count = postgres.query_one("select count(*) from products", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_means_nothing_where_nothing_is_posted() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let path = format!("/api/reservations/{id}");
    for method in [Method::GET, Method::DELETE, Method::GET, Method::DELETE] {
        let request = app.request(method, &path).bearer_auth(app.customer("alice"));
        let reply = app.send(request.header("Idempotency-Key", "one")).await;
        assert!(!replayed(&reply));
        reply.expect(200);
    }
    let request = app.request(Method::GET, &format!("/api/products/{product}"));
    app.send(request.header("Idempotency-Key", "")).await.expect(200);
}
