//! The Redis scripts, each one step on one SKU. Whether a script may run at all is asked first,
//! with `Redis::open`.

use super::Reservations;
use super::state::{Decision, Hold, NO_TOKEN, Record, Redis, Stock};

/// What `pin` answers.
pub(super) enum PinAnswer {
    Pinned { token: u8, epoch: u8 },
    NotThere,
}

impl Redis {
    /// A script may run on this SKU: it is there and not closed, on an incarnation it may touch.
    pub(super) fn open(&self, sku: usize, incarnation_check: bool) -> bool {
        let stock = &self.skus[sku];
        stock.present && stock.ready && (self.blessed || !incarnation_check)
    }
}

impl Stock {
    fn leave(&mut self, reservation: usize, hold: Hold, tombstones: bool) {
        let token = self.records[reservation].token;
        let tombstone = Record { hold, token, due: false };
        self.records[reservation] = if tombstones { tombstone } else { Record::default() };
        self.held -= 1;
    }
}

impl Reservations {
    /// Gives the unit of a live record back.
    pub(super) fn release(&self, stock: &mut Stock, reservation: usize) {
        stock.leave(reservation, Hold::Released, self.rules.tombstones);
        stock.avail += 1;
    }

    /// Reserve for one line; false is a refusal.
    pub(super) fn reserve(&self, stock: &mut Stock, reservation: usize, token: u8) -> bool {
        match stock.records[reservation].hold {
            Hold::Absent => {}
            Hold::Released => return false,
            Hold::Held | Hold::Pinned | Hold::Sold => return true,
        }
        if stock.avail < 1 {
            return false;
        }
        stock.sequence += 1;
        let token = if self.rules.random_token { token } else { stock.sequence };
        stock.avail -= 1;
        stock.held += 1;
        stock.records[reservation] = Record { hold: Hold::Held, token, due: false };
        true
    }

    /// Pin for one line.
    pub(super) fn pin(&self, stock: &mut Stock, reservation: usize) -> PinAnswer {
        let record = stock.records[reservation];
        match record.hold {
            Hold::Held if record.due => {
                if self.rules.sweeper {
                    self.release(stock, reservation);
                }
                return PinAnswer::NotThere;
            }
            Hold::Held if self.rules.pin => stock.records[reservation].hold = Hold::Pinned,
            Hold::Held | Hold::Pinned => {}
            Hold::Absent | Hold::Sold | Hold::Released => return PinAnswer::NotThere,
        }
        PinAnswer::Pinned { token: record.token, epoch: stock.epoch }
    }

    /// Settle for one line: applies a decision to the record.
    pub(super) fn settle(
        &self,
        stock: &mut Stock,
        reservation: usize,
        line: usize,
        decision: Decision,
    ) {
        if !self.rules.record_decides {
            return settle_blindly(stock, reservation, decision);
        }
        let record = stock.records[reservation];
        if !record.live() {
            return;
        }
        match decision {
            Decision::None => {}
            Decision::Aborted => self.release(stock, reservation),
            Decision::Confirmed(tokens)
                if self.rules.hold_token && tokens[line] != record.token =>
            {
                stock.leave(reservation, Hold::Sold, self.rules.tombstones);
                stock.avail += 1;
            }
            Decision::Confirmed(_) => {
                stock.leave(reservation, Hold::Sold, self.rules.tombstones);
                stock.sold += 1;
            }
        }
    }

    /// Expire, called for an event: the record decides, unless the rule is off.
    pub(super) fn on_event(&self, stock: &mut Stock, reservation: usize) {
        let record = stock.records[reservation];
        if self.rules.record_decides {
            if record.hold == Hold::Held && record.due {
                self.release(stock, reservation);
            }
        } else if record.hold != Hold::Sold {
            stock.avail += 1;
            stock.held -= 1;
            stock.records[reservation] = blind(Hold::Released);
        }
    }
}

/// Settle as a pair of counters, without a look at the record.
fn settle_blindly(stock: &mut Stock, reservation: usize, decision: Decision) {
    stock.held -= 1;
    if decision.sold() {
        stock.sold += 1;
        stock.records[reservation] = blind(Hold::Sold);
    } else {
        stock.avail += 1;
        stock.records[reservation] = blind(Hold::Released);
    }
}

/// A record written by a script that did not read it.
fn blind(hold: Hold) -> Record {
    Record { hold, token: NO_TOKEN, due: false }
}
