//! The client programs of Postgres, pointed at one private server.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The superuser; the socket's folder decides who may be it.
pub(super) const USER: &str = "holdfast";

/// Part of the socket's name only: nothing listens on a port.
pub(super) const PORT: &str = "5432";

/// The client programs and the server they talk to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clients<'a> {
    pub(super) programs: &'a Path,
    pub(super) sockets: &'a Path,
}

impl Clients<'_> {
    /// In the form that libpq and tokio-postgres both read; the empty host leaves it to `?host=`.
    pub(super) fn url(self, database: &str) -> String {
        format!("postgresql://{USER}@/{database}?host={}", self.sockets.display())
    }

    /// Whether the server accepts clients by now.
    pub(super) fn accepted(self) -> bool {
        let status = self.command("pg_isready").args(["-q", "-d", "postgres"]).status();
        status.is_ok_and(|status| status.success())
    }

    pub(super) fn create_database(self, name: &str, template: Option<&str>) -> Result<()> {
        let template = match template {
            Some(template) => format!(" template {}", quoted(template)),
            None => String::new(),
        };
        self.psql("postgres", &format!("create database {}{template}", quoted(name))).map(drop)
    }

    pub(super) fn has_database(self, name: &str) -> Result<bool> {
        let names = self.psql("postgres", "select datname from pg_database")?;
        Ok(names.lines().any(|line| line == name))
    }

    pub(super) fn psql(self, database: &str, sql: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        output_of(command, "psql")
    }

    fn command(self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        forget_postgres_variables(&mut command);
        command.args(["-p", PORT, "-U", USER, "-h"]).arg(self.sockets).stdin(Stdio::null());
        command
    }
}

/// Settings of the caller's own Postgres, such as `PGPORT`, are none of ours.
pub(super) fn forget_postgres_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
}

/// What a command printed; an error with its complaint when it failed.
pub(super) fn output_of(mut command: Command, name: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
