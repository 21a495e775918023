//! Redis goes back to an earlier moment, comes back empty, or is emptied as it stands.

use super::Buyers;
use super::state::{SKUS, State, Stock};
use crate::search::{Label, Steps};

impl Buyers {
    /// The losses that are still within the bounds.
    pub(super) fn loss_steps(&self, state: &State, steps: &mut Steps<State>) {
        let label = Label::new("redis", 0, "reaches the moment it will go back to");
        if state.faults.rollbacks > 0 {
            match state.saved {
                None => {
                    let mut next = *state;
                    next.saved = Some(state.redis.skus);
                    steps.perhaps(label, next);
                }
                Some(saved) if saved != state.redis.skus => {
                    let mut next = restarted(state, saved);
                    next.faults.rollbacks -= 1;
                    steps.perhaps(label.does("restarts without its tail"), next);
                }
                Some(_) => {}
            }
        }
        if state.faults.wipes > 0 {
            let mut next = restarted(state, [Stock::default(); SKUS]);
            next.faults.wipes -= 1;
            steps.perhaps(label.does("restarts empty"), next);
        }
        if state.faults.flushes > 0 {
            let mut next = *state;
            next.redis.skus = [Stock::default(); SKUS];
            next.saved = None;
            next.faults.flushes -= 1;
            next.faults.lost = true;
            steps.perhaps(label.does("is flushed"), next);
        }
    }
}

/// A new incarnation of Redis with this content; every connection to the old one is broken.
fn restarted(state: &State, skus: [Stock; SKUS]) -> State {
    let mut next = *state;
    next.redis.incarnation += 1;
    next.redis.blessed = false;
    next.redis.skus = skus;
    next.saved = None;
    next.faults.lost = true;
    next
}
