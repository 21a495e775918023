//! `log`: what is written to standard output, and how.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::violation::Findings;

/// What is logged, and in which shape.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// Shape of a line.
    pub format: LogFormat,
    /// Which events are written, in the words of `tracing`'s `EnvFilter`.
    pub filter: String,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum LogFormat {
    /// For a person at a terminal.
    Pretty,
    /// One JSON object per line, for a collector.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            _ => Err("must be pretty or json"),
        }
    }
}

impl LogSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        if let Err(error) = EnvFilter::try_new(&self.filter) {
            found.add("log.filter", format!("is no filter: {error}"));
        }
    }
}
