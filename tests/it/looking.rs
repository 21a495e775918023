//! A crowd that looks at the stock shares what was read last, for no longer than the setting says.

use reqwest::Method;
use serde_json::json;

use crate::app::{Api, TestApp, until};
use crate::faults_expiry::scripts_run;
use crate::process::own_redis;

/// Nothing but readers asks Redis.
/// Each request that is counted is a call of Redis too.
const UNLIMITED: (&str, &str) = ("HOLDFAST__RATE_LIMIT__ANONYMOUS_PER_MINUTE", "0");
const QUIET: (&str, &str) = ("HOLDFAST__SWEEPER__FULL_PASS", "1h");

fn max_age(value: &str) -> (&str, &str) {
    ("HOLDFAST__RESERVATION__STOCK_MAX_AGE", value)
}

async fn available(app: &Api, path: &str) -> i64 {
    app.anonymous(Method::GET, path).await.expect(200)["available_stock"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_product_share_one_read() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[QUIET, UNLIMITED, max_age("1s")]).await;
    let id = app.product("A", 500, json!({})).await;
    app.product("B", 7, json!({})).await;
    let paths = ["/api/inventory/A".to_owned(), format!("/api/products/{id}/status")];
    // The first look of all brings the SKU into Redis.
    assert_eq!(available(&app, &paths[0]).await, 500);
    until("the first reading is too old", || async {
        app.held("alice", "A", 1).await;
        available(&app, &paths[0]).await == 499
    })
    .await;

    let mut redis = stores.redis().await;
    let before = scripts_run(&mut redis).await;
    let looks = (0..200).map(|at| available(&app, &paths[at % 2]));
    let seen = futures_util::future::join_all(looks).await;
    assert!(seen.iter().all(|available| *available == 499));
    let reads = scripts_run(&mut redis).await - before;
    // One reading a second, and the one that stood; on a slow machine they take more than one.
    assert!(reads < 50, "{reads} reads for 200 readers");
    assert_eq!(available(&app, "/api/inventory/B").await, 7, "another product is another reading");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_not_kept_beyond_its_age() {
    let app = TestApp::start_with(&[max_age("50ms")]).await;
    app.product("A", 5, json!({})).await;
    assert_eq!(available(&app, "/api/inventory/A").await, 5);
    let held = app.reserve("alice", "A", 2).await.expect(201);
    until("the change is seen", || async { available(&app, "/api/inventory/A").await == 3 }).await;
    let stock = app.anonymous(Method::GET, "/api/inventory/A").await.expect(200);
    assert!(stock["as_of"].as_str() >= held["created_at"].as_str(), "{stock} {held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_age_everybody_reads_anew() {
    let app = TestApp::start_with(&[max_age("0ms")]).await;
    app.product("A", 50, json!({})).await;
    for number in 0..20 {
        app.held(&format!("buyer-{number}"), "A", 1).await;
        assert_eq!(available(&app, "/api/inventory/A").await, 49 - number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_may_be_kept_by_nobody_else() {
    let app = TestApp::start_with(&[max_age("1s")]).await;
    app.product("A", 5, json!({})).await;
    app.product("HIDDEN", 5, json!({ "published": false })).await;
    let of =
        |reply: &crate::app::Reply| reply.headers["cache-control"].to_str().unwrap().to_owned();
    let reply = app.anonymous(Method::GET, "/api/inventory/A").await;
    assert_eq!(of(&reply), "public, max-age=0, must-revalidate");
    let reply = app.get("/api/inventory/HIDDEN", &app.admin()).await;
    assert_eq!((reply.status.as_u16(), of(&reply)), (200, "no-store".to_owned()));
    let reply = app.anonymous(Method::GET, "/api/inventory/HIDDEN").await;
    reply.expect_problem(404, "unknown_product");
}
