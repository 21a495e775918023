//! How everything is, over all replicas: who is there, what was found, and what a replica says when events are switched off.

use redis::AsyncCommands;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Api, TestApp, until};
use crate::process::own_redis;

async fn health(api: &Api) -> Value {
    api.get("/api/admin/health", &api.admin()).await.expect(200)
}

fn replicas(health: &Value) -> &Vec<Value> {
    health["replicas"].as_array().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_is_seen_and_one_that_leaves_is_not() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    until("both are seen, from both", || async {
        replicas(&health(&app).await).len() == 2 && replicas(&health(&other).await).len() == 2
    })
    .await;
    let seen = health(&app).await;
    assert_eq!((&seen["status"], &seen["errors"]), (&json!("ok"), &json!([])));
    for api in [&app.api, &other.api] {
        let address = api.url.strip_prefix("http://").unwrap();
        let replica = replicas(&seen).iter().find(|replica| replica["address"] == address);
        let replica = replica.unwrap_or_else(|| panic!("{address} is not there: {seen:#}"));
        assert_eq!(
            (&replica["ready"], &replica["version"]),
            (&json!(true), &json!(env!("CARGO_PKG_VERSION")))
        );
        let checks = replica["checks"].as_array().unwrap();
        for part in ["listener", "migrations", "postgres", "redis", "sweeper"] {
            assert!(
                checks.iter().any(|check| check["name"] == part && check["ok"] == true),
                "{part}"
            );
        }
    }
    assert_eq!((&seen["queue"]["waiting"], &seen["queue"]["dead_letters"]), (&json!(0), &json!(0)));
    let patched = app
        .send(
            app.request(Method::PATCH, "/api/admin/settings")
                .bearer_auth(app.admin())
                .json(&json!({ "reservation.max_extensions": 4 })),
        )
        .await
        .expect(200);
    until("both say which settings they have", || async {
        let seen = health(&app).await;
        replicas(&seen).iter().all(|replica| replica["settings_version"] == patched["version"])
    })
    .await;
    drop(other);
    until("it is gone", || async { replicas(&health(&app).await).len() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_audit_finds_is_told_with_its_end() {
    let app = TestApp::start().await;
    let product = app.product("A", 9, json!({})).await;
    app.held("alice", "A", 1).await;
    let redis = app.stores.redis().await;
    let stock = format!("{}s:{{A}}", app.stores.prefix);
    until("it is told as healed", || {
        let (app, stock, mut redis) = (&app, stock.clone(), redis.clone());
        async move {
            let seen = health(app).await;
            // A rebuild for another reason may have come first, after which there is nothing to find.
            if seen["drift"] == json!([]) && app.stock("A").await == (9, 8, 1, 0) {
                let _: i64 = redis.hincr(stock, "avail", 3).await.unwrap();
            }
            seen["drift"][0]["healed_at"].is_string()
        }
    })
    .await;
    let seen = health(&app).await;
    let drift = &seen["drift"][0];
    assert_eq!(
        (&drift["product_id"], &drift["sku"], &drift["units"]),
        (&json!(product), &json!("A"), &json!(3))
    );
    assert!(
        seen["rebuilds"]["total"].as_u64().unwrap() >= 1 && seen["rebuilds"]["last_at"].is_string()
    );
    assert!(seen["pass"]["products"] == 1 && seen["pass"]["at"].is_string(), "{seen:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_expiry_events_it_is_degraded_and_holds_end_all_the_same() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[]).await;
    app.product("A", 9, json!({})).await;
    let mut redis = stores.redis().await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("notify-keyspace-events");
    set.clone().arg("").query_async::<()>(&mut redis).await.unwrap();
    let readyz = || async { app.anonymous(Method::GET, "/readyz").await.expect(200) };
    until("it says so", || async { readyz().await["status"] == "degraded" }).await;
    let listener = readyz().await["parts"]["listener"].clone();
    assert_eq!((&listener["ready"], &listener["degraded"]), (&json!(true), &json!(true)));
    assert!(listener["detail"].as_str().unwrap().contains("notify-keyspace-events"), "{listener}");
    assert_eq!(health(&app).await["status"], "degraded");

    let body = json!({ "sku": "A", "quantity": 2, "ttl_seconds": 1 });
    app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    until("its units are back", || async { app.stock("A").await == (9, 9, 0, 0) }).await;

    set.arg("Ex").query_async::<()>(&mut redis).await.unwrap();
    until("it is as before", || async { readyz().await["status"] == "ready" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_it_tells_of_itself_and_says_why() {
    let (redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores, &[]).await.unchecked();
    drop(redis);
    until("it says so", || async {
        let seen = health(&app).await;
        seen["status"] == "degraded" && seen["errors"][0].is_string()
    })
    .await;
    let seen = health(&app).await;
    assert_eq!(replicas(&seen).len(), 1);
    assert_eq!(replicas(&seen)[0]["ready"], false, "{seen:#}");
}
