//! Starting: is this Redis one that keeps promises, is its data the data that Postgres vouches for, and the loops.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;

use crate::platform::Fault;
use crate::platform::http::probes::Readiness;
use crate::platform::redis::Redis;
use crate::platform::tasks::jittered;
use crate::reservations::Reservations;

/// The pace of loops that wait for something to come back.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Refuses a Redis whose configuration loses holds. One that does not let its configuration be read is trusted, with
/// a warning.
pub async fn check(redis: &Redis) -> anyhow::Result<()> {
    let mut link =
        redis.connect().await.map_err(|error| anyhow::anyhow!("cannot reach redis: {error}"))?;
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg(&[
        "maxmemory-policy",
        "appendonly",
        "appendfsync",
        "notify-keyspace-events",
    ]);
    let config: HashMap<String, String> = match get.query_async(&mut link.connection).await {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "redis does not show its configuration; make sure that it is as README.md says");
            return Ok(());
        }
    };
    let value = |name: &str| config.get(name).map_or("", String::as_str);
    let policy = value("maxmemory-policy");
    ensure!(
        policy == "noeviction",
        "redis would evict holds: maxmemory-policy is `{policy}`; run `redis-cli config set maxmemory-policy noeviction`"
    );
    ensure!(
        value("appendonly") == "yes",
        "redis would forget holds in a restart: appendonly is off; run `redis-cli config set appendonly yes`"
    );
    let fsync = value("appendfsync");
    ensure!(
        fsync == "everysec" || fsync == "always",
        "redis would lose too much in a crash: appendfsync is `{fsync}`; run `redis-cli config set appendfsync everysec`"
    );
    let events = value("notify-keyspace-events");
    ensure!(
        tells_of_expiry(events),
        "redis does not tell of expired keys: notify-keyspace-events is `{events}`; run `redis-cli config set notify-keyspace-events Ex`"
    );
    Ok(())
}

/// Whether these flags of `notify-keyspace-events` make Redis tell of keys that expire.
pub(super) fn tells_of_expiry(events: &str) -> bool {
    events.contains('E') && (events.contains('x') || events.contains('A'))
}

impl Reservations {
    /// Starts everything that keeps holds and decisions true to each other.
    pub fn start(&self, readiness: &Readiness) {
        for part in ["redis", "listener", "sweeper"] {
            readiness.set(part, false, "starting");
        }
        let tasks = &self.shared.tasks;
        drop(tasks.spawn(self.clone().run_admission(readiness.clone())));
        drop(tasks.spawn(self.clone().run_listener(readiness.clone())));
        drop(tasks.spawn(self.clone().run_sweeper()));
        drop(tasks.spawn(self.clone().run_recovery()));
        drop(tasks.spawn(self.clone().run_pass()));
        drop(tasks.spawn(self.clone().run_announcing()));
        drop(tasks.spawn(self.clone().run_applying()));
        drop(tasks.spawn(self.clone().run_ending()));
        drop(tasks.spawn(self.clone().run_clock()));
        drop(tasks.spawn(self.clone().run_rates()));
        drop(tasks.spawn(self.clone().run_hold_events()));
        readiness.set("sweeper", true, "sweeping");
    }

    /// Lets incarnations of Redis through, after what must be done first, until the service stops.
    async fn run_admission(self, readiness: Readiness) {
        let stop = self.shared.tasks.stop().clone();
        let mut told = String::new();
        loop {
            match self.let_through().await {
                Ok(full) => {
                    told.clear();
                    say_open(&readiness, full.as_deref());
                    if let Err(fault) = self.shared.rebuilder.rebuild_known().await {
                        tracing::warn!(
                            error = fault.chain(),
                            "some SKUs are left to be rebuilt on demand"
                        );
                    }
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.shared.redis.gate().wanted() => {}
                        () = self.redis_lost(&readiness, full.is_some()) => {}
                    }
                }
                Err(fault) => {
                    let reason = fault.chain();
                    if reason != told {
                        tracing::warn!(reason, "redis is not let through yet");
                        told.clone_from(&reason);
                    }
                    readiness.set("redis", false, reason);
                    if !self.shared.tasks.pause(jittered(RETRY / 5)).await {
                        return;
                    }
                }
            }
        }
    }

    /// Lets the Redis that answers through, if it takes what is written; says whether it is full.
    async fn let_through(&self) -> Result<Option<String>, Fault> {
        self.shared.rebuilder.admit(&self.shared.redis).await?;
        self.shared.redis.takes_writes().await
    }

    /// Returns when Redis no longer answers through the pool, or takes nothing any more: readiness should say so without
    /// waiting for a request.
    async fn redis_lost(&self, readiness: &Readiness, mut full: bool) {
        loop {
            tokio::time::sleep(RETRY).await;
            let Ok(now) = self.shared.redis.takes_writes().await else { return };
            if now.is_some() != full {
                full = now.is_some();
                say_open(readiness, now.as_deref());
            }
        }
    }
}

/// A full Redis takes no holds, but scripts that sell and give back run in it: the service stays ready.
fn say_open(readiness: &Readiness, full: Option<&str>) {
    match full {
        None => readiness.set("redis", true, "open"),
        Some(reason) => {
            tracing::error!(reason, "redis is full; nothing new can be held");
            readiness.degrade("redis", format!("full, so that nothing new can be held: {reason}"));
        }
    }
}
