//! Money through payment providers. [`gateway`] is what the protocol of payments asks of a provider; Stripe and bKash
//! answer it. What a payment means for a hold is decided elsewhere, by one row of Postgres.

pub mod gateway;
