//! What every answer carries, whatever it answers: request ids, safety headers, probes, metrics, compression.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use holdfast::platform::metrics as names;
use reqwest::Method;
use serde_json::json;

use crate::app::{Reply, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_sane_request_id_comes_back_and_another_is_replaced() {
    let app = TestApp::start().await;
    let ask = |id: Option<&[u8]>, path: &str| {
        let request = app.request(Method::GET, path);
        app.send(match id {
            Some(id) => request.header("X-Request-Id", id),
            None => request,
        })
    };
    let given = |reply: &Reply| reply.headers["x-request-id"].to_str().unwrap().to_owned();
    for path in ["/healthz", "/api/orders/x", "/nowhere"] {
        for sane in ["a", "req-1_2.3", &"x".repeat(64)] {
            assert_eq!(given(&ask(Some(sane.as_bytes()), path).await), sane, "{path}");
        }
        for odd in
            [&b""[..], b"a b", b"a\"b", b"<script>", "\u{e4}".as_bytes(), &[b'x'; 65], b"a,b"]
        {
            let id = given(&ask(Some(odd), path).await);
            assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
        assert_ne!(given(&ask(None, path).await), given(&ask(None, path).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_safety_headers() {
    let app = TestApp::start().await;
    app.product("A", 5, json!({})).await;
    let token = app.customer("alice");
    for reply in [
        app.reserve("alice", "A", 1).await,
        app.reserve("alice", "A", 99).await,
        app.anonymous(Method::GET, "/api/inventory/A").await,
        app.anonymous(Method::POST, "/api/reserve").await,
        app.get("/nowhere", &token).await,
        app.get("/api/reserve", &token).await,
        app.anonymous(Method::GET, "/healthz").await,
        app.anonymous(Method::GET, "/problems/not_found").await,
        app.send(
            app.request(Method::POST, "/api/reserve")
                .bearer_auth(&token)
                .header("Idempotency-Key", ""),
        )
        .await,
    ] {
        let shown = format!("{reply:#?}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("origin-agent-cluster", "?1"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-dns-prefetch-control", "off"),
            ("x-download-options", "noopen"),
            ("x-permitted-cross-domain-policies", "none"),
            ("x-xss-protection", "0"),
        ] {
            assert_eq!(
                reply.headers.get(name).map(|got| got.to_str().unwrap()),
                Some(value),
                "{name}: {shown}"
            );
        }
        let cached = reply.headers["cache-control"].to_str().unwrap();
        let of_all = reply.body.get("available_stock").is_some();
        assert_eq!(cached == "no-store", !of_all, "{shown}");
        assert!(reply.headers.contains_key("x-request-id"), "{shown}");
        assert!(!reply.headers.contains_key("server"), "{shown}");
    }
}

fn management(app: &TestApp, path: &str) -> reqwest::RequestBuilder {
    reqwest::Client::new().get(format!("http://{}{path}", app.app().management_address))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_answer_on_both_ports_and_name_each_part() {
    let app = TestApp::start().await;
    for request in [
        app.request(Method::GET, "/readyz"),
        app.request(Method::GET, "/api/readyz/"),
        management(&app, "/readyz"),
    ] {
        let ready = app.send(request).await.expect(200);
        assert_eq!(ready["status"], "ready");
        for part in ["postgres", "redis", "migrations", "listener", "sweeper"] {
            assert_eq!(ready["parts"][part]["ready"], true, "{part}: {ready:#}");
        }
    }
    for request in [app.request(Method::GET, "/healthz"), management(&app, "/healthz")] {
        let health = app.send(request).await.expect(200);
        assert_eq!(health, json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_operators_and_have_their_names() {
    let app = TestApp::start().await;
    app.product("SECRETSKU", 1, json!({})).await;
    let id = app.held("secretbuyer", "SECRETSKU", 1).await;
    app.reserve("bob", "SECRETSKU", 1).await.expect_problem(409, "insufficient_stock");
    app.checkout("secretbuyer", &id).await.expect(201);
    app.anonymous(Method::GET, "/metrics").await.expect_problem(404, "not_found");

    let text = async || {
        let reply = app.send(management(&app, "/metrics")).await;
        assert!(reply.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        reply.expect(200).as_str().unwrap().to_owned()
    };
    let shows = |text: &str, line: &str| text.lines().any(|found| found.starts_with(line));
    let expected = [
        format!("{}{{kind=\"single\"}}", names::HOLDS),
        format!("{}{{code=\"insufficient_stock\"}}", names::REFUSALS),
        format!("{}{{end=\"confirmed\"}}", names::ENDS),
        format!("{}_bucket{{script=\"reserve\",le=", names::SCRIPT_SECONDS),
        format!("{}_bucket{{batch=\"reserve\",le=", names::BATCH_ITEMS),
        format!("{}_bucket{{batch=\"confirm\",le=\"64\"", names::BATCH_ITEMS),
        format!("{}_bucket{{batch=\"pin\",le=\"512\"", names::QUEUE_ITEMS),
        format!("{}_count", names::REBUILD_SECONDS),
        format!("{} ", names::DRIFT_UNITS),
        format!("{} ", names::EPOCH_GAP),
        format!("{} ", names::NEGATIVE_AVAIL),
    ];
    let (text, expected) = (&text, &expected);
    app.until("all metrics have been there once", || async move {
        let text = text().await;
        expected.iter().all(|line| shows(&text, line))
    })
    .await;
    let text = text().await;
    for private in ["SECRETSKU", "secretbuyer", &id] {
        assert!(!text.contains(private), "no label carries a SKU or a buyer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_without_a_document() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = TestApp::start().await;
    let many = "X: a\r\n".repeat(200);
    for (request, status) in [
        ("GARBAGE\r\n\r\n".to_owned(), "400 Bad Request"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), "400 Bad Request"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431 Request Header Fields Too Large"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(app.app().address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // It ends, so the connection is closed.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n")),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_gzip_gets_the_same_answer() {
    let app = TestApp::start().await;
    for number in 0..20 {
        app.product(&format!("P{number}"), 5, json!({})).await;
        app.held("alice", &format!("P{number}"), 1).await;
    }
    let path = "/api/users/alice/reservations";
    let plain = app.get(path, &app.customer("alice")).await.expect(200);
    let request = app.request(Method::GET, path).bearer_auth(app.customer("alice"));
    let response = request.header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.unwrap();
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    input.write_all(&packed).unwrap();
    drop(input);
    let unpacked = gzip.wait_with_output().unwrap();
    assert!(unpacked.status.success());
    let mut unpacked: serde_json::Value = serde_json::from_slice(&unpacked.stdout).unwrap();
    for (item, other) in
        unpacked["items"].as_array_mut().unwrap().iter_mut().zip(plain["items"].as_array().unwrap())
    {
        // A second may have passed.
        item["expires_in"] = other["expires_in"].clone();
    }
    assert_eq!(unpacked, plain);

    // A refusal is never half packed.
    let refused = app.request(Method::GET, path).header("Accept-Encoding", "gzip");
    let refused = app.send(refused).await;
    assert!(!refused.headers.contains_key("content-encoding"));
    refused.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_has_a_page() {
    let app = TestApp::start().await;
    let mut seen = BTreeMap::new();
    for code in holdfast::platform::http::codes::CODES {
        let reply = app.anonymous(Method::GET, &format!("/problems/{}", code.code)).await;
        assert_eq!(reply.headers["content-type"], "text/html; charset=utf-8");
        let page = reply.expect(200).as_str().unwrap().to_owned();
        assert!(page.contains(code.code) && page.contains(&code.status.to_string()), "{page}");
        assert!(seen.insert(code.code, page).is_none(), "{} stands there twice", code.code);
    }
    app.anonymous(Method::GET, "/problems/nonsense").await.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_answers_to_get_answers_to_head() {
    let app = TestApp::start().await;
    let id = app.product("A", 5, json!({})).await;
    let product = format!("/api/products/{id}");
    for path in ["/healthz", "/api/readyz", "/inventory/A", "/api/products", &product] {
        let got = app.anonymous(Method::GET, path).await;
        let head = app.anonymous(Method::HEAD, path).await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.headers.get("content-type"), got.headers.get("content-type"), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
    assert_eq!(app.anonymous(Method::HEAD, "/api/inventory/NOPE").await.status, 404);
    // A stream has no end to wait for.
    assert_eq!(app.anonymous(Method::HEAD, "/api/inventory/A/events").await.status, 405);
}
