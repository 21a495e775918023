//! The clock by which holds expire, while payments are out: frozen it takes nobody's time, wherever they ask.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Api, TestApp};
use crate::reserve::{id_of, moment};

async fn set(api: &Api, what: &str) -> Value {
    let path = format!("/api/admin/expiry/{what}");
    api.post(&path, &api.admin(), json!({ "reason": "the bank is down" })).await.expect(200)
}

async fn hold(api: &Api, user: &str, sku: &str, ttl: i64) -> Value {
    let body = json!({ "sku": sku, "ttl_seconds": ttl });
    api.post("/api/reserve", &api.customer(user), body).await.expect(201)
}

async fn status(api: &Api, id: &str) -> Value {
    api.reservation(id).await.expect(200)["status"].clone()
}

/// How long the holds of these tests last: long enough for what happens meanwhile.
const TTL: i64 = 6;

/// Longer than that.
async fn outlast() {
    tokio::time::sleep(Duration::from_millis(6_500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_frozen_no_hold_expires_anywhere() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    app.product("A", 2, json!({})).await;
    app.product("B", 2, json!({})).await;
    let first = hold(&app, "a", "A", TTL).await;
    let id = id_of(&first);
    let frozen = set(&app, "freeze").await;
    assert_eq!((&frozen["frozen"], &frozen["by"]), (&json!(true), &json!("admin:root")));
    assert_eq!(frozen["reason"], "the bank is down");
    let left = app.reservation(&id).await.expect(200)["expires_in"].clone();
    // Made while it is frozen: its time begins at the thaw. B is one that Redis has never seen.
    let (second, third) = (hold(&other, "b", "A", TTL).await, hold(&other, "b", "B", TTL).await);
    assert_eq!(second["expires_in"], TTL);
    outlast().await;
    for api in [&app.api, &other.api] {
        let read = api.reservation(&id).await.expect(200);
        assert_eq!((&read["status"], &read["expires_in"]), (&json!("held"), &left), "{read}");
        for id in [id_of(&second), id_of(&third)] {
            assert_eq!(status(api, &id).await, "held");
        }
        // Reaping finds nothing either.
        let refused = api.reserve("c", "A", 1).await.expect_problem(409, "insufficient_stock");
        assert!(refused.get("soonest_expiry").is_none(), "{refused}");
    }
    let listed = app.get("/api/users/a/reservations", &app.customer("a")).await.expect(200);
    assert_eq!(listed["items"][0]["status"], "held");
    // Everything but the clock goes on.
    let path = format!("/api/reservations/{id}/extend");
    let longer = app.post(&path, &app.customer("a"), json!({ "seconds": 1 })).await.expect(200);
    assert!(longer["expires_in"].as_i64() > left.as_i64(), "{longer}");
    app.checkout("b", &id_of(&third)).await.expect(201);

    let thawed = set(&other, "thaw").await;
    assert_eq!(thawed["frozen"], false);
    let service = &app;
    for id in [&id, &id_of(&second)] {
        assert_eq!(status(&app, id).await, "held", "it has what it had left");
    }
    for id in [&id, &id_of(&second)] {
        app.until("the hold runs out", || async move { status(service, id).await == "expired" })
            .await;
    }
    app.until("the units are back", || async move { service.stock("A").await == (2, 2, 0, 0) })
        .await;
    // The clock is behind now, and holds last as long as they say.
    let fourth = hold(&app, "d", "A", TTL).await;
    assert_eq!(moment(&fourth["expires_at"]) - moment(&fourth["created_at"]), TTL * 1_000);
    let read = app.reservation(&id_of(&fourth)).await.expect(200);
    assert_eq!(read["expires_at"], fourth["expires_at"]);
    let id = &id_of(&fourth);
    app.until("the hold runs out", || async move { status(service, id).await == "expired" }).await;
    let ended = app.reservation(id).await.expect(200);
    crate::ends::archived(&app, "A", id).await;
    assert_eq!(app.reservation(id).await.expect(200), ended, "the history says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_frozen_whatever_redis_and_the_service_forget() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = id_of(&hold(&app, "a", "A", TTL).await);
    set(&app, "freeze").await;
    // The stock hash is gone: the rebuild brings the clock before it opens the SKU.
    let mut redis = app.stores.redis().await;
    let key = format!("{}s:{{A}}", app.stores.prefix);
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.unwrap();
    outlast().await;
    assert_eq!(status(&app, &id).await, "held");
    // A replica that starts only now.
    let late = app.replica(&[]).await;
    assert_eq!(status(&late, &id).await, "held");
    let read = late.get("/api/admin/expiry", &late.admin()).await.expect(200);
    assert_eq!(read["frozen"], true);
    // Repeating changes nothing: neither the moment nor the lag.
    let clock = |of: Value| of["since"].clone();
    assert_eq!(clock(set(&late, "freeze").await), clock(read));
    set(&app, "thaw").await;
    let once = set(&app, "thaw").await;
    assert_eq!(once["frozen"], false);
    assert_eq!(status(&app, &id).await, "held");
    // Redis forgets the clock again, after the thaw: what it was behind comes back.
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.unwrap();
    let service = &app;
    let hold = &id;
    app.until("the hold runs out", || async move { status(service, hold).await == "expired" })
        .await;
    let noted = app.get("/api/admin/audit?subject=expiry", &app.admin()).await.expect(200);
    assert_eq!(noted["items"].as_array().unwrap().len(), 2, "{noted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_untold_is_told_by_any_replica() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = id_of(&hold(&app, "a", "A", 2 * TTL).await);
    let mut redis = app.stores.redis().await;
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
    let now_ms = seconds * 1_000 + micros / 1_000;
    // Whoever froze it died before a SKU knew.
    let postgres = app.stores.postgres().await;
    let sql = "select set_expiry(true, $1, 'admin:gone', null)";
    postgres.execute(sql, &[&now_ms]).await.unwrap();
    let key = format!("{}s:{{A}}", app.stores.prefix);
    app.until("the SKU knows", || {
        let (mut redis, key) = (redis.clone(), key.clone());
        async move {
            let mut cmd = redis::cmd("HGET");
            cmd.arg(key).arg("frozen");
            cmd.query_async::<Option<i64>>(&mut redis).await.unwrap() == Some(now_ms)
        }
    })
    .await;
    outlast().await;
    outlast().await;
    assert_eq!(status(&app, &id).await, "held");
    set(&app, "thaw").await;
}
