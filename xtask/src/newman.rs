//! Runs the Postman collection against a service.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::process::on_path;
use xtask::servers::install;

use crate::cargo;
use crate::interrupt::Interrupt;

const MANIFEST: &str = include_str!("../newman/package.json");
const LOCK: &str = include_str!("../newman/package-lock.json");

/// Newman, as its lock file pins it.
#[derive(Debug)]
pub(crate) struct Newman {
    script: PathBuf,
    node: PathBuf,
}

impl Newman {
    /// Installs it below `folder`, unless exactly this is there.
    pub(crate) fn install(folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let programs = || on_path("node").zip(on_path("npm"));
        install::ensure_tools(programs().is_some(), &["nodejs", "npm"])?;
        let (node, npm) = programs().context("newman needs node and npm")?;
        let script = folder.join("node_modules/newman/bin/newman.js");
        let installed = folder.join("installed.json");
        if !script.is_file() || !fs::read_to_string(&installed).is_ok_and(|text| text == LOCK) {
            fs::create_dir_all(folder)?;
            fs::write(folder.join("package.json"), MANIFEST)?;
            fs::write(folder.join("package-lock.json"), LOCK)?;
            let status = cargo::to_end(&npm, interrupt, |command| {
                command.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
                command.current_dir(folder);
            })?;
            if !status.success() {
                bail!("npm ci failed: {status}");
            }
            fs::write(installed, LOCK)?;
        }
        Ok(Self { script, node })
    }

    /// Runs a collection once; any failed assertion is an error.
    pub(crate) fn run(
        &self,
        collection: &Path,
        variables: &[(&str, &str)],
        interrupt: &Interrupt,
    ) -> Result<()> {
        let status = cargo::to_end(&self.node, interrupt, |command| {
            command.arg(&self.script).arg("run").arg(collection);
            command.args(["--bail", "--timeout-request", "10000", "--reporter-cli-no-banner"]);
            for (name, value) in variables {
                command.arg("--env-var").arg(format!("{name}={value}"));
            }
        })?;
        if !status.success() {
            bail!("the Postman collection failed: {status}");
        }
        Ok(())
    }
}
