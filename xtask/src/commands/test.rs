//! `cargo xtask test`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use xtask::servers::{Redis, RedisOptions, install, mail};

use crate::cargo;
use crate::interrupt::Interrupt;
use crate::progress::step;
use crate::stores::Stores;

/// Runs all tests on a private Redis and Postgres, which end with the command.
///
/// What follows `--` goes to `cargo test`, and what follows a second `--` to the tests themselves:
/// `cargo xtask test -- --test it a_sold_out -- --nocapture`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Further arguments of `cargo test`
    #[arg(last = true, value_name = "CARGO_TEST_ARGUMENTS")]
    further: Vec<String>,
}

/// Runs the command; its exit code is that of `cargo test`.
pub(crate) fn run(arguments: &Arguments, interrupt: &Interrupt) -> Result<ExitCode> {
    step("finding Redis and Postgres", install::ensure)?;
    step("finding a mail server", mail::ensure)?;
    let stores = Stores::for_tests()?;
    // Scripts that were changed to see what notices it may hold their Redis up, which others would take for a failure.
    let bench = Redis::start(RedisOptions::default())?;
    let environment = [
        ("HOLDFAST_TEST_DATABASE_URL", stores.maintenance_url()),
        ("HOLDFAST_TEST_REDIS_URL", stores.redis.url()),
        ("HOLDFAST_TEST_BENCH_REDIS_URL", bench.url()),
    ];
    let environment = environment.map(|(name, value)| (OsString::from(name), value.into()));
    let mut test = cargo::TEST.to_vec();
    test.extend(arguments.further.iter().map(String::as_str));
    let what = format!("cargo {}", test.join(" "));
    let status = step(&what, || cargo::run(&test, &environment, interrupt));
    step("stopping Redis and Postgres", || {
        drop((stores, bench));
        Ok(())
    })?;
    let status = status?;
    if !status.success() {
        eprintln!("xtask: the tests failed");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
