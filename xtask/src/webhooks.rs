//! Has the webhooks of a service verified by the library that the standard itself publishes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::python;

const REQUIREMENTS: &str = include_str!("../webhooks/requirements.txt");
const SCRIPT: &str = include_str!("../webhooks/verify.py");

/// The library, as its list of packages pins it, and our script.
#[derive(Debug)]
pub(crate) struct Verifier {
    python: PathBuf,
    script: PathBuf,
}

impl Verifier {
    /// Installs it below `folder`, unless exactly this is there.
    pub(crate) fn install(folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let programs = python::environment(folder, REQUIREMENTS, interrupt)?;
        let script = folder.join("verify.py");
        fs::write(&script, SCRIPT)?;
        Ok(Self { python: programs.join("python"), script })
    }

    /// Subscribes to a service with these tokens, and verifies what comes.
    pub(crate) fn run(
        &self,
        url: &str,
        storefront: &str,
        admin: &str,
        interrupt: &Interrupt,
    ) -> Result<()> {
        python::demand("verifying webhooks", &self.python, interrupt, |command| {
            command.arg(&self.script).args([url, storefront, admin]);
        })
    }
}
