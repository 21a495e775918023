//! Puts the service together: the only place that builds handles, and the route table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::{Data, PayloadConfig, ServiceConfig};
use actix_web::{App as HttpApp, HttpResponse, HttpServer, web};
use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tracing_actix_web::TracingLogger;

use crate::accounts::{self, Accounts};
use crate::audit::{self, Audit};
use crate::cart::{self, Carts};
use crate::catalogue::{Catalogue, Sale};
use crate::config::{Current, Loaded, Settings};
use crate::health::{self, Health};
use crate::identity::{Authenticator, Tokens, caller_of, subject_of};
use crate::kernel::Clock;
use crate::notifications::{self, Notifications};
use crate::orders::{Orders, Till};
use crate::payments::{self, Gateways, Payments};
use crate::platform::cache::Cache;
use crate::platform::http::address::Proxies;
use crate::platform::http::codes;
use crate::platform::http::cors::cors;
use crate::platform::http::edge::{AllowedHosts, edge, no_route};
use crate::platform::http::idempotency::{Idempotency, idempotent};
use crate::platform::http::limits::{RateLimits, limited};
use crate::platform::http::probes::{self, Readiness};
use crate::platform::limiter::Limiter;
use crate::platform::redis::{Lane, Redis, Via};
use crate::platform::replicas::Replicas;
use crate::platform::telemetry::RequestSpan;
use crate::platform::vitals::Vitals;
use crate::platform::{Db, Tasks, metrics, postgres};
use crate::reconcile::{self, Reconcile};
use crate::reservations::{self, Reservations};
use crate::sales::{self, Sales};
use crate::settings::{self, LiveSettings};
use crate::stock::{self, Movements};
use crate::suppliers::{self, Suppliers};
use crate::{catalogue, console, openapi, orders};

/// How long a statement may take that a person asked for and waits for.
const LONGEST_STATEMENT: Duration = Duration::from_secs(60);

/// A running service.
pub struct App {
    /// Where it answers.
    pub address: SocketAddr,
    /// Where it answers its operators.
    pub management_address: SocketAddr,
    reservations: Reservations,
    payments: Payments,
    live_settings: LiveSettings,
    servers: Vec<ServerHandle>,
    ended: Arc<Ended>,
    readiness: Readiness,
    tasks: Tasks,
    pools: Vec<Db>,
    shutdown_timeout: Duration,
    shutdown_delay: Duration,
}

#[derive(Default)]
struct Ended {
    flag: AtomicBool,
    notify: Notify,
}

/// Everything that one worker's handlers may ask for.
#[derive(Clone)]
struct Handles {
    authenticator: Authenticator,
    accounts: Accounts,
    audit: Audit,
    catalogue: Catalogue,
    suppliers: Suppliers,
    reservations: Reservations,
    movements: Movements,
    carts: Carts,
    orders: Orders,
    payments: Payments,
    notifications: Notifications,
    live_settings: LiveSettings,
    health: Health,
    reconcile: Reconcile,
    idempotency: Idempotency,
    rate_limits: RateLimits,
    sales: Sales,
    readiness: Readiness,
    settings: Arc<Settings>,
    current: Current,
}

impl App {
    /// Checks the stores, starts the background work, and serves. Ready when `/readyz` says so.
    pub async fn start(loaded: Loaded, clock: Clock) -> anyhow::Result<Self> {
        let settings = Arc::new(loaded.settings.clone());
        let recorder = metrics::install()?;
        let db = Db::new(&settings.database, &clock).context("the setting database.url")?;
        let pools = Pools::new(&settings, &db)?;
        postgres::check(&db).await.context("postgres is not as it must be")?;
        let redis = Redis::new(&settings.redis).context("the setting redis.url")?;
        reservations::check_redis(&redis).await.context("redis is not as it must be")?;

        let tasks = Tasks::new();
        let readiness = Readiness::default();
        readiness.set("postgres", true, "answering");
        readiness.set("migrations", true, "all applied");
        let handles = Handles::new(loaded, &clock, &pools, &redis, &tasks, &readiness)?;
        let live_settings = handles.live_settings.clone();
        live_settings.begin().await.context("the live settings cannot be read")?;
        let reservations = handles.reservations.clone();
        let payments = handles.payments.clone();
        let notifications = handles.notifications.clone();
        let health = handles.health.clone();
        let ended = Arc::new(Ended::default());
        let (api, address) = serve_api(&settings, handles, redis.clone())?;
        let (management, management_address) =
            serve_management(&settings, &readiness, recorder.clone())?;
        let servers = vec![api.handle(), management.handle()];
        for server in [api, management] {
            let ended = ended.clone();
            drop(tasks.spawn(async move {
                if let Err(error) = server.await {
                    tracing::error!(%error, "an HTTP server failed");
                }
                ended.flag.store(true, Ordering::Relaxed);
                ended.notify.notify_waiters();
            }));
        }
        reservations.start(&readiness);
        payments.start();
        notifications.start();
        live_settings.start();
        health.start(address.to_string());
        let pools = pools.all();
        let vitals = Vitals::new(pools.clone(), redis);
        drop(tasks.spawn(upkeep(tasks.clone(), recorder, vitals, db.clone(), readiness.clone())));
        tracing::info!(%address, %management_address, "serving");
        Ok(Self {
            address,
            management_address,
            reservations,
            payments,
            live_settings,
            servers,
            ended,
            readiness,
            tasks,
            pools,
            shutdown_timeout: settings.server.shutdown_timeout,
            shutdown_delay: settings.server.shutdown_delay,
        })
    }

