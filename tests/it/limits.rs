//! The edge against crowds and strangers: rate limits, addresses behind proxies, origins, hosts, event streams.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp, until};
use crate::process::{blocking, own_redis};

const FIVE: (&str, &str) = ("RATE_LIMIT_MAX_REQUESTS", "5");
const AN_HOUR: (&str, &str) = ("RATE_LIMIT_WINDOW_MS", "3600000");
const BEHIND_A_PROXY: (&str, &str) = ("HOLDFAST__SERVER__TRUSTED_PROXIES", "127.0.0.0/8");

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn cart(api: &Api, user: &str) -> Reply {
    api.get("/api/cart", &api.customer(user)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_counted_over_all_replicas_and_told_exactly_when_to_come_again() {
    let app = TestApp::start_with(&[FIVE, AN_HOUR]).await;
    let replica = app.replica(&[FIVE, AN_HOUR]).await;
    for (number, left) in [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)] {
        let reply = cart(if number % 2 == 0 { &app } else { &replica }, "alice").await;
        assert_eq!(header(&reply, "ratelimit-policy"), r#""customer";q=5;w=3600"#);
        let shown = header(&reply, "ratelimit");
        assert!(shown.starts_with(&format!(r#""customer";r={left};t="#)), "{shown}");
        reply.expect(200);
    }
    for api in [&*app, &replica] {
        let refused = cart(api, "alice").await;
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        // One more becomes due each 720 s.
        assert!((660..=720).contains(&wait), "{wait}");
        assert!(header(&refused, "ratelimit").starts_with(r#""customer";r=0;t="#));
        refused.expect_problem(429, "rate_limited");
    }
    // Counted for itself, by role and name.
    cart(&app, "bob").await.expect(200);
    app.get("/api/cart", &app.merchant("alice")).await.expect(200);
    for token in [app.service(), app.admin()] {
        for _ in 0..8 {
            let reply = app.get("/api/orders", &token).await;
            assert!(!reply.headers.contains_key("ratelimit"));
            reply.expect(200);
        }
    }
    for _ in 0..8 {
        app.anonymous(Method::GET, "/healthz").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_crowd_at_once_as_many_pass_as_may() {
    let app = TestApp::start_with(&[("RATE_LIMIT_MAX_REQUESTS", "20"), AN_HOUR]).await;
    let answers = join_all((0..60).map(|_| cart(&app, "alice"))).await;
    let passed = answers.iter().filter(|reply| reply.status == StatusCode::OK).count();
    assert_eq!(passed, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_is_no_limit() {
    let app = TestApp::start_with(&[("RATE_LIMIT_MAX_REQUESTS", "0")]).await;
    for _ in 0..30 {
        let reply = cart(&app, "alice").await;
        assert!(!reply.headers.contains_key("ratelimit"));
        reply.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_counted_by_the_address_that_our_proxies_name() {
    let anonymous = ("HOLDFAST__RATE_LIMIT__ANONYMOUS_PER_MINUTE", "3");
    let app = TestApp::start_with(&[anonymous, BEHIND_A_PROXY]).await;
    let from = |address: &str| {
        let request = app.request(Method::GET, "/api/products");
        app.send(request.header("X-Forwarded-For", address))
    };
    for _ in 0..3 {
        let reply = from("198.51.100.7").await;
        assert_eq!(header(&reply, "ratelimit-policy"), r#""anonymous";q=3;w=60"#);
        reply.expect(200);
    }
    from("198.51.100.7").await.expect_problem(429, "rate_limited");
    // What the client itself put in front changes nothing.
    from("9.9.9.9, 198.51.100.7").await.expect_problem(429, "rate_limited");
    from("198.51.100.8").await.expect(200);
    // A token that is not good counts as none.
    let bad = || {
        let request = app.request(Method::GET, "/api/cart").bearer_auth("none");
        app.send(request.header("X-Forwarded-For", "198.51.100.9"))
    };
    for _ in 0..3 {
        bad().await.expect_problem(401, "unauthenticated");
    }
    bad().await.expect_problem(429, "rate_limited");

    let direct = TestApp::start_with(&[anonymous]).await;
    for number in 0..4 {
        let request = direct.request(Method::GET, "/api/products");
        let reply = direct.send(request.header("X-Forwarded-For", format!("1.2.3.{number}"))).await;
        assert_eq!(reply.status == 429, number == 3, "nobody's word is taken: {reply:#?}");
    }
}

async fn sign_in(app: &TestApp, from: &str, name: &str, password: &str) -> Reply {
    let request = app.request(Method::POST, "/api/auth/login").header("X-Forwarded-For", from);
    app.send(request.json(&json!({ "username": name, "password": password }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_is_slowed_by_address_and_account_and_locks_nobody_out() {
    let limits = [
        BEHIND_A_PROXY,
        ("HOLDFAST__RATE_LIMIT__LOGIN_PER_MINUTE", "3"),
        ("HOLDFAST__RATE_LIMIT__ACCOUNT_PER_MINUTE", "60"),
    ];
    let app = TestApp::start_with(&limits).await;
    let body =
        json!({ "username": "jay", "email": "jay@example.org", "password": "strongpassword" });
    app.send(app.request(Method::POST, "/api/auth/register").json(&body)).await.expect(201);
    for name in ["jay", "JAY", "Jay"] {
        sign_in(&app, "192.0.2.1", name, "wrong").await.expect_problem(401, "unauthenticated");
    }
    let refused = sign_in(&app, "192.0.2.1", "jay", "strongpassword").await;
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let refused = refused.expect_problem(429, "rate_limited");
    // An unknown name looks the same.
    for _ in 0..3 {
        sign_in(&app, "192.0.2.1", "nobody", "wrong").await.expect_problem(401, "unauthenticated");
    }
    let unknown = sign_in(&app, "192.0.2.1", "nobody", "wrong").await;
    assert_eq!(unknown.expect_problem(429, "rate_limited")["detail"], refused["detail"]);
    sign_in(&app, "192.0.2.2", "jay", "strongpassword").await.expect(200);

    // From many addresses together: sixty at once, one a second from then on. On a slow machine the process counts some
    // for itself.
    let guesses = (0..130).map(|number| {
        let (app, from) = (&app, format!("203.0.113.{number}"));
        async move { sign_in(app, &from, "jay", "wrong").await }
    });
    let guesses = join_all(guesses).await;
    let slowed: Vec<_> = guesses.iter().filter(|reply| reply.status == 429).collect();
    assert!(!slowed.is_empty());
    for reply in slowed {
        let wait: u64 = header(reply, "retry-after").parse().unwrap();
        assert!(wait <= 1, "{wait}");
    }
    until("the owner signs in all the same", || async {
        sign_in(&app, "192.0.2.3", "jay", "strongpassword").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_counted_by_address() {
    let app = TestApp::start_with(&[("HOLDFAST__RATE_LIMIT__REGISTER_PER_MINUTE", "2")]).await;
    let register = |number: u32| {
        let body = json!({
            "username": format!("jay{number}"), "email": format!("jay{number}@example.org"),
            "password": "strongpassword"
        });
        app.send(app.request(Method::POST, "/register/").json(&body))
    };
    register(1).await.expect(201);
    register(2).await.expect(201);
    let refused = register(3).await;
    assert_eq!(header(&refused, "ratelimit-policy"), r#""register";q=2;w=60"#);
    refused.expect_problem(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_process_counts_for_itself() {
    let (mut redis, stores) = own_redis(&[]).await;
    let app = TestApp::on(stores, &[FIVE, AN_HOUR]).await.unchecked();
    for _ in 0..5 {
        cart(&app, "alice").await.expect(200);
    }
    blocking(|| redis.kill9().unwrap());
    let order = "/api/orders/01890000-0000-7000-8000-000000000000";
    for _ in 0..5 {
        app.get(order, &app.customer("alice")).await.expect_problem(404, "not_found");
    }
    app.get(order, &app.customer("alice")).await.expect_problem(429, "rate_limited");
    blocking(|| redis.restart().unwrap());
    until("the shared count is back", || async {
        app.get(order, &app.customer("bob")).await.status == 429
    })
    .await;
}

const ORIGIN: &str = "https://shop.example.org";

fn preflight(app: &TestApp, origin: &str, method: &str) -> reqwest::RequestBuilder {
    app.request(Method::OPTIONS, "/api/reserve")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key")
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_configured_origins_may_call_and_no_others() {
    let settings = [("HOLDFAST__CORS__ORIGINS", ORIGIN), ("HOLDFAST__CORS__CREDENTIALS", "true")];
    let app = TestApp::start_with(&settings).await;
    let asked = app.send(preflight(&app, ORIGIN, "POST")).await;
    assert_eq!(header(&asked, "access-control-allow-origin"), ORIGIN);
    assert_eq!(header(&asked, "access-control-allow-credentials"), "true");
    assert_eq!(header(&asked, "access-control-max-age"), "3600");
    assert!(asked.status.is_success(), "{asked:#?}");
    for (origin, method) in [("https://evil.example", "POST"), ("null", "POST"), (ORIGIN, "TRACE")]
    {
        let refused = app.send(preflight(&app, origin, method)).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{refused:#?}");
        refused.expect_problem(403, "origin_not_allowed");
    }
    let from = |origin: &str| {
        let request = app.request(Method::GET, "/api/cart").bearer_auth(app.customer("alice"));
        app.send(request.header("Origin", origin))
    };
    let reply = from(ORIGIN).await;
    assert_eq!(header(&reply, "access-control-allow-origin"), ORIGIN);
    assert!(header(&reply, "vary").to_lowercase().contains("origin"), "{reply:#?}");
    let exposed = header(&reply, "access-control-expose-headers").to_lowercase();
    for name in ["retry-after", "ratelimit", "idempotency-replayed", "location", "etag"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    reply.expect(200);
    let stranger = from("https://evil.example").await;
    assert!(!stranger.headers.contains_key("access-control-allow-origin"), "{stranger:#?}");

    let open = TestApp::start_with(&[("HOLDFAST__CORS__ORIGINS", "*")]).await;
    let any = "https://any.example";
    let asked = open.send(preflight(&open, any, "POST")).await;
    assert_eq!(header(&asked, "access-control-allow-origin"), any);
    assert!(header(&asked, "vary").to_lowercase().contains("origin"), "{asked:#?}");
    assert!(!asked.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_answers_to_its_own_names_only() {
    let app = TestApp::start_with(&[("HOLDFAST__SERVER__ALLOWED_HOSTS", "shop.example.org")]).await;
    let called =
        |host: &str, path: &str| app.send(app.request(Method::GET, path).header("Host", host));
    called("shop.example.org", "/api/products").await.expect(200);
    called("Shop.Example.org:8080", "/api/products").await.expect(200);
    called("evil.example", "/api/products").await.expect_problem(421, "misdirected_request");
    called("10.0.0.7:8080", "/healthz").await.expect(200);
}

/// The events of a stream, as they come.
struct Stream {
    bytes: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<Vec<u8>>> + Send>>,
    read: String,
}

impl Stream {
    async fn open(app: &TestApp, path: &str, token: Option<&str>) -> Result<Self, Reply> {
        let client = reqwest::Client::new();
        let request = client.get(format!("{}{path}", app.url)).header("Accept-Encoding", "gzip");
        let request = token.iter().fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let body = response.json().await.unwrap();
            return Err(Reply { status, headers, body });
        }
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store");
        let bytes = response.bytes_stream().map(|bytes| bytes.map(|bytes| bytes.to_vec()));
        Ok(Self { bytes: Box::pin(bytes), read: String::new() })
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let found = data.map(|data| serde_json::from_str(data).unwrap());
                self.read = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let bytes = tokio::time::timeout(Duration::from_secs(30), self.bytes.next());
            let bytes = bytes.await.unwrap()?.unwrap();
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Reads until so many units are available.
    async fn until_available(&mut self, wanted: i64) {
        while self.next().await.unwrap()["available_stock"] != wanted {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_a_product_hears_of_each_change() {
    let app = TestApp::start().await;
    app.product("PHONE", 9, json!({})).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = Stream::open(&app, "/api/inventory/PHONE/events", None).await;
        streams.push(stream.ok().unwrap());
    }
    for stream in &mut streams {
        let first = stream.next().await.unwrap();
        assert_eq!(first["available_stock"], 9);
        assert_eq!(first["sku"], "PHONE");
    }
    let id = app.held("alice", "PHONE", 2).await;
    for stream in &mut streams {
        stream.until_available(7).await;
    }
    app.delete(&format!("/api/reservations/{id}"), &app.customer("alice")).await.expect(200);
    for stream in &mut streams {
        stream.until_available(9).await;
    }
    app.anonymous(Method::GET, "/api/inventory/NONE/events")
        .await
        .expect_problem(404, "unknown_product");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_taken_off_the_shop_is_watched_by_its_owner_only() {
    let app = TestApp::start().await;
    let product = app.product("PHONE", 9, json!({})).await;
    let path = "/api/inventory/PHONE/events";
    let mut stranger = Stream::open(&app, path, None).await.ok().unwrap();
    let admin = app.admin();
    let mut owner = Stream::open(&app, path, Some(&admin)).await.ok().unwrap();
    stranger.next().await.unwrap();
    owner.next().await.unwrap();
    let hide = app.request(Method::PATCH, &format!("/api/products/{product}"));
    app.send(hide.bearer_auth(&admin).json(&json!({ "published": false }))).await.expect(200);
    while stranger.next().await.is_some() {}
    let refused = Stream::open(&app, path, None).await.err().unwrap();
    refused.expect_problem(404, "unknown_product");
    app.post(
        "/api/stock",
        &admin,
        json!({ "product_id": product, "movement_type": "IN", "quantity": 1 }),
    )
    .await
    .expect(201);
    owner.until_available(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_with_the_service() {
    let app = TestApp::start_with(&[("HOLDFAST__SERVER__EVENT_STREAMS", "2")]).await;
    app.product("PHONE", 9, json!({})).await;
    let path = "/api/inventory/PHONE/events";
    let mut first = Stream::open(&app, path, None).await.ok().unwrap();
    let second = Stream::open(&app, path, None).await.ok().unwrap();
    let full = Stream::open(&app, path, None).await.err().unwrap();
    full.expect_problem(503, "overloaded");
    drop(second);
    until("there is room again", || async { Stream::open(&app, path, None).await.is_ok() }).await;
    first.next().await.unwrap();
    // Not cut off at the end of the shutdown's patience: told that it is over.
    drop(app);
    assert!(first.next().await.is_none());
}
