//! Lays the sources of settings over each other and reads the result into types.
//!
//! The defaults inside the binary name every setting there is. What a later source says must be
//! one of them and of the same type; what is not is recorded and left out, so that one run finds
//! everything wrong at once.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;

use super::environment::{self, Variable};
use super::load::LiveValues;
use super::secret;
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

    /// Lays the text of a file over what is there.
    pub(super) fn add_file(&mut self, name: &str, text: &str, found: &mut Findings) {
        let at = |line| Origin::File { path: name.to_owned(), line };
        match toml_file::entries(text) {
            Ok(entries) => entries.into_iter().for_each(|Entry { path, value, line }| {
                if secret::is_masked(&path, &value) {
                    return;
                }
                if secret::belongs_in_environment(&path, &value) {
                    let variable = environment::variable_of(&path);
                    let message = format!(
                        "is a secret and may not stand in a file; set the environment variable {variable}"
                    );
                    return found.at(at(line), &path, message);
                }
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

    /// Lays live settings over what is there.
    pub(super) fn add_live(&mut self, values: &LiveValues, found: &mut Findings) {
        for (path, value) in values {
            match typed(value) {
                Some(value) => self.put(path.clone(), value, Origin::Live, found),
                None => found.at(
                    Origin::Live,
                    path,
                    "must be a number, a text, a list of texts, or true or false",
                ),
            }
        }
    }

    /// What is in force, as written.
    pub(super) fn values(&self) -> &BTreeMap<String, Value> {
        &self.in_force
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

/// A value of JSON as one of TOML.
fn typed(value: &serde_json::Value) -> Option<Value> {
    match value {
        serde_json::Value::Bool(flag) => Some(Value::Boolean(*flag)),
        serde_json::Value::Number(number) => number.as_i64().map(Value::Integer),
        serde_json::Value::String(text) => Some(Value::String(text.clone())),
        serde_json::Value::Array(items) => {
            let text =
                |item: &serde_json::Value| item.as_str().map(|text| Value::String(text.into()));
            Some(Value::Array(items.iter().map(text).collect::<Option<_>>()?))
        }
        serde_json::Value::Null | serde_json::Value::Object(_) => None,
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
