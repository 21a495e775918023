//! Figures of sales that run: how fast units are held, refused, sold and given back, over all replicas.
//!
//! Each process counts in memory, once a batch, and adds what it counted to Redis each second. Every five seconds one of
//! them, whichever comes first, appends a point to the series of each product that somebody wanted lately. Nothing
//! depends on any of it; what is lost is a dent in a chart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Started};

use crate::catalogue::Name;
use crate::kernel::ids::hold_token;
use crate::kernel::{Instant, ProductId};
use crate::platform::Fault;
use crate::reservations::ledger::{Audit, Counted, Reserved};
use crate::reservations::watch::Watched;
use crate::reservations::{Reservations, Stock};

/// Seconds between two points.
pub const STEP_S: i64 = 5;
/// How far back a series goes.
const SERIES_MS: i64 = 15 * 60_000;
/// Points of a series, and one before the first, from which its rates are reckoned.
pub(super) const POINTS: usize = 181;
/// How long figures outlive the last that was told.
pub(super) const KEPT_MS: i64 = 20 * 60_000;
/// Products whose figures one process counts, and whose series are written.
const MOST_PRODUCTS: usize = 2_048;
/// Products of which a step reads at once.
const AT_ONCE: usize = 64;
/// The stretch that present rates are taken over.
const WINDOW_MS: i64 = 10_000;
/// The stretch that the time to sold-out is reckoned from.
const OUTLOOK_MS: i64 = 60_000;
const LAG_SAMPLES: usize = 1_024;
const LAG_WINDOW: Duration = Duration::from_secs(60);

/// How a product stood at one moment, and what was counted of it until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When, by Redis's clock.
    pub at_ms: i64,
    /// Units that may be held.
    pub available: i64,
    /// Units held, pinned ones included.
    pub held: i64,
    /// Units of these that a checkout or a payment has pinned.
    pub paying: i64,
    /// Units sold.
    pub sold: i64,
    /// Units ever held, as far as was counted.
    pub reserved: i64,
    /// Requests ever refused, as far as was counted.
    pub refused: i64,
}

impl Point {
    pub(super) fn packed(&self) -> String {
        let Self { at_ms, available, held, paying, sold, reserved, refused } = self;
        format!("{at_ms} {available} {held} {paying} {sold} {reserved} {refused}")
    }

    pub(super) fn parse(packed: &str) -> Option<Self> {
        let numbers: Option<Vec<i64>> = packed.split(' ').map(|text| text.parse().ok()).collect();
        let [at_ms, available, held, paying, sold, reserved, refused] = numbers?[..] else {
            return None;
        };
        Some(Self { at_ms, available, held, paying, sold, reserved, refused })
    }

    fn of(name: &Name, audit: &Audit, (reserved, refused): (i64, i64)) -> Self {
        let stock = Stock::of(name, audit);
        Self {
            at_ms: audit.now_ms,
            available: stock.available_stock,
            held: stock.reserved_stock,
            paying: audit.pinned,
            sold: stock.sold_stock,
            reserved,
            refused,
        }
    }
}

/// Units or requests a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Units held.
    pub reserved: f64,
    /// Requests refused.
    pub refused: f64,
    /// Units sold.
    pub sold: f64,
    /// Units given back.
    pub restored: f64,
}

impl Rates {
    /// Between two points; counts that began anew count nothing.
    pub fn between(before: &Point, after: &Point) -> Self {
        let seconds = (after.at_ms - before.at_ms) as f64 / 1_000.0;
        if seconds <= 0.0 {
            return Self::default();
        }
        let rate = |units: i64| (units.max(0) as f64 / seconds * 100.0).round() / 100.0;
        let (reserved, sold) = (after.reserved - before.reserved, after.sold - before.sold);
        Self {
            reserved: rate(reserved),
            refused: rate(after.refused - before.refused),
            sold: rate(sold),
            // What was held and is neither held still nor sold.
            restored: rate(reserved - (after.held - before.held) - sold),
        }
    }
}

