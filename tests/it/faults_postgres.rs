//! Postgres away, frozen, locked, exhausted, and an answer of it lost; a client that goes away.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::app::{Api, LATE, Reply, SOON, Stores, TestApp, hasty, until};
use crate::conservation;
use crate::process::{blocking, own_postgres};
use crate::proxy::Proxy;

/// A 503 as it must be, saying when to come again and whether something may have happened. It is given in time if it is
/// given at all: whatever keeps the store from answering is taken away only afterwards.
async fn unavailable(answer: impl Future<Output = Reply>) -> Value {
    let reply = answer.await;
    assert_eq!(reply.headers.get("retry-after").unwrap_or_else(|| panic!("{reply:#?}")), "1");
    let code = reply.body["code"].as_str().unwrap().to_owned();
    assert!(["store_unavailable", "overloaded"].contains(&code.as_str()), "{reply:#?}");
    reply.expect_problem(503, &code)
}

async fn orders(stores: &Stores) -> i64 {
    let count = "select count(*) from orders";
    stores.postgres().await.query_one(count, &[]).await.unwrap().get(0)
}

async fn status(api: &Api, id: &str) -> Value {
    api.reservation(id).await.expect(200)["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_holds_are_made_and_wait_for_it() {
    let (mut postgres, stores) = own_postgres().await;
    let app = TestApp::on(stores.clone(), &hasty(&[LATE])).await;
    app.product("PHONE", 50, json!({})).await;
    let before = app.held("alice", "PHONE", 2).await;
    let warm = app.held("warm", "PHONE", 1).await;
    app.checkout("warm", &warm).await.expect(201);
    blocking(|| postgres.kill9().unwrap());
    until("the service has noticed", || async {
        app.send(app.request(Method::GET, "/readyz")).await.status == 503
    })
    .await;

    let during = app.held("bob", "PHONE", 1).await;
    let one_by_one = async {
        for _ in 0..3 {
            unavailable(app.checkout("alice", &before)).await;
        }
    };
    let crowd = (0..20).map(|_| unavailable(app.checkout("bob", &during)));
    tokio::join!(one_by_one, futures_util::future::join_all(crowd));
    let refused = unavailable(app.checkout("bob", &during)).await;
    assert_eq!(refused["outcome"], "none", "known to be down: nothing is begun");
    assert_eq!(status(&app, &before).await, "held");
    assert_eq!(status(&app, &during).await, "held");
    let released = app.held("carol", "PHONE", 3).await;
    app.delete(&format!("/api/reservations/{released}"), &app.customer("carol")).await.expect(200);
    unavailable(app.get("/api/orders/01890000-0000-7000-8000-000000000000", &app.service())).await;

    blocking(|| postgres.restart().unwrap());
    until("it sells again", || async { app.checkout("alice", &before).await.status.is_success() })
        .await;
    app.checkout("bob", &during).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (50, 46, 0, 4));
    assert_eq!(orders(&stores).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_answer_was_lost_is_asked_for_again_and_is_one_order() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_postgres(&stores).await;
    let app = TestApp::on(through, &[LATE]).await.unchecked();
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice-of-the-lost-answer", "PHONE", 2).await;
    proxy.lose_the_answer_to("alice-of-the-lost-answer");
    let order = app.checkout("alice-of-the-lost-answer", &id).await.expect(201);
    assert!(proxy.has_lost_it());
    assert_eq!(app.checkout("alice-of-the-lost-answer", &id).await.expect(200), order);
    assert_eq!(orders(&stores).await, 1);
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_lost_with_the_connection_to_postgres_is_found_by_the_next_request() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_postgres(&stores).await;
    let app = TestApp::on(through, &hasty(&[LATE])).await.unchecked();
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice-of-the-lost-answer", "PHONE", 2).await;
    proxy.lose_the_answer_to("alice-of-the-lost-answer");
    let cut = async {
        until("the decision is made", || async { orders(&stores).await == 1 }).await;
        proxy.cut();
    };
    // Frozen after the request: the answer can't come, and asking again can't either.
    let (answer, ()) = tokio::join!(app.checkout("alice-of-the-lost-answer", &id), cut);
    if answer.status == 503 {
        assert_eq!(unavailable(async { answer }).await["outcome"], "unknown");
    }
    proxy.forward();
    until("it sells again", || async {
        app.checkout("alice-of-the-lost-answer", &id).await.status == 200
    })
    .await;
    assert_eq!(orders(&stores).await, 1);
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_is_answered_for_in_time_and_makes_no_half_sale() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_postgres(&stores).await;
    let app = TestApp::on(through, &hasty(&[LATE])).await.unchecked();
    app.product("PHONE", 50, json!({})).await;
    let warm = app.held("warm", "PHONE", 1).await;
    app.checkout("warm", &warm).await.expect(201);
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push((format!("b{number}"), app.held(&format!("b{number}"), "PHONE", 1).await));
    }
    proxy.freeze();
    let checkouts = ids.iter().map(|(user, id)| unavailable(app.checkout(user, id)));
    let newcomers: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    let holds = newcomers.iter().map(|user| app.reserve(user, "PHONE", 1));
    let (_, holds) = tokio::join!(
        futures_util::future::join_all(checkouts),
        futures_util::future::join_all(holds)
    );
    for hold in holds {
        hold.expect(201);
    }
    proxy.forward();
    for (user, id) in &ids {
        until("it sells again", || async { app.checkout(user, id).await.status.is_success() })
            .await;
    }
    assert_eq!(orders(&stores).await, 13);
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_stock_row_delays_a_checkout_within_bounds_and_costs_no_unit() {
    let app = TestApp::start_with(&hasty(&[SOON])).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    let other = app.stores.postgres().await;
    other.batch_execute("begin; select * from sku_stock for update").await.unwrap();
    let refused = unavailable(app.checkout("alice", &id)).await;
    assert_eq!(refused["outcome"], "unknown");
    app.reserve("bob", "PHONE", 1).await.expect(201);
    // The fence needs no stock row: the pin is decided although the row stays locked.
    until("the pin is decided", || async { status(&app, &id).await == "expired" }).await;
    other.batch_execute("rollback").await.unwrap();
    app.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
    assert_eq!(app.stock("PHONE").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_row_locked_for_a_moment_only_delays_the_order() {
    let app = TestApp::start_with(&hasty(&[LATE])).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    let other = app.stores.postgres().await;
    other.batch_execute("begin; select * from sku_stock for update").await.unwrap();
    unavailable(app.checkout("alice", &id)).await;
    other.batch_execute("rollback").await.unwrap();
    app.checkout("alice", &id).await.expect(201);
}

/// Waits until so many statements of the service wait for a lock.
pub async fn waiting_for_locks(stores: &Stores, wanted: i64) {
    until("statements wait for the lock", || async {
        let sql = "select count(*) from pg_stat_activity
                    where wait_event_type = 'Lock' and datname = current_database()";
        let waiting: i64 = stores.postgres().await.query_one(sql, &[]).await.unwrap().get(0);
        waiting >= wanted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_connection_a_checkout_is_refused_before_anything_is_pinned() {
    let one = ("HOLDFAST__DATABASE__POOL_SIZE", "1");
    let impatient = ("HOLDFAST__DATABASE__POOL_WAIT", "500ms");
    let app = TestApp::start_with(&[LATE, one, impatient]).await;
    app.product("PHONE", 5, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    // The price is known from here on: what is asked for is the decision alone.
    let warm = app.held("warm", "PHONE", 1).await;
    app.checkout("warm", &warm).await.expect(201);
    let other = app.stores.postgres().await;
    other.batch_execute("begin; lock table orders in access exclusive mode").await.unwrap();
    let service = app.service();
    let order = "/api/orders/01890000-0000-7000-8000-000000000000";
    // Whoever has the only connection keeps it for as long as this takes.
    let busy = app.get(order, &service);
    let refused = async {
        waiting_for_locks(&app.stores, 1).await;
        let refused = unavailable(app.checkout("alice", &id)).await;
        let status = status(&app, &id).await;
        other.batch_execute("rollback").await.unwrap();
        (refused, status)
    };
    let (busy, (refused, status)) = tokio::join!(busy, refused);
    busy.expect_problem(404, "not_found");
    assert_eq!((&refused["code"], &refused["outcome"]), (&json!("overloaded"), &json!("none")));
    assert_eq!(status, "held", "nothing was pinned");
    app.checkout("alice", &id).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_behind_locked_rows_are_answered_in_time_and_sold_afterwards() {
    let app = TestApp::start_with(&hasty(&[LATE])).await;
    let mut ids = Vec::new();
    for sku in ["LOCKED", "SHUT", "FREE"] {
        app.product(sku, 5, json!({})).await;
        ids.push(app.held("alice", sku, 1).await);
    }
    let other = app.stores.postgres().await;
    let lock = "begin; select from sku_stock join products using (product_id) where sku <> 'FREE' for update";
    other.batch_execute(lock).await.unwrap();
    let locked = async {
        waiting_for_locks(&app.stores, 2).await;
        let free = app.checkout("alice", &ids[2]).await;
        assert!([201, 503].contains(&free.status.as_u16()), "{free:#?}");
    };
    let first = unavailable(app.checkout("alice", &ids[0]));
    let second = unavailable(app.checkout("alice", &ids[1]));
    tokio::join!(first, second, locked);
    other.batch_execute("rollback").await.unwrap();
    for id in &ids {
        app.checkout("alice", id).await.expect_success();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_of_a_checkout_share_the_only_connection() {
    let one = ("HOLDFAST__DATABASE__POOL_SIZE", "1");
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_postgres(&stores).await;
    let app = TestApp::on(through, &[LATE, one]).await.unchecked();
    app.product("PHONE", 5, json!({})).await;
    let warm = app.held("warm", "PHONE", 1).await;
    app.checkout("warm", &warm).await.expect(201);
    let id = app.held("alice", "PHONE", 1).await;
    proxy.delay(Duration::from_millis(5));
    let twins = (0..6).map(|_| app.checkout("alice", &id));
    let answers = futures_util::future::join_all(twins).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:#?}");
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_of_its_checkout_has_its_order() {
    let stores = Stores::fresh().await;
    let (proxy, through) = Proxy::before_postgres(&stores).await;
    let app = TestApp::on(through, &[LATE]).await.unchecked();
    app.product("PHONE", 5, json!({})).await;
    let warm = app.held("warm", "PHONE", 1).await;
    app.checkout("warm", &warm).await.expect(201);
    let id = app.held("alice", "PHONE", 1).await;
    proxy.delay(Duration::from_millis(40));
    let mut client = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let body = json!({ "reservation_id": id }).to_string();
    let request = format!(
        "POST /api/checkout HTTP/1.1\r\nHost: holdfast\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        app.customer("alice"),
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    until("it is pinned", || async { status(&app, &id).await == "confirming" }).await;
    // Not a farewell but a reset, which ends the handler at once.
    client.set_zero_linger().unwrap();
    drop(client);
    until("the order stands", || async { orders(&stores).await == 2 }).await;
    proxy.forward();
    until("it is settled", || async { app.stock("PHONE").await == (5, 3, 0, 2) }).await;
    app.checkout("alice", &id).await.expect(200);
    conservation::prove(&stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_takes_no_writes_is_not_ready_and_says_why() {
    let (_postgres, stores) = own_postgres().await;
    let app = TestApp::on(stores.clone(), &[LATE]).await;
    app.product("PHONE", 50, json!({})).await;
    let id = app.held("alice", "PHONE", 2).await;
    let readyz = || async { app.send(app.request(Method::GET, "/readyz")).await };
    let session = stores.postgres().await;
    session.batch_execute("set default_transaction_read_only = off").await.unwrap();
    // As a standby does that was not promoted.
    for sql in ["alter system set default_transaction_read_only = on", "select pg_reload_conf()"] {
        session.batch_execute(sql).await.unwrap();
    }
    until("readiness says so", || async { readyz().await.status == 503 }).await;
    let said = readyz().await.body["parts"]["postgres"]["detail"].clone();
    assert!(said.as_str().unwrap().starts_with("read-only"), "{said}");
    unavailable(app.checkout("alice", &id)).await;
    for sql in ["alter system reset default_transaction_read_only", "select pg_reload_conf()"] {
        session.batch_execute(sql).await.unwrap();
    }
    until("readiness says so", || async { readyz().await.status == 200 }).await;
    app.checkout("alice", &id).await.expect_success();
}
