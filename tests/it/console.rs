//! The operator's console: its page and its files, and the session in cookies that nobody else can use.

use holdfast::identity::Role;
use reqwest::Method;
use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::{Value, json};

use crate::app::{Reply, TestApp, console};

const PASSWORD: &str = "strongpassword";

/// Name, value and what the browser is told of each cookie of an answer.
fn cookies(headers: &HeaderMap) -> Vec<(String, String, String)> {
    let lines = headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    lines
        .map(|line| {
            let (pair, told) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned(), told.to_owned())
        })
        .collect()
}

/// The cookies as a browser sends them back.
fn kept(headers: &HeaderMap) -> String {
    let pairs = cookies(headers).into_iter().map(|(name, value, _)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("; ")
}

async fn account(app: &TestApp, name: &str, role: &str) -> String {
    let body = json!({
        "username": name, "email": format!("{name}@example.org"), "password": PASSWORD, "role": role,
    });
    let request = app.request(Method::POST, "/api/auth/register").json(&body);
    app.send(request).await.expect(201)["user"]["id"].as_str().unwrap().to_owned()
}

/// Nobody registers as an admin.
async fn make_admin(app: &TestApp, name: &str) {
    account(app, name, "merchant").await;
    let sql = "update accounts set role = 'admin' where username = $1";
    assert_eq!(app.stores.postgres().await.execute(sql, &[&name]).await.unwrap(), 1);
}

async fn sign_in(app: &TestApp, name: &str) -> Reply {
    let body = json!({ "username": name, "password": PASSWORD });
    app.send(app.request(Method::POST, "/admin/session").json(&body)).await
}

/// A call of the console's page.
async fn from_page(app: &TestApp, method: Method, path: &str, cookies: &str) -> Reply {
    let request = app.request(method, path).header("Cookie", cookies);
    // `request` marks those of the session itself.
    let request = if path.starts_with("/admin/session") { request } else { console(request) };
    app.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_two_cookies_that_no_script_reads() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let reply = sign_in(&app, "mina").await;
    let cookies_of = cookies(&reply.headers);
    let told: Vec<_> = cookies_of.iter().map(|(name, _, told)| format!("{name}: {told}")).collect();
    // The test comes over plain HTTP to this machine, where a browser keeps no other kind.
    assert_eq!(
        told,
        [
            "holdfast_access: Path=/api; Max-Age=900; HttpOnly; SameSite=Strict",
            "holdfast_refresh: Path=/admin/session; Max-Age=2592000; HttpOnly; SameSite=Strict",
        ]
    );
    let body = reply.expect(200);
    assert_eq!((&body["user"]["username"], &body["expires_in"]), (&json!("mina"), &json!(900)));
    for (_, value, _) in &cookies_of {
        assert!(!body.to_string().contains(value), "tokens are in cookies alone: {body}");
    }

    // By another name, there is a proxy that speaks TLS.
    let body = json!({ "username": "mina", "password": PASSWORD });
    let request = app.request(Method::POST, "/admin/session").header("Host", "shop.example.org");
    let reply = app.send(request.json(&body)).await;
    for (name, _, told) in cookies(&reply.headers) {
        assert!(told.ends_with("; SameSite=Strict; Secure"), "{name}: {told}");
    }
    reply.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_counts_only_for_the_page() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let cookies = kept(&sign_in(&app, "mina").await.headers);
    let me = from_page(&app, Method::GET, "/api/auth/me", &cookies).await.expect(200);
    assert_eq!(me["username"], "mina");
    let listed = from_page(&app, Method::GET, "/api/products?owner=me", &cookies).await;
    assert_eq!(listed.expect(200)["items"], json!([]));

    let forged: [&[(&str, &str)]; 8] = [
        &[],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("X-Holdfast-Console", "1")],
        &[("X-Holdfast-Console", "1"), ("Sec-Fetch-Site", "cross-site")],
        &[("X-Holdfast-Console", "1"), ("Sec-Fetch-Site", "same-site")],
        &[("X-Holdfast-Console", "1"), ("Sec-Fetch-Site", "none")],
        &[("X-Holdfast-Console", "0"), ("Sec-Fetch-Site", "same-origin")],
        &[
            ("X-Holdfast-Console", "1"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "cross-site"),
        ],
    ];
    let product = json!({ "name": "forged", "total_stock": 1 });
    for headers in forged {
        let with = |mut request: reqwest::RequestBuilder| {
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.header("Cookie", &cookies)
        };
        let reply = app.send(with(app.request(Method::GET, "/api/auth/me"))).await;
        reply.expect_problem(401, "unauthenticated");
        let make = app.request(Method::POST, "/api/products").json(&product);
        app.send(with(make)).await.expect_problem(401, "unauthenticated");
        // What everybody may see is seen as everybody sees it.
        app.send(with(app.request(Method::GET, "/api/products"))).await.expect(200);
    }
    let listed = from_page(&app, Method::GET, "/api/products?owner=me", &cookies).await;
    assert_eq!(listed.expect(200)["items"], json!([]), "nothing was forged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_before_the_cookie_and_two_cookies_count_for_none() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let cookies = kept(&sign_in(&app, "mina").await.headers);
    let both = console(app.request(Method::GET, "/api/auth/me").header("Cookie", &cookies));
    let me = app.send(both.bearer_auth(app.customer("alice"))).await.expect(200);
    assert_eq!(me["id"], "alice");
    let bad = console(app.request(Method::GET, "/api/auth/me").header("Cookie", &cookies));
    app.send(bad.bearer_auth("nonsense")).await.expect_problem(401, "unauthenticated");

    let twice = format!("{cookies}; holdfast_access={}", app.admin());
    let reply = from_page(&app, Method::GET, "/api/auth/me", &twice).await;
    reply.expect_problem(401, "unauthenticated");
    let expired = format!("holdfast_access={}", app.expired(Role::Merchant, "mina"));
    for path in ["/api/auth/me", "/api/products"] {
        let reply = from_page(&app, Method::GET, path, &expired).await;
        reply.expect_problem(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_signs_in_refreshes_and_signs_out() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let cookies = kept(&sign_in(&app, "mina").await.headers);
    let client = reqwest::Client::new();
    let send = |method: Method, path: &str, site: Option<&str>, header: bool| {
        let mut request = client.request(method, format!("{}{path}", app.url));
        if let Some(site) = site {
            request = request.header("Sec-Fetch-Site", site);
        }
        if header {
            request = request.header("X-Holdfast-Console", "1");
        }
        request
            .header("Cookie", &cookies)
            .json(&json!({ "username": "mina", "password": PASSWORD }))
    };
    for (site, header) in [
        (None, false),
        (None, true),
        (Some("same-origin"), false),
        (Some("cross-site"), true),
        (Some("same-site"), true),
    ] {
        for (method, path) in [
            (Method::POST, "/admin/session"),
            (Method::POST, "/admin/session/refresh"),
            (Method::DELETE, "/admin/session"),
        ] {
            let reply = app.send(send(method, path, site, header)).await;
            assert!(!reply.headers.contains_key(SET_COOKIE), "{reply:#?}");
            reply.expect_problem(403, "cross_site");
        }
    }
    // The session is as it was.
    from_page(&app, Method::POST, "/admin/session/refresh", &cookies).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_and_ends() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let first = kept(&sign_in(&app, "mina").await.headers);
    let refresh = |cookies: String| {
        let app = &app;
        async move { from_page(app, Method::POST, "/admin/session/refresh", &cookies).await }
    };
    let reply = refresh(first.clone()).await;
    let second = kept(&reply.headers);
    assert_eq!(reply.expect(200)["user"]["username"], "mina");
    assert_ne!(first, second);
    from_page(&app, Method::GET, "/api/auth/me", &second).await.expect(200);

    let reply = from_page(&app, Method::DELETE, "/admin/session", &second).await;
    for (name, value, told) in cookies(&reply.headers) {
        assert!(value.is_empty() && told.contains("Max-Age=0"), "{name}={value}; {told}");
    }
    reply.expect(204);
    refresh(second).await.expect_problem(401, "unauthenticated");
    refresh(String::new()).await.expect_problem(401, "unauthenticated");
    // Twice is as good as once.
    from_page(&app, Method::DELETE, "/admin/session", "").await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_and_merchants_may_sign_in_and_nobody_else() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    account(&app, "carl", "customer").await;
    make_admin(&app, "ada").await;
    assert_eq!(sign_in(&app, "ada").await.expect(200)["user"]["role"], "admin");
    assert_eq!(sign_in(&app, "mina").await.expect(200)["user"]["role"], "merchant");
    let refused = sign_in(&app, "carl").await;
    assert!(!refused.headers.contains_key(SET_COOKIE), "{refused:#?}");
    let refused = refused.expect_problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("admins and merchants"), "{refused}");
    let wrong = json!({ "username": "ada", "password": "not the password" });
    let wrong = app.send(app.request(Method::POST, "/admin/session").json(&wrong)).await;
    wrong.expect_problem(401, "unauthenticated");

    // Whoever is no merchant any more is out when the session is renewed.
    let cookies = kept(&sign_in(&app, "mina").await.headers);
    let sql = "update accounts set role = 'customer' where username = 'mina'";
    app.stores.postgres().await.execute(sql, &[]).await.unwrap();
    let reply = from_page(&app, Method::POST, "/admin/session/refresh", &cookies).await;
    reply.expect_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_to_sign_in_count_at_both_doors() {
    let app = TestApp::start_with(&[("HOLDFAST__RATE_LIMIT__LOGIN_PER_MINUTE", "2")]).await;
    let wrong = json!({ "username": "ada", "password": "not the password" });
    for path in ["/admin/session", "/api/auth/login"] {
        let reply = app.send(app.request(Method::POST, path).json(&wrong)).await;
        reply.expect_problem(401, "unauthenticated");
    }
    for path in ["/admin/session", "/api/auth/login"] {
        let reply = app.send(app.request(Method::POST, path).json(&wrong)).await;
        reply.expect_problem(429, "rate_limited");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_sees_nothing_of_others() {
    let app = TestApp::start().await;
    account(&app, "mina", "merchant").await;
    let cookies = kept(&sign_in(&app, "mina").await.headers);
    app.product("OTHERS", 5, json!({})).await;
    let hold = app.held("alice", "OTHERS", 1).await;
    let order = app.checkout("alice", &hold).await.expect_success();
    let order = format!("/api/orders/{}", order["id"].as_str().unwrap());
    for path in [order.as_str(), &format!("/api/reservations/{hold}")] {
        from_page(&app, Method::GET, path, &cookies).await.expect_problem(404, "not_found");
    }
    for path in ["/api/orders", "/api/suppliers", "/api/stock", "/api/products?owner=me"] {
        let listed = from_page(&app, Method::GET, path, &cookies).await.expect(200);
        assert_eq!(listed["items"], json!([]), "{path}");
    }
    let reply = from_page(&app, Method::GET, "/api/admin/dead-letters", &cookies).await;
    reply.expect_problem(403, "forbidden");
}

async fn fetch(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(format!("{}{path}", app.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_nothing_but_its_own_files() {
    let app = TestApp::start().await;
    let mut pages = Vec::new();
    for path in ["/admin", "/admin/", "/admin/holds?sku=A", "/admin/sale/17", "/admin/what/ever"] {
        let page = fetch(&app, path, &[]).await;
        assert_eq!(page.status(), 200, "{path}");
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.split("; ").any(|one| one == part), "{part}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(header("x-frame-options"), "DENY");
        assert_eq!(header("cache-control"), "no-cache");
        pages.push(page.text().await.unwrap());
    }
    assert!(pages.iter().all(|page| *page == pages[0]), "each view is the same page");
    for outside in ["src=\"http", "href=\"http", "src=\"//", "<script>", "<style"] {
        assert!(!pages[0].contains(outside), "{outside}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_are_packed_and_kept() {
    let app = TestApp::start().await;
    let page = fetch(&app, "/admin", &[]).await.text().await.unwrap();
    let files: Vec<&str> =
        page.split('"').filter(|part| part.starts_with("/admin/assets/")).collect();
    assert!(files.len() > 10, "{page}");
    for file in &files {
        let plain = fetch(&app, file, &[]).await;
        assert_eq!(plain.status(), 200, "{file}");
        assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert!(!plain.headers().contains_key("content-encoding"), "{file}");
        let etag = plain.headers()["etag"].to_str().unwrap().to_owned();
        let plain = plain.bytes().await.unwrap();
        if !file.ends_with(".woff2") {
            let packed = fetch(&app, file, &[("Accept-Encoding", "br, gzip")]).await;
            assert_eq!(packed.headers()["content-encoding"], "gzip", "{file}");
            assert_eq!(packed.headers()["etag"], etag);
            assert!(packed.bytes().await.unwrap().len() < plain.len(), "{file}");
            let refused = fetch(&app, file, &[("Accept-Encoding", "gzip;q=0")]).await;
            assert!(!refused.headers().contains_key("content-encoding"), "{file}");
        }
        let known = fetch(&app, file, &[("If-None-Match", &format!("W/{etag}"))]).await;
        assert_eq!(known.status(), 304, "{file}");
        assert!(known.bytes().await.unwrap().is_empty(), "{file}");
    }
    // A page of another version asks for its files at another address, and asks again each time.
    let (_, name) = files[0].split_at("/admin/assets/0123456789abcdef".len());
    let other = fetch(&app, &format!("/admin/assets/another{name}"), &[]).await;
    assert_eq!(other.headers()["cache-control"], "no-cache");
    assert_eq!(other.status(), 200);
    for gone in ["/admin/assets/x/nothing.js", "/admin/assets/x/../../Cargo.toml"] {
        let reply = app.anonymous(Method::GET, gone).await;
        assert!(
            reply.status == 404
                || reply.body.as_str().is_some_and(|page| page.contains("<!doctype"))
        );
        let leaked = matches!(&reply.body, Value::String(text) if text.contains("[package]"));
        assert!(!leaked);
    }
    app.anonymous(Method::GET, "/admin/assets/x/nothing.js").await.expect_problem(404, "not_found");
}
