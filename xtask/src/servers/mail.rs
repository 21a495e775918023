//! A private mail server for the tests: takes every mail by SMTP and keeps it in a folder.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::folder::Folder;
use super::{free_port, install};
use crate::process::{Ending, Launch, POLL, Process, on_path};

const PROGRAM: &str = "aiosmtpd";
const PACKAGE: &str = "python3-aiosmtpd";
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// A running mail server; dropping it ends it, and its mails go with it.
#[derive(Debug)]
pub struct Mail {
    // Dropped in this order: the server ends before its folder is deleted.
    process: Option<Process>,
    program: PathBuf,
    port: u16,
    folder: Folder,
}

/// Finds the program, or installs it where that is ours to do.
pub fn ensure() -> Result<PathBuf> {
    install::ensure_tools(on_path(PROGRAM).is_some(), &[PACKAGE])?;
    on_path(PROGRAM).context("aiosmtpd is installed, yet not to be found")
}

impl Mail {
    /// Starts a server on a free port of this machine and waits until it answers.
    pub fn start() -> Result<Self> {
        let program = ensure()?;
        let folder = Folder::temporary(false)?;
        let mut mail = Self { process: None, program, port: free_port()?, folder };
        mail.restart()?;
        Ok(mail)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Ends it; what it took stays.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(Ending::Kill, STOP)?;
        }
        Ok(())
    }

    /// Starts it on the same port with what it took before.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let log = self.folder.open_log()?;
        let errors = log.try_clone()?;
        let place = format!("127.0.0.1:{}", self.port);
        let process = Launch::new(&self.program, Ending::Kill).spawn(|command| {
            command.args(["-n", "-l", &place, "-c", "aiosmtpd.handlers.Mailbox"]);
            command.arg(self.folder.data()).stdout(log).stderr(errors);
        })?;
        self.process = Some(process);
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = match &mut self.process {
                Some(process) => process.exited()?.is_some(),
                None => true,
            };
            if ended || started.elapsed() > START {
                self.process = None;
                bail!("the mail server did not start:\n{}", self.folder.log_tail());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Every mail that it took, as it came, in no order.
    pub fn mails(&self) -> Result<Vec<String>> {
        let Ok(taken) = fs::read_dir(self.folder.data().join("new")) else { return Ok(Vec::new()) };
        let mut mails = Vec::new();
        for mail in taken {
            mails.push(fs::read_to_string(mail?.path())?);
        }
        Ok(mails)
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        // A server that refuses to stop is killed when its process is dropped.
        let _ = self.stop();
    }
}
