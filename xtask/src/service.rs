//! One running service on private stores.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::process::{Ending, Launch, Process};

use crate::http;
use crate::interrupt::Interrupt;
use crate::settings::Settings;

const READY: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
const STOP: Duration = Duration::from_secs(15);

/// A service and how to reach it; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Service {
    process: Process,
    binary: PathBuf,
    settings: Settings,
    authority: String,
}

impl Service {
    /// Starts `holdfast serve --migrate`; `authority` is where it will answer.
    pub(crate) fn start(binary: &Path, settings: &Settings, authority: &str) -> Result<Self> {
        Self::start_with(binary, settings, authority, |_| {})
    }

    /// Starts it like [`Self::start`]; `prepare` says where its log goes.
    pub(crate) fn start_with(
        binary: &Path,
        settings: &Settings,
        authority: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let process = Launch::new(binary, Ending::Kill).spawn(|command| {
            command.args(["serve", "--migrate"]).env_clear().envs(settings.pairs());
            prepare(command);
        })?;
        Ok(Self {
            process,
            binary: binary.to_owned(),
            settings: settings.clone(),
            authority: authority.to_owned(),
        })
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) fn await_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.wait(LOOK)? {
                bail!("the service ended before it was ready: {status}");
            }
            interrupt.check()?;
            let answer = http::get(&self.authority, "/readyz");
            match answer {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) if started.elapsed() > READY => {
                    bail!("not ready after {} s: {}", READY.as_secs(), answer.body);
                }
                Err(error) if started.elapsed() > READY => {
                    return Err(error.context("the service does not answer"));
                }
                _ => {}
            }
        }
    }

    /// A token of the service's own making.
    pub(crate) fn token(&self, role: &str, subject: &str) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(["token", "--role", role, "--sub", subject, "--ttl", "24h"])
            .env_clear()
            .envs(self.settings.pairs())
            .stdin(Stdio::null())
            .output()
            .context("cannot run holdfast token")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        match printed.lines().last() {
            Some(token) if output.status.success() => Ok(token.trim().to_owned()),
            _ => bail!("holdfast token failed: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// What its other commands need to find the same stores.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        self.settings.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Sends a POST of JSON with a bearer token.
    pub(crate) fn post(&self, path: &str, token: &str, json: &str) -> Result<http::Answer> {
        http::post(&self.authority, path, token, json)
    }

    /// Sends a GET.
    pub(crate) fn get(&self, path: &str) -> Result<http::Answer> {
        http::get(&self.authority, path)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it answers.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Waits a moment; its status if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.wait(LOOK)
    }

    /// Lets it finish what is in flight.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        self.process.stop(Ending::Terminate, STOP)
    }
}
