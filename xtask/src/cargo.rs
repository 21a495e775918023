//! The cargo commands that a command of ours runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::process::{Ending, Launch, on_path};

use crate::interrupt::Interrupt;

/// Builds and runs every test.
pub(crate) const TEST: [&str; 4] = ["test", "--workspace", "--features", "holdfast/fault-points"];

const LOOK: Duration = Duration::from_millis(100);
const STOP: Duration = Duration::from_secs(10);

/// The folder of the workspace.
pub(crate) fn workspace() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().context("xtask stands in no workspace")?;
    Ok(root.to_owned())
}

/// Runs cargo to its end, and everything it started with it.
pub(crate) fn run(
    arguments: &[&str],
    environment: &[(OsString, OsString)],
    interrupt: &Interrupt,
) -> Result<ExitStatus> {
    to_end(&program(), interrupt, |command| {
        forget_cargo_variables(command);
        command.args(arguments).envs(environment.iter().cloned());
    })
}

/// Runs cargo and demands success.
pub(crate) fn demand(arguments: &[&str], interrupt: &Interrupt) -> Result<()> {
    demand_with(arguments, &[], interrupt)
}

/// Runs cargo with further variables and demands success.
pub(crate) fn demand_with(
    arguments: &[&str],
    environment: &[(OsString, OsString)],
    interrupt: &Interrupt,
) -> Result<()> {
    let status = run(arguments, environment, interrupt)?;
    if !status.success() {
        bail!("cargo {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Builds the service as it is released; returns the binary.
pub(crate) fn release_binary(interrupt: &Interrupt) -> Result<PathBuf> {
    let build = ["build", "--release", "--package", "holdfast", "--bin", "holdfast"];
    demand(&build, interrupt)?;
    Ok(target()?.join("release/holdfast"))
}

/// Builds the service and the sandbox of payments as they are released; returns both binaries.
pub(crate) fn release_binaries(interrupt: &Interrupt) -> Result<(PathBuf, PathBuf)> {
    let packages = ["--package", "holdfast", "--package", "holdfast-sandbox"];
    let binaries = ["--bin", "holdfast", "--bin", "holdfast-sandbox"];
    demand(&[&["build", "--release"][..], &packages, &binaries].concat(), interrupt)?;
    let folder = target()?.join("release");
    Ok((folder.join("holdfast"), folder.join("holdfast-sandbox")))
}

/// Builds the service with the points where a test may kill it; returns the binary.
pub(crate) fn faulty_binary(interrupt: &Interrupt) -> Result<PathBuf> {
    // The build of `cargo xtask test`, so that nothing is compiled twice.
    demand(&[&TEST[..], &["--no-run"]].concat(), interrupt)?;
    Ok(target()?.join("debug/holdfast"))
}

/// The target folder, wherever variables and configuration put it.
pub(crate) fn target() -> Result<PathBuf> {
    let mut command = Command::new(program());
    forget_cargo_variables(&mut command);
    let output = command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    let metadata = String::from_utf8_lossy(&output.stdout);
    let found = metadata
        .split_once("\"target_directory\":\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(found.0))
}

/// Runs a program and all it starts to its end; an interrupt ends them first.
pub(crate) fn to_end(
    program: &Path,
    interrupt: &Interrupt,
    prepare: impl FnOnce(&mut Command),
) -> Result<ExitStatus> {
    let mut process = Launch::new(program, Ending::Terminate).whole_group().spawn(prepare)?;
    loop {
        if let Some(status) = process.wait(LOOK)? {
            return Ok(status);
        }
        if interrupt.requested() {
            process.stop(Ending::Interrupt, STOP)?;
            bail!("interrupted");
        }
    }
}

fn program() -> PathBuf {
    let named = std::env::var_os("CARGO").map(PathBuf::from);
    named.or_else(|| on_path("cargo")).unwrap_or_else(|| PathBuf::from("cargo"))
}

/// What cargo told xtask about itself would only mislead the next cargo's build scripts.
fn forget_cargo_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
}
