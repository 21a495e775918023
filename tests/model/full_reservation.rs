//! The full reservation protocol: every state within the bounds, and nothing wrong in any.
//!
//! The bounds are chosen so that all searches together take seconds in a debug build. Wider ones
//! were searched apart and hold as well: a cart beside a single hold with a rollback (2.7 million
//! states), a cancel and two attempts with a rollback (2.1), two buyers and two overlapping rebuilds
//! with a rollback (11.7).

use crate::expect::holds;
use crate::reservation::Reservations;
use crate::reservation::rules::{Bounds, CALM, PROTOCOL, Rules};

const ONE_BUYER: Bounds = Bounds { lines: &[&[0]], ..CALM };

#[track_caller]
fn full(name: &str, bounds: Bounds) {
    holds(name, &Reservations::new(PROTOCOL, bounds));
}

#[test]
fn two_buyers_with_retries_and_cancel() {
    let bounds =
        Bounds { reserve_calls: [2, 1], confirm_calls: [2, 1], cancel_calls: [1, 0], ..CALM };
    full("no loss", bounds);
}

#[test]
fn redis_goes_back_once() {
    full("rollback", Bounds { rollbacks: 1, ..CALM });
}

#[test]
fn redis_goes_back_twice() {
    full("two rollbacks", Bounds { rollbacks: 2, ..ONE_BUYER });
}

#[test]
fn redis_comes_back_empty() {
    full("wipe", Bounds { wipes: 1, ..CALM });
}

#[test]
fn redis_goes_back_and_comes_back_empty() {
    full("rollback and wipe", Bounds { rollbacks: 1, wipes: 1, ..ONE_BUYER });
}

#[test]
fn redis_is_flushed() {
    full("flush", Bounds { flushes: 1, ..CALM });
}

#[test]
fn a_hold_is_reserved_again_after_a_loss() {
    let bounds = Bounds { stock: [2, 0], reserve_calls: [2, 0], rollbacks: 1, ..ONE_BUYER };
    full("again, rollback", bounds);
    full("again, wipe", Bounds { rollbacks: 0, wipes: 1, ..bounds });
}

#[test]
fn safety_does_not_need_tombstones() {
    let rules = Rules { tombstones: false, ..PROTOCOL };
    let bounds =
        Bounds { stock: [2, 0], reserve_calls: [2, 0], confirm_calls: [2, 0], ..ONE_BUYER };
    holds("no tombstones", &Reservations::new(rules, bounds));
}

#[test]
fn a_rebuild_is_forced_during_traffic() {
    full("forced", Bounds { forced: 1, ..CALM });
}

#[test]
fn two_rebuilds_overlap() {
    let bounds = Bounds { rebuilders: 2, overlaps: 2, ..ONE_BUYER };
    full("overlap, rollback", Bounds { rollbacks: 1, ..bounds });
    full("overlap, wipe", Bounds { wipes: 1, ..bounds });
    full("overlap, forced", Bounds { forced: 1, ..bounds });
}

#[test]
fn two_carts_want_the_same_products() {
    let bounds = Bounds { stock: [1, 1], lines: &[&[0, 1], &[0, 1]], ..CALM };
    full("carts", bounds);
    full(
        "carts, opposite order",
        Bounds { lines: &[&[0, 1], &[1, 0]], confirm_calls: [1, 0], ..bounds },
    );
}

#[test]
fn a_cart_meets_a_loss() {
    let bounds = Bounds { stock: [1, 1], lines: &[&[0, 1]], ..CALM };
    full("cart, rollback", Bounds { rollbacks: 1, ..bounds });
    full("cart, wipe", Bounds { wipes: 1, ..bounds });
}

#[test]
fn stock_arrives() {
    let two_buyers = Bounds { restocks: 1, ..CALM };
    let one_buyer = Bounds { restocks: 1, ..ONE_BUYER };
    full("restock", two_buyers);
    full("restock, rollback", Bounds { rollbacks: 1, ..one_buyer });
    full("restock, forced rebuild", Bounds { forced: 1, ..one_buyer });
}
