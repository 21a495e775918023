//! The table of the contract, cell by cell: what each state of a reservation answers to get, extend, cancel, checkout.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::app::{Api, Reply, TestApp};
use crate::ends::{archived, expired};
use crate::reserve::id_of;

/// Long enough for a confirm to stand still while a test looks at it.
const PATIENT: [(&str, &str); 4] = [
    ("HOLDFAST__SERVER__REQUEST_DEADLINE", "20s"),
    ("HOLDFAST__DATABASE__STATEMENT_TIMEOUT", "18s"),
    ("HOLDFAST__DATABASE__LOCK_TIMEOUT", "18s"),
    ("HOLDFAST__SWEEPER__PIN_GRACE", "60s"),
];

/// A confirm that stands still between its pin and its decision.
struct Confirming {
    id: String,
    locks: tokio_postgres::Client,
    checkout: JoinHandle<Reply>,
}

impl Confirming {
    /// Somebody else has the stock row, so the decision waits; the pin is made already.
    async fn begin(app: &TestApp, user: &str, sku: &str, quantity: i64) -> Self {
        let id = app.held(user, sku, quantity).await;
        let locks = app.stores.postgres().await;
        let sql = "begin; select from sku_stock for update";
        locks.batch_execute(sql).await.unwrap();
        let checkout = confirm(app, user, &id);
        let reservation = &id;
        app.until("the hold is pinned", || async move {
            app.reservation(reservation).await.expect(200)["status"] == "confirming"
        })
        .await;
        Self { id, locks, checkout }
    }

