//! Saying how this replica is, until the service stops.

use crate::health::{BEAT, Check, GONE_MS, Health, Pass, Rebuilds, Replica};
use crate::kernel::Instant;
use crate::platform::Fault;
use crate::platform::tasks::jittered;

impl Health {
    /// Begins to say how this replica is; it listens at `address`.
    pub fn start(&self, address: String) {
        let health = self.clone();
        drop(self.shared.parts.tasks.spawn(async move {
            let mut away = false;
            loop {
                match health.beat(&address).await {
                    Ok(()) => away = false,
                    Err(fault) if !away => {
                        away = true;
                        tracing::debug!(error = fault.chain(), "nobody hears how this replica is");
                    }
                    Err(_) => {}
                }
                if !health.shared.parts.tasks.pause(jittered(BEAT)).await {
                    break;
                }
            }
            // Who leaves says so; otherwise it looks as if it were lost.
            let own = [health.shared.id.clone()];
            drop(health.shared.parts.replicas.forget(&own).await);
        }));
    }

    async fn beat(&self, address: &str) -> Result<(), Fault> {
        let replicas = &self.shared.parts.replicas;
        let own = self.own(address.to_owned());
        let text = serde_json::to_string(&own)
            .map_err(|error| Fault::internal("writing a heartbeat").because(error))?;
        replicas.beat(&own.id, &text).await?;
        let is_gone = |text: &str| {
            serde_json::from_str::<Replica>(text)
                .is_ok_and(|said| own.seen_at.as_ms() - said.seen_at.as_ms() > GONE_MS)
        };
        let all = replicas.all().await?;
        let gone: Vec<String> =
            all.into_iter().filter(|(_, text)| is_gone(text)).map(|(id, _)| id).collect();
        replicas.forget(&gone).await
    }

    /// What this replica says of itself.
    pub(super) fn own(&self, address: String) -> Replica {
        let parts = &self.shared.parts;
        let report = parts.readiness.report();
        let checks = report.iter().map(|(name, part)| Check {
            name: (*name).to_owned(),
            ok: part.ready && !part.degraded,
            detail: part.detail.clone(),
        });
        let (total, last_ms) = parts.reservations.rebuilds();
        let (products, at_ms) = parts.reservations.last_pass();
        let moment = |ms: i64| (ms > 0).then(|| Instant::from_ms(ms));
        Replica {
            id: self.shared.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.shared.started_at,
            seen_at: Instant::from_ms(parts.clock.now_ms()),
            address,
            ready: report.values().all(|part| part.ready),
            checks: checks.collect(),
            settings_version: parts.live_settings.version(),
            rebuilds: Rebuilds { total, last_at: moment(last_ms) },
            drift: parts.reservations.drift(),
            pass: Pass { products, at: moment(at_ms) },
        }
    }
}
