//! Stock as everybody outside sees it. Most of a sale is people looking: all who look at one product share what this
//! process read last, for a moment.

use std::sync::Arc;
use std::time::{Duration, Instant as Started};

use moka::Expiry;
use moka::future::Cache;
use serde::Serialize;

use crate::catalogue::Name;
use crate::kernel::{Instant, ProductId, Sku};
use crate::platform::Fault;
use crate::reservations::Reservations;
use crate::reservations::ledger::Audit;

/// Products whose last reading is kept.
const KEPT: u64 = 10_000;

/// Stock as the API shows it; always `total = available + reserved + sold`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Stock {
    /// Of which product.
    pub product_id: ProductId,
    /// The same by its SKU.
    pub sku: Sku,
    /// Units that came in, net of returns.
    pub total_stock: i64,
    /// Units that may be held.
    pub available_stock: i64,
    /// Units held, those being confirmed included.
    pub reserved_stock: i64,
    /// Units sold, net of returns.
    pub sold_stock: i64,
    /// As of when, by Redis's clock.
    pub as_of: Instant,
    /// Whether the product is not published.
    #[serde(skip)]
    pub hidden: bool,
}

impl Stock {
    /// Whether nothing but the time differs.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        *self == Self { as_of: self.as_of, ..other.clone() }
    }

    /// What the counters of a SKU show.
    pub fn of(name: &Name, audit: &Audit) -> Self {
        let total_stock = audit.stocked - audit.returned;
        let available_stock = audit.avail.clamp(0, total_stock.max(0));
        let sold_stock = (audit.sold - audit.returned).max(0);
        Self {
            product_id: name.id,
            sku: name.sku.clone(),
            total_stock,
            available_stock,
            reserved_stock: total_stock - available_stock - sold_stock,
            sold_stock,
            as_of: Instant::from_ms(audit.now_ms),
            hidden: audit.hidden,
        }
    }
}

/// What was read of one product at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The stock.
    pub stock: Stock,
    /// The same as JSON, written once for all who ask.
    pub json: String,
    asked: Started,
}

/// The snapshots of this process.
pub(super) struct Snapshots {
    max_age: Duration,
    cache: Cache<ProductId, Arc<Snapshot>>,
}

/// A snapshot ages from when Redis was asked, not from when it answered.
struct Age(Duration);

impl Expiry<ProductId, Arc<Snapshot>> for Age {
    fn expire_after_create(
        &self,
        _: &ProductId,
        snapshot: &Arc<Snapshot>,
        _: Started,
    ) -> Option<Duration> {
        Some(self.0.saturating_sub(snapshot.asked.elapsed()))
    }
}

impl Snapshots {
    pub(super) fn new(max_age: Duration) -> Self {
        let cache = Cache::builder().max_capacity(KEPT).expire_after(Age(max_age)).build();
        Self { max_age, cache }
    }
}

impl Reservations {
    /// The stock of a product right now.
    pub async fn stock(&self, name: &Arc<Name>) -> Result<Stock, Fault> {
        self.reading(async { Ok(Stock::of(name, &self.audit(name).await?)) }).await
    }

    /// The stock of a product, at most `reservation.stock_max_age` old; many who ask at once cost one read.
    pub async fn snapshot(&self, name: &Arc<Name>) -> Result<Arc<Snapshot>, Fault> {
        let snapshots = &self.shared.snapshots;
        if snapshots.max_age.is_zero() {
            return self.read_snapshot(name).await;
        }
        let read = snapshots.cache.try_get_with(name.id, self.read_snapshot(name));
        read.await.map_err(|fault| fault.repeat())
    }

    async fn read_snapshot(&self, name: &Arc<Name>) -> Result<Arc<Snapshot>, Fault> {
        let asked = Started::now();
        let stock = self.stock(name).await?;
        let json = serde_json::to_string(&stock)
            .map_err(|error| Fault::internal("writing stock").because(error))?;
        Ok(Arc::new(Snapshot { stock, json, asked }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_stock_adds_up_even_below_zero() {
        let name = Name { id: ProductId::try_from(1).unwrap(), sku: "A".parse().unwrap() };
        let audit = Audit {
            now_ms: 1,
            epoch: 3,
            stocked: 10,
            avail: 5,
            held: 3,
            sold: 2,
            returned: 0,
            ver: 1,
            live: 2,
            earliest_ms: 0,
            oldest_pin_ms: 0,
            oldest_end_ms: 0,
            pinned: 1,
            hidden: false,
            strays: 0,
        };
        let below = Audit { avail: -2, held: 10, ..audit.clone() };
        let returned = Audit { returned: 2, ..audit.clone() };
        for audit in [audit, below, returned] {
            let stock = Stock::of(&name, &audit);
            let parts = stock.available_stock + stock.reserved_stock + stock.sold_stock;
            assert_eq!(stock.total_stock, parts);
            assert!(stock.available_stock >= 0);
        }
    }
}
