//! Rate limits that all replicas share, by the generic cell rate algorithm (ITU-T I.371): so many requests at once, then
//! one each time another has become due. Requests that arrive together are counted by one call of Redis; while Redis is
//! away each process counts for itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::platform::coalescer::{Coalescer, Limits};
use crate::platform::redis::Via;
use crate::platform::{Fault, lua, metrics as names};

/// How long the process counts for itself once Redis took too long.
const ALONE: Duration = Duration::from_secs(1);
/// Subjects that a process counts for itself; when there are more, it begins anew.
const SUBJECTS: usize = 65_536;
const LIMITS: Limits = Limits { batch: 128, in_flight: 2, waiting: 8_192, total: 8_192 };

/// What one kind of subject may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in headers and metrics.
    pub name: &'static str,
    /// Requests in a window; all of them may come at once. 0 is no limit.
    pub quota: u32,
    /// The window.
    pub window: Duration,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// By which policy.
    pub policy: Policy,
    /// Whether it may go on.
    pub allowed: bool,
    /// How many more may come right now.
    pub left: u64,
    /// How long until one may come.
    pub wait: Duration,
    /// How long until all may.
    pub reset: Duration,
}

/// Microseconds between two requests at the agreed rate, and how many may come at once.
type Rate = (u64, u64);
/// As `limit.lua` replies.
type Counted = (u64, u64, u64, u64);

type Counts = Coalescer<(), (String, Rate), Result<Counted, Fault>>;

/// Counts requests.
#[derive(Clone)]
pub struct Limiter {
    prefix: Arc<str>,
    counts: Arc<Counts>,
    patience: Duration,
    alone: Arc<Alone>,
}

impl Limiter {
    /// A limiter whose keys begin with `prefix`.
    pub fn new(via: Via, prefix: &str) -> Self {
        // One slot for all, as a call of several keys needs on a cluster.
        let prefix = format!("{prefix}{{l}}:").into();
        let patience = via.aside();
        Self { prefix, counts: counts(via), patience, alone: Arc::default() }
    }

    /// The same limiter over another way to Redis.
    pub fn over(&self, via: Via) -> Self {
        Self { patience: via.aside(), counts: counts(via), ..self.clone() }
    }

    /// Counts a request of `subject`, if this policy limits anything.
    pub async fn count(&self, policy: Policy, subject: &str) -> Option<Decision> {
        if policy.quota == 0 {
            return None;
        }
        let decision = self.decide(policy, subject).await;
        if !decision.allowed {
            metrics::counter!(names::RATE_LIMITED, "policy" => policy.name).increment(1);
        }
        Some(decision)
    }

    /// Counts something of our own that keeps to a pace: zero if its turn is now, else how long to wait before asking
    /// again. Nobody is refused, so nothing is counted as refused.
    pub async fn due(&self, policy: Policy, subject: &str) -> Duration {
        let decision = self.decide(policy, subject).await;
        // Never zero for one that must wait.
        if decision.allowed { Duration::ZERO } else { decision.wait.max(Duration::from_millis(1)) }
    }

    async fn decide(&self, policy: Policy, subject: &str) -> Decision {
        let quota = u64::from(policy.quota).max(1);
        let interval = (policy.window.as_micros() as u64 / quota).max(1);
        let key = format!("{}{}:{subject}", self.prefix, policy.name);
        let (allowed, left, wait, reset) = self.counted(key, (interval, quota)).await;
        Decision {
            policy,
            allowed: allowed == 1,
            left,
            wait: Duration::from_micros(wait),
            reset: Duration::from_micros(reset),
        }
    }

    async fn counted(&self, key: String, rate: Rate) -> Counted {
        if !self.alone.is_on() {
            let asked = self.counts.submit((), (key.clone(), rate));
            match tokio::time::timeout(self.patience, asked).await {
                Ok(Ok(Ok(counted))) => return counted,
                Ok(Ok(Err(fault)) | Err(fault)) => self.alone.begin(&fault.chain()),
                Err(late) => self.alone.begin(&late.to_string()),
            }
        }
        self.alone.count(key, rate)
    }
}

