//! A service for one test: its own database, its own key prefix, its own port. When it is dropped, it proves that no
//! unit was lost or made up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use holdfast::app::App;
use holdfast::config::{LoadOptions, Loaded, Settings};
use holdfast::identity::{Role, Tokens};
use holdfast::kernel::Clock;
use holdfast::platform::postgres;
use redis::aio::MultiplexedConnection;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use crate::{conservation, limit};

/// Looks random enough for the service to accept it, and is nobody's.
pub const JWT_SECRET: &str = "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw";

/// Nobody decides a pin for the one who made it while the test runs.
pub const LATE: (&str, &str) = ("HOLDFAST__SWEEPER__PIN_GRACE", "60s");
/// Pins of a dead process are decided soon; with [`hasty`], because no request may outlive it.
pub const SOON: (&str, &str) = ("HOLDFAST__SWEEPER__PIN_GRACE", "4s");

/// Waits that a test sees the end of. They are several times those that are shipped, so that a test can prepare its scene
/// on a busy machine.
const SHORT_WAITS: [(&str, &str); 8] = [
    ("HOLDFAST__SERVER__REQUEST_DEADLINE", "3s"),
    ("HOLDFAST__DATABASE__POOL_WAIT", "2s"),
    ("HOLDFAST__DATABASE__CONNECT_TIMEOUT", "2s"),
    ("HOLDFAST__DATABASE__STATEMENT_TIMEOUT", "2500ms"),
    ("HOLDFAST__DATABASE__LOCK_TIMEOUT", "2s"),
    ("HOLDFAST__REDIS__POOL_WAIT", "2s"),
    ("HOLDFAST__REDIS__CONNECT_TIMEOUT", "2s"),
    ("HOLDFAST__REDIS__RESPONSE_TIMEOUT", "2s"),
];

/// The settings of a service that does not wait for long, and these; of two that set the same the last one counts.
pub fn hasty<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    SHORT_WAITS.iter().chain(more).copied().collect()
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Reply {
    /// An answer as it came over the wire.
    pub fn parse(raw: &str) -> Self {
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        let (status, lines) = head.split_once("\r\n").unwrap();
        let headers = lines.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        });
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers: headers.collect(), body: serde_json::from_str(body).unwrap() }
    }

    /// Fails the test with the whole answer unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:#?}");
        self.body
    }

    /// Fails the test with the whole answer unless it is a success.
    #[track_caller]
    pub fn expect_success(self) -> Value {
        assert!(self.status.is_success(), "{self:#?}");
        self.body
    }

    /// Fails the test unless this is a problem document with this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{self:#?}"
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/problems/{code}"));
        assert_eq!(self.body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert_eq!(status >= 500, self.body["outcome"].is_string(), "{:#}", self.body);
        let wrong = self.body["errors"].as_array().map_or(&[][..], |errors| errors);
        assert_eq!(status == 422, !wrong.is_empty(), "{:#}", self.body);
        for error in wrong {
            assert_eq!(error["code"], code, "{error}");
            assert!(["field", "message"].iter().all(|name| error[*name] != ""), "{error}");
        }
        self.body
    }
}

/// Where a service keeps its things; several services (replicas) may share one.
#[derive(Clone, Debug)]
pub struct Stores {
    pub database_url: String,
    pub redis_url: String,
    pub prefix: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

#[expect(clippy::disallowed_methods, reason = "cargo xtask test tells where the servers are")]
fn from_environment(name: &str) -> String {
    limit::begin();
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests with `cargo xtask test`"))
}

/// The maintenance database of the shared Postgres.
pub fn maintenance_url() -> String {
    from_environment("HOLDFAST_TEST_DATABASE_URL")
}

/// The Redis that all tests share.
pub fn redis_url() -> String {
    from_environment("HOLDFAST_TEST_REDIS_URL")
}

/// The Redis on which scripts run by themselves.
pub fn bench_redis_url() -> String {
    from_environment("HOLDFAST_TEST_BENCH_REDIS_URL")
}

/// The same server, another database.
pub fn database_url(name: &str) -> String {
    maintenance_url().replacen("/postgres?", &format!("/{name}?"), 1)
}

/// A connection to Postgres; it ends with the test.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test")]
    tokio::spawn(async move { connection.await.ok() });
    client
}

async fn template() -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", std::process::id());
            connect(&maintenance_url())
                .await
                .batch_execute(&format!("create database {name}"))
                .await
                .unwrap();
            let stores = Stores { database_url: database_url(&name), ..Stores::somewhere() };
            stores.migrate().await;
            name
        })
        .await
}

