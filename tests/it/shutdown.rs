//! SIGTERM under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::app::{Stores, TestApp, until};
use crate::process::ServiceProcess;
use crate::proxy::Proxy;

/// Nobody decides a pin for the one who made it while the test runs.
const LATE: (&str, &str) = ("HOLDFAST__SWEEPER__PIN_GRACE", "60s");

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_in_flight_are_answered_before_a_service_that_was_told_to_stop_ends() {
    let stores = Stores::fresh().await;
    let staying = TestApp::on(stores.clone(), &[LATE]).await;
    staying.product("PHONE", 20, json!({})).await;
    let (proxy, slow) = Proxy::before_postgres(&stores).await;
    let pool = ("HOLDFAST__DATABASE__POOL_SIZE", "12");
    let leaving = ServiceProcess::start(&slow, &[LATE, pool]).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push((
            format!("buyer-{number}"),
            leaving.held(&format!("buyer-{number}"), "PHONE", 1).await,
        ));
    }
    // Opens the connections, and makes the price known, so that the delay falls on the decision.
    let warm = leaving.held("warm", "PHONE", 1).await;
    leaving.checkout("warm", &warm).await.expect(201);
    proxy.delay(Duration::from_millis(40));

    let checkouts = ids.iter().map(|(user, id)| leaving.checkout(user, id));
    let checkouts = futures_util::future::join_all(checkouts);
    let stop = async {
        until("checkouts are under way", || async {
            let (_, first) = &ids[0];
            staying.reservation(first).await.expect(200)["status"] == "confirming"
        })
        .await;
        leaving.signal(Signal::TERM);
    };
    let (answers, ()) = tokio::join!(checkouts, stop);
    for answer in answers {
        answer.expect(201);
    }
    let end = leaving.ended().await;
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.took < Duration::from_secs(10), "{end:?}");
    assert_eq!(staying.stock("PHONE").await, (20, 9, 0, 11));
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
    assert!(end.took < Duration::from_secs(10), "{end:?}");
    // Holds that nobody bought run out; a pin that was left would stay.
    until("nothing is reserved any more", || async { staying.stock("PHONE").await.2 == 0 }).await;
    let told = sold.load(Ordering::Relaxed) as i64;
    assert!(staying.stock("PHONE").await.3 >= told, "every order that was answered stands");
    println!("stopped after {:?}, {told} orders", end.took);
}
