//! `rate_limit`: how often somebody may ask.

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// How often somebody may ask; 0 is no limit.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitSettings {
    /// The window of `max_requests`, in milliseconds.
    pub window_ms: u64,
    /// Requests of one customer or merchant in a window.
    pub max_requests: u32,
    /// Requests without a token, by address.
    pub anonymous_per_minute: u32,
    /// Registrations, by address.
    pub register_per_minute: u32,
    /// Attempts to sign in to one account from one address.
    pub login_per_minute: u32,
    /// Attempts to sign in to one account from anywhere.
    pub account_per_minute: u32,
}

const LONGEST_WINDOW_MS: u64 = 24 * 3_600 * 1_000;
const LARGEST: u32 = 10_000_000;

impl RateLimitSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        let sane = (1..=LONGEST_WINDOW_MS).contains(&self.window_ms);
        found.require(sane, "rate_limit.window_ms", "must be 1 to 86400000");
        for (path, quota) in [
            ("rate_limit.max_requests", self.max_requests),
            ("rate_limit.anonymous_per_minute", self.anonymous_per_minute),
            ("rate_limit.register_per_minute", self.register_per_minute),
            ("rate_limit.login_per_minute", self.login_per_minute),
            ("rate_limit.account_per_minute", self.account_per_minute),
        ] {
            found.require(quota <= LARGEST, path, "must be at most 10000000");
        }
    }
}
