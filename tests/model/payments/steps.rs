//! Opening, ending, executing; the rival; recovery; rebuilds; what may go wrong.

use super::redis::{Record, Redis, live, token};
use super::{
    Ask, Deadline, Decision, Execute, Opening, PAYER, Page, Payments, RIDS, RIVAL, Rebuild, Rival,
    State,
};
use crate::search::{Label, Steps};

/// Adds the end of an actor's process at this step, if one may still die.
pub(super) fn crash(state: &State, label: Label, steps: &mut Steps<State>, after: State) {
    if state.crashes > 0 {
        steps.perhaps(label.does("dies"), State { crashes: state.crashes - 1, ..after });
    }
}

impl Payments {
    fn short(&self, state: &State) -> bool {
        let pending = if self.counts { state.pending } else { 0 };
        state.sold + pending >= self.stock
    }

    /// One SQL call. False: stale.
    fn open_payment(&self, state: &mut State, token: u8, epoch: u8) -> bool {
        if state.decisions[PAYER] != Decision::None {
            return true;
        }
        if epoch != state.epoch {
            return false;
        }
        if self.short(state) {
            state.decisions[PAYER] = Decision::Aborted;
        } else {
            state.decisions[PAYER] = Decision::Pending(token);
            state.pending += i8::from(self.counts);
        }
        true
    }

    pub(super) fn open(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("checkout", 0, "goes on");
        let mut next = *state;
        let over = State { opening: Opening::Over, ..*state };
        match state.opening {
            Opening::Idle => {
                if !state.redis.open {
                    return;
                }
                let fresh = Record::Held(token(state, PAYER));
                let mut held = *state;
                if held.redis.take(PAYER, fresh) {
                    return steps.perhaps(label.does("holds the unit"), held);
                }
                next.opening = match next.redis.pin(PAYER) {
                    Some(token) => Opening::Open { token, epoch: state.redis.epoch },
                    None => return,
                };
                return steps.perhaps(label.does("pins"), next);
            }
            Opening::Open { token, epoch } => {
                let fresh = self.open_payment(&mut next, token, epoch);
                next.opening = match (fresh, next.decisions[PAYER]) {
                    (true, Decision::Pending(_)) => Opening::Create,
                    _ => Opening::Over,
                };
                let flying = State { opening: Opening::OpenInFlight { token, epoch }, ..*state };
                crash(state, label, steps, flying);
            }
            Opening::OpenInFlight { token, epoch } => {
                self.open_payment(&mut next, token, epoch);
                next.opening = Opening::Over;
                steps.bound(label.does("lands after all"), next);
                return steps.bound(label.does("is dropped"), over);
            }
            Opening::Create => {
                next.page = if state.page == Page::None { Page::Open } else { state.page };
                next.opening = Opening::Attach;
                let flying = State { opening: Opening::CreateInFlight, ..*state };
                crash(state, label, steps, flying);
                crash(state, label, steps, over);
            }
            Opening::CreateInFlight => {
                next.page = if state.page == Page::None { Page::Open } else { state.page };
                next.opening = Opening::Over;
                steps.bound(label.does("creates after all"), next);
                return steps.bound(label.does("is dropped"), over);
            }
            Opening::Attach => {
                let dead = state.decisions[PAYER] == Decision::Aborted;
                if self.create_fence && dead && state.page == Page::Open {
                    next.page = Page::Expired;
                }
                next.opening = Opening::Over;
                crash(state, label, steps, over);
            }
            Opening::Over => return,
        }
        steps.bound(label, next);
    }

