//! The core: holds in Redis, decisions in Postgres, and everything that keeps the two true to each other.
//!
//! Redis admits and holds; Postgres decides and remembers. The commit point of a sale is one row,
//! `reservation_decisions`: whoever inserts it first decides, everything else applies it and may be repeated.
//! Reservations know nothing of orders.

mod archive;
mod audit;
mod batch;
mod cancel;
mod clock;
mod confirm;
mod decision_store;
mod drift;
mod end_http;
mod events;
mod events_http;
mod examine;
mod expiry;
mod extend;
mod finding;
mod history_store;
mod hold_events;
mod hold_events_store;
mod hold_history;
mod hold_place;
mod holds;
mod holds_http;
mod http;
mod keys;
mod late;
mod ledger;
mod list_http;
mod movements;
mod news;
mod query;
mod rates;
mod rebuild;
mod record;
mod recovery;
mod reserve;
mod reserve_http;
mod retime;
mod sales;
mod startup;
mod stock;
mod stock_http;
mod stock_store;
mod store;
mod terms;
mod watch;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::{Catalogue, Name};
use crate::config::{Current, SweeperSettings};
use crate::kernel::Clock;
use crate::platform::redis::{Redis, Via};
use crate::platform::{Db, Fault, Outcome, Tasks};

use batch::Batches;
use drift::Drifts;
use events::Streams;
use hold_events::HoldEvents;
use ledger::{Ledger, Trouble};
use news::Audience;
use rates::Lags;
use rebuild::Rebuilder;
use stock::Snapshots;
use watch::Watch;

pub use cancel::EndError;
pub use clock::ExpiryClock;

pub use confirm::{
    DecidedLine, Decision, Figures, Outcome as DecisionOutcome, PinError, Pinned, PinnedLine,
};
pub use decision_store::decision;
pub(crate) use decision_store::decision_columns;
pub use drift::Drift;
pub use events::Watching;
pub use examine::{Discrepancy, ExaminedPage};
pub use hold_history::Happened;
pub use hold_place::HoldPlace;
pub use holds::{FoundHold, HoldsOf};
pub use http::{Operations, routes};
pub use ledger::Audit;
pub use movements::Grab;
pub use news::{News, Wanted};
pub use query::{Item, Reservation, Status};
pub use rates::{Point, Rates, STEP_S, outlook};
pub use reserve::{Held, Hold, ReserveError, Short};
pub use retime::RetimedPage;
pub use sales::{By, Extension};
pub use startup::check as check_redis;
pub use stock::{Snapshot, Stock};
pub use store::STATEMENTS;

/// What the reservations are made of.
pub struct Parts {
    /// For requests.
    pub db: Db,
    /// For background work.
    pub background_db: Db,
    /// For background work, and for connections of other kinds.
    pub redis: Redis,
    /// Names of products.
    pub catalogue: Catalogue,
    /// The settings in force, for hold times and limits.
    pub settings: Current,
    /// The section `sweeper`.
    pub sweeper: SweeperSettings,
    /// No request takes longer.
    pub deadline: Duration,
    /// Where background work runs.
    pub tasks: Tasks,
    /// The service's clock.
    pub clock: Clock,
    /// Most watchers of stock at a time.
    pub event_streams: usize,
}

struct Shared {
    db: Db,
    background_db: Db,
    catalogue: Catalogue,
    settings: Current,
    sweeper: SweeperSettings,
    deadline: Duration,
    tasks: Tasks,
    redis: Redis,
    rebuilder: Rebuilder,
    watch: Watch,
    snapshots: Snapshots,
    streams: Streams,
    audience: Audience,
    drift: Drifts,
    lags: Lags,
    hold_events: HoldEvents,
}

/// The reservations' handle; each worker has one with its own lane.
#[derive(Clone)]
pub struct Reservations {
    shared: Arc<Shared>,
    ledger: Ledger,
    batches: Option<Arc<Batches>>,
}

impl Reservations {
    /// The handle of background work, over the pool.
    pub fn new(parts: Parts) -> Self {
        let audience = Audience::default();
        let via = Via::Pool(parts.redis.clone());
        let ledger = Ledger::new(via, parts.redis.prefix(), audience.clone());
        let rebuilder = Rebuilder::new(
            ledger.clone(),
            parts.background_db.clone(),
            parts.catalogue.clone(),
            parts.clock.clone(),
        );
        let shared = Shared {
            hold_events: HoldEvents::new(parts.clock.clone()),
            watch: Watch::new(parts.clock),
            snapshots: Snapshots::new(parts.settings.load().reservation.stock_max_age),
            streams: Streams::new(parts.event_streams),
            audience,
            drift: Drifts::default(),
            lags: Lags::new(),
            db: parts.db,
            background_db: parts.background_db,
            catalogue: parts.catalogue,
            settings: parts.settings,
            sweeper: parts.sweeper,
            deadline: parts.deadline,
            tasks: parts.tasks,
            redis: parts.redis,
            rebuilder,
        };
        Self { shared: Arc::new(shared), ledger, batches: None }
    }

    /// The same reservations for a worker: over a way to Redis of its own, on which it gathers wishes into batches.
    pub fn over(&self, via: Via) -> Self {
        let ledger = self.ledger.over(via);
        let direct = Self { shared: self.shared.clone(), ledger, batches: None };
        Self { batches: Some(Arc::new(Batches::new(&direct))), ..direct }
    }

    /// The catalogue that they sell from.
    pub fn catalogue(&self) -> &Catalogue {
        &self.shared.catalogue
    }

    /// What audits of this process found wrong lately.
    pub fn drift(&self) -> Vec<Drift> {
        self.shared.drift.all(self.shared.watch.now_ms())
    }

    /// How many SKUs this process rebuilt, and when the last one was, in ms (0: none).
    pub fn rebuilds(&self) -> (u64, i64) {
        self.shared.rebuilder.made()
    }

    /// The last pass over all SKUs: how many, and when it ended, in ms (0: there was none).
    pub fn last_pass(&self) -> (i64, i64) {
        self.shared.drift.last_pass()
    }

    /// How long holds of products last that say nothing of it.
    pub fn default_ttl_seconds(&self) -> u32 {
        self.shared.settings.load().reservation.ttl_seconds
    }

    /// Runs one script on a SKU; a SKU that must be rebuilt is, and then it runs again.
    async fn on_sku<T, Answer>(
        &self,
        name: &Arc<Name>,
        run: impl Fn() -> Answer,
    ) -> Result<T, Fault>
    where
        Answer: Future<Output = Result<T, Trouble>>,
    {
        const REBUILDS: usize = 4;
        for _ in 0..=REBUILDS {
            let asked = std::time::Instant::now();
            match run().await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Fault(fault)) => return Err(fault),
                Err(Trouble::Rebuild) => {
                    self.shared.rebuilder.rebuild_since(name, asked).await?;
                }
            }
        }
        Err(Fault::unavailable("a SKU asks for a rebuild again and again", Outcome::None))
    }

    /// The same for work that changes nothing.
    async fn reading<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.in_time(work).await.map_err(|fault| fault.with_outcome(Outcome::None))
    }

    /// Ends `work` at the request deadline; what it began may then still have its effect.
    async fn in_time<T, E: From<Fault>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match tokio::time::timeout(self.shared.deadline, work).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(Fault::unavailable("the request's deadline", Outcome::Unknown)
                .because(elapsed)
                .into()),
        }
    }
}
