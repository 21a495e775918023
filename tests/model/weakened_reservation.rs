//! The reservation protocol with one rule off. Each test is a counterexample that the full protocol
//! excludes, and must stay one: a search that no longer finds it has lost its teeth.

use crate::expect::caught;
use crate::reservation::Reservations;
use crate::reservation::rules::{Bounds, CALM, PROTOCOL, Rules};
use crate::violation::Kind;

/// Two buyers and one unit; the first one retries, confirms twice and cancels.
const RIVALS: Bounds =
    Bounds { reserve_calls: [2, 1], confirm_calls: [2, 1], cancel_calls: [1, 0], ..CALM };

/// The same without cancel.
const BUYERS: Bounds = Bounds { cancel_calls: [0, 0], ..RIVALS };

/// Two buyers and one unit, and Redis goes back once.
const LOSS: Bounds = Bounds { rollbacks: 1, ..CALM };

/// One buyer reserves and confirms twice; two units.
const AGAIN: Bounds =
    Bounds { stock: [2, 0], lines: &[&[0]], reserve_calls: [2, 0], confirm_calls: [2, 0], ..CALM };

/// Two buyers want the same two products.
const CARTS: Bounds = Bounds { stock: [1, 1], lines: &[&[0, 1], &[0, 1]], ..CALM };

fn only(kind: Kind, bounds: Bounds) -> Bounds {
    Bounds { only: Some(kind), ..bounds }
}

#[track_caller]
fn weakened(name: &str, rules: Rules, bounds: Bounds, kind: Kind) {
    caught(name, &Reservations::new(rules, bounds), kind);
}

#[test]
fn confirm_without_a_pin_lets_expiry_free_a_unit_that_is_being_sold() {
    let rules = Rules { pin: false, ..PROTOCOL };
    weakened("N1", rules, RIVALS, Kind::PhantomStock);
}

#[test]
fn confirm_without_a_pin_sells_a_unit_twice() {
    let rules = Rules { pin: false, stock_guard: false, ..PROTOCOL };
    weakened("O1", rules, only(Kind::Oversell, BUYERS), Kind::Oversell);
}

#[test]
fn confirm_without_a_pin_tells_a_live_hold_sold_out() {
    let rules = Rules { pin: false, ..PROTOCOL };
    let bounds = only(Kind::PromiseBroken, BUYERS);
    weakened("N1 with the stock guard", rules, bounds, Kind::PromiseBroken);
}

#[test]
fn expiry_events_that_increment_blindly_restore_a_unit_twice() {
    let rules = Rules { record_decides: false, ..PROTOCOL };
    weakened("N2", rules, BUYERS, Kind::HeldCounter);
}

#[test]
fn expiry_by_events_alone_leaks_a_unit_when_an_event_is_lost() {
    let rules = Rules { sweeper: false, ..PROTOCOL };
    weakened("N3", rules, RIVALS, Kind::Leak);
}

#[test]
fn unpinning_after_a_timeout_frees_a_unit_that_another_attempt_has_sold() {
    let rules = Rules { keep_pin: false, ..PROTOCOL };
    weakened("N4", rules, RIVALS, Kind::PhantomStock);
}

#[test]
fn unpinning_after_a_timeout_sells_a_unit_twice() {
    let rules = Rules { keep_pin: false, stock_guard: false, ..PROTOCOL };
    weakened("O4", rules, only(Kind::Oversell, BUYERS), Kind::Oversell);
}

#[test]
fn recovery_that_only_looks_for_an_order_frees_a_unit_whose_commit_is_late() {
    let rules = Rules { fence: false, ..PROTOCOL };
    weakened("N5", rules, RIVALS, Kind::PhantomStock);
}

#[test]
fn recovery_that_only_looks_for_an_order_sells_a_unit_twice() {
    let rules = Rules { fence: false, stock_guard: false, ..PROTOCOL };
    weakened("O5", rules, only(Kind::Oversell, BUYERS), Kind::Oversell);
}