    pub(super) fn end(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("deadline", 0, "goes on");
        let mut next = *state;
        match state.deadline {
            Deadline::Idle => {
                if !matches!(state.decisions[PAYER], Decision::Pending(_)) {
                    return;
                }
                next.deadline = Deadline::Ask;
            }
            Deadline::Ask => {
                let mut paid = state.page == Page::Paid;
                if self.ask == Ask::End && !self.bkash {
                    let unknown = state.page == Page::None && self.create_fence;
                    if state.page == Page::Open || unknown {
                        next.page = Page::Expired;
                    }
                }
                paid &= self.ask != Ask::Nothing;
                next.deadline = if paid { Deadline::Idle } else { Deadline::Dead };
            }
            Deadline::Dead => {
                if matches!(state.decisions[PAYER], Decision::Pending(_)) {
                    next.decisions[PAYER] = Decision::Aborted;
                    next.pending -= i8::from(self.counts);
                }
                next.deadline = Deadline::Settle;
                crash(state, label, steps, State { deadline: Deadline::Idle, ..*state });
            }
            Deadline::Settle => {
                if state.redis.open {
                    next.redis.settle(PAYER, state.decisions[PAYER]);
                }
                next.deadline = Deadline::Idle;
                crash(state, label, steps, State { deadline: Deadline::Idle, ..*state });
            }
        }
        steps.bound(label, next);
    }

    /// bKash: the buyer comes back. Only this call moves money.
    pub(super) fn execute(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("callback", 0, "goes on");
        let mut next = *state;
        let landed = if state.page == Page::Released { Page::Paid } else { state.page };
        match state.execute {
            Execute::Idle => {
                let open = matches!(state.decisions[PAYER], Decision::Pending(_));
                if !open || !matches!(state.page, Page::Open | Page::Released) {
                    return;
                }
                next.execute = Execute::Claim;
                return steps.perhaps(label.does("reads that the payment is open"), next);
            }
            Execute::Claim => {
                let open = matches!(state.decisions[PAYER], Decision::Pending(_));
                if self.claim && !open {
                    next.execute = Execute::Over;
                } else {
                    next.claimed = self.claim;
                    next.execute = Execute::Send;
                }
                crash(state, label, steps, State { execute: Execute::Over, ..*state });
            }
            Execute::Send => {
                next.page = landed;
                next.execute = Execute::Over;
                crash(state, label, steps, State { execute: Execute::InFlight, ..*state });
            }
            Execute::InFlight => {
                next.page = landed;
                next.execute = Execute::Over;
                steps.bound(label.does("executes after all"), next);
                let over = State { execute: Execute::Over, ..*state };
                return steps.bound(label.does("is dropped"), over);
            }
            Execute::Over => return,
        }
        steps.bound(label, next);
    }

    pub(super) fn rival(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("rival", 0, "goes on");
        let mut next = *state;
        match state.rival {
            Rival::Idle => {
                let fresh = Record::Held(token(state, RIVAL));
                if !state.redis.open || !next.redis.take(RIVAL, fresh) {
                    return;
                }
                next.rival = Rival::Held;
                return steps.perhaps(label.does("holds the unit"), next);
            }
            Rival::Held => {
                if !state.redis.open {
                    return;
                }
                next.rival = match next.redis.pin(RIVAL) {
                    Some(token) => Rival::Confirm { token, epoch: state.redis.epoch },
                    None => Rival::Over,
                };
                return steps.perhaps(label.does("pins"), next);
            }
            Rival::Confirm { token, epoch } => {
                if state.decisions[RIVAL] == Decision::None && epoch == state.epoch {
                    if self.short(state) {
                        next.decisions[RIVAL] = Decision::Aborted;
                        next.broken = !state.lost;
                    } else {
                        next.decisions[RIVAL] = Decision::Confirmed(token);
                        next.sold += 1;
                    }
                }
                next.rival = Rival::Settle;
                crash(state, label, steps, State { rival: Rival::Over, ..*state });
            }
            Rival::Settle => {
                if state.redis.open {
                    next.redis.settle(RIVAL, state.decisions[RIVAL]);
                }
                next.rival = Rival::Over;
            }
            Rival::Over => return,
        }
        steps.bound(label, next);
    }

