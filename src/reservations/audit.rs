//! The slow full pass over every SKU: finds what died with another replica (deadlines, pins, tombstones), and checks
//! that Redis and Postgres tell the same story. Two failed audits in a row bring a rebuild.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::ProductId;
use crate::platform::{Fault, metrics as names};
use crate::reservations::ledger::{Audit, Trouble};
use crate::reservations::{Reservations, store};

/// SKUs per step of the pass.
const STEP: i64 = 500;

/// Stock as the API shows it; always `total = available + reserved + sold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Units that came in, net of returns.
    pub total_stock: i64,
    /// Units that may be held.
    pub available_stock: i64,
    /// Units held, those being confirmed included.
    pub reserved_stock: i64,
    /// Units sold, net of returns.
    pub sold_stock: i64,
    /// As of when, by Redis's clock.
    pub as_of_ms: i64,
    /// Whether the product is not published.
    pub hidden: bool,
}

impl From<&Audit> for Shown {
    fn from(audit: &Audit) -> Self {
        let total_stock = audit.stocked - audit.returned;
        let available_stock = audit.avail.clamp(0, total_stock.max(0));
        let sold_stock = (audit.sold - audit.returned).max(0);
        let reserved_stock = total_stock - available_stock - sold_stock;
        Self {
            total_stock,
            available_stock,
            reserved_stock,
            sold_stock,
            as_of_ms: audit.now_ms,
            hidden: audit.hidden,
        }
    }
}

/// What the pass remembers from one time to the next.
#[derive(Default)]
pub(super) struct Suspects {
    failed: HashSet<ProductId>,
}

impl Reservations {
    /// The stock of a product.
    pub async fn stock(&self, name: &Arc<Name>) -> Result<Shown, Fault> {
        self.reading(async { Ok(Shown::from(&self.audit(name).await?)) }).await
    }

    /// The counters of a product.
    pub async fn audit(&self, name: &Arc<Name>) -> Result<Audit, Fault> {
        self.on_sku(name, || self.ledger.audit(&name.sku)).await
    }

    /// Passes over all SKUs again and again until the service stops.
    pub(super) async fn run_pass(self) {
        let mut suspects = Suspects::default();
        while self
            .shared
            .tasks
            .pause(crate::platform::tasks::jittered(self.shared.sweeper.full_pass))
            .await
        {
            if let Err(fault) = self.pass(&mut suspects).await {
                tracing::warn!(error = fault.chain(), "a pass over all SKUs was cut short");
            }
        }
    }

    /// One pass.
    pub(super) async fn pass(&self, suspects: &mut Suspects) -> Result<(), Fault> {
        let (mut after, mut totals) = (0, Totals::default());
        loop {
            let names = store::known(&self.shared.background_db, after, STEP).await?;
            let Some((last, _)) = names.last() else { break };
            after = last.get();
            self.pass_step(names, suspects, &mut totals).await?;
        }
        metrics::gauge!(names::EPOCH_GAP).set(totals.epoch_gap as f64);
        metrics::gauge!(names::DRIFT_UNITS).set(totals.drift as f64);
        metrics::gauge!(names::NEGATIVE_AVAIL).set(totals.negative as f64);
        metrics::gauge!(names::OLDEST_PIN_AGE).set(totals.oldest_pin_age_ms as f64 / 1_000.0);
        Ok(())
    }

