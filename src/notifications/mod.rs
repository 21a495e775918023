//! News for the outside: webhooks to storefronts and mail to buyers, from the outbox that every change writes to.
//!
//! At least once, and of one subject in order: an event is sent to a receiver only when the one before it was delivered
//! or given up. Nothing here stands on the way of a request, and nothing is lost by a crash at any moment.

mod address;
mod dead_letters;
mod dead_letters_http;
mod dead_letters_store;
mod deliver;
mod endpoints;
mod endpoints_store;
mod events;
mod http;
mod mail;
mod news;
mod resend;
mod resend_http;
mod signature;
mod spread;
mod store;
mod template;
mod vault;
mod webhook;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Started};

use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::config::{OutboxSettings, Settings, WebhookSettings};
use crate::kernel::Clock;
use crate::orders::Orders;
use crate::platform::{Db, Fault, Tasks, metrics as names};
use crate::reservations::Reservations;

pub use dead_letters::DeadLetter;
pub use endpoints::{KEEP, KEEP_MOST, RegisterError, Registration, Stored};
pub use events::EVENTS;
pub use http::{Operations, routes};
pub use store::STATEMENTS;
pub use webhook::UrlError;

use endpoints::Endpoint;

/// How long changes are gathered before they are spread.
const GATHER: Duration = Duration::from_millis(20);
/// Time between two looks at Redis, while somebody wants to hear of what begins there.
const LOOK: Duration = Duration::from_millis(100);
/// Time between two looks at how much waits.
const MEASURE: Duration = Duration::from_secs(10);

/// What they are made of.
pub struct Parts {
    /// For requests.
    pub db: Db,
    /// For everything else.
    pub background_db: Db,
    /// What orders are told of.
    pub orders: Orders,
    /// Where else the address of a buyer may stand.
    pub accounts: Accounts,
    /// Whose news begins in Redis.
    pub reservations: Reservations,
    /// Runs the loops.
    pub tasks: Tasks,
    /// Stamps calls.
    pub clock: Clock,
}

/// The notifications' handle.
#[derive(Clone)]
pub struct Notifications {
    shared: Arc<Shared>,
}

struct Shared {
    db: Db,
    background_db: Db,
    orders: Orders,
    accounts: Accounts,
    reservations: Reservations,
    tasks: Tasks,
    caller: webhook::Caller,
    mailer: Option<mail::Mailer>,
    vault: vault::Vault,
    outbox: OutboxSettings,
    webhooks: WebhookSettings,
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    /// The endpoints have changed.
    stale: AtomicBool,
    /// Receivers whose lane runs in this process.
    lanes: Mutex<HashSet<Uuid>>,
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifications {
    /// Notifications by these settings.
    pub fn new(parts: Parts, settings: &Settings) -> Result<Self, Fault> {
        let shared = Shared {
            caller: webhook::Caller::new(&settings.webhooks, parts.clock)?,
            mailer: mail::Mailer::new(&settings.mail)?,
            vault: vault::Vault::new(&settings.auth)?,
            outbox: settings.outbox.clone(),
            webhooks: settings.webhooks.clone(),
            db: parts.db,
            background_db: parts.background_db,
            orders: parts.orders,
            accounts: parts.accounts,
            reservations: parts.reservations,
            tasks: parts.tasks,
            endpoints: ArcSwap::default(),
            stale: AtomicBool::new(true),
            lanes: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Starts the loops.
    pub fn start(&self) {
        drop(self.shared.tasks.spawn(self.clone().run()));
    }

    /// Spreads and delivers until the service stops.
    async fn run(self) {
        let mut measured: Option<Started> = None;
        let stop = self.shared.tasks.stop().clone();
        while !stop.is_cancelled() {
            match self.run_once().await {
                Ok(()) => names::turned("outbox"),
                Err(fault) => tracing::warn!(error = fault.chain(), "news waits"),
            }
            if measured.is_none_or(|at| at.elapsed() > MEASURE) {
                measured = Some(Started::now());
                if let Err(fault) = self.measure().await {
                    tracing::warn!(error = fault.chain(), "the outbox was not measured");
                }
            }
            // Changes come in swarms; and while nobody wants to know, there is only something to throw away.
            let gather = if self.nobody_listens() { self.shared.outbox.poll } else { GATHER };
            if !self.shared.tasks.pause(gather).await {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.db.outbox().notified() => {}
                () = tokio::time::sleep(self.patience()) => {
                    self.shared.stale.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// How long to wait for a hint before the next look. Of what happens in Redis there is none.
    fn patience(&self) -> Duration {
        let wanted = self.shared.reservations.wanted_news();
        let poll = self.shared.outbox.poll;
        if wanted.holds || wanted.stock { poll.min(LOOK) } else { poll }
    }

    fn nobody_listens(&self) -> bool {
        self.shared.mailer.is_none() && self.shared.endpoints.load().is_empty()
    }

    /// Looks once: brings news from Redis, spreads the outbox, and sees that a lane runs for all who are to be told.
    pub async fn run_once(&self) -> Result<(), Fault> {
        if self.shared.stale.swap(false, Ordering::Relaxed) {
            let loaded = self.load_endpoints().await;
            loaded.inspect_err(|_| self.reload())?;
        }
        self.bring_news().await?;
        self.spread().await?;
        self.start_lanes().await
    }

    /// Reads the endpoints anew at the next look, which is now.
    fn reload(&self) {
        self.shared.stale.store(true, Ordering::Relaxed);
        self.shared.db.outbox().notify_one();
    }

    /// What waits to be sent, the age of the oldest in seconds, and what was given up.
    pub async fn backlog(&self) -> Result<(i64, f64, i64), Fault> {
        let backlog = store::backlog(&self.shared.db).await?;
        Ok((backlog.waiting, backlog.oldest_s, backlog.dead))
    }

    async fn measure(&self) -> Result<(), Fault> {
        store::sweep(&self.shared.background_db).await?;
        let backlog = store::backlog(&self.shared.background_db).await?;
        metrics::gauge!(names::OUTBOX_BACKLOG).set(backlog.waiting as f64);
        metrics::gauge!(names::DEAD_LETTERS).set(backlog.dead as f64);
        metrics::gauge!(names::OUTBOX_OLDEST).set(backlog.oldest_s);
        Ok(())
    }
}
