//! `redis`: how Redis is reached, and under which names the keys stand.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::secret;
use super::server::ServerSettings;
use super::violation::Findings;

/// How Redis is reached. Every wait has a limit shorter than a request's deadline.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// Connection string, with the database number at its end.
    #[serde(serialize_with = "secret::mask_url")]
    pub url: SecretString,
    /// What every key begins with, so that two installations can share one Redis.
    pub key_prefix: String,
    /// Connections of this process for slow and rare work.
    pub pool_size: usize,
    /// How long to wait for a free connection.
    #[serde(with = "humantime_serde")]
    pub pool_wait: Duration,
    /// How long to wait for a new connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long to wait for the answer to one call.
    #[serde(with = "humantime_serde")]
    pub response_timeout: Duration,
}

const SCHEMES: [&str; 4] = ["redis://", "rediss://", "redis+unix://", "unix://"];
const LONGEST_PREFIX: usize = 32;

impl RedisSettings {
    pub(super) fn check(&self, server: &ServerSettings, found: &mut Findings) {
        self.check_url(found);
        found.require(
            is_key_prefix(&self.key_prefix),
            "redis.key_prefix",
            "must be at most 32 of A-Z a-z 0-9 : _ -",
        );
        found.require((1..=1000).contains(&self.pool_size), "redis.pool_size", "must be 1 to 1000");
        for (path, wait) in [
            ("redis.pool_wait", self.pool_wait),
            ("redis.connect_timeout", self.connect_timeout),
            ("redis.response_timeout", self.response_timeout),
        ] {
            found.require_within_deadline(path, wait, server.request_deadline);
        }
    }

    fn check_url(&self, found: &mut Findings) {
        let url = self.url.expose_secret();
        if url.trim().is_empty() {
            found.missing("redis.url", "REDIS_URL");
        } else {
            let known = SCHEMES.iter().any(|scheme| url.starts_with(scheme));
            found.require(known, "redis.url", "must begin with redis:// or unix://");
        }
    }
}

// Braces would move the hash tag that keeps the keys of one product in one slot.
fn is_key_prefix(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-".contains(&byte))
}
