//! The steps of confirm (pin, decide in Postgres, settle) and of the recovery of pins in doubt.
//! Every step may be the last one of its process, and a call to Postgres may land after its
//! process is dead.

use super::Reservations;
use super::scripts::PinAnswer;
use super::state::{
    Answer, Attempt, ConfirmPhase, Decision, Hold, Recovering, ReservePhase, State,
};
use crate::search::{Label, Steps};

/// One confirm call: which one, and the state it stands in.
struct Call<'a> {
    state: &'a State,
    reservation: usize,
    number: usize,
    label: Label,
}

impl Call<'_> {
    fn attempt(&self) -> Attempt {
        self.state.attempts[self.reservation][self.number]
    }

    /// `state` with this call moved to where `attempt` says.
    fn moved(&self, mut state: State, attempt: Attempt) -> State {
        state.attempts[self.reservation][self.number] = attempt;
        state
    }

    /// `state` with this call over.
    fn over(&self, state: State) -> State {
        self.moved(state, at(ConfirmPhase::Over, 0))
    }

    fn crash(&self, action: &'static str, steps: &mut Steps<State>) {
        steps.perhaps(self.label.does(action), self.over(*self.state));
    }
}

/// A call that stands at `phase` and knows nothing but how often it has tried.
fn at(phase: ConfirmPhase, tries: u8) -> Attempt {
    Attempt { phase, tries, ..Attempt::default() }
}

fn settling(decision: Decision, tries: u8) -> Attempt {
    Attempt { answer: Answer::Decided(decision), ..at(ConfirmPhase::Settling, tries) }
}

impl Reservations {
    /// All confirm calls of a reservation.
    pub(super) fn confirm_steps(
        &self,
        state: &State,
        reservation: usize,
        steps: &mut Steps<State>,
    ) {
        for number in 0..self.bounds.confirm_calls[reservation] {
            let label = Label::new(CONFIRM[number], reservation, "starts");
            let call = Call { state, reservation, number, label };
            let attempts = &state.attempts[reservation];
            match call.attempt().phase {
                ConfirmPhase::Idle => {
                    // Calls that have not begun are alike; only the first of them may begin.
                    let first = number == 0 || attempts[number - 1] != attempts[number];
                    if first && state.reserving[reservation].phase != ReservePhase::Never {
                        let next = call.moved(*state, at(ConfirmPhase::Pinning, 0));
                        steps.bound(label, next);
                    }
                }
                ConfirmPhase::Pinning => self.pin_line(&call, steps),
                ConfirmPhase::Pinned => self.send(&call, steps),
                ConfirmPhase::InFlight | ConfirmPhase::Orphaned => self.decide(&call, steps),
                ConfirmPhase::Answered => self.obey(&call, steps),
                ConfirmPhase::NotThere => self.look_up(&call, steps),
                ConfirmPhase::Settling => self.settle_line(&call, steps),
                ConfirmPhase::Over => {}
            }
        }
    }

    fn pin_line(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let lines = self.bounds.lines[call.reservation];
        let mut attempt = call.attempt();
        let line = attempt.line as usize;
        if self.open(call.state, lines[line]) {
            let mut next = *call.state;
            match self.pin(&mut next.redis.skus[lines[line]], call.reservation) {
                PinAnswer::Pinned { token, epoch } => {
                    attempt.tokens[line] = token;
                    attempt.epochs[line] = epoch;
                    attempt.line += 1;
                    if attempt.line as usize == lines.len() {
                        attempt.line = 0;
                        attempt.phase = ConfirmPhase::Pinned;
                    }
                    steps.bound(call.label.does("line pinned"), call.moved(next, attempt));
                }
                PinAnswer::NotThere => {
                    let lost = at(ConfirmPhase::NotThere, attempt.tries);
                    steps.bound(call.label.does("line not there"), call.moved(next, lost));
                }
            }
        }
        call.crash("crashes before the pin", steps);
    }

    fn send(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let sent = Attempt { phase: ConfirmPhase::InFlight, ..call.attempt() };
        steps.bound(call.label.does("calls postgres"), call.moved(*call.state, sent));
        call.crash("crashes after the pin", steps);
        if !self.rules.keep_pin {
            let mut next = *call.state;
            for sku in self.bounds.lines[call.reservation] {
                let open = self.open(&next, *sku);
                let record = &mut next.redis.skus[*sku].records[call.reservation];
                if open && record.hold == Hold::Pinned {
                    record.hold = Hold::Held;
                    record.due = false;
                }
            }
            steps.perhaps(call.label.does("waits too long and unpins"), call.over(next));
        }
    }

