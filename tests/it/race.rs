//! Many buyers, few units, two replicas.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp};

/// Requests in flight at once.
const AT_ONCE: usize = 100;

/// Sends again what was answered 503, as its answer demands.
async fn persistently<F: Future<Output = Reply>>(send: impl Fn() -> F) -> Reply {
    for _ in 0..20 {
        let reply = send().await;
        if reply.status != 503 {
            return reply;
        }
        assert!(reply.headers.contains_key("retry-after"), "{reply:#?}");
    }
    panic!("always 503");
}

async fn two_replicas() -> (TestApp, TestApp) {
    let first = TestApp::start().await;
    let second = first.replica(&[]).await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_buyers_of_a_hundred_units_at_two_replicas_buy_exactly_a_hundred() {
    let (first, second) = two_replicas().await;
    first.product("PHONE", 100, json!({ "max_per_buyer": 1 })).await;
    let apis: [&Api; 2] = [&first, &second];
    let buyers = futures_util::stream::iter(0..1_000_usize).map(|number| async move {
        let (here, there) = (apis[number % 2], apis[(number + 1) % 2]);
        let user = format!("buyer-{number}");
        let reply = persistently(|| here.reserve(&user, "PHONE", 1)).await;
        if reply.status == 409 {
            reply.expect_problem(409, "insufficient_stock");
            return None;
        }
        assert!(reply.status.is_success(), "{reply:#?}");
        let id = reply.body["reservation_id"].as_str().unwrap();
        let order = persistently(|| there.checkout(&user, id)).await;
        assert!(order.status.is_success(), "{order:#?}");
        Some(order.body["id"].as_str().unwrap().to_owned())
    });
    let sold: Vec<Option<String>> = buyers.buffer_unordered(AT_ONCE).collect().await;
    let orders: BTreeSet<&String> = sold.iter().flatten().collect();
    assert_eq!((sold.iter().flatten().count(), orders.len()), (100, 100));
    assert_eq!(first.stock("PHONE").await, (100, 0, 0, 100));
    assert_eq!(second.stock("PHONE").await, (100, 0, 0, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_holds_for_one_buyer_at_two_replicas() {
    let (first, second) = two_replicas().await;
    first.product("PHONE", 50, json!({ "max_per_buyer": 3 })).await;
    let apis: [&Api; 2] = [&first, &second];
    for round in 0..4 {
        let greed = futures_util::stream::iter(0..24_usize).map(|number| async move {
            let quantity = 1 + ((number + round) % 3) as i64;
            let reply = persistently(|| apis[number % 2].reserve("alice", "PHONE", quantity)).await;
            if reply.status.is_success() {
                let id = reply.body["reservation_id"].as_str().unwrap();
                persistently(|| apis[(number / 2) % 2].checkout("alice", id)).await;
            } else {
                let code = reply.body["code"].as_str().unwrap();
                assert!(["buyer_limit", "already_held"].contains(&code), "{reply:#?}");
            }
        });
        greed.buffer_unordered(24).collect::<()>().await;
    }
    let sold = first.stock("PHONE").await.3;
    assert!((1..=3).contains(&sold), "alice has {sold} of 3");
    let rest = 3 - sold;
    if rest > 0 {
        let id = first.held("alice", "PHONE", rest).await;
        persistently(|| second.checkout("alice", &id)).await.expect(201);
    }
    for api in apis {
        api.reserve("alice", "PHONE", 1).await.expect_problem(409, "buyer_limit");
    }
    assert_eq!(second.stock("PHONE").await, (50, 47, 0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_checkout_sent_fifty_times_at_once_is_one_order() {
    let (first, second) = two_replicas().await;
    first.product("PHONE", 50, json!({})).await;
    let id = &first.held("alice", "PHONE", 2).await;
    let apis: [&Api; 2] = [&first, &second];
    let sent = futures_util::stream::iter(0..50_usize).map(|number| async move {
        let order = persistently(|| apis[number % 2].checkout("alice", id)).await;
        assert!(order.status.is_success(), "{order:#?}");
        (order.status == 201, order.body)
    });
    let answers: Vec<(bool, Value)> = sent.buffer_unordered(50).collect().await;
    assert!(answers.iter().all(|(_, order)| *order == answers[0].1), "{answers:#?}");
    assert!(answers.iter().filter(|(created, _)| *created).count() <= 1);
    assert_eq!(first.stock("PHONE").await, (50, 48, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn reserve_and_cancel_of_one_buyer_at_two_replicas_lose_no_unit() {
    let (first, second) = two_replicas().await;
    first.product("PHONE", 5, json!({})).await;
    let apis: [&Api; 2] = [&first, &second];
    let storm = futures_util::stream::iter(0..60_usize).map(|number| async move {
        let (here, there) = (apis[number % 2], apis[(number / 2) % 2]);
        let user = format!("buyer-{}", number % 7);
        let reply = persistently(|| here.reserve(&user, "PHONE", 1 + (number % 2) as i64)).await;
        let Some(id) = reply.body["reservation_id"].as_str() else { return };
        let (path, token) = (format!("/api/reservations/{id}"), there.customer(&user));
        let ended = match number % 3 {
            0 => persistently(|| there.checkout(&user, id)).await,
            _ => persistently(|| there.delete(&path, &token)).await,
        };
        assert!(ended.status != 500, "{ended:#?}");
    });
    storm.buffer_unordered(30).collect::<()>().await;
    let (total, available, reserved, sold) = first.stock("PHONE").await;
    assert_eq!((total, available + reserved + sold), (5, 5));
}
