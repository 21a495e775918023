//! Processes that meet a new incarnation of Redis, close its SKUs and bless it.

use super::Reservations;
use super::state::{NO_EPOCH, State, Stock};
use crate::incarnation::{Closing, Effect, Incarnation};
use crate::search::{Label, Steps};

impl Reservations {
    /// One such process.
    pub(super) fn closing_steps(&self, state: &State, number: usize, steps: &mut Steps<State>) {
        let incarnation = Incarnation {
            current: state.redis.incarnation,
            blessed: state.redis.blessed,
            skus: self.skus,
            close_first: self.rules.close_before_bless,
        };
        let Some((closing, effect, action)) = incarnation.step(state.closing[number]) else {
            return;
        };
        let label = Label::new("closer", number, action);
        let mut next = *state;
        next.closing[number] = closing;
        match effect {
            Effect::None => {}
            Effect::Close(sku) => self.close(&mut next.redis.skus[sku]),
            Effect::Bless => next.redis.blessed = true,
        }
        steps.bound(label, next);
        if state.closing[number] != Closing::Idle {
            let mut dead = *state;
            dead.closing[number] = Closing::Idle;
            steps.perhaps(label.does("crashes"), dead);
        }
    }

    fn close(&self, stock: &mut Stock) {
        stock.ready = false;
        if !self.rules.close_keeps_epoch {
            stock.epoch = NO_EPOCH;
        }
    }
}
