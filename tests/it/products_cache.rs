//! What everybody sees is kept: nothing old after a change in any replica, one query for a crowd, right without Redis.

use reqwest::Method;
use serde_json::json;

use crate::app::{Stores, TestApp};
use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_it_already_gets_304() {
    let app = TestApp::start().await;
    let path = format!("/api/products/{}", app.product("A", 1, json!({})).await);
    for path in [path.as_str(), "/api/products"] {
        let first = app.anonymous(Method::GET, path).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"'), "{tag} is weak");
        let ask =
            |tags: String| app.send(app.request(Method::GET, path).header("If-None-Match", tags));
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let reply = ask(known).await;
            assert_eq!(
                (reply.status.as_u16(), reply.headers["etag"].to_str().unwrap()),
                (304, &*tag)
            );
            assert_eq!(reply.body, "");
        }
        ask("\"x\"".to_owned()).await.expect(200);
    }
    let edit =
        app.request(Method::PATCH, &path).bearer_auth(app.admin()).header("If-None-Match", "*");
    assert_eq!(app.send(edit.json(&json!({ "name": "B" }))).await.expect(200)["name"], "B");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_one_replica_is_seen_in_all_at_once() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    let path = format!("/api/products/{}", app.product("A", 1, json!({})).await);
    for round in 0..30 {
        let (name, from) = (format!("n{round}"), if round % 2 == 0 { &app } else { &other });
        for reader in [&app, &other] {
            reader.anonymous(Method::GET, "/api/products").await.expect(200);
            reader.anonymous(Method::GET, &path).await.expect(200);
        }
        let edit = from.request(Method::PATCH, &path).bearer_auth(from.admin());
        from.send(edit.json(&json!({ "name": name }))).await.expect(200);
        for reader in [&app, &other] {
            let list = reader.anonymous(Method::GET, "/api/products").await.expect(200);
            assert_eq!(list["items"][0]["name"], name);
            assert_eq!(reader.anonymous(Method::GET, &path).await.expect(200)["name"], name);
        }
    }
    let created = app.product("B", 1, json!({})).await;
    let list = other.anonymous(Method::GET, "/api/products").await.expect(200);
    assert_eq!(list["items"][0]["id"], created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_misses_makes_one_query() {
    let app = TestApp::start().await;
    for sku in ["A", "B"] {
        app.product(sku, 1, json!({})).await;
    }
    // Each query counts itself, whoever runs it.
    app.stores
        .postgres()
        .await
        .batch_execute(
            "create sequence asked; alter function products_page rename to products_page_asked;
             create function products_page(text, boolean, boolean, text, text, text, boolean, text, bigint, bigint)
                 returns setof shown_products language plpgsql volatile as $$
             begin
                 perform nextval('asked'), pg_sleep(0.05);
                 return query select * from products_page_asked($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
             end $$",
        )
        .await
        .unwrap();
    let asks = (0..200).map(|_| app.anonymous(Method::GET, "/api/products?limit=7"));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.expect(200)["items"].as_array().unwrap().len(), 2);
    }
    let asked = app.stores.postgres().await;
    let asked: i64 = asked.query_one("select last_value from asked", &[]).await.unwrap().get(0);
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_postgres_answers_and_a_change_is_seen() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_redis(&stores).await;
    let app = TestApp::on(through, &[]).await.unchecked();
    let path = format!("/api/products/{}", app.product("A", 1, json!({})).await);
    app.anonymous(Method::GET, "/api/products").await.expect(200);
    proxy.cut();
    for name in ["b", "c"] {
        let edit = app.request(Method::PATCH, &path).bearer_auth(app.admin());
        app.send(edit.json(&json!({ "name": name }))).await.expect(200);
        let list = app.anonymous(Method::GET, "/api/products").await.expect(200);
        assert_eq!(list["items"][0]["name"], name);
        assert_eq!(app.anonymous(Method::GET, &path).await.expect(200)["name"], name);
    }
    let refused = app.delete(&path, &app.admin()).await.expect_problem(503, "store_unavailable");
    assert_eq!(refused["outcome"], "none");
    proxy.forward();
    app.until("the sale goes on", || async { app.reserve("bob", "A", 1).await.status == 201 })
        .await;
    let list = app.anonymous(Method::GET, "/api/products").await.expect(200);
    assert_eq!(list["items"][0]["name"], "c");
}
