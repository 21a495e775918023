//! Asks a service thousands of questions that its OpenAPI document makes up, and looks whether it answers as the document
//! says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::process::on_path;
use xtask::servers::install;

use crate::cargo;
use crate::interrupt::Interrupt;

const REQUIREMENTS: &str = include_str!("../schemathesis/requirements.txt");
const SETTINGS: &str = include_str!("../schemathesis/schemathesis.toml");

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,unsupported_method,ignored_auth,negative_data_rejection";

/// Schemathesis, as its list of packages pins it.
#[derive(Debug)]
pub(crate) struct Schemathesis {
    folder: PathBuf,
}

impl Schemathesis {
    /// Installs it below `folder`, unless exactly this is there.
    pub(crate) fn install(folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let installed = folder.join("installed.txt");
        if !fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
            install::ensure_tools(can_make_environments(), &["python3", "python3-venv"])?;
            let python = on_path("python3").context("schemathesis needs python3")?;
            fs::create_dir_all(folder)?;
            let list = folder.join("requirements.txt");
            fs::write(&list, REQUIREMENTS)?;
            demand("making an environment of Python", &python, interrupt, |command| {
                command.args(["-m", "venv", "--clear"]).arg(folder.join("python"));
            })?;
            demand("pip", &folder.join("python/bin/pip"), interrupt, |command| {
                command.args(["install", "-q", "--no-input", "--disable-pip-version-check", "-r"]);
                command.arg(&list);
            })?;
            fs::write(installed, REQUIREMENTS)?;
        }
        fs::write(folder.join("schemathesis.toml"), SETTINGS)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Asks on behalf of the bearer of `token`. Streams never end, and second names are the same handlers: both are left
    /// out. One worker: its questions are then the same each time.
    pub(crate) fn run(&self, url: &str, token: &str, interrupt: &Interrupt) -> Result<()> {
        let program = self.folder.join("python/bin/st");
        demand("schemathesis", &program, interrupt, |command| {
            command.current_dir(&self.folder).arg("--config-file").arg("schemathesis.toml");
            command.arg("run").arg(format!("{url}/openapi.json")).args(["-c", CHECKS]);
            command.arg("-H").arg(format!("Authorization: Bearer {token}"));
            command.args(["--phases", "examples,coverage,fuzzing,stateful", "-n", "40"]);
            command.args(["--exclude-operation-id", "watchStock", "--exclude-deprecated"]);
            command.args(["--seed", "1", "--generation-deterministic", "--workers", "1"]);
            command.args(["--continue-on-failure", "--warnings", "off", "--request-timeout", "10"]);
        })
    }
}

fn demand(
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
