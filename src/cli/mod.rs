//! The commands of the binary.

pub mod ceiling;
pub mod check_config;
pub mod create_admin;
pub mod healthcheck;
pub mod loadtest;
pub mod migrate;
pub mod reconcile;
pub mod serve;
pub mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{LoadOptions, Loaded, Settings};
use crate::kernel::Clock;

/// Holds limited stock for a buyer for a few minutes, under a crowd, and turns the hold into an order exactly once.
///
/// Settings come from config/default.toml, config/<profile>.toml (HOLDFAST_PROFILE, default local) and the environment
/// (HOLDFAST__SECTION__KEY, and PORT, DATABASE_URL, MIGRATE_DATABASE_URL, REDIS_URL, REDIS_TTL, RATE_LIMIT_WINDOW_MS,
/// RATE_LIMIT_MAX_REQUESTS), the later the stronger.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the API until it is told to stop (SIGTERM, Ctrl-C).
    Serve(serve::ServeArgs),
    /// Brings the database schema up to this binary.
    Migrate,
    /// Makes an account of role admin, whose bearer may do everything.
    CreateAdmin(create_admin::CreateAdminArgs),
    /// Prints a token; the JWT stands alone on the last line.
    Token(token::TokenArgs),
    /// Sends a crowd to one SKU of a service of your own, and checks every answer.
    ///
    /// Prints a table and the proof of conservation at the end; --report writes charts, --json figures. Exits with 1 if
    /// any answer was wrong or a unit is missing.
    Loadtest(loadtest::LoadtestArgs),
    /// Serves the same shape of answers with no store behind it; `cargo xtask bench` compares against it.
    #[command(hide = true)]
    Ceiling(ceiling::CeilingArgs),
    /// Looks whether Redis, Postgres, movements, orders and payments agree, and puts right what can be.
    ///
    /// Prints a table of what was found, and what to do about what is left. Exits with 1 if anything is left.
    Reconcile(reconcile::ReconcileArgs),
    /// Prints the settings in force with secrets masked, or everything that is wrong with them.
    CheckConfig,
    /// Prints the OpenAPI document, which the service answers at /openapi.json.
    Openapi,
    /// Exits with 0 if the service on this machine is ready; for container health checks.
    Healthcheck,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    let options = LoadOptions::from_process_env();
    // Not locked: the log goes there too, from other threads, and would wait for ever.
    let mut out = std::io::stdout();
    match command {
        Command::CheckConfig => check_config::run(&options, &mut out),
        Command::CreateAdmin(args) => {
            let settings = Settings::load(&options)?;
            let mut input = std::io::stdin().lock();
            runtime()?.block_on(create_admin::run(&args, settings, &mut input, &mut out))
        }
        Command::Token(args) => token::run(&args, &options, &Clock::System, &mut out),
        Command::Loadtest(args) => loadtest::run(&args, &options, &Clock::System, &mut out),
        Command::Ceiling(args) => runtime()?.block_on(ceiling::run(&args, &options)),
        Command::Serve(args) => runtime()?.block_on(serve::run(&args, Loaded::read(&options)?)),
        Command::Migrate => runtime()?.block_on(migrate::run(Settings::load(&options)?, &mut out)),
        Command::Reconcile(args) => {
            let settings = Settings::load(&options)?;
            runtime()?.block_on(reconcile::run(&args, settings, &mut out))
        }
        Command::Openapi => writeln!(out, "{:#}", crate::openapi::document()).map_err(Into::into),
        Command::Healthcheck => healthcheck::run(Settings::load(&options)?.server.port),
    }
}

/// The runtime of everything but the HTTP workers, which have one each.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("background")
        .worker_threads(2)
        .enable_all()
        .build()
}
