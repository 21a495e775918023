//! An explicit-state model of the reservation protocol, searched exhaustively within small bounds.
//!
//! The full protocol must hold; every weakened variant must be caught with a violation of the
//! expected kind. Nothing here touches the service, Redis or Postgres: the model says whether the
//! rules are right, the other tests say whether the service follows them.

mod buyers;
mod expect;
mod flushed_rebuild;
mod full_buyers;
mod full_payments;
mod full_reservation;
mod incarnation;
mod new_incarnation;
mod orders;
mod payments;
mod reached;
mod reservation;
mod search;
mod violation;
mod weakened_buyers;
mod weakened_payments;
mod weakened_reservation;