    /// Lets the decision go on.
    async fn end(self) -> Reply {
        self.locks.batch_execute("rollback").await.unwrap();
        self.checkout.await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test")]
fn confirm(app: &TestApp, user: &str, id: &str) -> JoinHandle<Reply> {
    let (api, user, id): (Api, String, String) = (app.api.clone(), user.to_owned(), id.to_owned());
    tokio::spawn(async move { api.checkout(&user, &id).await })
}

async fn extend(app: &TestApp, user: &str, id: &str) -> Reply {
    let path = format!("/api/reservations/{id}/extend");
    app.post(&path, &app.customer(user), json!({ "seconds": 10 })).await
}

async fn cancel(app: &TestApp, user: &str, id: &str) -> Reply {
    app.delete(&format!("/api/reservations/{id}"), &app.customer(user)).await
}

async fn status(app: &TestApp, id: &str) -> Value {
    app.reservation(id).await.expect(200)["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn held_can_be_extended_cancelled_and_confirmed() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    assert_eq!(status(&app, &id).await, "held");
    extend(&app, "alice", &id).await.expect(200);
    assert_eq!(status(&app, &id).await, "held");
    cancel(&app, "alice", &id).await.expect(200);
    let id = app.held("alice", "A", 1).await;
    app.checkout("alice", &id).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn confirming_can_only_be_read_and_joined() {
    let app = TestApp::start_with(&PATIENT).await;
    let product = app.product("A", 5, json!({})).await;
    let confirming = Confirming::begin(&app, "alice", "A", 2).await;
    let id = confirming.id.clone();

    assert_eq!(status(&app, &id).await, "confirming");
    extend(&app, "alice", &id).await.expect_problem(409, "payment_in_progress");
    cancel(&app, "alice", &id).await.expect_problem(409, "payment_in_progress");
    let by_product = format!("/api/reserve/alice/{product}");
    let reply = app.delete(&by_product, &app.customer("alice")).await;
    reply.expect_problem(409, "payment_in_progress");
    let listed = app.get("/api/users/alice/reservations", &app.customer("alice")).await.expect(200);
    assert_eq!(listed["items"][0]["status"], "confirming");
    assert_eq!(app.stock("A").await, (5, 3, 2, 0));

    let joined = confirm(&app, "alice", &id);
    let order = confirming.end().await;
    let joined = joined.await.unwrap();
    let mut statuses = [order.status, joined.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CREATED], "one of the two made the order");
    assert_eq!(order.body, joined.body);
    assert_eq!(app.stock("A").await, (5, 3, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn reserving_what_is_confirming_answers_the_hold_or_refuses() {
    let app = TestApp::start_with(&PATIENT).await;
    app.product("A", 5, json!({})).await;
    app.product("B", 5, json!({})).await;
    app.held("bob", "A", 1).await;
    app.held("bob", "B", 1).await;
    let confirming = Confirming::begin(&app, "alice", "A", 2).await;

    let same = app.reserve("alice", "A", 2).await.expect(200);
    assert_eq!((id_of(&same), &same["status"]), (confirming.id.clone(), &json!("confirming")));
    for quantity in [1, 3] {
        let refused = app.reserve("alice", "A", quantity).await.expect_problem(409, "already_held");
        assert_eq!(refused["reservation_id"], confirming.id);
    }
    let several = json!({ "items": [{ "sku": "B" }, { "sku": "A", "quantity": 2 }] });
    let refused = app.post("/api/reserve", &app.customer("alice"), several).await;
    let refused = refused.expect_problem(409, "already_held");
    assert_eq!(refused["reservation_id"], confirming.id);
    assert_eq!((app.stock("A").await, app.stock("B").await), ((5, 2, 3, 0), (5, 4, 1, 0)));
    confirming.end().await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_stays_confirmed() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let order = app.checkout("alice", &id).await.expect(201);
    // First while Redis has it, then when only Postgres does.
    for _ in 0..2 {
        let read = app.reservation(&id).await.expect(200);
        assert_eq!((&read["status"], &read["order_id"]), (&json!("confirmed"), &order["id"]));
        assert_eq!((&read["expires_in"], &read["quantity"]), (&json!(0), &json!(1)));
        extend(&app, "alice", &id).await.expect_problem(409, "already_confirmed");
        cancel(&app, "alice", &id).await.expect_problem(409, "already_confirmed");
        let by_product = format!("/api/reserve/alice/{product}");
        let reply = app.delete(&by_product, &app.customer("alice")).await;
        reply.expect_problem(409, "already_confirmed");
        assert_eq!(app.checkout("alice", &id).await.expect(200), order);
        assert_eq!(app.stock("A").await, (5, 4, 0, 1));
        archived(&app, "A", &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_stays_cancelled() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let ended = cancel(&app, "alice", &id).await.expect(200);
    for _ in 0..2 {
        assert_eq!(status(&app, &id).await, "cancelled");
        extend(&app, "alice", &id).await.expect_problem(409, "reservation_cancelled");
        assert_eq!(cancel(&app, "alice", &id).await.expect(200), ended);
        app.checkout("alice", &id).await.expect_problem(409, "reservation_cancelled");
        assert_eq!(app.stock("A").await, (5, 5, 0, 0));
        archived(&app, "A", &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_stays_expired() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = expired(&app, "alice", "A").await;
    for _ in 0..2 {
        assert_eq!(status(&app, &id).await, "expired");
        extend(&app, "alice", &id).await.expect_problem(410, "reservation_expired");
        cancel(&app, "alice", &id).await.expect_problem(410, "reservation_expired");
        app.checkout("alice", &id).await.expect_problem(410, "reservation_expired");
        assert_eq!(app.stock("A").await, (5, 5, 0, 0));
        archived(&app, "A", &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_deadline_a_hold_is_expired_whether_or_not_it_was_swept() {
    // Nobody sweeps here, except those who ask.
    let late = [("HOLDFAST__SWEEPER__TICK", "1h"), ("HOLDFAST__SWEEPER__FULL_PASS", "1h")];
    let app = TestApp::start_with(&late).await;
    app.product("A", 4, json!({})).await;
    let mut ids = Vec::new();
    for user in ["alice", "bob", "carol"] {
        ids.push(expired(&app, user, "A").await);
    }
    extend(&app, "alice", &ids[0]).await.expect_problem(410, "reservation_expired");
    cancel(&app, "bob", &ids[1]).await.expect_problem(410, "reservation_expired");
    app.checkout("carol", &ids[2]).await.expect_problem(410, "reservation_expired");
    // Whoever asks for the units gets them.
    app.reserve("dave", "A", 4).await.expect(201);
}
