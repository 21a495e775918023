//! The providers' clock: the machine's, moved forward by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How far it was moved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    ahead: Duration,
}

impl Clock {
    /// Seconds since the epoch.
    pub(crate) fn now_s(&self) -> i64 {
        self.now_ms() / 1_000
    }

    /// Milliseconds since the epoch.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub(crate) fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.ahead;
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
    }

    /// Moves it.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.ahead += time;
    }
}
