//! Making Redis right again from whatever it holds: per SKU (R1-R4), and for a whole new incarnation.
//!
//! Anybody may rebuild, any number at once; each step may be the last before a crash. The order is what keeps it
//! right: the epoch is bumped in Postgres *before* anything is read, so no confirm that pinned earlier can commit after.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::catalogue::{Catalogue, Name};
use crate::kernel::{Clock, ProductId, ReservationId};
use crate::platform::redis::Redis;
use crate::platform::tasks::jittered;
use crate::platform::{Db, Fault, Outcome, lua, metrics as names};
use crate::reservations::ledger::{Ledger, Trouble};
use crate::reservations::stock_store::Begun;
use crate::reservations::{decision_store, stock_store, store};

/// How long one call of a rebuild may take: a SKU with a million holds is rebuilt by one.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// Buyers per chunk, decisions per question.
const CHUNK: i64 = 5_000;
/// Buyers that one call of the script stages; everything else waits for it.
const STAGED: usize = 1_000;
/// SKUs that are closed in one flush.
const SKUS: i64 = 1_000;
/// How often a rebuild of somebody else is looked for, and the pause between two looks, at least and at most.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// SKUs that are rebuilt at the same time.
const AT_ONCE: usize = 8;

/// When the last rebuild of a SKU ended; the lock is held while one runs.
type Last = Arc<tokio::sync::Mutex<Option<Instant>>>;

/// Rebuilds SKUs, each one once at a time in this process.
pub(super) struct Rebuilder {
    ledger: Ledger,
    db: Db,
    catalogue: Catalogue,
    running: Mutex<HashMap<ProductId, Last>>,
    total: AtomicU64,
    last_ms: AtomicI64,
    clock: Clock,
}

impl Rebuilder {
    pub(super) fn new(ledger: Ledger, db: Db, catalogue: Catalogue, clock: Clock) -> Self {
        let (running, total, last_ms) = (Mutex::default(), AtomicU64::new(0), AtomicI64::new(0));
        Self { ledger, db, catalogue, running, total, last_ms, clock }
    }

    /// How many SKUs were rebuilt here, and when the last one was (0: none).
    pub(super) fn made(&self) -> (u64, i64) {
        (self.total.load(Ordering::Relaxed), self.last_ms.load(Ordering::Relaxed))
    }

    /// Rebuilds this SKU, or takes the result of a rebuild that ended meanwhile.
    pub(super) async fn rebuild(&self, name: &Arc<Name>) -> Result<(), Fault> {
        self.rebuild_since(name, Instant::now()).await
    }

