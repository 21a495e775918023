//! `outbox`: how news leaves, whichever way it goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// How news leaves, whichever way it goes.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxSettings {
    /// Longest time between two looks for news; changes made by the same process are seen at once.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How often one delivery is tried before it is given up.
    pub attempts: u32,
    /// The pause after the first failure; each further one is four times as long.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// The longest pause.
    #[serde(with = "humantime_serde")]
    pub retry_most: Duration,
}

const LONGEST_RETRY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl OutboxSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        found.require(
            (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.poll),
            "outbox.poll",
            "must be 10ms to 60s",
        );
        found.require((1..=100).contains(&self.attempts), "outbox.attempts", "must be 1 to 100");
        found.require(
            self.retry_first >= Duration::from_millis(10) && self.retry_first <= self.retry_most,
            "outbox.retry_first",
            "must be at least 10ms and at most outbox.retry_most",
        );
        found.require(
            self.retry_most <= LONGEST_RETRY,
            "outbox.retry_most",
            "must be at most 7 days",
        );
    }
}
