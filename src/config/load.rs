//! Reading settings from their sources, in order.

use std::fmt;
use std::path::{Path, PathBuf};

use super::layers::Layers;
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

/// Reads and checks all settings, and reports what is wrong with those that begin with `prefix`.
pub(super) fn load(options: &LoadOptions, prefix: &str) -> Result<Settings, ConfigError> {
    let mut found = Findings::default();
    let mut layers = Layers::new(DEFAULTS, &mut found);
    add_files(&mut layers, options, &mut found);
    layers.add_environment(&options.env, &mut found);
    let settings: Option<Settings> = layers.read(&mut found);
    if let Some(settings) = &settings {
        settings.check(&mut found);
    }
    found.into_result(prefix)?;
    settings.ok_or_else(|| ConfigError { violations: Vec::new() })
}

fn add_files(layers: &mut Layers, options: &LoadOptions, found: &mut Findings) {
    if options.dir != Path::new(DEFAULT_DIR) && !options.dir.is_dir() {
        let dir = Origin::Variable("HOLDFAST_CONFIG_DIR".into());
        return found.at(dir, "", format!("names no folder: {}", options.dir.display()));
    }
    layers.add_file(&options.dir.join("default.toml"), found);
    if !is_plain_name(&options.profile) {
        let profile = Origin::Variable("HOLDFAST_PROFILE".into());
        return found.at(profile, "", "must be made of a-z 0-9 _ -");
    }
    let file = options.dir.join(format!("{}.toml", options.profile));
    // Only the profile that nobody asked for may be absent: a misspelt one must not start.
    if options.profile != DEFAULT_PROFILE && !file.exists() {
        let profile = Origin::Variable("HOLDFAST_PROFILE".into());
        return found.at(profile, "", format!("names no file: {} is missing", file.display()));
    }
    layers.add_file(&file, found);
}

fn is_plain_name(profile: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    !profile.is_empty() && profile.bytes().all(plain)
}
