//! Suppliers: every route, every bound, and nobody touches somebody else's.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp};

async fn put(app: &TestApp, path: &str, token: &str, body: Value) -> Reply {
    app.send(app.request(Method::PUT, path).bearer_auth(token).json(&body)).await
}

async fn create(app: &TestApp, owner: &str, name: &str) -> String {
    let body = json!({ "name": name });
    let created = app.post("/api/suppliers", &app.merchant(owner), body).await.expect(201);
    format!("/api/suppliers/{}", created["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supplier_is_made_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let (maker, all) = (
        app.merchant("maker"),
        json!({
            "name": " Acme ", "email": "acme@example.org", "phone": "+1 555", "address": "1 Road\nTown",
        }),
    );
    let reply = app.post("/api/suppliers", &maker, all).await;
    let path = reply.headers["location"].to_str().unwrap().to_owned();
    let created = reply.expect(201);
    assert_eq!(
        created,
        json!({
            "id": created["id"], "name": "Acme", "email": "acme@example.org", "phone": "+1 555",
            "address": "1 Road\nTown",
        })
    );
    assert_eq!(app.get(&path, &maker).await.expect(200), created);
    let changed = put(&app, &path, &maker, json!({ "name": "Acme 2" })).await.expect(200);
    assert_eq!((&changed["name"], &changed["email"]), (&json!("Acme 2"), &Value::Null));
    assert_eq!(app.get(&path, &maker).await.expect(200), changed);
    assert_eq!(app.delete(&path, &maker).await.status, 204);
    app.get(&path, &maker).await.expect_problem(404, "not_found");
    app.delete(&path, &maker).await.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_touches_the_suppliers_of_another_merchant() {
    let app = TestApp::start().await;
    let path = create(&app, "maker", "Acme").await;
    let rival = app.merchant("rival");
    app.get(&path, &rival).await.expect_problem(404, "not_found");
    put(&app, &path, &rival, json!({ "name": "Mine" })).await.expect_problem(404, "not_found");
    app.delete(&path, &rival).await.expect_problem(404, "not_found");
    assert_eq!(app.get("/api/suppliers", &rival).await.expect(200)["items"], json!([]));
    assert_eq!(app.get(&path, &app.admin()).await.expect(200)["name"], "Acme");
    assert_eq!(
        put(&app, &path, &app.admin(), json!({ "name": "B" })).await.expect(200)["name"],
        "B"
    );
    for token in [app.customer("alice"), app.service()] {
        app.get("/api/suppliers", &token).await.expect_problem(403, "forbidden");
        app.get(&path, &token).await.expect_problem(403, "forbidden");
    }
    app.anonymous(Method::GET, &path).await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn suppliers_are_listed_in_pages() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        create(&app, "maker", name).await;
    }
    create(&app, "rival", "d").await;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = app.get("/api/suppliers?limit=2", &app.merchant("maker")).await.expect(200);
    assert_eq!(names(&first), ["a", "b"]);
    let next = format!("/api/suppliers?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = app.get(&next, &app.merchant("maker")).await.expect(200);
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["c".to_owned()], &Value::Null));
    assert_eq!(names(&app.get("/api/suppliers", &app.admin()).await.expect(200)).len(), 4);
    for query in ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=-1", "page=1"] {
        let reply = app.get(&format!("/api/suppliers?{query}"), &app.admin()).await;
        reply.expect_problem(422, "invalid_field");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_supplier_has_its_bounds() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    for (field, good, bad) in [
        (
            "name",
            json!("\u{1f600}".repeat(200)),
            vec![json!(""), json!("x".repeat(201)), json!("a\u{0}"), Value::Null],
        ),
        (
            "email",
            json!("a@b"),
            vec![json!("a"), json!("@b"), json!("a@"), json!("a b@c"), json!(1)],
        ),
        ("phone", json!("x".repeat(50)), vec![json!(""), json!("x".repeat(51)), json!("\u{0}")]),
        ("address", json!("x".repeat(500)), vec![json!("x".repeat(501)), json!("a\u{1b}")]),
        ("owner_id", Value::Null, vec![json!("rival")]),
    ] {
        let body = |value: &Value| {
            let mut body = json!({ "name": "Acme" });
            body[field] = value.clone();
            body
        };
        if field != "owner_id" {
            app.post("/api/suppliers", &maker, body(&good)).await.expect(201);
        }
        for value in bad {
            let reply = app.post("/api/suppliers", &maker, body(&value)).await;
            let refused = reply.expect_problem(422, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], field, "{value}");
        }
    }
    for id in ["0", "-1", "x", "281474976710656", "99999999999999999999"] {
        let reply = app.get(&format!("/api/suppliers/{id}"), &maker).await;
        reply.expect_problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_makes_one_supplier() {
    let app = TestApp::start().await;
    let send = || {
        let request =
            app.request(Method::POST, "/api/suppliers").bearer_auth(app.merchant("maker"));
        app.send(request.header("Idempotency-Key", "once").json(&json!({ "name": "Acme" })))
    };
    let first = send().await.expect(201);
    let mut redis = app.stores.redis().await;
    let pattern = format!("{}idem:*", app.stores.prefix);
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    assert_eq!(keys.len(), 1);
    let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis).await.unwrap();
    assert_eq!(send().await.expect(201), first);
    let listed = app.get("/api/suppliers", &app.merchant("maker")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_a_supplier_of_its_own_owner_only() {
    let app = TestApp::start().await;
    let path = create(&app, "maker", "Acme").await;
    let id: i64 = path.rsplit('/').next().unwrap().parse().unwrap();
    let body = |id: i64| json!({ "name": "A", "total_stock": 1, "supplier_id": id });
    for (token, id) in
        [(app.merchant("rival"), id), (app.admin(), id), (app.merchant("maker"), id + 1)]
    {
        let refused = app.post("/api/products", &token, body(id)).await;
        let refused = refused.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "supplier_id");
    }
    let maker = app.merchant("maker");
    let created = app.post("/api/products", &maker, body(id)).await.expect(201);
    assert_eq!(created["supplier_id"], id);
    let product = format!("/api/products/{}", created["id"]);
    let others = create(&app, "rival", "Other").await;
    let others: i64 = others.rsplit('/').next().unwrap().parse().unwrap();
    let moved = put(&app, &product, &maker, json!({ "name": "A", "supplier_id": others })).await;
    moved.expect_problem(422, "invalid_field");
    assert_eq!(app.delete(&path, &maker).await.status, 204);
    assert_eq!(app.get(&product, &maker).await.expect(200)["supplier_id"], Value::Null);
}
