//! FLUSHALL without a new incarnation, while a rebuild is stalled: the one loss that the order of
//! epochs in Redis does not see, since the younger epoch is lost as well. Hence the claim.
//!
//! Without it the stalled rebuild writes figures from before the sales of the younger one. Nothing is sold
//! twice, because its epoch is old and every confirm answers STALE, and the gap of the epochs brings
//! the next rebuild; until then the SKU offers units that are sold.

use crate::expect::{caught, holds};
use crate::reservation::Reservations;
use crate::reservation::rules::{Bounds, CALM, PROTOCOL, Rules};
use crate::violation::Kind;

/// Two processes may rebuild at once; one buyer, and Redis is flushed twice.
const FLUSHED: Bounds =
    Bounds { flushes: 2, rebuilders: 2, overlaps: 1, rebuild_crashes: 0, lines: &[&[0]], ..CALM };

const UNCLAIMED: Rules = Rules { rebuild_claims: false, ..PROTOCOL };

#[test]
fn without_a_claim_a_flush_lets_a_stalled_rebuild_offer_sold_units() {
    let model = Reservations::new(UNCLAIMED, FLUSHED);
    caught("flushed twice", &model, Kind::PhantomStock);
}

#[test]
fn a_flush_during_a_stalled_rebuild_sells_nothing_twice_and_leaks_nothing() {
    for kind in [Kind::Oversell, Kind::Leak, Kind::Drift, Kind::Stuck] {
        let bounds = Bounds { only: Some(kind), ..FLUSHED };
        holds("flushed twice, lasting harm", &Reservations::new(UNCLAIMED, bounds));
    }
}

#[test]
fn a_claim_keeps_a_stalled_rebuild_out_after_a_flush() {
    let forced = Bounds { flushes: 1, forced: 1, ..FLUSHED };
    let lazy = Bounds { flushes: 1, wipes: 1, closers: 1, ..FLUSHED };
    for (name, bounds) in [
        ("claimed, flushed twice", Bounds { overlaps: 2, ..FLUSHED }),
        ("claimed, forced and flushed", forced),
        ("claimed, lazy, wiped and flushed", lazy),
    ] {
        holds(name, &Reservations::new(PROTOCOL, bounds));
    }
}
