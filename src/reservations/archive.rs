//! Tombstones on their way out of Redis: written to the history in batches, then forgotten. Sold ones need no history,
//! their decision is it.

use crate::kernel::{Instant, ReservationId};
use crate::platform::Fault;
use crate::platform::fault::Kind;
use crate::reservations::Reservations;
use crate::reservations::history_store::{self, Ended};
use crate::reservations::query::{Status, ended_status, undone};
use crate::reservations::record::{Record, State};
use crate::reservations::watch::Watched;

/// Tombstones per batch.
const BATCH: u32 = 500;

impl Reservations {
    /// Archives tombstones that are old enough, as far as this process knows of them.
    pub async fn archive_due(&self) {
        let now_ms = self.shared.watch.now_ms();
        let age_ms = self.shared.sweeper.tombstone_age.as_millis() as i64;
        let mut away = false;
        for watched in self.shared.watch.pick(|watched| watched.take_ended(now_ms - age_ms)) {
            if away {
                watched.ended_at(now_ms - age_ms);
            } else if let Err(fault) = self.archive(&watched, age_ms).await {
                // A store is away: all others wait for the next turn, and the log has one line.
                away = fault.kind() == Kind::Unavailable;
                tracing::warn!(error = fault.chain(), sku = %watched.name.sku, "tombstones wait for their archive");
                watched.ended_at(now_ms - age_ms);
            }
        }
    }

    async fn archive(&self, watched: &Watched, age_ms: i64) -> Result<(), Fault> {
        let name = &watched.name;
        // Of a sale that was closed there may be very many: what is left when the service stops is another replica's.
        while !self.shared.tasks.stop().is_cancelled() {
            let list = || self.ledger.ended(&name.sku, age_ms, BATCH);
            let (oldest_ms, ended) = self.on_sku(name, list).await?;
            if ended.is_empty() {
                watched.ended_at(oldest_ms);
                return Ok(());
            }
            let mut rows = Vec::new();
            for (id, record) in &ended {
                let Some(mut row) = row(watched, *id, record.as_ref()) else { continue };
                if let Some(record) = record {
                    row.news = self.farewell(*id, name, record).await?;
                }
                rows.push(row);
            }
            if !rows.is_empty() {
                history_store::archive(&self.shared.background_db, &rows).await?;
            }
            if rows.iter().any(|row| row.news.is_some()) {
                self.shared.background_db.outbox().notify_one();
            }
            let ids: Vec<ReservationId> = ended.iter().map(|(id, _)| *id).collect();
            self.on_sku(name, || self.ledger.forget(&name.sku, &ids)).await?;
        }
        Ok(())
    }
}

fn row(watched: &Watched, id: ReservationId, record: Option<&Record>) -> Option<Ended> {
    let record = record.filter(|record| record.state == State::Ended && !undone(record))?;
    let end = record.end.as_ref()?;
    Some(Ended {
        id,
        product: watched.name.id,
        user: record.user.clone(),
        quantity: record.quantity,
        status: if ended_status(&end.reason) == Status::Cancelled {
            "cancelled"
        } else {
            "expired"
        },
        reason: end.reason.clone(),
        actor: end.actor.clone(),
        created_at: Instant::from_ms(record.created_ms),
        expires_at: Instant::from_ms(record.deadline_ms),
        ended_at: Instant::from_ms(end.at_ms),
        news: None,
    })
}