impl Stores {
    fn somewhere() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}_{number}", std::process::id());
        Self {
            database_url: database_url(&name),
            redis_url: redis_url(),
            prefix: format!("{name}:"),
        }
    }

    /// A fresh database and a fresh prefix on the shared servers.
    pub async fn fresh() -> Self {
        let stores = Self::somewhere();
        let name = stores.prefix.trim_end_matches(':');
        let sql = format!("create database {name} template {}", template().await);
        connect(&maintenance_url()).await.batch_execute(&sql).await.unwrap();
        stores
    }

    /// Brings the schema up. What is ever written to the outbox is kept beside it, because it leaves when it is sent,
    /// and the proof at the end wants to see it.
    pub async fn migrate(&self) {
        postgres::migrate(&self.settings(&[]).database).await.unwrap();
        let keep = "
            create table outbox_seen (topic text not null, reservation_id uuid, payload jsonb not null);
            create function outbox_see() returns trigger language plpgsql as $$
            begin
                insert into outbox_seen values (new.topic, new.reservation_id, new.payload);
                return null;
            end $$;
            create trigger outbox_see after insert on outbox for each row execute function outbox_see();";
        connect(&self.database_url).await.batch_execute(keep).await.unwrap();
    }

    /// The environment that a service of these stores runs in.
    pub fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [
            ("HOLDFAST_PROFILE", "test"),
            ("HOLDFAST_CONFIG_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/config")),
            ("DATABASE_URL", &self.database_url),
            ("REDIS_URL", &self.redis_url),
            ("HOLDFAST__REDIS__KEY_PREFIX", &self.prefix),
            ("HOLDFAST__AUTH__JWT_SECRET", JWT_SECRET),
        ];
        own.iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// Where settings are read from in this environment.
    pub fn options(&self, more: &[(&str, &str)]) -> LoadOptions {
        LoadOptions::from_env(self.environment(more))
    }

    /// The settings that this environment makes.
    pub fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let options = self.options(more);
        assert_eq!(options.dir, PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/config")));
        Settings::load(&options).unwrap()
    }

    pub async fn redis(&self) -> MultiplexedConnection {
        redis::Client::open(self.redis_url.as_str())
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap()
    }

    pub async fn postgres(&self) -> tokio_postgres::Client {
        connect(&self.database_url).await
    }
}

/// The request as the console's page sends it.
pub fn console(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.header("Sec-Fetch-Site", "same-origin").header("X-Holdfast-Console", "1")
}

/// Signs tokens and sends requests to one service.
#[derive(Clone)]
pub struct Api {
    pub url: String,
    client: reqwest::Client,
    tokens: Tokens,
}

impl Api {
    pub fn new(url: String, settings: &Settings) -> Self {
        // Each request has a connection of its own: one that was kept may be closed just when it is used again.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        let client = client.timeout(Duration::from_secs(60)).build().unwrap();
        Self { url, client, tokens: Tokens::new(&settings.auth).unwrap() }
    }

    pub fn token(&self, role: Role, sub: &str) -> String {
        let lifetime = Duration::from_secs(3_600);
        self.tokens.sign(&sub.parse().unwrap(), role, None, lifetime, Clock::System.now()).unwrap()
    }

    /// A token that was good until a minute ago.
    pub fn expired(&self, role: Role, sub: &str) -> String {
        let (lifetime, then) = (Duration::from_secs(840), Duration::from_secs(900));
        let then = Clock::System.now() - then;
        self.tokens.sign(&sub.parse().unwrap(), role, None, lifetime, then).unwrap()
    }

