//! `telemetry`: where traces of requests go.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// Where traces of requests go.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Where a collector takes OTLP over HTTP; empty for none.
    pub otlp_endpoint: String,
    /// The share of requests that is traced.
    pub sampling_ratio: f64,
    /// Whether a caller's `traceparent` says if its request is traced.
    pub follow_parent: bool,
    /// How long sending one batch may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Spans that may wait to be sent.
    pub queue: usize,
}

impl TelemetrySettings {
    pub(super) fn check(&self, found: &mut Findings) {
        if !self.otlp_endpoint.is_empty() {
            let login = self.otlp_endpoint.contains('@');
            let url = reqwest::Url::parse(&self.otlp_endpoint);
            let sound = url.is_ok_and(|url| {
                ["http", "https"].contains(&url.scheme()) && url.query().is_none() && !login
            });
            found.require(
                sound,
                "telemetry.otlp_endpoint",
                "must be an http or https URL without a login",
            );
        }
        found.require(
            (0.0..=1.0).contains(&self.sampling_ratio),
            "telemetry.sampling_ratio",
            "must be 0.0 to 1.0",
        );
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(60));
        found.require(
            (shortest..=longest).contains(&self.timeout),
            "telemetry.timeout",
            "must be 100ms to 60s",
        );
        found.require(
            (512..=1_048_576).contains(&self.queue),
            "telemetry.queue",
            "must be 512 to 1048576",
        );
    }
}
