//! One file per command of `cargo xtask`.

pub(crate) mod bench;
pub(crate) mod check;
mod demo;
pub(crate) mod fault_points;
pub(crate) mod ops;
pub(crate) mod run;
pub(crate) mod test;
pub(crate) mod vendor;