    /// A request under construction, for what the short forms below do not cover.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        // Nobody but the console's page may, and this is what makes its requests known.
        if path.starts_with("/admin/session") { console(request) } else { request }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.try_send(request).await.unwrap()
    }

    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let again = request.try_clone();
        let mut response = request.send().await?;
        // A connection on which nothing is asked in time is closed with this, and nobody has read the request.
        while let Some(again) = again.as_ref().and_then(reqwest::RequestBuilder::try_clone)
            && response.status() == StatusCode::REQUEST_TIMEOUT
            && response.content_length() == Some(0)
        {
            response = again.send().await?;
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Reply { status, headers, body })
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// A request without a token.
    pub async fn anonymous(&self, method: Method, path: &str) -> Reply {
        self.send(self.request(method, path)).await
    }

    pub async fn delete(&self, path: &str, token: &str) -> Reply {
        self.send(self.request(Method::DELETE, path).bearer_auth(token)).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.send(self.request(Method::POST, path).bearer_auth(token).json(&body)).await
    }

    pub fn customer(&self, sub: &str) -> String {
        self.token(Role::Customer, sub)
    }

    pub fn merchant(&self, sub: &str) -> String {
        self.token(Role::Merchant, sub)
    }

    pub fn service(&self) -> String {
        self.token(Role::Service, "storefront")
    }

    pub fn admin(&self) -> String {
        self.token(Role::Admin, "root")
    }

    /// A product with these members on top of a name and a price; answers its number.
    pub async fn product(&self, sku: &str, total_stock: i64, more: Value) -> i64 {
        let mut body =
            json!({ "sku": sku, "name": sku, "price": "10.00", "total_stock": total_stock });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let created = self.post("/api/products", &self.admin(), body).await.expect(201);
        created["id"].as_i64().unwrap()
    }

    pub async fn reserve(&self, user: &str, sku: &str, quantity: i64) -> Reply {
        self.post("/api/reserve", &self.customer(user), json!({ "sku": sku, "quantity": quantity }))
            .await
    }

    /// Holds units and answers the id of the reservation.
    pub async fn held(&self, user: &str, sku: &str, quantity: i64) -> String {
        let reply = self.reserve(user, sku, quantity).await;
        assert!(reply.status.is_success(), "{reply:#?}");
        reply.body["reservation_id"].as_str().unwrap().to_owned()
    }

    pub async fn checkout(&self, user: &str, reservation_id: &str) -> Reply {
        self.post(
            "/api/checkout",
            &self.customer(user),
            json!({ "reservation_id": reservation_id }),
        )
        .await
    }

    pub async fn reservation(&self, id: &str) -> Reply {
        self.get(&format!("/api/reservations/{id}"), &self.service()).await
    }

    /// (total, available, reserved, sold) of a SKU, which must add up.
    pub async fn stock(&self, sku: &str) -> (i64, i64, i64, i64) {
        let reply = self
            .send(self.request(Method::GET, &format!("/api/inventory/{sku}")))
            .await
            .expect(200);
        let of = |field: &str| reply[field].as_i64().unwrap();
        let stock =
            (of("total_stock"), of("available_stock"), of("reserved_stock"), of("sold_stock"));
        assert_eq!(stock.0, stock.1 + stock.2 + stock.3, "{reply}");
        stock
    }

    /// Asks again and again until `wanted` is met; fails the test after a minute.
    #[track_caller]
    pub fn until<F: Future<Output = bool>>(
        &self,
        what: &'static str,
        wanted: impl Fn() -> F,
    ) -> impl Future<Output = ()> {
        until(what, wanted)
    }
}

/// Asks again and again until `wanted` is met; fails the test after a minute. The pause between two questions makes
/// no race go away: the answer decides, and a wrong one fails.
pub async fn until<F: Future<Output = bool>>(what: &str, wanted: impl Fn() -> F) {
    let begun = Instant::now();
    while !wanted().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A service in this process.
pub struct TestApp {
    pub stores: Stores,
    pub api: Api,
    app: Option<App>,
    checked: bool,
}

impl TestApp {
    /// A service on fresh stores.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A service on fresh stores with these settings, as environment variables.
    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        Self::on(Stores::fresh().await, more).await
    }

    /// A service (another replica) on these stores.
    pub async fn on(stores: Stores, more: &[(&str, &str)]) -> Self {
        Self::of(stores.options(more), stores).await
    }

    /// A service (another replica) on these stores, with settings from elsewhere.
    pub async fn of(options: LoadOptions, stores: Stores) -> Self {
        let loaded = Loaded::read(&options).unwrap();
        let app = App::start(loaded.clone(), Clock::System).await.unwrap();
        let api = Api::new(format!("http://{}", app.address), &loaded.settings);
        let this = Self { stores, api, app: Some(app), checked: true };
        this.ready().await;
        this
    }

    /// Another replica of this service.
    pub async fn replica(&self, more: &[(&str, &str)]) -> Self {
        Self::on(self.stores.clone(), more).await.unchecked()
    }

    /// Leaves the proof at the end to somebody else: another replica, or a test that broke the stores by hand.
    pub fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    async fn ready(&self) {
        until("the service is ready", || async {
            let reply = self.api.send(self.api.request(Method::GET, "/readyz")).await;
            reply.status == StatusCode::OK
        })
        .await;
    }
}

impl std::ops::Deref for TestApp {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let (app, failed) = (self.app.take(), std::thread::panicking());
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                if self.checked && !failed {
                    let proof = conservation::prove(&self.stores);
                    tokio::time::timeout(Duration::from_secs(120), proof).await.unwrap();
                }
                if let Some(app) = app {
                    let stopped = app.stop().await;
                    assert!(failed || stopped.is_ok(), "{stopped:?}");
                }
            });
        });
    }
}
