//! `cors`: which pages of other origins may call the API from a browser.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// Which pages of other origins may call the API from a browser.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CorsSettings {
    /// Origins such as `https://shop.example.org`; `*` alone is any.
    pub origins: Vec<String>,
    /// Whether browsers may send cookies along; never with `*`.
    pub credentials: bool,
    /// How long a browser may remember the answer to its preflight request.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
}

impl CorsSettings {
    /// Whether a page of this origin may call the API.
    #[must_use]
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin)
    }

    pub(super) fn check(&self, found: &mut Findings) {
        let any = self.origins.iter().any(|origin| origin == "*");
        let path = "cors.origins";
        found.require(!any || self.origins.len() == 1, path, "\"*\" must stand alone");
        found.require(
            !(any && self.credentials),
            path,
            "\"*\" must not be used with cors.credentials",
        );
        let sane = self.origins.iter().all(|origin| origin == "*" || is_origin(origin));
        found.require(
            sane,
            path,
            "must be origins such as \"https://shop.example.org\", without a path",
        );
        let short = self.max_age <= Duration::from_secs(24 * 3_600);
        found.require(short, "cors.max_age", "must be at most 24h");
    }
}

/// Scheme, host and port as a browser writes them (RFC 6454, 6.2).
pub(super) fn is_origin(origin: &str) -> bool {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    rest.is_some_and(|host| {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte)
        };
        !host.is_empty() && host.bytes().all(plain)
    })
}
