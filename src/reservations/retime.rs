//! Giving running holds a hold time that was changed, where an operator wants that: SKU by SKU, page by page.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::platform::Fault;
use crate::reservations::ledger::Retimed;
use crate::reservations::{Reservations, stock_store};

/// SKUs of a page.
const SKUS: i64 = 500;
/// Holds that one call moves; everything else on Redis waits for it.
const HOLDS: usize = 100;

/// What became of a page of SKUs.
#[derive(Clone, Copy, Debug)]
pub struct RetimedPage {
    /// The number of the last product, unless there is none left.
    pub last: Option<i64>,
    /// Holds whose deadline moved.
    pub moved: i64,
}

impl Reservations {
    /// Moves the deadlines of running holds of the next products after number `after` to the hold time in force. Those
    /// that are confirming, of several products, or of a product with a hold time of its own keep theirs.
    pub async fn retime_page(&self, after: i64) -> Result<RetimedPage, Fault> {
        let known = stock_store::known(&self.shared.background_db, after, SKUS).await?;
        let Some(last) = known.last().map(|(id, _)| id.get()) else {
            return Ok(RetimedPage { last: None, moved: 0 });
        };
        let names = known.into_iter().map(|(id, sku)| Arc::new(Name { id, sku }));
        let names: Vec<Arc<Name>> = names.collect();
        let busy = self.ledger.busy(&names).await?;
        let mut moved = 0;
        for (name, _) in names.iter().zip(busy).filter(|(_, busy)| *busy) {
            moved += self.retime(name).await?;
        }
        Ok(RetimedPage { last: Some(last), moved })
    }

    async fn retime(&self, name: &Arc<Name>) -> Result<i64, Fault> {
        let (mut cursor, mut moved) = (0, 0);
        loop {
            let (next, ids) = self.ledger.deadlines(&name.sku, cursor, HOLDS).await?;
            for ids in ids.chunks(HOLDS) {
                let (ttl_ms, life_ms) = self.hold_time();
                let retime = || self.ledger.retime(&name.sku, ids, ttl_ms, life_ms);
                match self.on_sku(name, retime).await? {
                    Retimed::OwnTime => return Ok(moved),
                    Retimed::Moved { count, now_ms, earliest_ms } => {
                        moved += count;
                        self.shared.watch.redis_time(now_ms);
                        self.watched(name).due_at(earliest_ms);
                        self.moved_again(name);
                    }
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(moved);
            }
        }
    }

    fn hold_time(&self) -> (i64, i64) {
        let settings = self.shared.settings.load().reservation.clone();
        (i64::from(settings.ttl_seconds) * 1_000, settings.max_lifetime.as_millis() as i64)
    }
}
