//! `database`: how Postgres is reached, and how long anything may wait for it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::secret;
use super::server::ServerSettings;
use super::violation::Findings;

/// How Postgres is reached. Every wait has a limit shorter than a request's deadline.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Connection string of the service's own role.
    #[serde(serialize_with = "secret::mask_url")]
    pub url: SecretString,
    /// Connection string of the role that owns the schema; `None` means `url` does both.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional_url")]
    pub migrate_url: Option<SecretString>,
    /// Connections of this process.
    pub pool_size: usize,
    /// How long to wait for a free connection.
    #[serde(with = "humantime_serde")]
    pub pool_wait: Duration,
    /// How long to wait for a new connection.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long Postgres may work on one statement.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// How long one statement may wait for a lock.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

impl DatabaseSettings {
    pub(super) fn check(&self, server: &ServerSettings, found: &mut Findings) {
        self.check_urls(found);
        found.require(
            (1..=1000).contains(&self.pool_size),
            "database.pool_size",
            "must be 1 to 1000",
        );
        for (path, wait) in [
            ("database.pool_wait", self.pool_wait),
            ("database.connect_timeout", self.connect_timeout),
            ("database.statement_timeout", self.statement_timeout),
            ("database.lock_timeout", self.lock_timeout),
        ] {
            found.require_within_deadline(path, wait, server.request_deadline);
        }
    }

    fn check_urls(&self, found: &mut Findings) {
        let url = self.url.expose_secret();
        if url.trim().is_empty() {
            found.missing("database.url", "DATABASE_URL");
        } else {
            found.require(is_postgres(url), "database.url", "must begin with postgres://");
        }
        if let Some(url) = &self.migrate_url {
            found.require(
                is_postgres(url.expose_secret()),
                "database.migrate_url",
                "must begin with postgres://",
            );
        }
    }
}

fn is_postgres(url: &str) -> bool {
    // The keyword form (`host=… user=…`) is how a socket folder is most easily written.
    SCHEMES.iter().any(|scheme| url.starts_with(scheme)) || url.contains("host=")
}
