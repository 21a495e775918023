//! The environment a service is started with, and the part of it that scripts may read.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use xtask::servers::free_port;

use crate::stores::Stores;

const SECRET: &str = "HOLDFAST__AUTH__JWT_SECRET";
const MANAGEMENT: &str = "HOLDFAST__SERVER__MANAGEMENT_BIND";

/// What decides where the service and its stores are. Ours alone: a private service is private.
const PLACES: [&str; 8] = [
    "PORT",
    "DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "REDIS_URL",
    "HOLDFAST__SERVER__PORT",
    "HOLDFAST__DATABASE__URL",
    "HOLDFAST__DATABASE__MIGRATE_URL",
    "HOLDFAST__REDIS__URL",
];

/// What makes a provider's account the caller's own.
const PROVIDER_KEYS: [&str; 4] = [
    "STRIPE_SECRET_KEY",
    "HOLDFAST__PAYMENTS__STRIPE__SECRET_KEY",
    "BKASH_APP_KEY",
    "HOLDFAST__PAYMENTS__BKASH__APP_KEY",
];

/// Variables by name, each once; the last one set stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings(Vec<(OsString, OsString)>);

impl Settings {
    /// The caller's own settings, completed with what a service on private stores needs.
    pub(crate) fn new(workspace: &Path, stores: &Stores, port: u16, secret: &str) -> Result<Self> {
        let mut settings = Self(std::env::vars_os().collect());
        settings.0.retain(|(name, _)| !is_place(name));
        settings.set_default("HOLDFAST_PROFILE", "local");
        settings.set_default("HOLDFAST_CONFIG_DIR", workspace.join("config"));
        settings.set_default(SECRET, secret);
        settings.set("PORT", port.to_string());
        settings.set("DATABASE_URL", stores.database_url());
        settings.set("REDIS_URL", stores.redis.url());
        if !settings.get(MANAGEMENT).is_some_and(is_free) {
            settings.set(MANAGEMENT, format!("127.0.0.1:{}", free_port()?));
        }
        Ok(settings)
    }

    /// Whether the caller brings an account at a provider; then no sandbox stands in for it.
    pub(crate) fn has_provider(&self) -> bool {
        PROVIDER_KEYS.iter().any(|name| self.get(name).is_some_and(|key| !key.is_empty()))
    }

    /// Lets payments go to the sandbox at `url`; `service` is where buyers reach the service.
    pub(crate) fn use_sandbox(&mut self, url: &str, service: &str, keys: &[(&str, String)]) {
        for (name, key) in keys {
            self.set(name, key);
        }
        self.set("HOLDFAST_SANDBOX_URL", url);
        self.set("HOLDFAST__PAYMENTS__SANDBOX", "true");
        self.set("HOLDFAST__PAYMENTS__STRIPE__API_BASE", url);
        self.set("HOLDFAST__PAYMENTS__BKASH__BASE_URL", url);
        self.set_default("HOLDFAST__PAYMENTS__BKASH__CALLBACK_BASE", service);
        self.set_default("HOLDFAST__PAYMENTS__RETURN_ORIGINS", format!("{url},{service}"));
    }