fn counts(via: Via) -> Arc<Counts> {
    Coalescer::new("limit", LIMITS, move |(), items: Vec<(String, Rate)>| {
        let via = via.clone();
        async move {
            match ask(&via, &items).await {
                Ok(counted) => counted.into_iter().map(Ok).collect(),
                Err(fault) => items.iter().map(|_| Err(fault.repeat())).collect(),
            }
        }
        .boxed()
    })
}

async fn ask(via: &Via, items: &[(String, Rate)]) -> Result<Vec<Counted>, Fault> {
    let mut connection = via.connection().await?;
    let keys: Vec<&str> = items.iter().map(|(key, _)| key.as_str()).collect();
    let mut cmd = lua::LIMIT.call(&keys);
    for (_, (interval, most)) in items {
        cmd.arg(interval).arg(most);
    }
    let counted: Vec<Counted> = lua::LIMIT
        .run(&cmd, &mut connection)
        .await
        .map_err(|error| via.fault("counting requests", error))?;
    let complete = counted.len() == items.len();
    complete.then_some(counted).ok_or_else(|| Fault::internal("reading counted requests"))
}

/// The counts of one process, for when Redis is away.
struct Alone {
    began: Instant,
    /// Until when it counts, in microseconds of its own clock.
    until: AtomicU64,
    over: Mutex<HashMap<String, u64>>,
}

impl Default for Alone {
    fn default() -> Self {
        Self { began: Instant::now(), until: AtomicU64::new(0), over: Mutex::default() }
    }
}

impl Alone {
    fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn is_on(&self) -> bool {
        self.now() < self.until.load(Ordering::Relaxed)
    }

    fn begin(&self, error: &str) {
        let now = self.now();
        let until = self.until.swap(now + ALONE.as_micros() as u64, Ordering::Relaxed);
        if until < now {
            tracing::warn!(error, "rate limits are counted by each process alone");
        }
    }

    fn count(&self, key: String, rate: Rate) -> Counted {
        let now = self.now();
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if over.len() >= SUBJECTS {
            over.retain(|_, over| *over > now);
            if over.len() >= SUBJECTS {
                over.clear();
            }
        }
        let entry = over.entry(key).or_default();
        let (until, counted) = count_at(*entry, now, rate);
        *entry = until;
        counted
    }
}

/// What `limit.lua` does, at a time of one's own: when the subject's requests are over then, and the reply.
fn count_at(until: u64, now: u64, (interval, most): Rate) -> (u64, Counted) {
    let over = until.max(now) - now;
    match ((most - 1) * interval).checked_sub(over) {
        Some(room) => {
            let over = over + interval;
            (now + over, (1, room / interval, interval.saturating_sub(room), over))
        }
        None => (until, (0, 0, over - (most - 1) * interval, over)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_may_come_at_once_and_then_one_each_interval() {
        let rate = (100, 3);
        let mut until = 0;
        let mut at = |now| {
            let (next, counted) = count_at(until, now, rate);
            until = next;
            counted
        };
        assert_eq!(at(1_000), (1, 2, 0, 100));
        assert_eq!(at(1_000), (1, 1, 0, 200));
        assert_eq!(at(1_000), (1, 0, 100, 300));
        assert_eq!(at(1_000), (0, 0, 100, 300));
        assert_eq!(at(1_099), (0, 0, 1, 201));
        assert_eq!(at(1_100), (1, 0, 100, 300));
        assert_eq!(at(1_250), (1, 0, 50, 250));
        assert_eq!(at(9_000), (1, 2, 0, 100));
    }

    #[test]
    fn the_counts_of_a_process_are_bounded() {
        let alone = Alone::default();
        for subject in 0..=SUBJECTS {
            alone.count(subject.to_string(), (1_000_000_000, 1));
        }
        assert!(alone.over.lock().unwrap().len() <= SUBJECTS);
        assert!(!alone.is_on());
        alone.begin("away");
        assert!(alone.is_on());
    }
}