    /// Holds run out; pins in doubt are decided, and what is decided is applied.
    pub(super) fn recover(&self, state: &State, steps: &mut Steps<State>) {
        if !state.redis.open {
            return;
        }
        for rid in 0..RIDS {
            let mut next = *state;
            match (state.redis.records[rid], state.decisions[rid]) {
                (Record::Held(_), _) => {
                    next.redis.release(rid);
                    steps.bound(Label::new("hold", rid, "expires"), next);
                }
                (Record::Pinned(_), Decision::None) => {
                    next.decisions[rid] = Decision::Aborted;
                    next.redis.settle(rid, Decision::Aborted);
                    steps.bound(Label::new("recovery", rid, "fences"), next);
                }
                (Record::Pinned(_), Decision::Pending(_)) if !self.fence_leaves_payments => {
                    next.decisions[rid] = Decision::Aborted;
                    next.pending -= i8::from(self.counts);
                    next.redis.settle(rid, Decision::Aborted);
                    steps.bound(Label::new("recovery", rid, "fences a payment"), next);
                }
                (Record::Pinned(_), Decision::Pending(_)) => {}
                (Record::Pinned(_), decision) => {
                    next.redis.settle(rid, decision);
                    steps.bound(Label::new("recovery", rid, "settles"), next);
                }
                (Record::Absent | Record::Sold(_) | Record::Ended(_), _) => {}
            }
        }
    }

    pub(super) fn rebuild(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("rebuild", 0, "goes on");
        let mut next = *state;
        match state.rebuild {
            Rebuild::Idle => {
                let needed = !state.redis.open || state.redis.epoch < state.epoch;
                let forced = self.forced && state.disturbances > 0;
                next.epoch += 1;
                let pending = match state.decisions[PAYER] {
                    Decision::Pending(token) if self.restore => Some(token),
                    _ => None,
                };
                next.rebuild = Rebuild::Begun { epoch: next.epoch, sold: state.sold, pending };
                if needed {
                    steps.bound(label.does("begins"), next);
                } else if forced {
                    next.disturbances -= 1;
                    steps.perhaps(label.does("is forced"), next);
                }
                return;
            }
            Rebuild::Begun { epoch, sold, pending } => {
                let decided = state.decisions;
                next.rebuild = Rebuild::Read { epoch, sold, pending, decided };
            }
            Rebuild::Read { epoch, sold, pending, decided } => {
                if epoch > state.redis.epoch {
                    self.apply(&mut next.redis, epoch, sold, pending, &decided);
                }
                next.rebuild = Rebuild::Idle;
            }
        }
        steps.bound(label, next);
        crash(state, label, steps, State { rebuild: Rebuild::Idle, ..*state });
    }

    fn apply(
        &self,
        redis: &mut Redis,
        epoch: u8,
        sold: i8,
        pending: Option<u8>,
        decided: &[Decision; RIDS],
    ) {
        for (record, decision) in redis.records.iter_mut().zip(decided) {
            if let Record::Held(token) | Record::Pinned(token) = *record {
                match decision {
                    Decision::Confirmed(_) => *record = Record::Sold(token),
                    Decision::Aborted => *record = Record::Ended(token),
                    Decision::None | Decision::Pending(_) => {}
                }
            }
        }
        if let Some(token) = pending {
            let ended = matches!(redis.records[PAYER],
                Record::Sold(known) | Record::Ended(known) if known == token);
            if !(ended && self.keep_ended) {
                redis.records[PAYER] = Record::Pinned(token);
            }
        }
        redis.held = redis.records.iter().filter(|record| live(**record)).count() as i8;
        redis.sold = sold;
        redis.avail = self.stock - sold - redis.held;
        (redis.epoch, redis.known, redis.open) = (epoch, true, true);
    }

    /// Redis goes back in time, or is emptied. A rebuild that was under way has lost its connection.
    pub(super) fn disturb(&self, state: &State, steps: &mut Steps<State>) {
        if state.disturbances == 0 {
            return;
        }
        let disturbed = State {
            disturbances: state.disturbances - 1,
            rebuild: Rebuild::Idle,
            kept: None,
            lost: true,
            ..*state
        };
        if self.wipe {
            let redis = Redis::default();
            steps.perhaps(Label::new("redis", 0, "is emptied"), State { redis, ..disturbed });
        }
        if self.rollback {
            match state.kept {
                None => {
                    let kept = Some(state.redis);
                    steps.perhaps(
                        Label::new("redis", 0, "writes its log"),
                        State { kept, ..*state },
                    );
                }
                Some(kept) if kept != state.redis => {
                    let redis = Redis { open: false, ..kept };
                    steps
                        .perhaps(Label::new("redis", 0, "goes back"), State { redis, ..disturbed });
                }
                Some(_) => {}
            }
        }
    }
}
