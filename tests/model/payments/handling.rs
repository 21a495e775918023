//! Whoever learns of the money: it is sold, or it is late and takes a unit again or goes back.

use super::redis::{Record, token};
use super::steps::crash;
use super::{Decision, Handler, LATE, PAYER, Page, Payments, State, resolved};
use crate::search::{Label, Steps};

impl Payments {
    /// Whether somebody would notice the money now.
    fn is_heard(&self, state: &State) -> bool {
        let open = matches!(state.decisions[PAYER], Decision::Pending(_));
        // bKash tells nobody: who asks, asks while the payment is open, or because it watches.
        !self.bkash || open || self.watch && state.claimed
    }

    /// One SQL call. False: stale.
    fn sell_late(&self, state: &mut State, token: u8, epoch: u8) -> bool {
        if state.decisions[LATE] != Decision::None {
            return true;
        }
        if epoch != state.epoch {
            return false;
        }
        let pending = if self.counts { state.pending } else { 0 };
        if state.sold + pending >= self.stock {
            state.decisions[LATE] = Decision::Aborted;
        } else {
            state.decisions[LATE] = Decision::Confirmed(token);
            state.sold += 1;
        }
        true
    }

    pub(super) fn handle(&self, state: &State, at: usize, steps: &mut Steps<State>) {
        let label = Label::new("handler", at, "goes on");
        let mut next = *state;
        let mut idle = *state;
        idle.handlers[at] = Handler::Idle;
        let open = state.redis.open;
        next.handlers[at] = match state.handlers[at] {
            Handler::Idle => {
                if state.page != Page::Paid || resolved(state) || !self.is_heard(state) {
                    return;
                }
                Handler::Read
            }
            Handler::Read => match state.decisions[PAYER] {
                Decision::Pending(_) => Handler::Pin,
                Decision::Confirmed(_) => Handler::Settle,
                Decision::Aborted | Decision::None => Handler::Grab,
            },
            Handler::Pin if open => match next.redis.pin(PAYER) {
                Some(_) => Handler::Pay { epoch: state.redis.epoch },
                None => Handler::Idle,
            },
            Handler::Pay { epoch } => match state.decisions[PAYER] {
                Decision::Pending(_) if epoch != state.epoch => Handler::Idle,
                Decision::Pending(token) => {
                    next.pending -= i8::from(self.counts);
                    if state.sold >= self.stock {
                        // Without its unit being counted, somebody else was sold it.
                        next.refused = true;
                        next.decisions[PAYER] = Decision::Aborted;
                    } else {
                        next.sold += 1;
                        next.decisions[PAYER] = Decision::Confirmed(token);
                    }
                    Handler::Settle
                }
                Decision::Confirmed(_) => Handler::Settle,
                Decision::Aborted | Decision::None => Handler::Grab,
            },
            Handler::Settle if open => {
                next.redis.settle(PAYER, state.decisions[PAYER]);
                Handler::Idle
            }
            Handler::Grab if open => {
                let epoch = state.redis.epoch;
                let fresh = token(state, LATE) + 100 * at as u8;
                match state.redis.records[LATE] {
                    Record::Pinned(token) => Handler::SellLate { token, epoch },
                    Record::Absent if next.redis.take(LATE, Record::Pinned(fresh)) => {
                        Handler::SellLate { token: fresh, epoch }
                    }
                    _ if self.late_fence => Handler::FenceLate,
                    _ => Handler::Refund,
                }
            }
            Handler::SellLate { token, epoch } => {
                let flying = Handler::SellLateInFlight { token, epoch };
                let mut dead = *state;
                dead.handlers[at] = flying;
                crash(state, label.does("dies, its call on the way"), steps, dead);
                if self.sell_late(&mut next, token, epoch) {
                    Handler::SettleLate
                } else {
                    Handler::Idle
                }
            }
            Handler::SellLateInFlight { token, epoch } => {
                self.sell_late(&mut next, token, epoch);
                next.handlers[at] = Handler::Idle;
                steps.bound(label.does("sells after all"), next);
                return steps.bound(label.does("is dropped"), idle);
            }
            Handler::FenceLate => {
                if state.decisions[LATE] == Decision::None {
                    next.decisions[LATE] = Decision::Aborted;
                }
                Handler::SettleLate
            }
            Handler::SettleLate if open => {
                next.redis.settle(LATE, state.decisions[LATE]);
                match state.decisions[LATE] {
                    Decision::Aborted => Handler::Refund,
                    _ => Handler::Idle,
                }
            }
            Handler::Refund => {
                next.refunds = if self.refund_key { 1 } else { (state.refunds + 1).min(2) };
                let mut dead = next;
                dead.handlers[at] = Handler::Idle;
                crash(state, label.does("dies after the refund"), steps, dead);
                Handler::Record
            }
            Handler::Record => {
                next.refund_noted = true;
                Handler::Idle
            }
            // Redis is not there: later.
            Handler::Pin | Handler::Settle | Handler::Grab | Handler::SettleLate => Handler::Idle,
        };
        steps.bound(label, next);
        if state.handlers[at] != Handler::Idle {
            crash(state, label, steps, idle);
        }
    }
}
