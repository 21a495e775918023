//! Giving back what is due. The deadline index is the mechanism: every process sweeps the SKUs that it has touched
//! when their earliest deadline comes. Expiry events only make it look sooner; they are late and get lost under load.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::catalogue::Name;
use crate::platform::{Fault, Outcome, metrics as names};
use crate::reservations::Reservations;
use crate::reservations::watch::Watched;

/// How long events are gathered before a sweep: they come in swarms.
const GATHER: Duration = Duration::from_millis(5);
/// Between two looks whether Redis still tells of expired keys.
const LOOK: Duration = Duration::from_secs(2);
/// SKUs that are swept at the same time.
const AT_ONCE: usize = 16;

impl Reservations {
    /// Sweeps when something is due, until the service stops.
    pub(super) async fn run_sweeper(self) {
        let stop = self.shared.tasks.stop().clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.shared.sweeper.tick) => {}
                () = self.shared.watch.hurried() => tokio::time::sleep(GATHER).await,
            }
            self.sweep_due().await;
            names::turned("sweeper");
        }
    }

    /// Sweeps every SKU on which something is due, as far as this process knows.
    pub async fn sweep_due(&self) {
        let now_ms = self.shared.watch.now_ms();
        let due = self.shared.watch.pick(|watched| watched.take_due(now_ms));
        let sweeps = due.into_iter().map(|watched| async move {
            let swept = self.sweep(&watched).await;
            let outcome = if swept.is_ok() { "done" } else { "failed" };
            metrics::counter!(names::SWEEPS, "outcome" => outcome).increment(1);
            if let Err(fault) = swept {
                // The full pass comes here again.
                tracing::warn!(error = fault.chain(), sku = %watched.name.sku, "a sweep failed");
                watched.due_at(now_ms + self.shared.sweeper.full_pass.as_millis() as i64);
            }
        });
        futures_util::stream::iter(sweeps).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Releases everything that is due on a SKU, a batch at a time so that no script runs long.
    pub(super) async fn sweep(&self, watched: &Watched) -> Result<(), Fault> {
        let name = &watched.name;
        loop {
            let expired = self
                .on_sku(name, || self.ledger.expire(&name.sku, self.shared.sweeper.batch))
                .await?;
            self.shared.watch.redis_time(expired.now_ms);
            watched.due_at(expired.earliest_ms);
            if expired.count > 0 {
                watched.ended_at(expired.now_ms);
                metrics::counter!(names::ENDS, "end" => "expired")
                    .increment(expired.count.unsigned_abs());
                self.shared.lags.late(expired.lag_ms);
                metrics::histogram!(names::RESTORE_LAG).record(expired.lag_ms as f64 / 1_000.0);
            }
            if expired.count < i64::from(self.shared.sweeper.batch) {
                return Ok(());
            }
        }
    }

    /// Listens for expiry events until the service stops; after every (re)subscription everything is swept once,
    /// because events were lost meanwhile.
    pub(super) async fn run_listener(self, readiness: crate::platform::http::probes::Readiness) {
        let stop = self.shared.tasks.stop().clone();
        loop {
            let listening = self.listen(&readiness);
            tokio::select! {
                () = stop.cancelled() => return,
                ended = listening => {
                    let reason = ended.map_or_else(|fault| fault.chain(), |()| "the subscription ended".into());
                    tracing::warn!(reason, "not listening for expiry events; the sweeper works on");
                    readiness.set("listener", false, reason);
                    // Perhaps all of Redis is gone: not ready until somebody looked.
                    readiness.set("redis", false, "looking whether it is the same");
                    self.shared.redis.gate().doubt();
                }
            }
            if !self
                .shared
                .tasks
                .pause(crate::platform::tasks::jittered(super::startup::RETRY))
                .await
            {
                return;
            }
        }
    }

    async fn listen(
        &self,
        readiness: &crate::platform::http::probes::Readiness,
    ) -> Result<(), Fault> {
        let lost = || Fault::unavailable("listening for expiry events", Outcome::None);
        let mut since = self.shared.redis.gate().since();
        let client = self.shared.redis.client();
        let mut events = client.get_async_pubsub().await.map_err(|error| lost().because(error))?;
        let channel = format!("__keyevent@{}__:expired", self.shared.redis.database());
        events.subscribe(&channel).await.map_err(|error| lost().because(error))?;
        metrics::counter!(names::SUBSCRIPTIONS).increment(1);
        readiness.set("listener", true, channel.clone());
        self.sweep_all();
        let mut events = events.into_on_message();
        let (mut deaf, mut look) = (false, tokio::time::interval(LOOK));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = look.tick() => {
                    // The server that tells may live on while another one took its place.
                    let now = self.shared.redis.gate().since();
                    if since.is_some() && now != since {
                        return Err(lost().because("redis is another one by now"));
                    }
                    since = now;
                    deaf = self.listens_in_vain(deaf, &channel, readiness).await;
                    continue;
                }
            };
            let Some(event) = event else { break };
            let key: String = event.get_payload().map_err(|error| lost().because(error))?;
            if let Some(sku) = self.ledger.keys().sku_of_timer(&key) {
                self.hear(&sku).await;
            }
        }
        Ok(())
    }

    /// Events may be switched off while we listen. The deadline index does the work without them, so the service stays
    /// ready, and says that it is degraded.
    async fn listens_in_vain(
        &self,
        was_deaf: bool,
        channel: &str,
        readiness: &crate::platform::http::probes::Readiness,
    ) -> bool {
        // One that does not show its configuration is trusted, as at the start.
        let Some(events) = self.ledger.keyspace_events().await else { return was_deaf };
        let deaf = !super::startup::tells_of_expiry(&events);
        if deaf && !was_deaf {
            tracing::warn!(events, "redis no longer tells of expired keys; the sweeper works on");
        }
        if deaf {
            readiness.degrade("listener", format!("redis does not tell of expired keys: notify-keyspace-events is `{events}`; \
                holds end by the deadline index; run `redis-cli config set notify-keyspace-events Ex`"));
        } else if was_deaf {
            tracing::info!("redis tells of expired keys again");
            readiness.set("listener", true, channel);
            self.sweep_all();
        }
        deaf
    }

    /// Events were lost, perhaps of any SKU.
    fn sweep_all(&self) {
        for watched in self.shared.watch.all() {
            watched.due_at(1);
        }
    }

    /// An event is only a hint: the sweep that it brings looks at the records. A forged one brings nothing else.
    async fn hear(&self, sku: &crate::kernel::Sku) {
        match self.shared.catalogue.by_sku(sku).await {
            Ok(Some(name)) => self.shared.watch.hurry(&name),
            Ok(None) => {}
            Err(fault) => {
                metrics::counter!(names::EVENTS_DROPPED).increment(1);
                tracing::debug!(error = fault.chain(), "an expiry event was dropped");
            }
        }
    }

    /// The entry of a SKU among those that this process watches.
    pub(super) fn watched(&self, name: &Arc<Name>) -> Arc<Watched> {
        self.shared.watch.of(name)
    }
}