#[test]
fn recovery_that_only_looks_for_an_order_tells_a_live_hold_sold_out() {
    let rules = Rules { fence: false, ..PROTOCOL };
    let bounds = only(Kind::PromiseBroken, BUYERS);
    weakened("N5 with the stock guard", rules, bounds, Kind::PromiseBroken);
}

#[test]
fn a_pin_that_expires_by_the_clock_frees_a_unit_that_is_being_sold() {
    let rules = Rules { timeless_pin: false, ..PROTOCOL };
    weakened("N6", rules, RIVALS, Kind::PhantomStock);
}

#[test]
fn a_pin_that_expires_by_the_clock_sells_a_unit_twice() {
    let rules = Rules { timeless_pin: false, stock_guard: false, ..PROTOCOL };
    weakened("O6", rules, only(Kind::Oversell, BUYERS), Kind::Oversell);
}

#[test]
fn a_cancel_of_two_calls_leaks_a_unit_when_it_dies_between_them() {
    let rules = Rules { atomic_cancel: false, ..PROTOCOL };
    weakened("N7", rules, only(Kind::Leak, RIVALS), Kind::Leak);
}

#[test]
fn redis_going_back_without_any_guard_offers_sold_units() {
    let unguarded =
        Rules { epoch_check: false, stock_guard: false, rebuild_claims: false, ..PROTOCOL };
    let rules = Rules { incarnation_check: false, ..unguarded };
    weakened("L1", rules, Bounds { rebuilders: 0, ..LOSS }, Kind::PhantomStock);
}

#[test]
fn a_rebuild_without_an_epoch_offers_a_unit_whose_commit_is_late() {
    let rules = Rules { epoch_check: false, rebuild_claims: false, ..PROTOCOL };
    weakened("L2", rules, LOSS, Kind::PhantomStock);
}

#[test]
fn a_script_on_a_new_incarnation_before_its_rebuild_offers_sold_units() {
    let rules = Rules { incarnation_check: false, ..PROTOCOL };
    weakened("L3", rules, LOSS, Kind::PhantomStock);
}

#[test]
fn a_rebuild_that_reads_before_it_bumps_the_epoch_misses_a_commit() {
    let rules = Rules { bump_before_read: false, rebuild_claims: false, ..PROTOCOL };
    weakened("L4", rules, LOSS, Kind::PhantomStock);
}

#[test]
fn a_hold_reserved_again_after_a_loss_leaks_without_a_token() {
    let rules = Rules { hold_token: false, ..PROTOCOL };
    weakened("T1", rules, Bounds { rollbacks: 1, ..AGAIN }, Kind::Leak);
}

#[test]
fn a_token_counted_by_redis_collides_after_a_loss() {
    let rules = Rules { random_token: false, ..PROTOCOL };
    weakened("T2", rules, Bounds { rollbacks: 1, ..AGAIN }, Kind::Leak);
}

#[test]
fn a_hold_reserved_again_leaks_without_tombstones_and_token() {
    let rules = Rules { hold_token: false, tombstones: false, ..PROTOCOL };
    weakened("T4", rules, AGAIN, Kind::Leak);
}

#[test]
fn a_restock_carried_as_a_difference_counts_twice() {
    let rules = Rules { stock_as_state: false, ..PROTOCOL };
    weakened("S2", rules, Bounds { restocks: 1, ..CALM }, Kind::PhantomStock);
}

#[test]
fn a_rebuild_that_ignores_the_stock_version_loses_a_restock() {
    let rules = Rules { rebuild_keeps_newer_stock: false, ..PROTOCOL };
    let bounds = Bounds { restocks: 1, forced: 1, confirm_calls: [1, 0], ..CALM };
    weakened("S5", rules, bounds, Kind::Leak);
}

#[test]
fn a_cart_without_a_fence_frees_a_unit_whose_commit_is_late() {
    let rules = Rules { fence: false, ..PROTOCOL };
    weakened("C5", rules, CARTS, Kind::PhantomStock);
}