/// The present rates and the seconds to sold-out, by the latest points of a series.
pub fn outlook(points: &[Point], now_ms: i64) -> (Rates, Option<i64>) {
    let recent = |point: &&Point| now_ms - point.at_ms <= WINDOW_MS + STEP_S * 1_000;
    let Some(last) = points.last().filter(recent) else { return (Rates::default(), None) };
    let before = |window_ms: i64| {
        let far = points.iter().rev().find(|point| last.at_ms - point.at_ms >= window_ms);
        far.or(points.first()).filter(|point| point.at_ms < last.at_ms)
    };
    let rates = before(WINDOW_MS).map_or(Rates::default(), |before| Rates::between(before, last));
    let left = before(OUTLOOK_MS).and_then(|before| {
        let taken = before.available - last.available;
        let stretch_ms = last.at_ms - before.at_ms;
        (taken > 0).then(|| last.available.saturating_mul(stretch_ms) / taken / 1_000)
    });
    (rates, if last.available == 0 { Some(0) } else { left })
}

/// How late this process gave units back.
pub(super) struct Lags {
    process: String,
    lags: Mutex<VecDeque<(Started, i64)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Units held and requests refused in a batch.
pub(super) fn counts(answers: &[Reserved]) -> (i64, i64) {
    let (mut reserved, mut refused) = (0, 0);
    for answer in answers {
        match answer {
            Reserved::Standing(standing) if standing.created => {
                reserved += standing.quantity.get();
            }
            Reserved::Standing(_) => {}
            _ => refused += 1,
        }
    }
    (reserved, refused)
}

impl Lags {
    pub(super) fn new() -> Self {
        Self { process: hold_token(), lags: Mutex::default() }
    }

    /// Units were given back so long after their deadline.
    pub(super) fn late(&self, lag_ms: i64) {
        let mut lags = lock(&self.lags);
        if lags.len() == LAG_SAMPLES {
            lags.pop_front();
        }
        lags.push_back((Started::now(), lag_ms));
    }

    /// The lateness that one in a hundred exceeded in the last minute.
    fn lag_ms(&self) -> Option<i64> {
        let mut lags = lock(&self.lags);
        lags.retain(|(at, _)| at.elapsed() < LAG_WINDOW);
        let mut sorted: Vec<i64> = lags.iter().map(|(_, lag_ms)| *lag_ms).collect();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied()
    }
}

impl Reservations {
    /// The series of a product, the oldest point first; the first is there for the rates of the second.
    pub async fn series(&self, name: &Arc<Name>) -> Result<Vec<Point>, Fault> {
        let since_ms = self.shared.watch.now_ms() - SERIES_MS - STEP_S * 1_000;
        let mut series = self.ledger.series(&[&name.sku], 0).await?;
        let mut points = series.pop().unwrap_or_default();
        points.retain(|point| point.at_ms >= since_ms);
        Ok(points)
    }

    /// The latest points of each of these products.
    pub async fn latest(&self, names: &[Arc<Name>]) -> Result<Vec<Vec<Point>>, Fault> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let skus: Vec<_> = names.iter().map(|name| &name.sku).collect();
        self.ledger.series(&skus, -(OUTLOOK_MS / 1_000 / STEP_S) - 2).await
    }

    /// How late units are given back: of the last minute, the lateness that one in a hundred exceeded, in the replica where
    /// it is greatest.
    pub async fn restore_lag_ms(&self) -> Result<Option<i64>, Fault> {
        // A process that has a lateness to tell tells it each second.
        let since_ms = self.shared.watch.now_ms() - STEP_S * 1_000;
        let lags = self.ledger.lags().await?;
        Ok(lags.into_iter().filter(|(at_ms, _)| *at_ms >= since_ms).map(|(_, lag)| lag).max())
    }

    /// Products that somebody wanted within the stretch of a series, the latest first.
    pub(super) async fn active_products(&self, most: usize) -> Result<Vec<Arc<Name>>, Fault> {
        let since_ms = self.shared.watch.now_ms() - SERIES_MS;
        self.names_of(&self.ledger.active(since_ms, most).await?).await
    }

    async fn names_of(&self, ids: &[i64]) -> Result<Vec<Arc<Name>>, Fault> {
        let mut names = Vec::new();
        for id in ids.iter().filter_map(|id| ProductId::try_from(*id).ok()) {
            names.extend(self.shared.catalogue.by_id(id).await?);
        }
        Ok(names)
    }

    /// Tells what was counted, and writes steps down, until the service stops.
    pub(super) async fn run_rates(self) {
        // A step that has begun is somebody else's.
        let mut step = self.shared.watch.now_ms() / (STEP_S * 1_000);
        let mut told = String::new();
        while self.shared.tasks.pause(Duration::from_secs(1)).await {
            match self.tell_rates(&mut step).await {
                Ok(()) => told.clear(),
                Err(fault) => {
                    let reason = fault.chain();
                    if reason != told {
                        tracing::warn!(reason, "figures of sales were not told");
                        told = reason;
                    }
                }
            }
        }
    }

