//! Natural batching: what arrives while a batch is under way goes out as the next one. No timer, so nobody waits for
//! company; under a crowd the batches grow by themselves.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::platform::{Fault, Outcome, traces};

/// How much a coalescer takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most items in one batch.
    pub batch: usize,
    /// Most batches of one key under way at a time.
    pub in_flight: usize,
    /// Most items of one key waiting; one more is refused at once.
    pub waiting: usize,
    /// Most items waiting, whatever their keys.
    pub total: usize,
}

type Flush<K, I, O> = dyn Fn(K, Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync;

struct Waiting<I, O> {
    item: I,
    answer: oneshot::Sender<O>,
}

struct Queue<I, O> {
    waiting: VecDeque<Waiting<I, O>>,
    in_flight: usize,
}

struct Queues<K, I, O> {
    by_key: HashMap<K, Queue<I, O>>,
    waiting: usize,
}

/// Gathers items by key and sends them in batches; each item gets its own answer.
pub struct Coalescer<K, I, O> {
    name: &'static str,
    limits: Limits,
    queues: Mutex<Queues<K, I, O>>,
    flush: Box<Flush<K, I, O>>,
}

impl<K, I, O> Coalescer<K, I, O>
where
    K: Clone + Eq + Hash + Send + 'static,
    I: Send + 'static,
    O: Send + 'static,
{
    /// A coalescer that sends batches with `flush`, which answers each item in its place.
    pub fn new(
        name: &'static str,
        limits: Limits,
        flush: impl Fn(K, Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let queues = Mutex::new(Queues { by_key: HashMap::new(), waiting: 0 });
        Arc::new(Self { name, limits, queues, flush: Box::new(flush) })
    }

    /// Refuses when one more item of this key would be refused.
    pub fn has_room(&self, key: &K) -> Result<(), Fault> {
        self.room_in(&self.queues(), key)
    }

    fn room_in(&self, queues: &Queues<K, I, O>, key: &K) -> Result<(), Fault> {
        let of_key = queues.by_key.get(key).map_or(0, |queue| queue.waiting.len());
        if of_key < self.limits.waiting && queues.waiting < self.limits.total {
            Ok(())
        } else {
            metrics::counter!(crate::platform::metrics::QUEUE_REFUSALS, "batch" => self.name)
                .increment(1);
            Err(Fault::overloaded(self.name))
        }
    }

    /// Sends `item` with the next batch of its key. An item whose submitter goes away before its batch leaves is not
    /// sent.
    pub async fn submit(self: &Arc<Self>, key: K, item: I) -> Result<O, Fault> {
        let (answer, answered) = oneshot::channel();
        if self.enqueue(&key, Waiting { item, answer })? {
            let this = self.clone();
            #[expect(
                clippy::disallowed_methods,
                reason = "ends with the batch; whoever waits for it is awaited"
            )]
            tokio::spawn(this.drain(key));
        }
        let waiting = answered.instrument(traces::call("batch", self.name));
        waiting.await.map_err(|gone| Fault::unavailable(self.name, Outcome::Unknown).because(gone))
    }

    /// True when the submitter must start a batch.
    fn enqueue(&self, key: &K, waiting: Waiting<I, O>) -> Result<bool, Fault> {
        let mut queues = self.queues();
        self.room_in(&queues, key)?;
        queues.waiting += 1;
        let empty = || Queue { waiting: VecDeque::new(), in_flight: 0 };
        let queue = queues.by_key.entry(key.clone()).or_insert_with(empty);
        queue.waiting.push_back(waiting);
        let start = queue.in_flight < self.limits.in_flight;
        queue.in_flight += usize::from(start);
        Ok(start)
    }

    async fn drain(self: Arc<Self>, key: K) {
        while let Some((items, answers)) = self.next_batch(&key) {
            metrics::histogram!(crate::platform::metrics::BATCH_ITEMS, "batch" => self.name)
                .record(items.len() as f64);
            let replies = (self.flush)(key.clone(), items).await;
            for (answer, reply) in answers.into_iter().zip(replies) {
                // Whoever asked may have gone away meanwhile.
                drop(answer.send(reply));
            }
        }
    }

    fn next_batch(&self, key: &K) -> Option<(Vec<I>, Vec<oneshot::Sender<O>>)> {
        let mut queues = self.queues();
        let queue = queues.by_key.get_mut(key)?;
        if !queue.waiting.is_empty() {
            metrics::histogram!(crate::platform::metrics::QUEUE_ITEMS, "batch" => self.name)
                .record(queue.waiting.len() as f64);
        }
        let (mut batch, mut taken) = ((Vec::new(), Vec::new()), 0);
        while batch.0.len() < self.limits.batch
            && let Some(Waiting { item, answer }) = queue.waiting.pop_front()
        {
            taken += 1;
            if !answer.is_closed() {
                batch.0.push(item);
                batch.1.push(answer);
            }
        }
        if batch.0.is_empty() {
            queue.in_flight -= 1;
            if queue.in_flight == 0 {
                queues.by_key.remove(key);
            }
        }
        queues.waiting -= taken;
        (!batch.0.is_empty()).then_some(batch)
    }

    fn queues(&self) -> MutexGuard<'_, Queues<K, I, O>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    /// Doubles its items, a batch for each permit of the gate.
    fn doubling(
        gate: &Arc<Semaphore>,
        batches: &Arc<AtomicUsize>,
        waiting: usize,
    ) -> Arc<Coalescer<u8, u32, u32>> {
        let (gate, batches) = (gate.clone(), batches.clone());
        Coalescer::new(
            "doubling",
            Limits { batch: 4, in_flight: 1, waiting, total: 100 },
            move |_, items: Vec<u32>| {
                let (gate, batches) = (gate.clone(), batches.clone());
                async move {
                    gate.acquire().await.unwrap().forget();
                    batches.fetch_add(1, Ordering::Relaxed);
                    items.into_iter().map(|item| item * 2).collect()
                }
                .boxed()
            },
        )
    }

    #[tokio::test]
    async fn what_arrives_meanwhile_goes_out_together_and_each_gets_its_own_answer() {
        let (gate, batches) = (Arc::new(Semaphore::new(0)), Arc::default());
        let coalescer = doubling(&gate, &batches, 100);
        let submits = (0..9).map(|item| coalescer.submit(0, item));
        let answers = futures_util::future::join_all(submits);
        let open = async { gate.add_permits(100) };
        let (answers, ()) = futures_util::join!(answers, open);
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (0..9).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(batches.load(Ordering::Relaxed), 3, "4 + 4 + 1");
        assert!(coalescer.queues().by_key.is_empty());
        assert_eq!(coalescer.queues().waiting, 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let gate = Arc::new(Semaphore::new(0));
        let coalescer = doubling(&gate, &Arc::default(), 1);
        let mut first = Box::pin(coalescer.submit(0, 1));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(coalescer.has_room(&0).is_err());
        assert!(coalescer.submit(0, 2).now_or_never().unwrap().is_err());
        assert!(coalescer.has_room(&1).is_ok(), "another key has its own queue");
        gate.add_permits(1);
        assert_eq!(first.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn all_keys_together_have_a_limit_too() {
        let gate = Arc::new(Semaphore::new(0));
        let coalescer = doubling(&gate, &Arc::default(), 100);
        let mut waiting: Vec<_> = (0..100).map(|key| Box::pin(coalescer.submit(key, 1))).collect();
        for submit in &mut waiting {
            assert!(futures_util::poll!(submit).is_pending());
        }
        assert!(coalescer.has_room(&200).is_err());
        gate.add_permits(100);
        futures_util::future::join_all(waiting).await.into_iter().for_each(|answer| {
            assert_eq!(answer.unwrap(), 2);
        });
        assert!(coalescer.has_room(&200).is_ok());
    }

    #[tokio::test]
    async fn an_item_whose_submitter_is_gone_is_not_sent() {
        let (gate, batches) = (Arc::new(Semaphore::new(100)), Arc::default());
        let coalescer = doubling(&gate, &batches, 100);
        let mut gone = Box::pin(coalescer.submit(0, 1));
        assert!(futures_util::poll!(&mut gone).is_pending());
        drop(gone);
        tokio::task::yield_now().await;
        assert_eq!(batches.load(Ordering::Relaxed), 0);
    }
}
