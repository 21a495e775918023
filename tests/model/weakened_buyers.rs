//! The rules about buyers with one of them off. Each test is a counterexample that the full
//! protocol excludes, and must stay one.

use crate::buyers::Buyers;
use crate::buyers::rules::{Bounds, CALM, PROTOCOL, Rules, Want};
use crate::expect::caught;
use crate::violation::Kind;

const ONE: Want = Want { user: 0, lines: &[(0, 1)] };
const TWO: Want = Want { user: 0, lines: &[(0, 2)] };
const OTHER: Want = Want { user: 1, lines: &[(0, 1)] };

#[track_caller]
fn weakened(name: &str, rules: Rules, bounds: Bounds, kind: Kind) {
    caught(name, &Buyers::new(rules, bounds), kind);
}

#[test]
fn a_slot_that_outlives_its_hold_locks_the_buyer_out() {
    let bounds = Bounds {
        wants: &[ONE, TWO, OTHER],
        runs: &[(0, 2), (1, 1), (2, 1)],
        confirms: &[0, 2],
        ..CALM
    };
    let rules = Rules { slot_cleared: false, ..PROTOCOL };
    weakened("A3", rules, bounds, Kind::BuyerSlot);
}

#[test]
fn a_cap_that_counts_only_what_was_bought_is_overrun_by_holds() {
    let bounds =
        Bounds { cap: 1, wants: &[ONE, TWO], runs: &[(0, 1), (1, 1)], confirms: &[0, 1], ..CALM };
    let rules = Rules { cap_counts_live: false, ..PROTOCOL };
    weakened("B1", rules, bounds, Kind::CapOverrun);
}

/// Two sizes of one buyer, another buyer, and Redis goes back once.
const LOSS: Bounds = Bounds {
    wants: &[ONE, TWO, OTHER],
    runs: &[(0, 1), (1, 1), (2, 1)],
    confirms: &[0, 2],
    rollbacks: 1,
    ..CALM
};

#[test]
fn a_rebuild_that_leaves_the_buyers_counts_holds_that_do_not_exist() {
    let rules = Rules { buyers_rebuilt: false, ..PROTOCOL };
    weakened("L1", rules, LOSS, Kind::BuyerLive);
}

#[test]
fn a_rebuild_that_takes_buyers_from_records_alone_forgets_what_was_bought() {
    let rules = Rules { bought_reloaded: false, ..PROTOCOL };
    weakened("L2", rules, LOSS, Kind::BuyerBought);
}

#[test]
fn a_return_carried_as_a_difference_is_given_back_twice() {
    let bounds = Bounds {
        cap: 1,
        wants: &[ONE, ONE],
        runs: &[(0, 1), (1, 1)],
        confirms: &[0, 1],
        given_back: Some(0),
        crashes: 2,
        ..CALM
    };
    let rules = Rules { back_as_state: false, ..PROTOCOL };
    weakened("G1", rules, bounds, Kind::BuyerBought);
}

#[test]
fn two_runs_with_one_id_release_a_line_that_was_promised() {
    const BOTH: Want = Want { user: 0, lines: &[(0, 1), (1, 1)] };
    const RIVAL: Want = Want { user: 1, lines: &[(1, 1)] };
    let bounds = Bounds {
        stock: [1, 1],
        wants: &[BOTH, BOTH, RIVAL],
        runs: &[(0, 1), (1, 1), (2, 1)],
        cancels: &[2],
        crashes: 0,
        ..CALM
    };
    let rules = Rules { own_id_per_run: false, ..PROTOCOL };
    weakened("K10", rules, bounds, Kind::HeldWithoutLine);
}

#[test]
fn a_rebuild_that_does_not_count_the_staged_buyers_forgets_what_was_bought() {
    let rules = Rules { staged_counted: false, ..PROTOCOL };
    let bounds = Bounds { wants: &[ONE, TWO], runs: &[(0, 1), (1, 1)], forced: 1, ..LOSS };
    let bounds = Bounds { confirms: &[0], rollbacks: 0, ..bounds };
    let lapse = Bounds { lapses: 1, ..bounds };
    weakened("staged buyers lapse", rules, lapse, Kind::BuyerBought);
    let flush = Bounds { flushes: 1, ..bounds };
    weakened("staged buyers are flushed", rules, flush, Kind::BuyerBought);
}
