//! `server`: where the service listens and how long it lets one request take.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::violation::Findings;

/// Where the service listens, and the limits of one request.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Name or address of the interface that takes API calls.
    pub host: String,
    /// TCP port of the API; 0 lets the system choose one.
    pub port: u16,
    /// Socket address (`ip:port`) of probes and metrics, never to be reached from outside.
    pub management_bind: String,
    /// Worker threads; 0 means one per core.
    pub workers: usize,
    /// How long one request may take before it is answered 503.
    #[serde(with = "humantime_serde")]
    pub request_deadline: Duration,
    /// How long running requests and background work may take to finish after the stop signal.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// How long the service goes on serving after the stop signal, while `/readyz` says that it leaves.
    #[serde(with = "humantime_serde")]
    pub shutdown_delay: Duration,
    /// Largest request body, in bytes.
    pub body_limit_bytes: usize,
    /// Names by which clients may call the service; none means any.
    pub allowed_hosts: Vec<String>,
    /// Networks of the proxies in front of it, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Most streams of stock events at a time.
    pub event_streams: usize,
}

const LONGEST_DEADLINE: Duration = Duration::from_secs(60);
const LONGEST_DELAY: Duration = Duration::from_secs(5 * 60);
const LARGEST_BODY_BYTES: usize = 1024 * 1024;

impl ServerSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        found.require(!self.host.trim().is_empty(), "server.host", "must name an interface");
        found.require(
            self.management_bind.parse::<SocketAddr>().is_ok(),
            "server.management_bind",
            "must be an address and a port, such as \"127.0.0.1:9091\"",
        );
        found.require(self.workers <= 1024, "server.workers", "must be at most 1024");
        found.require(
            !self.request_deadline.is_zero() && self.request_deadline <= LONGEST_DEADLINE,
            "server.request_deadline",
            "must be above zero and at most 60s",
        );
        found.require(
            self.shutdown_delay <= LONGEST_DELAY,
            "server.shutdown_delay",
            "must be at most 5m",
        );
        found.require(
            (1024..=LARGEST_BODY_BYTES).contains(&self.body_limit_bytes),
            "server.body_limit_bytes",
            "must be 1024 to 1048576",
        );
        found.require(
            self.allowed_hosts.iter().all(|host| is_host(host)),
            "server.allowed_hosts",
            "must be names such as \"shop.example.org\", or \".example.org\" for all below it",
        );
        found.require(
            self.event_streams <= 1_000_000,
            "server.event_streams",
            "must be at most 1000000",
        );
    }
}

/// A name or address without a port.
fn is_host(host: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_[]:".contains(&byte);
    !host.is_empty() && host.bytes().all(plain) && (host.starts_with('[') || !host.contains(':'))
}
