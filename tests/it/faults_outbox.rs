//! The way of news, with the real process killed in the middle of it.

use serde_json::json;

use crate::app::Stores;
use crate::process::ServiceProcess;
use crate::receiver::{Receiver, act, order, subscribe};

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_process_died_before_it_was_noted_comes_again_under_its_id() {
    let stores = Stores::fresh().await;
    let receiver = Receiver::start().await;
    let doomed = ServiceProcess::start(&stores, &[("HOLDFAST_FAULT", "after_delivery:kill")]).await;
    doomed.product("PHONE", 3, json!({})).await;
    subscribe(&doomed, &receiver, &["order.paid", "order.fulfilled"]).await;
    let order = order(&doomed, "alice", "PHONE").await;
    receiver.has(1).await;
    assert_eq!(doomed.ended().await.code, None, "it ends by a signal");

    // The claim of the dead process stands for two minutes; here it lapses now.
    let lapse = "update deliveries set due_at = now() where claim is not null";
    let lapsed = stores.postgres().await.execute(lapse, &[]).await.unwrap();
    assert_eq!(lapsed, 1);
    let again = ServiceProcess::start(&stores, &[]).await;
    act(&again, &order, "fulfil").await;
    let calls = receiver.has(3).await;
    assert_eq!(receiver.events(), ["order.paid", "order.paid", "order.fulfilled"]);
    assert_eq!((calls[0].id(), &calls[0].text), (calls[1].id(), &calls[1].text));
    crate::conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_process_died_before_it_was_spread_is_told_by_another() {
    let stores = Stores::fresh().await;
    let receiver = Receiver::start().await;
    let doomed = ServiceProcess::start(&stores, &[("HOLDFAST_FAULT", "after_decision:kill")]).await;
    doomed.product("PHONE", 3, json!({})).await;
    subscribe(&doomed, &receiver, &["order.paid"]).await;
    let id = doomed.held("alice", "PHONE", 1).await;
    let checkout = doomed.request(reqwest::Method::POST, "/api/checkout");
    let checkout = checkout.bearer_auth(doomed.customer("alice"));
    let died = doomed.try_send(checkout.json(&json!({ "reservation_id": id }))).await;
    assert!(died.is_err(), "{died:?}");
    doomed.ended().await;
    let _again = ServiceProcess::start(&stores, &[]).await;
    let calls = receiver.has(1).await;
    assert_eq!(calls[0].body["data"]["reservation_id"], id);
}
