//! The rebuild of SKUs after a loss: R1 bumps the epoch in Postgres, R2 lists the live holds, R3
//! reads their decisions, R4 writes everything anew. Any number of them may run
//! at once, and each may die anywhere.

use super::Reservations;
use super::state::{
    Decision, Hold, RESERVATIONS, RebuildPhase, Rebuilding, Record, SKUS, State, Stock,
};
use crate::search::{Label, Steps};

/// One mark per reservation, for each SKU.
type Listed = [[bool; RESERVATIONS]; SKUS];

impl Reservations {
    /// One rebuilder.
    pub(super) fn rebuild_steps(&self, state: &State, number: usize, steps: &mut Steps<State>) {
        let work = state.rebuilding[number];
        let label = Label::new("rebuilder", number, "R1 bumps the epoch");
        let connected = work.incarnation == state.redis.incarnation;
        match work.phase {
            RebuildPhase::Idle => return self.begin(state, number, label, steps),
            RebuildPhase::List | RebuildPhase::Apply if !connected => {
                let next = with(*state, number, Rebuilding::default());
                steps.bound(label.does("loses its connection"), next);
            }
            RebuildPhase::List => self.list(state, number, label, steps),
            RebuildPhase::Decide => self.read_decisions(state, number, label, steps),
            RebuildPhase::Apply => {
                let mut next = with(*state, number, Rebuilding::default());
                let applied = self.apply(&mut next, &work);
                let action = if applied { "R4 applies" } else { "R4 is refused" };
                steps.bound(label.does(action), next);
            }
        }
        if state.faults.rebuild_crashes > 0 {
            let mut next = with(*state, number, Rebuilding::default());
            next.faults.rebuild_crashes -= 1;
            steps.perhaps(label.does("crashes"), next);
        }
    }

    /// Without closers one rebuild covers all SKUs of a new incarnation; with them each SKU is
    /// rebuilt when a script answered REBUILD.
    fn begin(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let busy = state.rebuilding.iter().any(|work| work.phase != RebuildPhase::Idle);
        if busy && state.faults.overlaps == 0 {
            return;
        }
        let forced = state.faults.forced_now;
        let wrong = |sku: &usize| self.needs_rebuild(state, *sku) || forced;
        if self.bounds.closers == 0 {
            if !state.redis.blessed || (0..self.skus).any(|sku| wrong(&sku)) {
                let scope = std::array::from_fn(|sku| sku < self.skus);
                steps.bound(label, self.begun(state, number, scope));
            }
        } else if state.redis.blessed {
            for wrong in (0..self.skus).filter(wrong) {
                let scope = std::array::from_fn(|sku| sku == wrong);
                steps.bound(label, self.begun(state, number, scope));
            }
        }
    }

    /// A script answered REBUILD, or the epoch of Redis stays behind: a rebuilder died after R1.
    fn needs_rebuild(&self, state: &State, sku: usize) -> bool {
        let stock = &state.redis.skus[sku];
        !stock.present || !stock.ready || stock.epoch < state.postgres.epoch[sku]
    }

    fn begun(&self, state: &State, number: usize, scope: [bool; SKUS]) -> State {
        let mut next = *state;
        if state.rebuilding.iter().any(|other| other.phase != RebuildPhase::Idle) {
            next.faults.overlaps -= 1;
        }
        next.faults.forced_now = false;
        if self.rules.bump_before_read {
            self.bump(&mut next, scope);
        }
        let postgres = next.postgres;
        let work = Rebuilding {
            phase: RebuildPhase::List,
            incarnation: state.redis.incarnation,
            scope,
            epoch: within(scope, postgres.epoch),
            sold: within(scope, postgres.sold),
            stocked: within(scope, postgres.stocked),
            version: within(scope, postgres.version),
            listed: Listed::default(),
        };
        with(next, number, work)
    }

