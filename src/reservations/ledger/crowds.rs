//! Products that a crowd wants. A hint costs Redis half as much as the hold that it tells of, so holds of these leave
//! none: every listing asks these products too, and therefore there are only a few dozen at a time. The others leave hints
//! as ever.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::kernel::ProductId;
use crate::platform::redis::is_broken_data;
use crate::reservations::keys::Keys;
use crate::reservations::ledger::hints::STRETCH_MS;

/// Wishes of one batch that are a crowd.
const CROWD: usize = 8;
/// Most products among the crowded; a few more if several are added at the same moment.
const MOST: usize = 32;
/// How long an answer of Redis holds.
const TRUST_MS: i64 = 600_000;

/// What Redis said lately.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The crowded products, and until when they count as such here.
    crowded: HashMap<ProductId, i64>,
    /// Until when there is no room for another one.
    full_until_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Crowds {
    known: ArcSwap<Known>,
}

impl Crowds {
    /// Sees to it that every listing asks this product, if it is crowded; otherwise answers false, and its buyers must
    /// leave hints. A batch of a crowd makes it crowded, where there is room.
    pub(super) async fn cover(
        &self,
        keys: &Keys,
        connection: &mut MultiplexedConnection,
        product: ProductId,
        wishes: usize,
        now_ms: i64,
    ) -> RedisResult<bool> {
        let before = self.known.load_full();
        if before.crowded.get(&product).is_some_and(|until_ms| now_ms < *until_ms) {
            // Told with each batch: Redis may have lost it, and somebody else have repaired the rest.
            add(keys, connection, product, now_ms).await?;
            return Ok(true);
        }
        if wishes < CROWD || now_ms < before.full_until_ms {
            return Ok(false);
        }
        let crowded = read(keys, connection, now_ms).await?;
        let room = crowded.len() < MOST || crowded.contains(&product.get());
        if room {
            forget(keys, connection, now_ms).await?;
            add(keys, connection, product, now_ms).await?;
        }
        self.learn(&before, product, room, now_ms);
        Ok(room)
    }

    /// Nothing is learnt by one who asked before `doubt`: what Redis said then, it may have forgotten since.
    fn learn(&self, before: &Arc<Known>, product: ProductId, room: bool, now_ms: i64) {
        let mut known = Known::clone(before);
        known.crowded.retain(|_, until_ms| now_ms < *until_ms);
        if room {
            known.crowded.insert(product, now_ms + TRUST_MS);
        } else {
            known.full_until_ms = now_ms + TRUST_MS;
        }
        self.known.compare_and_swap(before, Arc::new(known));
    }

    /// Redis may have lost everything: no product is trusted to be among the crowded.
    pub(super) fn doubt(&self) {
        self.known.store(Arc::default());
    }
}

/// For as long as a hint would be kept at most.
async fn add(
    keys: &Keys,
    connection: &mut MultiplexedConnection,
    product: ProductId,
    now_ms: i64,
) -> RedisResult<()> {
    let mut add = redis::cmd("ZADD");
    add.arg(keys.crowds()).arg("GT").arg(now_ms + 2 * STRETCH_MS).arg(product.get());
    add.exec_async(connection).await
}

/// Takes out what is over.
async fn forget(
    keys: &Keys,
    connection: &mut MultiplexedConnection,
    now_ms: i64,
) -> RedisResult<()> {
    let mut remove = redis::cmd("ZREMRANGEBYSCORE");
    remove.arg(keys.crowds()).arg("-inf").arg(now_ms).exec_async(connection).await
}

/// The products that every listing asks. What somebody else wrote there is thrown away: nothing else would mend it.
pub(super) async fn read(
    keys: &Keys,
    connection: &mut MultiplexedConnection,
    now_ms: i64,
) -> RedisResult<Vec<i64>> {
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(keys.crowds()).arg(now_ms).arg("+inf");
    match range.query_async(connection).await {
        Err(error) if is_broken_data(&error) => {
            redis::cmd("UNLINK").arg(keys.crowds()).exec_async(connection).await?;
            Ok(Vec::new())
        }
        crowded => crowded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_ends_with_its_time_and_with_a_doubt() {
        let (crowds, product) = (Crowds::default(), |id: i64| ProductId::try_from(id).unwrap());
        let learn = |id: i64, room: bool, now_ms: i64| {
            crowds.learn(&crowds.known.load_full(), product(id), room, now_ms);
        };
        let known = || {
            let known = crowds.known.load();
            let mut ids: Vec<i64> = known.crowded.keys().map(|id| id.get()).collect();
            ids.sort_unstable();
            (ids, known.full_until_ms)
        };
        learn(1, true, 0);
        learn(2, true, TRUST_MS - 1);
        assert_eq!(known(), (vec![1, 2], 0));
        learn(3, false, TRUST_MS);
        assert_eq!(known(), (vec![2], 2 * TRUST_MS));
        let asked = crowds.known.load_full();
        crowds.doubt();
        crowds.learn(&asked, product(4), true, TRUST_MS);
        assert_eq!(known(), (vec![], 0), "it was asked before the doubt");
    }
}
