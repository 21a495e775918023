//! The counterexamples of payments: each rule that is taken away must be missed.

use crate::expect::caught;
use crate::payments::{Ask, PROTOCOL, Payments};
use crate::violation::Kind;

#[test]
fn p3_a_question_that_does_not_end_the_payment_lets_money_come_after() {
    let reads = Payments { ask: Ask::Read, no_late_money: true, ..PROTOCOL };
    caught("P3", &reads, Kind::LateMoney);
}

#[test]
fn p4_a_page_that_nobody_knows_of_is_not_no_page() {
    let careless = Payments { create_fence: false, no_late_money: true, ..PROTOCOL };
    caught("P4", &careless, Kind::LateMoney);
}

#[test]
fn p5_a_fence_that_does_not_heed_payments_gives_their_units_away() {
    let blind = Payments { fence_leaves_payments: false, no_late_money: true, ..PROTOCOL };
    caught("P5", &blind, Kind::LateMoney);
}

#[test]
fn p6_money_that_goes_back_without_a_fence_meets_a_sale_on_its_way() {
    let late = Payments { ask: Ask::Nothing, handlers: 2, ..PROTOCOL };
    caught("P6", &Payments { late_fence: false, ..late }, Kind::RefundAndOrder);
}

#[test]
fn p7_a_refund_without_a_key_is_made_twice() {
    let late = Payments { ask: Ask::Nothing, refund_key: false, ..PROTOCOL };
    caught("P7", &late, Kind::RefundedTwice);
}

#[test]
fn p10_a_rebuild_that_pins_no_payments_offers_their_units_again() {
    let wiped = Payments { wipe: true, disturbances: 1, restore: false, ..PROTOCOL };
    caught("P10", &wiped, Kind::PhantomStock);
}

#[test]
fn p11_a_payment_that_does_not_count_is_beaten_by_a_hold_that_came_back() {
    let uncounted = Payments { counts: false, rollback: true, disturbances: 1, ..PROTOCOL };
    caught("P11", &Payments { crashes: 0, ..uncounted }, Kind::PayerRefused);
}

#[test]
fn p18_a_rebuild_that_revives_what_ended_meanwhile_is_short_of_units() {
    let reviving = Payments { keep_ended: false, forced: true, disturbances: 1, ..PROTOCOL };
    caught("P18", &Payments { crashes: 0, ..reviving }, Kind::NegativeAvail);
}

#[test]
fn h1_money_of_an_execute_that_landed_late_is_asked_about() {
    let forgetful = Payments { bkash: true, watch: false, ..PROTOCOL };
    caught("H1", &forgetful, Kind::MoneyStuck);
}

#[test]
fn h2_an_execute_without_a_claim_takes_money_after_the_end() {
    let unclaimed = Payments { bkash: true, claim: false, ..PROTOCOL };
    caught("H2", &unclaimed, Kind::MoneyStuck);
}
