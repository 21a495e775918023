//! Redis away, frozen, full, read-only: a 503 in time that says what happened, and work again afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use xtask::servers::{Listen, Redis, RedisOptions};

use crate::app::{Api, LATE, Reply, Stores, TestApp, hasty, until};
use crate::conservation;
use crate::process::{blocking, own_redis, signal_to};
use crate::proxy::Proxy;

/// A 503 as it must be, saying when to come again and whether something may have happened. It is given in time if it is
/// given at all: whatever keeps Redis from answering is taken away only afterwards.
async fn unavailable(answer: impl Future<Output = Reply>) -> Value {
    let reply = answer.await;
    assert_eq!(reply.headers.get("retry-after").unwrap_or_else(|| panic!("{reply:#?}")), "1");
    let code = reply.body["code"].as_str().unwrap().to_owned();
    reply.expect_problem(503, &code)
}

fn keyed(api: &Api, user: &str, key: &str) -> reqwest::RequestBuilder {
    let request = api.request(Method::POST, "/api/reserve").bearer_auth(api.customer(user));
    request.header("Idempotency-Key", key).json(&json!({ "sku": "PHONE", "quantity": 1 }))
}

/// Every route that needs Redis, several times at once.
async fn all_unavailable(app: &TestApp, id: &str) {
    let (alice, path) = (app.customer("alice"), format!("/api/reservations/{id}"));
    let (alice, path) = (&alice, &path);
    let storm = (0..12).map(|number| async move {
        let user = format!("storm-{number}");
        tokio::join!(
            unavailable(app.reserve(&user, "PHONE", 1)),
            unavailable(app.send(keyed(app, &user, "k"))),
            unavailable(app.checkout("alice", id)),
            unavailable(app.delete(path, alice)),
            unavailable(app.get(path, alice)),
            unavailable(app.get("/api/users/alice/reservations", alice)),
            unavailable(app.get("/api/inventory/PHONE", alice)),
        );
    });
    futures_util::future::join_all(storm).await;
}

async fn works(app: &TestApp) {
    until("it works again", || async {
        app.reserve("newcomer", "PHONE", 1).await.status.is_success()
    })
    .await;
    let id = app.held("newcomer", "PHONE", 1).await;
    until("it sells again", || async { app.checkout("newcomer", &id).await.status.is_success() })
        .await;
}

