//! How the whole installation is: every replica says of itself how it is, and whoever is asked puts that together with
//! what the audits found and what waits to be sent.

mod beat;
mod http;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::{Clock, Instant};
use crate::notifications::Notifications;
use crate::platform::http::probes::Readiness;
use crate::platform::replicas::Replicas;
use crate::platform::{Fault, Tasks};
use crate::reservations::{Drift, Reservations};
use crate::settings::LiveSettings;

pub use http::{Operations, routes};

/// How often a replica says how it is.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// One that has not said anything for so long is told as not ready.
const SILENT_MS: i64 = 10_000;
/// One that has not said anything for so long is told no more.
const GONE_MS: i64 = 60_000;

/// What the health is made of.
pub struct Parts {
    /// What this replica can do.
    pub readiness: Readiness,
    /// What others say.
    pub replicas: Replicas,
    /// What audits found.
    pub reservations: Reservations,
    /// What waits to be sent.
    pub notifications: Notifications,
    /// Which settings are in force.
    pub live_settings: LiveSettings,
    /// Where background work runs.
    pub tasks: Tasks,
    /// The service's clock.
    pub clock: Clock,
}

/// The health's handle.
#[derive(Clone)]
pub struct Health {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    id: String,
    started_at: Instant,
}

/// A replica, as it said last.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replica {
    /// Another one with every start.
    pub id: String,
    /// Which program it runs.
    pub version: String,
    /// Since when.
    pub started_at: Instant,
    /// When it was last heard of.
    pub seen_at: Instant,
    /// Where it listens.
    pub address: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Each part of it.
    pub checks: Vec<Check>,
    /// Which live settings are in force there.
    pub settings_version: i64,
    /// Rebuilds of a SKU that it made.
    pub rebuilds: Rebuilds,
    /// What its audits found wrong, and what was put right in the last ten minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub drift: Vec<Drift>,
    /// Its last pass over all SKUs.
    pub pass: Pass,
}

/// One part of a replica.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Check {
    /// Which part.
    pub name: String,
    /// Whether it does its work as it should.
    pub ok: bool,
    /// What it waits for, or what is wrong.
    pub detail: String,
}

/// Rebuilds of SKUs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rebuilds {
    /// How many since the start.
    pub total: u64,
    /// When the last one ended.
    pub last_at: Option<Instant>,
}

/// The proof that nothing is lost, which never ends: a pass over all SKUs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Pass {
    /// SKUs in it.
    pub products: i64,
    /// When it ended; null before the first one.
    pub at: Option<Instant>,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct Queue {
    /// Events and deliveries.
    pub waiting: i64,
    /// Age of the oldest, seconds.
    pub oldest_s: f64,
    /// Deliveries that were given up.
    pub dead_letters: i64,
}

/// How everything is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Overview {
    /// `ok`, or `degraded` when anything below is not as it should be.
    pub status: &'static str,
    /// Every replica that was heard of in the last minute.
    pub replicas: Vec<Replica>,
    /// SKUs whose stores told different stories; what was put right stays for ten minutes.
    pub drift: Vec<Drift>,
    /// The last pass over all SKUs, of any replica.
    pub pass: Pass,
    /// When this was put together.
    pub checked_at: Instant,
    /// Rebuilds of all replicas.
    pub rebuilds: Rebuilds,
    /// What waits to be sent; null while Postgres does not tell.
    pub queue: Option<Queue>,
    /// What could not be asked, and why.
    pub errors: Vec<String>,
}

impl Health {
    /// The health of this replica and all others.
    pub fn new(parts: Parts) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        let started_at = Instant::from_ms(parts.clock.now_ms());
        Self { shared: Arc::new(Shared { parts, id, started_at }) }
    }

    /// How everything is, as far as this replica can see.
    pub async fn overview(&self) -> Overview {
        let parts = &self.shared.parts;
        let now = Instant::from_ms(parts.clock.now_ms());
        let mut errors = Vec::new();
        let mut replicas = match self.heard(now).await {
            Ok(replicas) => replicas,
            Err(fault) => {
                errors.push(format!("other replicas: {fault}"));
                Vec::new()
            }
        };
        // What we know of ourselves is newer than what we said.
        let address = replicas.iter().find(|replica| replica.id == self.shared.id);
        let address = address.map(|replica| replica.address.clone()).unwrap_or_default();
        replicas.retain(|replica| replica.id != self.shared.id);
        replicas.push(self.own(address));
        replicas.sort_by_key(|replica| (replica.started_at, replica.id.clone()));
        let queue = match parts.notifications.backlog().await {
            Ok((waiting, oldest_s, dead_letters)) => {
                Some(Queue { waiting, oldest_s, dead_letters })
            }
            Err(fault) => {
                errors.push(format!("the outbox: {fault}"));
                None
            }
        };
        let drift = merged(replicas.iter().flat_map(|replica| replica.drift.clone()));
        let fine = errors.is_empty()
            && drift.iter().all(|drift| drift.healed_at.is_some())
            && replicas
                .iter()
                .all(|replica| replica.ready && replica.checks.iter().all(|check| check.ok));
        let rebuilds = Rebuilds {
            total: replicas.iter().map(|replica| replica.rebuilds.total).sum(),
            last_at: replicas.iter().filter_map(|replica| replica.rebuilds.last_at).max(),
        };
        let pass = replicas.iter().map(|replica| replica.pass).max_by_key(|pass| pass.at);
        for replica in &mut replicas {
            replica.drift.clear();
        }
        let status = if fine { "ok" } else { "degraded" };
        let pass = pass.unwrap_or_default();
        Overview { status, replicas, drift, pass, checked_at: now, rebuilds, queue, errors }
    }

    /// What all replicas said last; one that is silent is not ready.
    async fn heard(&self, now: Instant) -> Result<Vec<Replica>, Fault> {
        let said = self.shared.parts.replicas.all().await?;
        let read = said.iter().filter_map(|(_, text)| serde_json::from_str::<Replica>(text).ok());
        let age_ms = |replica: &Replica| now.as_ms() - replica.seen_at.as_ms();
        let mut replicas: Vec<Replica> = read.filter(|replica| age_ms(replica) < GONE_MS).collect();
        for replica in &mut replicas {
            if age_ms(replica) > SILENT_MS {
                replica.ready = false;
                let seconds = age_ms(replica) / 1_000;
                replica.checks.push(Check {
                    name: "heartbeat".to_owned(),
                    ok: false,
                    detail: format!("not heard of for {seconds} s"),
                });
            }
        }
        Ok(replicas)
    }
}

/// One entry for each SKU: one that is not over before one that is, then the latest.
fn merged(all: impl Iterator<Item = Drift>) -> Vec<Drift> {
    let mut all: Vec<Drift> = all.collect();
    all.sort_by_key(|drift| {
        (drift.product_id.get(), drift.healed_at.is_some(), std::cmp::Reverse(drift.checked_at))
    });
    all.dedup_by_key(|drift| drift.product_id);
    all
}
