//! The slow full pass over every SKU: finds what died with another replica (deadlines, pins, tombstones), and checks
//! that Redis and Postgres tell the same story. Two failed audits in a row bring a rebuild. Of a SKU at rest, on which
//! nothing is held or has just ended, it only asks whether that is still so; its audit comes once in a round of passes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::ProductId;
use crate::platform::{Fault, metrics as names};
use crate::reservations::ledger::{Audit, Trouble};
use crate::reservations::store::Shelf;
use crate::reservations::{Reservations, Wanted, store};

/// SKUs per step of the pass.
const STEP: usize = 500;

/// Passes in which every SKU is audited once, at rest or not.
const ROUND: usize = 12;

/// What the pass remembers from one time to the next.
#[derive(Default)]
pub(super) struct Memory {
    turn: usize,
    /// Every SKU that Redis has had, as of the beginning of the round.
    names: Vec<Arc<Name>>,
    /// What the last audit of a SKU found wrong, or near it.
    findings: HashMap<ProductId, (Finding, i64)>,
    failed: HashSet<ProductId>,
}

impl Reservations {
    /// The counters of a product.
    pub async fn audit(&self, name: &Arc<Name>) -> Result<Audit, Fault> {
        self.on_sku(name, || self.ledger.audit(&name.sku)).await
    }

    /// Passes over all SKUs again and again until the service stops.
    pub(super) async fn run_pass(self) {
        let mut memory = Memory::default();
        while self
            .shared
            .tasks
            .pause(crate::platform::tasks::jittered(self.shared.sweeper.full_pass))
            .await
        {
            if let Err(fault) = self.pass(&mut memory).await {
                tracing::warn!(error = fault.chain(), "a pass over all SKUs was cut short");
            }
        }
    }

    /// One pass: audits every SKU that has something on it, and its share of those at rest.
    async fn pass(&self, memory: &mut Memory) -> Result<(), Fault> {
        let turn = memory.turn % ROUND;
        if turn == 0 {
            memory.names = self.known_after(0).await?;
            let known: HashSet<ProductId> = memory.names.iter().map(|name| name.id).collect();
            memory.findings.retain(|id, _| known.contains(id));
        } else {
            let last = memory.names.last().map_or(0, |name| name.id.get());
            memory.names.extend(self.known_after(last).await?);
        }
        memory.turn += 1;
        let mut oldest_pin_age_ms = 0;
        for (step, names) in memory.names.clone().chunks(STEP).enumerate() {
            let busy = self.ledger.busy(names).await?;
            let audited = names.iter().zip(busy).enumerate().filter(|(at, (name, busy))| {
                *busy || (step + at) % ROUND == turn || memory.failed.contains(&name.id)
            });
            let audited: Vec<Arc<Name>> = audited.map(|(_, (name, _))| name.clone()).collect();
            oldest_pin_age_ms = self.audit_all(&audited, memory).await?.max(oldest_pin_age_ms);
        }
        let findings = || memory.findings.values();
        let gap = findings().map(|(finding, _)| finding.epoch_gap).max().unwrap_or(0);
        let drift: i64 = findings().map(|(finding, _)| finding.drift).sum();
        let negative: i64 = findings().map(|(_, negative)| negative).sum();
        metrics::gauge!(names::EPOCH_GAP).set(gap as f64);
        metrics::gauge!(names::DRIFT_UNITS).set(drift as f64);
        metrics::gauge!(names::NEGATIVE_AVAIL).set(negative as f64);
        metrics::gauge!(names::OLDEST_PIN_AGE).set(oldest_pin_age_ms as f64 / 1_000.0);
        Ok(())
    }

    async fn known_after(&self, mut after: i64) -> Result<Vec<Arc<Name>>, Fault> {
        let mut known = Vec::new();
        loop {
            let names = store::known(&self.shared.background_db, after, STEP as i64).await?;
            let Some((last, _)) = names.last() else { return Ok(known) };
            after = last.get();
            known.extend(names.into_iter().map(|(id, sku)| Arc::new(Name { id, sku })));
        }
    }

