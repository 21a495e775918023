//! How holds end before they are sold, how they are extended, and where they can be read afterwards.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::reserve::{id_of, moment};

/// The request that cancels the reservation with this id.
type Way<'a> = dyn Fn(&str) -> (Method, String, Value) + 'a;

/// Waits until Redis has forgotten a reservation, so that only Postgres can tell of it.
pub async fn archived(app: &TestApp, sku: &str, id: &str) {
    let key = format!("{}h:{{{sku}}}", app.stores.prefix);
    let redis = app.stores.redis().await;
    app.until("the record leaves Redis", || {
        let (mut redis, key) = (redis.clone(), key.clone());
        async move {
            let mut cmd = redis::cmd("HEXISTS");
            !cmd.arg(key).arg(id).query_async::<bool>(&mut redis).await.unwrap()
        }
    })
    .await;
}

/// A hold that runs out after a second, and the wait for it.
pub async fn expired(app: &TestApp, user: &str, sku: &str) -> String {
    let body = json!({ "sku": sku, "ttl_seconds": 1 });
    let id = id_of(&app.post("/api/reserve", &app.customer(user), body).await.expect(201));
    let reservation = &id;
    app.until("the hold runs out", || async move {
        app.reservation(reservation).await.expect(200)["status"] == "expired"
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_runs_out_by_itself_and_stays_readable() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = expired(&app, "alice", "A").await;
    let read = app.reservation(&id).await.expect(200);
    assert_eq!((&read["reason"], &read["expires_in"]), (&json!("expired"), &json!(0)));
    assert_eq!(moment(&read["expires_at"]) - moment(&read["created_at"]), 1_000);
    let service = &app;
    app.until("the unit is back", || async move { service.stock("A").await == (5, 5, 0, 0) }).await;

    archived(&app, "A", &id).await;
    assert_eq!(app.reservation(&id).await.expect(200), read);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_unit_is_sellable_again_once_its_hold_ran_out() {
    let app = TestApp::start().await;
    app.product("A", 1, json!({})).await;
    let id = expired(&app, "alice", "A").await;
    let next = app.reserve("bob", "A", 1).await.expect(201);
    app.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
    app.checkout("bob", &id_of(&next)).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_cancel_gives_the_same_answer_each_time() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let by_id = |id: &str| (Method::DELETE, format!("/api/reservations/{id}"), Value::Null);
    let by_body =
        |id: &str| (Method::POST, "/checkout/cancel".to_owned(), json!({ "reservation_id": id }));
    let by_product =
        |_: &str| (Method::DELETE, format!("/api/reserve/alice/{product}"), Value::Null);
    let ways: [&Way<'_>; 3] = [&by_id, &by_body, &by_product];
    for token in [app.customer("alice"), app.service(), app.admin()] {
        for first in ways {
            let id = app.held("alice", "A", 2).await;
            let (method, path, body) = first(&id);
            let request = app.request(method, &path).bearer_auth(&token).json(&body);
            let ended = app.send(request).await.expect(200);
            assert_eq!(id_of(&ended), id);
            assert_eq!(
                (&ended["status"], &ended["reason"]),
                (&json!("cancelled"), &json!("cancelled"))
            );
            assert_eq!((&ended["expires_in"], &ended["order_id"]), (&json!(0), &Value::Null));
            assert_eq!(app.stock("A").await, (5, 5, 0, 0));
            for way in ways {
                let (method, path, body) = way(&id);
                let request = app.request(method, &path).bearer_auth(&token).json(&body);
                assert_eq!(app.send(request).await.expect(200), ended, "{path}");
            }
            assert_eq!(app.reservation(&id).await.expect(200), ended);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_again_gives_the_same_answer_when_only_postgres_remembers() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 2).await;
    let (path, alice) = (format!("/api/reservations/{id}"), app.customer("alice"));
    let ended = app.delete(&path, &alice).await.expect(200);
    archived(&app, "A", &id).await;
    assert_eq!(app.delete(&path, &alice).await.expect(200), ended);
    let by_product = format!("/api/reserve/alice/{product}");
    assert_eq!(app.delete(&by_product, &alice).await.expect(200), ended);
    assert_eq!(app.reservation(&id).await.expect(200), ended);
    app.get(&path, &app.customer("bob")).await.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_cancel_where_nothing_was_held() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    app.held("alice", "A", 1).await;
    let bob = app.customer("bob");
    app.delete(&format!("/api/reserve/bob/{product}"), &bob).await.expect_problem(404, "not_found");
    app.delete("/api/reserve/bob/4711", &bob).await.expect_problem(404, "not_found");
    let others = format!("/api/reserve/alice/{product}");
    app.delete(&others, &bob).await.expect_problem(403, "not_yours");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn extending_moves_the_deadline_and_has_a_limit() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let held = app.reserve("alice", "A", 1).await.expect(201);
    let path = format!("/api/reservations/{}/extend", id_of(&held));
    let extend = async |seconds: i64| {
        app.post(&path, &app.customer("alice"), json!({ "seconds": seconds })).await
    };
    let mut deadline = moment(&held["expires_at"]);
    for seconds in [1, 60, 30] {
        let extended = extend(seconds).await.expect(200);
        deadline += seconds * 1_000;
        assert_eq!(moment(&extended["expires_at"]), deadline);
        assert_eq!((id_of(&extended), &extended["status"]), (id_of(&held), &json!("held")));
    }
    extend(1).await.expect_problem(409, "extension_limit");
    let read = app.reservation(&id_of(&held)).await.expect(200);
    assert_eq!(moment(&read["expires_at"]), deadline);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_extension_carries_a_hold_beyond_half_an_hour() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let held = app.reserve("alice", "A", 1).await.expect(201);
    let path = format!("/api/reservations/{}/extend", id_of(&held));
    let alice = app.customer("alice");
    let beyond = app.post(&path, &alice, json!({ "seconds": 1_201 })).await;
    beyond.expect_problem(409, "extension_limit");
    let extended = app.post(&path, &alice, json!({ "seconds": 1_200 })).await.expect(200);
    assert_eq!(moment(&extended["expires_at"]) - moment(&held["created_at"]), 1_800_000);
    for seconds in [json!(0), json!(-1), json!(86_401), json!("60"), json!(1.5), Value::Null] {
        let refused = app.post(&path, &alice, json!({ "seconds": seconds })).await;
        let refused = refused.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], "seconds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_shows_the_live_holds_of_a_buyer() {
    let app = TestApp::start().await;
    for sku in ["A", "B", "C", "D"] {
        app.product(sku, 5, json!({})).await;
    }
    let path = "/api/users/alice/reservations";
    let empty = json!({ "items": [], "next_cursor": null });
    assert_eq!(app.get(path, &app.customer("alice")).await.expect(200), empty);

    let first = app.held("alice", "A", 1).await;
    let items = json!({ "items": [{ "sku": "B" }, { "sku": "C" }] });
    let second = app.post("/api/reserve", &app.customer("alice"), items).await.expect(201);
    let ended = app.held("alice", "D", 1).await;
    app.delete(&format!("/api/reservations/{ended}"), &app.service()).await.expect(200);
    app.held("bob", "A", 1).await;
    for token in [app.customer("alice"), app.service(), app.admin()] {
        let page = app.get(path, &token).await.expect(200);
        let listed: Vec<String> = page["items"].as_array().unwrap().iter().map(id_of).collect();
        assert_eq!(listed, [id_of(&second), first.clone()], "the newest first");
        assert_eq!(page["items"][0]["items"], second["items"]);
        assert_eq!(page["next_cursor"], Value::Null);
    }
    app.get(path, &app.customer("bob")).await.expect_problem(403, "not_yours");
}

/// All ids of a listing, page after page of this length.
async fn walk(app: &TestApp, path: &str, limit: usize) -> Vec<(String, String)> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let page = app.get(&format!("{path}{join}limit={limit}{cursor}"), &app.service()).await;
        let page = page.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit, "{page:#}");
        let status = |item: &Value| item["status"].as_str().unwrap().to_owned();
        found.extend(items.iter().map(|item| (id_of(item), status(item))));
        assert!(found.len() < 100, "the pages never end");
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_listing_leave_nothing_out_and_show_nothing_twice() {
    let app = TestApp::start().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let sku = format!("P{number}");
        app.product(&sku, 5, json!({})).await;
        let id = app.held("alice", &sku, 1).await;
        match number {
            0 | 1 => {
                app.delete(&format!("/api/reservations/{id}"), &app.service()).await.expect(200);
                archived(&app, &sku, &id).await;
                expected.insert(0, (id, "cancelled".to_owned()));
            }
            2 | 3 => {
                app.checkout("alice", &id).await.expect(201);
                expected.insert(0, (id, "confirmed".to_owned()));
            }
            _ => expected.insert(0, (id, "held".to_owned())),
        }
    }
    for limit in [1, 2, 3, 4, 5, 7, 200] {
        let path = "/api/users/alice/reservations";
        assert_eq!(walk(&app, path, limit).await, expected[..3], "live, {limit} a page");
        let path = format!("{path}?status=all");
        assert_eq!(walk(&app, &path, limit).await, expected, "all, {limit} a page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_a_moment_ago_is_in_the_history() {
    // Nothing is archived here, so what is shown comes from Redis.
    let app = TestApp::start_with(&[("HOLDFAST__SWEEPER__TOMBSTONE_AGE", "1h")]).await;
    for sku in ["A", "B", "C", "D"] {
        app.product(sku, 5, json!({})).await;
    }
    let ran_out = expired(&app, "alice", "D").await;
    // The end of a hold that ran out is when it was swept.
    let service = &app;
    app.until("the unit is back", || async move { service.stock("D").await == (5, 5, 0, 0) }).await;
    let cancelled = app.held("alice", "A", 1).await;
    app.delete(&format!("/api/reservations/{cancelled}"), &app.service()).await.expect(200);
    let sold = app.held("alice", "B", 1).await;
    app.checkout("alice", &sold).await.expect(201);
    let held = app.held("alice", "C", 1).await;
    let expected = [
        (held, "held".to_owned()),
        (sold, "confirmed".to_owned()),
        (cancelled, "cancelled".to_owned()),
        (ran_out, "expired".to_owned()),
    ];
    for limit in [1, 2, 3, 4, 50] {
        let path = "/api/users/alice/reservations?status=all";
        assert_eq!(walk(&app, path, limit).await, expected, "{limit} a page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_refuses_what_it_does_not_know() {
    let app = TestApp::start().await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "status=held",
        "cursor=x",
        "cursor=1.2",
        "page=2",
        "cursor=99999999999999999999.00000000-0000-0000-0000-000000000000",
    ] {
        let path = format!("/api/users/alice/reservations?{query}");
        let reply = app.get(&path, &app.customer("alice")).await;
        reply.expect_problem(422, "invalid_field");
    }
}