    /// The reservations behind it, for steps that tests take by hand.
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// The payments in it, for steps that tests take by hand.
    pub fn payments(&self) -> &Payments {
        &self.payments
    }

    /// Looks at the settings files at once, as a signal (SIGHUP) asks for.
    pub fn read_files(&self) {
        self.live_settings.read_files();
    }

    /// Returns if a server ended without being told to.
    pub async fn failed(&self) {
        let notified = self.ended.notify.notified();
        if !self.ended.flag.load(Ordering::Relaxed) {
            notified.await;
        }
    }

    /// Lets balancers see that this replica leaves, while it still takes requests.
    pub async fn leave(&self) {
        self.readiness.leave();
        tokio::time::sleep(self.shutdown_delay).await;
    }

    /// Stops taking requests, finishes those in flight and everything they began, then lets the stores go.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.readiness.leave();
        self.reservations.end_streams();
        let stopping = self.servers.iter().map(|server| server.stop(true));
        let stopped = futures_util::future::join_all(stopping);
        if tokio::time::timeout(self.shutdown_timeout, stopped).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        let finished = self.tasks.shut_down(self.shutdown_timeout).await;
        for pool in &self.pools {
            pool.close();
        }
        anyhow::ensure!(finished, "some background work did not finish in time");
        tracing::info!("stopped");
        Ok(())
    }
}

/// Reconciling beside a running service.
pub async fn reconcile(settings: &Settings) -> anyhow::Result<Reconcile> {
    let (clock, tasks) = (Clock::System, Tasks::new());
    let db = Db::new(&settings.database, &clock).context("the setting database.url")?;
    let pools = Pools::new(settings, &db)?;
    postgres::check(&db).await.context("postgres is not as it must be")?;
    let redis = Redis::new(&settings.redis).context("the setting redis.url")?;
    let catalogue = catalogue(settings, &pools, &redis)?;
    let reservations = Reservations::new(reservations::Parts {
        db: pools.requests.clone(),
        background_db: pools.background.clone(),
        redis: redis.clone(),
        catalogue,
        settings: Current::new(settings.clone()),
        sweeper: settings.sweeper.clone(),
        deadline: settings.server.request_deadline,
        tasks: tasks.clone(),
        clock,
        event_streams: 0,
    });
    reservations.open_gate().await.context("redis is not as it must be")?;
    let audit = Audit::new(pools.requests);
    Ok(Reconcile::new(reconcile::Parts { db: pools.patient, reservations, audit, tasks }))
}

fn catalogue(settings: &Settings, pools: &Pools, redis: &Redis) -> anyhow::Result<Catalogue> {
    let currency =
        settings.shop.currency.parse().map_err(anyhow::Error::msg).context("shop.currency")?;
    let shown = Cache::new(
        Via::Pool(redis.clone()),
        &format!("{}catalogue:", redis.prefix()),
        settings.catalogue.cache_ttl,
    );
    Ok(Catalogue::new(pools.requests.clone(), currency, shown))
}

/// Connections to Postgres, by who may wait for whom.
struct Pools {
    requests: Db,
    background: Db,
    /// For what a person waits for.
    patient: Db,
}

impl Pools {
    fn new(settings: &Settings, requests: &Db) -> anyhow::Result<Self> {
        let size = settings.database.pool_size.div_ceil(4).max(2);
        let background = requests.another("background", &settings.database, size);
        Ok(Self {
            requests: requests.clone(),
            background: background.context("the setting database.url")?,
            patient: requests
                .patient(&settings.database, 1, LONGEST_STATEMENT)
                .context("the setting database.url")?,
        })
    }

    fn all(self) -> Vec<Db> {
        vec![self.requests, self.background, self.patient]
    }
}

