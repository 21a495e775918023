//! `holdfast check-config`: the settings in force, or everything that is wrong with them.

use std::io::Write;

use crate::config::{LoadOptions, Settings};

/// Writes the settings in force to `out` as TOML, with secrets masked.
///
/// # Errors
///
/// Everything that is wrong with the settings, one line each.
pub fn run(options: &LoadOptions, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(options)?;
    let (profile, dir) = (&options.profile, options.dir.display());
    writeln!(out, "# Settings in force: profile {profile}, files from {dir}, environment.\n")?;
    Ok(write!(out, "{}", settings.redacted())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> LoadOptions {
        LoadOptions::from_env(pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())))
    }

    #[test]
    fn sound_settings_are_shown_without_secrets() {
        let secret = "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw";
        let options = options(&[
            ("DATABASE_URL", "postgres://me:pgpass@db/shop"),
            ("REDIS_URL", "redis://cache"),
            ("HOLDFAST__AUTH__JWT_SECRET", secret),
            ("REDIS_TTL", "300"),
        ]);
        let mut out = Vec::new();
        run(&options, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.contains("ttl_seconds = 300"), "{shown}");
        assert!(!shown.contains("pgpass") && !shown.contains(secret), "{shown}");
    }

    #[test]
    fn unsound_settings_fail_with_every_fault() {
        let mut out = Vec::new();
        let said = run(&options(&[("PORT", "x")]), &mut out).unwrap_err().to_string();
        for part in ["PORT: server.port", "database.url", "redis.url", "auth.jwt_secret"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(out.is_empty());
    }
}
