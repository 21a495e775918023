//! The full protocol of payments holds, whatever comes between.

use crate::expect::holds;
use crate::payments::{Ask, PROTOCOL, Payments};

#[test]
fn a_payment_and_its_rival_meet_everything_but_a_loss() {
    holds("payment", &Payments { no_late_money: true, ..PROTOCOL });
    holds("payment, two handlers", &Payments { handlers: 2, no_late_money: true, ..PROTOCOL });
    holds("payment, two units", &Payments { stock: 2, no_late_money: true, ..PROTOCOL });
}

#[test]
fn late_money_is_sold_or_goes_back_once() {
    let late = Payments { ask: Ask::Nothing, ..PROTOCOL };
    holds("late money", &late);
    holds("late money, two handlers", &Payments { handlers: 2, ..late });
    holds("late money, two units", &Payments { stock: 2, ..late });
}

#[test]
fn a_payment_meets_a_loss_or_a_rebuild() {
    let disturbed = Payments { disturbances: 1, no_late_money: true, ..PROTOCOL };
    holds("payment, rollback", &Payments { rollback: true, ..disturbed });
    holds("payment, wipe", &Payments { wipe: true, ..disturbed });
    holds("payment, rebuild", &Payments { forced: true, ..disturbed });
    let two = Payments { handlers: 2, crashes: 0, ..disturbed };
    holds("payment, rollback, two handlers", &Payments { rollback: true, ..two });
    holds("payment, wipe, two handlers", &Payments { wipe: true, ..two });
}

#[test]
fn late_money_meets_a_loss_or_a_rebuild() {
    let late = Payments { ask: Ask::Nothing, disturbances: 1, crashes: 0, ..PROTOCOL };
    holds("late money, rollback", &Payments { rollback: true, ..late });
    holds("late money, wipe", &Payments { wipe: true, ..late });
    holds("late money, rebuild", &Payments { forced: true, ..late });
}

#[test]
fn bkash_takes_money_only_by_an_execute_that_somebody_asks_about() {
    let bkash = Payments { bkash: true, ..PROTOCOL };
    holds("bkash", &bkash);
    holds("bkash, two handlers", &Payments { handlers: 2, ..bkash });
    holds("bkash, wipe", &Payments { wipe: true, disturbances: 1, crashes: 0, ..bkash });
}
