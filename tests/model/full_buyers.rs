//! The full rules about buyers: every state within the bounds, and nothing wrong in any.
//!
//! The bounds are chosen so that all searches together take seconds in a debug build. Wider ones
//! were searched apart and hold as well: a confirm of both buyers with a rollback (736 thousand
//! states, 984 when SKUs are rebuilt on demand) and with a forced rebuild (468), two runs for two
//! products with a rollback (3.3 million).

use crate::buyers::Buyers;
use crate::buyers::rules::{Bounds, CALM, PROTOCOL, Want};
use crate::expect::holds;

const ONE: Want = Want { user: 0, lines: &[(0, 1)] };
const TWO: Want = Want { user: 0, lines: &[(0, 2)] };
const OTHER: Want = Want { user: 1, lines: &[(0, 1)] };

/// One buyer asks for one unit and then for two, another for one; the first hold is confirmed.
const CHANGES: Bounds =
    Bounds { wants: &[ONE, TWO, OTHER], runs: &[(0, 1), (1, 1), (2, 1)], confirms: &[0], ..CALM };

/// A buyer at the cap buys, gives back, and buys again.
const RETURN: Bounds = Bounds {
    cap: 1,
    wants: &[ONE, ONE],
    runs: &[(0, 1), (1, 1)],
    confirms: &[0, 1],
    given_back: Some(0),
    ..CALM
};

const BOTH: Want = Want { user: 0, lines: &[(0, 1), (1, 1)] };
const RIVAL: Want = Want { user: 1, lines: &[(1, 1)] };

/// One buyer asks twice at once for the same two products, another for one of them.
const TWINS: Bounds = Bounds {
    stock: [1, 1],
    wants: &[BOTH, BOTH, RIVAL],
    runs: &[(0, 1), (1, 1), (2, 1)],
    confirms: &[0],
    ..CALM
};

#[track_caller]
fn full(name: &str, bounds: Bounds) {
    holds(name, &Buyers::new(PROTOCOL, bounds));
}

#[test]
fn quantities_change_and_answers_are_lost() {
    let runs = &[(0, 2), (1, 1), (2, 1)];
    full("A0", Bounds { runs, confirms: &[0, 2], ..CHANGES });
}

#[test]
fn a_buyer_buys_and_asks_for_more_than_the_cap() {
    let wants = &[ONE, TWO];
    full("B0", Bounds { wants, runs: &[(0, 1), (1, 1)], confirms: &[0, 1], ..CHANGES });
}

#[test]
fn quantities_change_and_redis_goes_back() {
    full("L0", Bounds { rollbacks: 1, ..CHANGES });
}

#[test]
fn quantities_change_and_redis_comes_back_empty() {
    full("L3", Bounds { wipes: 1, confirms: &[0, 2], ..CHANGES });
}

#[test]
fn quantities_change_and_a_rebuild_is_forced() {
    full("L5", Bounds { forced: 1, ..CHANGES });
}

#[test]
fn a_return_gives_the_cap_and_the_unit_back() {
    full("G0", Bounds { crashes: 2, ..RETURN });
}

#[test]
fn a_return_meets_a_loss() {
    full("G2", Bounds { rollbacks: 1, ..RETURN });
}

#[test]
fn a_return_meets_a_forced_rebuild() {
    full("G3", Bounds { forced: 1, ..RETURN });
}

#[test]
fn two_runs_for_several_products_have_their_own_ids() {
    full("twins", Bounds { cancels: &[2], crashes: 0, ..TWINS });
}

#[test]
fn several_products_are_cancelled_during_confirm() {
    let wants = &[BOTH, RIVAL];
    let runs = &[(0, 1), (1, 1)];
    full("several, cancel", Bounds { wants, runs, cancels: &[0, 1], ..TWINS });
}

#[test]
fn several_products_meet_the_single_hold_of_their_buyer() {
    let bounds = Bounds { wants: &[BOTH, ONE, RIVAL], confirms: &[0, 1], crashes: 0, ..TWINS };
    full("several and single", bounds);
}

#[test]
fn several_products_meet_a_loss() {
    let bounds = Bounds { wants: &[BOTH, RIVAL], runs: &[(0, 1), (1, 1)], crashes: 0, ..TWINS };
    full("several, rollback", Bounds { rollbacks: 1, ..bounds });
    full("several, wipe", Bounds { wipes: 1, crashes: 1, ..bounds });
    full("several, forced rebuild", Bounds { forced: 1, ..bounds });
}

#[test]
fn skus_are_rebuilt_on_demand() {
    let bounds = Bounds { lazy: true, ..CHANGES };
    full("lazy, rollback", Bounds { rollbacks: 1, crashes: 0, ..bounds });
    full("lazy, wipe", Bounds { wipes: 1, ..bounds });
    full("lazy return, rollback", Bounds { lazy: true, rollbacks: 1, crashes: 0, ..RETURN });
}

#[test]
fn two_skus_are_rebuilt_apart() {
    let bounds = Bounds { wants: &[BOTH], runs: &[(0, 1)], lazy: true, ..TWINS };
    full("lazy several, rollback", Bounds { rollbacks: 1, crashes: 0, ..bounds });
    full("lazy several, wipe", Bounds { wipes: 1, ..bounds });
}

#[test]
fn staged_buyers_are_lost_before_a_rebuild_is_applied() {
    let bounds = Bounds { wants: &[ONE, TWO], runs: &[(0, 1), (1, 1)], ..CHANGES };
    full("staged buyers lapse", Bounds { forced: 1, lapses: 1, ..bounds });
    full("staged buyers are flushed", Bounds { forced: 1, flushes: 1, ..bounds });
}
