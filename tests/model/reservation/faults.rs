//! The steps that come from outside: Redis loses data, an operator forces a rebuild, stock arrives.

use super::Reservations;
use super::state::{RebuildPhase, RestockPhase, SKUS, State, Stock};
use crate::search::{Label, Steps};

impl Reservations {
    /// Redis goes back to an earlier moment, comes back empty, or is emptied as it stands.
    pub(super) fn loss_steps(&self, state: &State, steps: &mut Steps<State>) {
        let faults = &state.faults;
        let label = Label::new("redis", 0, "reaches the moment it will go back to");
        if faults.rollbacks > 0 {
            match state.saved {
                None => {
                    let mut next = *state;
                    next.saved = Some(state.redis.skus);
                    steps.perhaps(label, next);
                }
                Some(saved) if saved != state.redis.skus => {
                    let mut next = restarted(state, saved);
                    next.faults.rollbacks -= 1;
                    steps.perhaps(label.does("restarts without its tail"), next);
                }
                Some(_) => {}
            }
        }
        if faults.wipes > 0 {
            let mut next = restarted(state, [Stock::default(); SKUS]);
            next.faults.wipes -= 1;
            steps.perhaps(label.does("restarts empty"), next);
        }
        if faults.flushes > 0 {
            let mut next = *state;
            next.redis.skus = [Stock::default(); SKUS];
            next.saved = None;
            next.faults.flushes -= 1;
            next.faults.lost = true;
            steps.perhaps(label.does("is flushed"), next);
        }
    }

    /// An operator forces one rebuild although nothing is wrong.
    pub(super) fn operator_steps(&self, state: &State, steps: &mut Steps<State>) {
        let idle = state.rebuilding.iter().all(|work| work.phase == RebuildPhase::Idle);
        if state.faults.forced > 0 && !state.faults.lost && idle {
            let mut next = *state;
            next.faults.forced -= 1;
            next.faults.forced_now = true;
            steps.perhaps(Label::new("operator", 0, "forces a rebuild"), next);
        }
    }

    /// Stock arrives: first in Postgres, then, at least once, in Redis.
    pub(super) fn restock_steps(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("restock", 0, "booked in postgres");
        let mut next = *state;
        match state.restock {
            RestockPhase::Idle => {
                if state.restocks_left > 0 {
                    next.postgres.stocked[0] += 1;
                    next.postgres.version[0] += 1;
                    next.restocks_left -= 1;
                    next.restock = RestockPhase::Booked;
                    steps.bound(label, next);
                }
            }
            RestockPhase::Booked => {
                let stocked = next.postgres.stocked[0];
                let version = next.postgres.version[0];
                next.restock = RestockPhase::Read { stocked, version };
                steps.bound(label.does("read from postgres"), next);
            }
            RestockPhase::Read { stocked, version } => {
                if self.open(state, 0) {
                    self.apply_stock(&mut next.redis.skus[0], stocked, version);
                    next.restock = RestockPhase::Booked;
                    steps.perhaps(label.does("applied, then a crash before the mark"), next);
                    next.restock = RestockPhase::Idle;
                    steps.bound(label.does("applied and marked as done"), next);
                }
            }
        }
    }

    fn apply_stock(&self, stock: &mut Stock, stocked: i8, version: u8) {
        if !self.rules.stock_as_state {
            stock.avail += 1;
            stock.stocked += 1;
            stock.version += 1;
        } else if version > stock.version {
            stock.avail += stocked - stock.stocked;
            stock.stocked = stocked;
            stock.version = version;
        }
    }
}

/// A new incarnation of Redis with this content; every connection to the old one is broken.
fn restarted(state: &State, skus: [Stock; SKUS]) -> State {
    let mut next = *state;
    next.redis.incarnation += 1;
    next.redis.blessed = false;
    next.redis.skus = skus;
    next.saved = None;
    next.faults.lost = true;
    next
}
