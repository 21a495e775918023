//! The reservation protocol: holds in Redis, decisions in Postgres, and everything that may happen
//! in between.
//!
//! Every script and every SQL function is one step; everything else interleaves: a crash between
//! any two steps, calls to Postgres that land late or never, lost and repeated events, holds that
//! become due at any time, Redis going back or coming back empty, several rebuilds at once, client
//! retries. Quantities are one unit; buyers, quantities and caps are in the `buyers` model.

mod closing;
mod confirming;
mod faults;
mod holding;
mod invariants;
mod postgres;
mod rebuilding;
pub(crate) mod rules;
mod scripts;
pub(crate) mod state;

use rules::{Bounds, Rules};
use state::{CLOSERS, Postgres, REBUILDERS, RESERVATIONS, Redis, Reserving, SKUS, State, Stock};

use crate::search::{Model, Steps};
use crate::violation::Violation;

/// The model: which rules are on, and how much may happen.
pub(crate) struct Reservations {
    rules: Rules,
    bounds: Bounds,
    skus: usize,
}

impl Reservations {
    /// A search with these rules and bounds.
    pub(crate) fn new(rules: Rules, bounds: Bounds) -> Self {
        let last = bounds.lines.iter().flat_map(|lines| lines.iter()).max();
        Self { rules, bounds, skus: last.map_or(0, |last| last + 1) }
    }

    fn open(&self, state: &State, sku: usize) -> bool {
        state.redis.open(sku, self.rules.incarnation_check)
    }
}

impl Model for Reservations {
    type State = State;

    fn initial(&self) -> State {
        let bounds = &self.bounds;
        let mut skus = [Stock::default(); SKUS];
        for (stock, stocked) in skus.iter_mut().zip(bounds.stock).take(self.skus) {
            *stock = Stock {
                present: true,
                ready: true,
                avail: stocked,
                stocked,
                epoch: 1,
                ..Stock::default()
            };
        }
        State {
            redis: Redis { incarnation: 0, blessed: true, skus },
            saved: None,
            postgres: Postgres {
                epoch: [1; SKUS],
                sold: [0; SKUS],
                stocked: bounds.stock,
                version: [0; SKUS],
                decisions: Default::default(),
            },
            reserving: bounds
                .reserve_calls
                .map(|calls_left| Reserving { calls_left, ..Reserving::default() }),
            attempts: Default::default(),
            cancelling: bounds
                .cancel_calls
                .map(|calls_left| state::Cancelling { calls_left, half_done: false }),
            recovering: Default::default(),
            rebuilding: [Default::default(); REBUILDERS],
            closing: [Default::default(); CLOSERS],
            events: [[0; SKUS]; RESERVATIONS],
            told: Default::default(),
            restocks_left: bounds.restocks,
            restock: Default::default(),
            faults: state::Faults {
                rollbacks: bounds.rollbacks,
                wipes: bounds.wipes,
                flushes: bounds.flushes,
                forced: bounds.forced,
                forced_now: false,
                overlaps: bounds.overlaps,
                rebuild_crashes: bounds.rebuild_crashes,
                lost: false,
            },
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        for (reservation, lines) in self.bounds.lines.iter().enumerate() {
            self.reserve_steps(state, reservation, steps);
            for sku in *lines {
                self.expiry_steps(state, reservation, *sku, steps);
            }
            self.cancel_steps(state, reservation, steps);
            self.confirm_steps(state, reservation, steps);
            self.recovery_steps(state, reservation, steps);
        }
        for number in 0..self.bounds.rebuilders {
            self.rebuild_steps(state, number, steps);
        }
        for number in 0..self.bounds.closers {
            self.closing_steps(state, number, steps);
        }
        self.restock_steps(state, steps);
        self.operator_steps(state, steps);
        self.loss_steps(state, steps);
    }

    fn broken(&self, state: &State) -> Option<Violation> {
        self.first(invariants::ALWAYS, state)
    }

    fn unsettled(&self, state: &State) -> Option<Violation> {
        self.first(invariants::AT_REST, state)
    }
}
