//! What makes Redis right again after a loss: the rebuild R1 to R4, which makes the buyers anew,
//! and the closing of a new incarnation. One rebuild at a time here; that several may overlap is
//! the business of the reservation model.

use super::Buyers;
use super::state::{
    Buyer, Decision, Hold, RESERVATIONS, RebuildPhase, Rebuilding, SKUS, State, Stock, USERS,
};
use crate::incarnation::{Closing, Effect, Incarnation};
use crate::search::{Label, Steps};

impl Buyers {
    /// The rebuilder.
    pub(super) fn rebuild_steps(&self, state: &State, steps: &mut Steps<State>) {
        let work = state.rebuilding;
        let label = Label::new("rebuilder", 0, "R1 bumps the epoch");
        let mut next = *state;
        let connected = work.incarnation == state.redis.incarnation;
        match work.phase {
            RebuildPhase::Idle => return self.begin(state, label, steps),
            _ if !connected => {
                next.rebuilding = Rebuilding::default();
                steps.bound(label.does("loses its connection"), next);
            }
            RebuildPhase::List => {
                next.rebuilding.phase = RebuildPhase::Decide;
                for sku in (0..SKUS).filter(|sku| work.scope[*sku]) {
                    let records = state.redis.skus[sku].records;
                    next.rebuilding.listed[sku] = records.map(|record| record.live());
                }
                steps.bound(label.does("R2 lists live holds"), next);
            }
            RebuildPhase::Decide => {
                next.rebuilding.phase = RebuildPhase::Apply;
                let decided = state.postgres.decisions.map(|row| row != Decision::None);
                for listed in &mut next.rebuilding.listed {
                    *listed = std::array::from_fn(|number| listed[number] && decided[number]);
                }
                for sku in (0..SKUS).filter(|sku| work.scope[*sku]) {
                    next.redis.skus[sku].staged = work.epoch[sku];
                }
                steps.bound(label.does("R3 reads their decisions, stages the buyers"), next);
            }
            RebuildPhase::Apply => {
                self.lapse(state, label, steps);
                next.rebuilding = Rebuilding::default();
                let applied = self.apply(&mut next, &work);
                let action = if applied { "R4 applies" } else { "R4 is refused" };
                steps.bound(label.does(action), next);
            }
        }
        let mut dead = *state;
        dead.rebuilding = Rebuilding::default();
        self.crash(dead, label, steps);
    }

    fn begin(&self, state: &State, label: Label, steps: &mut Steps<State>) {
        let wrong = |sku: &usize| {
            let stock = &state.redis.skus[*sku];
            !stock.present || !stock.ready || stock.epoch < state.postgres.epoch[*sku]
        };
        if self.bounds.lazy {
            for wrong in (0..self.skus).filter(|sku| state.redis.blessed && wrong(sku)) {
                let next = self.begun(state, std::array::from_fn(|sku| sku == wrong));
                steps.bound(label, next);
            }
            return;
        }
        let all = self.begun(state, std::array::from_fn(|sku| sku < self.skus));
        if !state.redis.blessed || (0..self.skus).any(|sku| wrong(&sku)) {
            steps.bound(label, all);
        } else if state.faults.forced > 0 {
            let mut next = all;
            next.faults.forced -= 1;
            steps.perhaps(label.does("R1 bumps the epoch, forced by an operator"), next);
        }
    }

    /// R1: one function of several statements, which reads the figures after the bump.
    fn begun(&self, state: &State, scope: [bool; SKUS]) -> State {
        let mut next = *state;
        let mut work = Rebuilding {
            phase: RebuildPhase::List,
            incarnation: state.redis.incarnation,
            scope,
            ..Rebuilding::default()
        };
        for sku in (0..SKUS).filter(|sku| scope[*sku]) {
            next.postgres.epoch[sku] += 1;
            work.epoch[sku] = next.postgres.epoch[sku];
            work.sold[sku] = next.postgres.sold[sku];
            work.stocked[sku] = next.postgres.stocked[sku];
            work.version[sku] = next.postgres.version[sku];
            for user in 0..USERS {
                let (bought, back) = self.bought(&next.postgres, user, sku);
                work.bought[sku][user] = bought;
                work.back[sku][user] = back;
            }
        }
        next.rebuilding = work;
        next
    }