    /// The same for whoever was told to by a call that began at `asked`. Boxed: a rebuild is large and rare, and every
    /// hold would carry it along.
    pub(super) fn rebuild_since<'a>(
        &'a self,
        name: &'a Arc<Name>,
        asked: Instant,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.in_turn(name, asked, self.make(name)).boxed()
    }

    /// For whoever was told by Postgres that the SKU was rebuilt since: mostly Redis has what it needs, or another replica
    /// is about to bring it. One more rebuild would only make everybody else's pins stale.
    pub(super) fn catch_up<'a>(&'a self, name: &'a Arc<Name>) -> BoxFuture<'a, Result<(), Fault>> {
        let work = async {
            if self.soon_current(name, PAUSE).await? { Ok(()) } else { self.make(name).await }
        };
        self.in_turn(name, Instant::now(), work).boxed()
    }

    async fn in_turn(
        &self,
        name: &Arc<Name>,
        asked: Instant,
        work: impl Future<Output = Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let last = self.last(name.id);
        let mut last = last.lock().await;
        if last.is_some_and(|ended| ended > asked) {
            return Ok(());
        }
        work.await.map_err(|fault| fault.with_outcome(Outcome::None))?;
        *last = Some(Instant::now());
        Ok(())
    }

    /// Whether Redis has the rebuild that Postgres knows of, now or a little later.
    async fn soon_current(&self, name: &Name, pause: Duration) -> Result<bool, Fault> {
        for _ in 0..LOOKS {
            let known = stock_store::stock(&self.db, &[name.id]).await?;
            match self.ledger.audit(&name.sku).await {
                Ok(audit) if known.iter().any(|(_, shelf)| shelf.epoch == audit.epoch) => {
                    return Ok(true);
                }
                Ok(_) | Err(Trouble::Rebuild) => tokio::time::sleep(jittered(pause)).await,
                Err(Trouble::Fault(fault)) => return Err(fault),
            }
        }
        Ok(false)
    }

    async fn make(&self, name: &Arc<Name>) -> Result<(), Fault> {
        let begun = Instant::now();
        self.ledger.hints().doubt();
        self.run(name).await?;
        metrics::histogram!(names::REBUILD_SECONDS).record(begun.elapsed());
        self.total.fetch_add(1, Ordering::Relaxed);
        self.last_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        Ok(())
    }

    fn last(&self, product: ProductId) -> Last {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(product)
            .or_default()
            .clone()
    }

    async fn run(&self, name: &Arc<Name>) -> Result<(), Fault> {
        let started = Instant::now();
        // One connection for all of it: should Redis restart in between, it breaks, and so does the
        // rebuild.
        let mut connection = self.ledger.connection().await?;
        connection.set_response_timeout(LONGEST_CALL);
        let begun = stock_store::rebuild_begin(&self.db, name.id).await?;
        let claimed = self.ledger.claim(&name.sku, begun.epoch, &mut connection).await?;
        let live = self.list(name, &mut connection).await?;
        let decided = self.decided(&live).await?;
        let latest = stock_store::stock(&self.db, &[name.id]).await?;
        let overtaken = latest.first().is_none_or(|(_, shelf)| shelf.epoch != begun.epoch);
        // Before the SKU opens: no hold may expire by a clock that is not the one in force.
        let clock = store::expiry_clock(&self.db).await?;
        if clock.version > 0 {
            self.ledger.set_clock(&name.sku, &clock, &mut connection).await?;
        }
        let applied = claimed && !overtaken && {
            let staged = self.stage_buyers(name, &begun, &mut connection).await?;
            self.apply(name, &begun, staged, &decided, &mut connection).await?
        };
        if !applied {
            // Somebody else rebuilds, and takes about as long: two that begin anew would send each other back for ever.
            let pause = started.elapsed().clamp(PAUSE, LONGEST_PAUSE);
            self.soon_current(name, pause).await?;
        }
        tracing::info!(sku = %name.sku, epoch = begun.epoch, applied, "a SKU was rebuilt");
        Ok(())
    }

    /// R2, after the claim. Deadlines before pins: a hold that is pinned meanwhile is met at the latest there.
    async fn list(
        &self,
        name: &Name,
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<ReservationId>, Fault> {
        let six = self.ledger.keys().six(&name.sku);
        let mut live = Vec::new();
        for index in [&six[2], &six[3]] {
            let mut cursor: u64 = 0;
            loop {
                let mut scan = redis::cmd("ZSCAN");
                scan.arg(index).arg(cursor).arg("COUNT").arg(CHUNK);
                let page: RedisResult<(u64, Vec<(String, f64)>)> =
                    scan.query_async(connection).await;
                let (next, found) = match page {
                    Ok(page) => page,
                    // Somebody put another type there; the script makes the index anew.
                    Err(error) if error.code() == Some("WRONGTYPE") => break,
                    Err(error) => {
                        return Err(self.ledger.fault("listing live reservations", error));
                    }
                };
                live.extend(found.iter().filter_map(|(id, _)| id.parse::<ReservationId>().ok()));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(live)
    }

    /// R3.
    async fn decided(&self, live: &[ReservationId]) -> Result<Vec<(ReservationId, bool)>, Fault> {
        let mut decided = Vec::new();
        for chunk in live.chunks(CHUNK as usize) {
            decided.extend(decision_store::decided(&self.db, chunk).await?);
        }
        Ok(decided)
    }

    /// Loads who bought how much into a key of this rebuild's own, from where R4 takes it.
    async fn stage_buyers(
        &self,
        name: &Name,
        begun: &Begun,
        connection: &mut MultiplexedConnection,
    ) -> Result<usize, Fault> {
        const STAGED_SECONDS: i64 = 120;
        let mut keys = self.ledger.keys().six(&name.sku);
        keys.push(self.ledger.keys().staged_buyers(&name.sku, begun.epoch));
        let (mut after, mut staged) = (String::new(), 0);
        loop {
            let buyers = stock_store::buyers(&self.db, name.id, &after, CHUNK).await?;
            let Some((last, _, _)) = buyers.last() else { return Ok(staged) };
            after.clone_from(last);
            staged += buyers.len();
            for some in buyers.chunks(STAGED) {
                let mut cmd = lua::STAGE.call(&keys);
                cmd.arg(STAGED_SECONDS);
                for (user, bought, returned) in some {
                    cmd.arg(user).arg(format!("{bought} {returned}"));
                }
                let sent: RedisResult<Vec<i64>> = lua::STAGE.run(&cmd, connection).await;
                sent.map_err(|error| self.ledger.fault("staging buyers", error))?;
            }
        }
    }

    /// R4. False: another rebuild came later, or Redis forgot what was staged.
    async fn apply(
        &self,
        name: &Arc<Name>,
        begun: &Begun,
        staged: usize,
        decided: &[(ReservationId, bool)],
        connection: &mut MultiplexedConnection,
    ) -> Result<bool, Fault> {
        let mut keys = self.ledger.keys().six(&name.sku);
        keys.push(self.ledger.keys().staged_buyers(&name.sku, begun.epoch));
        let mut cmd = lua::REBUILD.call(&keys);
        cmd.arg(begun.epoch).arg(begun.stocked).arg(begun.sold).arg(begun.returned).arg(begun.ver);
        cmd.arg(begun.ttl_ms).arg(begun.cap).arg(begun.opens_at_ms).arg(begun.closes_at_ms);
        cmd.arg(&begun.sale).arg(begun.version).arg(staged).arg(decided.len());
        for (id, confirmed) in decided {
            cmd.arg(id.to_string()).arg(if *confirmed { "CONFIRMED" } else { "ABORTED" });
        }
        for pending in &begun.pending {
            cmd.arg(&pending.reservation_id)
                .arg(&pending.token)
                .arg(pending.quantity)
                .arg(&pending.user_id);
            cmd.arg(self.lines_of(name, &pending.product_ids).await?);
        }
        let reply: RedisResult<Vec<i64>> = lua::REBUILD.run(&cmd, connection).await;
        let reply = reply.map_err(|error| self.ledger.fault("rebuild", error))?;
        Ok(reply.first() == Some(&0))
    }

    /// How a restored record lists its products.
    async fn lines_of(&self, name: &Name, products: &[ProductId]) -> Result<String, Fault> {
        match products {
            [_] => Ok("-".to_owned()),
            [home, ..] if *home == name.id => {
                let mut skus = Vec::new();
                for product in products {
                    skus.extend(
                        self.catalogue.by_id(*product).await?.map(|name| name.sku.to_string()),
                    );
                }
                Ok(skus.join(","))
            }
            _ => Ok("@".to_owned()),
        }
    }

    /// Lets an incarnation of Redis through that Postgres does not vouch for yet: closes every SKU, so that each script
    /// on it asks for its rebuild first, then stores and blesses the incarnation.
    ///
    /// A crash in between leaves SKUs that ask for a rebuild. The SKUs themselves are rebuilt on demand or by
    /// `rebuild_known`, whichever comes first.
    pub(super) async fn admit(&self, redis: &Redis) -> Result<(), Fault> {
        let unavailable = || Fault::unavailable("connecting to redis", Outcome::None);
        let mut link = redis.connect().await.map_err(|error| unavailable().because(error))?;
        if store::incarnation(&self.db).await?.as_ref() == Some(&link.identity) {
            redis.gate().bless(link.identity);
            return Ok(());
        }
        let begun = Instant::now();
        let mut after = 0;
        loop {
            let known = stock_store::known(&self.db, after, SKUS).await?;
            let Some((last, _)) = known.last() else { break };
            after = last.get();
            let mut pipe = redis::pipe();
            for (_, sku) in &known {
                // The epoch stays: it keeps a rebuild that began long ago from being applied over a later one.
                pipe.cmd("HDEL").arg(self.ledger.keys().stock(sku)).arg("ready").ignore();
            }
            match pipe.query_async::<()>(&mut link.connection).await {
                // What is not a hash is no stock that any script would believe.
                Err(error) if error.code() != Some("WRONGTYPE") => {
                    return Err(self.ledger.fault("closing SKUs", error));
                }
                _ => {}
            }
        }
        store::store_incarnation(&self.db, &link.identity).await?;
        redis.gate().bless(link.identity.clone());
        let duration_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(
            redis.run_id = link.identity.run_id,
            duration_ms,
            "a new incarnation of redis was let through"
        );
        Ok(())
    }

    /// Lets the incarnation of Redis through that Postgres vouches for, and no other.
    pub(super) async fn admit_known(&self, redis: &Redis) -> Result<(), Fault> {
        let unavailable = |what| Fault::unavailable(what, Outcome::None);
        let link = redis.connect().await;
        let link = link.map_err(|error| unavailable("connecting to redis").because(error))?;
        if store::incarnation(&self.db).await?.as_ref() != Some(&link.identity) {
            return Err(unavailable("no service has let this redis through yet: start one first"));
        }
        redis.gate().bless(link.identity);
        Ok(())
    }

    /// Rebuilds every SKU that Redis has had before, some at a time.
    pub(super) async fn rebuild_known(&self) -> Result<(), Fault> {
        let mut after = 0;
        loop {
            let known = stock_store::known(&self.db, after, SKUS).await?;
            let Some((last, _)) = known.last() else { return Ok(()) };
            after = last.get();
            let rebuilds = known.into_iter().map(|(id, sku)| async move {
                let name = Arc::new(Name { id, sku });
                // An SKU that was rebuilt on demand meanwhile answers and is left alone.
                match self.ledger.audit(&name.sku).await {
                    Ok(_) => Ok(()),
                    Err(_) => self.rebuild(&name).await,
                }
            });
            let mut rebuilds = futures_util::stream::iter(rebuilds).buffer_unordered(AT_ONCE);
            while let Some(rebuilt) = rebuilds.next().await {
                rebuilt?;
            }
        }
    }
}
