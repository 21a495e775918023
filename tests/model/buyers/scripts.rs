//! The Redis scripts with their rules about buyers, each one step on one SKU. Whether a script may
//! run at all is asked first, with `Redis::open`.

use super::Buyers;
use super::state::{Buyer, Decision, Hold, Record, Redis, Stock};

/// What reserve answers.
pub(super) enum Reply {
    /// This reservation holds the units: a new one, or the buyer's standing hold.
    Holds(usize),
    /// The buyer has another live hold, which this request may not change.
    AlreadyHeld,
    SoldOut,
    /// The buyer's cap.
    Limit,
}

/// What pin answers.
pub(super) enum PinAnswer {
    Pinned { token: u8, epoch: u8, units: i8 },
    Gone,
    Absent,
}

impl Redis {
    /// A script may run on this SKU: it is there and not closed, on an incarnation it may touch.
    pub(super) fn open(&self, sku: usize) -> bool {
        let stock = &self.skus[sku];
        self.blessed && stock.present && stock.ready
    }
}

impl Buyers {
    fn user(&self, reservation: usize) -> usize {
        self.bounds.wants[reservation].user
    }

    fn buyer<'a>(&self, stock: &'a mut Stock, reservation: usize) -> &'a mut Buyer {
        &mut stock.buyers[self.user(reservation)]
    }

    /// Moves units from available to held, for the buyer of a reservation; negative ones back.
    fn take(&self, stock: &mut Stock, reservation: usize, units: i8) {
        stock.avail -= units;
        stock.held += units;
        self.buyer(stock, reservation).live += units;
    }

    fn clear_slot(&self, stock: &mut Stock, reservation: usize) {
        let buyer = self.buyer(stock, reservation);
        if self.rules.slot_cleared && buyer.slot == Some(reservation as u8) {
            buyer.slot = None;
        }
    }

    /// Ends a live record and gives its units back: cancel, expiry, sweep, abort and undoing.
    pub(super) fn release(&self, stock: &mut Stock, reservation: usize) {
        let record = stock.records[reservation];
        stock.records[reservation] = Record { hold: Hold::Ended, due: false, ..record };
        self.take(stock, reservation, -record.units);
        self.clear_slot(stock, reservation);
    }

    fn refusal(&self, stock: &mut Stock, reservation: usize, more: i8) -> Option<Reply> {
        let available = stock.avail;
        let buyer = *self.buyer(stock, reservation);
        let live = if self.rules.cap_counts_live { buyer.live } else { 0 };
        if more > 0 && live + buyer.bought - buyer.back + more > self.bounds.cap {
            return Some(Reply::Limit);
        }
        (available < more).then_some(Reply::SoldOut)
    }

    /// Reserve for one line, in the order of the protocol's table.
    pub(super) fn reserve(
        &self,
        stock: &mut Stock,
        reservation: usize,
        line: usize,
        token: u8,
    ) -> Reply {
        let want = &self.bounds.wants[reservation];
        let units = want.lines[line].1;
        if stock.records[reservation].hold != Hold::Absent {
            return Reply::Holds(reservation);
        }
        let slot = self.buyer(stock, reservation).slot.map(usize::from);
        if let Some(standing) = slot {
            let record = stock.records[standing];
            if record.hold == Hold::Held && record.due {
                self.release(stock, standing);
            } else if record.live() {
                let several = want.several() || self.bounds.wants[standing].several();
                return match record.hold {
                    _ if several => Reply::AlreadyHeld,
                    Hold::Held => self.change(stock, standing, units),
                    _ if record.units == units => Reply::Holds(standing),
                    _ => Reply::AlreadyHeld,
                };
            }
        }
        if let Some(refusal) = self.refusal(stock, reservation, units) {
            return refusal;
        }
        self.take(stock, reservation, units);
        self.buyer(stock, reservation).slot = Some(reservation as u8);
        let hold = Hold::Held;
        stock.records[reservation] = Record { hold, units, token, ..Record::default() };
        Reply::Holds(reservation)
    }

    /// Changes the quantity of a standing hold; its deadline and token stay.
    fn change(&self, stock: &mut Stock, standing: usize, units: i8) -> Reply {
        let more = units - stock.records[standing].units;
        if let Some(refusal) = self.refusal(stock, standing, more) {
            return refusal;
        }
        self.take(stock, standing, more);
        stock.records[standing].units = units;
        Reply::Holds(standing)
    }

    /// Gives a line its real deadline; false when it is no longer held.
    pub(super) fn arm(&self, stock: &Stock, reservation: usize) -> bool {
        let record = stock.records[reservation];
        record.hold == Hold::Held && !record.due
    }

    /// Pin for one line.
    pub(super) fn pin(&self, stock: &mut Stock, reservation: usize) -> PinAnswer {
        let Record { hold, units, token, due, .. } = stock.records[reservation];
        match hold {
            Hold::Absent => PinAnswer::Absent,
            Hold::Sold | Hold::Ended => PinAnswer::Gone,
            Hold::Held if due => {
                self.release(stock, reservation);
                PinAnswer::Gone
            }
            Hold::Held | Hold::Pinned => {
                stock.records[reservation].hold = Hold::Pinned;
                PinAnswer::Pinned { token, epoch: stock.epoch, units }
            }
        }
    }

    /// Settle for one line: applies a decision to the record, with the decision's units.
    pub(super) fn settle(
        &self,
        stock: &mut Stock,
        reservation: usize,
        line: usize,
        decision: &Decision,
    ) {
        let record = stock.records[reservation];
        if !record.live() {
            return;
        }
        match decision {
            Decision::None => {}
            Decision::Confirmed { tokens, units } if tokens[line] == record.token => {
                let sold = units[line];
                self.take(stock, reservation, -record.units);
                self.clear_slot(stock, reservation);
                self.buyer(stock, reservation).bought += sold;
                stock.avail -= sold;
                stock.sold += sold;
                let record = Record { hold: Hold::Sold, units: sold, due: false, ..record };
                stock.records[reservation] = record;
            }
            Decision::Aborted | Decision::Confirmed { .. } => self.release(stock, reservation),
        }
    }

    /// Carries a return to Redis: the stock of a version, and what the buyer gave back.
    pub(super) fn give_back(
        &self,
        stock: &mut Stock,
        reservation: usize,
        stocked: (i8, u8),
        back: i8,
        units: i8,
    ) {
        let (stocked, version) = stocked;
        if version > stock.version {
            stock.avail += stocked - stock.stocked;
            stock.stocked = stocked;
            stock.version = version;
        }
        let as_state = self.rules.back_as_state;
        let buyer = self.buyer(stock, reservation);
        buyer.back = if as_state { buyer.back.max(back) } else { buyer.back + units };
    }
}
