//! What audits of this process found wrong lately, for operators.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::catalogue::Name;
use crate::kernel::{Instant, ProductId, Sku};
use crate::platform::metrics as names;
use crate::reservations::finding::Finding;

/// How long what was healed is still told.
const TOLD_MS: i64 = 10 * 60 * 1_000;
/// SKUs that are told at most.
const MOST: usize = 200;

/// A SKU whose stores told different stories.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// Which product.
    pub product_id: ProductId,
    /// The same by its SKU.
    pub sku: Sku,
    /// Units in doubt.
    pub units: i64,
    /// Rebuilds by which Redis was behind Postgres.
    pub epoch_gap: i64,
    /// When it was found.
    pub found_at: Instant,
    /// When it was last looked at.
    pub checked_at: Instant,
    /// When it was found to be over; null while it is not.
    pub healed_at: Option<Instant>,
}

/// What was found, by product.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    found: Mutex<BTreeMap<i64, Drift>>,
    products: AtomicI64,
    passed_ms: AtomicI64,
}

impl Drifts {
    pub(super) fn found(&self, name: &Name, finding: &Finding, now_ms: i64) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::from_ms(now_ms);
        let known = all.get(&name.id.get()).filter(|known| known.healed_at.is_none());
        if known.is_none() {
            metrics::counter!(names::DRIFT_FOUND).increment(1);
        }
        let found_at = known.map_or(now, |known| known.found_at);
        // The most that was seen: while another replica rebuilds the SKU, a look finds less or something else.
        let units = finding.units().max(known.map_or(0, |known| known.units));
        let epoch_gap = finding.epoch_gap.max(known.map_or(0, |known| known.epoch_gap));
        let (product_id, sku) = (name.id, name.sku.clone());
        let drift =
            Drift { product_id, sku, units, epoch_gap, found_at, checked_at: now, healed_at: None };
        if all.len() < MOST || all.contains_key(&name.id.get()) {
            all.insert(name.id.get(), drift);
        }
    }

    /// Whether something had been found of this product.
    pub(super) fn healed(&self, product: ProductId, now_ms: i64) -> bool {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.get_mut(&product.get()) else { return false };
        if known.healed_at.is_some() {
            return false;
        }
        known.checked_at = Instant::from_ms(now_ms);
        known.healed_at = Some(known.checked_at);
        true
    }

    /// A pass over so many SKUs has ended.
    pub(super) fn passed(&self, products: usize, now_ms: i64) {
        self.products.store(products as i64, Ordering::Relaxed);
        self.passed_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn last_pass(&self) -> (i64, i64) {
        (self.products.load(Ordering::Relaxed), self.passed_ms.load(Ordering::Relaxed))
    }

    pub(super) fn all(&self, now_ms: i64) -> Vec<Drift> {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, drift| drift.healed_at.is_none_or(|at| now_ms - at.as_ms() < TOLD_MS));
        all.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_whole_although_less_is_left_of_it_at_the_next_look() {
        let name = Name { id: ProductId::try_from(1).unwrap(), sku: "A".parse().unwrap() };
        let drifts = Drifts::default();
        drifts.found(&name, &Finding { drift: 30, ..Finding::default() }, 1_000);
        drifts.found(&name, &Finding { epoch_gap: 1, ..Finding::default() }, 2_000);
        assert!(drifts.healed(name.id, 3_000) && !drifts.healed(name.id, 4_000));
        let told = drifts.all(5_000).remove(0);
        assert_eq!((told.units, told.epoch_gap), (30, 1));
        assert_eq!((told.found_at.as_ms(), told.checked_at.as_ms()), (1_000, 3_000));
        // Another time is another finding.
        drifts.found(&name, &Finding { drift: 2, ..Finding::default() }, 6_000);
        let told = drifts.all(6_000).remove(0);
        assert_eq!((told.units, told.epoch_gap, told.found_at.as_ms()), (2, 0, 6_000));
    }
}
