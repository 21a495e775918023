//! The slow full pass over every SKU: finds what died with another replica (deadlines, pins, tombstones), and checks
//! that Redis and Postgres tell the same story. What is wrong within Redis is seen by one script at one moment, and brings a
//! rebuild at once; what the two stores say differently does so if it is still so a second later. Of a SKU at rest, on
//! which nothing is held or has just ended, it only asks whether that is still so and its counters add up; its audit
//! comes once in a round of passes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalogue::Name;
use crate::kernel::{ProductId, ReservationId};
use crate::platform::{Fault, metrics as names};
use crate::reservations::finding::Finding;
use crate::reservations::ledger::{Audit, Trouble, Weighed};
use crate::reservations::stock_store::Shelf;
use crate::reservations::{Reservations, Wanted, decision_store, stock_store};

/// SKUs per step of the pass.
const STEP: usize = 500;

/// Passes in which every SKU is audited once, at rest or not.
const ROUND: usize = 12;

/// Between a difference of the two stores and another look at it: longer than any sale takes.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a pass looks again at what differs.
const LOOKS: usize = 2;

/// Records that one pass adds up, about; less than a hundredth of Redis's time.
const WEIGHED: i64 = 4_000;

/// What a SKU counts at least: records of holds that have just ended are there too.
const LEAST_WEIGHED: i64 = 200;

/// What the pass remembers from one time to the next.
#[derive(Default)]
pub(super) struct Memory {
    turn: usize,
    /// Every SKU that Redis has had, as of the beginning of the round.
    names: Vec<Arc<Name>>,
    /// What the last audit of a SKU found wrong, or near it.
    findings: HashMap<ProductId, (Finding, i64)>,
    /// What must be looked at again.
    failed: HashMap<ProductId, Arc<Name>>,
    /// What was weighed since all were, and how many records may still be weighed in this pass.
    weighed: HashSet<ProductId>,
    weight_left: i64,
}

impl Memory {
    /// Whether a SKU with so many live records is weighed now: all in turn, as many as a pass may, and any in doubt.
    fn weighs(&mut self, product: ProductId, live: i64) -> bool {
        if self.failed.contains_key(&product) {
            return true;
        }
        if self.weight_left <= 0 || !self.weighed.insert(product) {
            return false;
        }
        self.weight_left -= live.max(LEAST_WEIGHED);
        true
    }
}

impl Reservations {
    /// The counters of a product.
    pub async fn audit(&self, name: &Arc<Name>) -> Result<Audit, Fault> {
        self.on_sku(name, || self.ledger.audit(&name.sku)).await
    }

