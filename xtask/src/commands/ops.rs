//! `cargo xtask ops`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cargo;
use crate::interrupt::Interrupt;
use crate::operations;
use crate::progress::step;

/// Checks what operators are given: alert rules and their tests, the dashboard, the runbook, and that all speak of
/// metrics that exist.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(_: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    check(interrupt)?;
    Ok(ExitCode::SUCCESS)
}

/// The same as a part of `cargo xtask check`.
pub(crate) fn check(interrupt: &Interrupt) -> Result<()> {
    step("alerts and the dashboard's queries, by promtool", || {
        let scratch = cargo::target()?.join("operations");
        operations::check(&cargo::workspace()?, &scratch, interrupt)
    })?;
    step("alerts, dashboard and runbook beside the metrics", || {
        cargo::demand(&["test", "-q", "-p", "xtask", "--test", "ops"], interrupt)
    })
}
