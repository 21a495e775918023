//! Putting in force what files, environment and Postgres say, if it is sound as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{ConfigError, LiveValues, Loaded, Sources, live_setting};
use crate::kernel::Instant;
use crate::platform::{Fault, metrics as names, telemetry};
use crate::settings::store::Stored;
use crate::settings::{Known, LiveSettings, Refused, Row, store};

/// The values among these rows that this binary knows as live settings. A newer replica may have stored others.
pub(super) fn values(rows: &BTreeMap<String, Row>) -> LiveValues {
    let known = rows.iter().filter(|(name, _)| live_setting(name).is_some());
    known.map(|(name, row)| (name.clone(), row.value.clone())).collect()
}

impl LiveSettings {
    /// Puts the live settings in force before anything is served. What is stored and not sound (another version of the
    /// service may have stored it) is told, and does not keep the service from starting.
    pub async fn begin(&self) -> Result<(), Fault> {
        self.look().await
    }

    /// Reads what Postgres has and puts it in force.
    pub(super) async fn look(&self) -> Result<(), Fault> {
        let _turn = self.shared.turn.lock().await;
        let stored = store::read(&self.shared.parts.background_db).await?;
        let known = self.shared.known.load_full();
        match self.apply(&known, known.base.sources.clone(), Some(stored)) {
            Ok(known) => self.agree(Known { refused_live: None, ..known }),
            Err(error) => {
                let refused_live = self.refuse(known.refused_live.clone(), &error);
                self.agree(Known { refused_live, ..(*known).clone() });
            }
        }
        Ok(())
    }

    /// Reads the files and puts them in force, if they have changed.
    pub(super) async fn look_at_files(&self) {
        let _turn = self.shared.turn.lock().await;
        let known = self.shared.known.load_full();
        let sources = Sources::read(&self.shared.parts.start.options);
        if sources == known.base.sources {
            // What was wrong is as it was before.
            if known.refused_files.is_some() {
                tracing::info!("the settings files are sound again");
                self.agree(Known { refused_files: None, ..(*known).clone() });
            }
            return;
        }
        match self.apply(&known, sources, None) {
            Ok(known) => self.agree(Known { refused_files: None, ..known }),
            Err(error) => {
                let refused_files = self.refuse(known.refused_files.clone(), &error);
                self.agree(Known { refused_files, ..(*known).clone() });
            }
        }
    }

    /// Puts these in force, with all the rest that is known, or says why not.
    fn apply(
        &self,
        known: &Known,
        sources: Sources,
        stored: Option<Stored>,
    ) -> Result<Known, ConfigError> {
        let start = &self.shared.parts.start;
        let (version, moving, rows) = match stored {
            Some(stored) => (stored.version, stored.moving, stored.rows),
            None => (known.version, known.moving, known.rows.clone()),
        };
        let base = Loaded::of(&start.options, sources.clone(), &LiveValues::new())?;
        let in_force = Loaded::of(&start.options, sources, &values(&rows))?;
        let settings = in_force.live_over(start)?;
        let restart = base.needs_restart(start);
        let new_restart = restart.iter().filter(|name| !known.restart.contains(name));
        for name in new_restart {
            tracing::warn!(
                setting = name,
                "a setting was changed that takes effect after a restart"
            );
        }
        let before = self.shared.parts.current.load().live_values();
        for (name, value) in settings.live_values() {
            if before.get(name) != Some(&value) {
                let origin = in_force.origin(name).to_string();
                tracing::info!(setting = name, %value, before = %before[name], origin, "a setting was changed");
                metrics::counter!(names::SETTINGS_CHANGES).increment(1);
            }
        }
        telemetry::set_filter(&settings.log.filter);
        self.shared.parts.current.replace(settings);
        metrics::gauge!(names::SETTINGS_VERSION).set(version as f64);
        Ok(Known { version, rows, base, in_force, restart, moving, ..known.clone() })
    }

    /// What was in force stands. Told once, not each time that it is looked at.
    fn refuse(&self, before: Option<Refused>, error: &ConfigError) -> Option<Refused> {
        let reason = error.to_string();
        if before.as_ref().is_some_and(|refused| refused.reason == reason) {
            return before;
        }
        tracing::error!(reason, "settings were refused; those in force stand");
        let at = Instant::from_ms(self.shared.parts.clock.now_ms());
        Some(Refused { at, reason })
    }

    fn agree(&self, known: Known) {
        let refused = known.refused_files.is_some() || known.refused_live.is_some();
        metrics::gauge!(names::SETTINGS_REFUSED).set(f64::from(u8::from(refused)));
        self.shared.known.store(Arc::new(known));
    }
}