impl Handles {
    fn new(
        loaded: Loaded,
        clock: &Clock,
        pools: &Pools,
        redis: &Redis,
        tasks: &Tasks,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let settings = &Arc::new(loaded.settings.clone());
        let current = &Current::new(loaded.settings.clone());
        let deadline = settings.server.request_deadline;
        let catalogue = catalogue(settings, pools, redis)?;
        let reservations = Reservations::new(reservations::Parts {
            db: pools.requests.clone(),
            background_db: pools.background.clone(),
            redis: redis.clone(),
            catalogue: catalogue.clone(),
            settings: current.clone(),
            sweeper: settings.sweeper.clone(),
            deadline,
            tasks: tasks.clone(),
            clock: clock.clone(),
            event_streams: settings.server.event_streams,
        });
        let movements =
            Movements::new(reservations.clone(), pools.requests.clone(), tasks.clone(), deadline);
        let carts = Carts::new(pools.requests.clone(), reservations.clone());
        let tokens = Tokens::new(&settings.auth)?;
        let accounts = Accounts::new(
            pools.requests.clone(),
            tokens.clone(),
            clock.clone(),
            &settings.auth,
            deadline,
        )?;
        let orders = Orders::new(
            reservations.clone(),
            carts.clone(),
            movements.clone(),
            pools.requests.clone(),
            tasks.clone(),
            deadline,
        );
        let gateways =
            Gateways::new(&settings.payments, Via::Pool(redis.clone()), redis.prefix(), clock)
                .context("the certificates of this machine")?;
        let payments = Payments::new(payments::Parts {
            db: pools.requests.clone(),
            background_db: pools.background.clone(),
            orders: orders.clone(),
            reservations: reservations.clone(),
            movements: movements.clone(),
            tasks: tasks.clone(),
            settings: current.clone(),
            gateways,
            secret: settings.auth.jwt_secret.expose_secret().as_bytes().to_vec(),
            deadline,
            clock: clock.clone(),
        });
        let audit = Audit::new(pools.requests.clone());
        let live_settings = LiveSettings::new(settings::Parts {
            db: pools.requests.clone(),
            background_db: pools.background.clone(),
            start: loaded,
            current: current.clone(),
            reservations: reservations.clone(),
            audit: audit.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
        });
        let parts = notifications::Parts {
            db: pools.requests.clone(),
            background_db: pools.background.clone(),
            orders: orders.clone(),
            accounts: accounts.clone(),
            reservations: reservations.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
        };
        let notifications = Notifications::new(parts, settings)?;
        let health = Health::new(health::Parts {
            readiness: readiness.clone(),
            replicas: Replicas::new(redis.clone()),
            reservations: reservations.clone(),
            notifications: notifications.clone(),
            live_settings: live_settings.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
        });
        Ok(Self {
            accounts,
            audit: audit.clone(),
            sales: Sales::new(reservations.clone(), audit.clone(), tasks.clone()),
            authenticator: Authenticator { tokens, clock: clock.clone() },
            orders,
            notifications,
            health,
            payments,
            live_settings,
            reconcile: Reconcile::new(reconcile::Parts {
                db: pools.patient.clone(),
                reservations: reservations.clone(),
                audit,
                tasks: tasks.clone(),
            }),
            idempotency: Idempotency {
                via: Via::Pool(redis.clone()),
                prefix: redis.prefix().to_owned(),
                tasks: tasks.clone(),
                claim: deadline * 2,
                caller: caller_of,
            },
            rate_limits: RateLimits::new(
                Limiter::new(Via::Pool(redis.clone()), redis.prefix()),
                current,
                subject_of,
            ),
            carts,
            movements,
            catalogue,
            suppliers: Suppliers::new(pools.requests.clone()),
            reservations,
            readiness: readiness.clone(),
            settings: settings.clone(),
            current: current.clone(),
        })
    }

    /// The same handles over a lane of the worker's own.
    fn on_lane(&self, redis: &Redis) -> Self {
        let via = Via::Lane(Arc::new(Lane::new(redis.clone())));
        let reservations = self.reservations.over(via.clone());
        let movements = self.movements.over(reservations.clone());
        let orders = self.orders.over(reservations.clone());
        Self {
            payments: self.payments.over(orders.clone(), reservations.clone(), movements.clone()),
            movements,
            carts: self.carts.over(reservations.clone()),
            orders,
            catalogue: self.catalogue.over(via.clone()),
            rate_limits: self.rate_limits.over(via.clone()),
            sales: self.sales.over(reservations.clone()),
            idempotency: Idempotency { via, ..self.idempotency.clone() },
            reservations,
            ..self.clone()
        }
    }

