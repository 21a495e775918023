//! `cargo xtask fault-points`.

use std::process::ExitCode;

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::progress::step;
use crate::{cargo, fault_points};

/// Proves that the release binary has none of the points where a test may kill it, and that the
/// build with them does.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(_: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    step("proving that no fault point is released", || prove(interrupt))?;
    Ok(ExitCode::SUCCESS)
}

/// Builds both binaries and compares them.
pub(super) fn prove(interrupt: &Interrupt) -> Result<()> {
    let faulty = cargo::faulty_binary(interrupt)?;
    let released = cargo::release_binary(interrupt)?;
    fault_points::prove(&released, &faulty)
}
