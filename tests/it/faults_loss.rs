//! Redis loses its tail, everything, or its mind; rebuilds under live traffic.

use std::fs;
use std::path::{Path, PathBuf};

use redis::AsyncCommands;
use serde_json::json;

use crate::app::{Api, SOON, Stores, TestApp, hasty, until};
use crate::conservation;
use crate::faults_crowd::Crowd;
use crate::process::{blocking, own_redis};

const SKUS: [&str; 3] = ["CASE", "PHONE", "WATCH"];
/// Many cancels are part of it.
const NO_CHURN: (&str, &str) = ("HOLDFAST__RESERVATION__CHURN_BURST", "0");

async fn two_replicas(stores: &Stores) -> (TestApp, TestApp) {
    let first = TestApp::on(stores.clone(), &hasty(&[NO_CHURN, SOON])).await;
    let second = first.replica(&hasty(&[NO_CHURN, SOON])).await;
    for sku in SKUS {
        first.product(sku, 120, json!({ "hold_ttl_seconds": 2 })).await;
    }
    (first, second)
}

/// Holds that nobody bought run out: then nothing may be reserved.
async fn drained(api: &Api) {
    for sku in SKUS {
        until("all holds have ended", || async {
            let reply =
                api.send(api.request(reqwest::Method::GET, &format!("/api/inventory/{sku}")));
            reply.await.body["reserved_stock"] == 0
        })
        .await;
    }
}

