//! `catalogue`: how long what everybody sees is remembered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// How long what everybody sees of products is remembered.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueSettings {
    /// The longest time; every change makes all replicas forget sooner.
    #[serde(with = "humantime_serde")]
    pub cache_ttl: Duration,
}

impl CatalogueSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        let sane = (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&self.cache_ttl);
        found.require(sane, "catalogue.cache_ttl", "must be 1s to 5m");
    }
}
