//! What handlers and background work hold, built once and in the order of the folders.

use std::sync::Arc;

use crate::accounts::Accounts;
use crate::app::ground::Ground;
use crate::audit::Audit;
use crate::cart::Carts;
use crate::catalogue::Catalogue;
use crate::config::{Current, Loaded, Settings};
use crate::health::{self, Health};
use crate::identity::{Authenticator, Tokens};
use crate::notifications::Notifications;
use crate::orders::Orders;
use crate::payments::Payments;
use crate::platform::http::idempotency::Idempotency;
use crate::platform::http::limits::RateLimits;
use crate::platform::http::probes::Readiness;
use crate::platform::redis::{Lane, Redis, Via};
use crate::platform::replicas::Replicas;
use crate::reconcile::Reconcile;
use crate::reservations::Reservations;
use crate::sales::Sales;
use crate::settings::LiveSettings;
use crate::stock::Movements;
use crate::suppliers::Suppliers;

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

impl Handles {
    pub(super) fn new(
        loaded: Loaded,
        ground: &Ground,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let Ground { settings, tasks, clock, .. } = ground;
        let (db, deadline) = (&ground.pools.requests, settings.server.request_deadline);
        let catalogue = ground.catalogue()?;
        let reservations = ground.reservations(catalogue.clone(), settings.server.event_streams);
        let movements = Movements::new(reservations.clone(), db.clone(), tasks.clone(), deadline);
        let carts = Carts::new(db.clone(), reservations.clone());
        let tokens = Tokens::new(&settings.auth)?;
        let accounts =
            Accounts::new(db.clone(), tokens.clone(), clock.clone(), &settings.auth, deadline)?;
        let orders = Orders::new(
            reservations.clone(),
            carts.clone(),
            movements.clone(),
            db.clone(),
            tasks.clone(),
            deadline,
        );
        let payments = ground.payments(&orders, &movements)?;
        let audit = Audit::new(db.clone());
        let live_settings = ground.live_settings(loaded, &reservations, &audit);
        let notifications = ground.notifications(&orders, &accounts)?;
        let health = Health::new(health::Parts {
            readiness: readiness.clone(),
            replicas: Replicas::new(ground.redis.clone()),
            reservations: reservations.clone(),
            notifications: notifications.clone(),
            live_settings: live_settings.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
        });
        Ok(Self {
            authenticator: Authenticator { tokens, clock: clock.clone() },
            sales: Sales::new(reservations.clone(), audit.clone(), tasks.clone()),
            suppliers: Suppliers::new(db.clone()),
            reconcile: ground.reconcile(&reservations, &audit),
            idempotency: ground.idempotency(),
            rate_limits: ground.rate_limits(),
            settings: settings.clone(),
            current: ground.current.clone(),
            readiness: readiness.clone(),
            accounts,
            audit,
            carts,
            catalogue,
            health,
            live_settings,
            movements,
            notifications,
            orders,
            payments,
            reservations,
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
