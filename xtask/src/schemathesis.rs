//! Asks a service thousands of questions that its OpenAPI document makes up, and looks whether it answers as the document
//! says.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::python;

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
        python::environment(folder, REQUIREMENTS, interrupt)?;
        fs::write(folder.join("schemathesis.toml"), SETTINGS)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Asks on behalf of the bearer of `token`. Streams never end, and second names are the same handlers: both are left
    /// out. One worker: its questions are then the same each time.
    pub(crate) fn run(&self, url: &str, token: &str, interrupt: &Interrupt) -> Result<()> {
        let program = self.folder.join("python/bin/st");
        python::demand("schemathesis", &program, interrupt, |command| {
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
