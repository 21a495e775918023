//! Answers that many ask for, kept in Redis for all replicas and in the process for a moment. Every key carries the
//! generation, a random number in Redis that each change replaces: whoever asks after a change finds nothing old, in
//! any replica. An answer that was computed across a change is kept under the generation before it, where nobody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use moka::future::Cache as Memory;

use crate::platform::Fault;
use crate::platform::coalescer::{Coalescer, Limits};
use crate::platform::redis::Via;

/// How long answers are kept in the process while Redis is away.
const ALONE: Duration = Duration::from_millis(250);
/// Bytes kept in the process, and the largest answer that is kept in Redis.
const KEPT: u64 = 16 << 20;
const LARGEST: usize = 256 << 10;
/// One look at the generation serves all who wait for it.
const LIMITS: Limits = Limits { batch: 1024, in_flight: 1, waiting: 8192, total: 8192 };

/// An answer as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its entity tag, with the quotes.
    pub etag: Arc<str>,
    /// Its body.
    pub body: Bytes,
}

type Generation = Option<Arc<str>>;

/// The cache, over one way to Redis.
#[derive(Clone)]
pub struct Cache {
    via: Via,
    generation_key: Arc<str>,
    ttl: Duration,
    began: Instant,
    /// Changes in this process; the last one that Redis was not told of; and how far that was made good.
    changes: Arc<AtomicU64>,
    untold: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    generations: Arc<Coalescer<(), (), Generation>>,
    memory: Memory<String, Cached>,
}

impl Cache {
    /// A cache whose keys begin with `name`.
    pub fn new(via: Via, name: &str, ttl: Duration) -> Self {
        let generation_key: Arc<str> = format!("{name}generation").into();
        let weigh = |key: &String, kept: &Cached| (key.len() + kept.body.len() + 200) as u32;
        let memory = Memory::builder().max_capacity(KEPT).weigher(weigh).time_to_live(ttl).build();
        Self {
            generations: generations(via.clone(), generation_key.clone()),
            via,
            generation_key,
            ttl,
            began: Instant::now(),
            changes: Arc::default(),
            untold: Arc::default(),
            settled: Arc::default(),
            memory,
        }
    }

    /// The same cache over another way to Redis.
    pub fn over(&self, via: Via) -> Self {
        let generations = generations(via.clone(), self.generation_key.clone());
        Self { via, generations, ..self.clone() }
    }

    /// The answer under `key`, made by `load` if nobody has it; all of this process who miss it wait for one `load`.
    pub async fn get<E, F>(&self, key: &str, load: impl FnOnce() -> F) -> Result<Cached, Arc<E>>
    where
        E: From<Fault> + Send + Sync + 'static,
        F: Future<Output = Result<Cached, E>>,
    {
        let generation = self.generation().await;
        let slot = match &generation {
            Some(generation) => format!("{}:{generation}:{key}", self.generation_key),
            None => {
                let turn = self.began.elapsed().as_millis() / ALONE.as_millis();
                format!("{}:{turn}:{key}", self.changes.load(Ordering::Acquire))
            }
        };
        // A hit is the rule: it makes no future for a miss.
        match self.memory.get(&slot).await {
            Some(kept) => Ok(kept),
            None => Box::pin(self.miss(slot, generation.is_some(), load())).await,
        }
    }

    async fn miss<E: From<Fault> + Send + Sync + 'static>(
        &self,
        slot: String,
        in_redis: bool,
        load: impl Future<Output = Result<Cached, E>>,
    ) -> Result<Cached, Arc<E>> {
        let made = async {
            if !in_redis {
                return load.await;
            }
            if let Some(kept) = in_time(&self.via, self.fetch(&slot)).await.flatten() {
                return Ok(kept);
            }
            let made = load.await?;
            if made.body.len() <= LARGEST {
                in_time(&self.via, self.keep(&slot, &made)).await;
            }
            Ok(made)
        };
        self.memory.try_get_with(slot.clone(), Box::pin(made)).await
    }

    /// None: Redis is away, or has not heard of a change yet.
    async fn generation(&self) -> Generation {
        let owed = self.settled.load(Ordering::Acquire) < self.untold.load(Ordering::Acquire);
        if owed && !self.replace().await {
            return None;
        }
        self.generations.submit((), ()).await.ok().flatten()
    }

    /// Forgets everything, in all replicas. If Redis is away, this process tells it at the next read.
    pub async fn forget(&self) {
        let change = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        if !self.replace().await {
            self.untold.fetch_max(change, Ordering::AcqRel);
            tracing::warn!(
                "redis was away: other replicas may show the catalogue as it was for a while"
            );
        }
    }

    async fn replace(&self) -> bool {
        let untold = self.untold.load(Ordering::Acquire);
        let replace = async {
            let mut connection = self.via.connection().await.ok()?;
            let mut cmd = redis::cmd("SET");
            cmd.arg(&*self.generation_key).arg(random());
            let replaced: redis::RedisResult<()> = cmd.query_async(&mut connection).await;
            replaced.map_err(|error| self.via.fault("forgetting lists", error)).ok()
        };
        let replaced = in_time(&self.via, replace).await.flatten().is_some();
        if replaced {
            self.settled.fetch_max(untold, Ordering::AcqRel);
        }
        replaced
    }

    async fn fetch(&self, slot: &str) -> Option<Cached> {
        let mut connection = self.via.connection().await.ok()?;
        let mut cmd = redis::cmd("GET");
        cmd.arg(slot);
        let kept: redis::RedisResult<Option<String>> = cmd.query_async(&mut connection).await;
        let kept = kept.map_err(|error| self.via.fault("reading a list", error)).ok()??;
        let (etag, body) = kept.split_once('\n')?;
        Some(Cached { etag: etag.into(), body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    async fn keep(&self, slot: &str, made: &Cached) -> Option<()> {
        let mut connection = self.via.connection().await.ok()?;
        let value = [made.etag.as_bytes(), b"\n", &made.body].concat();
        let mut cmd = redis::cmd("SET");
        cmd.arg(slot).arg(value).arg("PX").arg(self.ttl.as_millis() as u64);
        let kept: redis::RedisResult<()> = cmd.query_async(&mut connection).await;
        kept.map_err(|error| self.via.fault("keeping a list", error)).ok()
    }
}

/// What Redis says, unless it takes so long that the cache does without it.
async fn in_time<T>(via: &Via, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(via.aside(), work).await.ok()
}

/// Never used twice: a Redis that lost its last writes must not come back to a generation that was.
fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn generations(via: Via, key: Arc<str>) -> Arc<Coalescer<(), (), Generation>> {
    Coalescer::new("generation", LIMITS, move |(), asked: Vec<()>| {
        let (via, key) = (via.clone(), key.clone());
        async move {
            let generation = in_time(&via, generation(&via, &key)).await.flatten();
            vec![generation; asked.len()]
        }
        .boxed()
    })
}

async fn generation(via: &Via, key: &str) -> Generation {
    let mut connection = via.connection().await.ok()?;
    let mut get = redis::cmd("GET");
    get.arg(key);
    let found: redis::RedisResult<Option<String>> = get.query_async(&mut connection).await;
    if let Some(found) = found.map_err(|error| via.fault("reading a generation", error)).ok()? {
        return Some(found.into());
    }
    let mut first = redis::pipe();
    first.cmd("SET").arg(key).arg(random()).arg("NX").ignore().cmd("GET").arg(key);
    let made: redis::RedisResult<(String,)> = first.query_async(&mut connection).await;
    made.ok().map(|(made,)| made.into())
}
