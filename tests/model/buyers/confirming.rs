//! The steps of confirm (pin, decide in Postgres, settle), of the recovery of pins in doubt, and of
//! the return of what was sold.

use super::Buyers;
use super::scripts::PinAnswer;
use super::state::{Answer, Attempt, ConfirmPhase, Decision, Hold, Recovering, Returning, State};
use crate::search::{Label, Steps};

fn at(phase: ConfirmPhase, tries: u8) -> Attempt {
    Attempt { phase, tries, ..Attempt::default() }
}

fn settling(decision: Decision, tries: u8) -> Attempt {
    Attempt { answer: Answer::Decided(decision), ..at(ConfirmPhase::Settling, tries) }
}

fn moved(mut state: State, reservation: usize, attempt: Attempt) -> State {
    state.attempts[reservation] = attempt;
    state
}

fn over(state: State, reservation: usize) -> State {
    moved(state, reservation, at(ConfirmPhase::Over, 0))
}

impl Buyers {
    /// The confirm call of a reservation.
    pub(super) fn confirm_steps(
        &self,
        state: &State,
        reservation: usize,
        steps: &mut Steps<State>,
    ) {
        let label = Label::new("confirm", reservation, "starts");
        match state.attempts[reservation].phase {
            ConfirmPhase::Idle => {
                // Whoever is told "already held" learns the id while its lines are still being
                // held, so the call may come as soon as there is a record.
                let skus = &state.redis.skus;
                let known =
                    |stock: &super::state::Stock| stock.records[reservation].hold != Hold::Absent;
                if state.told[reservation].held || skus.iter().any(known) {
                    let next = moved(*state, reservation, at(ConfirmPhase::Pinning, 0));
                    steps.bound(label, next);
                }
                return;
            }
            ConfirmPhase::Pinning => self.pin_line(state, reservation, label, steps),
            ConfirmPhase::InFlight => self.decide(state, reservation, label, steps),
            ConfirmPhase::Orphaned => {
                let mut next = *state;
                let attempt = state.attempts[reservation];
                self.confirm(&mut next, reservation, &attempt);
                steps.perhaps(label.does("late call decides"), over(next, reservation));
                steps.perhaps(label.does("late call is dropped"), over(*state, reservation));
                return;
            }
            ConfirmPhase::Answered => self.obey(state, reservation, label, steps),
            ConfirmPhase::NotThere => self.fence_lost(state, reservation, label, steps),
            ConfirmPhase::Settling => self.settle_line(state, reservation, label, steps),
            ConfirmPhase::Over => return,
        }
        if state.attempts[reservation].phase != ConfirmPhase::InFlight {
            self.crash(over(*state, reservation), label, steps);
        }
    }

    fn pin_line(&self, state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
        let lines = self.bounds.wants[reservation].lines;
        let mut attempt = state.attempts[reservation];
        let line = attempt.line as usize;
        if !state.redis.open(lines[line].0) {
            return;
        }
        let mut next = *state;
        let answer = self.pin(&mut next.redis.skus[lines[line].0], reservation);
        let (action, attempt) = match answer {
            PinAnswer::Pinned { token, epoch, units } => {
                attempt.tokens[line] = token;
                attempt.epochs[line] = epoch;
                attempt.units[line] = units;
                attempt.line += 1;
                if attempt.line as usize == lines.len() {
                    attempt.line = 0;
                    attempt.phase = ConfirmPhase::InFlight;
                }
                ("line pinned", attempt)
            }
            PinAnswer::Gone | PinAnswer::Absent
                if lines.len() == 1 && next.postgres.decisions[reservation] == Decision::None =>
            {
                // Nothing was ever decided: the call writes nothing.
                next.told[reservation].gone |= matches!(answer, PinAnswer::Gone);
                ("finds nothing", at(ConfirmPhase::Over, 0))
            }
            PinAnswer::Gone | PinAnswer::Absent => {
                ("line not there", at(ConfirmPhase::NotThere, attempt.tries))
            }
        };
        steps.bound(label.does(action), moved(next, reservation, attempt));
    }

    fn decide(&self, state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
        let attempt = state.attempts[reservation];
        let mut next = *state;
        let answer = self.confirm(&mut next, reservation, &attempt);
        let action = match answer {
            Answer::None | Answer::Stale => "postgres says stale",
            Answer::Decided(decision) if decision.sold() => "postgres says confirmed",
            Answer::Decided(_) => "postgres says aborted",
        };
        let answered = Attempt { answer, ..at(ConfirmPhase::Answered, attempt.tries) };
        steps.bound(label.does(action), moved(next, reservation, answered));
        let orphan = Attempt { phase: ConfirmPhase::Orphaned, ..attempt };
        let next = moved(*state, reservation, orphan);
        self.crash(next, label.does("crashes, its call still on the way"), steps);
    }

