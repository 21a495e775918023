//! Accounts: who may register, sign in, stay signed in, and when a session ends.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, TestApp};

async fn send(app: &TestApp, path: &str, body: Value) -> Reply {
    app.send(app.request(Method::POST, path).json(&body)).await
}

fn jay() -> Value {
    json!({ "username": "jay", "email": "jay@email.com", "password": "strongpassword" })
}

async fn refresh(app: &TestApp, token: &Value) -> Reply {
    send(app, "/api/auth/refresh", json!({ "refresh": token })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_signs_in_and_buys() {
    let app = TestApp::start().await;
    let made = send(&app, "/api/register/", jay()).await.expect(201);
    assert_eq!(
        (&made["user"]["username"], &made["user"]["role"], &made["expires_in"]),
        (&json!("jay"), &json!("customer"), &json!(900))
    );
    let login = json!({ "username": "JAY", "password": "strongpassword" });
    let session = send(&app, "/api/login/", login).await.expect(200);
    let members: BTreeSet<&str> = session.as_object().unwrap().keys().map(|key| &**key).collect();
    assert_eq!(members, ["access", "expires_in", "refresh", "token_type"].into());
    let by_address = json!({ "email": "Jay@Email.com", "password": "strongpassword" });
    send(&app, "/api/auth/login", by_address).await.expect(200);

    let access = session["access"].as_str().unwrap();
    assert_eq!(app.get("/api/auth/me", access).await.expect(200), made["user"]);
    app.product("A", 1, json!({})).await;
    let held = app.post("/api/reserve", access, json!({ "sku": "A" })).await.expect(201);
    assert_eq!(held["user_id"], made["user"]["id"]);
    let foreign = app.get("/api/auth/me", &app.customer("alice")).await.expect(200);
    assert_eq!(
        foreign,
        json!({ "id": "alice", "username": null, "email": null, "role": "customer", "created_at": null })
    );
    app.anonymous(Method::GET, "/api/auth/me").await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_an_address_belong_to_one_account() {
    let app = TestApp::start().await;
    send(&app, "/api/auth/register", jay()).await.expect(201);
    let same_name =
        json!({ "username": "Jay", "email": "other@email.com", "password": "strongpassword" });
    send(&app, "/api/auth/register", same_name).await.expect_problem(409, "username_taken");
    let same_address =
        json!({ "username": "other", "email": "JAY@email.com", "password": "strongpassword" });
    send(&app, "/api/auth/register", same_address).await.expect_problem(409, "email_taken");
    let merchant = json!({ "username": "shop", "email": "shop@email.com", "password": "strongpassword", "role": "merchant" });
    let shop = send(&app, "/api/auth/register", merchant).await.expect(201);
    let access = shop["access"].as_str().unwrap();
    let body = json!({ "sku": "OWN", "name": "Own", "total_stock": 1 });
    let product = app.post("/api/products", access, body).await.expect(201);
    assert_eq!(product["owner_id"], shop["user"]["id"]);
    // Of ten who want one name at once, one gets it.
    let races = (0..10).map(|number| {
        let email = format!("racer{number}@email.com");
        send(
            &app,
            "/api/auth/register",
            json!({ "username": "racer", "email": email, "password": "strongpassword" }),
        )
    });
    let made = join_all(races).await.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_name_look_the_same() {
    let app = TestApp::start().await;
    send(&app, "/api/auth/register", jay()).await.expect(201);
    let mut answers = Vec::new();
    for name in ["jay", "nobody", "na\u{0}me", ""] {
        let body = json!({ "username": name, "password": "wrong password" });
        let request = app.request(Method::POST, "/api/auth/login").header("X-Request-Id", "same");
        let reply = app.send(request.json(&body)).await;
        answers.push(reply.expect_problem(401, "unauthenticated"));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let both = json!({ "username": "jay", "email": "jay@email.com", "password": "strongpassword" });
    send(&app, "/api/auth/login", both).await.expect_problem(422, "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_good_once_and_a_copy_ends_the_session() {
    let app = TestApp::start().await;
    let first = send(&app, "/api/auth/register", jay()).await.expect(201);
    let second = refresh(&app, &first["refresh"]).await.expect(200);
    assert_ne!(first["refresh"], second["refresh"]);
    let third = refresh(&app, &second["refresh"]).await.expect(200);
    // Somebody comes with a copy of the first one.
    refresh(&app, &first["refresh"]).await.expect_problem(401, "unauthenticated");
    refresh(&app, &third["refresh"]).await.expect_problem(401, "unauthenticated");
    refresh(&app, &json!("no token of ours")).await.expect_problem(401, "unauthenticated");

    // Of two uses at once one wins; the other is a copy, and ends what the one has just got.
    let login = json!({ "username": "jay", "password": "strongpassword" });
    let session = send(&app, "/api/auth/login", login).await.expect(200);
    let uses = join_all((0..8).map(|_| refresh(&app, &session["refresh"]))).await;
    let won: Vec<&Reply> = uses.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    let next = &won[0].body["refresh"];
    refresh(&app, next).await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_one_session_and_an_old_one_ends_by_itself() {
    let app = TestApp::start_with(&[("HOLDFAST__AUTH__REFRESH_LIFETIME", "1s")]).await;
    let first = send(&app, "/api/auth/register", jay()).await.expect(201);
    let login = json!({ "username": "jay", "password": "strongpassword" });
    let second = send(&app, "/api/auth/login", login.clone()).await.expect(200);
    let body = json!({ "refresh": first["refresh"] });
    send(&app, "/api/auth/logout", body.clone()).await.expect(204);
    send(&app, "/api/auth/logout", body).await.expect(204);
    refresh(&app, &first["refresh"]).await.expect_problem(401, "unauthenticated");
    assert_eq!(second["token_type"], "Bearer");
    let postgres = app.stores.postgres().await;
    let live = "select count(*) from sessions where expires_at > now()";
    app.until("the sessions ran out", || async {
        postgres.query_one(live, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    refresh(&app, &second["refresh"]).await.expect_problem(401, "unauthenticated");
    send(&app, "/api/auth/login", login).await.expect(200);
    let kept: i64 = postgres.query_one("select count(*) from sessions", &[]).await.unwrap().get(0);
    assert_eq!(kept, 1, "those that ran out went at the next login");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_has_bounds() {
    let app = TestApp::start().await;
    let long = "x".repeat(4_096);
    for (field, value) in [
        ("username", json!("ab")),
        ("username", json!("a b c")),
        ("username", json!("naïve")),
        ("username", json!(long)),
        ("username", json!("nul\u{0}nul")),
        ("email", json!("nobody")),
        ("email", json!(format!("{long}@example.org"))),
        ("email", json!("a\u{0}@example.org")),
        ("password", json!("short")),
        ("password", json!(long)),
        ("password", json!("nul\u{0}nul nul")),
        ("role", json!("admin")),
        ("role", json!("service")),
        ("username", json!(7)),
    ] {
        let mut body = jay();
        body[field] = value.clone();
        let reply = send(&app, "/api/auth/register", body).await;
        let refused = reply.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{value}");
    }
    let unicode =
        json!({ "username": "ünïcode", "email": "u@example.org", "password": "пароль и 密码" });
    send(&app, "/api/auth/register", unicode).await.expect_problem(422, "invalid_field");
    let unicode =
        json!({ "username": "unicode", "email": "u@example.org", "password": "пароль и 密码" });
    send(&app, "/api/auth/register", unicode).await.expect(201);
    let login = json!({ "username": "unicode", "password": "пароль и 密码" });
    send(&app, "/api/auth/login", login).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_signs_in_is_kept_nowhere() {
    let app = TestApp::start().await;
    let made = send(&app, "/api/auth/register", jay()).await.expect(201);
    let postgres = app.stores.postgres().await;
    let row = postgres.query_one("select password from accounts", &[]).await.unwrap();
    assert!(row.get::<_, &str>(0).starts_with("$argon2id$"));
    let again = || {
        let request = app.request(Method::POST, "/api/auth/login").header("Idempotency-Key", "k");
        let request = request.bearer_auth(made["access"].as_str().unwrap());
        app.send(request.json(&json!({ "username": "jay", "password": "strongpassword" })))
    };
    let (first, second) = (again().await.expect(200), again().await);
    assert!(!second.headers.contains_key("idempotency-replayed"));
    assert_ne!(first["refresh"], second.expect(200)["refresh"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_signs_in_is_served_in_turn_or_told_to_come_again() {
    let app = TestApp::start().await;
    send(&app, "/api/auth/register", jay()).await.expect(201);
    app.product("A", 50, json!({})).await;
    let crowd = join_all((0..200).map(|number| {
        let name = format!("nobody-{number}");
        send(&app, "/api/auth/login", json!({ "username": name, "password": "strongpassword" }))
    }));
    let buying = async {
        for number in 0..20 {
            app.held(&format!("buyer-{number}"), "A", 1).await;
        }
    };
    let (crowd, ()) = tokio::join!(crowd, buying);
    let (mut checked, mut sent_away) = (0, 0);
    for reply in crowd {
        if reply.status == 503 {
            assert_eq!(reply.headers["retry-after"], "1");
            assert_eq!(reply.expect_problem(503, "overloaded")["outcome"], "none");
            sent_away += 1;
        } else {
            reply.expect_problem(401, "unauthenticated");
            checked += 1;
        }
    }
    assert!(checked > 0 && sent_away > 0, "{checked} {sent_away}");
    assert_eq!(app.stock("A").await, (50, 30, 20, 0));
    let login = json!({ "username": "jay", "password": "strongpassword" });
    let app = &app;
    app.until("there is room again", || {
        let login = login.clone();
        async move { send(app, "/api/auth/login", login).await.status == 200 }
    })
    .await;
}