    fn decide(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let attempt = call.attempt();
        let mut next = *call.state;
        let answer = self.confirm(&mut next, call.reservation, &attempt);
        if attempt.phase == ConfirmPhase::Orphaned {
            steps.bound(call.label.does("late call decides"), call.over(next));
            steps.bound(call.label.does("late call is dropped"), call.over(*call.state));
        } else {
            let action = match answer {
                Answer::None | Answer::Stale => "postgres says stale",
                Answer::Decided(decision) if decision.sold() => "postgres says confirmed",
                Answer::Decided(_) => "postgres says aborted",
            };
            let answered = Attempt { answer, ..at(ConfirmPhase::Answered, attempt.tries) };
            steps.bound(call.label.does(action), call.moved(next, answered));
            let orphan = Attempt { phase: ConfirmPhase::Orphaned, ..attempt };
            let next = call.moved(*call.state, orphan);
            steps.perhaps(call.label.does("crashes, its call still on the way"), next);
        }
    }

    fn obey(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let attempt = call.attempt();
        match attempt.answer {
            Answer::Decided(decision) => {
                let next = call.moved(*call.state, settling(decision, attempt.tries));
                steps.bound(call.label.does("begins to settle"), next);
            }
            Answer::None | Answer::Stale if attempt.tries + 1 < self.bounds.tries => {
                let again = at(ConfirmPhase::Pinning, attempt.tries + 1);
                steps.bound(call.label.does("pins again"), call.moved(*call.state, again));
            }
            Answer::None | Answer::Stale => {
                steps.bound(call.label.does("answers unknown"), call.over(*call.state));
            }
        }
        call.crash("crashes before it settles", steps);
    }

    /// No record to pin: the decision row knows, and for carts the fence must write it.
    fn look_up(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let reservation = call.reservation;
        let mut next = *call.state;
        if let &[sku] = self.bounds.lines[reservation]
            && self.rules.absent_writes_nothing
            && next.postgres.decisions[reservation] == Decision::None
        {
            let record = next.redis.skus[sku].records[reservation];
            next.told[reservation].gone |= record.hold == Hold::Released;
            steps.bound(call.label.does("finds nothing"), call.over(next));
            return;
        }
        let decision = self.fence(&mut next, reservation);
        let next = call.moved(next, settling(decision, call.attempt().tries));
        steps.bound(call.label.does("fences and reads the decision"), next);
        call.crash("crashes before the fence", steps);
    }

    fn settle_line(&self, call: &Call<'_>, steps: &mut Steps<State>) {
        let lines = self.bounds.lines[call.reservation];
        let mut attempt = call.attempt();
        let Answer::Decided(decision) = attempt.answer else {
            return;
        };
        let mut next = *call.state;
        self.settle_open(&mut next, call.reservation, attempt.line as usize, decision);
        attempt.line += 1;
        if (attempt.line as usize) < lines.len() {
            steps.bound(call.label.does("settles a line"), call.moved(next, attempt));
        } else {
            let told = &mut next.told[call.reservation];
            told.confirmed |= decision.sold();
            told.gone |= !decision.sold();
            steps.bound(call.label.does("settles and answers"), call.over(next));
        }
        call.crash("crashes while it settles", steps);
    }

    /// Settle where the script may run; elsewhere the rebuild or the recovery does it later.
    fn settle_open(&self, state: &mut State, reservation: usize, line: usize, decision: Decision) {
        let sku = self.bounds.lines[reservation][line];
        if self.open(state, sku) {
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
        let label = Label::new("recovery", reservation, "finds a pin");
        let lines = self.bounds.lines[reservation];
        let mut next = *state;
        match state.recovering[reservation] {
            Recovering::Idle => {
                let pinned = |sku: &usize| {
                    let record = state.redis.skus[*sku].records[reservation];
                    record.hold == Hold::Pinned && self.open(state, *sku)
                };
                if self.rules.pin && lines.iter().any(pinned) {
                    next.recovering[reservation] = Recovering::Fencing;
                    steps.bound(label, next);
                }
                return;
            }
            Recovering::Fencing => {
                let decision = self.fence(&mut next, reservation);
                next.recovering[reservation] = Recovering::Settling { decision, line: 0 };
                steps.bound(label.does("fences and reads the decision"), next);
            }
            Recovering::Settling { decision, line } => {
                self.settle_open(&mut next, reservation, line as usize, decision);
                let line = line + 1;
                let more = (line as usize) < lines.len();
                next.recovering[reservation] = match more {
                    true => Recovering::Settling { decision, line },
                    false => Recovering::Idle,
                };
                steps.bound(label.does("settles a line"), next);
            }
        }
        let mut dead = *state;
        dead.recovering[reservation] = Recovering::Idle;
        steps.perhaps(label.does("crashes"), dead);
    }
}

/// What the calls of one reservation are called.
const CONFIRM: [&str; 2] = ["confirm", "second confirm"];
