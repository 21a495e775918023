//! One script call for everybody who wants the same of a SKU at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::catalogue::Name;
use crate::kernel::ReservationId;
use crate::platform::coalescer::{Coalescer, Limits};
use crate::platform::{Fault, Outcome};
use crate::reservations::Reservations;
use crate::reservations::ledger::{Batch, Pin, Pinning, Reserved, Rules, Settled, Verdict, Wanted};
use crate::reservations::rates::counts;
use crate::reservations::record::Record;

/// A batch is short enough for Redis to stay responsive; one at a time per worker and SKU lets batches grow; and what
/// would wait longer than some ten milliseconds is refused at once. Reads, pins and settlements have queues of their own:
/// they wait for at most one batch of a crowd that reserves, never for the crowd.
const LIMITS: Limits = Limits { batch: 64, in_flight: 1, waiting: 512, total: 8_192 };

/// Redis's time, and what was found or done at it.
pub(super) type At<T> = (i64, T);

type Together<I, O> = Coalescer<Arc<Name>, I, Result<O, Fault>>;
type Answers<'a, O> = BoxFuture<'a, Vec<Result<O, Fault>>>;
type Run<I, O> = for<'a> fn(&'a Reservations, &'a Arc<Name>, &'a [I]) -> Answers<'a, O>;

/// The batches of one worker.
pub(super) struct Batches {
    reserve: Arc<Together<Wanted, At<Reserved>>>,
    read: Arc<Together<ReservationId, At<Option<Record>>>>,
    pin: Arc<Together<Pinning, Pin>>,
    settle: Arc<Together<Verdict, Settled>>,
}

impl Batches {
    pub(super) fn new(direct: &Reservations) -> Self {
        Self {
            reserve: together("reserve", direct, reserve),
            read: together("read", direct, read),
            pin: together("pin", direct, pin),
            settle: together("settle", direct, settle),
        }
    }
}

fn together<I: Send + Sync + 'static, O: Send + 'static>(
    name: &'static str,
    direct: &Reservations,
    run: Run<I, O>,
) -> Arc<Together<I, O>> {
    let direct = direct.clone();
    Coalescer::new(name, LIMITS, move |name, items| {
        let direct = direct.clone();
        async move { run(&direct, &name, &items).await }.boxed()
    })
}

impl Reservations {
    /// Sends one wish, with others of its SKU where this worker gathers them.
    pub(super) async fn take_one(
        &self,
        name: &Arc<Name>,
        wanted: Wanted,
    ) -> Result<At<Reserved>, Fault> {
        self.one(|batches| &batches.reserve, reserve, name, wanted).await
    }

    pub(super) async fn read_one(
        &self,
        name: &Arc<Name>,
        id: ReservationId,
    ) -> Result<At<Option<Record>>, Fault> {
        self.one(|batches| &batches.read, read, name, id).await
    }

    pub(super) async fn pin_one(&self, name: &Arc<Name>, pinning: Pinning) -> Result<Pin, Fault> {
        self.one(|batches| &batches.pin, pin, name, pinning).await
    }

    pub(super) async fn settle_one(
        &self,
        name: &Arc<Name>,
        verdict: Verdict,
    ) -> Result<Settled, Fault> {
        self.one(|batches| &batches.settle, settle, name, verdict).await
    }

    async fn one<I: Send + 'static, O: Send + 'static>(
        &self,
        of: fn(&Batches) -> &Arc<Together<I, O>>,
        run: Run<I, O>,
        name: &Arc<Name>,
        item: I,
    ) -> Result<O, Fault> {
        match &self.batches {
            Some(batches) => of(batches).submit(name.clone(), item).await?,
            None => {
                let missing = || Err(Fault::internal("reading a batch of one"));
                run(self, name, &[item]).await.pop().unwrap_or_else(missing)
            }
        }
    }

    fn note(&self, name: &Arc<Name>, batch: &Batch) {
        self.shared.watch.redis_time(batch.now_ms);
        let watched = self.shared.watch.of(name);
        watched.due_at(batch.earliest_ms);
        let (reserved, refused) = counts(&batch.answers);
        watched.count(reserved, refused);
    }

    fn rules(&self) -> Rules {
        let settings = &self.shared.settings.load().reservation;
        let tolerance = settings.churn_interval * settings.churn_burst;
        Rules {
            default_ttl_ms: i64::from(settings.ttl_seconds) * 1_000,
            churn_tolerance_ms: tolerance.as_millis() as i64,
        }
    }
}

/// An answer that was lost on the way is asked for once more: each id is its run's own, so the script replays what it
/// did for those it had done.
fn reserve<'a>(
    to: &'a Reservations,
    name: &'a Arc<Name>,
    wanted: &'a [Wanted],
) -> Answers<'a, At<Reserved>> {
    async move {
        let runs = AtomicU32::new(0);
        let run = || {
            let again = runs.fetch_add(1, Ordering::Relaxed) > 0;
            to.ledger.reserve(name, wanted, to.rules(), again)
        };
        let hints = to.ledger.hint(name, wanted, to.shared.watch.now_ms());
        let ((), mut answer) = futures_util::join!(hints, to.on_sku(name, run));
        if answer.as_ref().is_err_and(|fault| fault.outcome() == Outcome::Unknown) {
            let again = to.on_sku(name, run).await;
            answer = again.map_err(|fault| fault.with_outcome(Outcome::Unknown));
        }
        let answers = answer.map(|batch| {
            to.note(name, &batch);
            batch.answers.into_iter().map(|answer| (batch.now_ms, answer)).collect()
        });
        spread(answers, wanted)
    }
    .boxed()
}

fn read<'a>(
    to: &'a Reservations,
    name: &'a Arc<Name>,
    ids: &'a [ReservationId],
) -> Answers<'a, At<Option<Record>>> {
    async move { spread(to.on_sku(name, || to.ledger.read(&name.sku, ids)).await, ids) }.boxed()
}

fn pin<'a>(to: &'a Reservations, name: &'a Arc<Name>, pins: &'a [Pinning]) -> Answers<'a, Pin> {
    async move { spread(to.on_sku(name, || to.ledger.pin(&name.sku, pins)).await, pins) }.boxed()
}

fn settle<'a>(
    to: &'a Reservations,
    name: &'a Arc<Name>,
    verdicts: &'a [Verdict],
) -> Answers<'a, Settled> {
    async move { spread(to.on_sku(name, || to.ledger.settle(&name.sku, verdicts)).await, verdicts) }
        .boxed()
}

/// To each its answer, or to all the same fault.
fn spread<I, O>(answers: Result<Vec<O>, Fault>, items: &[I]) -> Vec<Result<O, Fault>> {
    match answers {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(fault) => items.iter().map(|_| Err(fault.repeat())).collect(),
    }
}
