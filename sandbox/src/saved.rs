//! What outlives the program, in a file of its user's: a payment that was begun before a restart can be ended after it.
//! Keys and tokens are never in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bkash::payments::Payment;
use crate::clock::Clock;
use crate::stripe::Kept;
use crate::stripe::refunds::Refund;
use crate::stripe::sessions::{Intent, Session};
use crate::world::World;

/// How often what changed is written down.
const PACE: Duration = Duration::from_secs(1);

/// All that is written down.
#[derive(Serialize, Deserialize)]
struct Saved {
    clock: Clock,
    sessions: Vec<Session>,
    intents: Vec<Intent>,
    refunds: Vec<Refund>,
    kept: BTreeMap<String, Kept>,
    events: Vec<Value>,
    delivered: BTreeSet<String>,
    payments: Vec<Payment>,
}

impl World {
    /// Goes on from what was written down, if there is anything.
    pub(crate) fn load(&self, path: &Path) -> anyhow::Result<()> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let saved: Saved =
            serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
        let mut state = self.lock();
        state.clock = saved.clock;
        state.bkash.payments = saved.payments;
        let stripe = &mut state.stripe;
        stripe.sessions = saved.sessions;
        stripe.intents = saved.intents;
        stripe.refunds = saved.refunds;
        stripe.kept = saved.kept;
        let told =
            |event: &&Value| event["id"].as_str().is_none_or(|id| saved.delivered.contains(id));
        let id = |event: &Value| event["id"].as_str().map(str::to_owned);
        let untold = saved.events.iter().filter(|event| !told(event)).filter_map(id);
        stripe.events.waiting = untold.collect();
        stripe.events.all = saved.events;
        stripe.events.delivered = saved.delivered;
        Ok(())
    }

    /// The text that is written down.
    pub(crate) fn saved(&self) -> anyhow::Result<String> {
        let state = self.lock();
        let saved = Saved {
            clock: state.clock.clone(),
            sessions: state.stripe.sessions.clone(),
            intents: state.stripe.intents.clone(),
            refunds: state.stripe.refunds.clone(),
            kept: state.stripe.kept.clone(),
            events: state.stripe.events.all.clone(),
            delivered: state.stripe.events.delivered.clone(),
            payments: state.bkash.payments.clone(),
        };
        drop(state);
        Ok(serde_json::to_string(&saved)?)
    }
}

/// Writes down what changed, until the sandbox ends.
pub(crate) async fn keep(world: Arc<World>, path: std::path::PathBuf) {
    let mut written = String::new();
    loop {
        tokio::time::sleep(PACE).await;
        let Ok(text) = world.saved() else { continue };
        if text == written {
            continue;
        }
        match write(&path, &text) {
            Ok(()) => written = text,
            Err(error) => eprintln!("sandbox: {error:#}"),
        }
    }
}

/// All of it or none.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let unfinished = path.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_file(&unfinished);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
