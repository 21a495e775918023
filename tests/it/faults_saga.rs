//! The saga of a sale, with the real process killed or stopped at each of its named points.

use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::{Api, LATE, Reply, SOON, Stores, TestApp, hasty, until};
use crate::process::{ServiceProcess, own_redis};

/// A product of three units, one of them held by alice, whose checkout kills its process at `point`.
async fn killed_at(stores: &Stores, point: &str, hold_seconds: i64) -> String {
    let fault = format!("{point}:kill");
    let doomed = ServiceProcess::start(stores, &[LATE, ("HOLDFAST_FAULT", &fault)]).await;
    doomed.product("PHONE", 3, json!({ "hold_ttl_seconds": hold_seconds })).await;
    let id = doomed.held("alice", "PHONE", 1).await;
    let checkout = doomed.request(Method::POST, "/api/checkout");
    let checkout = checkout.bearer_auth(doomed.customer("alice"));
    let answer = doomed.try_send(checkout.json(&json!({ "reservation_id": id }))).await;
    assert!(answer.is_err(), "the process dies before it answers: {answer:?}");
    assert_eq!(doomed.ended().await.code, None, "it ends by a signal");
    assert!(doomed.has_said("fault point reached"));
    id
}

async fn status(api: &Api, id: &str) -> Value {
    api.reservation(id).await.expect(200)["status"].clone()
}