    async fn pass_step(
        &self,
        names: Vec<(ProductId, crate::kernel::Sku)>,
        suspects: &mut Suspects,
        totals: &mut Totals,
    ) -> Result<(), Fault> {
        let ids: Vec<ProductId> = names.iter().map(|(id, _)| *id).collect();
        let names: Vec<Arc<Name>> =
            names.into_iter().map(|(id, sku)| Arc::new(Name { id, sku })).collect();
        // Postgres is read on both sides of Redis: what Redis says must lie between the two.
        let before = self.sold(&ids).await?;
        let audits = names.iter().map(|name| self.ledger.audit(&name.sku));
        let audits = futures_util::future::join_all(audits).await;
        let after = self.sold(&ids).await?;
        for (name, audit) in names.iter().zip(audits) {
            let (Some(before), Some(after)) = (before.get(&name.id), after.get(&name.id)) else {
                continue;
            };
            match audit {
                Ok(audit) => {
                    let finding = Finding::of(&audit, *before, *after);
                    self.note_audit(name, &audit);
                    totals.add(&audit, &finding);
                    self.judge(name, finding, suspects).await?;
                }
                Err(Trouble::Rebuild) => self.shared.rebuilder.rebuild(name).await?,
                Err(Trouble::Fault(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn sold(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Ledger>, Fault> {
        let rows = store::stock(&self.shared.background_db, ids).await?;
        Ok(rows.into_iter().map(|(id, epoch, sold)| (id, Ledger { epoch, sold })).collect())
    }

    /// Tells the watch what is due, unless there is nothing on this SKU.
    fn note_audit(&self, name: &Arc<Name>, audit: &Audit) {
        self.shared.watch.redis_time(audit.now_ms);
        if audit.earliest_ms + audit.oldest_pin_ms + audit.oldest_end_ms > 0 {
            let watched = self.watched(name);
            watched.due_at(audit.earliest_ms);
            watched.pinned_at(audit.oldest_pin_ms);
            watched.ended_at(audit.oldest_end_ms);
        }
    }

    async fn judge(
        &self,
        name: &Arc<Name>,
        finding: Finding,
        suspects: &mut Suspects,
    ) -> Result<(), Fault> {
        if finding == Finding::default() {
            suspects.failed.remove(&name.id);
            return Ok(());
        }
        if finding.ahead {
            // Only Postgres can have lost something: no unit is promised on what it forgot.
            tracing::error!(sku = %name.sku, ?finding, "postgres is behind redis; the SKU is closed");
            return self.ledger.close(&name.sku).await;
        }
        if suspects.failed.insert(name.id) {
            return Ok(());
        }
        tracing::error!(sku = %name.sku, ?finding, "redis and postgres differ; the SKU is rebuilt");
        suspects.failed.remove(&name.id);
        self.shared.rebuilder.rebuild(name).await
    }
}

/// Postgres's side of a SKU.
#[derive(Clone, Copy)]
struct Ledger {
    epoch: i64,
    sold: i64,
}

/// What an audit found wrong.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding {
    /// The counters do not add up (INV2).
    unbalanced: bool,
    /// Units sold in one store and not explained in the other.
    drift: i64,
    /// A rebuild bumped the epoch and never finished.
    epoch_gap: i64,
    /// Redis is of a rebuild that Postgres does not know.
    ahead: bool,
}

impl Finding {
    fn of(audit: &Audit, before: Ledger, after: Ledger) -> Self {
        let empty = (audit.live == 0) == (audit.held == 0);
        let balanced = audit.avail + audit.held + audit.sold == audit.stocked
            && audit.held >= audit.live
            && audit.strays == 0
            && empty;
        // Postgres may be ahead by what is pinned, and Redis never.
        let missing = (before.sold - audit.sold - audit.pinned).max(0);
        let surplus = (audit.sold - after.sold).max(0);
        Self {
            unbalanced: !balanced,
            drift: missing + surplus,
            epoch_gap: (before.epoch - audit.epoch).max(0),
            ahead: audit.epoch > after.epoch,
        }
    }
}

#[derive(Default)]
struct Totals {
    epoch_gap: i64,
    drift: i64,
    negative: i64,
    oldest_pin_age_ms: i64,
}

impl Totals {
    fn add(&mut self, audit: &Audit, finding: &Finding) {
        self.epoch_gap = self.epoch_gap.max(finding.epoch_gap);
        self.drift += finding.drift;
        self.negative += (-audit.avail).max(0);
        if audit.oldest_pin_ms > 0 {
            self.oldest_pin_age_ms = self.oldest_pin_age_ms.max(audit.now_ms - audit.oldest_pin_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        Audit {
            now_ms: 1,
            epoch: 3,
            stocked: 10,
            avail: 5,
            held: 3,
            sold: 2,
            returned: 0,
            live: 2,
            earliest_ms: 0,
            oldest_pin_ms: 0,
            oldest_end_ms: 0,
            pinned: 1,
            hidden: false,
            strays: 0,
        }
    }

    fn finding(audit: &Audit, before: i64, after: i64) -> Finding {
        Finding::of(audit, Ledger { epoch: 3, sold: before }, Ledger { epoch: 3, sold: after })
    }

    #[test]
    fn a_pinned_unit_explains_that_postgres_is_ahead() {
        assert_eq!(finding(&audit(), 3, 3), Finding::default());
        assert_eq!(finding(&audit(), 4, 4).drift, 1);
        assert_eq!(finding(&audit(), 1, 1).drift, 1);
        assert_eq!(finding(&audit(), 1, 2).drift, 0, "sold while the audit ran");
    }

    #[test]
    fn counters_that_do_not_add_up_are_found() {
        assert!(finding(&Audit { avail: 6, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { live: 4, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { live: 0, ..audit() }, 2, 2).unbalanced);
        assert!(finding(&Audit { strays: -1, ..audit() }, 2, 2).unbalanced);
        assert_eq!(
            Finding::of(&audit(), Ledger { epoch: 5, sold: 2 }, Ledger { epoch: 5, sold: 2 })
                .epoch_gap,
            2
        );
        let behind = Ledger { epoch: 2, sold: 2 };
        assert!(Finding::of(&audit(), behind, behind).ahead);
    }

    #[test]
    fn shown_stock_adds_up_even_below_zero() {
        for audit in
            [audit(), Audit { avail: -2, held: 10, ..audit() }, Audit { returned: 2, ..audit() }]
        {
            let shown = Shown::from(&audit);
            assert_eq!(
                shown.total_stock,
                shown.available_stock + shown.reserved_stock + shown.sold_stock
            );
            assert!(shown.available_stock >= 0);
        }
    }
}
