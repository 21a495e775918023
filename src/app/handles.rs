//! What handlers and background work hold, built once and in the order of the folders.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::cart::Carts;
use crate::catalogue::Catalogue;
use crate::config::{Current, Loaded, Settings};
use crate::health::{self, Health};
use crate::identity::{Authenticator, Tokens, caller_of, subject_of};
use crate::kernel::Clock;
use crate::notifications::{self, Notifications};
use crate::orders::Orders;
use crate::payments::{self, Gateways, Payments};
use crate::platform::cache::Cache;
use crate::platform::http::idempotency::Idempotency;
use crate::platform::http::limits::RateLimits;
use crate::platform::http::probes::Readiness;
use crate::platform::limiter::Limiter;
use crate::platform::redis::{Lane, Redis, Via};
use crate::platform::replicas::Replicas;
use crate::platform::{Db, Tasks, postgres};
use crate::reconcile::{self, Reconcile};
use crate::reservations::{self, Reservations};
use crate::sales::Sales;
use crate::settings::{self, LiveSettings};
use crate::stock::Movements;
use crate::suppliers::Suppliers;

/// How long a statement may take that a person asked for and waits for.
const LONGEST_STATEMENT: Duration = Duration::from_secs(60);

/// Everything that one worker's handlers may ask for.
#[derive(Clone)]
pub(super) struct Handles {
    pub(super) authenticator: Authenticator,
    pub(super) accounts: Accounts,
    pub(super) audit: Audit,
    pub(super) catalogue: Catalogue,
    pub(super) suppliers: Suppliers,
    pub(super) reservations: Reservations,
    pub(super) movements: Movements,
    pub(super) carts: Carts,
    pub(super) orders: Orders,
    pub(super) payments: Payments,
    pub(super) notifications: Notifications,
    pub(super) live_settings: LiveSettings,
    pub(super) health: Health,
    pub(super) reconcile: Reconcile,
    pub(super) idempotency: Idempotency,
    pub(super) rate_limits: RateLimits,
    pub(super) sales: Sales,
    pub(super) readiness: Readiness,
    pub(super) settings: Arc<Settings>,
    pub(super) current: Current,
}

/// Connections to Postgres, by who may wait for whom.
pub(super) struct Pools {
    requests: Db,
    background: Db,
    /// For what a person waits for.
    patient: Db,
}

impl Pools {
    pub(super) fn new(settings: &Settings, requests: &Db) -> anyhow::Result<Self> {
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

    pub(super) fn all(self) -> Vec<Db> {
        vec![self.requests, self.background, self.patient]
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

impl Handles {
    pub(super) fn new(
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
    pub(super) fn on_lane(&self, redis: &Redis) -> Self {
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
}
