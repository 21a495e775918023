//! What stands beside the core: the buyer hash with slot, cap and returns, quantities and their
//! changes, and requests for several products.
//!
//! Every script and every SQL function is one step; everything else interleaves, as in the
//! `reservation` model, whose rules are all on here. Reservation ids are random, one for each run.
//! Payments and stock taken out are not in it yet; they will add records without a slot and open
//! decisions.

mod confirming;
mod invariants;
mod loss;
mod postgres;
mod rebuilding;
mod reserving;
pub(crate) mod rules;
mod scripts;
pub(crate) mod state;

use rules::{Bounds, Rules};
use state::{Faults, Postgres, Redis, Run, SKUS, State, Stock};

use crate::search::{Label, Model, Steps};
use crate::violation::Violation;

/// The model: which rules are on, and how much may happen.
pub(crate) struct Buyers {
    rules: Rules,
    bounds: Bounds,
    skus: usize,
}

impl Buyers {
    /// A search with these rules and bounds.
    pub(crate) fn new(rules: Rules, bounds: Bounds) -> Self {
        let lines = bounds.wants.iter().flat_map(|want| want.lines);
        let skus = lines.map(|line| line.0 + 1).max().unwrap_or(0);
        Self { rules, bounds, skus }
    }

    /// A process may die here, if another death is within the bounds.
    fn crash(&self, mut dead: State, label: Label, steps: &mut Steps<State>) {
        if dead.faults.crashes > 0 {
            dead.faults.crashes -= 1;
            steps.perhaps(label.does("crashes"), dead);
        }
    }

    fn filled(&self) -> [Stock; SKUS] {
        let mut skus = [Stock::default(); SKUS];
        for (stock, stocked) in skus.iter_mut().zip(self.bounds.stock).take(self.skus) {
            *stock = Stock {
                present: true,
                ready: true,
                avail: stocked,
                stocked,
                epoch: 1,
                ..Stock::default()
            };
        }
        skus
    }
}

impl Model for Buyers {
    type State = State;

    fn initial(&self) -> State {
        let bounds = &self.bounds;
        let mut runs = [Run::default(); state::RUNS];
        for (run, (_, calls_left)) in runs.iter_mut().zip(bounds.runs) {
            run.calls_left = *calls_left;
        }
        State {
            redis: Redis { incarnation: 0, blessed: true, skus: self.filled() },
            saved: None,
            postgres: Postgres {
                epoch: [1; SKUS],
                sold: [0; SKUS],
                stocked: bounds.stock,
                version: [0; SKUS],
                decisions: Default::default(),
                returned: Default::default(),
            },
            runs,
            attempts: Default::default(),
            cancelling: Default::default(),
            recovering: Default::default(),
            returning: Default::default(),
            rebuilding: Default::default(),
            closing: Default::default(),
            told: Default::default(),
            faults: Faults {
                rollbacks: bounds.rollbacks,
                wipes: bounds.wipes,
                flushes: bounds.flushes,
                lapses: bounds.lapses,
                forced: bounds.forced,
                crashes: bounds.crashes,
                lost: false,
            },
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for number in 0..self.bounds.runs.len() {
            self.run_steps(state, number, steps);
        }
        for reservation in self.bounds.confirms {
            self.confirm_steps(state, *reservation, steps);
        }
        for reservation in self.bounds.cancels {
            self.cancel_steps(state, *reservation, steps);
        }
        if let Some(reservation) = self.bounds.given_back {
            self.return_steps(state, reservation, steps);
        }
        for reservation in 0..self.bounds.wants.len() {
            self.recovery_steps(state, reservation, steps);
        }
        for sku in 0..self.skus {
            self.expiry_steps(state, sku, steps);
        }
        self.rebuild_steps(state, steps);
        if self.bounds.lazy {
            self.closing_steps(state, steps);
        }
        self.loss_steps(state, steps);
    }

    fn broken(&self, state: &State) -> Option<Violation> {
        self.first(invariants::ALWAYS, state)
    }

    fn unsettled(&self, state: &State) -> Option<Violation> {
        self.first(invariants::AT_REST, state)
    }
}