    /// The counters of these products. One that Redis never had is read from Postgres, so that a look opens nothing.
    pub async fn audits(&self, names: &[Arc<Name>]) -> Result<Vec<Audit>, Fault> {
        self.reading(async {
            let audits = names.iter().map(|name| self.ledger.audit(&name.sku));
            let found = futures_util::future::join_all(audits).await;
            let missing = names.iter().zip(&found).filter(|(_, found)| found.is_err());
            let missing: Vec<ProductId> = missing.map(|(name, _)| name.id).collect();
            let shelves: HashMap<ProductId, Shelf> = if missing.is_empty() {
                HashMap::new()
            } else {
                stock_store::stock(&self.shared.db, &missing).await?.into_iter().collect()
            };
            let mut audits = Vec::new();
            for (name, found) in names.iter().zip(found) {
                audits.push(match (found, shelves.get(&name.id)) {
                    (Ok(audit), _) => audit,
                    (Err(Trouble::Rebuild), Some(shelf)) if shelf.epoch == 0 => {
                        shelf.at_rest(self.shared.watch.now_ms())
                    }
                    (Err(Trouble::Rebuild), _) => self.audit(name).await?,
                    (Err(Trouble::Fault(fault)), _) => return Err(fault),
                });
            }
            Ok(audits)
        })
        .await
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
            let begun = Instant::now();
            match self.pass(&mut memory).await {
                Ok(()) => {
                    metrics::histogram!(names::PASS_SECONDS).record(begun.elapsed());
                    names::turned("full_pass");
                }
                Err(fault) => {
                    tracing::warn!(error = fault.chain(), "a pass over all SKUs was cut short");
                }
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
        memory.weight_left = WEIGHED;
        let mut oldest_pin_age_ms = 0;
        for (step, names) in memory.names.clone().chunks(STEP).enumerate() {
            let busy = self.ledger.busy(names).await?;
            let audited = names.iter().zip(busy).enumerate().filter(|(at, (name, busy))| {
                *busy || (step + at) % ROUND == turn || memory.failed.contains_key(&name.id)
            });
            let audited: Vec<Arc<Name>> = audited.map(|(_, (name, _))| name.clone()).collect();
            oldest_pin_age_ms = self.audit_all(&audited, memory).await?.max(oldest_pin_age_ms);
        }
        if memory.weight_left > 0 {
            memory.weighed.clear();
        }
        Self::publish(memory);
        metrics::gauge!(names::OLDEST_PIN_AGE).set(oldest_pin_age_ms as f64 / 1_000.0);
        // Once to be sure, if need be, and once to see that it is over.
        for _ in 0..LOOKS {
            if memory.failed.is_empty() || !self.shared.tasks.pause(AGAIN).await {
                break;
            }
            let doubtful: Vec<Arc<Name>> = memory.failed.values().cloned().collect();
            for names in doubtful.chunks(STEP) {
                self.audit_all(names, memory).await?;
            }
        }
        self.shared.drift.passed(memory.names.len(), self.shared.watch.now_ms());
        Self::publish(memory);
        Ok(())
    }

    /// Sets the gauges to what is known now.
    fn publish(memory: &Memory) {
        let findings = || memory.findings.values();
        let gap = findings().map(|(finding, _)| finding.epoch_gap).max().unwrap_or(0);
        let drift: i64 = findings().map(|(finding, _)| finding.units()).sum();
        let negative: i64 = findings().map(|(_, negative)| negative).sum();
        metrics::gauge!(names::EPOCH_GAP).set(gap as f64);
        metrics::gauge!(names::DRIFT_UNITS).set(drift as f64);
        metrics::gauge!(names::NEGATIVE_AVAIL).set(negative as f64);
    }

    async fn known_after(&self, mut after: i64) -> Result<Vec<Arc<Name>>, Fault> {
        let mut known = Vec::new();
        loop {
            let names = stock_store::known(&self.shared.background_db, after, STEP as i64).await?;
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
                    let weighed = self.weigh(name, &audit, memory).await?;
                    let mut finding = Finding::of(&audit, weighed, *before, *after);
                    if before.sold > audit.sold {
                        finding.drift = finding.drift.max(self.forgotten(name).await?);
                    }
                    self.judge(name, finding, (-audit.avail).max(0), memory).await?;
                }
                Err(Trouble::Rebuild) => self.shared.rebuilder.rebuild(name).await?,
                Err(Trouble::Fault(fault)) => return Err(fault),
            }
        }
        Ok(oldest_pin_age_ms)
    }

    /// Adds up the records of a SKU that has some, if it is its turn. One with very many is left to its counters and to
    /// `reconcile`.
    async fn weigh(
        &self,
        name: &Name,
        audit: &Audit,
        memory: &mut Memory,
    ) -> Result<Weighed, Fault> {
        if audit.live + audit.oldest_end_ms == 0 || !memory.weighs(name.id, audit.live) {
            return Ok(Weighed::default());
        }
        match self.ledger.weigh(&name.sku, None).await {
            Ok(weighed) => Ok(weighed.unwrap_or_default()),
            // Closed meanwhile: whoever closed it has it rebuilt.
            Err(Trouble::Rebuild) => Ok(Weighed::default()),
            Err(Trouble::Fault(fault)) => Err(fault),
        }
    }

    /// Units that Postgres sold and Redis forgot. While a crowd buys, so many are pinned that they could explain any
    /// difference; but only a pin that is CONFIRMED explains one.
    pub(super) async fn forgotten(&self, name: &Arc<Name>) -> Result<i64, Fault> {
        let Some(shelf) = self.shelves(&[name.id]).await?.remove(&name.id) else { return Ok(0) };
        let (sold, pins) = match self.ledger.pinned(&name.sku).await {
            Ok(Some(pinned)) => pinned,
            Ok(None) | Err(Trouble::Rebuild) => return Ok(0),
            Err(Trouble::Fault(fault)) => return Err(fault),
        };
        let ids: Vec<ReservationId> = pins.iter().map(|(id, _)| *id).collect();
        let decided = decision_store::decided(&self.shared.background_db, &ids).await?;
        let confirmed: HashSet<ReservationId> =
            decided.into_iter().filter(|(_, confirmed)| *confirmed).map(|(id, _)| id).collect();
        let on_their_way = pins.iter().filter(|(id, _)| confirmed.contains(id));
        let on_their_way: i64 = on_their_way.map(|(_, quantity)| quantity).sum();
        Ok((shelf.sold - sold - on_their_way).max(0))
    }

    async fn shelves(&self, ids: &[ProductId]) -> Result<HashMap<ProductId, Shelf>, Fault> {
        Ok(stock_store::stock(&self.shared.background_db, ids).await?.into_iter().collect())
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
        if !sound {
            self.shared.drift.found(name, &finding, self.shared.watch.now_ms());
        } else if self.shared.drift.healed(name.id, self.shared.watch.now_ms()) {
            tracing::info!(sku = %name.sku, "redis and postgres agree again");
        }
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
        let again = memory.failed.insert(name.id, name.clone()).is_some();
        if !again && !finding.is_certain() {
            return Ok(());
        }
        // What was found stands in `failed` until another look finds nothing any more.
        tracing::error!(sku = %name.sku, ?finding, "redis and postgres differ; the SKU is rebuilt");
        self.shared.rebuilder.rebuild(name).await
    }
}

impl Shelf {
    /// The counters of a SKU of which nothing was ever held.
    fn at_rest(&self, now_ms: i64) -> Audit {
        Audit {
            now_ms,
            epoch: self.epoch,
            stocked: self.stocked,
            avail: self.stocked - self.sold,
            held: 0,
            sold: self.sold,
            returned: self.returned,
            ver: self.ver,
            live: 0,
            earliest_ms: 0,
            oldest_pin_ms: 0,
            oldest_end_ms: 0,
            pinned: 0,
            hidden: false,
            strays: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_weighed_in_turn_and_no_pass_weighs_more_than_it_may() {
        let product = |number: i64| ProductId::try_from(number).unwrap();
        let mut memory = Memory { weight_left: 1_000, ..Memory::default() };
        let weighed: Vec<i64> =
            (1..=9).filter(|number| memory.weighs(product(*number), 300)).collect();
        assert_eq!(weighed, [1, 2, 3, 4]);
        memory.weight_left = 1_000;
        let weighed: Vec<i64> =
            (1..=9).filter(|number| memory.weighs(product(*number), 10)).collect();
        assert_eq!(weighed, [5, 6, 7, 8, 9]);
        let name = Name { id: product(1), sku: "A".parse().unwrap() };
        memory.failed.insert(product(1), Arc::new(name));
        memory.weight_left = 0;
        assert!(memory.weighs(product(1), 2_000), "what is in doubt is weighed anyway");
    }
}
