//! Private Redis and Postgres servers for developing and testing Holdfast.
//!
//! The commands of `cargo xtask` stand in the binary; this library holds what the tests use too.

pub mod process;
pub mod servers;
