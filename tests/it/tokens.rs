//! Who may do what: the roles against every route of the core, and tokens that nobody should believe.

use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::app::{JWT_SECRET, Reply, TestApp};

/// URL-safe base64 without padding.
fn base64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn now_s() -> i64 {
    holdfast::kernel::Clock::System.now().as_second()
}

/// The claims of a good token, but for these.
fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": "holdfast", "aud": "holdfast", "sub": "alice", "role": "customer", "jti": "one",
        "iat": now_s(), "exp": now_s() + 900 });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// Rightly signed, whatever it says.
fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn with(changes: Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(changes))
}

fn headed(changes: Value) -> String {
    let mut header = json!({ "alg": "HS256", "typ": "JWT" });
    header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    signed(&header, &claims(json!({})))
}

fn signed_with(algorithm: Algorithm, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), &claims(json!({})), &key).unwrap()
}

fn unbelievable() -> Vec<(&'static str, String)> {
    let good = with(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let unsigned = |alg: &str| format!("{}.{body}.", base64(json!({ "alg": alg }).to_string()));
    let raised = base64(claims(json!({ "role": "admin" })).to_string());
    vec![
        ("unsigned: none", unsigned("none")),
        ("unsigned: None", unsigned("None")),
        ("unsigned: NONE", unsigned("NONE")),
        ("unsigned: nothing", unsigned("")),
        ("none, with a signature", format!("{}{signature}", unsigned("none"))),
        ("signature stripped", format!("{message}.")),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("signature cut", good[..good.len() - 4].to_owned()),
        ("role raised", format!("{head}.{raised}.{signature}")),
        ("another secret", signed_with(Algorithm::HS256, "another secret that is also quite long")),
        ("no secret", signed_with(Algorithm::HS256, "")),
        ("HS384", signed_with(Algorithm::HS384, JWT_SECRET)),
        ("HS512", signed_with(Algorithm::HS512, JWT_SECRET)),
        ("called RS256", headed(json!({ "alg": "RS256" }))),
        ("called ES256", headed(json!({ "alg": "ES256" }))),
        ("called EdDSA", headed(json!({ "alg": "EdDSA" }))),
        ("unknown kid", headed(json!({ "kid": "other" }))),
        ("kid as path", headed(json!({ "kid": "../../../../dev/null" }))),
        ("kid as SQL", headed(json!({ "kid": "x' or '1'='1" }))),
        ("kid with NUL", headed(json!({ "kid": "a\u{0}b" }))),
        ("kid as number", headed(json!({ "kid": 7 }))),
        ("jku", headed(json!({ "jku": "https://evil.example/jwks.json" }))),
        ("jwk", headed(json!({ "jwk": { "kty": "oct", "k": "AAAA" } }))),
        ("x5u", headed(json!({ "x5u": "https://evil.example/cert" }))),
        ("crit", headed(json!({ "crit": ["exp"] }))),
        ("another type", headed(json!({ "typ": "refresh+jwt" }))),
        ("expired", with(json!({ "iat": now_s() - 900, "exp": now_s() - 61 }))),
        ("expired long ago", with(json!({ "iat": 1, "exp": 2 }))),
        ("exp as text", with(json!({ "exp": (now_s() + 900).to_string() }))),
        ("exp as fraction", with(json!({ "exp": now_s() as f64 + 900.5 }))),
        ("exp beyond time", with(json!({ "exp": 1e30 }))),
        ("no exp", with(json!({ "exp": null }))),
        ("no iat", with(json!({ "iat": null }))),
        ("no sub", with(json!({ "sub": null }))),
        ("no iss", with(json!({ "iss": null }))),
        ("no aud", with(json!({ "aud": null }))),
        ("no jti", with(json!({ "jti": null }))),
        ("no role", with(json!({ "role": null }))),
        ("another iss", with(json!({ "iss": "holdfast/" }))),
        ("another aud", with(json!({ "aud": "holdfast2" }))),
        ("aud as list", with(json!({ "aud": ["holdfast"] }))),
        ("unknown role", with(json!({ "role": "root" }))),
        ("role as list", with(json!({ "role": ["admin"] }))),
        ("role in capitals", with(json!({ "role": "Admin" }))),
        ("empty sub", with(json!({ "sub": "" }))),
        ("sub with blank", with(json!({ "sub": "al ice" }))),
        ("sub with NUL", with(json!({ "sub": "alice\u{0}" }))),
        ("sub in Cyrillic", with(json!({ "sub": "\u{430}lice" }))),
        ("long sub", with(json!({ "sub": "x".repeat(129) }))),
        ("from the future", with(json!({ "iat": now_s() + 600, "exp": now_s() + 900 }))),
        ("not valid yet", with(json!({ "nbf": now_s() + 600 }))),
        ("lives too long", with(json!({ "exp": now_s() + 86_401 + 60 }))),
        ("a refresh token", with(json!({ "use": "refresh" }))),
        ("long", with(json!({ "jti": "x".repeat(16_000) }))),
        ("garbage", "x.y.z".to_owned()),
        ("nothing", String::new()),
        ("padded", format!("{good}=")),
        ("blank in front", format!(" {good}")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_that_is_not_good_gets_the_same_answer() {
    let app = TestApp::start().await;
    let ask = |authorization: Option<String>| {
        let request = app.request(Method::GET, "/api/users/alice/reservations");
        let request = request.header("X-Request-Id", "same");
        app.send(match authorization {
            Some(text) => request.header(AUTHORIZATION, text),
            None => request,
        })
    };
    ask(Some(format!("Bearer {}", with(json!({}))))).await.expect(200);
    ask(Some(format!("bearer {}", with(json!({ "jti": "two" }))))).await.expect(200);

    let nobody = ask(None).await;
    assert_eq!(nobody.headers["www-authenticate"], "Bearer");
    let nobody = nobody.expect_problem(401, "unauthenticated");
    for (name, token) in unbelievable() {
        let reply = ask(Some(format!("Bearer {token}"))).await;
        assert_eq!(reply.status, 401, "{name}");
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        assert_eq!(reply.expect_problem(401, "unauthenticated"), nobody, "{name}");
    }
    let good = with(json!({}));
    for text in [
        good.clone(),
        format!("Basic {good}"),
        format!("Bearer{good}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        assert_eq!(ask(Some(text)).await.expect_problem(401, "unauthenticated"), nobody);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_from_one_header_only() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let token = app.customer("alice");
    for path in ["access_token", "token", "authorization", "jwt"] {
        let path = format!("/api/users/alice/reservations?{path}={token}");
        app.anonymous(Method::GET, &path).await.expect_problem(401, "unauthenticated");
    }
    let two = app.request(Method::GET, "/api/users/alice/reservations");
    let two = two.header(AUTHORIZATION, format!("Bearer {token}"));
    let two = two.header(AUTHORIZATION, format!("Bearer {}", app.admin()));
    app.send(two).await.expect_problem(401, "unauthenticated");
    let cookie =
        app.request(Method::POST, "/api/reserve").header("Cookie", format!("token={token}"));
    let cookie = cookie.json(&json!({ "sku": "A", "token": token }));
    app.send(cookie).await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_good_is_refused_where_none_is_needed() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let path = format!("/api/products/{product}");
    app.anonymous(Method::GET, &path).await.expect(200);
    app.get(&path, &with(json!({ "exp": now_s() - 61 })))
        .await
        .expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signed_with_the_secret_before_is_believed_while_it_is_replaced() {
    let old = "Zy8Xw2Vu6Ts0Rq4Po1Nm5Lk9Ji3Hg7Fe2Dc6Ba0zYxWvUtSr";
    let path = "/api/users/alice/reservations";
    let token = signed_with(Algorithm::HS256, old);
    let app = TestApp::start_with(&[("HOLDFAST__AUTH__PREVIOUS_JWT_SECRET", old)]).await;
    app.get(path, &token).await.expect(200);
    app.get(path, &app.customer("alice")).await.expect(200);
    let after = app.replica(&[("HOLDFAST__AUTH__PREVIOUS_JWT_SECRET", "")]).await;
    after.get(path, &token).await.expect_problem(401, "unauthenticated");
}

/// One route, and what it answers to: nobody, alice, bob, the merchant maker, service, admin.
type Row = (Method, &'static str, Value, [u16; 6]);

fn rows() -> Vec<Row> {
    let id = || json!({ "reservation_id": "{id}" });
    vec![
        (Method::POST, "/api/reserve", json!({ "sku": "A" }), [401, 200, 201, 201, 422, 422]),
        (
            Method::POST,
            "/api/reserve",
            json!({ "sku": "A", "user_id": "alice" }),
            [401, 200, 403, 403, 200, 200],
        ),
        (Method::GET, "/api/reservations/{id}", Value::Null, [401, 200, 404, 404, 200, 200]),
        (
            Method::POST,
            "/api/reservations/{id}/extend",
            json!({ "seconds": 1 }),
            [401, 200, 404, 404, 200, 200],
        ),
        (Method::DELETE, "/api/reservations/{id}", Value::Null, [401, 200, 404, 404, 200, 200]),
        (
            Method::DELETE,
            "/api/reserve/alice/{product}",
            Value::Null,
            [401, 200, 403, 403, 200, 200],
        ),
        (Method::GET, "/api/users/alice/reservations", Value::Null, [401, 200, 403, 403, 200, 200]),
        (Method::POST, "/api/checkout/cancel", id(), [401, 200, 404, 404, 200, 200]),
        (Method::POST, "/api/checkout", id(), [401, 201, 404, 404, 201, 201]),
        (
            Method::POST,
            "/api/checkout",
            json!({ "reservation_id": "{id}", "user_id": "alice" }),
            [401, 201, 403, 403, 201, 201],
        ),
        (
            Method::POST,
            "/api/checkout",
            json!({ "product_id": 2, "quantity": 1 }),
            [401, 404, 404, 404, 422, 422],
        ),
        (
            Method::POST,
            "/api/checkout",
            json!({ "user_id": "alice", "product_id": 1, "quantity": 1 }),
            [401, 201, 403, 403, 201, 201],
        ),
        (Method::GET, "/api/orders/{order}", Value::Null, [401, 200, 404, 404, 200, 200]),
        (
            Method::POST,
            "/api/products",
            json!({ "name": "C", "total_stock": 1 }),
            [401, 403, 403, 201, 403, 201],
        ),
        (Method::GET, "/api/products/{product}", Value::Null, [200; 6]),
        (Method::GET, "/api/products/{product}/status", Value::Null, [200; 6]),
        (Method::GET, "/api/inventory/A", Value::Null, [200; 6]),
        (Method::GET, "/problems/not_found", Value::Null, [200; 6]),
        (Method::GET, "/healthz", Value::Null, [200; 6]),
        (Method::GET, "/readyz", Value::Null, [200; 6]),
    ]
}

/// What goes with a status in the table above.
#[track_caller]
fn check(reply: Reply, status: u16, cell: &str) {
    assert_eq!(reply.status.as_u16(), status, "{cell}: {reply:#?}");
    match status {
        401 => drop(reply.expect_problem(401, "unauthenticated")),
        403 if cell.contains("products") => drop(reply.expect_problem(403, "forbidden")),
        403 => drop(reply.expect_problem(403, "not_yours")),
        404 => drop(reply.expect_problem(404, "not_found")),
        422 => {
            assert_eq!(reply.expect_problem(422, "invalid_field")["errors"][0]["field"], "user_id")
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_it_may_and_nothing_else() {
    let app = TestApp::start_with(&[("HOLDFAST__RESERVATION__CHURN_BURST", "0")]).await;
    let product = app.product("A", 1_000, json!({})).await;
    let never_held = app.product("B", 1_000, json!({})).await;
    assert_eq!((product, never_held), (1, 2), "the table names them");
    let id = app.held("alice", "A", 1).await;
    let order = app.checkout("alice", &id).await.expect(201)["id"].as_str().unwrap().to_owned();
    let expired = with(json!({ "iat": now_s() - 900, "exp": now_s() - 61 }));
    let callers = [
        None,
        Some(app.customer("alice")),
        Some(app.customer("bob")),
        Some(app.merchant("maker")),
        Some(app.service()),
        Some(app.admin()),
    ];
    for (method, path, body, expected) in rows() {
        if expected[0] == 401 {
            // Who is calling is asked before anything else is.
            let reply = app.send(app.request(method.clone(), path).bearer_auth(&expired)).await;
            check(reply, 401, path);
        }
        for (caller, status) in callers.iter().zip(expected) {
            // bob and maker hold nothing of their own when they ask.
            for user in ["bob", "maker"] {
                app.delete(&format!("/api/reserve/{user}/{product}"), &app.service()).await;
            }
            let id = app.held("alice", "A", 1).await;
            let filled = |text: &str| {
                let text = text.replace("{id}", &id).replace("{order}", &order);
                text.replace("{product}", &product.to_string())
            };
            let body: Value = serde_json::from_str(&filled(&body.to_string())).unwrap();
            let request = app.request(method.clone(), &filled(path)).json(&body);
            let request = match caller {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            check(app.send(request).await, status, &format!("{method} {path} {body}"));
        }
    }
}
