//! What is wrong with the settings, and where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The defaults inside the binary.
    BuiltIn,
    /// A line of a file.
    File {
        /// The file as it was opened.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// The live settings.
    Live,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => write!(f, "built-in defaults"),
            Origin::File { path, line } => write!(f, "{path} line {line}"),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Live => write!(f, "live setting"),
        }
    }
}

/// One thing wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where the value at fault was written; `None` when nothing was.
    pub origin: Option<Origin>,
    /// The setting, as `section.key`; empty when a whole file is at fault.
    pub path: String,
    /// What is wrong, never with the value of a secret.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything wrong with the settings at once.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the settings are wrong:{}", lines(.violations))]
pub struct ConfigError {
    /// At least one.
    pub violations: Vec<Violation>,
}

fn lines(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  - {violation}")).collect()
}

/// Collects violations while settings are read and checked.
#[derive(Debug, Default)]
pub(super) struct Findings {
    violations: Vec<Violation>,
    origins: BTreeMap<String, Origin>,
}

impl Findings {
    /// Remembers where the value in force of a setting comes from.
    pub(super) fn came_from(&mut self, path: &str, origin: Origin) {
        self.origins.insert(path.to_owned(), origin);
    }

    /// Records a violation found while reading.
    pub(super) fn at(&mut self, origin: Origin, path: &str, message: impl Into<String>) {
        let (path, message) = (path.to_owned(), message.into());
        self.violations.push(Violation { origin: Some(origin), path, message });
    }

    /// Records that a setting's value in force is wrong.
    pub(super) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        let written = |origin: &&Origin| **origin != Origin::BuiltIn;
        let origin = self.origins.get(path).filter(written).cloned();
        let (path, message) = (path.to_owned(), message.into());
        self.violations.push(Violation { origin, path, message });
    }

    /// As [`Findings::refuse`], unless the setting is known to be wrong: when it could not even be
    /// read, the value in force is only the default that stands in for it.
    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        if !self.violations.iter().any(|known| known.path == path) {
            self.refuse(path, message);
        }
    }

    /// Records a violation unless `holds`.
    pub(super) fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.add(path, message);
        }
    }

    /// A wait inside a request has to end before the request does, or nobody hears its answer.
    pub(super) fn require_within_deadline(&mut self, path: &str, wait: Duration, end: Duration) {
        self.require(
            wait >= Duration::from_millis(1) && wait < end,
            path,
            "must be at least 1ms and shorter than server.request_deadline",
        );
    }

    /// Records that a required setting has no value, and which variable sets it.
    pub(super) fn missing(&mut self, path: &str, variable: &str) {
        self.add(path, format!("is not set; set the environment variable {variable}"));
    }

    /// Where the values in force come from.
    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        self.origins.clone()
    }

    /// Gives back what was found about settings that begin with `prefix`, and about whole files.
    pub(super) fn into_result(self, prefix: &str) -> Result<(), ConfigError> {
        let concerns = |found: &Violation| found.path.is_empty() || found.path.starts_with(prefix);
        let violations: Vec<_> = self.violations.into_iter().filter(concerns).collect();
        if violations.is_empty() { Ok(()) } else { Err(ConfigError { violations }) }
    }
}
