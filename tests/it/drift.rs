//! What somebody breaks in Redis by hand while a crowd buys: found by the second pass that ends after it (a pass comes
//! every five seconds as shipped) and put right by the one after that, on two replicas, and nothing is sold twice
//! meanwhile. Passes are counted, not seconds: what they take is the machine's affair.

use std::collections::BTreeSet;
use std::sync::Mutex;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::app::{TestApp, until};
use crate::faults_crowd::Crowd;

/// Passes of one replica that may end before it is found, and before it is put right.
const FOUND: usize = 2;
const HEALED: usize = 3;

/// The ends of passes that were seen of each replica.
#[derive(Default)]
struct Passes(Mutex<Vec<BTreeSet<i64>>>);

impl Passes {
    /// Looks at these replicas; answers how many passes of one have ended since the first look.
    fn look(&self, replicas: &[&TestApp]) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.resize_with(replicas.len(), BTreeSet::new);
        for (seen, replica) in seen.iter_mut().zip(replicas) {
            seen.insert(replica.app().reservations().last_pass().1);
        }
        seen.iter().map(|seen| seen.len() - 1).max().unwrap()
    }
}

/// The crowd and one hold that stands by itself.
struct Scene {
    app: TestApp,
    other: TestApp,
    crowd: Crowd,
    redis: MultiplexedConnection,
    hold: String,
}

impl Scene {
    async fn new() -> Self {
        let shipped = [("HOLDFAST__SWEEPER__FULL_PASS", "5s")];
        let app = TestApp::start_with(&shipped).await;
        let other = app.replica(&shipped).await;
        app.product("A", 3_000, json!({})).await;
        let hold = app.held("victim", "A", 2).await;
        let crowd = Crowd::start(&[&app, &other], &["A"], 4);
        crowd.goes_on(50).await;
        let redis = app.stores.redis().await;
        Self { app, other, crowd, redis, hold }
    }

    fn key(&self, kind: &str) -> String {
        format!("{}{kind}:{{A}}", self.app.stores.prefix)
    }

    fn has(&self, healed: bool) -> bool {
        [&self.app, &self.other].iter().any(|app| {
            let drift = app.app().reservations().drift();
            drift.iter().any(|drift| drift.units > 0 && (!healed || drift.healed_at.is_some()))
        })
    }

    /// What both replicas found.
    fn told(&self) -> String {
        let drift = |app: &TestApp| app.app().reservations().drift();
        format!("{:?} {:?}", drift(&self.app), drift(&self.other))
    }

