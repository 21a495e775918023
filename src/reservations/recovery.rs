//! Pins in doubt: a confirm that crashed, hangs, or lost its answer. A pin ends only by a decision, so recovery makes
//! sure there is one (the fence) and applies it. A confirm that wakes up later meets that row and gives up.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::{ReservationId, UserId};
use crate::platform::Fault;
use crate::platform::fault::Kind;
use crate::reservations::confirm::Outcome;
use crate::reservations::watch::Watched;
use crate::reservations::{Decision, Reservations, decision_store};

/// Pins handled in one go.
const BATCH: u32 = 64;

impl Reservations {
    /// Looks after old pins and tombstones until the service stops.
    pub(super) async fn run_recovery(self) {
        while self.shared.tasks.pause(crate::platform::tasks::jittered(super::startup::RETRY)).await
        {
            self.recover_due().await;
            self.archive_due().await;
            crate::platform::metrics::turned("recovery");
        }
    }

    /// Recovers the pins that are older than the grace, as far as this process knows of them.
    pub async fn recover_due(&self) {
        let now_ms = self.shared.watch.now_ms();
        let grace_ms = self.shared.sweeper.pin_grace.as_millis() as i64;
        let mut away = false;
        for watched in self.shared.watch.pick(|watched| watched.take_pinned(now_ms - grace_ms)) {
            if away {
                watched.pinned_at(now_ms - grace_ms);
            } else if let Err(fault) = self.recover(&watched, grace_ms).await {
                // A store is away: all others wait for the next turn, and the log has one line.
                away = fault.kind() == Kind::Unavailable;
                tracing::warn!(error = fault.chain(), sku = %watched.name.sku, "pins wait for their recovery");
                watched.pinned_at(now_ms - grace_ms);
            }
        }
    }

    async fn recover(&self, watched: &Watched, grace_ms: i64) -> Result<(), Fault> {
        let name = &watched.name;
        loop {
            let claim = || self.ledger.claim_pins(&name.sku, grace_ms, BATCH);
            let (oldest_ms, pins) = self.on_sku(name, claim).await?;
            watched.pinned_at(oldest_ms);
            if pins.is_empty() {
                return Ok(());
            }
            let decisions = self.fence_in_background(&pins).await?;
            self.leave_payments(name, &decisions, grace_ms).await?;
            for decision in decisions {
                if decision.outcome == Outcome::Pending {
                    continue;
                }
                let settled = self.settle_line(&decision, name).await?;
                tracing::info!(reservation.id = %decision.id, outcome = ?decision.outcome, ?settled, "a pin in doubt was settled");
            }
            if pins.len() < BATCH as usize {
                return Ok(());
            }
        }
    }

    /// A payment under way keeps its pin, and nobody looks at it again before the payment's deadline.
    async fn leave_payments(
        &self,
        name: &Arc<Name>,
        decisions: &[Decision],
        grace_ms: i64,
    ) -> Result<(), Fault> {
        let pending = decisions.iter().filter(|decision| decision.outcome == Outcome::Pending);
        let pending: Vec<ReservationId> = pending.map(|decision| decision.id).collect();
        if pending.is_empty() {
            return Ok(());
        }
        let until = decision_store::pending_until(&self.shared.background_db, &pending).await?;
        let until: Vec<_> = until.into_iter().map(|(id, at)| (id, at.as_ms() - grace_ms)).collect();
        if until.is_empty() { Ok(()) } else { self.ledger.leave_until(&name.sku, &until).await }
    }

    async fn fence_in_background(
        &self,
        pins: &[(ReservationId, UserId)],
    ) -> Result<Vec<Decision>, Fault> {
        decision_store::fence(&self.shared.background_db, pins, "in_doubt", "recovery").await
    }
}
