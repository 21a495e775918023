//! One script call for everybody who wants the same SKU at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;

use crate::catalogue::Name;
use crate::platform::coalescer::{Coalescer, Limits};
use crate::platform::{Fault, Outcome};
use crate::reservations::Reservations;
use crate::reservations::ledger::{Batch, Reserved, Rules, Wanted};

/// A batch is short enough for Redis to stay responsive; one at a time per worker and SKU lets batches grow; and what
/// would wait longer than a request may is refused at once.
const LIMITS: Limits = Limits { batch: 64, in_flight: 1, waiting: 1_024 };

/// Redis's time and the answer to one of a batch.
pub(super) type Taken = Result<(i64, Reserved), Fault>;

/// The batches of one worker.
pub(super) type Reserving = Coalescer<Arc<Name>, Wanted, Taken>;

impl Reservations {
    pub(super) fn reserving(&self) -> Arc<Reserving> {
        let direct = self.clone();
        Coalescer::new("reserve", LIMITS, move |name, wanted| {
            let direct = direct.clone();
            async move { direct.reserve_batch(&name, &wanted).await }.boxed()
        })
    }

    /// Sends one wish, with others of its SKU where this worker gathers them.
    pub(super) async fn take_one(&self, name: &Arc<Name>, wanted: Wanted) -> Taken {
        match &self.reserving {
            Some(reserving) => reserving.submit(name.clone(), wanted).await?,
            None => {
                let missing = || Fault::internal("reading a batch of one");
                self.reserve_batch(name, &[wanted]).await.pop().ok_or_else(missing)?
            }
        }
    }

    /// An answer that was lost on the way is asked for once more: each id is its run's own, so the script replays what
    /// it did for those it had done.
    async fn reserve_batch(&self, name: &Arc<Name>, wanted: &[Wanted]) -> Vec<Taken> {
        let runs = AtomicU32::new(0);
        let run = || {
            let again = runs.fetch_add(1, Ordering::Relaxed) > 0;
            self.ledger.reserve(name, wanted, self.rules(), self.shared.watch.now_ms(), again)
        };
        let mut answer = self.on_sku(name, run).await;
        if answer.as_ref().is_err_and(|fault| fault.outcome() == Outcome::Unknown) {
            let again = self.on_sku(name, run).await;
            answer = again.map_err(|fault| fault.with_outcome(Outcome::Unknown));
        }
        match answer {
            Ok(batch) => {
                self.note(name, &batch);
                batch.answers.into_iter().map(|answer| Ok((batch.now_ms, answer))).collect()
            }
            Err(fault) => wanted.iter().map(|_| Err(fault.repeat())).collect(),
        }
    }

    fn note(&self, name: &Arc<Name>, batch: &Batch) {
        self.shared.watch.redis_time(batch.now_ms);
        self.shared.watch.of(name).due_at(batch.earliest_ms);
    }

    fn rules(&self) -> Rules {
        let settings = &self.shared.settings;
        let tolerance = settings.churn_interval * settings.churn_burst;
        Rules {
            default_ttl_ms: i64::from(settings.ttl_seconds) * 1_000,
            churn_tolerance_ms: tolerance.as_millis() as i64,
        }
    }
}
