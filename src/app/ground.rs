//! What all handles stand on: the settings, the stores, the clock, and where background work runs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::catalogue::Catalogue;
use crate::config::{Current, Loaded, Settings};
use crate::identity::{caller_of, subject_of};
use crate::kernel::Clock;
use crate::notifications::{self, Notifications};
use crate::orders::Orders;
use crate::payments::{self, Gateways, Payments};
use crate::platform::cache::Cache;
use crate::platform::http::idempotency::Idempotency;
use crate::platform::http::limits::RateLimits;
use crate::platform::limiter::Limiter;
use crate::platform::redis::{Redis, Via};
use crate::platform::{Db, Tasks, postgres};
use crate::reconcile::{self, Reconcile};
use crate::reservations::{self, Reservations};
use crate::settings::{self, LiveSettings};
use crate::stock::Movements;

/// How long a statement may take that a person asked for and waits for.
const LONGEST_STATEMENT: Duration = Duration::from_secs(60);

/// Connections to Postgres, by who may wait for whom.
pub(super) struct Pools {
    pub(super) requests: Db,
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

pub(super) struct Ground {
    pub(super) settings: Arc<Settings>,
    pub(super) current: Current,
    pub(super) pools: Pools,
    pub(super) redis: Redis,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
}

impl Ground {
    /// Postgres is asked whether it is as it must be; Redis is not asked anything yet.
    pub(super) async fn new(settings: &Settings, clock: Clock) -> anyhow::Result<Self> {
        let db = Db::new(&settings.database, &clock).context("the setting database.url")?;
        let pools = Pools::new(settings, &db)?;
        postgres::check(&db).await.context("postgres is not as it must be")?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
            current: Current::new(settings.clone()),
            pools,
            redis: Redis::new(&settings.redis).context("the setting redis.url")?,
            tasks: Tasks::new(),
            clock,
        })
    }

    fn via(&self) -> Via {
        Via::Pool(self.redis.clone())
    }

    pub(super) fn catalogue(&self) -> anyhow::Result<Catalogue> {
        let Settings { shop, catalogue, .. } = &*self.settings;
        let currency =
            shop.currency.parse().map_err(anyhow::Error::msg).context("shop.currency")?;
        let prefix = format!("{}catalogue:", self.redis.prefix());
        let shown = Cache::new(self.via(), &prefix, catalogue.cache_ttl);
        Ok(Catalogue::new(self.pools.requests.clone(), currency, shown))
    }

    pub(super) fn reservations(&self, catalogue: Catalogue, event_streams: usize) -> Reservations {
        Reservations::new(reservations::Parts {
            db: self.pools.requests.clone(),
            background_db: self.pools.background.clone(),
            redis: self.redis.clone(),
            catalogue,
            settings: self.current.clone(),
            sweeper: self.settings.sweeper.clone(),
            deadline: self.settings.server.request_deadline,
            tasks: self.tasks.clone(),
            clock: self.clock.clone(),
            event_streams,
        })
    }

    pub(super) fn payments(
        &self,
        orders: &Orders,
        movements: &Movements,
    ) -> anyhow::Result<Payments> {
        let Settings { payments, auth, server, .. } = &*self.settings;
        let gateways = Gateways::new(payments, self.via(), self.redis.prefix(), &self.clock);
        Ok(Payments::new(payments::Parts {
            db: self.pools.requests.clone(),
            background_db: self.pools.background.clone(),
            orders: orders.clone(),
            reservations: orders.reservations().clone(),
            movements: movements.clone(),
            tasks: self.tasks.clone(),
            settings: self.current.clone(),
            gateways: gateways.context("the certificates of this machine")?,
            secret: auth.jwt_secret.expose_secret().as_bytes().to_vec(),
            deadline: server.request_deadline,
            clock: self.clock.clone(),
        }))
    }

    pub(super) fn live_settings(
        &self,
        loaded: Loaded,
        reservations: &Reservations,
        audit: &Audit,
    ) -> LiveSettings {
        LiveSettings::new(settings::Parts {
            db: self.pools.requests.clone(),
            background_db: self.pools.background.clone(),
            start: loaded,
            current: self.current.clone(),
            reservations: reservations.clone(),
            audit: audit.clone(),
            tasks: self.tasks.clone(),
            clock: self.clock.clone(),
        })
    }

    pub(super) fn notifications(
        &self,
        orders: &Orders,
        accounts: &Accounts,
    ) -> anyhow::Result<Notifications> {
        let parts = notifications::Parts {
            db: self.pools.requests.clone(),
            background_db: self.pools.background.clone(),
            orders: orders.clone(),
            accounts: accounts.clone(),
            reservations: orders.reservations().clone(),
            tasks: self.tasks.clone(),
            clock: self.clock.clone(),
        };
        Ok(Notifications::new(parts, &self.settings)?)
    }

    pub(super) fn reconcile(&self, reservations: &Reservations, audit: &Audit) -> Reconcile {
        Reconcile::new(reconcile::Parts {
            db: self.pools.patient.clone(),
            reservations: reservations.clone(),
            audit: audit.clone(),
            tasks: self.tasks.clone(),
        })
    }

    pub(super) fn idempotency(&self) -> Idempotency {
        Idempotency {
            via: self.via(),
            prefix: self.redis.prefix().to_owned(),
            tasks: self.tasks.clone(),
            claim: self.settings.server.request_deadline * 2,
            caller: caller_of,
        }
    }

    pub(super) fn rate_limits(&self) -> RateLimits {
        let limiter = Limiter::new(self.via(), self.redis.prefix());
        RateLimits::new(limiter, &self.current, subject_of)
    }
}

/// Reconciling beside a running service.
pub async fn reconcile(settings: &Settings) -> anyhow::Result<Reconcile> {
    let ground = Ground::new(settings, Clock::System).await?;
    let reservations = ground.reservations(ground.catalogue()?, 0);
    reservations.open_gate().await.context("redis is not as it must be")?;
    let audit = Audit::new(ground.pools.requests.clone());
    Ok(ground.reconcile(&reservations, &audit))
}
