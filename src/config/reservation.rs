//! `reservation`: how long stock is held, and how often a buyer may change their mind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// How long stock is held. A change rules new holds; live ones keep their deadline.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationSettings {
    /// How long a hold lasts unless product or request say less, in seconds.
    pub ttl_seconds: u32,
    /// How often one hold may be extended.
    pub max_extensions: u32,
    /// How long extensions may carry one hold, from its beginning.
    #[serde(with = "humantime_serde")]
    pub max_lifetime: Duration,
    /// How old the stock that readers share may be; 0 reads it anew for each.
    #[serde(with = "humantime_serde")]
    pub stock_max_age: Duration,
    /// Cancels in a row that one buyer has for one product; 0 sets no limit.
    pub churn_burst: u32,
    /// Time after which one more cancel is allowed.
    #[serde(with = "humantime_serde")]
    pub churn_interval: Duration,
}

/// Longest hold, in seconds: one day.
pub const MAX_TTL_SECONDS: u32 = 86_400;

const LONGEST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

impl ReservationSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        found.require(
            (1..=MAX_TTL_SECONDS).contains(&self.ttl_seconds),
            "reservation.ttl_seconds",
            "must be 1 to 86400",
        );
        found.require(
            self.max_extensions <= 1000,
            "reservation.max_extensions",
            "must be at most 1000",
        );
        found.require(
            (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&self.max_lifetime),
            "reservation.max_lifetime",
            "must be 1s to 7 days",
        );
        found.require(
            self.stock_max_age <= Duration::from_secs(1),
            "reservation.stock_max_age",
            "must be at most 1s",
        );
        found.require(
            self.churn_burst <= 10_000,
            "reservation.churn_burst",
            "must be at most 10000",
        );
        found.require(
            (Duration::from_millis(1)..=LONGEST_INTERVAL).contains(&self.churn_interval),
            "reservation.churn_interval",
            "must be 1ms to 1 day",
        );
    }
}
