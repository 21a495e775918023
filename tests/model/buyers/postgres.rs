//! The Postgres functions, each one transaction and so one step.

use super::Buyers;
use super::state::{Answer, Attempt, Decision, Postgres, State};

impl Buyers {
    /// Units of a SKU that a user bought, and those of them that were given back.
    pub(super) fn bought(&self, postgres: &Postgres, user: usize, sku: usize) -> (i8, i8) {
        let (mut bought, mut back) = (0, 0);
        for (reservation, want) in self.bounds.wants.iter().enumerate() {
            let line = want.lines.iter().position(|line| line.0 == sku);
            let decision = &postgres.decisions[reservation];
            if let (true, Some(line), Decision::Confirmed { units, .. }) =
                (want.user == user, line, decision)
            {
                bought += units[line];
                back += if postgres.returned[reservation] { units[line] } else { 0 };
            }
        }
        (bought, back)
    }

    /// The confirm function, in the order of the protocol: decision, epochs, stock and cap, insert.
    pub(super) fn confirm(&self, state: &mut State, reservation: usize, call: &Attempt) -> Answer {
        let want = &self.bounds.wants[reservation];
        let decision = state.postgres.decisions[reservation];
        if decision != Decision::None {
            return Answer::Decided(decision);
        }
        let mut lines = want.lines.iter().zip(call.epochs);
        if lines.any(|(line, epoch)| state.postgres.epoch[line.0] != epoch) {
            return Answer::Stale;
        }
        let decision = if self.fits(&state.postgres, reservation, call) {
            for (line, units) in want.lines.iter().zip(call.units) {
                state.postgres.sold[line.0] += units;
            }
            Decision::Confirmed { tokens: call.tokens, units: call.units }
        } else {
            state.told[reservation].refused_without_loss |= !state.faults.lost;
            Decision::Aborted
        };
        state.postgres.decisions[reservation] = decision;
        Answer::Decided(decision)
    }

    fn fits(&self, postgres: &Postgres, reservation: usize, call: &Attempt) -> bool {
        let want = &self.bounds.wants[reservation];
        want.lines.iter().zip(call.units).all(|((sku, _), units)| {
            let (bought, back) = self.bought(postgres, want.user, *sku);
            let in_stock = postgres.sold[*sku] + units <= postgres.stocked[*sku];
            in_stock && bought - back + units <= self.bounds.cap
        })
    }

    /// The fence: writes ABORTED unless a decision exists, and answers what stands there.
    pub(super) fn fence(&self, state: &mut State, reservation: usize) -> Decision {
        let decision = &mut state.postgres.decisions[reservation];
        if *decision == Decision::None {
            *decision = Decision::Aborted;
        }
        *decision
    }
}
