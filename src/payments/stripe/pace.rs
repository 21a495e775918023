//! Keeps us below the 25 requests per second that Stripe grants: calls wait in line for their turn, all replicas share
//! one pace through Redis, and a 429 makes everybody here wait. A line that is full sends the next one away at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::platform::limiter::{Limiter, Policy};
use crate::platform::tasks::jittered;

/// Four at once and sixteen in a second: at most 20 leave in any second, and a network that lets some arrive together
/// does not make 25 of them.
const PACE: Policy = Policy { name: "stripe", quota: 4, window: Duration::from_millis(250) };
/// Calls that wait; the last of them waits for four seconds.
const WAITING: usize = 64;
/// How long all calls rest after the first 429 and at most.
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The line of one process.
pub(super) struct Pace {
    limiter: Limiter,
    line: Semaphore,
    /// Held by the first in line, who alone asks for the next turn. Those behind are served in order.
    first: tokio::sync::Mutex<()>,
    rest: Mutex<Rest>,
}

/// Too many wait already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

struct Rest {
    until: Instant,
    next: Duration,
}

impl Pace {
    pub(super) fn new(limiter: Limiter) -> Self {
        let rest = Rest { until: Instant::now(), next: FIRST_REST };
        Self {
            limiter,
            line: Semaphore::new(WAITING),
            first: tokio::sync::Mutex::default(),
            rest: Mutex::new(rest),
        }
    }

    /// Waits for a turn; whoever gives up leaves the line.
    pub(super) async fn turn(&self, subject: &str) -> Result<(), Full> {
        let Ok(_place) = self.line.try_acquire() else { return Err(Full) };
        let _first = self.first.lock().await;
        loop {
            let wait = self.rest_left();
            let wait = if wait.is_zero() { self.limiter.due(PACE, subject).await } else { wait };
            if wait.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes all calls rest, longer each time, because Stripe said 429.
    pub(super) fn slow_down(&self) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.until > Instant::now() {
            return;
        }
        rest.until = Instant::now() + jittered(rest.next);
        rest.next = (rest.next * 2).min(LONGEST_REST);
    }

    /// Forgets about 429s: Stripe answers again.
    pub(super) fn go_on(&self) {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).next = FIRST_REST;
    }

    fn rest_left(&self) -> Duration {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.until.saturating_duration_since(Instant::now())
    }
}
