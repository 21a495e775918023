//! The Postgres functions, each one transaction and so one step.

use super::Reservations;
use super::state::{Answer, Attempt, Decision, SKUS, State};

impl Reservations {
    /// The confirm function, in the order of the protocol: decision, epochs, stock, insert.
    pub(super) fn confirm(&self, state: &mut State, reservation: usize, call: &Attempt) -> Answer {
        let skus = self.bounds.lines[reservation];
        let postgres = &mut state.postgres;
        let decision = postgres.decisions[reservation];
        if decision != Decision::None {
            return Answer::Decided(decision);
        }
        let old = |(line, sku): (usize, &usize)| postgres.epoch[*sku] != call.epochs[line];
        if self.rules.epoch_check && skus.iter().enumerate().any(old) {
            return Answer::Stale;
        }
        let full = |sku: &usize| postgres.sold[*sku] + 1 > postgres.stocked[*sku];
        let decision = if self.rules.stock_guard && skus.iter().any(full) {
            state.told[reservation].sold_out_without_loss |= !state.faults.lost;
            Decision::Aborted
        } else {
            for sku in skus {
                postgres.sold[*sku] += 1;
            }
            Decision::Confirmed(call.tokens)
        };
        postgres.decisions[reservation] = decision;
        Answer::Decided(decision)
    }

    /// The fence: writes ABORTED unless a decision exists, and answers what stands there.
    pub(super) fn fence(&self, state: &mut State, reservation: usize) -> Decision {
        let decision = &mut state.postgres.decisions[reservation];
        if *decision != Decision::None {
            return *decision;
        }
        if self.rules.fence {
            *decision = Decision::Aborted;
        }
        Decision::Aborted
    }

    /// The first step of a rebuild: no confirm with an older epoch can commit any more.
    pub(super) fn bump(&self, state: &mut State, scope: [bool; SKUS]) {
        if !self.rules.epoch_check {
            return;
        }
        for (epoch, covered) in state.postgres.epoch.iter_mut().zip(scope) {
            *epoch += u8::from(covered);
        }
    }
}