async fn only_order(stores: &Stores) -> Value {
    let rows = stores.postgres().await.query("select order_id::text from orders", &[]).await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 1, "there is one order");
    Value::String(rows[0].get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_before_its_pin_leaves_the_hold_to_its_buyer() {
    let stores = Stores::fresh().await;
    let id = killed_at(&stores, "before_pin", 600).await;
    let again = ServiceProcess::start(&stores, &[LATE]).await;
    assert_eq!(status(&again, &id).await, "held");
    let order = again.checkout("alice", &id).await.expect(201);
    assert_eq!(again.checkout("alice", &id).await.expect(200), order);
    assert_eq!(again.stock("PHONE").await, (3, 2, 0, 1));
    crate::conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_before_its_pin_and_not_repeated_gives_the_unit_back_in_time() {
    let stores = Stores::fresh().await;
    let standing_by = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
    let id = killed_at(&stores, "before_pin", 3).await;
    until("the unit is back", || async { standing_by.stock("PHONE").await == (3, 3, 0, 0) }).await;
    standing_by.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_after_its_pin_is_taken_up_by_its_repetition() {
    let stores = Stores::fresh().await;
    let id = killed_at(&stores, "after_pin", 1).await;
    let again = ServiceProcess::start(&stores, &[LATE]).await;
    assert_eq!(status(&again, &id).await, "confirming");
    again
        .delete(&format!("/api/reservations/{id}"), &again.customer("alice"))
        .await
        .expect_problem(409, "payment_in_progress");
    let order = again.checkout("alice", &id).await.expect(201);
    assert_eq!(again.checkout("alice", &id).await.expect(200), order);
    assert_eq!(again.stock("PHONE").await, (3, 2, 0, 1));
    crate::conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_after_its_pin_and_not_repeated_is_decided_by_another_replica() {
    let stores = Stores::fresh().await;
    let standing_by = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
    let id = killed_at(&stores, "after_pin", 600).await;
    until("the pin is decided and the unit is back", || async {
        standing_by.stock("PHONE").await == (3, 3, 0, 0)
    })
    .await;
    standing_by.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
    assert_eq!(status(&standing_by, &id).await, "expired");
    let other = standing_by.held("bob", "PHONE", 3).await;
    standing_by.checkout("bob", &other).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_after_its_decision_is_answered_with_that_order() {
    let stores = Stores::fresh().await;
    let id = killed_at(&stores, "after_decision", 600).await;
    let placed = only_order(&stores).await;
    let again = ServiceProcess::start(&stores, &[LATE]).await;
    let order = again.checkout("alice", &id).await.expect(200);
    assert_eq!(order["id"], placed);
    assert_eq!(again.checkout("alice", &id).await.expect(200), order);
    assert_eq!(only_order(&stores).await, placed);
    assert_eq!(again.stock("PHONE").await, (3, 2, 0, 1));
    crate::conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_after_its_decision_and_not_repeated_is_settled_by_another_replica() {
    let stores = Stores::fresh().await;
    let standing_by = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
    let id = killed_at(&stores, "after_decision", 600).await;
    let placed = only_order(&stores).await;
    until("the sale is settled", || async { standing_by.stock("PHONE").await == (3, 2, 0, 1) })
        .await;
    let reservation = standing_by.reservation(&id).await.expect(200);
    assert_eq!(reservation["status"], "confirmed");
    assert_eq!(reservation["order_id"], placed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_killed_after_its_settling_is_answered_with_that_order() {
    let stores = Stores::fresh().await;
    let id = killed_at(&stores, "after_settle", 600).await;
    let placed = only_order(&stores).await;
    let again = ServiceProcess::start(&stores, &[LATE]).await;
    assert_eq!(again.stock("PHONE").await, (3, 2, 0, 1));
    assert_eq!(again.checkout("alice", &id).await.expect(200)["id"], placed);
    assert_eq!(only_order(&stores).await, placed);
    crate::conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_several_products_killed_at_any_point_ends_whole() {
    for (point, stock) in [("after_pin", (3, 3, 0, 0)), ("after_decision", (3, 1, 0, 2))] {
        let stores = Stores::fresh().await;
        let standing_by = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
        standing_by.product("CASE", 3, json!({})).await;
        standing_by.product("PHONE", 3, json!({})).await;
        let lines = json!({ "items": [{ "sku": "PHONE", "quantity": 2 }, { "sku": "CASE", "quantity": 2 }] });
        let held = standing_by.post("/api/reserve", &standing_by.customer("alice"), lines).await;
        let id = held.expect(201)["reservation_id"].clone();

        let fault = format!("{point}:kill");
        let doomed = ServiceProcess::start(&stores, &[LATE, ("HOLDFAST_FAULT", &fault)]).await;
        let checkout = doomed.request(Method::POST, "/api/checkout");
        let checkout = checkout.bearer_auth(doomed.customer("alice"));
        let answer = doomed.try_send(checkout.json(&json!({ "reservation_id": id }))).await;
        assert!(answer.is_err(), "{answer:?}");
        doomed.ended().await;
        until("both lines have ended the same way", || async {
            (standing_by.stock("PHONE").await, standing_by.stock("CASE").await) == (stock, stock)
        })
        .await;
        let wanted = if point == "after_pin" { 410 } else { 200 };
        standing_by.checkout("alice", id.as_str().unwrap()).await.expect(wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_under_a_key_that_died_is_answered_with_its_order_once_the_claim_has_lapsed() {
    let stores = Stores::fresh().await;
    // A claim lives for twice as long as a request may.
    let doomed = hasty(&[LATE, ("HOLDFAST_FAULT", "after_decision:kill")]);
    let doomed = ServiceProcess::start(&stores, &doomed).await;
    doomed.product("PHONE", 3, json!({})).await;
    let id = doomed.held("alice", "PHONE", 1).await;
    let checkout = |api: &Api| {
        let checkout =
            api.request(Method::POST, "/api/checkout").bearer_auth(api.customer("alice"));
        checkout.header("Idempotency-Key", "k1").json(&json!({ "reservation_id": id }))
    };
    assert!(doomed.try_send(checkout(&doomed)).await.is_err());
    doomed.ended().await;
    let placed = only_order(&stores).await;

    let again = ServiceProcess::start(&stores, &[LATE]).await;
    until("the claim of the dead process lapses", || async {
        let reply = again.send(checkout(&again)).await;
        match reply.status.as_u16() {
            409 => reply.expect_problem(409, "request_in_progress") == Value::Null,
            _ => reply.expect(200)["id"] == placed,
        }
    })
    .await;
    assert_eq!(again.send(checkout(&again)).await.expect(200)["id"], placed);
    assert_eq!(only_order(&stores).await, placed);
    crate::conservation::prove(&stores).await;
}

/// A checkout that sleeps between its pin and its decision while `meanwhile` runs; answers both, with all that the
/// sleeper had begun at its end.
async fn asleep_after_its_pin<T>(
    stores: &Stores,
    sku: &str,
    meanwhile: impl AsyncFnOnce(&str) -> T,
) -> (String, Reply, T) {
    let asleep = [LATE, ("HOLDFAST_FAULT", "after_pin:stop")];
    let asleep = ServiceProcess::start(stores, &asleep).await;
    let id = asleep.held("alice", sku, 1).await;
    let mut checkout = Box::pin(asleep.checkout("alice", &id));
    let meanwhile = async {
        until("it stops", || async { asleep.has_said("fault point reached") }).await;
        meanwhile(&id).await
    };
    let found = tokio::select! {
        found = meanwhile => found,
        late = &mut checkout => panic!("it did not stop: {late:#?}"),
    };
    // It stops again wherever it pins again.
    let late = loop {
        asleep.signal(Signal::CONT);
        tokio::select! {
            late = &mut checkout => break late,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    };
    drop(checkout);
    asleep.signal(Signal::TERM);
    assert_eq!(asleep.ended().await.code, Some(0));
    (id, late, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_wakes_up_after_its_pin_was_decided_sells_nothing() {
    let stores = Stores::fresh().await;
    let awake = TestApp::on(stores.clone(), &hasty(&[SOON])).await;
    // A second unit, so that it is not the lack of stock that refuses the late one.
    awake.product("PHONE", 2, json!({})).await;
    let (id, late, sold) = asleep_after_its_pin(&stores, "PHONE", async |_| {
        until("its pin is decided and the unit is back", || async {
            awake.stock("PHONE").await == (2, 2, 0, 0)
        })
        .await;
        let other = awake.held("bob", "PHONE", 1).await;
        awake.checkout("bob", &other).await.expect(201)
    })
    .await;
    // It may notice first that its deadline has passed; then it may not say how it ended.
    match late.status.as_u16() {
        503 => assert_eq!(late.expect_problem(503, "store_unavailable")["outcome"], "unknown"),
        _ => drop(late.expect_problem(410, "reservation_expired")),
    }
    awake.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
    assert_eq!(only_order(&stores).await, sold["id"]);
    assert_eq!(awake.stock("PHONE").await, (2, 1, 0, 1));
}

/// Which rebuild of this SKU Postgres knows of.
async fn epoch(stores: &Stores, sku: &str) -> i64 {
    let sql = "select epoch from sku_stock join products using (product_id) where sku = $1";
    stores.postgres().await.query_one(sql, &[&sku]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_a_rebuild_made_stale_is_sold_without_another_rebuild() {
    let stores = Stores::fresh().await;
    let awake = TestApp::on(stores.clone(), &[LATE]).await;
    awake.product("PHONE", 2, json!({})).await;
    let (_, late, (before, rebuilt)) = asleep_after_its_pin(&stores, "PHONE", async |_| {
        let before = epoch(&stores, "PHONE").await;
        let stock = format!("{}s:{{PHONE}}", stores.prefix);
        let mut redis = stores.redis().await;
        redis::cmd("HDEL").arg(stock).arg("ready").exec_async(&mut redis).await.unwrap();
        awake.held("bob", "PHONE", 1).await;
        (before, epoch(&stores, "PHONE").await)
    })
    .await;
    assert!(rebuilt > before, "the other replica rebuilt it");
    late.expect(201);
    assert_eq!(epoch(&stores, "PHONE").await, rebuilt);
    assert_eq!(awake.stock("PHONE").await, (2, 0, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_wakes_up_after_redis_was_emptied_breaks_no_promise_made_since() {
    let (_redis, stores) = own_redis(&[]).await;
    let awake = TestApp::on(stores.clone(), &[LATE]).await;
    awake.product("LAST", 1, json!({})).await;
    let (id, late, promised) = asleep_after_its_pin(&stores, "LAST", async |_| {
        redis::cmd("FLUSHALL").exec_async(&mut stores.redis().await).await.unwrap();
        awake.held("bob", "LAST", 1).await
    })
    .await;
    assert!([404, 410, 503].contains(&late.status.as_u16()), "{late:#?}");
    awake.checkout("alice", &id).await.expect_problem(404, "not_found");
    awake.checkout("bob", &promised).await.expect(201);
}
