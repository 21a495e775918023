//! The steps of a hold's life without payment: reserve, becoming due, expiry, cancel.

use super::Reservations;
use super::state::{Hold, NO_TOKEN, Record, ReservePhase, Reserving, State};
use crate::search::{Label, Steps};

impl Reservations {
    /// Reserve calls, line by line, and the undoing of a refused one.
    pub(super) fn reserve_steps(
        &self,
        state: &State,
        reservation: usize,
        steps: &mut Steps<State>,
    ) {
        let reserving = state.reserving[reservation];
        let label = Label::new("reserve", reservation, "starts");
        match reserving.phase {
            ReservePhase::Never | ReservePhase::Done | ReservePhase::Failed => {
                if reserving.calls_left > 0 {
                    let token = 1 + reservation as u8 * 8 + reserving.calls_left;
                    let calls_left = reserving.calls_left - 1;
                    let token = if self.rules.random_token { token } else { NO_TOKEN };
                    let phase = ReservePhase::Holding;
                    let mut next = *state;
                    next.reserving[reservation] = Reserving { phase, line: 0, calls_left, token };
                    steps.bound(label, next);
                }
            }
            ReservePhase::Holding => self.hold_line(state, reservation, label, steps),
            ReservePhase::Undoing => self.undo_line(state, reservation, label, steps),
        }
    }

    fn hold_line(&self, state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
        let reserving = state.reserving[reservation];
        let lines = self.bounds.lines[reservation];
        let line = reserving.line as usize;
        if self.open(state, lines[line]) {
            let mut next = *state;
            let stock = &mut next.redis.skus[lines[line]];
            let granted = self.reserve(stock, reservation, reserving.token);
            let (phase, line) = match granted {
                true if line + 1 < lines.len() => (ReservePhase::Holding, line + 1),
                true => (ReservePhase::Done, 0),
                false if line > 0 => (ReservePhase::Undoing, line - 1),
                false => (ReservePhase::Failed, 0),
            };
            move_on(&mut next.reserving[reservation], phase, line);
            steps.bound(label.does(if granted { "line held" } else { "line refused" }), next);
        }
        fail(state, reservation, label.does("crashes or its answer is lost"), steps);
    }

    fn undo_line(&self, state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
        let line = state.reserving[reservation].line as usize;
        let sku = self.bounds.lines[reservation][line];
        if self.open(state, sku) {
            let mut next = *state;
            let stock = &mut next.redis.skus[sku];
            if stock.records[reservation].hold == Hold::Held {
                self.release(stock, reservation);
            }
            let (phase, line) = match line {
                0 => (ReservePhase::Failed, 0),
                line => (ReservePhase::Undoing, line - 1),
            };
            move_on(&mut next.reserving[reservation], phase, line);
            steps.bound(label.does("line undone"), next);
        }
        fail(state, reservation, label.does("crashes while undoing"), steps);
    }

    /// Time passes: a hold becomes due at any moment, and whoever notices first ends it.
    pub(super) fn expiry_steps(
        &self,
        state: &State,
        reservation: usize,
        sku: usize,
        steps: &mut Steps<State>,
    ) {
        let record = state.redis.skus[sku].records[reservation];
        let label = Label::new("hold", reservation, "is due");
        let rules = &self.rules;
        let pin_lapses = !rules.timeless_pin;
        let mortal =
            record.hold == Hold::Held || record.hold == Hold::Pinned && (pin_lapses || !rules.pin);
        if mortal && !record.due {
            let mut next = *state;
            next.redis.skus[sku].records[reservation].due = true;
            let heard = &mut next.events[reservation][sku];
            if rules.record_decides && rules.sweeper {
                steps.bound(label, next);
            } else {
                // The timer key fires once; none, one or two subscribers hear it.
                let before = *heard;
                for listeners in 0..=if rules.record_decides { 1 } else { 2 } {
                    next.events[reservation][sku] = (before + listeners).min(2);
                    steps.bound(label, next);
                }
            }
        }
        let swept = record.hold == Hold::Held || record.hold == Hold::Pinned && pin_lapses;
        let sweeping = rules.sweeper && rules.record_decides && self.open(state, sku);
        if swept && record.due && sweeping {
            let mut next = *state;
            self.release(&mut next.redis.skus[sku], reservation);
            steps.bound(label.does("expires"), next);
        }
        if state.events[reservation][sku] > 0 && self.open(state, sku) {
            let mut next = *state;
            next.events[reservation][sku] -= 1;
            self.on_event(&mut next.redis.skus[sku], reservation);
            steps.bound(label.does("has an expired event delivered"), next);
        }
    }

    /// Cancel of a hold of one product.
    pub(super) fn cancel_steps(&self, state: &State, reservation: usize, steps: &mut Steps<State>) {
        let cancelling = state.cancelling[reservation];
        let label = Label::new("cancel", reservation, "done");
        let &[sku] = self.bounds.lines[reservation] else {
            return;
        };
        if cancelling.calls_left == 0 || !self.open(state, sku) {
            return;
        }
        let mut next = *state;
        let stock = &mut next.redis.skus[sku];
        if cancelling.half_done {
            stock.avail += 1;
            stock.held -= 1;
            next.cancelling[reservation].calls_left -= 1;
            next.cancelling[reservation].half_done = false;
            steps.bound(label.does("second call gives the unit back"), next);
            let mut dead = *state;
            dead.cancelling[reservation].calls_left = 0;
            dead.cancelling[reservation].half_done = false;
            steps.perhaps(label.does("crashes between its two calls"), dead);
        } else if stock.records[reservation].hold == Hold::Held {
            if self.rules.atomic_cancel {
                self.release(stock, reservation);
                next.cancelling[reservation].calls_left -= 1;
                next.told[reservation].cancelled = true;
                steps.bound(label, next);
            } else {
                let hold = Hold::Released;
                stock.records[reservation] = Record { hold, token: NO_TOKEN, due: false };
                next.cancelling[reservation].half_done = true;
                steps.bound(label.does("first call deletes the hold"), next);
            }
        }
    }
}

fn move_on(reserving: &mut Reserving, phase: ReservePhase, line: usize) {
    reserving.phase = phase;
    reserving.line = line as u8;
    if matches!(phase, ReservePhase::Done | ReservePhase::Failed | ReservePhase::Undoing) {
        reserving.token = NO_TOKEN;
    }
}

fn fail(state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
    let mut next = *state;
    move_on(&mut next.reserving[reservation], ReservePhase::Failed, 0);
    steps.perhaps(label, next);
}
