//! The scripts that work on all holds of a SKU, a page at a time.

use crate::kernel::{ReservationId, Sku, UserId};
use crate::platform::{Fault, lua};
use crate::reservations::ledger::replies::{Answer, unreadable};
use crate::reservations::ledger::{Ledger, Place};
use crate::reservations::record::Record;

/// What a page of `close_all` did.
#[derive(Debug)]
pub(in crate::reservations) enum Closed {
    /// So many were released; these have several products; the next page begins here, if there is one.
    Page { released: i64, now_ms: i64, several: Vec<(ReservationId, UserId)>, next: Option<Place> },
    /// The sale takes holds.
    NotClosed,
}

/// How far an operation on all holds has come.
#[derive(Debug)]
pub(in crate::reservations) enum Moved {
    /// All holds so far, and whether that is all.
    SoFar { done: bool, extended: i64, skipped: i64, passed: i64 },
    /// Another one is under way.
    Other { operation: String, more_ms: i64 },
}

/// A live record and its place.
pub(in crate::reservations) type Placed = (Place, ReservationId, Record);

impl Ledger {
    /// Releases a page of the holds of a closed sale.
    pub(in crate::reservations) async fn close_all(
        &self,
        sku: &Sku,
        actor: &str,
        reason: &str,
        after: &Place,
        most: u32,
    ) -> Answer<Closed> {
        let mut cmd = self.call(&lua::CLOSE_ALL, sku, &[]);
        cmd.arg(actor).arg(reason).arg(&after.score).arg(&after.id).arg(most);
        let reply = self.run(&lua::CLOSE_ALL, &cmd).await?;
        if reply.status()? == 1 {
            return Ok(Closed::NotClosed);
        }
        let (now_ms, released) = (reply.int(1)?, reply.int(2)?);
        let next = Place { score: reply.number(3)?, id: reply.text(4)? };
        let several = reply.nested(5).map(|line| {
            let line = line?;
            Ok((line.parsed(0)?, line.parsed(1)?))
        });
        Ok(Closed::Page {
            released,
            now_ms,
            several: several.collect::<Result<_, Fault>>()?,
            next: (next.id != "-").then_some(next),
        })
    }

    /// Gives the holds among about `most` records more time, as part of this operation.
    pub(in crate::reservations) async fn extend_all(
        &self,
        sku: &Sku,
        operation: &str,
        more_ms: i64,
        life_ms: i64,
        most: u32,
    ) -> Answer<Moved> {
        let keys: Vec<String> =
            [self.keys.seen(sku)].into_iter().chain(self.listening(sku)).collect();
        let mut cmd = self.call(&lua::EXTEND_ALL, sku, &keys);
        cmd.arg(operation).arg(more_ms).arg(life_ms).arg(most);
        let reply = self.run(&lua::EXTEND_ALL, &cmd).await?;
        Ok(match reply.status()? {
            status @ (0 | 1) => Moved::SoFar {
                done: status == 1,
                extended: reply.int(1)?,
                skipped: reply.int(2)?,
                passed: reply.int(3)?,
            },
            2 => Moved::Other { operation: reply.text(1)?, more_ms: reply.int(2)? },
            _ => return Err(unreadable().into()),
        })
    }

    /// Live records behind this place: held ones by their deadline, or pinned ones by their age. With Redis's time.
    pub(in crate::reservations) async fn live_page(
        &self,
        sku: &Sku,
        pinned: bool,
        after: &Place,
        most: usize,
    ) -> Answer<(i64, Vec<Placed>)> {
        let mut cmd = self.call(&lua::HOLDS, sku, &[]);
        cmd.arg(if pinned { "P" } else { "H" }).arg(&after.score).arg(&after.id).arg(most);
        let reply = self.run(&lua::HOLDS, &cmd).await?;
        let now_ms = reply.int(1)?;
        let mut page = Vec::new();
        for at in (2..reply.len()).step_by(3) {
            let (place, packed) =
                (Place { score: reply.number(at)?, id: reply.text(at + 1)? }, reply.str(at + 2)?);
            // One that ended between index and record, or cannot be read, is nobody's hold.
            if let Ok(record) = Record::parse(packed) {
                page.push((place, reply.parsed(at + 1)?, record));
            }
        }
        Ok((now_ms, page))
    }
}
