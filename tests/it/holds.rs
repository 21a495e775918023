//! Looking for holds, and at all that happened to one.

use reqwest::Method;
use serde_json::{Value, json};

use xtask::servers::{Redis, RedisOptions};

use crate::app::{Stores, TestApp};
use crate::ends::archived;
use crate::reserve::id_of;

async fn found(app: &TestApp, query: &str) -> Value {
    app.get(&format!("/api/admin/holds?{query}"), &app.admin()).await.expect(200)
}

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(id_of).collect()
}

/// Everything that a query finds, page by page.
async fn all(app: &TestApp, query: &str, limit: usize) -> Vec<String> {
    let (mut found_ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = found(app, &format!("{query}&limit={limit}{cursor}")).await;
        assert!(page["items"].as_array().unwrap().len() <= limit);
        found_ids.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found_ids,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_are_found_by_product_buyer_and_id() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    app.product("B", 50, json!({})).await;
    let mut held = Vec::new();
    for n in 0..5 {
        held.push(app.held(&format!("u{n}"), "A", 1).await);
    }
    let lines = json!({ "items": [{ "sku": "A" }, { "sku": "B", "quantity": 2 }] });
    let several = id_of(&app.post("/api/reserve", &app.customer("s"), lines).await.expect(201));
    held.push(several.clone());
    let cancelled = app.held("alice", "A", 1).await;
    app.delete(&format!("/api/reservations/{cancelled}"), &app.service()).await.expect(200);
    let sold = app.held("alice", "A", 2).await;
    app.checkout("alice", &sold).await.expect(201);
    let other = app.held("alice", "B", 1).await;
    archived(&app, "A", &cancelled).await;

    for limit in [1, 2, 50] {
        let mut live = all(&app, "sku=A&status=held", limit).await;
        live.sort();
        let mut wanted = held.clone();
        wanted.sort();
        assert_eq!(live, wanted, "{limit}");
        assert_eq!(
            all(&app, "sku=A&status=cancelled", limit).await,
            std::slice::from_ref(&cancelled)
        );
        assert_eq!(all(&app, "sku=A&status=confirmed", limit).await, std::slice::from_ref(&sold));
        assert!(all(&app, "sku=A&status=expired", limit).await.is_empty());
        assert_eq!(all(&app, "sku=A", limit).await.len(), 8);
        let mut own = all(&app, "user_id=alice", limit).await;
        assert_eq!(own.remove(0), other, "live ones come first");
        own.sort();
        let mut wanted = vec![cancelled.clone(), sold.clone()];
        wanted.sort();
        assert_eq!(own, wanted);
        assert_eq!(all(&app, "user_id=alice&sku=B", limit).await, std::slice::from_ref(&other));
        assert_eq!(
            all(&app, "user_id=alice&status=confirmed", limit).await,
            std::slice::from_ref(&sold)
        );
    }
    let one = found(&app, &format!("reservation_id={several}")).await;
    assert_eq!(one["items"][0]["items"].as_array().unwrap().len(), 2);
    assert!(ids(&found(&app, &format!("reservation_id={several}&user_id=alice")).await).is_empty());
    let page = found(&app, "sku=A&status=cancelled").await;
    assert_eq!(page["items"][0]["actor"], "service:storefront");

    let service = &app;
    app.until("products that are wanted show their holds", || async move {
        ids(&found(service, "limit=3").await).len() == 3
    })
    .await;
    let none = "/api/admin/holds?sku=NONE";
    app.get(none, &app.admin()).await.expect_problem(404, "unknown_product");
    for (query, field) in [
        ("sku=A&limit=201", "limit"),
        ("sku=A&cursor=what", "cursor"),
        ("sku=A&status=what", "status"),
    ] {
        let path = format!("/api/admin/holds?{query}");
        let refused = app.get(&path, &app.admin()).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_many_holds_lose_none_while_others_end() {
    const HOLDS: usize = 300;
    let app = TestApp::start().await;
    app.product("A", 500, json!({})).await;
    let mut held = Vec::new();
    for n in 0..HOLDS {
        held.push(app.held(&format!("u{n}"), "A", 1).await);
    }
    // After each page its first hold is released, and its last one gets more time than any other has.
    let (mut seen, mut released, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let page = found(&app, &format!("sku=A&status=held&limit=50{cursor}")).await;
        let fresh: Vec<String> = ids(&page).into_iter().filter(|id| !moved.contains(id)).collect();
        if let (Some(first), Some(last)) = (fresh.first(), fresh.last()) {
            app.delete(&format!("/api/reservations/{first}"), &app.service()).await.expect(200);
            let extend = format!("/api/reservations/{last}/extend");
            app.post(&extend, &app.service(), json!({ "seconds": 600 })).await.expect(200);
            released.push(first.clone());
            moved.push(last.clone());
        }
        seen.extend(fresh);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort();
    held.sort();
    assert_eq!(seen, held, "each comes once, whatever happens to those before it");
    for id in &released {
        archived(&app, "A", id).await;
    }
    released.sort();
    for limit in [1, 4, 50] {
        let mut ended = all(&app, "sku=A&status=cancelled", limit).await;
        ended.sort();
        assert_eq!(ended, released, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_hold_says_who_did_what_and_why() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let path = format!("/api/reservations/{id}");
    let extend = format!("{path}/extend?reason=she%20called");
    app.post(&extend, &app.admin(), json!({ "seconds": 30 })).await.expect(200);
    let service = &app;
    let history = async |id: &str| {
        let read = service.get(&format!("/api/admin/holds/{id}"), &service.admin()).await;
        read.expect(200)["history"].as_array().unwrap().clone()
    };
    let of = |events: &[Value], event: &str| {
        events.iter().find(|happened| happened["event"] == event).cloned()
    };
    app.until("the extension is written down", || async {
        of(&history(&id).await, "extended").is_some()
    })
    .await;
    let extended = of(&history(&id).await, "extended").unwrap();
    assert_eq!(extended["actor"], "admin:root");
    assert_eq!(
        (&extended["reason"], &extended["detail"]["seconds"]),
        (&json!("she called"), &json!(30))
    );
    let ended = app.request(Method::DELETE, &format!("{path}?reason=a%20mistake"));
    app.send(ended.bearer_auth(app.admin())).await.expect(200);
    // At once, and when only Postgres knows.
    app.until("the release is written down", || async {
        of(&history(&id).await, "released").is_some()
    })
    .await;
    let check = async || {
        let events = history(&id).await;
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names[0], "held", "{names:?}");
        assert_eq!(names.iter().filter(|name| **name == "cancelled").count(), 1, "{names:?}");
        let released = of(&events, "released").unwrap();
        assert_eq!(
            (&released["actor"], &released["reason"]),
            (&json!("admin:root"), &json!("a mistake"))
        );
        assert_eq!(of(&events, "cancelled").unwrap()["actor"], "admin:root");
    };
    check().await;
    archived(&app, "A", &id).await;
    check().await;

    let sold = app.held("bob", "A", 1).await;
    app.checkout("bob", &sold).await.expect(201);
    let events = history(&sold).await;
    let confirmed = of(&events, "confirmed").unwrap();
    assert_eq!(confirmed["actor"], "customer:bob");
    assert!(confirmed["detail"]["order_id"].is_string());
    let unknown = format!("/api/admin/holds/{}", uuid::Uuid::from_u128(7));
    app.get(&unknown, &app.admin()).await.expect_problem(404, "not_found");
    let long = format!("{path}?reason={}", "x".repeat(201));
    let refused = app.delete(&long, &app.admin()).await.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], "reason");
}

/// Puts so many holds of one moment each on a SKU, as reserve would have made them.
async fn crowd(app: &TestApp, sku: &str, count: usize) {
    const STEP: usize = 250;
    let mut redis = app.stores.redis().await;
    let key = |kind: &str| format!("{}{kind}:{{{sku}}}", app.stores.prefix);
    let product = app.product(sku, count as i64, json!({})).await;
    // The SKU opens.
    let id = app.held("opener", sku, 1).await;
    app.delete(&format!("/api/reservations/{id}"), &app.service()).await.expect(200);
    let time: (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
    let now = time.0 * 1_000;
    for first in (0..count).step_by(STEP) {
        // Whole, or an audit would find a SKU that does not add up, and rebuild it.
        let mut pipe = redis::pipe();
        pipe.atomic();
        for n in first..(first + STEP).min(count) {
            let id = holdfast::kernel::ReservationId::random(product.try_into().unwrap());
            // Ten share a moment.
            let deadline = now + 600_000 + n as i64 / 10;
            let record = format!("H n 1 00ff {deadline} {now} 0 0 - crowd{n} -");
            pipe.cmd("HSET").arg(key("h")).arg(id.to_string()).arg(record).ignore();
            pipe.cmd("ZADD").arg(key("d")).arg(deadline).arg(id.to_string()).ignore();
            let buyer = format!("{id} 1 0 0 -");
            pipe.cmd("HSET").arg(key("b")).arg(format!("crowd{n}")).arg(buyer).ignore();
        }
        pipe.cmd("HINCRBY").arg(key("s")).arg("held").arg((count - first).min(STEP)).ignore();
        pipe.cmd("HINCRBY")
            .arg(key("s"))
            .arg("avail")
            .arg(-((count - first).min(STEP) as i64))
            .ignore();
        pipe.exec_async(&mut redis).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_holds_page_extend_and_close_without_holding_redis_up() {
    const CROWD: usize = 100_000;
    // On a Redis of its own, which it keeps busy. Its holds are made by hand, and too many for the proof at the end.
    let server = tokio::task::spawn_blocking(|| Redis::start(RedisOptions::default()).unwrap());
    let server = server.await.unwrap();
    let stores = Stores { redis_url: server.url(), ..Stores::fresh().await };
    let app = TestApp::on(stores, &[]).await.unchecked();
    crowd(&app, "A", CROWD).await;
    let product: i64 = {
        let read = app.get("/api/admin/sales?limit=1", &app.admin()).await.expect(200);
        read["items"][0]["product_id"].as_i64().unwrap()
    };
    // The first pages and the middle cost alike.
    let page = found(&app, "sku=A&status=held&limit=200").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 200);
    let mut seen = ids(&page);
    let mut cursor = page["next_cursor"].as_str().unwrap().to_owned();
    for _ in 0..20 {
        let page = found(&app, &format!("sku=A&status=held&limit=200&cursor={cursor}")).await;
        seen.extend(ids(&page));
        cursor = page["next_cursor"].as_str().unwrap().to_owned();
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (4_200, 4_200));
    let path = format!("/api/admin/sales/{product}");
    let body = json!({ "seconds": 60 });
    let done = app.post(&format!("{path}/extend-holds"), &app.admin(), body).await.expect(200);
    assert_eq!((&done["extended"], &done["skipped"]), (&json!(CROWD), &json!(0)));
    let closed = app.post(&format!("{path}/close"), &app.admin(), json!({})).await.expect(200);
    assert_eq!((&closed["live_holds"], &closed["available_stock"]), (&json!(0), &json!(CROWD)));
    let mut redis = app.stores.redis().await;
    let info: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
    let calls = info.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    let each = calls.split("usec_per_call=").nth(1).unwrap().split(',').next().unwrap();
    assert!(each.parse::<f64>().unwrap() < 50_000.0, "{calls}");
}
