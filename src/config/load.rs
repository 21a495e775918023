//! Reading settings from their sources, in order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::layers::Layers;
use super::live::live_setting;
use super::violation::{ConfigError, Findings, Origin};
use super::{Settings, environment};

/// Where settings are read from.
#[derive(Clone)]
pub struct LoadOptions {
    /// Folder of the files.
    pub dir: PathBuf,
    /// Name of the file that is laid over the defaults.
    pub profile: String,
    /// Environment variables, ours among others; some are secrets.
    pub env: Vec<(String, String)>,
}

const DEFAULTS: &str = include_str!("../../config/default.toml");
const DEFAULT_DIR: &str = "config";
const DEFAULT_PROFILE: &str = "local";

impl LoadOptions {
    /// Takes folder and profile from `HOLDFAST_CONFIG_DIR` and `HOLDFAST_PROFILE`.
    pub fn from_env(env: impl IntoIterator<Item = (String, String)>) -> LoadOptions {
        let env: Vec<(String, String)> = env.into_iter().collect();
        let value = |name: &str, default: &str| {
            let set = env.iter().find(|(known, text)| known == name && !text.is_empty());
            set.map_or(default, |(_, text)| text).to_owned()
        };
        LoadOptions {
            dir: value("HOLDFAST_CONFIG_DIR", DEFAULT_DIR).into(),
            profile: value("HOLDFAST_PROFILE", DEFAULT_PROFILE),
            env,
        }
    }

    /// As [`LoadOptions::from_env`], with the environment of this process.
    #[must_use]
    pub fn from_process_env() -> LoadOptions {
        LoadOptions::from_env(environment::of_process())
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadOptions { dir, profile, .. } = self;
        let mut shown = f.debug_struct("LoadOptions");
        shown.field("dir", dir).field("profile", profile).finish_non_exhaustive()
    }
}

/// Live settings, by name.
pub type LiveValues = BTreeMap<String, serde_json::Value>;

/// What settings are made of: the texts of the files, and the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Sources {
    /// Name, and text or why there is none.
    files: Vec<(String, Result<String, String>)>,
    env: Vec<(String, String)>,
    /// What is wrong with where they are looked for.
    misled: Option<(String, String)>,
}

impl Sources {
    /// Reads the files; those that may be absent change nothing.
    #[must_use]
    pub fn read(options: &LoadOptions) -> Sources {
        let mut sources = Sources { files: Vec::new(), env: options.env.clone(), misled: None };
        if let Err((variable, message)) = sources.add_files(options) {
            sources.misled = Some((variable.to_owned(), message));
        }
        sources
    }

    fn add_files(&mut self, options: &LoadOptions) -> Result<(), (&'static str, String)> {
        if options.dir != Path::new(DEFAULT_DIR) && !options.dir.is_dir() {
            let message = format!("names no folder: {}", options.dir.display());
            return Err(("HOLDFAST_CONFIG_DIR", message));
        }
        self.add_file(&options.dir.join("default.toml"));
        if !is_plain_name(&options.profile) {
            return Err(("HOLDFAST_PROFILE", "must be made of a-z 0-9 _ -".to_owned()));
        }
        let file = options.dir.join(format!("{}.toml", options.profile));
        // Only the profile that nobody asked for may be absent: a misspelt one must not start.
        if options.profile != DEFAULT_PROFILE && !file.exists() {
            let message = format!("names no file: {} is missing", file.display());
            return Err(("HOLDFAST_PROFILE", message));
        }
        self.add_file(&file);
        Ok(())
    }

    fn add_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            read => read.map_err(|error| format!("cannot be read: {error}")),
        };
        self.files.push((path.display().to_string(), text));
    }

    fn lay(&self, layers: &mut Layers, found: &mut Findings) {
        for (name, text) in &self.files {
            match text {
                Ok(text) => layers.add_file(name, text, found),
                Err(message) => {
                    let origin = Origin::File { path: name.clone(), line: 1 };
                    found.at(origin, "", message);
                }
            }
        }
        if let Some((variable, message)) = &self.misled {
            found.at(Origin::Variable(variable.clone()), "", message);
        }
        layers.add_environment(&self.env, found);
    }
}

/// Settings, and where each of them comes from.
#[derive(Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where they were read, to look again.
    pub options: LoadOptions,
    /// What they were made of.
    pub sources: Sources,
    values: BTreeMap<String, toml::Value>,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Reads and checks all settings but the live ones.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn read(options: &LoadOptions) -> Result<Loaded, ConfigError> {
        Self::of(options, Sources::read(options), &LiveValues::new())
    }

    /// Checks all settings made of these sources and live ones.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn of(
        options: &LoadOptions,
        sources: Sources,
        live: &LiveValues,
    ) -> Result<Loaded, ConfigError> {
        let part = load(&sources, live, "")?;
        let Part { settings, values, origins } = part;
        Ok(Loaded { settings, options: options.clone(), sources, values, origins })
    }

    /// Where a setting comes from.
    #[must_use]
    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::BuiltIn)
    }

    /// Whether there is a setting of this name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The settings that differ from those of `start` and take a restart.
    #[must_use]
    pub fn needs_restart(&self, start: &Loaded) -> Vec<String> {
        let differs = |name: &&String| self.values.get(*name) != start.values.get(*name);
        let names = self.values.keys().filter(|name| live_setting(name).is_none());
        names.filter(differs).cloned().collect()
    }

    /// The settings of `start` with the live ones of these.
    ///
    /// # Errors
    ///
    /// What is wrong with the two together.
    pub fn live_over(&self, start: &Loaded) -> Result<Settings, ConfigError> {
        let settings = start.settings.with_live_of(&self.settings);
        settings.violations().into_result("")?;
        Ok(settings)
    }
}

/// Settings as they were read.
pub(super) struct Part {
    pub(super) settings: Settings,
    values: BTreeMap<String, toml::Value>,
    origins: BTreeMap<String, Origin>,
}

/// Reads and checks all settings, and reports what is wrong with those that begin with `prefix`.
pub(super) fn load(
    sources: &Sources,
    live: &LiveValues,
    prefix: &str,
) -> Result<Part, ConfigError> {
    let mut found = Findings::default();
    let mut layers = Layers::new(DEFAULTS, &mut found);
    sources.lay(&mut layers, &mut found);
    layers.add_live(live, &mut found);
    let values = layers.values().clone();
    let settings: Option<Settings> = layers.read(&mut found);
    if let Some(settings) = &settings {
        settings.check(&mut found);
    }
    let origins = found.origins();
    found.into_result(prefix)?;
    let settings = settings.ok_or_else(|| ConfigError { violations: Vec::new() })?;
    Ok(Part { settings, values, origins })
}

fn is_plain_name(profile: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    !profile.is_empty() && profile.bytes().all(plain)
}
