//! A new incarnation of Redis whose SKUs are rebuilt one by one, on demand: every SKU is closed,
//! then the incarnation is blessed, then the first use of each SKU rebuilds it.
//!
//! Wider bounds were searched apart and hold as well, in millions of states: two closers and two
//! rebuilders with a cart and a wipe (2.6) and with two rollbacks (3.9), two closers with two buyers
//! and a rollback (2.3).

use crate::expect::{caught, holds};
use crate::reservation::Reservations;
use crate::reservation::rules::{Bounds, CALM, PROTOCOL, Rules};
use crate::violation::Kind;

/// One process closes and blesses, one rebuilds; both may die anywhere.
const ONE_EACH: Bounds = Bounds { closers: 1, ..CALM };

/// Two processes close and bless at once, two rebuild at once; one buyer.
const TWO_EACH: Bounds =
    Bounds { closers: 2, rebuilders: 2, overlaps: 1, rebuild_crashes: 0, lines: &[&[0]], ..CALM };

#[track_caller]
fn full(name: &str, bounds: Bounds) {
    holds(name, &Reservations::new(PROTOCOL, bounds));
}

#[test]
fn each_sku_is_rebuilt_on_demand() {
    full("lazy, rollback", Bounds { rollbacks: 1, confirm_calls: [1, 0], ..ONE_EACH });
    full("lazy, wipe", Bounds { wipes: 1, ..ONE_EACH });
}

#[test]
fn two_skus_are_rebuilt_apart() {
    let bounds = Bounds { stock: [1, 1], lines: &[&[0, 1]], ..ONE_EACH };
    full("lazy cart, rollback", Bounds { rollbacks: 1, ..bounds });
    full("lazy cart, wipe", Bounds { wipes: 1, ..bounds });
    let singles = Bounds { lines: &[&[0], &[1]], confirm_calls: [1, 0], wipes: 1, ..bounds };
    full("lazy singles, wipe", singles);
}

#[test]
fn a_late_closer_closes_what_is_rebuilt_already() {
    full("late closer, rollback", Bounds { rollbacks: 1, ..TWO_EACH });
    full("late closer, wipe", Bounds { wipes: 1, ..TWO_EACH });
}

#[test]
fn a_late_closer_meets_two_skus() {
    let bounds = Bounds { stock: [1, 1], lines: &[&[0, 1]], rebuilders: 1, ..TWO_EACH };
    full("late closer, cart, wipe", Bounds { wipes: 1, ..bounds });
}

#[test]
fn stock_arrives_while_skus_are_closed() {
    let bounds = Bounds { restocks: 1, lines: &[&[0]], rollbacks: 1, ..ONE_EACH };
    full("lazy restock, rollback", bounds);
}

#[test]
fn blessing_before_the_skus_are_closed_offers_sold_units() {
    let rules = Rules { close_before_bless: false, rebuild_claims: false, ..PROTOCOL };
    let bounds = Bounds { rollbacks: 1, ..ONE_EACH };
    caught("blessed first", &Reservations::new(rules, bounds), Kind::PhantomStock);
}

#[test]
fn closing_by_removing_the_epoch_lets_a_stalled_rebuild_pass() {
    let rules = Rules { close_keeps_epoch: false, rebuild_claims: false, ..PROTOCOL };
    for (name, bounds) in [
        ("epoch removed, rollback", Bounds { rollbacks: 1, ..TWO_EACH }),
        ("epoch removed, wipe", Bounds { wipes: 1, ..TWO_EACH }),
    ] {
        caught(name, &Reservations::new(rules, bounds), Kind::PhantomStock);
    }
}
