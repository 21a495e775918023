//! Where a buyer has holds: a hint, so that a listing need not ask every product. It is written in the flush of each
//! reserve, and verified against the records by whoever reads it; one that is lost only makes a listing incomplete until
//! the hold ends.
//!
//! Products that a crowd wants leave no hints: `crowds.rs`.
//!
//! A key for each buyer would cost Redis as much as the hold itself, so buyers share a few thousand hashes: small ones,
//! which Redis keeps packed. Hashes cannot forget single fields (Redis 7.0), so each is of one stretch of time and is
//! forgotten whole.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::kernel::{ProductId, UserId};
use crate::reservations::keys::Keys;
use crate::reservations::ledger::crowds::{self, Crowds};

/// The length of a stretch: longer than the longest first time of a hold, so that a live one stands in this stretch or in the
/// one before; one that is extended or frozen beyond that is still held, but no longer listed.
pub(super) const STRETCH_MS: i64 = 25 * 3_600_000;
/// The hashes of a stretch. A million buyers are 122 in each; up to 128 are kept packed (`hash-max-listpack-entries`).
const HASHES: u32 = 8_192;
/// How long a hash is trusted to still have the time of its end, which one that was lost and made anew does not.
const TRUST_MS: i64 = 600_000;
/// Most products that a listing asks because of hints: the latest.
const MOST: usize = 200;
/// Fields that one call may look through.
const SCANNED: u32 = 1_000;

/// What is known of the hints in Redis: which hashes were told when to end, lately, and which products need none.
#[derive(Debug)]
pub(in crate::reservations) struct Hints {
    crowds: Crowds,
    since_ms: AtomicI64,
    told: [AtomicU64; HASHES as usize / 64],
}

impl Default for Hints {
    fn default() -> Self {
        let told = [const { AtomicU64::new(0) }; _];
        Self { crowds: Crowds::default(), since_ms: AtomicI64::new(0), told }
    }
}

impl Hints {
    /// Notes that each of these buyers has a hold of this product, which so many wishes of a batch are for; unless every listing
    /// asks it anyway.
    pub(super) async fn write(
        &self,
        keys: &Keys,
        connection: &mut MultiplexedConnection,
        product: ProductId,
        wishes: usize,
        users: impl Iterator<Item = &UserId>,
        now_ms: i64,
    ) -> RedisResult<()> {
        let covered = self.crowds.cover(keys, connection, product, wishes, now_ms).await;
        if covered.unwrap_or(false) {
            return Ok(());
        }
        self.forget_ends_in_time(now_ms);
        let stretch = now_ms / STRETCH_MS;
        let mut pipe = redis::pipe();
        for user in users {
            let hash = hash_of(user);
            let key = keys.hints(hash, stretch);
            pipe.cmd("HSET").arg(&key).arg(format!("{user}/{product}")).arg(now_ms).ignore();
            if self.tell(hash) {
                let end_ms = (stretch + 2) * STRETCH_MS;
                pipe.cmd("PEXPIREAT").arg(&key).arg(end_ms).ignore();
            }
        }
        if pipe.is_empty() { Ok(()) } else { pipe.query_async(connection).await }
    }

    /// The products where a buyer may have holds.
    pub(super) async fn read(
        keys: &Keys,
        connection: &mut MultiplexedConnection,
        user: &UserId,
        now_ms: i64,
    ) -> RedisResult<Vec<i64>> {
        let (hash, stretch) = (hash_of(user), now_ms / STRETCH_MS);
        let pattern = format!("{}/*", literal(user.as_str()));
        let mut found: Vec<(i64, i64)> = Vec::new();
        for stretch in [stretch, stretch - 1] {
            let (key, mut cursor) = (keys.hints(hash, stretch), 0_u64);
            loop {
                let mut scan = redis::cmd("HSCAN");
                scan.arg(&key).arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED);
                let (next, fields): (u64, Vec<(String, i64)>) =
                    scan.query_async(connection).await?;
                let product = |field: &str| field.rsplit_once('/')?.1.parse().ok();
                found.extend(
                    fields.iter().filter_map(|(field, at_ms)| Some((*at_ms, product(field)?))),
                );
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        found.sort_unstable_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
        let mut products = Vec::new();
        for (_, product) in found {
            if !products.contains(&product) && products.len() < MOST {
                products.push(product);
            }
        }
        for product in crowds::read(keys, connection, now_ms).await? {
            if !products.contains(&product) {
                products.push(product);
            }
        }
        Ok(products)
    }

    /// Redis may have lost everything: nothing is trusted to be there.
    pub(in crate::reservations) fn doubt(&self) {
        self.crowds.doubt();
        self.forget_ends();
    }

    fn forget_ends(&self) {
        self.told.iter().for_each(|told| told.store(0, Ordering::Relaxed));
    }

    fn forget_ends_in_time(&self, now_ms: i64) {
        let stretch_began = now_ms / STRETCH_MS * STRETCH_MS;
        let since_ms = self.since_ms.load(Ordering::Relaxed);
        if since_ms < stretch_began || now_ms - since_ms > TRUST_MS {
            self.since_ms.store(now_ms, Ordering::Relaxed);
            self.forget_ends();
        }
    }

    /// Whether this hash must be told when to end.
    fn tell(&self, hash: u32) -> bool {
        let bit = 1 << (hash % 64);
        self.told[hash as usize / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

/// The same in every replica and version: FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>).
fn hash_of(user: &UserId) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    user.as_str().bytes().fold(0x811c_9dc5, step) % HASHES
}

/// A text that a pattern of Redis matches with nothing but itself.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for char in text.chars() {
        if "*?[]^\\-".contains(char) {
            literal.push('\\');
        }
        literal.push(char);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_is_told_its_end_once_until_it_is_doubted() {
        let hints = Hints::default();
        let now_ms = 100 * STRETCH_MS + 5;
        hints.forget_ends_in_time(now_ms);
        assert!(hints.tell(7) && !hints.tell(7) && hints.tell(8));
        hints.forget_ends_in_time(now_ms + TRUST_MS);
        assert!(!hints.tell(7), "trusted for a while");
        hints.forget_ends_in_time(now_ms + TRUST_MS + 1);
        assert!(hints.tell(7) && !hints.tell(7));
        hints.forget_ends_in_time(101 * STRETCH_MS);
        assert!(hints.tell(7), "a new stretch has new hashes");
        hints.doubt();
        assert!(hints.tell(7));
    }

    #[test]
    fn a_buyers_name_is_no_pattern() {
        assert_eq!(literal("a*b[c]\\d-e^"), "a\\*b\\[c\\]\\\\d\\-e\\^");
    }

    #[test]
    fn buyers_are_spread_and_stay_where_they_are() {
        let user = |number: u32| format!("buyer-{number}").parse::<UserId>().unwrap();
        assert_eq!(hash_of(&user(1)), hash_of(&user(1)));
        let mut in_each = [0_u32; HASHES as usize];
        (0..500_000).for_each(|number| in_each[hash_of(&user(number)) as usize] += 1);
        assert!(in_each.iter().all(|many| (1..200).contains(many)), "61 on average");
    }
}
