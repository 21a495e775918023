//! Refunds: the units come back and are for sale again or written off, the buyer may buy anew, once and not twice,
//! through a crash and a loss of Redis. The same crashes for goods that come in and are taken out.

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp};

async fn refund(api: &Api, order: &Value, body: Value) -> Reply {
    let path = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
    api.post(&path, &api.admin(), body).await
}

/// A product of five, of which a buyer may have two, and alice's order of two.
async fn sold(app: &Api) -> Value {
    app.product("PHONE", 5, json!({ "max_per_buyer": 2 })).await;
    let id = app.held("alice", "PHONE", 2).await;
    app.checkout("alice", &id).await.expect(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_brings_units_and_the_buyers_share_back_before_it_answers() {
    let app = TestApp::start().await;
    let order = sold(&app).await;
    app.reserve("alice", "PHONE", 1).await.expect_problem(409, "buyer_limit");
    let refunded = refund(&app, &order, json!({})).await.expect(200);
    assert_eq!(refunded["status"], "refunded");
    assert_eq!(app.stock("PHONE").await, (5, 5, 0, 0));
    let again = app.held("alice", "PHONE", 2).await;
    app.checkout("alice", &again).await.expect(201);
    app.reserve("alice", "PHONE", 1).await.expect_problem(409, "buyer_limit");
    let history = app.get("/api/stock", &app.admin()).await.expect(200);
    let kinds = history["items"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds.map(|item| (&item["movement_type"], &item["stock_after"])).collect();
    assert_eq!(
        kinds,
        [
            (&json!("SALE"), &json!(3)),
            (&json!("RETURN"), &json!(5)),
            (&json!("SALE"), &json!(3)),
            (&json!("IN"), &json!(5))
        ]
    );
    assert_eq!(history["items"][1]["actor"], "admin:root");
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_not_restocked_are_written_off() {
    let app = TestApp::start().await;
    let order = sold(&app).await;
    refund(&app, &order, json!({ "restock": false })).await.expect(200);
    assert_eq!(app.stock("PHONE").await, (3, 3, 0, 0));
    // The buyer's share comes back all the same.
    app.held("alice", "PHONE", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_refunds_of_one_order_at_once_one_counts() {
    let app = TestApp::start().await;
    let replica = app.replica(&[]).await;
    let order = sold(&app).await;
    let refunds = (0..12).map(|number| {
        let api: &Api = if number % 2 == 0 { &app } else { &replica };
        refund(api, &order, json!({ "restock": number % 3 != 0 }))
    });
    for reply in join_all(refunds).await {
        if reply.status == StatusCode::SERVICE_UNAVAILABLE {
            continue;
        }
        assert_eq!(reply.expect(200)["status"], "refunded");
    }
    let stock = app.stock("PHONE").await;
    assert!([(5, 5, 0, 0), (3, 3, 0, 0)].contains(&stock), "{stock:?}");
    app.held("alice", "PHONE", 2).await;
    app.reserve("alice", "PHONE", 3).await.expect_problem(409, "buyer_limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_refunded_by_an_admin_only_and_then_it_is_over() {
    let app = TestApp::start().await;
    let order = sold(&app).await;
    let path = |what: &str| format!("/api/orders/{}/{what}", order["id"].as_str().unwrap());
    for token in [app.customer("alice"), app.merchant("maker"), app.service()] {
        app.post(&path("refund"), &token, json!({})).await.expect_problem(403, "forbidden");
    }
    let nothing = json!({ "id": "01890000-0000-7000-8000-000000000000" });
    refund(&app, &nothing, json!({})).await.expect_problem(404, "not_found");
    refund(&app, &order, json!({ "restock": 1 })).await.expect_problem(422, "invalid_field");
    refund(&app, &order, json!({ "amount": "1.00" })).await.expect_problem(422, "invalid_field");
    app.post(&path("fulfil"), &app.service(), json!({})).await.expect(200);
    refund(&app, &order, json!({})).await.expect(200);
    refund(&app, &order, json!({ "restock": false })).await.expect(200);
    assert_eq!(app.stock("PHONE").await, (5, 5, 0, 0), "the first one counted");
    for what in ["cancel", "fulfil"] {
        let reply = app.post(&path(what), &app.service(), json!({})).await;
        reply.expect_problem(409, "order_refunded");
    }
    let listed = app.get("/api/orders?status=refunded", &app.customer("alice")).await.expect(200);
    assert_eq!(listed["items"][0]["id"], order["id"]);
    let postgres = app.stores.postgres().await;
    let told = "select count(*) from outbox_seen where topic = 'order.refunded'";
    assert_eq!(postgres.query_one(told, &[]).await.unwrap().get::<_, i64>(0), 1);
    let cancelled = "update orders set status = 'cancelled'";
    postgres.execute(cancelled, &[]).await.unwrap();
    for what in ["refund", "fulfil"] {
        let reply = app.post(&path(what), &app.admin(), json!({})).await;
        reply.expect_problem(409, "order_cancelled");
    }
    postgres.execute("update orders set status = 'refunded'", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_there_after_redis_lost_everything() {
    let app = TestApp::start().await;
    let order = sold(&app).await;
    refund(&app, &order, json!({})).await.expect(200);
    let mut redis = app.stores.redis().await;
    let pattern = format!("{}*", app.stores.prefix);
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis).await.unwrap();
    app.until("the stock is back", || async {
        let reply = app.get("/api/inventory/PHONE", &app.service()).await;
        reply.status == 200 && reply.body["available_stock"] == 5
    })
    .await;
    app.held("alice", "PHONE", 2).await;
    app.reserve("alice", "PHONE", 3).await.expect_problem(409, "buyer_limit");
}

#[cfg(feature = "fault-points")]
mod crashes {
    use reqwest::Method;

    use super::{json, refund, sold};
    use crate::app::{LATE, SOON, TestApp, hasty, until};
    use crate::process::ServiceProcess;
    use crate::stock::{moved_once, product_of};

    /// A service that dies at `point`.
    async fn doomed(app: &TestApp, point: &str) -> ServiceProcess {
        let fault = format!("{point}:kill");
        ServiceProcess::start(&app.stores, &hasty(&[LATE, ("HOLDFAST_FAULT", &fault)])).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refund_killed_at_any_point_counts_once() {
        for (point, repeated) in
            [("after_movement", true), ("after_movement", false), ("after_apply", false)]
        {
            let app = TestApp::start_with(&hasty(&[SOON])).await;
            let order = sold(&app).await;
            let doomed = doomed(&app, point).await;
            let path = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
            let request = doomed.request(Method::POST, &path).bearer_auth(doomed.admin());
            let answer = doomed.try_send(request).await;
            assert!(answer.is_err(), "{point}: {answer:?}");
            assert_eq!(doomed.ended().await.code, None, "{point}");
            if repeated {
                refund(&app, &order, json!({})).await.expect(200);
                assert_eq!(app.stock("PHONE").await, (5, 5, 0, 0), "{point}");
            }
            let app = &app;
            until("the units are back", || async move { app.stock("PHONE").await == (5, 5, 0, 0) })
                .await;
            app.held("alice", "PHONE", 2).await;
            app.reserve("alice", "PHONE", 3).await.expect_problem(409, "buyer_limit");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn goods_that_come_in_or_go_out_through_a_crash_count_once() {
        for (kind, point, repeated) in [
            ("IN", "after_movement", true),
            ("IN", "after_movement", false),
            ("IN", "after_apply", true),
            ("OUT", "after_grab", true),
            ("OUT", "after_grab", false),
            ("OUT", "after_movement", true),
            ("OUT", "after_movement", false),
            ("OUT", "after_apply", true),
        ] {
            let app = TestApp::start_with(&hasty(&[SOON])).await;
            let product = product_of(&app, "maker", "PHONE", 5).await;
            app.held("alice", "PHONE", 1).await;
            let doomed = doomed(&app, point).await;
            let body = json!({ "product_id": product, "movement_type": kind, "quantity": 3 });
            let request = doomed.request(Method::POST, "/api/stock");
            let request = request.bearer_auth(doomed.merchant("maker"));
            let request = request.header("Idempotency-Key", "again").json(&body);
            let answer = doomed.try_send(request).await;
            assert!(answer.is_err(), "{kind} {point}: {answer:?}");
            assert_eq!(doomed.ended().await.code, None, "{kind} {point}");
            let app = &app;
            if repeated {
                // The dead process may have left its claim on the key for a moment.
                until("the key is free", || async move {
                    moved_once(app, "again", kind, product, 3).await.status == 201
                })
                .await;
            }
            let wanted = match (kind, point, repeated) {
                ("IN", ..) => (8, 7, 1, 0),
                ("OUT", "after_grab", false) => (5, 4, 1, 0),
                _ => (2, 1, 1, 0),
            };
            until("the movement counts once", || async move { app.stock("PHONE").await == wanted })
                .await;
        }
    }
}
