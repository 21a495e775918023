//! The console in a browser: Chromium, driven by Playwright, on a running service.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use xtask::process::on_path;
use xtask::servers::install;

use crate::cargo;
use crate::interrupt::Interrupt;

const MANIFEST: &str = include_str!("../console/package.json");
const LOCK: &str = include_str!("../console/package-lock.json");

/// Node with what the lock file pins: the parts of the page, Playwright, axe.
#[derive(Debug)]
pub(crate) struct Modules {
    folder: PathBuf,
    node: PathBuf,
}

impl Modules {
    /// Installs them below `folder`, unless exactly these are there.
    pub(crate) fn install(folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let programs = || on_path("node").zip(on_path("npm"));
        install::ensure_tools(programs().is_some(), &["nodejs", "npm"])?;
        let (node, npm) = programs().context("the console's checks need node and npm")?;
        let installed = folder.join("installed.json");
        if !fs::read_to_string(&installed).is_ok_and(|text| text == LOCK) {
            fs::create_dir_all(folder)?;
            fs::write(folder.join("package.json"), MANIFEST)?;
            fs::write(folder.join("package-lock.json"), LOCK)?;
            let status = cargo::to_end(&npm, interrupt, |command| {
                command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
                command.arg("--loglevel=error").current_dir(folder);
            })?;
            if !status.success() {
                bail!("npm ci failed: {status}");
            }
            fs::write(installed, LOCK)?;
        }
        Ok(Self { folder: folder.to_owned(), node })
    }

    /// Copies the parts of the page that others keep to `target`.
    pub(crate) fn vendor(
        &self,
        workspace: &Path,
        target: &Path,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let script = workspace.join("xtask/console/vendor.mjs");
        let status = cargo::to_end(&self.node, interrupt, |command| {
            command.arg(script).arg(self.folder.join("node_modules")).arg(target);
        })?;
        if !status.success() {
            bail!("the parts of the page were not renewed: {status}");
        }
        Ok(())
    }

    /// Uses the console of a service as people do. Screenshots go to `pictures`.
    pub(crate) fn use_console(
        &self,
        workspace: &Path,
        pictures: &Path,
        environment: &[(OsString, OsString)],
        interrupt: &Interrupt,
    ) -> Result<()> {
        let chromium = chromium()?;
        let script = workspace.join("xtask/console/browser/run.mjs");
        let status = cargo::to_end(&self.node, interrupt, |command| {
            command.arg(script).envs(environment.iter().cloned());
            command.env("CONSOLE_MODULES", self.folder.join("node_modules"));
            command.env("CONSOLE_CHROMIUM", chromium).env("CONSOLE_PICTURES", pictures);
        })?;
        if !status.success() {
            bail!("the console failed in the browser: {status}");
        }
        Ok(())
    }
}

/// Debian's package, and its kin elsewhere.
fn chromium() -> Result<PathBuf> {
    let find = || ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path);
    install::ensure_tools(find().is_some(), &["chromium"])?;
    find().context("the console's checks need Chromium")
}