    /// The key with the staged buyers has a lifetime, and a stalled rebuild may outlive it.
    fn lapse(&self, state: &State, label: Label, steps: &mut Steps<State>) {
        if state.faults.lapses > 0 {
            let mut next = *state;
            next.faults.lapses -= 1;
            for stock in &mut next.redis.skus {
                stock.staged = 0;
            }
            steps.perhaps(label.does("stalls until the staged buyers lapse"), next);
        }
    }

    /// R4 for every SKU of the scope, or for none when one of them refuses.
    fn apply(&self, state: &mut State, work: &Rebuilding) -> bool {
        let mut skus = state.redis.skus;
        for sku in (0..SKUS).filter(|sku| work.scope[*sku]) {
            let known = work.bought[sku].iter().any(|bought| *bought > 0);
            let missing = known && skus[sku].staged != work.epoch[sku];
            if work.epoch[sku] <= skus[sku].epoch || missing && self.rules.staged_counted {
                return false;
            }
            self.rebuild(&mut skus[sku], sku, work, &state.postgres.decisions);
        }
        state.redis.skus = skus;
        state.redis.blessed |= !self.bounds.lazy;
        true
    }

    fn rebuild(
        &self,
        stock: &mut Stock,
        sku: usize,
        work: &Rebuilding,
        decisions: &[Decision; RESERVATIONS],
    ) {
        for (reservation, record) in stock.records.iter_mut().enumerate() {
            if work.listed[sku][reservation] && record.live() {
                let sold = decisions[reservation].sold();
                record.hold = if sold { Hold::Sold } else { Hold::Ended };
                record.due = false;
            }
        }
        if work.version[sku] >= stock.version {
            stock.stocked = work.stocked[sku];
            stock.version = work.version[sku];
        }
        stock.present = true;
        stock.ready = true;
        stock.epoch = work.epoch[sku];
        stock.sold = work.sold[sku];
        stock.held = stock.records.iter().filter(|it| it.live()).map(|it| it.units).sum();
        stock.avail = stock.stocked - stock.sold - stock.held;
        for user in 0..USERS {
            let figures = match stock.staged == work.epoch[sku] {
                true => (work.bought[sku][user], work.back[sku][user]),
                false => (0, 0),
            };
            stock.buyers[user] = self.rebuilt_buyer(stock, user, figures);
        }
        stock.staged = 0;
    }

    /// The entry of a buyer, from the records and from what Postgres knows.
    fn rebuilt_buyer(&self, stock: &Stock, user: usize, (bought, back): (i8, i8)) -> Buyer {
        let mut buyer = stock.buyers[user];
        if !self.rules.buyers_rebuilt {
            return buyer;
        }
        let records = || {
            let owned = self.bounds.wants.iter().zip(&stock.records).enumerate();
            owned.filter(|(_, (want, record))| want.user == user && record.live())
        };
        let pinned = records().find(|(_, (_, record))| record.hold == Hold::Pinned);
        let slot = pinned.or_else(|| records().next());
        buyer.slot = slot.map(|(reservation, _)| reservation as u8);
        buyer.live = records().map(|(_, (_, record))| record.units).sum();
        if self.rules.bought_reloaded {
            buyer.bought = bought;
            buyer.back = buyer.back.max(back);
        }
        buyer
    }

    /// The process that closes a new incarnation and blesses it.
    pub(super) fn closing_steps(&self, state: &State, steps: &mut Steps<State>) {
        let incarnation = Incarnation {
            current: state.redis.incarnation,
            blessed: state.redis.blessed,
            skus: self.skus,
            close_first: true,
        };
        let Some((closing, effect, action)) = incarnation.step(state.closing) else {
            return;
        };
        let label = Label::new("closer", 0, action);
        let mut next = *state;
        next.closing = closing;
        match effect {
            Effect::None => {}
            Effect::Close(sku) => next.redis.skus[sku].ready = false,
            Effect::Bless => next.redis.blessed = true,
        }
        steps.bound(label, next);
        let mut dead = *state;
        dead.closing = Closing::Idle;
        self.crash(dead, label, steps);
    }
}
