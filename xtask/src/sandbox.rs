//! The sandbox of payments beside a private service: fakes of Stripe and bKash, with pages to pay on.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::process::{Ending, Launch, Process};
use xtask::servers::{free_port, random_hex};

use crate::http;
use crate::interrupt::Interrupt;
use crate::settings::Settings;

const READY: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
const STOP: Duration = Duration::from_secs(5);

/// A running sandbox; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    process: Process,
    authority: String,
}

impl Sandbox {
    /// Starts one for the service that will answer at `authority`, and points its settings there. The keys are made
    /// anew each time and stand in no file; what was paid stays in `folder` between runs.
    pub(crate) fn start(
        binary: &Path,
        settings: &mut Settings,
        authority: &str,
        folder: &Path,
        fresh: bool,
    ) -> Result<Self> {
        let port = free_port()?;
        let own = format!("127.0.0.1:{port}");
        let keys = [
            ("STRIPE_SECRET_KEY", format!("sk_test_{}", random_hex(16)?)),
            ("STRIPE_WEBHOOK_SECRET", format!("whsec_{}", random_hex(24)?)),
            ("BKASH_APP_KEY", random_hex(13)?),
            ("BKASH_APP_SECRET", random_hex(26)?),
            ("BKASH_USERNAME", format!("sandbox-{}", random_hex(4)?)),
            ("BKASH_PASSWORD", random_hex(12)?),
        ];
        let state = folder.join("sandbox.json");
        if fresh {
            // Not there is what is wanted.
            let _ = fs::remove_file(&state);
        }
        let log = folder.join("sandbox.log");
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = log.try_clone()?;
        let webhook = format!("http://{authority}/api/payment/stripe/webhook");
        let process = Launch::new(binary, Ending::Kill).spawn(|command| {
            command
                .args(["--port", &port.to_string(), "--webhook-url", &webhook, "--state"])
                .arg(&state)
                .env_clear()
                .envs(keys.iter().map(|(name, key)| (*name, key.as_str())))
                .stdout(log)
                .stderr(errors);
        })?;
        let url = format!("http://{own}");
        settings.use_sandbox(&url, &format!("http://{authority}"), &keys);
        Ok(Self { process, authority: own })
    }

    /// Waits until it answers.
    pub(crate) fn await_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let started = Instant::now();
        while !http::get(&self.authority, "/").is_ok_and(|answer| answer.status == 200) {
            if let Some(status) = self.process.wait(LOOK)? {
                bail!("the sandbox of payments ended before it was ready: {status}");
            }
            interrupt.check()?;
            if started.elapsed() > READY {
                bail!("the sandbox of payments does not answer");
            }
        }
        Ok(())
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Lets it write down what happened.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.stop(Ending::Terminate, STOP).map(drop)
    }
}