    /// Audits these SKUs; answers the age of the oldest pin in ms.
    async fn audit_all(&self, names: &[Arc<Name>], memory: &mut Memory) -> Result<i64, Fault> {
        if names.is_empty() {
            return Ok(0);
        }
        let ids: Vec<ProductId> = names.iter().map(|name| name.id).collect();
        // Postgres is read on both sides of Redis: what Redis says must lie between the two.
        let before = self.shelves(&ids).await?;
        let audits = names.iter().map(|name| self.ledger.audit(&name.sku));
        let audits = futures_util::future::join_all(audits).await;
        let after = self.shelves(&ids).await?;
        let mut oldest_pin_age_ms = 0;
        for (name, audit) in names.iter().zip(audits) {
            let (Some(before), Some(after)) = (before.get(&name.id), after.get(&name.id)) else {
                continue;
            };
            match audit {
                Ok(audit) => {
                    self.note_audit(name, &audit);
                    if audit.oldest_pin_ms > 0 {
                        oldest_pin_age_ms =
                            oldest_pin_age_ms.max(audit.now_ms - audit.oldest_pin_ms);
                    }
                    let finding = Finding::of(&audit, *before, *after);
                    self.judge(name, finding, (-audit.avail).max(0), memory).await?;
                }
                Err(Trouble::Rebuild) => self.shared.rebuilder.rebuild(name).await?,
                Err(Trouble::Fault(fault)) => return Err(fault),
            }
        }
        Ok(oldest_pin_age_ms)
    }

    async fn shelves(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Shelf>, Fault> {
        Ok(store::stock(&self.shared.background_db, ids).await?.into_iter().collect())
    }

    /// Tells the watch what is due, unless there is nothing on this SKU.
    fn note_audit(&self, name: &Arc<Name>, audit: &Audit) {
        self.shared.watch.redis_time(audit.now_ms);
        if self.wanted_news() != Wanted::default() {
            self.moved_again(name);
        }
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
        negative: i64,
        memory: &mut Memory,
    ) -> Result<(), Fault> {
        let sound = finding == Finding::default();
        if sound && negative == 0 {
            memory.findings.remove(&name.id);
        } else {
            memory.findings.insert(name.id, (finding, negative));
        }
        if sound {
            memory.failed.remove(&name.id);
            return Ok(());
        }
        if finding.ahead {
            // Only Postgres can have lost something: no unit is promised on what it forgot.
            tracing::error!(sku = %name.sku, ?finding, "postgres is behind redis; the SKU is closed");
            return self.ledger.close(&name.sku).await;
        }
        if memory.failed.insert(name.id) {
            return Ok(());
        }
        tracing::error!(sku = %name.sku, ?finding, "redis and postgres differ; the SKU is rebuilt");
        memory.failed.remove(&name.id);
        self.shared.rebuilder.rebuild(name).await
    }
}

/// What an audit found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Finding {
    /// The counters do not add up (INV2).
    unbalanced: bool,
    /// Units sold in one store and not explained in the other.
    drift: i64,
    /// A rebuild bumped the epoch and never finished.
    epoch_gap: i64,
    /// The stock is older than what Redis has confirmed, or another one of the same version.
    old_stock: bool,
    /// Redis is of a rebuild or has a stock that Postgres does not know.
    ahead: bool,
}

impl Finding {
    fn of(audit: &Audit, before: Shelf, after: Shelf) -> Self {
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
            old_stock: audit.ver < before.applied
                || audit.ver == before.ver
                    && (audit.stocked, audit.returned) != (before.stocked, before.returned),
            ahead: audit.epoch > after.epoch || audit.ver > after.ver,
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
            ver: 4,
            live: 2,
            earliest_ms: 0,
            oldest_pin_ms: 0,
            oldest_end_ms: 0,
            pinned: 1,
            hidden: false,
            strays: 0,
        }
    }

    fn shelf(sold: i64) -> Shelf {
        Shelf { epoch: 3, sold, stocked: 10, returned: 0, ver: 4, applied: 4 }
    }

    fn finding(audit: &Audit, before: i64, after: i64) -> Finding {
        Finding::of(audit, shelf(before), shelf(after))
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
        let later = Shelf { epoch: 5, ..shelf(2) };
        assert_eq!(Finding::of(&audit(), later, later).epoch_gap, 2);
        let behind = Shelf { epoch: 2, ..shelf(2) };
        assert!(Finding::of(&audit(), behind, behind).ahead);
    }

    #[test]
    fn stock_may_be_older_than_in_postgres_but_not_than_was_confirmed() {
        let more = Shelf { stocked: 12, ver: 5, ..shelf(2) };
        assert_eq!(Finding::of(&audit(), more, more), Finding::default());
        assert_eq!(Finding::of(&audit(), shelf(2), more), Finding::default());
        let confirmed = Shelf { applied: 5, ..more };
        assert!(Finding::of(&audit(), confirmed, confirmed).old_stock);
        let other = Shelf { stocked: 12, ..shelf(2) };
        assert!(Finding::of(&audit(), other, other).old_stock);
        let lost = Shelf { stocked: 8, ver: 3, applied: 3, ..shelf(2) };
        assert!(Finding::of(&audit(), lost, lost).ahead);
    }
}
