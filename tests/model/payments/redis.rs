//! One product in Redis, and its scripts.

use super::{Decision, RIDS, State};

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Record {
    #[default]
    Absent,
    Held(u8),
    Pinned(u8),
    Sold(u8),
    Ended(u8),
}

pub(super) fn live(record: Record) -> bool {
    matches!(record, Record::Held(_) | Record::Pinned(_))
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Redis {
    /// The counters are there.
    pub(super) known: bool,
    /// Scripts may run: nothing was lost since the last rebuild.
    pub(super) open: bool,
    pub(super) avail: i8,
    pub(super) held: i8,
    pub(super) sold: i8,
    pub(super) epoch: u8,
    pub(super) records: [Record; RIDS],
}

impl Redis {
    /// All units, none of them held.
    pub(super) fn full(stock: i8) -> Self {
        let records = [Record::Absent; RIDS];
        Self { known: true, open: true, avail: stock, held: 0, sold: 0, epoch: 1, records }
    }

    /// Gives the unit of a live record back.
    pub(super) fn release(&mut self, rid: usize) {
        if let Record::Held(token) | Record::Pinned(token) = self.records[rid] {
            self.records[rid] = Record::Ended(token);
            self.held -= 1;
            self.avail += 1;
        }
    }

    /// Takes a record out of the clock's reach. None: it is not live.
    pub(super) fn pin(&mut self, rid: usize) -> Option<u8> {
        match self.records[rid] {
            Record::Held(token) | Record::Pinned(token) => {
                self.records[rid] = Record::Pinned(token);
                Some(token)
            }
            Record::Absent | Record::Sold(_) | Record::Ended(_) => None,
        }
    }

    /// A unit for a fresh record, if there is one.
    pub(super) fn take(&mut self, rid: usize, record: Record) -> bool {
        if self.avail < 1 || self.records[rid] != Record::Absent {
            return false;
        }
        self.avail -= 1;
        self.held += 1;
        self.records[rid] = record;
        true
    }

    pub(super) fn settle(&mut self, rid: usize, decision: Decision) {
        let (Record::Held(token) | Record::Pinned(token)) = self.records[rid] else { return };
        match decision {
            Decision::Confirmed(decided) if decided == token => {
                self.records[rid] = Record::Sold(token);
                self.held -= 1;
                self.sold += 1;
            }
            Decision::Confirmed(_) | Decision::Aborted => self.release(rid),
            Decision::None | Decision::Pending(_) => {}
        }
    }
}

/// A token that no earlier pin of this id had: made of where in its history it is made.
pub(super) fn token(state: &State, rid: usize) -> u8 {
    10 * rid as u8 + 2 + state.epoch
}
