//! Webhooks to storefronts: what they are told, in which order, how it is signed, and whom the service never calls.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Stores, TestApp, until};
use crate::receiver::{Answer, Receiver, act, order, subscribe};

/// Nothing waits any more.
async fn all_sent(stores: &Stores) -> bool {
    let postgres = stores.postgres().await;
    let left = "select (select count(*) from outbox) + (select count(*) from deliveries)";
    postgres.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_told_once_whole_and_signed() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({ "name": "Phone" })).await;
    let receiver = Receiver::start().await;
    let endpoint = subscribe(&app, &receiver, &[]).await;
    let order = order(&app, "alice", "PHONE").await;
    until("the order is told", || async { receiver.events().contains(&"order.paid".to_owned()) })
        .await;
    until("nothing is left to send", || all_sent(&app.stores)).await;
    let calls: Vec<_> =
        receiver.calls().into_iter().filter(|call| call.event() == "order.paid").collect();
    let [call] = calls.as_slice() else { panic!("{calls:#?}") };
    assert_eq!(call.signed_by(endpoint["secret"].as_str().unwrap()), [0]);
    assert_eq!(call.headers["content-type"], "application/json");
    assert!(call.id().starts_with("evt_"));
    let sent: i64 = call.headers["webhook-timestamp"].parse().unwrap();
    assert!((holdfast::kernel::Clock::System.now().as_second() - sent).abs() <= 60);
    let data = &call.body["data"];
    assert_eq!(data["order_id"], order["id"]);
    for field in ["reservation_id", "user_id", "items", "total_amount", "currency", "created_at"] {
        assert_eq!(data[field], order[field], "{field}");
    }
    assert_eq!(data["status"], "paid");
    assert!(call.body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert!(!call.text.contains("email"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_event_of_an_order_waits_until_the_earlier_one_has_arrived() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let mut failures = 2;
    let receiver = Receiver::that(move |call| {
        if call.event() == "order.paid" && failures > 0 {
            failures -= 1;
            return Answer::Status(500);
        }
        Answer::Status(200)
    })
    .await;
    subscribe(&app, &receiver, &["order.paid", "order.fulfilled", "order.refunded"]).await;
    let order = order(&app, "alice", "PHONE").await;
    act(&app, &order, "fulfil").await;
    act(&app, &order, "refund").await;
    let calls = receiver.has(5).await;
    let wanted = ["order.paid", "order.paid", "order.paid", "order.fulfilled", "order.refunded"];
    assert_eq!(receiver.events(), wanted);
    assert!(calls[0].id() == calls[1].id() && calls[1].id() == calls[2].id());
    assert_eq!(calls[0].text, calls[2].text);
    assert!(calls[2].id() != calls[3].id() && calls[3].id() != calls[4].id());
    // 50 ms, then 200 ms, give or take a fifth.
    let pauses = [calls[1].at - calls[0].at, calls[2].at - calls[1].at];
    assert!(pauses[0].as_millis() >= 40 && pauses[1].as_millis() >= 160, "{pauses:?}");
    assert_eq!(calls[3].body["data"]["status"], "fulfilled");
    assert_eq!(calls[4].body["data"]["restock"], true);
    until("nothing is left to send", || all_sent(&app.stores)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_hears_what_it_asked_for_and_each_of_several_the_same() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let (refunds, paid, paid_too) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    subscribe(&app, &refunds, &["order.refunded"]).await;
    subscribe(&app, &paid, &["order.paid"]).await;
    subscribe(&app, &paid_too, &["order.paid", "order.paid", "stock.low"]).await;
    let order = order(&app, "alice", "PHONE").await;
    act(&app, &order, "refund").await;
    refunds.has(1).await;
    let (one, other) = (paid.has(1).await, paid_too.has(1).await);
    until("nothing is left to send", || all_sent(&app.stores)).await;
    assert_eq!(refunds.events(), ["order.refunded"]);
    assert_eq!((paid.events().len(), paid_too.events().len()), (1, 1));
    assert_eq!((one[0].id(), &one[0].text), (other[0].id(), &other[0].text));
    assert_ne!(one[0].headers["webhook-signature"], other[0].headers["webhook-signature"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_given_up_lets_the_next_pass_and_is_sent_again_by_an_admin() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let (well, open) = tokio::sync::watch::channel(false);
    let receiver = Receiver::that(move |call| {
        let refuses = call.event() == "order.paid" && !*open.borrow();
        Answer::Status(if refuses { 503 } else { 200 })
    })
    .await;
    let endpoint = subscribe(&app, &receiver, &["order.paid", "order.fulfilled"]).await;
    let order = order(&app, "alice", "PHONE").await;
    act(&app, &order, "fulfil").await;
    let calls = receiver.has(5).await;
    let told = receiver.events();
    assert_eq!(told[..4], ["order.paid"; 4]);
    assert_eq!(told[4], "order.fulfilled");

    let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
    assert_eq!(list["next_cursor"], Value::Null);
    let letter = &list["items"][0];
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    for (field, value) in [
        ("kind", json!("webhook")),
        ("endpoint_id", endpoint["id"].clone()),
        ("url", endpoint["url"].clone()),
        ("event", json!("order.paid")),
        ("event_id", json!(calls[0].id())),
        ("attempts", json!(4)),
        ("last_error", json!("the answer was 503")),
    ] {
        assert_eq!(letter[field], value, "{field}");
    }
    assert!(letter["died_at"].as_str() >= letter["created_at"].as_str());

    well.send(true).unwrap();
    let retry = format!("/api/admin/dead-letters/{}/retry", letter["id"]);
    assert_eq!(app.post(&retry, &app.admin(), json!({})).await.expect(200), *letter);
    let calls = receiver.has(6).await;
    assert_eq!((calls[5].event(), calls[5].id()), ("order.paid", calls[0].id()));
    until("nothing is left to send", || all_sent(&app.stores)).await;
    app.post(&retry, &app.admin(), json!({})).await.expect_problem(404, "not_found");
    let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_order_is_sent_again() {
    let app = TestApp::start().await;
    app.product("PHONE", 5, json!({})).await;
    let receiver = Receiver::start().await;
    subscribe(&app, &receiver, &["order.paid"]).await;
    let order = order(&app, "alice", "PHONE").await;
    let first = receiver.has(1).await[0].clone();
    let path = format!("/api/admin/orders/{}/resend", order["id"].as_str().unwrap());
    app.post(&path, &app.admin(), json!({ "what": "webhook" })).await.expect(200);
    let calls = receiver.has(2).await;
    let (before, after) = (&first.body, &calls[1].body);
    assert_eq!((&after["type"], &after["data"]), (&before["type"], &before["data"]));
    assert_ne!(calls[1].id(), first.id());
    let mail = app.post(&path, &app.admin(), json!({ "what": "mail" })).await;
    mail.expect_problem(409, "nothing_to_send");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_is_told_once_it_is_back() {
    let app = TestApp::start_with(&[("HOLDFAST__OUTBOX__ATTEMPTS", "100")]).await;
    app.product("PHONE", 5, json!({})).await;
    let away = Receiver::start().await;
    let address = away.address;
    subscribe(&app, &away, &["order.paid"]).await;
    drop(away);
    let order = order(&app, "alice", "PHONE").await;
    until("an attempt has failed", || async {
        let failed = "select count(*) from deliveries where last_error = 'no connection'";
        let postgres = app.stores.postgres().await;
        postgres.query_one(failed, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let back = Receiver::at(address, |_| Answer::Status(200)).await;
    assert_eq!(back.has(1).await[0].body["data"]["order_id"], order["id"]);
    until("nothing is left to send", || all_sent(&app.stores)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_answer_keeps_no_other_waiting() {
    // Nothing that the silent one was asked is over before the other has heard all.
    let patient =
        [("HOLDFAST__WEBHOOKS__TIMEOUT", "30s"), ("HOLDFAST__WEBHOOKS__CONCURRENCY", "4")];
    let app = TestApp::start_with(&patient).await;
    app.product("PHONE", 60, json!({})).await;
    let silent = Receiver::that(|_| Answer::Silence).await;
    let well = Receiver::start().await;
    subscribe(&app, &silent, &["order.paid"]).await;
    subscribe(&app, &well, &["order.paid"]).await;
    for number in 0..20 {
        order(&app, &format!("buyer-{number}"), "PHONE").await;
    }
    well.has(20).await;
    assert!(silent.calls().len() < 20, "{} calls", silent.calls().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_receiver_was_to_hear_is_given_up_and_listed() {
    let quick = [("HOLDFAST__WEBHOOKS__TIMEOUT", "300ms"), ("HOLDFAST__OUTBOX__ATTEMPTS", "1")];
    let app = TestApp::start_with(&quick).await;
    app.product("PHONE", 60, json!({})).await;
    let silent = Receiver::that(|_| Answer::Silence).await;
    subscribe(&app, &silent, &["order.paid"]).await;
    for number in 0..50 {
        order(&app, &format!("buyer-{number}"), "PHONE").await;
    }
    until("the silent one is given up", || async {
        let list = app.get("/api/admin/dead-letters?limit=200", &app.admin()).await.expect(200);
        list["items"].as_array().unwrap().len() == 50
    })
    .await;
    let list = app.get("/api/admin/dead-letters?limit=30", &app.admin()).await.expect(200);
    let next = list["next_cursor"].as_str().unwrap();
    let rest = format!("/api/admin/dead-letters?limit=30&cursor={next}");
    let rest = app.get(&rest, &app.admin()).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 30);
    assert_eq!(rest["items"].as_array().unwrap().len(), 20);
    assert_eq!(rest["next_cursor"], Value::Null);
    assert_eq!(rest["items"][0]["last_error"], "no answer in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_a_long_answer_not_read() {
    let app = TestApp::start_with(&[("HOLDFAST__OUTBOX__ATTEMPTS", "1")]).await;
    app.product("PHONE", 5, json!({})).await;
    let target = Receiver::start().await;
    let elsewhere = target.url();
    let redirecting = Receiver::that(move |_| Answer::Redirect(elsewhere.clone())).await;
    let talkative = Receiver::that(|_| Answer::Bytes(50_000_000)).await;
    subscribe(&app, &redirecting, &["order.paid"]).await;
    subscribe(&app, &talkative, &["order.paid"]).await;
    order(&app, "alice", "PHONE").await;
    redirecting.has(1).await;
    talkative.has(1).await;
    until("only the redirecting one is given up", || async {
        let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
        let postgres = app.stores.postgres().await;
        let left = "select count(*) from deliveries where dead_at is null";
        list["items"][0]["last_error"] == "the answer was 307"
            && list["items"].as_array().unwrap().len() == 1
            && postgres.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert!(target.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_called_unless_the_operator_allows_it() {
    let closed = [("HOLDFAST__WEBHOOKS__ALLOW_PRIVATE", ""), ("HOLDFAST__OUTBOX__ATTEMPTS", "1")];
    let app = TestApp::start_with(&closed).await;
    app.product("PHONE", 5, json!({})).await;
    let receiver = Receiver::start().await;
    let port = receiver.address.port();
    let register = async |url: String| {
        app.post("/api/webhook-endpoints", &app.service(), json!({ "url": url })).await
    };
    for refused in [
        format!("http://127.0.0.1:{port}/hooks"),
        format!("https://127.0.0.1:{port}/hooks"),
        format!("https://[::1]:{port}/hooks"),
        format!("https://[::ffff:127.0.0.1]:{port}/hooks"),
        "https://10.0.0.1/".into(),
        "https://169.254.169.254/latest/meta-data/".into(),
        "https://100.64.0.1/".into(),
        "http://shop.example/".into(),
    ] {
        let refusal = register(refused).await.expect_problem(422, "url_not_allowed");
        assert_eq!(refusal["errors"][0]["field"], "url");
    }
    // A name may lead anywhere later, so it is looked at in every call.
    register(format!("https://localhost:{port}/hooks")).await.expect(201);
    order(&app, "alice", "PHONE").await;
    until("the call is refused", || async {
        let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
        list["items"][0]["last_error"] == "the address may not be called"
    })
    .await;
    assert!(receiver.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_while_the_old_one_still_signs() {
    let app = TestApp::start().await;
    app.product("PHONE", 9, json!({})).await;
    let receiver = Receiver::start().await;
    let endpoint = subscribe(&app, &receiver, &["order.paid"]).await;
    let path = format!("/api/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");
    let first = endpoint["secret"].as_str().unwrap().to_owned();

    let rotated = app.post(&rotate, &app.service(), json!({})).await.expect(200);
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert!(rotated["previous_secret_until"].is_string());
    order(&app, "alice", "PHONE").await;
    let call = receiver.has(1).await.remove(0);
    assert_eq!((call.signed_by(&second), call.signed_by(&first)), (vec![0], vec![1]));

    let keep_none = json!({ "keep_seconds": 0 });
    let rotated = app.post(&rotate, &app.service(), keep_none).await.expect(200);
    let third = rotated["secret"].as_str().unwrap().to_owned();
    order(&app, "bob", "PHONE").await;
    let call = receiver.has(2).await.remove(1);
    assert_eq!(call.signed_by(&third), [0]);
    assert!(call.signed_by(&second).is_empty() && call.signed_by(&first).is_empty());
    assert!(!call.headers["webhook-signature"].contains(' '));

    // Shown at its birth, and nowhere else.
    let read = app.get(&path, &app.service()).await.expect(200);
    let listed = app.get("/api/webhook-endpoints", &app.service()).await.expect(200);
    let stored = "select row_to_json(w)::text from webhook_endpoints w";
    let postgres = app.stores.postgres().await;
    let stored: String = postgres.query_one(stored, &[]).await.unwrap().get(0);
    for secret in [&first, &second, &third] {
        let plain = secret.strip_prefix("whsec_").unwrap();
        for shown in [read.to_string(), listed.to_string(), stored.clone()] {
            assert!(!shown.contains(plain), "{shown}");
        }
    }
    assert!(read.get("secret").is_none());
    for bad in [-1, 604_801] {
        let refused = app.post(&rotate, &app.service(), json!({ "keep_seconds": bad })).await;
        refused.expect_problem(422, "invalid_field");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_outlive_the_replacement_of_the_key_that_seals_them() {
    let app = TestApp::start().await;
    app.product("PHONE", 9, json!({})).await;
    let receiver = Receiver::start().await;
    let endpoint = subscribe(&app, &receiver, &["order.paid"]).await;
    let (stores, before) = (app.stores.clone(), crate::app::JWT_SECRET);
    drop(app);
    let next = "8sKd02mVbQ4nXz71LpRt6YcWuGe9HjFaB3oNiSvT5xMqPyZk";
    let last = "Zk1PyMqT5xNiSvFaB3oGe9HjYcWuLpRt6Xz71bQ4n8sKd02m";
    for (now, old) in [(next, before), (last, next)] {
        let settings =
            [("HOLDFAST__AUTH__JWT_SECRET", now), ("HOLDFAST__AUTH__PREVIOUS_JWT_SECRET", old)];
        let app = TestApp::on(stores.clone(), &settings).await;
        let known = receiver.calls().len();
        order(&app, &format!("buyer-{known}"), "PHONE").await;
        let calls = receiver.has(known + 1).await;
        assert_eq!(calls[known].signed_by(endpoint["secret"].as_str().unwrap()), [0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_endpoint_is_told_no_more() {
    // It is deleted before it is told again.
    let late = [("HOLDFAST__OUTBOX__RETRY_FIRST", "8s"), ("HOLDFAST__OUTBOX__RETRY_MOST", "8s")];
    let app = TestApp::start_with(&late).await;
    app.product("PHONE", 5, json!({})).await;
    let receiver = Receiver::that(|_| Answer::Status(500)).await;
    let endpoint = subscribe(&app, &receiver, &["order.paid"]).await;
    order(&app, "alice", "PHONE").await;
    receiver.has(1).await;
    let path = format!("/api/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, &app.service()).await.expect(204), json!(""));
    app.delete(&path, &app.service()).await.expect_problem(404, "not_found");
    app.get(&path, &app.service()).await.expect_problem(404, "not_found");
    order(&app, "bob", "PHONE").await;
    until("nothing is left to send", || all_sent(&app.stores)).await;
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_belong_to_the_storefront_that_made_them() {
    let app = TestApp::start().await;
    let receiver = Receiver::start().await;
    let endpoint = subscribe(&app, &receiver, &["stock.low"]).await;
    let path = format!("/api/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    assert_eq!(endpoint["subscriber"], "storefront");
    let other = app.token(holdfast::identity::Role::Service, "other");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/rotate-secret")),
    ] {
        let ask = |token: String| app.request(method.clone(), &path).bearer_auth(token);
        app.send(ask(other.clone())).await.expect_problem(404, "not_found");
        app.send(ask(app.customer("alice"))).await.expect_problem(403, "forbidden");
        app.send(ask(app.merchant("mary"))).await.expect_problem(403, "forbidden");
        app.anonymous(method.clone(), &path).await.expect_problem(401, "unauthenticated");
    }
    let none = app.get("/api/webhook-endpoints", &other).await.expect(200);
    assert_eq!(none["items"], json!([]));
    let all = app.get("/api/webhook-endpoints", &app.admin()).await.expect(200);
    assert_eq!(all["items"][0]["id"], endpoint["id"]);
    for token in [app.service(), app.merchant("mary"), app.customer("alice")] {
        app.get("/api/admin/dead-letters", &token).await.expect_problem(403, "forbidden");
        let retry = app.post("/api/admin/dead-letters/1/retry", &token, json!({})).await;
        retry.expect_problem(403, "forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_endpoints_are_refused_and_their_number_is_limited() {
    let app = TestApp::start_with(&[("HOLDFAST__WEBHOOKS__MOST_ENDPOINTS", "2")]).await;
    let register =
        async |body: Value| app.post("/api/webhook-endpoints", &app.service(), body).await;
    for (body, field) in [
        (json!({}), "url"),
        (json!({ "url": 7 }), "url"),
        (json!({ "url": "" }), "url"),
        (json!({ "url": "shop.example/hooks" }), "url"),
        (json!({ "url": "https://user:secret@shop.example/" }), "url"),
        (json!({ "url": "https://shop.example/#part" }), "url"),
        (json!({ "url": format!("https://shop.example/{}", "x".repeat(2_048)) }), "url"),
        (json!({ "url": "https://shop.example/", "events": ["order.eaten"] }), "events[0]"),
        (json!({ "url": "https://shop.example/", "events": "order.paid" }), "events"),
        (json!({ "url": "https://shop.example/", "description": "" }), "description"),
        (json!({ "url": "https://shop.example/", "description": "a\nb" }), "description"),
        (json!({ "url": "https://shop.example/", "secret": "mine" }), "secret"),
    ] {
        let refused = register(body.clone()).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
    let good = json!({ "url": "https://shop.example/hooks", "description": "The shop" });
    let keyed = app.request(Method::POST, "/api/webhook-endpoints").bearer_auth(app.service());
    let keyed = keyed.header("Idempotency-Key", "one").json(&good);
    let first = app.send(keyed.try_clone().unwrap()).await.expect(201);
    assert_eq!(app.send(keyed.try_clone().unwrap()).await.expect(201), first);
    // Redis forgets the key, Postgres does not.
    let mut redis = app.stores.redis().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{}idem:*", app.stores.prefix))
        .query_async(&mut redis)
        .await
        .unwrap();
    let (): () = redis::cmd("DEL").arg(&keys).query_async(&mut redis).await.unwrap();
    assert_eq!(app.send(keyed).await.expect(201), first);
    register(good.clone()).await.expect(201);
    register(good).await.expect_problem(409, "endpoint_limit");
    let page = app.get("/api/webhook-endpoints?limit=1", &app.service()).await.expect(200);
    let next = page["next_cursor"].as_str().unwrap();
    let rest = format!("/api/webhook-endpoints?cursor={next}");
    let rest = app.get(&rest, &app.service()).await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_ne!(page["items"][0]["id"], rest["items"][0]["id"]);
    for path in ["/api/webhook-endpoints/7", "/api/admin/dead-letters/x"] {
        app.get(path, &app.admin()).await.expect_problem(404, "not_found");
    }
    for query in ["limit=0", "limit=201", "cursor=x", "page=1"] {
        for path in ["/api/webhook-endpoints", "/api/admin/dead-letters"] {
            let refused = app.get(&format!("{path}?{query}"), &app.admin()).await;
            refused.expect_problem(422, "invalid_field");
        }
    }
    let refused = app.get("/api/admin/dead-letters?cursor=0", &app.admin()).await;
    refused.expect_problem(422, "invalid_field");
}
