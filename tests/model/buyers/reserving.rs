//! The steps of a hold's life without payment: the runs of the reserve call, expiry, cancel.

use super::Buyers;
use super::scripts::Reply;
use super::state::{Cancelling, Hold, Run, RunPhase, State};
use crate::search::{Label, Steps};

impl Buyers {
    /// The reservation that a run makes.
    fn made_by(&self, run: usize) -> usize {
        let (reservation, _) = self.bounds.runs[run];
        let want = &self.bounds.wants[reservation];
        let same = self.bounds.wants.iter().position(|other| other == want);
        if self.rules.own_id_per_run { reservation } else { same.unwrap_or(reservation) }
    }

    /// One run: hold each line, arm each line; or undo what it holds.
    pub(super) fn run_steps(&self, state: &State, number: usize, steps: &mut Steps<State>) {
        let run = state.runs[number];
        let label = Label::new("run", number, "calls reserve");
        let reservation = self.made_by(number);
        if run.phase == RunPhase::Idle {
            if run.calls_left > 0 {
                let calls_left = run.calls_left - 1;
                let phase = RunPhase::Holding;
                steps.bound(label, moved(*state, number, Run { phase, line: 0, calls_left }));
            }
            return;
        }
        let line = run.line as usize;
        if state.redis.open(self.bounds.wants[reservation].lines[line].0) {
            match run.phase {
                RunPhase::Idle => {}
                RunPhase::Holding => self.hold_line(state, number, label, steps),
                RunPhase::Arming => self.arm_line(state, number, label, steps),
                RunPhase::Undoing => self.undo_line(state, number, label, steps),
            }
        }
        let crashed = moved(*state, number, Run { phase: RunPhase::Idle, line: 0, ..run });
        self.crash(crashed, label, steps);
    }

    fn hold_line(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let run = state.runs[number];
        let reservation = self.made_by(number);
        let want = &self.bounds.wants[reservation];
        let line = run.line as usize;
        let token = 1 + number as u8 * 4 + run.calls_left;
        let mut next = *state;
        let reply =
            self.reserve(&mut next.redis.skus[want.lines[line].0], reservation, line, token);
        let last = line + 1 == want.lines.len();
        let (action, phase, line) = match reply {
            Reply::Holds(_) if want.several() && last => ("line held", RunPhase::Arming, 0),
            Reply::Holds(_) if want.several() => ("line held", RunPhase::Holding, line + 1),
            Reply::Holds(standing) => {
                next.told[standing].held = true;
                ("answers held", RunPhase::Idle, 0)
            }
            Reply::AlreadyHeld => self.refused("already held", line),
            Reply::SoldOut => self.refused("sold out", line),
            Reply::Limit => self.refused("over the cap", line),
        };
        steps.bound(label.does(action), moved(next, number, at(run, phase, line)));
    }

    /// A refused line makes the run release the lines before it.
    fn refused(&self, action: &'static str, line: usize) -> (&'static str, RunPhase, usize) {
        match line {
            0 => (action, RunPhase::Idle, 0),
            line => (action, RunPhase::Undoing, line - 1),
        }
    }

    fn arm_line(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let run = state.runs[number];
        let reservation = self.made_by(number);
        let want = &self.bounds.wants[reservation];
        let line = run.line as usize;
        let mut next = *state;
        let last = want.lines.len() - 1;
        let (action, phase, line) = if !self.arm(&next.redis.skus[want.lines[line].0], reservation)
        {
            ("line gone before it was armed", RunPhase::Undoing, last)
        } else if line < last {
            ("line armed", RunPhase::Arming, line + 1)
        } else {
            next.told[reservation].held = true;
            ("last line armed, answers held", RunPhase::Idle, 0)
        };
        steps.bound(label.does(action), moved(next, number, at(run, phase, line)));
    }

    fn undo_line(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let run = state.runs[number];
        let reservation = self.made_by(number);
        let line = run.line as usize;
        let mut next = *state;
        let stock = &mut next.redis.skus[self.bounds.wants[reservation].lines[line].0];
        if stock.records[reservation].hold == Hold::Held {
            self.release(stock, reservation);
            stock.records[reservation].undone = true;
        }
        let (phase, line) = match line {
            0 => (RunPhase::Idle, 0),
            line => (RunPhase::Undoing, line - 1),
        };
        steps.bound(label.does("line undone"), moved(next, number, at(run, phase, line)));
    }

    /// Time passes: a hold becomes due at any moment, and whoever notices first ends it.
    pub(super) fn expiry_steps(&self, state: &State, sku: usize, steps: &mut Steps<State>) {
        if !state.redis.open(sku) {
            return;
        }
        for reservation in 0..self.bounds.wants.len() {
            let record = state.redis.skus[sku].records[reservation];
            if record.hold != Hold::Held {
                continue;
            }
            let mut next = *state;
            let label = Label::new("hold", reservation, "is due");
            if record.due {
                self.release(&mut next.redis.skus[sku], reservation);
                steps.bound(label.does("expires"), next);
            } else {
                next.redis.skus[sku].records[reservation].due = true;
                steps.bound(label, next);
            }
        }
    }

    /// Cancel, line by line. A pinned line is a confirm under way: the call answers a conflict.
    pub(super) fn cancel_steps(&self, state: &State, reservation: usize, steps: &mut Steps<State>) {
        let lines = self.bounds.wants[reservation].lines;
        let label = Label::new("cancel", reservation, "ends a line");
        let line = match state.cancelling[reservation] {
            Cancelling::Idle => 0,
            Cancelling::Second => 1,
            Cancelling::Over => return,
        };
        let sku = lines[line].0;
        if !state.redis.open(sku) {
            return;
        }
        let mut next = *state;
        let stock = &mut next.redis.skus[sku];
        let hold = stock.records[reservation].hold;
        if line == 0 && hold != Hold::Held {
            return;
        }
        let action = match hold {
            Hold::Held => {
                self.release(stock, reservation);
                "ends a line"
            }
            Hold::Absent | Hold::Ended => "finds a line ended",
            Hold::Pinned | Hold::Sold => "finds a line pinned",
        };
        let conflict = matches!(hold, Hold::Pinned | Hold::Sold);
        next.told[reservation].cancelled |= !conflict && line + 1 == lines.len();
        next.cancelling[reservation] = match line + 1 < lines.len() && !conflict {
            true => Cancelling::Second,
            false => Cancelling::Over,
        };
        if line == 0 {
            steps.perhaps(label.does(action), next);
        } else {
            steps.bound(label.does(action), next);
            let mut dead = *state;
            dead.cancelling[reservation] = Cancelling::Over;
            self.crash(dead, label, steps);
        }
    }
}

fn at(run: Run, phase: RunPhase, line: usize) -> Run {
    Run { phase, line: line as u8, ..run }
}

fn moved(mut state: State, number: usize, run: Run) -> State {
    state.runs[number] = run;
    state
}
