//! Programs in Python, each with an environment of its own that a list of packages pins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::process::on_path;
use xtask::servers::install;

use crate::cargo;
use crate::interrupt::Interrupt;

/// Makes the environment below `folder`, unless exactly this is there; answers the folder of its programs.
pub(crate) fn environment(
    folder: &Path,
    requirements: &str,
    interrupt: &Interrupt,
) -> Result<PathBuf> {
    let installed = folder.join("installed.txt");
    let programs = folder.join("python/bin");
    if !fs::read_to_string(&installed).is_ok_and(|text| text == requirements) {
        install::ensure_tools(can_make_environments(), &["python3", "python3-venv"])?;
        let python = on_path("python3").context("this check needs python3")?;
        fs::create_dir_all(folder)?;
        let list = folder.join("requirements.txt");
        fs::write(&list, requirements)?;
        demand("making an environment of Python", &python, interrupt, |command| {
            command.args(["-m", "venv", "--clear"]).arg(folder.join("python"));
        })?;
        demand("pip", &programs.join("pip"), interrupt, |command| {
            command.args(["install", "-q", "--no-input", "--disable-pip-version-check", "-r"]);
            command.arg(&list);
        })?;
        fs::write(installed, requirements)?;
    }
    Ok(programs)
}

/// Runs a program, whose failure is an error.
pub(crate) fn demand(
    what: &str,
    program: &Path,
    interrupt: &Interrupt,
    prepare: impl FnOnce(&mut Command),
) -> Result<()> {
    let status = cargo::to_end(program, interrupt, prepare)?;
    if !status.success() {
        bail!("{what} failed: {status}");
    }
    Ok(())
}

/// Debian parts what makes environments from the rest of Python.
fn can_make_environments() -> bool {
    on_path("python3").is_some_and(|python| {
        let trial = Command::new(python)
            .args(["-c", "import ensurepip, venv"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        trial.is_ok_and(|status| status.success())
    })
}
