//! Expiry without its events, with forged ones, and after the death of the replica that made the hold.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::app::{TestApp, until};
use crate::process::{ServiceProcess, own_redis};

/// No pass over all products helps within a test.
const NO_PASS: (&str, &str) = ("HOLDFAST__SWEEPER__FULL_PASS", "1h");

async fn config_set(redis: &mut MultiplexedConnection, name: &str, value: &str) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(name).arg(value).exec_async(redis).await.unwrap();
}

/// How many scripts the server has run.
pub async fn scripts_run(redis: &mut MultiplexedConnection) -> u64 {
    let mut info = redis::cmd("INFO");
    let text: String = info.arg("commandstats").query_async(redis).await.unwrap();
    let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_events_switched_off() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[NO_PASS]).await;
    app.product("PHONE", 5, json!({})).await;
    config_set(&mut stores.redis().await, "notify-keyspace-events", "").await;
    let body = json!({ "sku": "PHONE", "quantity": 2, "ttl_seconds": 1 });
    app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    until("it is swept", || async { app.stock("PHONE").await == (5, 5, 0, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_of_a_hold_that_is_due_is_sold_at_once_with_nobody_sweeping() {
    let (_redis, stores) = own_redis(&[]).await;
    let tick = ("HOLDFAST__SWEEPER__TICK", "1h");
    let app = TestApp::on(stores.clone(), &[NO_PASS, tick]).await;
    app.product("LAST", 1, json!({})).await;
    config_set(&mut stores.redis().await, "notify-keyspace-events", "").await;
    let body = json!({ "sku": "LAST", "quantity": 1, "ttl_seconds": 3 });
    let first = app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    let id = first["reservation_id"].as_str().unwrap();
    app.reserve("bob", "LAST", 1).await.expect_problem(409, "insufficient_stock");
    until("its time is over", || async {
        app.reservation(id).await.expect(200)["status"] == "expired"
    })
    .await;
    assert_eq!(app.stock("LAST").await, (1, 0, 1, 0), "nobody has swept it");
    let second = app.held("bob", "LAST", 1).await;
    app.checkout("alice", id).await.expect_problem(410, "reservation_expired");
    app.checkout("bob", &second).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_event_ends_nothing() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[NO_PASS]).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 2).await;
    let mut redis = stores.redis().await;
    let prefix = &stores.prefix;
    let forged = [
        format!("{prefix}t:{{PHONE}}:{id}"),
        format!("{prefix}t:{{PHONE}}:nonsense"),
        format!("{prefix}t:{{NO-SUCH}}:{id}"),
        format!("{prefix}t:{{"),
        "nonsense".to_owned(),
    ];
    let before = scripts_run(&mut redis).await;
    for key in forged.iter().chain(&forged) {
        let heard: i64 = redis.publish("__keyevent@0__:expired", key).await.unwrap();
        assert_eq!(heard, 1);
    }
    until("the event is heard", || async { scripts_run(&mut stores.redis().await).await > before })
        .await;
    assert_eq!(app.stock("PHONE").await, (5, 3, 2, 0));
    // The listener has outlived them all: what follows is heard too.
    let before = scripts_run(&mut redis).await;
    let _: i64 = redis.publish("__keyevent@0__:expired", &forged[0]).await.unwrap();
    until("the listener still listens", || async {
        scripts_run(&mut stores.redis().await).await > before
    })
    .await;
    app.checkout("alice", &id).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_a_replica_that_died_is_given_back_by_another() {
    let (_redis, stores) = own_redis(&[]).await;
    let left = TestApp::on(stores.clone(), &[]).await;
    left.product("PHONE", 5, json!({})).await;
    let doomed = ServiceProcess::start(&stores, &[]).await;
    config_set(&mut stores.redis().await, "notify-keyspace-events", "").await;
    let body = json!({ "sku": "PHONE", "quantity": 2, "ttl_seconds": 1 });
    doomed.post("/api/reserve", &doomed.customer("alice"), body).await.expect(201);
    doomed.kill9().await;
    let prefix = &stores.prefix;
    until("the other replica has swept", || async {
        let mut redis = stores.redis().await;
        let due: i64 = redis.zcard(format!("{prefix}d:{{PHONE}}")).await.unwrap();
        due == 0
    })
    .await;
    assert_eq!(left.stock("PHONE").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_cut_is_made_again() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[NO_PASS]).await;
    let mut redis = stores.redis().await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub").exec_async(&mut redis).await.unwrap();
    until("somebody listens again", || async {
        let mut count = redis::cmd("PUBSUB");
        count.arg("NUMSUB").arg("__keyevent@0__:expired");
        let (_, listeners): (String, i64) =
            count.query_async(&mut stores.redis().await).await.unwrap();
        listeners == 1
    })
    .await;
    app.product("PHONE", 5, json!({})).await;
    let body = json!({ "sku": "PHONE", "quantity": 2, "ttl_seconds": 1 });
    app.post("/api/reserve", &app.customer("alice"), body).await.expect(201);
    until("it is swept", || async { app.stock("PHONE").await == (5, 5, 0, 0) }).await;
}
