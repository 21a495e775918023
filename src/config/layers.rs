//! Lays the sources of settings over each other and reads the result into types.
//!
//! The defaults inside the binary name every setting there is. What a later source says must be
//! one of them and of the same type; what is not is recorded and left out, so that one run finds
//! everything wrong at once.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;

use super::environment::{self, Variable};
use super::toml_file::{self, Entry};
use super::violation::{Findings, Origin};

/// Settings in force, by `section.key`.
#[derive(Debug)]
pub(super) struct Layers {
    defaults: BTreeMap<String, Value>,
    in_force: BTreeMap<String, Value>,
}

impl Layers {
    /// Begins with the text of the built-in defaults.
    pub(super) fn new(defaults: &str, found: &mut Findings) -> Layers {
        let entries = toml_file::entries(defaults).unwrap_or_else(|error| {
            found.at(Origin::BuiltIn, "", error.message);
            Vec::new()
        });
        for entry in &entries {
            found.came_from(&entry.path, Origin::BuiltIn);
        }
        let defaults: BTreeMap<_, _> = entries.into_iter().map(|e| (e.path, e.value)).collect();
        Layers { in_force: defaults.clone(), defaults }
    }

    /// Lays a file over what is there. A missing file changes nothing.
    pub(super) fn add_file(&mut self, path: &Path, found: &mut Findings) {
        let name = path.display().to_string();
        let at = |line| Origin::File { path: name.clone(), line };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return found.at(at(1), "", format!("cannot be read: {error}")),
        };
        match toml_file::entries(&text) {
            Ok(entries) => entries.into_iter().for_each(|Entry { path, value, line }| {
                self.put(path, value, at(line), found);
            }),
            Err(error) => found.at(at(error.line), "", error.message),
        }
    }

    /// Lays environment variables over what is there.
    pub(super) fn add_environment(&mut self, pairs: &[(String, String)], found: &mut Findings) {
        for Variable { name, path, text } in environment::variables(pairs) {
            let origin = Origin::Variable(name);
            let Some(default) = self.defaults.get(&path) else {
                found.at(origin, &path, self.unknown(&path));
                continue;
            };
            match environment::typed(&text, default) {
                Ok(value) => self.put(path, value, origin, found),
                Err(expected) => found.at(origin, &path, format!("must be {expected}")),
            }
        }
    }

    fn put(&mut self, path: String, value: Value, origin: Origin, found: &mut Findings) {
        match self.defaults.get(&path) {
            None => found.at(origin, &path, self.unknown(&path)),
            // Types only, not the value: it may be a secret.
            Some(default) if !default.same_type(&value) => {
                let (expected, is) = (default.type_str(), value.type_str());
                found.at(origin, &path, format!("must be of type {expected}, not {is}"));
            }
            Some(_) => {
                found.came_from(&path, origin);
                self.in_force.insert(path, value);
            }
        }
    }

    fn unknown(&self, path: &str) -> &'static str {
        let section = format!("{path}.");
        let is_section = self.defaults.keys().any(|known| known.starts_with(&section));
        if is_section { "is a section, not a setting" } else { "is no setting" }
    }

    /// Reads the settings into `T`. A value that `T` refuses gives way to its default, so that
    /// reading goes on; `None` only if the built-in defaults themselves do not fit.
    pub(super) fn read<T: DeserializeOwned>(&mut self, found: &mut Findings) -> Option<T> {
        loop {
            let merged = match self.merged() {
                Ok(merged) => merged,
                Err(error) => {
                    found.at(Origin::BuiltIn, "", error.to_string());
                    return None;
                }
            };
            let error = match serde_path_to_error::deserialize(merged) {
                Ok(settings) => return Some(settings),
                Err(error) => error,
            };
            let path = dotted(error.path());
            let message = error.inner().to_string();
            // The `config` crate says the key again.
            let message = message.split(" for key `").next().unwrap_or_default();
            let default = self.defaults.get(&path);
            if default.is_none() || default == self.in_force.get(&path) {
                found.at(Origin::BuiltIn, "", format!("{path} {message}"));
                return None;
            }
            found.refuse(&path, message);
            self.in_force.extend(default.map(|value| (path, value.clone())));
        }
    }

    /// The settings in force as one source that serde reads.
    fn merged(&self) -> Result<config::Config, config::ConfigError> {
        let builder = config::Config::builder();
        let set = |builder: Builder, (path, value): (&String, &Value)| {
            builder.set_override(path, plain(value.clone()))
        };
        self.in_force.iter().try_fold(builder, set)?.build()
    }
}

type Builder = config::ConfigBuilder<config::builder::DefaultState>;

/// The same value for the `config` crate.
fn plain(value: Value) -> config::ValueKind {
    match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Datetime(moment) => moment.to_string().into(),
        Value::Array(items) => items.into_iter().map(plain).collect::<Vec<_>>().into(),
        Value::Table(table) => {
            let members = table.into_iter().map(|(key, value)| (key, plain(value)));
            members.collect::<config::Map<String, _>>().into()
        }
    }
}

/// The `section.key` of a path; positions inside a list belong to the list.
fn dotted(path: &serde_path_to_error::Path) -> String {
    let keys: Vec<_> = path
        .iter()
        .map_while(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    keys.join(".")
}