    async fn tell_rates(&self, last_step: &mut i64) -> Result<(), Fault> {
        let now_ms = self.shared.watch.now_ms();
        let lags = &self.shared.lags;
        // Those that are too many are told in the next second.
        let mut touched = self.shared.watch.pick(Watched::has_counts);
        touched.truncate(MOST_PRODUCTS);
        let lag = lags.lag_ms().map(|lag_ms| (lags.process.as_str(), lag_ms));
        if !touched.is_empty() || lag.is_some() {
            let counted: Vec<Counted<'_>> = touched
                .iter()
                .map(|watched| {
                    let (reserved, refused) = watched.take_counts();
                    let name = &watched.name;
                    Counted { product: name.id, sku: &name.sku, reserved, refused }
                })
                .collect();
            self.ledger.count(&counted, lag, now_ms).await?;
        }
        let step = now_ms / (STEP_S * 1_000);
        if step > *last_step {
            *last_step = step;
            if self.ledger.take_step(step).await? {
                self.write_step(now_ms).await?;
            }
        }
        Ok(())
    }

    /// Appends a point to the series of every product that somebody wanted within its stretch.
    async fn write_step(&self, now_ms: i64) -> Result<(), Fault> {
        let active = self.ledger.active(now_ms - SERIES_MS, MOST_PRODUCTS).await?;
        for ids in active.chunks(AT_ONCE) {
            let names = self.names_of(ids).await?;
            let skus: Vec<_> = names.iter().map(|name| &name.sku).collect();
            if skus.is_empty() {
                continue;
            }
            let counts = self.ledger.counts(&skus).await?;
            let audits = names.iter().map(|name| self.ledger.audit(&name.sku));
            let audits = futures_util::future::join_all(audits).await;
            let points: Vec<_> = names
                .iter()
                .zip(audits)
                .zip(counts)
                // A SKU that waits for its rebuild has no point now.
                .filter_map(|((name, audit), counts)| {
                    Some((&name.sku, Point::of(name, &audit.ok()?, counts)))
                })
                .collect();
            if !points.is_empty() {
                self.ledger.append(&points).await?;
            }
        }
        Ok(())
    }
}

impl Point {
    /// When, as the API writes it.
    pub fn at(&self) -> Instant {
        Instant::from_ms(self.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_s: i64, available: i64, held: i64, sold: i64, reserved: i64) -> Point {
        Point { at_ms: at_s * 1_000, available, held, paying: 0, sold, reserved, refused: 0 }
    }

    #[test]
    fn a_point_survives_redis() {
        let point = point(1_794_000_000, 5, 3, 2, 9);
        assert_eq!(Point::parse(&point.packed()), Some(point));
        assert_eq!(Point::parse("1 2 3"), None);
        assert_eq!(Point::parse("1 2 3 4 5 6 x"), None);
    }

    #[test]
    fn what_was_held_and_is_neither_held_nor_sold_came_back() {
        let rates = Rates::between(&point(0, 90, 10, 0, 10), &point(10, 50, 20, 30, 70));
        assert_eq!((rates.reserved, rates.sold, rates.restored), (6.0, 3.0, 2.0));
        assert_eq!(Rates::between(&point(5, 1, 0, 0, 9), &point(5, 1, 0, 0, 9)), Rates::default());
        assert_eq!(Rates::between(&point(0, 1, 0, 0, 9), &point(5, 1, 0, 0, 0)).reserved, 0.0);
    }

    #[test]
    fn the_outlook_goes_by_what_leaves_the_shelf() {
        let points: Vec<Point> =
            (0..=12).map(|at| point(at * 5, 120 - at * 5, 0, at * 5, 0)).collect();
        let (rates, left) = outlook(&points, 60_000);
        assert_eq!((rates.sold, left), (1.0, Some(60)));
        assert_eq!(outlook(&points, 90_000), (Rates::default(), None), "old points say nothing");
        assert_eq!(outlook(&points[..1], 0).1, None);
        assert_eq!(outlook(&[point(0, 0, 0, 9, 0)], 0).1, Some(0));
    }
}
