//! Products that a crowd wants. A hint costs Redis half as much as the hold that it tells of, so holds of these leave
//! none: every listing asks these products too, and therefore there are only a few dozen at a time. The others leave hints
//! as ever.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::kernel::ProductId;
use crate::reservations::keys::Keys;
use crate::reservations::ledger::hints::STRETCH_MS;

/// Wishes of one batch that are a crowd.
const CROWD: usize = 8;
/// Most products among the crowded; a few more if several replicas add their last ones at the same moment.
const MOST: usize = 32;
/// How long an answer of Redis holds.
const TRUST_MS: i64 = 600_000;

/// What Redis said lately: whether a product is among the crowded, and until when that holds.
type Known = HashMap<ProductId, (bool, i64)>;

#[derive(Debug, Default)]
pub(super) struct Crowds {
    known: ArcSwap<Known>,
}

impl Crowds {
    /// Whether every listing asks this product. A batch of a crowd asks to have it so, where there is room.
    pub(super) async fn has(
        &self,
        keys: &Keys,
        connection: &mut MultiplexedConnection,
        product: ProductId,
        wishes: usize,
        now_ms: i64,
    ) -> RedisResult<bool> {
        let before = self.known.load_full();
        match before.get(&product) {
            Some((crowded, until_ms)) if now_ms < *until_ms => return Ok(*crowded),
            _ if wishes < CROWD => return Ok(false),
            _ => {}
        }
        let crowded = add(keys, connection, product, now_ms).await?;
        self.learn(&before, product, crowded, now_ms);
        Ok(crowded)
    }

    /// Nothing is learnt by one who asked before `doubt`: what Redis said then, it may have forgotten since.
    fn learn(&self, before: &Arc<Known>, product: ProductId, crowded: bool, now_ms: i64) {
        let mut known = Known::clone(before);
        known.retain(|_, (_, until_ms)| now_ms < *until_ms);
        known.insert(product, (crowded, now_ms + TRUST_MS));
        self.known.compare_and_swap(before, Arc::new(known));
    }

    /// Redis may have lost everything: no product is trusted to be among the crowded.
    pub(super) fn doubt(&self) {
        self.known.store(Arc::default());
    }
}

/// Adds a product, if it is there already or there is room, for as long as a hold can live that is made while this answer is
/// trusted.
async fn add(
    keys: &Keys,
    connection: &mut MultiplexedConnection,
    product: ProductId,
    now_ms: i64,
) -> RedisResult<bool> {
    let crowded = read(keys, connection, now_ms).await?;
    if crowded.len() >= MOST && !crowded.contains(&product.get()) {
        return Ok(false);
    }
    let mut pipe = redis::pipe();
    pipe.zrembyscore(keys.crowds(), "-inf", now_ms).ignore();
    pipe.zadd(keys.crowds(), product.get(), now_ms + TRUST_MS + STRETCH_MS).ignore();
    pipe.exec_async(connection).await?;
    Ok(true)
}

/// The products that every listing asks.
pub(super) async fn read(
    keys: &Keys,
    connection: &mut MultiplexedConnection,
    now_ms: i64,
) -> RedisResult<Vec<i64>> {
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(keys.crowds()).arg(now_ms).arg("+inf");
    range.query_async(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_ends_with_its_time_and_with_a_doubt() {
        let (crowds, product) = (Crowds::default(), |id: i64| ProductId::try_from(id).unwrap());
        let known = |crowds: &Crowds| {
            let mut ids: Vec<i64> = crowds.known.load().keys().map(|id| id.get()).collect();
            ids.sort_unstable();
            ids
        };
        crowds.learn(&crowds.known.load_full(), product(1), true, 0);
        crowds.learn(&crowds.known.load_full(), product(2), false, TRUST_MS - 1);
        assert_eq!(known(&crowds), [1, 2]);
        crowds.learn(&crowds.known.load_full(), product(3), true, TRUST_MS);
        assert_eq!(known(&crowds), [2, 3]);
        let asked = crowds.known.load_full();
        crowds.doubt();
        crowds.learn(&asked, product(4), true, TRUST_MS);
        assert!(known(&crowds).is_empty(), "it was asked before the doubt");
    }
}
