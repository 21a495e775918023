//! Sales that people open, pause, drain and close, give more time to, and look at.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp};
use crate::reserve::{id_of, moment};

async fn steer(api: &Api, product: i64, what: &str, body: Value) -> Reply {
    let path = format!("/api/admin/sales/{product}/{what}");
    api.post(&path, &api.admin(), body).await
}

async fn sale(api: &Api, product: i64) -> Value {
    api.get(&format!("/api/admin/sales/{product}"), &api.admin()).await.expect(200)
}

async fn audited(api: &Api, action: &str) -> Vec<Value> {
    let found = api.get(&format!("/api/admin/audit?action={action}"), &api.admin()).await;
    found.expect(200)["items"].as_array().unwrap().clone()
}

/// A field of the stock hash, with Redis as the only witness.
async fn field(app: &TestApp, sku: &str, field: &str) -> Option<String> {
    let mut redis = app.stores.redis().await;
    let key = format!("{}s:{{{sku}}}", app.stores.prefix);
    redis::cmd("HGET").arg(key).arg(field).query_async(&mut redis).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sale_takes_no_holds_and_everything_else_goes_on() {
    let app = TestApp::start().await;
    let product = app.product("A", 9, json!({})).await;
    let (bought, ended, longer) =
        (app.held("a", "A", 1).await, app.held("b", "A", 1).await, app.held("c", "A", 1).await);
    let paused = steer(&app, product, "pause", json!({ "reason": "payments are slow" })).await;
    let paused = paused.expect(200);
    assert_eq!((&paused["state"], &paused["live_holds"]), (&json!("paused"), &json!(3)));
    assert_eq!(field(&app, "A", "sale").await.as_deref(), Some("paused"), "before the answer");
    app.reserve("d", "A", 1).await.expect_problem(409, "sale_paused");
    app.reserve("c", "A", 2).await.expect_problem(409, "sale_paused");
    // The same again is the hold that stands.
    assert_eq!(id_of(&app.reserve("c", "A", 1).await.expect(200)), longer);
    app.checkout("a", &bought).await.expect(201);
    app.delete(&format!("/api/reservations/{ended}"), &app.customer("b")).await.expect(200);
    let path = format!("/api/reservations/{longer}/extend");
    app.post(&path, &app.customer("c"), json!({ "seconds": 5 })).await.expect(200);

    // An edit by its owner opens nothing, and neither does Redis when it forgets.
    let edit = app.request(Method::PATCH, &format!("/api/products/{product}"));
    let edit = edit.bearer_auth(app.admin()).json(&json!({ "name": "B", "price": "9.00" }));
    app.send(edit).await.expect(200);
    app.reserve("d", "A", 1).await.expect_problem(409, "sale_paused");
    let mut redis = app.stores.redis().await;
    let key = format!("{}s:{{A}}", app.stores.prefix);
    redis::cmd("DEL").arg(key).exec_async(&mut redis).await.unwrap();
    app.reserve("d", "A", 1).await.expect_problem(409, "sale_paused");

    steer(&app, product, "pause", json!({})).await.expect(200);
    let open = steer(&app, product, "open", json!({})).await.expect(200);
    assert_eq!(open["state"], "open");
    app.reserve("d", "A", 1).await.expect(201);
    let noted = audited(&app, "sale.paused").await;
    assert_eq!(noted.len(), 1, "repeating is no change: {noted:?}");
    assert_eq!(noted[0]["actor"], "admin:root");
    assert_eq!(noted[0]["detail"]["reason"], "payments are slow");
    assert_eq!(audited(&app, "sale.open").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_sale_is_closed_when_its_last_hold_has_ended() {
    let app = TestApp::start().await;
    let product = app.product("A", 9, json!({})).await;
    let (bought, ended) = (app.held("a", "A", 1).await, app.held("b", "A", 1).await);
    assert_eq!(steer(&app, product, "drain", json!({})).await.expect(200)["state"], "draining");
    app.reserve("c", "A", 1).await.expect_problem(409, "sale_closed");
    app.checkout("a", &bought).await.expect(201);
    assert_eq!(sale(&app, product).await["state"], "draining");
    app.delete(&format!("/api/reservations/{ended}"), &app.customer("b")).await.expect(200);
    let service = &app;
    app.until(
        "the sale is closed",
        || async move { sale(service, product).await["state"] == "closed" },
    )
    .await;
    app.until("redis knows", || async move {
        field(service, "A", "sale").await.as_deref() == Some("closed")
    })
    .await;
    assert_eq!(audited(&app, "sale.closed").await[0]["actor"], "service:drain");
    // Of one that nobody holds the drain is its end.
    let other = app.product("B", 9, json!({})).await;
    assert_eq!(steer(&app, other, "drain", json!({})).await.expect(200)["state"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_sale_releases_what_is_not_being_confirmed() {
    let app = TestApp::start().await;
    let product = app.product("A", 2_000, json!({})).await;
    app.product("B", 9, json!({})).await;
    let bought = app.held("bought", "A", 1).await;
    app.checkout("bought", &bought).await.expect(201);
    // More than a page, and one whose home is another product.
    let mut held = Vec::new();
    for chunk in (0..600).collect::<Vec<_>>().chunks(50) {
        let some = chunk.iter().map(|n| {
            let app = app.api.clone();
            let user = format!("u{n}");
            async move { app.held(&user, "A", 1).await }
        });
        held.extend(futures_util::future::join_all(some).await);
    }
    let lines = json!({ "items": [{ "sku": "A" }, { "sku": "B" }] });
    let several = id_of(&app.post("/api/reserve", &app.customer("s"), lines).await.expect(201));
    let closed = steer(&app, product, "close", json!({ "reason": "recalled" })).await.expect(200);
    assert_eq!((&closed["state"], &closed["live_holds"]), (&json!("closed"), &json!(0)));
    assert_eq!(app.stock("A").await, (2_000, 1_999, 0, 1));
    assert_eq!(app.stock("B").await, (9, 9, 0, 0));
    for id in [&held[0], &held[599], &several] {
        let ended = app.reservation(id).await.expect(200);
        assert_eq!(
            (&ended["status"], &ended["reason"]),
            (&json!("cancelled"), &json!("sale_closed"))
        );
    }
    assert_eq!(app.reservation(&bought).await.expect(200)["status"], "confirmed");
    app.checkout("u0", &held[0]).await.expect_problem(409, "reservation_cancelled");
    app.reserve("late", "A", 1).await.expect_problem(409, "sale_closed");
    steer(&app, product, "close", json!({})).await.expect(200);
    // Whoever is told of the hold hears who ended it and why.
    let found = app.get(&format!("/api/admin/holds/{}", held[0]), &app.admin()).await.expect(200);
    assert_eq!(found["actor"], "admin:root");
    let events = found["history"].as_array().unwrap();
    let end = events.iter().find(|event| event["event"] == "cancelled").unwrap();
    assert_eq!((&end["actor"], &end["reason"]), (&json!("admin:root"), &json!("sale_closed")));
    // Opened again it sells again.
    steer(&app, product, "open", json!({})).await.expect(200);
    app.reserve("late", "A", 1).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_of_a_close_is_done_by_any_replica() {
    let app = TestApp::start().await;
    let product = app.product("A", 9, json!({})).await;
    let id = app.held("a", "A", 1).await;
    // Postgres has it, and whoever was to tell Redis is gone.
    let postgres = app.stores.postgres().await;
    let sql = "select set_sale($1, null, 'closed', 'admin:gone', 'recalled')";
    postgres.execute(sql, &[&product]).await.unwrap();
    let service = &app;
    let reservation = &id;
    app.until("the hold is released", || async move {
        service.reservation(reservation).await.expect(200)["status"] == "cancelled"
    })
    .await;
    app.until("nothing is left to do", || async {
        let sql = "select from products where sale_closer is not null or terms_told < version";
        postgres.query(sql, &[]).await.unwrap().is_empty()
    })
    .await;
    app.reserve("b", "A", 1).await.expect_problem(409, "sale_closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_answer_to_a_pause_no_hold_is_made() {
    let app = TestApp::start().await;
    let product = app.product("A", 100_000, json!({})).await;
    app.held("first", "A", 1).await;
    for round in 0..5 {
        let service = &app;
        let crowd = (0..8).map(|worker| async move {
            for number in 0.. {
                let user = format!("r{round}w{worker}n{number}");
                let reply = service.reserve(&user, "A", 1).await;
                if reply.status != 201 {
                    reply.expect_problem(409, "sale_paused");
                    return;
                }
            }
        });
        let pause = async {
            steer(service, product, "pause", json!({})).await.expect(200);
            sale(service, product).await["live_holds"].clone()
        };
        let (_, at_answer) = futures_util::join!(futures_util::future::join_all(crowd), pause);
        assert_eq!(at_answer, sale(&app, product).await["live_holds"]);
        steer(&app, product, "open", json!({})).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_told_as_it_stands() {
    let app = TestApp::start().await;
    let more = json!({ "hold_ttl_seconds": 90, "max_per_buyer": 4, "sale_starts_at": "2099-01-01T00:00:00Z" });
    let product = app.product("PHONE", 9, more).await;
    let hidden = app.product("OTHER-1", 3, json!({ "published": false })).await;
    let shown = sale(&app, product).await;
    for (field, value) in [
        ("sku", json!("PHONE")),
        ("state", json!("scheduled")),
        ("opens_at", json!("2099-01-01T00:00:00.000Z")),
        ("closes_at", Value::Null),
        ("total_stock", json!(9)),
        ("available_stock", json!(9)),
        ("reserved_stock", json!(0)),
        ("paying_stock", json!(0)),
        ("hold_ttl_seconds", json!(90)),
        ("max_per_buyer", json!(4)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    // Looking opens nothing.
    assert_eq!(field(&app, "PHONE", "ready").await, None);
    assert_eq!(sale(&app, hidden).await["state"], "hidden");
    let list = app.get("/api/admin/sales?limit=1", &app.admin()).await.expect(200);
    assert_eq!(list["items"][0]["sku"], "OTHER-1");
    let cursor = list["next_cursor"].as_str().unwrap();
    let next = format!("/api/admin/sales?limit=1&cursor={cursor}");
    let next = app.get(&next, &app.admin()).await.expect(200);
    assert_eq!((&next["items"][0]["sku"], &next["next_cursor"]), (&json!("PHONE"), &Value::Null));
    let found = app.get("/api/admin/sales?q=pho", &app.admin()).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    for (path, field) in [("q=p", "q"), ("limit=0", "limit"), ("cursor=x", "cursor")] {
        let path = format!("/api/admin/sales?{path}");
        let refused = app.get(&path, &app.admin()).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    for what in ["", "/history"] {
        let path = format!("/api/admin/sales/99999{what}");
        app.get(&path, &app.admin()).await.expect_problem(404, "unknown_product");
    }
    for what in ["open", "pause", "drain", "close"] {
        steer(&app, 99_999, what, json!({})).await.expect_problem(404, "unknown_product");
        let long = json!({ "reason": "x".repeat(201) });
        let refused = steer(&app, product, what, long).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "reason");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_holds_of_a_product_get_more_time_once() {
    let app = TestApp::start().await;
    let product = app.product("A", 2_000, json!({})).await;
    app.product("B", 9, json!({})).await;
    let mut held = Vec::new();
    for chunk in (0..520).collect::<Vec<_>>().chunks(50) {
        let some = chunk.iter().map(|n| {
            let api = app.api.clone();
            // Deadlines lie closer together than they are moved.
            let body = json!({ "sku": "A", "ttl_seconds": 100 + n % 7 });
            let token = api.customer(&format!("u{n}"));
            async move { api.post("/api/reserve", &token, body).await.expect(201) }
        });
        held.extend(futures_util::future::join_all(some).await);
    }
    let lines = json!({ "items": [{ "sku": "A" }, { "sku": "B" }], "ttl_seconds": 100 });
    held.push(app.post("/api/reserve", &app.customer("s"), lines).await.expect(201));
    let pinned = id_of(&app.reserve("p", "A", 1).await.expect(201));
    app.checkout("p", &pinned).await.expect(201);

    let extend = async |key: &str, seconds: i64| {
        let path = format!("/api/admin/sales/{product}/extend-holds");
        let request = app.request(Method::POST, &path).bearer_auth(app.admin());
        let body = json!({ "seconds": seconds, "reason": "bank is down" });
        app.send(request.header("Idempotency-Key", key).json(&body)).await.expect(200)
    };
    let done = extend("one", 60).await;
    assert_eq!((&done["extended"], &done["skipped"]), (&json!(521), &json!(0)), "{done}");
    let longer = async |held: &Value| {
        let now = app.reservation(&id_of(held)).await.expect(200);
        moment(&now["expires_at"]) - moment(&held["expires_at"])
    };
    let mut moved = BTreeSet::new();
    for held in &held {
        moved.insert(longer(held).await);
    }
    assert_eq!(moved, BTreeSet::from([60_000]), "each by the same, and once");
    // The answer that the key keeps is lost: the operation itself still happened once.
    let mut redis = app.stores.redis().await;
    let pattern = format!("{}idem:*", app.stores.prefix);
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
    redis::cmd("DEL").arg(keys).exec_async(&mut redis).await.unwrap();
    let again = extend("one", 60).await;
    assert_eq!(again["extended"], 521, "what it did: {again}");
    assert_eq!((longer(&held[0]).await, longer(&held[520]).await), (60_000, 60_000));
    // Nobody lives longer than a hold may.
    let done = extend("two", 86_400).await;
    assert_eq!(done["skipped"], 0);
    let now = app.reservation(&id_of(&held[0])).await.expect(200);
    assert_eq!(moment(&now["expires_at"]) - moment(&now["created_at"]), 1_800_000);
    let done = extend("three", 1).await;
    assert_eq!((&done["extended"], &done["skipped"]), (&json!(0), &json!(521)));
    let noted = audited(&app, "sale.extend_holds").await;
    assert_eq!((noted.len(), &noted[0]["subject"]), (4, &json!(product.to_string())));
    // The history of a hold tells of it.
    let found = app.get(&format!("/api/admin/holds/{}", id_of(&held[0])), &app.admin()).await;
    let found = found.expect(200);
    let of = |event: &Value| event["event"] == "sale.extend_holds";
    let event = found["history"].as_array().unwrap().iter().find(|event| of(event)).unwrap();
    assert_eq!((&event["actor"], &event["reason"]), (&json!("admin:root"), &json!("bank is down")));
    for bad in [json!({}), json!({ "seconds": 0 }), json!({ "seconds": 5, "x": 1 })] {
        steer(&app, product, "extend-holds", bad).await.expect_problem(422, "invalid_field");
    }
    steer(&app, 99_999, "extend-holds", json!({ "seconds": 5 }))
        .await
        .expect_problem(404, "unknown_product");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_tells_how_fast_a_sale_goes() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    let product = app.product("A", 1_000, json!({})).await;
    let mut number = 0;
    let mut points = Vec::new();
    // Both replicas hold and refuse, until some steps were written down.
    while points.len() < 3 {
        for api in [&app.api, &other.api] {
            number += 1;
            let id = api.held(&format!("u{number}"), "A", 1).await;
            if number % 10 == 0 {
                api.checkout(&format!("u{number}"), &id).await.expect(201);
            }
            api.reserve(&format!("x{number}"), "A", 5_000)
                .await
                .expect_problem(409, "insufficient_stock");
        }
        assert!(number < 1_000, "no step was written down");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let path = format!("/api/admin/sales/{product}/history");
        let history = other.get(&path, &other.admin()).await.expect(200);
        assert_eq!(history["step_s"], 5);
        points = history["points"].as_array().unwrap().clone();
    }
    for (before, after) in points.iter().zip(&points[1..]) {
        let step = |point: &Value| moment(&point["at"]) / 5_000;
        assert!(step(before) < step(after), "one point a step: {points:?}");
        for point in [before, after] {
            let sum = ["available", "held", "sold"].iter().map(|f| point[*f].as_i64().unwrap());
            assert_eq!(sum.sum::<i64>(), 1_000, "{point}");
        }
    }
    let last = points.last().unwrap();
    for rate in ["reserved_per_s", "refused_per_s"] {
        assert!(last[rate].as_f64().unwrap() > 0.0, "{rate}: {last}");
    }
    let shown = sale(&app, product).await;
    for rate in ["reserved_per_s", "refused_per_s", "sold_per_s"] {
        assert!(shown["rates"][rate].as_f64().unwrap() > 0.0, "{rate}: {shown}");
    }
    assert!(shown["sold_out_in_s"].as_i64().unwrap() > 0, "{shown}");
    // What is kept for it lapses.
    let mut redis = app.stores.redis().await;
    for kind in ["r", "m"] {
        let key = format!("{}{kind}:{{A}}", app.stores.prefix);
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!((1..=1_200_000).contains(&left), "{key}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lateness_of_releases_is_told() {
    let app = TestApp::start().await;
    let product = app.product("A", 9, json!({})).await;
    crate::ends::expired(&app, "a", "A").await;
    let service = &app;
    app.until("a lateness is told", || async move {
        sale(service, product).await["restore_lag_ms"].as_i64().is_some_and(|lag| lag < 60_000)
    })
    .await;
}
