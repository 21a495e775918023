//! All integration tests, over HTTP against real Redis and Postgres: `cargo xtask test` starts both.
#![expect(unreachable_pub, clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod accounts;
mod app;
mod architecture;
mod bad_input;
mod cart;
mod checkout;
mod conservation;
mod docs;
mod edge;
mod ends;
mod faults_crowd;
mod faults_expiry;
mod faults_loss;
#[cfg(feature = "fault-points")]
mod faults_outbox;
mod faults_postgres;
mod faults_redis;
#[cfg(feature = "fault-points")]
mod faults_saga;
mod faults_startup;
mod idempotency;
mod keys;
mod limit;
mod limits;
mod looking;
mod openapi;
mod orders;
mod process;
mod products;
mod products_cache;
mod products_edit;
mod products_list;
mod proxy;
mod race;
mod receiver;
mod refunds;
mod reserve;
mod sale;
mod scripts;
mod scripts_bench;
mod scripts_checks;
mod scripts_model;
mod scripts_mutants;
mod scripts_properties;
mod scripts_scenarios;
mod scripts_sql;
mod scripts_sql_checks;
mod scripts_sql_mutants;
mod several;
mod shutdown;
mod states;
mod stock;
mod suppliers;
mod tokens;
mod webhooks;
