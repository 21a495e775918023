//! Editing and deleting products: versions, tags, what a change means to holds, orders and the sale.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp};

async fn send(app: &TestApp, method: Method, path: &str, token: &str, body: Value) -> Reply {
    app.send(app.request(method, path).bearer_auth(token).json(&body)).await
}

async fn patch(app: &TestApp, path: &str, body: Value) -> Reply {
    send(app, Method::PATCH, path, &app.admin(), body).await
}

async fn put(app: &TestApp, path: &str, body: Value) -> Reply {
    send(app, Method::PUT, path, &app.admin(), body).await
}

async fn product(app: &TestApp, sku: &str, stock: i64, more: Value) -> String {
    format!("/api/products/{}", app.product(sku, stock, more).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_replaces_all_and_a_patch_what_it_names() {
    let app = TestApp::start().await;
    let full =
        json!({ "category": "phones", "max_per_buyer": 3, "published": false, "description": "d" });
    let path = product(&app, "A", 5, full).await;
    let patched =
        patch(&app, &path, json!({ "name": "B", "category": null, "published": true })).await;
    let patched = patched.expect(200);
    for (field, value) in [
        ("name", json!("B")),
        ("category", Value::Null),
        ("published", json!(true)),
        ("max_per_buyer", json!(3)),
        ("description", json!("d")),
        ("price", json!("10.00")),
        ("version", json!(2)),
        ("total_stock", json!(5)),
    ] {
        assert_eq!(patched[field], value, "{field}");
    }
    let merge = app.request(Method::PATCH, &path).bearer_auth(app.admin());
    let merge =
        merge.header("content-type", "application/merge-patch+json").body(r#"{"price":11.5}"#);
    assert_eq!(app.send(merge).await.expect(200)["price"], "11.50");
    let replaced = put(&app, &path, json!({ "name": "C" })).await.expect(200);
    for (field, value) in [
        ("name", json!("C")),
        ("price", Value::Null),
        ("max_per_buyer", Value::Null),
        ("description", json!("")),
        ("published", json!(true)),
        ("version", json!(4)),
        ("currency", json!("USD")),
        ("sku", json!("A")),
    ] {
        assert_eq!(replaced[field], value, "{field}");
    }
    assert_eq!(app.get(&path, &app.admin()).await.expect(200), replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_and_what_is_out_of_bounds_is_refused() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 5, json!({ "sale_starts_at": "2030-01-02T00:00:00Z" })).await;
    for (field, value) in [
        ("sku", json!("B")),
        ("total_stock", json!(9)),
        ("currency", json!("EUR")),
        ("owner_id", json!("x")),
        ("name", Value::Null),
        ("name", json!("")),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\u{0}")),
        ("description", json!("x".repeat(4_097))),
        ("category", json!("x".repeat(65))),
        ("price", json!("1.001")),
        ("price", json!(-1)),
        ("hold_ttl_seconds", json!(0)),
        ("hold_ttl_seconds", json!(86_401)),
        ("max_per_buyer", json!(0)),
        ("max_per_buyer", json!(1_000_001)),
        ("low_stock_threshold", json!(-1)),
        ("supplier_id", json!(0)),
        ("supplier_id", json!(1_u64 << 48)),
        ("supplier_id", json!(7)),
        ("sale_ends_at", json!("2030-01-01T00:00:00Z")),
        ("version", json!("1")),
        ("version", json!(0)),
        ("version", json!(-1)),
        ("version", json!(1_i64 << 31)),
    ] {
        let refused = patch(&app, &path, json!({ field: value })).await;
        let refused = refused.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{value}");
        let mut whole = json!({ "name": "A", "sale_starts_at": "2030-01-02T00:00:00Z" });
        whole[field] = value.clone();
        let refused = put(&app, &path, whole).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{value}");
    }
    assert_eq!(app.get(&path, &app.admin()).await.expect(200)["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_version_or_tag_changes_nothing() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 5, json!({})).await;
    let read = app.get(&path, &app.admin()).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    let with_tag = |method: Method, tag: &str| {
        let request = app.request(method, &path).bearer_auth(app.admin()).header("If-Match", tag);
        app.send(request.json(&json!({ "name": "B" })))
    };
    let changed = with_tag(Method::PUT, &tag).await;
    let newer = changed.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(changed.expect(200)["version"], 2);
    for stale in [tag.as_str(), "\"1\"", "W/\"2\"", "x", "\"\""] {
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = with_tag(method, stale).await.expect_problem(412, "precondition_failed");
            assert_eq!(refused["version"], 2);
        }
    }
    for version in [1, 3, i32::MAX] {
        let refused = patch(&app, &path, json!({ "name": "C", "version": version })).await;
        assert_eq!(refused.expect_problem(409, "version_conflict")["version"], 2);
    }
    patch(&app, &path, json!({ "name": "C", "version": 2 })).await.expect(200);
    with_tag(Method::PUT, &newer).await.expect_problem(412, "precondition_failed");
    with_tag(Method::PATCH, "*").await.expect(200);
    assert_eq!(with_tag(Method::DELETE, "\"0\", \"4\"").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_edits_of_one_version_one_wins() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 5, json!({})).await;
    let edits =
        (0..12).map(|n| patch(&app, &path, json!({ "name": format!("n{n}"), "version": 1 })));
    let replies = futures_util::future::join_all(edits).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1, "{replies:#?}");
    assert!(replies.iter().all(|reply| [200, 409].contains(&reply.status.as_u16())));
    assert_eq!(app.get(&path, &app.admin()).await.expect(200)["name"], won[0].body["name"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owner_and_admin_change_a_product() {
    let app = TestApp::start().await;
    let body = json!({ "sku": "A", "name": "A", "total_stock": 1 });
    let created = app.post("/api/products", &app.merchant("maker"), body).await.expect(201);
    let path = format!("/api/products/{}", created["id"]);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let change = |token: String| {
            send(
                &app,
                method.clone(),
                &path,
                Box::leak(token.into_boxed_str()),
                json!({ "name": "B" }),
            )
        };
        change(app.merchant("rival")).await.expect_problem(404, "not_found");
        change(app.customer("maker2")).await.expect_problem(403, "forbidden");
        change(app.service()).await.expect_problem(403, "forbidden");
    }
    send(&app, Method::PUT, &path, &app.merchant("maker"), json!({ "name": "B" }))
        .await
        .expect(200);
    assert_eq!(app.delete(&path, &app.merchant("maker")).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_rule_new_holds_at_once_and_leave_live_ones() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 10, json!({})).await;
    let held = app.held("alice", "A", 4).await;
    patch(&app, &path, json!({ "max_per_buyer": 2, "price": "12.50" })).await.expect(200);
    app.reserve("bob", "A", 3).await.expect_problem(409, "buyer_limit");
    let order = app.checkout("alice", &held).await.expect(201);
    assert_eq!(
        (&order["total_amount"], &order["items"][0]["unit_price"]),
        (&json!("50.00"), &json!("12.50"))
    );
    patch(&app, &path, json!({ "sale_starts_at": "2099-01-01T00:00:00Z" })).await.expect(200);
    app.reserve("bob", "A", 1).await.expect_problem(409, "sale_not_open");
    let past = json!({ "sale_starts_at": null, "sale_ends_at": "2020-01-01T00:00:00Z" });
    patch(&app, &path, past).await.expect(200);
    app.reserve("bob", "A", 1).await.expect_problem(409, "sale_closed");
    patch(&app, &path, json!({ "sale_ends_at": null, "published": false })).await.expect(200);
    app.reserve("bob", "A", 1).await.expect_problem(404, "unknown_product");
    patch(&app, &path, json!({ "published": true, "hold_ttl_seconds": 30 })).await.expect(200);
    let reply = app.reserve("bob", "A", 1).await.expect(201);
    assert!(reply["expires_in"].as_i64().unwrap() <= 30, "{reply}");
    // The order keeps what it was sold at.
    let order_path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    patch(&app, &path, json!({ "name": "Other", "price": "99.00" })).await.expect(200);
    let kept = app.get(&order_path, &app.customer("alice")).await.expect(200);
    assert_eq!(kept["items"], order["items"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_redis_was_never_told_are_told_later() {
    let app = TestApp::start().await;
    let id = app.product("A", 10, json!({})).await;
    app.held("alice", "A", 1).await;
    // As a process leaves it that dies between its commit and Redis.
    let sql = "update products set max_per_buyer = 2, version = version + 1 where product_id = $1";
    app.stores.postgres().await.execute(sql, &[&id]).await.unwrap();
    app.until("postgres knows", || async {
        let told = "select from products where terms_told = 2 and version = 2";
        app.stores.postgres().await.query(told, &[]).await.unwrap().len() == 1
    })
    .await;
    app.reserve("bob", "A", 3).await.expect_problem(409, "buyer_limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_product_is_gone_and_its_sku_taken() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 5, json!({ "category": "c" })).await;
    let held = app.held("alice", "A", 2).await;
    let order = app.checkout("alice", &held).await.expect(201);
    app.anonymous(Method::GET, "/api/products").await.expect(200);
    assert_eq!(app.delete(&path, &app.admin()).await.status, 204);
    app.anonymous(Method::GET, &path).await.expect_problem(404, "not_found");
    app.get(&path, &app.admin()).await.expect_problem(404, "not_found");
    app.delete(&path, &app.admin()).await.expect_problem(404, "not_found");
    patch(&app, &path, json!({ "name": "B" })).await.expect_problem(404, "not_found");
    app.reserve("bob", "A", 1).await.expect_problem(404, "unknown_product");
    app.anonymous(Method::GET, "/api/inventory/A").await.expect_problem(404, "unknown_product");
    for list in ["/api/products", "/api/products?owner=me", "/api/products?category=c"] {
        assert_eq!(app.get(list, &app.admin()).await.expect(200)["items"], json!([]));
    }
    let again = json!({ "sku": "A", "name": "A", "total_stock": 1 });
    app.post("/api/products", &app.admin(), again).await.expect_problem(409, "sku_taken");
    let order_path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    assert_eq!(
        app.get(&order_path, &app.customer("alice")).await.expect(200)["items"],
        order["items"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_held_is_not_deleted() {
    let app = TestApp::start().await;
    let path = product(&app, "A", 5, json!({})).await;
    let held = app.held("alice", "A", 2).await;
    app.delete(&path, &app.admin()).await.expect_problem(409, "has_live_holds");
    assert_eq!(app.get(&path, &app.admin()).await.expect(200)["version"], 1);
    app.held("bob", "A", 1).await;
    app.delete(&format!("/api/reservations/{held}"), &app.customer("alice")).await.expect(200);
    app.delete(&path, &app.admin()).await.expect_problem(409, "has_live_holds");
    app.checkout("bob", app.held("bob", "A", 1).await.as_str()).await.expect(201);
    assert_eq!(app.delete(&path, &app.admin()).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_and_reserving_at_once_never_leave_a_hold_on_a_deleted_product() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    for round in 0..20 {
        let sku = format!("A{round}");
        let path = product(&app, &sku, 5, json!({})).await;
        let admin = app.admin();
        let (deleted, held) =
            tokio::join!(app.delete(&path, &admin), other.reserve("alice", &sku, 1));
        let after = app.get(&path, &admin).await.status;
        match (deleted.status.as_u16(), held.status.as_u16()) {
            (204, 404) => assert_eq!(after, 404, "{sku}"),
            (409, 201) => {
                assert_eq!(after, 200, "{sku}");
                let id = held.body["reservation_id"].as_str().unwrap();
                other.checkout("alice", id).await.expect(201);
            }
            // The hold met the moment in which the product was already a tombstone: nobody has it.
            (204, 409) | (409, 404) => {}
            story => panic!("{sku}: {story:?} {deleted:#?} {held:#?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_kept_with_who_made_it() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let body = json!({ "sku": "A", "name": "A", "price": "1.00", "total_stock": 2 });
    let created = app.post("/api/products", &maker, body).await.expect(201);
    let path = format!("/api/products/{}", created["id"]);
    let who = async |table: &str| {
        let sql = format!("select changed_by from {table} order by created_at desc limit 1");
        let row = app.stores.postgres().await.query_one(&sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0)
    };
    assert_eq!(who("products").await.as_deref(), Some("merchant:maker"));
    patch(&app, &path, json!({ "name": "B" })).await.expect(200);
    assert_eq!(who("products").await.as_deref(), Some("admin:root"));
    send(&app, Method::PUT, &path, &maker, json!({ "name": "C", "price": "1.00" }))
        .await
        .expect(200);
    assert_eq!(who("products").await.as_deref(), Some("merchant:maker"));

    let supplier = app.post("/api/suppliers", &maker, json!({ "name": "S" })).await.expect(201);
    assert_eq!(who("suppliers").await.as_deref(), Some("merchant:maker"));
    let supplier = format!("/api/suppliers/{}", supplier["id"]);
    put(&app, &supplier, json!({ "name": "T" })).await.expect(200);
    assert_eq!(who("suppliers").await.as_deref(), Some("admin:root"));

    let held = app.held("alice", "A", 1).await;
    let order = app.checkout("alice", &held).await.expect(201);
    let fulfil = format!("/api/orders/{}/fulfil", order["id"].as_str().unwrap());
    app.post(&fulfil, &maker, json!({})).await.expect(200);
    assert_eq!(who("orders").await.as_deref(), Some("merchant:maker"));
    app.delete(&path, &app.admin()).await.expect(204);
    assert_eq!(who("products").await.as_deref(), Some("admin:root"));
}
