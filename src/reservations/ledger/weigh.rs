//! Adding up the records of a SKU.

use crate::kernel::{ReservationId, Sku};
use crate::platform::lua;
use crate::reservations::ledger::replies::unreadable;
use crate::reservations::ledger::{Answer, Ledger};

/// Records and buyers that one call walks; everything else on Redis waits for it, about 4 us for each.
const MOST: usize = 2_000;

/// Pins that one call lists.
const MOST_PINS: usize = 5_000;

/// What the records of a SKU say against its counters, indexes and buyers; all zero where they agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::reservations) struct Weighed {
    /// Units that are counted as held and in no live record.
    pub(in crate::reservations) units: i64,
    /// Records that are not in their index, and entries of indexes without their record.
    pub(in crate::reservations) astray: i64,
    /// Units that buyers are said to hold and no live record has.
    pub(in crate::reservations) buyers: i64,
}

impl Ledger {
    /// Weighs a SKU. None: it has too many records for one call.
    pub(in crate::reservations) async fn weigh(
        &self,
        sku: &Sku,
        most: Option<usize>,
    ) -> Answer<Option<Weighed>> {
        let most = most.unwrap_or(MOST);
        let mut cmd = self.call(&lua::WEIGH, sku, &[]);
        cmd.arg(most).arg(most);
        let reply = self.run(&lua::WEIGH, &cmd).await?;
        match reply.status()? {
            0 => Ok(Some(Weighed {
                units: reply.int(1)?,
                astray: reply.int(2)?,
                buyers: reply.int(3)?,
            })),
            1 => Ok(None),
            _ => Err(unreadable().into()),
        }
    }

    /// Units sold, and the pins of the same moment with their quantities. None: there are too many.
    pub(in crate::reservations) async fn pinned(
        &self,
        sku: &Sku,
    ) -> Answer<Option<(i64, Vec<(ReservationId, i64)>)>> {
        let mut cmd = self.call(&lua::PINNED, sku, &[]);
        cmd.arg(MOST_PINS);
        let reply = self.run(&lua::PINNED, &cmd).await?;
        match reply.status()? {
            0 => {
                let mut pins = Vec::new();
                for at in (2..reply.len()).step_by(2) {
                    // A name that is no id is nobody's: the audit counts it as a stray.
                    if let Ok(id) = reply.text(at)?.parse() {
                        pins.push((id, reply.int(at + 1)?));
                    }
                }
                Ok(Some((reply.int(1)?, pins)))
            }
            1 => Ok(None),
            _ => Err(unreadable().into()),
        }
    }
}
