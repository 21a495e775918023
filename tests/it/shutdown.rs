//! SIGTERM under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;

use crate::app::{LATE, Stores, TestApp, until};
use crate::process::ServiceProcess;

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_in_flight_are_answered_before_a_service_that_was_told_to_stop_ends() {
    let stores = Stores::fresh().await;
    let staying = TestApp::on(stores.clone(), &[LATE]).await;
    staying.product("PHONE", 20, json!({})).await;
    let patient = [
        LATE,
        ("HOLDFAST__SERVER__REQUEST_DEADLINE", "20s"),
        ("HOLDFAST__SERVER__SHUTDOWN_TIMEOUT", "20s"),
        ("HOLDFAST__DATABASE__STATEMENT_TIMEOUT", "15s"),
        ("HOLDFAST__DATABASE__LOCK_TIMEOUT", "15s"),
    ];
    let leaving = ServiceProcess::start(&stores, &patient).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let user = format!("buyer-{number}");
        let id = leaving.held(&user, "PHONE", 1).await;
        ids.push((user, id));
    }
    // No decision can be written before the service was told to stop, and all have been asked for by then.
    let lock = stores.postgres().await;
    lock.batch_execute("begin; select from sku_stock for update").await.unwrap();

    let checkouts = ids.iter().map(|(user, id)| leaving.checkout(user, id));
    let checkouts = futures_util::future::join_all(checkouts);
    let stop = async {
        for (_, id) in &ids {
            until("the checkout is under way", || async {
                staying.reservation(id).await.expect(200)["status"] == "confirming"
            })
            .await;
        }
        leaving.signal(Signal::TERM);
        let address = leaving.url.strip_prefix("http://").unwrap();
        until("nobody is let in any more", || async {
            tokio::net::TcpStream::connect(address).await.is_err()
        })
        .await;
        lock.batch_execute("rollback").await.unwrap();
    };
    let (answers, ()) = tokio::join!(checkouts, stop);
    for answer in answers {
        answer.expect(201);
    }
    let end = leaving.ended().await;
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(staying.stock("PHONE").await, (20, 10, 0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_told_to_stop_under_load_leaves_nothing_in_doubt() {
    let stores = Stores::fresh().await;
    let staying = TestApp::on(stores.clone(), &[LATE]).await;
    staying.product("PHONE", 400, json!({ "hold_ttl_seconds": 3 })).await;
    let leaving = ServiceProcess::start(&stores, &[LATE]).await;
    let (stopped, sold) = (AtomicBool::new(false), AtomicUsize::new(0));
    let buyers = (0..16).map(|number| {
        let (leaving, stopped, sold) = (&leaving, &stopped, &sold);
        async move {
            for round in 0.. {
                let user = format!("buyer-{number}-{round}");
                let body = json!({ "sku": "PHONE", "quantity": 1 });
                let reserve = leaving.request(reqwest::Method::POST, "/api/reserve");
                let reserve = reserve.bearer_auth(leaving.customer(&user)).json(&body);
                let Ok(held) = leaving.try_send(reserve).await else { break };
                let Some(id) = held.body["reservation_id"].as_str() else { break };
                let checkout = leaving.request(reqwest::Method::POST, "/api/checkout");
                let checkout = checkout.bearer_auth(leaving.customer(&user));
                let checkout = checkout.json(&json!({ "reservation_id": id }));
                let Ok(order) = leaving.try_send(checkout).await else { break };
                assert!(order.status == 201 || order.status == 503, "{order:#?}");
                sold.fetch_add(usize::from(order.status == 201), Ordering::Relaxed);
            }
            assert!(
                stopped.load(Ordering::Relaxed),
                "the service refused before it was told to stop"
            );
        }
    });
    let stop = async {
        until("there is load", || async { sold.load(Ordering::Relaxed) > 40 }).await;
        stopped.store(true, Ordering::Relaxed);
        leaving.signal(Signal::TERM);
        leaving.ended().await
    };
    let (end, _) = tokio::join!(stop, futures_util::future::join_all(buyers));
    assert_eq!(end.code, Some(0), "{end:?}");
    // Holds that nobody bought run out; a pin that was left would stay.
    until("nothing is reserved any more", || async { staying.stock("PHONE").await.2 == 0 }).await;
    let told = sold.load(Ordering::Relaxed) as i64;
    assert!(staying.stock("PHONE").await.3 >= told, "every order that was answered stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_leaves_says_so_and_serves_on_until_it_is_told_twice() {
    let stores = Stores::fresh().await;
    let staying = TestApp::on(stores.clone(), &[LATE]).await;
    staying.product("PHONE", 20, json!({})).await;
    let delay = ("HOLDFAST__SERVER__SHUTDOWN_DELAY", "60s");
    let leaving = ServiceProcess::start(&stores, &[LATE, delay]).await;
    let before = leaving.reserve("alice", "PHONE", 1).await;
    assert!(!before.headers.contains_key("connection"), "{before:#?}");
    before.expect(201);
    leaving.signal(Signal::TERM);
    let readyz = || async { leaving.anonymous(reqwest::Method::GET, "/readyz").await };
    until("it says that it leaves", || async { readyz().await.status == 503 }).await;
    let left = readyz().await.body["parts"]["server"].clone();
    assert_eq!((&left["ready"], &left["detail"]), (&json!(false), &json!("stopping")));
    // Whoever comes is served, and comes back over another connection.
    let held = leaving.reserve("bob", "PHONE", 1).await;
    assert_eq!(held.headers.get("connection").unwrap(), "close");
    held.expect(201);
    let refused = leaving.reserve("carol", "PHONE", 0).await;
    assert_eq!(refused.headers.get("connection").unwrap(), "close");
    leaving.signal(Signal::TERM);
    let end = leaving.ended().await;
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(staying.stock("PHONE").await, (20, 18, 2, 0));
}
