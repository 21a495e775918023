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
        let (units, epoch_gap) = (finding.units(), finding.epoch_gap);
        let known = all.get(&name.id.get()).filter(|known| known.healed_at.is_none());
        if known.is_none() {
            metrics::counter!(names::DRIFT_FOUND).increment(1);
        }
        let found_at = known.map_or(now, |known| known.found_at);
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
