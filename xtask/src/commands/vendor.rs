//! `cargo xtask vendor`.

use std::process::ExitCode;

use anyhow::Result;

use crate::browser::Modules;
use crate::cargo;
use crate::interrupt::Interrupt;
use crate::progress::step;

/// Renews the parts of the console's page that others keep, with their licences, from the versions in
/// xtask/console/package-lock.json.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Where they stand; they are compiled into the service.
pub(crate) const FOLDER: &str = "src/console/page/vendor";

/// Runs the command.
pub(crate) fn run(_: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    let workspace = cargo::workspace()?;
    step("renewing the parts of the console's page", || {
        let modules = Modules::install(&cargo::target()?.join("console"), interrupt)?;
        modules.vendor(&workspace, &workspace.join(FOLDER), interrupt)
    })?;
    Ok(ExitCode::SUCCESS)
}