    fn list(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let mut next = *state;
        let work = &mut next.rebuilding[number];
        let stocks = &mut next.redis.skus;
        if self.rules.rebuild_claims && !claim(stocks, work) {
            *work = Rebuilding::default();
            steps.bound(label.does("R2 meets the claim of a younger rebuild"), next);
            return;
        }
        work.phase = RebuildPhase::Decide;
        for sku in (0..SKUS).filter(|sku| work.scope[*sku]) {
            work.listed[sku] = stocks[sku].records.map(|record| record.live());
        }
        steps.bound(label.does("R2 lists live holds"), next);
    }

    fn read_decisions(&self, state: &State, number: usize, label: Label, steps: &mut Steps<State>) {
        let mut next = *state;
        if !self.rules.bump_before_read {
            let scope = next.rebuilding[number].scope;
            self.bump(&mut next, scope);
            next.rebuilding[number].epoch = within(scope, next.postgres.epoch);
        }
        let work = &mut next.rebuilding[number];
        if self.rules.rebuild_claims && work.epoch != within(work.scope, state.postgres.epoch) {
            *work = Rebuilding::default();
            steps.bound(label.does("R3 finds a younger epoch"), next);
            return;
        }
        work.phase = RebuildPhase::Apply;
        let undecided = state.postgres.decisions.map(|row| row == Decision::None);
        for (listed, undecided) in
            work.listed.iter_mut().flat_map(|sku| sku.iter_mut().zip(undecided))
        {
            *listed &= !undecided;
        }
        steps.bound(label.does("R3 reads their decisions"), next);
    }

    /// R4 for every SKU of the scope, or for none when one of them refuses.
    fn apply(&self, state: &mut State, work: &Rebuilding) -> bool {
        let mut skus = state.redis.skus;
        for sku in (0..SKUS).filter(|sku| work.scope[*sku]) {
            if !self.may_apply(&skus[sku], work.epoch[sku]) {
                return false;
            }
            self.rebuild(&mut skus[sku], sku, work, &state.postgres.decisions);
        }
        state.redis.skus = skus;
        state.redis.blessed |= self.bounds.closers == 0;
        true
    }

    /// A missing epoch is lower than any; a missing claim fits none.
    fn may_apply(&self, stock: &Stock, epoch: u8) -> bool {
        let younger = !self.rules.epoch_check || epoch > stock.epoch;
        let claimed = !self.rules.rebuild_claims || epoch == stock.claim;
        younger && claimed
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
                let hold = if sold { Hold::Sold } else { Hold::Released };
                let tombstone = Record { hold, token: record.token, due: false };
                *record = if self.rules.tombstones { tombstone } else { Record::default() };
            }
        }
        let newer = stock.present && stock.version > work.version[sku];
        if !(newer && self.rules.rebuild_keeps_newer_stock) {
            stock.stocked = work.stocked[sku];
            stock.version = work.version[sku];
        }
        stock.present = true;
        stock.ready = true;
        stock.held = stock.records.iter().filter(|record| record.live()).count() as i8;
        stock.sold = work.sold[sku];
        stock.avail = stock.stocked - stock.sold - stock.held;
        stock.epoch = work.epoch[sku];
    }
}

/// R2 leaves the epoch of its rebuild on each SKU; false when a younger rebuild was there before.
fn claim(stocks: &mut [Stock; SKUS], work: &Rebuilding) -> bool {
    let covered = |sku: &usize| work.scope[*sku];
    if (0..SKUS).filter(covered).any(|sku| work.epoch[sku] <= stocks[sku].claim) {
        return false;
    }
    for sku in (0..SKUS).filter(covered) {
        stocks[sku].claim = work.epoch[sku];
    }
    true
}

/// The figures of the covered SKUs, nothing for the others, so that states stay comparable.
fn within<Figure: Copy + Default>(scope: [bool; SKUS], all: [Figure; SKUS]) -> [Figure; SKUS] {
    std::array::from_fn(|sku| if scope[sku] { all[sku] } else { Figure::default() })
}

fn with(mut state: State, number: usize, work: Rebuilding) -> State {
    state.rebuilding[number] = work;
    state
}
