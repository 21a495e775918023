//! `webhooks`: how storefronts are told.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// How storefronts are told.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// How long one call may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Calls to one endpoint at a time, by each process.
    pub concurrency: usize,
    /// Endpoints at most.
    pub most_endpoints: u32,
    /// Networks inside that may be called, also without TLS; everything else must be public and https.
    pub allow_private: Vec<IpNet>,
}

impl WebhookSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        found.require(
            (Duration::from_millis(100)..=Duration::from_secs(30)).contains(&self.timeout),
            "webhooks.timeout",
            "must be 100ms to 30s",
        );
        found.require(
            (1..=256).contains(&self.concurrency),
            "webhooks.concurrency",
            "must be 1 to 256",
        );
        found.require(
            self.most_endpoints <= 1_000,
            "webhooks.most_endpoints",
            "must be at most 1000",
        );
    }
}