async fn with_a_hold(settings: &[(&str, &str)]) -> (Redis, TestApp, String) {
    let (redis, stores) = own_redis(settings).await;
    let app = TestApp::on(stores, &hasty(&[LATE])).await;
    app.product("PHONE", 500, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    (redis, app, id)
}

/// Waits until `/readyz` says this; answers its status, and what it says of Redis.
async fn until_redis(app: &TestApp, wanted: &str) -> (u16, String) {
    let readyz = || async { app.send(app.request(Method::GET, "/readyz")).await };
    until("readiness says so", || async { readyz().await.body["status"] == wanted }).await;
    let reply = readyz().await;
    let detail = reply.body["parts"]["redis"]["detail"].as_str().unwrap_or_default();
    (reply.status.as_u16(), detail.to_owned())
}

async fn config_set(stores: &Stores, name: &str, value: &str) {
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(name).arg(value).exec_async(&mut stores.redis().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_is_answered_for_in_time() {
    let (redis, app, id) = with_a_hold(&[]).await;
    signal_to(redis.pid().unwrap(), Signal::STOP);
    all_unavailable(&app, &id).await;
    all_unavailable(&app, &id).await;
    signal_to(redis.pid().unwrap(), Signal::CONT);
    works(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_a_dead_line_is_answered_for_in_time() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_redis(&stores).await;
    let app = TestApp::on(through, &hasty(&[LATE])).await.unchecked();
    app.product("PHONE", 500, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    proxy.freeze();
    all_unavailable(&app, &id).await;
    proxy.forward();
    works(&app).await;
    proxy.cut();
    all_unavailable(&app, &id).await;
    proxy.forward();
    works(&app).await;
    proxy.delay(Duration::from_millis(20));
    works(&app).await;
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_gone_is_answered_for_in_time() {
    let (mut redis, app, id) = with_a_hold(&[]).await;
    blocking(|| redis.kill9().unwrap());
    all_unavailable(&app, &id).await;
    until("readiness says so", || async {
        app.send(app.request(Method::GET, "/readyz")).await.status == 503
    })
    .await;
    blocking(|| redis.restart().unwrap());
    works(&app).await;
    until("readiness says so", || async {
        app.send(app.request(Method::GET, "/readyz")).await.status == 200
    })
    .await;
    app.checkout("alice", &id).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_pauses_its_clients_is_answered_for_in_time() {
    let (_redis, app, id) = with_a_hold(&[]).await;
    let mut pause = redis::cmd("CLIENT");
    let mut connection = app.stores.redis().await;
    pause.arg("PAUSE").arg(600_000).arg("WRITE").exec_async(&mut connection).await.unwrap();
    unavailable(app.reserve("bob", "PHONE", 1)).await;
    redis::cmd("CLIENT").arg("UNPAUSE").exec_async(&mut connection).await.unwrap();
    works(&app).await;
    let mut pause = redis::cmd("CLIENT");
    pause.arg("PAUSE").arg(3_000).arg("ALL").exec_async(&mut connection).await.ok();
    works(&app).await;
    app.checkout("alice", &id).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_takes_no_hold_and_still_sells_and_gives_back() {
    let (_redis, app, id) = with_a_hold(&[]).await;
    let second = app.held("bob", "PHONE", 2).await;
    config_set(&app.stores, "maxmemory", "1").await;
    let refused = unavailable(app.reserve("carol", "PHONE", 1)).await;
    assert_eq!(refused["outcome"], "none");
    unavailable(app.send(keyed(&app, "carol", "k"))).await;
    let (status, detail) = until_redis(&app, "degraded").await;
    assert!(status == 200 && detail.contains("full"), "{detail}");
    assert_eq!(app.stock("PHONE").await, (500, 497, 3, 0));
    app.checkout("alice", &id).await.expect(201);
    app.delete(&format!("/api/reservations/{second}"), &app.customer("bob")).await.expect(200);
    assert_eq!(app.stock("PHONE").await, (500, 499, 0, 1));
    config_set(&app.stores, "maxmemory", "0").await;
    until_redis(&app, "ready").await;
    works(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_run_out_in_a_full_redis_and_it_can_be_rebuilt() {
    let (_redis, app, _) = with_a_hold(&[]).await;
    let body = json!({ "sku": "PHONE", "quantity": 4, "ttl_seconds": 1 });
    app.post("/api/reserve", &app.customer("bob"), body).await.expect(201);
    config_set(&app.stores, "maxmemory", "1").await;
    until("it is swept", || async { app.stock("PHONE").await == (500, 499, 1, 0) }).await;
    redis::cmd("DEL")
        .arg(format!("{}s:{{PHONE}}", app.stores.prefix))
        .exec_async(&mut app.stores.redis().await)
        .await
        .unwrap();
    assert_eq!(app.stock("PHONE").await, (500, 499, 1, 0));
    config_set(&app.stores, "maxmemory", "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_was_sold_before_can_be_rebuilt_in_a_full_redis() {
    let (_redis, app, id) = with_a_hold(&[]).await;
    app.checkout("alice", &id).await.expect(201);
    let kept = app.held("bob", "PHONE", 2).await;
    let body = json!({ "sku": "PHONE", "quantity": 4, "ttl_seconds": 1 });
    app.post("/api/reserve", &app.customer("carol"), body).await.expect(201);
    config_set(&app.stores, "maxmemory", "1").await;
    let mut redis = app.stores.redis().await;
    let mut lose = redis::cmd("DEL");
    lose.arg(format!("{}s:{{PHONE}}", app.stores.prefix)).exec_async(&mut redis).await.unwrap();
    until("it is rebuilt, and swept", || async {
        let path = "/api/inventory/PHONE";
        let stock = app.send(app.request(Method::GET, path)).await;
        stock.status == 200 && stock.body["reserved_stock"] == 2
    })
    .await;
    app.delete(&format!("/api/reservations/{kept}"), &app.customer("bob")).await.expect(200);
    assert_eq!(app.stock("PHONE").await, (500, 499, 0, 1));
    let mut buyer = redis::cmd("HGET");
    buyer.arg(format!("{}b:{{PHONE}}", app.stores.prefix)).arg("alice");
    let buyer: String = buyer.query_async(&mut redis).await.unwrap();
    let bought = buyer.split(' ').nth(2);
    assert_eq!(bought, Some("1"), "{buyer}");
    config_set(&app.stores, "maxmemory", "0").await;
    works(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_service_finds_redis_again() {
    let (mut redis, app, _) = with_a_hold(&[]).await;
    // Connections of their own, so that each of the workers answers some, and has a lane.
    let asks = || async {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        client.get(format!("{}/api/inventory/PHONE", app.url)).send().await.unwrap().status()
    };
    let ready = || async {
        let reply = app.send(app.request(Method::GET, "/readyz")).await;
        (reply.status == 200, reply.body["parts"]["redis"]["ready"] == true)
    };
    for _ in 0..8 {
        assert_eq!(asks().await, 200);
    }
    blocking(|| redis.kill9().unwrap());
    // That nobody listens for its events is noticed before, and says nothing of the gate.
    until("readiness says so of redis", || async { !ready().await.1 }).await;
    blocking(|| redis.restart().unwrap());
    until("readiness says so", || async { ready().await.0 }).await;
    for number in 0..8 {
        assert_eq!(asks().await, 200, "question {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_became_a_replica_is_left_alone_until_it_leads_again() {
    let (_redis, app, id) = with_a_hold(&[]).await;
    let mut follow = redis::cmd("REPLICAOF");
    let mut connection = app.stores.redis().await;
    follow.arg("127.0.0.1").arg(1).exec_async(&mut connection).await.unwrap();
    unavailable(app.reserve("bob", "PHONE", 1)).await;
    unavailable(app.checkout("alice", &id)).await;
    let (status, detail) = until_redis(&app, "not_ready").await;
    assert!(status == 503 && detail.contains("not a master"), "{detail}");
    let mut lead = redis::cmd("REPLICAOF");
    lead.arg("NO").arg("ONE").exec_async(&mut connection).await.unwrap();
    works(&app).await;
    app.checkout("alice", &id).await.expect_success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_misses_its_replica_is_not_ready_and_says_why() {
    let (_redis, app, id) = with_a_hold(&[]).await;
    config_set(&app.stores, "min-replicas-to-write", "1").await;
    let refused = unavailable(app.reserve("bob", "PHONE", 1)).await;
    assert_eq!(refused["outcome"], "none");
    let (status, detail) = until_redis(&app, "not_ready").await;
    assert!(status == 503 && detail.contains("NOREPLICAS"), "{detail}");
    config_set(&app.stores, "min-replicas-to-write", "0").await;
    until_redis(&app, "ready").await;
    works(&app).await;
    app.checkout("alice", &id).await.expect_success();
}

/// How many listen for expiry events there.
async fn listeners(url: &str) -> usize {
    let stores = Stores { redis_url: url.to_owned(), ..Stores::fresh().await };
    let mut asked = redis::cmd("PUBSUB");
    asked.arg("NUMSUB").arg("__keyevent@0__:expired");
    let (_, count): (String, usize) = asked.query_async(&mut stores.redis().await).await.unwrap();
    count
}

/// An address that can move: a link to a socket. It is gone at the end.
struct Address(PathBuf);

impl Address {
    fn new(stores: &Stores) -> Self {
        let name = format!("address-{}.sock", stores.prefix.trim_end_matches(':'));
        Self(std::env::temp_dir().join(name))
    }

    fn lead_to(&self, redis: &Redis) {
        fs::remove_file(&self.0).ok();
        symlink(redis.socket(), &self.0).unwrap();
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// A planned failover: the replica takes over the address, and the server that led until then lives on as its replica,
/// with all who are connected to it.
#[tokio::test(flavor = "multi_thread")]
async fn the_replica_takes_over_while_the_old_master_lives_on() {
    let both = || RedisOptions { listen: Listen::Both, ..RedisOptions::default() };
    let (old, new) = blocking(|| (Redis::start(both()).unwrap(), Redis::start(both()).unwrap()));
    let connect = async |redis: &Redis| {
        let url = format!("redis://127.0.0.1:{}/", redis.port().unwrap());
        let stores = Stores { redis_url: url.clone(), ..Stores::fresh().await };
        (url, stores.redis().await)
    };
    let (old_url, mut at_old) = connect(&old).await;
    let (new_url, mut at_new) = connect(&new).await;
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(old.port().unwrap()).exec_async(&mut at_new).await.unwrap();

    let stores = Stores::fresh().await;
    let address = Address::new(&stores);
    address.lead_to(&old);
    let stores = Stores { redis_url: format!("unix://{}", address.0.display()), ..stores };
    let app = TestApp::on(stores, &[LATE]).await;
    app.product("PHONE", 500, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    let copied = || async {
        let mut link = at_new.clone();
        let info: String =
            redis::cmd("INFO").arg("replication").query_async(&mut link).await.unwrap();
        let key = format!("{}h:{{PHONE}}", app.stores.prefix);
        let held: usize = redis::cmd("HLEN").arg(key).query_async(&mut link).await.unwrap();
        info.contains("master_link_status:up") && held == 1
    };
    until("the replica has the hold", copied).await;

    let mut lead = redis::cmd("REPLICAOF");
    lead.arg("NO").arg("ONE").exec_async(&mut at_new).await.unwrap();
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(new.port().unwrap()).exec_async(&mut at_old).await.unwrap();
    let (status, detail) = until_redis(&app, "not_ready").await;
    assert!(status == 503 && detail.contains("not a master"), "{detail}");
    address.lead_to(&new);
    until_redis(&app, "ready").await;
    works(&app).await;
    app.checkout("alice", &id).await.expect_success();
    until("it listens where events are told", || async {
        listeners(&old_url).await == 0 && listeners(&new_url).await == 1
    })
    .await;
}
