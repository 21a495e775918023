//! `sweeper`: how soon expired holds and stuck confirms are cleaned up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::server::ServerSettings;
use super::violation::Findings;

/// How soon expired holds and stuck confirms are cleaned up.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SweeperSettings {
    /// Time between two looks at the products whose holds are due.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// Time in which every product is looked at once, due or not.
    #[serde(with = "humantime_serde")]
    pub full_pass: Duration,
    /// Age at which a confirm that has not ended is taken for lost and decided by recovery.
    #[serde(with = "humantime_serde")]
    pub pin_grace: Duration,
    /// How long an ended hold stays in Redis before it is archived.
    #[serde(with = "humantime_serde")]
    pub tombstone_age: Duration,
    /// Holds ended by one call.
    pub batch: u32,
}

const LONGEST: Duration = Duration::from_secs(60 * 60);

impl SweeperSettings {
    pub(super) fn check(&self, server: &ServerSettings, found: &mut Findings) {
        let shortest = Duration::from_millis(1);
        for (path, time) in [
            ("sweeper.tick", self.tick),
            ("sweeper.full_pass", self.full_pass),
            ("sweeper.pin_grace", self.pin_grace),
        ] {
            found.require((shortest..=LONGEST).contains(&time), path, "must be 1ms to 1h");
        }
        found.require(self.tombstone_age <= LONGEST, "sweeper.tombstone_age", "must be at most 1h");
        found.require(
            self.full_pass >= self.tick,
            "sweeper.full_pass",
            "must not be shorter than sweeper.tick",
        );
        found.require(
            self.pin_grace > server.request_deadline,
            "sweeper.pin_grace",
            "must be longer than server.request_deadline, or recovery races live confirms",
        );
        found.require((1..=1000).contains(&self.batch), "sweeper.batch", "must be 1 to 1000");
    }
}