/// The file that Redis appends to now.
fn log_of_writes(data: &Path) -> PathBuf {
    let files = fs::read_dir(data.join("appendonlydir")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.to_str().unwrap().ends_with(".incr.aof"));
    files.sort();
    files.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_emptied_under_load_sells_nothing_twice() {
    let (_redis, stores) = own_redis(&[]).await;
    let (first, second) = two_replicas(&stores).await;
    let crowd = Crowd::start(&[&first, &second], &SKUS, 12);
    for _ in 0..3 {
        crowd.goes_on(60).await;
        let mut redis = stores.redis().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    }
    crowd.goes_on(60).await;
    crowd.stop(&stores).await;
    drained(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_lost_its_tail_under_load_sells_nothing_twice() {
    let (mut redis, stores) = own_redis(&[]).await;
    let (first, second) = two_replicas(&stores).await;
    let crowd = Crowd::start(&[&first, &second], &SKUS, 12);
    for lost in [700, 9_001, 33] {
        crowd.goes_on(80).await;
        blocking(|| {
            redis.kill9().unwrap();
            let path = log_of_writes(&redis.data_dir());
            let log = fs::OpenOptions::new().write(true).open(path).unwrap();
            let length = log.metadata().unwrap().len();
            log.set_len(length.saturating_sub(lost)).unwrap();
            redis.restart().unwrap();
        });
    }
    crowd.goes_on(80).await;
    crowd.stop(&stores).await;
    drained(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_without_loss_keeps_its_holds_and_opens_again() {
    // While the disk is busy, `everysec` may keep a write from the log for up to two seconds.
    let (mut redis, stores) = own_redis(&[("appendfsync", "always")]).await;
    let app = TestApp::on(stores.clone(), &[]).await;
    app.product("PHONE", 50, json!({})).await;
    let held = app.held("alice", "PHONE", 2).await;
    blocking(|| {
        redis.kill9().unwrap();
        redis.restart().unwrap();
    });
    until("it takes holds again", || async {
        app.reserve("bob", "PHONE", 1).await.status.is_success()
    })
    .await;
    app.checkout("alice", &held).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (50, 47, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_products_open_again_after_redis_was_emptied() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &[]).await;
    let skus: Vec<String> = (0..100).map(|number| format!("SKU-{number}")).collect();
    for sku in &skus {
        app.product(sku, 5, json!({})).await;
        app.held("alice", sku, 1).await;
    }
    redis::cmd("FLUSHALL").exec_async(&mut stores.redis().await).await.unwrap();
    let reserve = |sku| {
        let app = &app;
        async move {
            until("it takes holds again", || async {
                app.reserve("bob", sku, 1).await.status.is_success()
            })
            .await;
        }
    };
    futures_util::future::join_all(skus.iter().map(|sku| reserve(sku))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_set_back_to_an_older_copy_revives_holds_and_sells_nothing_twice() {
    let (mut redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
    app.product("LAST", 2, json!({})).await;
    let alice = app.held("alice", "LAST", 1).await;
    let bob = app.held("bob", "LAST", 1).await;
    let (log, copy) = (log_of_writes(&redis.data_dir()), redis.data_dir().join("copy"));
    fs::copy(&log, &copy).unwrap();
    let order = app.checkout("alice", &alice).await.expect(201);
    app.delete(&format!("/api/reservations/{bob}"), &app.customer("bob")).await.expect(200);
    let carol = app.held("carol", "LAST", 1).await;
    app.checkout("carol", &carol).await.expect(201);
    blocking(|| {
        redis.kill9().unwrap();
        fs::rename(&copy, &log).unwrap();
        redis.restart().unwrap();
    });

    until("redis is open again", || async { app.reservation(&bob).await.status == 200 }).await;
    assert_eq!(app.reservation(&bob).await.expect(200)["status"], "held", "an accepted loss");
    assert_eq!(app.stock("LAST").await, (2, 0, 0, 2));
    app.reserve("dave", "LAST", 1).await.expect_problem(409, "insufficient_stock");
    assert_eq!(app.checkout("alice", &alice).await.expect(200), order);
    app.checkout("bob", &bob).await.expect_problem(409, "insufficient_stock");
    app.checkout("bob", &bob).await.expect_problem(410, "reservation_expired");
    assert_eq!(app.stock("LAST").await, (2, 0, 0, 2));
}

/// What somebody types into `redis-cli`; `K` stands for the key of this kind, `RID` for the live hold.
const EDITS: &[(&str, &[&str])] = &[
    ("STOCK-TYPE", &["set s x"]),
    ("RECORDS-TYPE", &["del h", "rpush h x"]),
    ("DEADLINES-TYPE", &["del d", "set d x"]),
    ("PINS-TYPE", &["set p x"]),
    ("ENDED-TYPE", &["del g", "set g x"]),
    ("BUYERS-TYPE", &["del b", "sadd b x"]),
    ("NO-STOCK", &["del s"]),
    ("NO-RECORDS", &["del h"]),
    ("NO-DEADLINES", &["del d"]),
    ("NO-BUYERS", &["del b"]),
    ("AVAIL-MORE", &["hset s avail 1000"]),
    ("AVAIL-TEXT", &["hset s avail abc"]),
    ("AVAIL-GONE", &["hdel s avail"]),
    ("STOCKED-GONE", &["hdel s stocked"]),
    ("STOCKED-TEXT", &["hset s stocked many"]),
    ("RETURNED-GONE", &["hdel s returned"]),
    ("VERSION-TEXT", &["hset s ver x"]),
    ("HELD-LESS", &["hset s held 0"]),
    ("SOLD-MORE", &["hset s sold 99 avail -97"]),
    ("TERMS-GONE", &["hdel s ttl_ms cap opens_at closes_at sale terms"]),
    ("EPOCH-OLD", &["hset s epoch 0"]),
    ("EPOCH-TEXT", &["hset s epoch x"]),
    ("RECORD-JUNK", &["hset h RID junk"]),
    ("RECORD-MINUS", &["hset h RID H_n_-4_00_9999999999999_1_0_0_-_alice_-"]),
    ("RECORD-HALF", &["hset h RID H_n_0.5_00_9999999999999_1_0_0_-_alice_-"]),
    ("RECORD-NAN", &["hset h RID H_n_nan_00_9999999999999_1_0_0_-_alice_-"]),
    (
        "RECORD-STRANGE",
        &["hset h nonsense P_n_1_00_9999999999999_1_0_0_-_alice_-", "zadd p 1 nonsense"],
    ),
    (
        "RECORD-ENDED",
        &["hset h nonsense E_n_1_00_1_1_0_0_-_alice_-_expired_1_clock", "zadd g 1 nonsense"],
    ),
    ("BUYER-JUNK", &["hset b alice junk"]),
    ("BUYER-MINUS", &["hset b alice -_-50_0_0_-"]),
    ("INDEX-STRANGE", &["zadd d 1 nonsense", "zadd p 1 nowhere"]),
];

async fn edit(stores: &Stores, sku: &str, id: &str, command: &str) {
    let mut redis = stores.redis().await;
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    cmd.arg(format!("{}{}:{{{sku}}}", stores.prefix, words.next().unwrap()));
    for word in words {
        cmd.arg(word.replace("RID", id).replace('_', " "));
    }
    cmd.exec_async(&mut redis).await.unwrap();
}

/// Makes each product with one unit sold and two held, and breaks it.
async fn broken_by_hand(stores: &Stores, app: &TestApp) {
    for (sku, commands) in EDITS {
        app.product(sku, 9, json!({})).await;
        let sold = app.held("bob", sku, 1).await;
        app.checkout("bob", &sold).await.expect(201);
        let id = app.held("alice", sku, 2).await;
        for command in *commands {
            edit(stores, sku, &id, command).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rebuild_mends_whatever_was_typed_into_redis() {
    let (_redis, stores) = own_redis(&[]).await;
    let slow = ("HOLDFAST__SWEEPER__FULL_PASS", "1h");
    let app = TestApp::on(stores.clone(), &hasty(&[slow, SOON])).await;
    broken_by_hand(&stores, &app).await;
    for (sku, _) in EDITS {
        let stock: redis::Value =
            stores.redis().await.key_type(format!("{}s:{{{sku}}}", stores.prefix)).await.unwrap();
        if stock == redis::Value::SimpleString("hash".to_owned()) {
            edit(&stores, sku, "", "hdel s ready").await;
        }
        let id = app.held("carol", sku, 1).await;
        app.checkout("carol", &id).await.expect(201);
    }
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_meet_no_defect_in_a_redis_that_somebody_typed_into() {
    let (_redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores.clone(), &hasty(&[SOON])).await.unchecked();
    broken_by_hand(&stores, &app).await;
    for (sku, _) in EDITS {
        until("the product sells", || async {
            let reply = app.reserve("carol", sku, 1).await;
            assert!(reply.status != 500, "{sku}: {reply:#?}");
            let Some(id) = reply.body["reservation_id"].as_str() else { return false };
            let order = app.checkout("carol", id).await;
            assert!(order.status != 500, "{sku}: {order:#?}");
            order.status.is_success()
        })
        .await;
        let read = app.send(app.request(reqwest::Method::GET, &format!("/api/inventory/{sku}")));
        read.await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_counters_are_found_and_mended_by_the_pass() {
    let app = TestApp::start().await;
    for (sku, command) in [
        ("AVAIL", "hset s avail 1000"),
        ("HELD", "hset s held 0"),
        ("SOLD", "hset s sold 3 avail 3"),
        ("GONE", "hdel s stocked"),
        ("PINS", "del h"),
        ("LAST", "del d"),
    ] {
        app.product(sku, 9, json!({})).await;
        let id = app.held("alice", sku, 3).await;
        edit(&app.stores, sku, &id, command).await;
    }
    conservation::prove(&app.stores).await;
}

async fn product_id(stores: &Stores, sku: &str) -> i64 {
    let sql = "select product_id from products where sku = $1";
    stores.postgres().await.query_one(sql, &[&sku]).await.unwrap().get(0)
}

/// The first step of a rebuild, whose maker then dies.
async fn begin_a_rebuild(stores: &Stores, sku: &str) {
    let id = product_id(stores, sku).await;
    stores.postgres().await.query("select rebuild_begin($1)", &[&id]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_of_a_rebuilder_that_died_is_caught_up_by_the_pass() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    begin_a_rebuild(&app.stores, "PHONE").await;
    assert!(conservation::examine(&app.stores).await.is_err(), "the epochs differ");
    until("the pass has caught up", || async { conservation::examine(&app.stores).await.is_ok() })
        .await;
    app.checkout("alice", &id).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_after_a_rebuilder_died_does_not_wait_for_the_pass() {
    let slow = ("HOLDFAST__SWEEPER__FULL_PASS", "1h");
    let app = TestApp::start_with(&[slow]).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    begin_a_rebuild(&app.stores, "PHONE").await;
    app.checkout("alice", &id).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_rebuilders_at_once_do_no_harm_to_live_traffic() {
    let (_redis, stores) = own_redis(&[]).await;
    let (first, second) = two_replicas(&stores).await;
    let crowd = Crowd::start(&[&first, &second], &SKUS, 12);
    for round in 0..12 {
        crowd.goes_on(15).await;
        for sku in SKUS {
            match round % 3 {
                0 => begin_a_rebuild(&stores, sku).await,
                1 => edit(&stores, sku, "", "hdel s ready").await,
                _ => edit(&stores, sku, "", "del s").await,
            }
        }
    }
    crowd.goes_on(15).await;
    crowd.stop(&stores).await;
    drained(&first).await;
}