    /// The route table.
    fn routes(self, config: &mut ServiceConfig) {
        config
            .app_data(PayloadConfig::new(self.settings.server.body_limit_bytes))
            .app_data(Data::new(self.current))
            .app_data(Data::new(self.authenticator))
            .app_data(Data::new(self.accounts))
            .app_data(Data::new(self.audit))
            .app_data(Data::new(self.catalogue))
            .app_data(Data::<dyn Sale>::from(Arc::new(self.reservations.clone()) as Arc<dyn Sale>))
            .app_data(Data::new(self.suppliers))
            .app_data(Data::new(self.reservations))
            .app_data(Data::new(self.movements))
            .app_data(Data::new(self.carts))
            .app_data(Data::new(self.orders))
            .app_data(Data::<dyn Till>::from(Arc::new(self.payments.clone()) as Arc<dyn Till>))
            .app_data(Data::new(self.payments))
            .app_data(Data::new(self.notifications))
            .app_data(Data::new(self.live_settings))
            .app_data(Data::new(self.health))
            .app_data(Data::new(self.reconcile))
            .app_data(Data::new(self.idempotency))
            .app_data(Data::new(self.rate_limits))
            .app_data(Data::new(Proxies(self.settings.server.trusted_proxies.clone())))
            .app_data(Data::new(AllowedHosts(self.settings.server.allowed_hosts.clone())))
            .app_data(Data::new(self.sales))
            .app_data(Data::new(self.readiness))
            .configure(accounts::routes)
            .configure(audit::routes)
            .configure(catalogue::routes)
            .configure(suppliers::routes)
            .configure(reservations::routes)
            .configure(sales::routes)
            .configure(stock::routes)
            .configure(cart::routes)
            .configure(orders::routes)
            .configure(payments::routes)
            .configure(notifications::routes)
            .configure(health::routes)
            .configure(reconcile::routes)
            .configure(settings::routes)
            .configure(console::routes)
            .configure(probes::routes)
            .configure(codes::routes)
            .configure(openapi::routes)
            .default_service(web::route().to(no_route));
    }
}

fn serve_api(
    settings: &Settings,
    handles: Handles,
    redis: Redis,
) -> anyhow::Result<(actix_web::dev::Server, SocketAddr)> {
    let wanted = (settings.server.host.clone(), settings.server.port);
    let origins = (settings.cors.clone(), handles.current.clone());
    let server = HttpServer::new(move || {
        let handles = handles.on_lane(&redis);
        HttpApp::new()
            .configure(|config| handles.routes(config))
            .wrap(from_fn(idempotent))
            .wrap(from_fn(limited))
            .wrap(Compress::default())
            .wrap(cors(&origins.0, origins.1.clone()))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(from_fn(edge))
    });
    let workers = match settings.server.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let server = server
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(settings.server.shutdown_timeout.as_secs())
        .bind(&wanted)
        .with_context(|| format!("cannot listen on {}:{}", wanted.0, wanted.1))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

fn serve_management(
    settings: &Settings,
    readiness: &Readiness,
    recorder: PrometheusHandle,
) -> anyhow::Result<(actix_web::dev::Server, SocketAddr)> {
    let readiness = readiness.clone();
    let server = HttpServer::new(move || {
        HttpApp::new()
            .app_data(Data::new(readiness.clone()))
            .app_data(Data::new(recorder.clone()))
            .configure(probes::routes)
            .route("/metrics", web::get().to(render_metrics))
    });
    let wanted = &settings.server.management_bind;
    let server = server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(wanted)
        .with_context(|| format!("cannot listen on {wanted} (server.management_bind)"))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

async fn render_metrics(recorder: Data<PrometheusHandle>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(recorder.render())
}

/// Keeps histograms small, asks Postgres how it is, and measures the process.
async fn upkeep(
    tasks: Tasks,
    recorder: PrometheusHandle,
    vitals: Vitals,
    db: Db,
    readiness: Readiness,
) {
    const PROBE: Duration = Duration::from_secs(1);
    let turns = metrics::UPKEEP.as_secs() / PROBE.as_secs();
    let mut turn = 0;
    loop {
        match postgres::is_writable(&db).await {
            Ok(true) => readiness.set("postgres", true, "answering"),
            Ok(false) => {
                readiness.set("postgres", false, "read-only: a standby that was not promoted?");
            }
            Err(fault) => readiness.set("postgres", false, fault.to_string()),
        }
        vitals.measure_pools();
        if turn % turns == 0 {
            recorder.run_upkeep();
            vitals.measure_process();
        }
        metrics::turned("upkeep");
        turn += 1;
        if !tasks.pause(PROBE).await {
            return;
        }
    }
}