    /// It was broken a moment ago: waits until that is found and put right, with the crowd at work.
    async fn heals(self) -> TestApp {
        let (passes, replicas) = (Passes::default(), [&self.app, &self.other]);
        until("it is found", || async {
            assert!(passes.look(&replicas) <= FOUND, "not found: {}", self.told());
            self.has(false)
        })
        .await;
        until("it is put right", || async {
            assert!(passes.look(&replicas) <= HEALED, "not put right: {}", self.told());
            self.has(true)
        })
        .await;
        self.crowd.goes_on(50).await;
        self.crowd.stop(&self.app.stores).await;
        self.app
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn available_units_that_were_made_up_are_found_and_put_right() {
    let mut scene = Scene::new().await;
    let stock = scene.key("s");
    let _: i64 = scene.redis.hincr(stock, "avail", 40).await.unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn available_units_that_were_taken_away_are_found_and_put_right() {
    let mut scene = Scene::new().await;
    let stock = scene.key("s");
    let _: i64 = scene.redis.hincr(stock, "avail", -40).await.unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_moved_from_held_to_available_are_found_and_put_right() {
    let mut scene = Scene::new().await;
    let stock = scene.key("s");
    redis::pipe()
        .atomic()
        .hincr(&stock, "avail", 1)
        .hincr(&stock, "held", -1)
        .query_async::<()>(&mut scene.redis)
        .await
        .unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_units_that_were_made_up_are_found_and_put_right() {
    let mut scene = Scene::new().await;
    let stock = scene.key("s");
    redis::pipe()
        .atomic()
        .hincr(&stock, "avail", -30)
        .hincr(&stock, "sold", 30)
        .query_async::<()>(&mut scene.redis)
        .await
        .unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_units_that_were_forgotten_are_found_and_put_right() {
    let mut scene = Scene::new().await;
    let stock = scene.key("s");
    redis::pipe()
        .atomic()
        .hincr(&stock, "avail", 30)
        .hincr(&stock, "sold", -30)
        .query_async::<()>(&mut scene.redis)
        .await
        .unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sold_units_that_were_forgotten_do_not_hide_behind_payments() {
    let mut scene = Scene::new().await;
    // As a payment under way: pinned, and long not decided.
    let (records, deadlines, pins) = (scene.key("h"), scene.key("d"), scene.key("p"));
    let record: String = scene.redis.hget(&records, &scene.hold).await.unwrap();
    let (_, rest) = record.split_once(' ').unwrap();
    let now: (i64, i64) = redis::cmd("TIME").query_async(&mut scene.redis).await.unwrap();
    let stock = scene.key("s");
    redis::pipe()
        .atomic()
        .hset(&records, &scene.hold, format!("P {rest}"))
        .zrem(&deadlines, &scene.hold)
        .zadd(&pins, &scene.hold, now.0 * 1_000 + 60_000)
        .hincr(&stock, "avail", 2)
        .hincr(&stock, "sold", -2)
        .query_async::<()>(&mut scene.redis)
        .await
        .unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_record_is_gone_is_found_and_its_units_come_back() {
    let mut scene = Scene::new().await;
    let (records, hold) = (scene.key("h"), scene.hold.clone());
    let gone: i64 = scene.redis.hdel(records, hold).await.unwrap();
    assert_eq!(gone, 1);
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_no_index_has_is_found_and_put_back() {
    let mut scene = Scene::new().await;
    let (deadlines, hold) = (scene.key("d"), scene.hold.clone());
    let gone: i64 = scene.redis.zrem(deadlines, hold).await.unwrap();
    assert_eq!(gone, 1);
    let hold = scene.hold.clone();
    let app = scene.heals().await;
    assert_eq!(app.reservation(&hold).await.expect(200)["status"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_gone_without_a_trace_is_found_and_its_units_come_back() {
    let mut scene = Scene::new().await;
    let (records, deadlines, hold) = (scene.key("h"), scene.key("d"), scene.hold.clone());
    redis::pipe()
        .atomic()
        .hdel(records, &hold)
        .zrem(deadlines, &hold)
        .query_async::<()>(&mut scene.redis)
        .await
        .unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_another_quantity_is_found_and_counted() {
    let mut scene = Scene::new().await;
    let (records, hold) = (scene.key("h"), scene.hold.clone());
    let record: String = scene.redis.hget(&records, &hold).await.unwrap();
    let (head, rest) = record.split_once(" 2 ").unwrap();
    let _: i64 = scene.redis.hset(&records, &hold, format!("{head} 7 {rest}")).await.unwrap();
    scene.heals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn units_made_up_on_a_product_at_rest_are_found_as_soon() {
    let shipped = [("HOLDFAST__SWEEPER__FULL_PASS", "5s")];
    let app = TestApp::start_with(&shipped).await;
    for number in 0..30 {
        let sku = format!("A{number}");
        app.product(&sku, 5, json!({})).await;
        let hold = app.held("alice", &sku, 1).await;
        app.delete(&format!("/api/reservations/{hold}"), &app.customer("alice")).await.expect(200);
    }
    let mut redis = app.stores.redis().await;
    let busy = |number: usize| format!("{}g:{{A{number}}}", app.stores.prefix);
    for number in 0..30 {
        let ended = busy(number);
        until("it is at rest", || {
            let (mut redis, ended) = (redis.clone(), ended.clone());
            async move { !redis.exists::<_, bool>(ended).await.unwrap() }
        })
        .await;
    }
    let passes = Passes::default();
    let stock = format!("{}s:{{A17}}", app.stores.prefix);
    let _: i64 = redis.hincr(stock, "avail", 3).await.unwrap();
    until("it is put right", || async {
        assert!(passes.look(&[&app]) <= HEALED, "not put right");
        app.stock("A17").await == (5, 5, 0, 0) && !app.app().reservations().drift().is_empty()
    })
    .await;
}
