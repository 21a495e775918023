//! The clock by which holds expire. While it is frozen no hold comes to its end by time, in any replica; afterwards each
//! has what it had left.
//!
//! Postgres has the state with its version; each SKU in Redis has a copy, and its scripts reckon with it, so replicas
//! need to know nothing. A copy that Redis lost comes back before a rebuild opens the SKU; what a crash left untold is
//! told by any replica.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::Instant;
use crate::platform::tasks::jittered;
use crate::platform::{Db, Fault, Outcome};
use crate::reservations::{Reservations, stock_store, store};

/// SKUs that are told in one flush.
const FLUSH: usize = 500;
/// Names that are read at once.
const STEP: i64 = 5_000;

/// The clock by which holds expire.
#[derive(Clone, Debug)]
pub struct ExpiryClock {
    /// Counts the changes.
    pub version: i64,
    /// How far it is behind Redis's clock, besides the freeze that lasts.
    pub lag_ms: i64,
    /// Where it stands, by Redis's clock.
    pub frozen_ms: Option<i64>,
    /// The version that all SKUs have.
    pub told: i64,
    /// Who changed it last.
    pub changed_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub changed_at: Instant,
}

impl Reservations {
    /// The clock by which holds expire.
    pub async fn expiry_clock(&self) -> Result<ExpiryClock, Fault> {
        store::expiry_clock(&self.shared.db).await
    }

    /// Freezes the clock, or lets it go on. When this returns, every SKU goes by it.
    pub async fn set_expiry(
        &self,
        frozen: bool,
        actor: &str,
        reason: Option<&str>,
    ) -> Result<ExpiryClock, Fault> {
        let now_ms = self.ledger.time_ms().await?;
        let db = &self.shared.db;
        store::set_expiry(db, frozen, now_ms, actor, reason).await?;
        // It stands in Postgres: what fails from here on is made good by the loop.
        let told = self.tell_clock(db).await;
        told.map_err(|fault| fault.with_outcome(Outcome::Unknown))
    }

    /// Tells every SKU that Redis has had, those that are held first.
    async fn tell_clock(&self, db: &Db) -> Result<ExpiryClock, Fault> {
        let clock = store::expiry_clock(db).await?;
        if clock.told >= clock.version {
            return Ok(clock);
        }
        let mut idle = Vec::new();
        let mut after = 0;
        loop {
            let known = stock_store::known(db, after, STEP).await?;
            let Some((last, _)) = known.last() else { break };
            after = last.get();
            for names in known.chunks(FLUSH) {
                let names: Vec<Arc<Name>> = names
                    .iter()
                    .map(|(id, sku)| Arc::new(Name { id: *id, sku: sku.clone() }))
                    .collect();
                let busy = self.ledger.busy(&names).await?;
                let mut held = Vec::new();
                for (name, busy) in names.into_iter().zip(busy) {
                    if busy { held.push(name) } else { idle.push(name) }
                }
                self.tell_clock_to(&held, &clock).await?;
            }
        }
        for names in idle.chunks(FLUSH) {
            self.tell_clock_to(names, &clock).await?;
        }
        store::clock_told(db, clock.version).await?;
        tracing::info!(
            version = clock.version,
            frozen = clock.frozen_ms.is_some(),
            "every SKU goes by the expiry clock"
        );
        Ok(clock)
    }

    async fn tell_clock_to(&self, names: &[Arc<Name>], clock: &ExpiryClock) -> Result<(), Fault> {
        if names.is_empty() {
            return Ok(());
        }
        let earliest = self.ledger.set_clocks(names, clock).await?;
        for (name, earliest_ms) in names.iter().zip(earliest) {
            if earliest_ms > 0 {
                self.shared.watch.of(name).due_at(earliest_ms);
            }
        }
        Ok(())
    }

    /// Tells what was left untold until the service stops.
    pub(super) async fn run_clock(self) {
        while self.shared.tasks.pause(jittered(super::startup::RETRY)).await {
            if let Err(fault) = self.tell_clock(&self.shared.background_db).await {
                tracing::warn!(error = fault.chain(), "the expiry clock waits to be told to redis");
            }
        }
    }
}
