//! Running holds of a SKU, page by page, and moving their deadlines.

use redis::RedisResult;

use crate::kernel::{ReservationId, Sku};
use crate::platform::{Fault, lua};
use crate::reservations::ledger::replies::unreadable;
use crate::reservations::ledger::{Answer, Ledger};

/// What became of the holds of one call.
pub(in crate::reservations) enum Retimed {
    /// So many were moved; the earliest deadline is now this.
    Moved { count: i64, now_ms: i64, earliest_ms: i64 },
    /// The product has a hold time of its own.
    OwnTime,
}

impl Ledger {
    /// Ids of holds with a deadline, and where to go on (0: that was all). Whatever is there all the while is listed.
    pub(in crate::reservations) async fn deadlines(
        &self,
        sku: &Sku,
        cursor: u64,
        about: usize,
    ) -> Result<(u64, Vec<ReservationId>), Fault> {
        let mut connection = self.via.connection().await?;
        let [deadlines, ..] = self.keys.indexes(sku);
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(deadlines).arg(cursor).arg("COUNT").arg(about);
        let page: RedisResult<(u64, Vec<(String, f64)>)> = scan.query_async(&mut connection).await;
        match page {
            Ok((next, found)) => {
                let ids = found.iter().filter_map(|(id, _)| id.parse().ok());
                Ok((next, ids.collect()))
            }
            // Another type stands there: the audit finds it, and has it made anew.
            Err(error) if error.code() == Some("WRONGTYPE") => Ok((0, Vec::new())),
            Err(error) => Err(self.via.fault("listing deadlines", error)),
        }
    }

    /// Moves the deadlines of these holds to this hold time.
    pub(in crate::reservations) async fn retime(
        &self,
        sku: &Sku,
        ids: &[ReservationId],
        ttl_ms: i64,
        life_ms: i64,
    ) -> Answer<Retimed> {
        let timers = ids.iter().map(|id| self.keys.timer(sku, *id));
        let more: Vec<String> = timers.chain(self.listening(sku)).collect();
        let mut cmd = self.call(&lua::RETIME, sku, &more);
        cmd.arg(ttl_ms).arg(life_ms);
        for id in ids {
            cmd.arg(id.to_string());
        }
        let reply = self.run(&lua::RETIME, &cmd).await?;
        match reply.status()? {
            0 => Ok(Retimed::Moved {
                now_ms: reply.int(1)?,
                count: reply.int(2)?,
                earliest_ms: reply.int(3)?,
            }),
            1 => Ok(Retimed::OwnTime),
            _ => Err(unreadable().into()),
        }
    }
}
