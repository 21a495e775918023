//! `cargo xtask`: runs, tests, checks and measures Holdfast with private stores.

mod bench;
mod browser;
mod cargo;
mod commands;
mod fault_points;
mod http;
mod interrupt;
mod newman;
mod operations;
mod progress;
mod python;
mod sandbox;
mod schemathesis;
mod service;
mod settings;
mod stores;
mod webhooks;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::interrupt::Interrupt;

/// Runs, tests, checks and measures Holdfast on this machine. Redis and Postgres are found, or installed
/// where apt-get and root are at hand; private ones are started and ended with the command.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Arguments),
    Test(commands::test::Arguments),
    Check(commands::check::Arguments),
    Bench(commands::bench::Arguments),
    Ops(commands::ops::Arguments),
    FaultPoints(commands::fault_points::Arguments),
    Vendor(commands::vendor::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Interrupt::watch().and_then(|interrupt| match arguments.command {
        Command::Run(arguments) => commands::run::run(&arguments, &interrupt),
        Command::Test(arguments) => commands::test::run(&arguments, &interrupt),
        Command::Check(arguments) => commands::check::run(&arguments, &interrupt),
        Command::Bench(arguments) => commands::bench::run(&arguments, &interrupt),
        Command::Ops(arguments) => commands::ops::run(&arguments, &interrupt),
        Command::FaultPoints(arguments) => commands::fault_points::run(&arguments, &interrupt),
        Command::Vendor(arguments) => commands::vendor::run(&arguments, &interrupt),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
