//! The way of news, with the real process killed in the middle of it.

use serde_json::json;

use crate::app::{Stores, TestApp, until};
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

/// A hold whose process dies at `point` of bringing its news; then another starts.
async fn held_by_the_dead(point: &str) -> (Receiver, TestApp, String) {
    let stores = Stores::fresh().await;
    let receiver = Receiver::start().await;
    let fault = format!("{point}:kill");
    let doomed = ServiceProcess::start(&stores, &[("HOLDFAST_FAULT", &fault)]).await;
    doomed.product("PHONE", 10_000, json!({})).await;
    subscribe(&doomed, &receiver, &["reservation.held", "order.paid"]).await;
    let mut last = String::new();
    for buyer in 0.. {
        let body = json!({ "sku": "PHONE", "quantity": 1 });
        let reserve = doomed.request(reqwest::Method::POST, "/api/reserve");
        let reserve = reserve.bearer_auth(doomed.customer(&format!("buyer-{buyer}"))).json(&body);
        let Ok(held) = doomed.try_send(reserve).await else { break };
        last = held.expect(201)["reservation_id"].as_str().unwrap().to_owned();
    }
    assert_eq!(doomed.ended().await.code, None, "it ends by a signal");
    assert!(receiver.calls().is_empty());
    (receiver, TestApp::on(stores, &[]).await, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_process_died_before_its_news_was_brought_is_told_by_another_once() {
    for point in ["before_bringing", "after_bringing"] {
        let (receiver, next, id) = held_by_the_dead(point).await;
        until("the hold is told", || async {
            receiver.calls().iter().any(|call| call.body["data"]["reservation_id"] == id)
        })
        .await;
        let record = next.reservation(&id).await.expect(200);
        let user = record["user_id"].as_str().unwrap();
        next.checkout(user, &id).await.expect(201);
        until("the sale is told", || async {
            receiver.events().contains(&"order.paid".to_owned())
        })
        .await;
        let calls = receiver.calls();
        let own = calls.iter().filter(|call| call.body["data"]["reservation_id"] == id);
        let events: Vec<&str> = own.map(|call| call.event()).collect();
        assert_eq!(events, ["reservation.held", "order.paid"], "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_never_told_before_the_hold_it_came_of() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    app.product("PHONE", 200, json!({})).await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &["reservation.held", "order.paid"]).await;
    until("both replicas tell of holds", || async {
        let probe = format!("probe-{}", receiver.calls().len());
        for replica in [&app, &other] {
            let id = replica.held(&probe, "PHONE", 1).await;
            replica.delete(&format!("/api/reservations/{id}"), &replica.customer(&probe)).await;
        }
        let calls = receiver.calls();
        let told = calls.iter().filter(|call| call.body["data"]["user_id"] == probe);
        told.count() >= 2
    })
    .await;
    let sales = (0..60).map(|number| {
        let (app, other) = (&app, &other);
        async move {
            let user = format!("buyer-{number}");
            // Held by one replica and sold by the other.
            let (holds, sells) = if number % 2 == 0 { (app, other) } else { (other, app) };
            let id = holds.held(&user, "PHONE", 1).await;
            sells.checkout(&user, &id).await.expect(201);
            id
        }
    });
    let ids = futures_util::future::join_all(sales).await;
    until("all is told", || async {
        receiver.events().iter().filter(|event| *event == "order.paid").count() >= 60
    })
    .await;
    let calls = receiver.calls();
    for id in ids {
        let own = calls.iter().filter(|call| call.body["data"]["reservation_id"] == id);
        let events: Vec<&str> = own.map(|call| call.event()).collect();
        assert_eq!(events, ["reservation.held", "order.paid"], "{id}");
    }
}
