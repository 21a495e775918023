//! `cargo xtask bench`.

use std::process::ExitCode;

use anyhow::Result;
use xtask::servers::install;

use crate::bench::{Bench, Size};
use crate::interrupt::Interrupt;
use crate::progress::step;

/// Measures a release build on private stores, in turn with what it is compared with: plain Redis
/// calls, one order per transaction, and an HTTP server without stores.
///
/// Prints each ratio with its spread, and writes report.json, a table and charts into bench/ of
/// the target folder. Takes up to 20 minutes, with --quick about 4. Fails when an answer was
/// wrong, never because the machine is slow. Stores and services are its own and end with it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Measures shorter, and among fewer live holds
    #[arg(long)]
    quick: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    step("finding Redis and Postgres", install::ensure)?;
    let size = if arguments.quick { Size::QUICK } else { Size::FULL };
    let bench = step("building the service", || Bench::prepare(size, interrupt))?;
    let wrong_answers = bench.run()?;
    if wrong_answers > 0 {
        eprintln!("xtask: {wrong_answers} answers were wrong");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