    fn obey(&self, state: &State, reservation: usize, label: Label, steps: &mut Steps<State>) {
        let attempt = state.attempts[reservation];
        let (action, attempt) = match attempt.answer {
            Answer::Decided(decision) => ("begins to settle", settling(decision, attempt.tries)),
            Answer::None | Answer::Stale if attempt.tries + 1 < self.bounds.tries => {
                ("pins again", at(ConfirmPhase::Pinning, attempt.tries + 1))
            }
            Answer::None | Answer::Stale => ("answers unknown", at(ConfirmPhase::Over, 0)),
        };
        steps.bound(label.does(action), moved(*state, reservation, attempt));
    }

    fn fence_lost(
        &self,
        state: &State,
        reservation: usize,
        label: Label,
        steps: &mut Steps<State>,
    ) {
        let tries = state.attempts[reservation].tries;
        let mut next = *state;
        let decision = self.fence(&mut next, reservation);
        let next = moved(next, reservation, settling(decision, tries));
        steps.bound(label.does("fences and reads the decision"), next);
    }

    fn settle_line(
        &self,
        state: &State,
        reservation: usize,
        label: Label,
        steps: &mut Steps<State>,
    ) {
        let mut attempt = state.attempts[reservation];
        let Answer::Decided(decision) = attempt.answer else {
            return;
        };
        let mut next = *state;
        self.settle_open(&mut next, reservation, attempt.line as usize, &decision);
        attempt.line += 1;
        if (attempt.line as usize) < self.bounds.wants[reservation].lines.len() {
            steps.bound(label.does("settles a line"), moved(next, reservation, attempt));
        } else {
            next.told[reservation].confirmed |= decision.sold();
            next.told[reservation].gone |= !decision.sold();
            steps.bound(label.does("settles and answers"), over(next, reservation));
        }
    }

    /// Settle where the script may run; elsewhere the rebuild or the recovery does it later.
    fn settle_open(&self, state: &mut State, reservation: usize, line: usize, decision: &Decision) {
        let sku = self.bounds.wants[reservation].lines[line].0;
        if state.redis.open(sku) {
            self.settle(&mut state.redis.skus[sku], reservation, line, decision);
        }
    }

    /// Recovery of pins in doubt: the grace is over at any time.
    pub(super) fn recovery_steps(
        &self,
        state: &State,
        reservation: usize,
        steps: &mut Steps<State>,
    ) {
        let label = Label::new("recovery", reservation, "fences a pin");
        let lines = self.bounds.wants[reservation].lines;
        let mut next = *state;
        match state.recovering[reservation] {
            Recovering::Idle => {
                let pinned = |line: &(usize, i8)| {
                    let record = state.redis.skus[line.0].records[reservation];
                    record.hold == Hold::Pinned && state.redis.open(line.0)
                };
                if lines.iter().any(pinned) {
                    let decision = self.fence(&mut next, reservation);
                    next.recovering[reservation] = Recovering::Settling { decision, line: 0 };
                    steps.bound(label, next);
                }
            }
            Recovering::Settling { decision, line } => {
                self.settle_open(&mut next, reservation, line as usize, &decision);
                let line = line + 1;
                next.recovering[reservation] = match (line as usize) < lines.len() {
                    true => Recovering::Settling { decision, line },
                    false => Recovering::Idle,
                };
                steps.bound(label.does("settles a line"), next);
                let mut dead = *state;
                dead.recovering[reservation] = Recovering::Idle;
                self.crash(dead, label, steps);
            }
        }
    }

    /// A sale is given back: first in Postgres, then, at least once, in Redis.
    pub(super) fn return_steps(&self, state: &State, reservation: usize, steps: &mut Steps<State>) {
        let label = Label::new("return", reservation, "booked in postgres");
        let want = &self.bounds.wants[reservation];
        let (sku, _) = want.lines[0];
        let mut next = *state;
        let postgres = &mut next.postgres;
        match state.returning {
            Returning::Idle => {
                if let Decision::Confirmed { units, .. } = postgres.decisions[reservation] {
                    postgres.returned[reservation] = true;
                    postgres.stocked[sku] += units[0];
                    postgres.version[sku] += 1;
                    next.returning = Returning::Booked;
                    steps.perhaps(label, next);
                }
            }
            Returning::Booked => {
                let (stocked, version) = (postgres.stocked[sku], postgres.version[sku]);
                let (units, back) = self.bought(postgres, want.user, sku);
                next.returning = Returning::Read { stocked, version, back, units };
                steps.bound(label.does("read from postgres"), next);
            }
            Returning::Read { stocked, version, back, units } => {
                if state.redis.open(sku) {
                    let stock = &mut next.redis.skus[sku];
                    self.give_back(stock, reservation, (stocked, version), back, units);
                    next.returning = Returning::Booked;
                    self.crash(next, label.does("applied, then a crash before the mark"), steps);
                    next.returning = Returning::Over;
                    steps.bound(label.does("applied and marked as done"), next);
                }
            }
            Returning::Over => {}
        }
    }
}