    /// All variables.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// One variable, if it is text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(known, _)| *known == name)?.1.to_str()
    }

    /// Where the management port is.
    pub(crate) fn management(&self) -> &str {
        self.get(MANAGEMENT).unwrap_or_default()
    }

    /// Sets one variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), value.into()));
    }

    fn set_default(&mut self, name: &str, value: impl Into<OsString>) {
        // Compose files and shells pass unset variables on as empty ones.
        if self.get(name).is_none_or(str::is_empty) {
            self.set(name, value);
        }
    }

    /// Lines for a POSIX shell: what `holdfast token` and its kin need beside the service.
    fn lines(&self) -> String {
        let mut lines: Vec<String> = self
            .pairs()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .filter(|(name, _)| is_for_scripts(name))
            .map(|(name, value)| format!("{name}={}\n", quoted(value)))
            .collect();
        lines.sort();
        lines.concat()
    }

    /// Writes the lines to a file of this user alone; readers see all of it or none.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let unfinished = path.with_extension(format!("env.{}", std::process::id()));
        // One left by a killed process of the same number may have another mode.
        let _ = fs::remove_file(&unfinished);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(self.lines().as_bytes()))
            .and_then(|()| fs::rename(&unfinished, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Deletes the file, unless another command has written it since.
    pub(crate) fn remove(&self, path: &Path) {
        if fs::read_to_string(path).is_ok_and(|text| text == self.lines()) {
            // A leftover is replaced by the next run.
            let _ = fs::remove_file(path);
        }
    }
}

fn is_place(name: &OsStr) -> bool {
    PLACES.iter().any(|place| name == *place)
}

fn is_free(address: &str) -> bool {
    TcpListener::bind(address).is_ok()
}

/// Secrets stay out of files, but for the development secret that signs tokens.
fn is_for_scripts(name: &str) -> bool {
    let plain =
        ["DATABASE_URL", "REDIS_URL", "HOLDFAST_URL", "HOLDFAST_BIN", "HOLDFAST_SANDBOX_URL"];
    let profile = ["HOLDFAST_PROFILE", "HOLDFAST_CONFIG_DIR"];
    if name == SECRET || plain.contains(&name) || profile.contains(&name) {
        return true;
    }
    let secret = name.contains("SECRET") || name.contains("PASSWORD");
    let secret = secret
        || name.ends_with("__USERNAME")
        || name.ends_with("_KEY")
        || name.ends_with("SMTP_URL");
    name.starts_with("HOLDFAST__") && !secret && is_variable_name(name)
}

fn is_variable_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{Settings, quoted};

    #[test]
    fn a_quote_survives_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn keys_of_providers_stand_in_no_file() {
        let mut settings = Settings::default();
        assert!(!settings.has_provider());
        let keys = [
            ("STRIPE_SECRET_KEY", "sk_test_hush".to_owned()),
            ("STRIPE_WEBHOOK_SECRET", "whsec_hush".to_owned()),
            ("BKASH_APP_KEY", "hush".to_owned()),
            ("BKASH_APP_SECRET", "hush".to_owned()),
            ("BKASH_USERNAME", "hush".to_owned()),
            ("BKASH_PASSWORD", "hush".to_owned()),
        ];
        settings.set("HOLDFAST__PAYMENTS__BKASH__USERNAME", "hush");
        settings.use_sandbox("http://127.0.0.1:1", "http://127.0.0.1:2", &keys);
        assert!(settings.has_provider());
        let lines = settings.lines();
        assert!(!lines.contains("hush"), "{lines}");
        assert!(lines.contains("HOLDFAST_SANDBOX_URL='http://127.0.0.1:1'"), "{lines}");
        assert!(lines.contains("HOLDFAST__PAYMENTS__SANDBOX='true'"), "{lines}");
    }

    #[test]
    fn scripts_see_what_they_need_and_no_other_secret() {
        let mut settings = Settings::default();
        settings.set("HOLDFAST__RESERVATION__TTL_SECONDS", "5");
        settings.set("HOLDFAST__AUTH__JWT_SECRET", "signs");
        settings.set("HOLDFAST__PAYMENTS__STRIPE__SECRET_KEY", "sk_live");
        settings.set("HOLDFAST__AUTH__PREVIOUS_JWT_SECRET", "old");
        settings.set("DATABASE_URL", "postgresql://");
        settings.set("HOME", "/nowhere");
        settings.set("DATABASE_URL", "postgresql://again");
        let expected = "DATABASE_URL='postgresql://again'\n\
                        HOLDFAST__AUTH__JWT_SECRET='signs'\n\
                        HOLDFAST__RESERVATION__TTL_SECONDS='5'\n";
        assert_eq!(settings.lines(), expected);
    }
}
