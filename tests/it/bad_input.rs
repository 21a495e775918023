//! What bad input gets: for each way to get a request wrong, its own problem, nothing changed, and nothing told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Reply, SOON, TestApp, hasty};
use crate::faults_postgres::waiting_for_locks;

/// A body as it is, with this content type.
async fn raw(
    app: &TestApp,
    path: &str,
    content_type: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> Reply {
    let request = app.request(Method::POST, path).bearer_auth(app.customer("alice")).body(body);
    let request = match content_type {
        Some(content_type) => request.header("Content-Type", content_type),
        None => request,
    };
    app.send(request).await
}

const JSON: Option<&str> = Some("application/json");

async fn reserve(app: &TestApp, body: Value) -> Reply {
    app.post("/api/reserve", &app.customer("alice"), body).await
}

/// Refused for this field.
#[track_caller]
fn refused_for(reply: Reply, field: &str) {
    let shown = format!("{reply:#?}");
    let refused = reply.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], field, "{shown}");
    assert_eq!(refused["errors"][0]["code"], "invalid_field");
    assert!(!refused["errors"][0]["message"].as_str().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_is_a_whole_number_from_one_to_a_million() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    let odd = [
        json!(0),
        json!(-1),
        json!(1_000_001),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e30),
        json!(1.5),
        json!(1.0),
        json!("1"),
        json!(true),
        json!([1]),
        json!({}),
    ];
    for quantity in odd {
        refused_for(reserve(&app, json!({ "sku": "A", "quantity": quantity })).await, "quantity");
        let items = json!({ "items": [{ "sku": "A" }, { "sku": "A", "quantity": quantity }] });
        refused_for(reserve(&app, items).await, "items[1].quantity");
        let checkout = json!({ "product_id": product, "quantity": quantity });
        refused_for(app.post("/api/checkout", &app.customer("alice"), checkout).await, "quantity");
    }
    reserve(&app, json!({ "sku": "A", "quantity": 1_000_000 }))
        .await
        .expect_problem(409, "insufficient_stock");
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_wrong_type_or_form_is_named() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    for (field, value) in [
        ("sku", json!(7)),
        ("sku", json!("")),
        ("sku", json!("A B")),
        ("sku", json!("A}")),
        ("sku", json!("A\u{0}")),
        ("sku", json!("\u{ff21}")),
        ("sku", json!("x".repeat(65))),
        ("product_id", json!("1")),
        ("product_id", json!(0)),
        ("product_id", json!(-7)),
        ("product_id", json!(281_474_976_710_656_i64)),
        ("product_id", json!(1e300)),
        ("user_id", json!(7)),
        ("user_id", json!("")),
        ("user_id", json!("a b")),
        ("user_id", json!("a/b")),
        ("user_id", json!("a\u{0}b")),
        ("user_id", json!("a\nb")),
        ("user_id", json!("\u{430}lice")),
        ("user_id", json!("x".repeat(129))),
        ("ttl_seconds", json!("60")),
        ("ttl_seconds", json!(0)),
        ("ttl_seconds", json!(-60)),
        ("ttl_seconds", json!(86_401)),
        ("ttl_seconds", json!(4_294_967_297_i64)),
        ("ttl_seconds", json!(0.5)),
        ("email", json!("nobody")),
        ("email", json!("a@b\r\nBcc: c@d")),
        ("email", json!("a b@c")),
        ("email", json!(7)),
        ("items", json!("A")),
        ("items", json!({})),
        ("items[0]", json!(["A"])),
        ("items[0].sku", json!([{ "sku": "A\u{0}" }])),
        ("items[0].sku", json!([{ "sku": ["A"] }])),
    ] {
        let name = field.split(['[', '.']).next().unwrap();
        let mut body = match name {
            "sku" | "product_id" | "items" => json!({}),
            _ => json!({ "sku": "A" }),
        };
        body[name] = value;
        refused_for(reserve(&app, body).await, field);
    }
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_named_once_and_in_one_way() {
    let app = TestApp::start().await;
    let product = app.product("A", 5, json!({})).await;
    for (body, field) in [
        (json!({}), "sku"),
        (json!({ "sku": null }), "sku"),
        (json!({ "sku": "A", "product_id": product }), "sku"),
        (json!({ "sku": "A", "items": [{ "sku": "A" }] }), "items"),
        (json!({ "quantity": 2, "items": [{ "sku": "A" }] }), "items"),
        (json!({ "items": [{}] }), "items[0]"),
        (json!({ "items": [{ "sku": "A" }, { "sku": "A", "product_id": product }] }), "items[1]"),
        (json!([{ "sku": "A" }]), "sku"),
        (json!("A"), "body"),
        (Value::Null, "body"),
    ] {
        let reply = reserve(&app, body.clone()).await;
        assert_eq!(reply.status, 422, "{body}: {reply:#?}");
        if !body.is_array() {
            refused_for(reply, field);
        }
    }
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_to_twenty_lines_make_a_reservation() {
    let app = TestApp::start().await;
    app.product("A", 50, json!({})).await;
    refused_for(reserve(&app, json!({ "items": [] })).await, "items");
    let lines = |count: usize| json!({ "items": vec![json!({ "sku": "A" }); count] });
    refused_for(reserve(&app, lines(21)).await, "items");
    refused_for(reserve(&app, lines(1_000)).await, "items");
    assert_eq!(app.stock("A").await, (50, 50, 0, 0));
    assert_eq!(reserve(&app, lines(20)).await.expect(201)["quantity"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_nobody_knows_is_refused() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let extend = format!("/api/reservations/{id}/extend");
    for (path, body, field) in [
        ("/api/reserve", json!({ "sku": "A", "quantitiy": 2 }), "quantitiy"),
        ("/api/reserve", json!({ "sku": "A", "Quantity": 2 }), "Quantity"),
        ("/api/reserve", json!({ "items": [{ "sku": "A", "price": 0 }] }), "items[0].price"),
        ("/api/checkout", json!({ "reservation_id": id, "price": "0" }), "price"),
        ("/api/checkout/cancel", json!({ "reservation_id": id, "role": "admin" }), "role"),
        (&extend, json!({ "seconds": 1, "times": 9 }), "times"),
    ] {
        refused_for(app.post(path, &app.customer("alice"), body).await, field);
    }
    let product = json!({ "name": "B", "total_stock": 1, "owner_id": "me" });
    refused_for(app.post("/api/products", &app.admin(), product).await, "owner_id");
    for (path, body, field) in [
        ("/api/checkout/cancel", json!({}), "reservation_id"),
        (&extend, json!({}), "seconds"),
        ("/api/checkout", json!(7), "body"),
    ] {
        refused_for(app.post(path, &app.customer("alice"), body).await, field);
    }
    let twice = raw(&app, "/api/reserve", JSON, r#"{"sku":"A","quantity":1,"quantity":2}"#).await;
    twice.expect_problem(422, "invalid_field");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_json_is_malformed() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let deep = format!("{{\"sku\":\"A\",\"total\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!(
        "{{\"reservation_id\":null,\"total_amount\":{}1{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    for body in [
        &b""[..],
        b" ",
        b"sku=A&quantity=1",
        b"{\"sku\":\"A\"",
        b"{\"sku\":\"A\"}}",
        b"{\"sku\":\"A\"} {\"sku\":\"A\"}",
        b"{\"sku\":\"A\",}",
        b"{'sku':'A'}",
        b"{\"sku\":\"A\",\"quantity\":01}",
        b"{\"sku\":\"A\",\"quantity\":NaN}",
        b"{\"sku\":\"A\",\"quantity\":+1}",
        b"{\"sku\":\"\xff\"}",
        b"{\"sku\":\"\\ud800\"}",
        b"{\"sku\":\"A\n\"}",
        b"\x00",
        b"\xef\xbb\xbf{\"sku\":\"A\"}",
        b"<sku>A</sku>",
        // What is wrong first need not be the worst.
        b"{\"quantity\":\"x\"",
        b"{\"foo\":1 \"b\"}",
        b"[1",
    ] {
        let shown = String::from_utf8_lossy(body).into_owned();
        let reply = raw(&app, "/api/reserve", JSON, body.to_vec()).await;
        assert_eq!(reply.status, 400, "{shown}: {reply:#?}");
        reply.expect_problem(400, "malformed_json");
    }
    // However deep it goes, it is an answer and not the end of a worker.
    assert_eq!(raw(&app, "/api/reserve", JSON, deep).await.status, 422);
    raw(&app, "/api/checkout", JSON, nested).await.expect_problem(422, "invalid_field");
    let huge = br#"{"sku":"A","quantity":1e400}"#.to_vec();
    raw(&app, "/api/reserve", JSON, huge).await.expect_problem(422, "invalid_field");
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_sent_as_json() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let body = r#"{"sku":"A"}"#;
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/json"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonp"),
        Some("application/merge-patch+json"),
        Some("application/xml; a=application/json"),
    ] {
        let reply = raw(&app, "/api/reserve", content_type, body).await;
        reply.expect_problem(415, "unsupported_media_type");
    }
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let reply = raw(&app, "/api/reserve", Some(content_type), body).await;
        assert!(reply.status.is_success(), "{reply:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_at_most_64_kib() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let padded = |length: usize| format!("{{\"sku\":\"A\"}}{}", " ".repeat(length - 11));
    for key in [None, Some("one")] {
        let send = async |body: reqwest::Body| {
            let request =
                app.request(Method::POST, "/api/reserve").bearer_auth(app.customer("alice"));
            let request = request.header("Content-Type", "application/json").body(body);
            app.send(match key {
                Some(key) => request.header("Idempotency-Key", key),
                None => request,
            })
            .await
        };
        send(padded(65_537).into()).await.expect_problem(413, "body_too_large");
        assert_eq!(app.stock("A").await, (5, 5, 0, 0));
    }
    assert_eq!(raw(&app, "/api/reserve", JSON, padded(65_536)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_id_is_an_unknown_one() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let good = app.held("alice", "A", 1).await;
    let token = app.customer("alice");
    let same = |method: Method, path: String| {
        let request = app.request(method, &path).bearer_auth(&token);
        app.send(request.header("X-Request-Id", "same").json(&json!({ "seconds": 1 })))
    };
    let nowhere = "00000000-0001-8000-8000-000000000000";
    let unknown = same(Method::GET, format!("/api/reservations/{nowhere}")).await;
    let unknown = unknown.expect_problem(404, "not_found");
    for id in [
        nowhere,
        "00000000-0000-8000-8000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "x",
        "1",
        &good.replace('-', ""),
        &format!("{{{good}}}"),
        &format!("{good}0"),
        &format!("{good}%00"),
        "%00",
        "%FF",
        "..%2F..%2Fetc",
        "'%20or%201=1--",
        &"x".repeat(2_000),
    ] {
        for (method, path) in [
            (Method::GET, format!("/api/reservations/{id}")),
            (Method::DELETE, format!("/api/reservations/{id}")),
            (Method::POST, format!("/api/reservations/{id}/extend")),
            (Method::GET, format!("/api/orders/{id}")),
        ] {
            let reply = same(method, path.clone()).await;
            assert_eq!(reply.expect_problem(404, "not_found"), unknown, "{path}");
        }
    }
    for path in [
        "/api/reserve/alice/x",
        "/api/reserve/alice/0",
        "/api/reserve/%00/1",
        "/api/reserve/a%20b/1",
    ] {
        same(Method::DELETE, path.to_owned()).await.expect_problem(404, "not_found");
    }
    same(Method::GET, "/api/users/a%20b/reservations".to_owned())
        .await
        .expect_problem(404, "not_found");
    assert_eq!(app.stock("A").await, (5, 4, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_looks_like_what_is_not_there() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    let held = app.held("alice", "A", 1).await;
    let sold = app.held("carol", "A", 1).await;
    let order = app.checkout("carol", &sold).await.expect(201)["id"].as_str().unwrap().to_owned();
    let other = if held.ends_with('0') { '1' } else { '0' };
    let unknown = format!("{}{other}", &held[..35]);
    let bob = app.customer("bob");
    let ask = |method: &Method, path: &str, body: &Value| {
        let request = app.request(method.clone(), path).bearer_auth(&bob).json(body);
        app.send(request.header("X-Request-Id", "same"))
    };
    for id in [&held, &sold] {
        for (method, path, body) in [
            (Method::GET, "/api/reservations/{id}", Value::Null),
            (Method::DELETE, "/api/reservations/{id}", Value::Null),
            (Method::POST, "/api/reservations/{id}/extend", json!({ "seconds": 1 })),
            (Method::POST, "/api/checkout/cancel", json!({ "reservation_id": "{id}" })),
            (Method::POST, "/api/checkout", json!({ "reservation_id": "{id}" })),
        ] {
            let with = |id: &str| {
                let body = body.to_string().replace("{id}", id);
                (path.replace("{id}", id), serde_json::from_str::<Value>(&body).unwrap())
            };
            let (theirs, nobodys) = (with(id), with(&unknown));
            let theirs = ask(&method, &theirs.0, &theirs.1).await.expect_problem(404, "not_found");
            let nobodys =
                ask(&method, &nobodys.0, &nobodys.1).await.expect_problem(404, "not_found");
            assert_eq!(theirs, nobodys, "{method} {path}");
        }
    }
    let theirs = ask(&Method::GET, &format!("/api/orders/{order}"), &Value::Null).await;
    let nobodys = ask(&Method::GET, &format!("/api/orders/{unknown}"), &Value::Null).await;
    assert_eq!(theirs.expect_problem(404, "not_found"), nobodys.expect_problem(404, "not_found"));
    assert_eq!(app.stock("A").await, (9, 7, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_such_route_and_no_such_method() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/api",
        "/api/nothing",
        "/reserve/a/b/c",
        "/api/api/reserve",
        "/api/admin/nothing",
        "/settings",
        "/metrics",
        "/.env",
    ] {
        app.get(path, &app.admin()).await.expect_problem(404, "not_found");
    }
    for (method, path, allowed) in [
        (Method::GET, "/api/reserve", "POST"),
        (Method::PUT, "/inventory/reserve/", "POST"),
        (Method::OPTIONS, "/api/login", "POST"),
        (Method::PUT, "/checkout/confirm", "POST"),
        (Method::PATCH, "/api/reservations/x", "GET"),
        (Method::DELETE, "/api/checkout", "POST"),
        (Method::POST, "/api/orders/x", "GET"),
        (Method::POST, "/api/products/1", "GET"),
        (Method::POST, "/api/inventory/A", "GET"),
        (Method::GET, "/api/reserve/alice/1", "DELETE"),
    ] {
        let reply = app.send(app.request(method.clone(), path).bearer_auth(app.admin())).await;
        let allow = reply.headers.get("allow").map(|value| value.to_str().unwrap().to_owned());
        assert!(
            allow.as_deref().is_some_and(|allow| allow.contains(allowed)),
            "{method} {path}: {allow:?}"
        );
        reply.expect_problem(405, "method_not_allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_ours_tells_nothing_of_the_inside() {
    let app = TestApp::start().await.unchecked();
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let postgres = app.stores.postgres().await;
    postgres.batch_execute("alter table orders rename to orders_of_old").await.unwrap();
    let reply = app.checkout("alice", &id).await;
    let text = reply.body.to_string().to_lowercase();
    reply.expect_problem(500, "internal_error");
    for word in [
        "orders",
        "select",
        "relation",
        "sql",
        "postgres",
        "confirm",
        "redis",
        ".rs",
        &app.stores.prefix,
    ] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_too_slow_is_unavailable_for_now() {
    let app = TestApp::start_with(&hasty(&[SOON])).await.unchecked();
    app.product("A", 5, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let locks = app.stores.postgres().await;
    locks.batch_execute("begin; select from sku_stock for update").await.unwrap();
    let reply = app.checkout("alice", &id).await;
    assert_eq!(reply.headers["retry-after"], "1");
    let text = reply.body.to_string().to_lowercase();
    assert_eq!(reply.expect_problem(503, "store_unavailable")["outcome"], "unknown");
    for word in ["sku_stock", "lock", "postgres", "confirm"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    // Sending it again is safe: once the lock is gone, the answer is an order, or that recovery gave the units back.
    locks.batch_execute("rollback").await.unwrap();
    let (service, id) = (&app, &id);
    app.until("it is decided", || async move {
        [200, 201, 410].contains(&service.checkout("alice", id).await.status.as_u16())
    })
    .await;
    app.until("nothing is in doubt", || async { app.stock("A").await.2 == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_is_told_to_come_again() {
    let app = TestApp::start_with(&[
        ("HOLDFAST__DATABASE__POOL_SIZE", "1"),
        ("HOLDFAST__DATABASE__POOL_WAIT", "100ms"),
        // Whoever has the only connection keeps it for as long as this takes.
        ("HOLDFAST__SERVER__REQUEST_DEADLINE", "12s"),
        ("HOLDFAST__DATABASE__STATEMENT_TIMEOUT", "11s"),
        ("HOLDFAST__DATABASE__LOCK_TIMEOUT", "10s"),
        ("HOLDFAST__SWEEPER__PIN_GRACE", "60s"),
    ])
    .await
    .unchecked();
    app.product("A", 50, json!({})).await;
    let id = app.held("alice", "A", 1).await;
    let locks = app.stores.postgres().await;
    locks.batch_execute("begin; select from sku_stock for update").await.unwrap();
    let look = async {
        waiting_for_locks(&app.stores, 1).await;
        let order = "/api/orders/01890000-0000-7000-8000-000000000000";
        let reply = app.get(order, &app.service()).await;
        locks.batch_execute("rollback").await.unwrap();
        reply
    };
    let (busy, reply) = futures_util::join!(app.checkout("alice", &id), look);
    busy.expect(201);
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(reply.expect_problem(503, "overloaded")["outcome"], "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_no_object() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let token = app.customer("alice");
    for body in
        [json!(["A", null, 1, null, null, null, null]), json!({ "items": [["A", null, 1]] })]
    {
        let problem =
            app.post("/api/reserve", &token, body).await.expect_problem(422, "invalid_field");
        assert!(problem["detail"].as_str().unwrap().contains("expected an object"), "{problem}");
    }
    assert_eq!(app.stock("A").await, (5, 5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_in_the_middle_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = TestApp::start().await;
    let mut stream = tokio::net::TcpStream::connect(app.app().address).await.unwrap();
    let token = app.customer("alice");
    let head = format!(
        "POST /api/reserve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 40\r\n\r\n{{\"sku"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read(&mut answer));
    let length = read.await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    Reply::parse(&answer).expect_problem(408, "request_timeout");
}
