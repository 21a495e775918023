//! An admin's change: all of it or nothing, against the version that it was checked with, and noted with it.

use serde_json::{Map, Value, json};

use crate::config::{ConfigError, LiveValues, Loaded, Violation, live_setting};
use crate::platform::{Fault, Outcome};
use crate::settings::look::values;
use crate::settings::{LiveSettings, store};

/// How often a change starts over because another one came in between.
const ATTEMPTS: usize = 5;

/// What is to change.
#[derive(Debug)]
pub struct Change {
    /// Values by name; null takes a live setting away.
    pub values: Map<String, Value>,
    /// The version that it was made for, if it must be that.
    pub version: Option<i64>,
    /// Whether running holds take the hold time.
    pub running_holds: bool,
    /// Why.
    pub reason: Option<String>,
    /// By whom.
    pub actor: String,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no setting of this name.
    #[error("{0} is no setting")]
    Unknown(String),
    /// It takes a restart.
    #[error("{0} is no live setting")]
    NotLive(String),
    /// The values are wrong, or do not go together.
    #[error("the values are wrong")]
    Invalid(Vec<Violation>),
    /// Somebody else changed settings meanwhile.
    #[error("the settings are of version {version}")]
    Conflict {
        /// The version now.
        version: i64,
    },
    /// Nobody's request is wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<ConfigError> for ChangeError {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error.violations)
    }
}

impl LiveSettings {
    /// Changes live settings; in force here when this returns, everywhere within two seconds.
    pub async fn change(&self, change: &Change) -> Result<(), ChangeError> {
        self.known_names(change)?;
        for _ in 0..ATTEMPTS {
            // What is stored, in force or not: what is wrong with it can be taken away.
            let stored = store::read(&self.shared.parts.db).await?;
            let known = self.shared.known.load_full();
            let version = stored.version;
            if change.version.is_some_and(|wanted| wanted != version) {
                return Err(ChangeError::Conflict { version });
            }
            if change.values.is_empty() && !change.running_holds {
                return Ok(());
            }
            let start = &self.shared.parts.start;
            let mut live = values(&stored.rows);
            lay(&mut live, &change.values);
            let loaded = Loaded::of(&start.options, known.base.sources.clone(), &live)?;
            let after = loaded.live_over(start)?.live_values();
            let before = known.in_force.settings.live_values();
            let detail = |name: &String| {
                json!({
                    "before": before.get(name.as_str()), "after": after.get(name.as_str()),
                    "removed": change.values[name].is_null(),
                    "running_holds": change.running_holds, "reason": change.reason,
                })
            };
            let details: Map<String, Value> =
                change.values.keys().map(|name| (name.clone(), detail(name))).collect();
            let (values, details) = (Value::from(change.values.clone()), Value::from(details));
            let (db, holds) = (&self.shared.parts.db, change.running_holds);
            let changed = store::change(db, version, &values, holds, &change.actor, &details);
            if changed.await?.is_some() {
                self.look().await?;
                return Ok(());
            }
        }
        Err(Fault::unavailable("changing settings that others change too", Outcome::None).into())
    }

    fn known_names(&self, change: &Change) -> Result<(), ChangeError> {
        for name in change.values.keys() {
            if live_setting(name).is_some() {
                continue;
            }
            let known = self.shared.parts.start.knows(name);
            let refused = if known { ChangeError::NotLive } else { ChangeError::Unknown };
            return Err(refused(name.clone()));
        }
        Ok(())
    }
}

fn lay(live: &mut LiveValues, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            live.remove(name);
        } else {
            live.insert(name.clone(), value.clone());
        }
    }
}
