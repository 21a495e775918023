//! Secrets in settings: how they are read, how strong they must be, how they are shown.
//!
//! Serializing settings always masks; there is no way to write a secret out.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serializer};

/// Stands wherever a secret would.
pub(super) const MASK: &str = "********";

/// What to do when a secret is missing or weak.
pub(super) const HOW_TO_MAKE_ONE: &str = "make one with: openssl rand -base64 48";

const SHORTEST_BYTES: usize = 32;
const FEWEST_DIFFERENT_BYTES: usize = 10;

/// What people type where a random secret belongs, without case and punctuation.
const WELL_KNOWN: [&str; 16] = [
    "secret",
    "password",
    "passw0rd",
    "changeme",
    "changethis",
    "replaceme",
    "placeholder",
    "default",
    "example",
    "insecure",
    "keyboardcat",
    "letmein",
    "qwerty",
    "12345678",
    "abcdefgh",
    "deadbeef",
];

/// Refuses a signing secret that could be guessed, and says what to do.
pub(super) fn strong(secret: &str) -> Result<(), String> {
    let fault = if secret.len() < SHORTEST_BYTES {
        "is shorter than 32 bytes"
    } else if different_bytes(secret) < FEWEST_DIFFERENT_BYTES {
        "repeats too few different characters"
    } else if is_well_known(secret) {
        "looks like a well-known default"
    } else {
        return Ok(());
    };
    Err(format!("{fault}; {HOW_TO_MAKE_ONE}"))
}

fn different_bytes(secret: &str) -> usize {
    let mut seen = [false; 256];
    secret.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

fn is_well_known(secret: &str) -> bool {
    let letters = secret.bytes().filter(u8::is_ascii_alphanumeric);
    let plain: String = letters.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    WELL_KNOWN.iter().any(|known| plain.contains(known))
}

/// Settings that are secrets whatever they hold, and those that are where they carry a password.
const SECRETS: [&str; 8] = [
    "auth.jwt_secret",
    "auth.previous_jwt_secret",
    "payments.stripe.secret_key",
    "payments.stripe.webhook_secret",
    "payments.bkash.app_key",
    "payments.bkash.app_secret",
    "payments.bkash.username",
    "payments.bkash.password",
];
const WITH_PASSWORD: [&str; 4] =
    ["database.url", "database.migrate_url", "redis.url", "mail.smtp_url"];

/// Whether this value of a setting may not stand in a file: files are copied, committed and backed up.
pub(super) fn belongs_in_environment(path: &str, value: &toml::Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    !text.trim().is_empty() && SECRETS.contains(&path)
        || WITH_PASSWORD.contains(&path) && masked_url(text) != text
}

/// Whether this only says that a secret was not shown: what `check-config` prints can be a file.
pub(super) fn is_masked(path: &str, value: &toml::Value) -> bool {
    (SECRETS.contains(&path) || WITH_PASSWORD.contains(&path))
        && value.as_str().is_some_and(|text| text.contains(MASK))
}

/// Reads an optional secret; the empty string means there is none.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SecretString>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.trim().is_empty()).then(|| text.into()))
}

/// Shows that a secret is set, or that it is not.
pub(super) fn mask<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if secret.expose_secret().is_empty() { "" } else { MASK })
}

/// As [`mask`], for a secret that may be absent.
pub(super) fn mask_optional<S: Serializer>(
    secret: &Option<SecretString>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(if secret.is_some() { MASK } else { "" })
}

/// Shows a connection string without its password.
pub(super) fn mask_url<S: Serializer>(url: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&masked_url(url.expose_secret()))
}

/// As [`mask_url`], for a connection string that may be absent.
pub(super) fn mask_optional_url<S: Serializer>(
    url: &Option<SecretString>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let shown = url.as_ref().map(|url| masked_url(url.expose_secret()));
    to.serialize_str(&shown.unwrap_or_default())
}

fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return masked_keywords(url);
    };
    // A password may hold an unescaped `/` or `@`: only what follows the last `@` is safe to show.
    let shown = match rest.rsplit_once('@') {
        Some((login, place)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{MASK}@{place}"),
            None => format!("{scheme}://{login}@{place}"),
        },
        None => url.to_owned(),
    };
    masked_query(&shown)
}

/// Hides the query when it carries a password, as Postgres and Redis socket URLs may.
fn masked_query(url: &str) -> String {
    match url.split_once('?') {
        Some((place, query)) if query.contains("pass") => format!("{place}?{MASK}"),
        _ => url.to_owned(),
    }
}

/// `host=… password=…`: values may be quoted and hold spaces, so all is hidden after a password.
fn masked_keywords(text: &str) -> String {
    match text.split_once("password") {
        Some((before, _)) => format!("{before}password={MASK}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_secret_is_strong() {
        assert!(strong("q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw").is_ok());
        assert!(strong("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15").is_ok());
    }

    #[test]
    fn secrets_do_not_belong_into_files() {
        let belongs = |path, text: &str| belongs_in_environment(path, &text.into());
        assert!(belongs("auth.jwt_secret", "x"));
        assert!(belongs("database.url", "postgres://me:pw@db/shop"));
        assert!(belongs("mail.smtp_url", "smtps://me:pw@mail.example.org"));
        for (path, text) in [
            ("auth.jwt_secret", ""),
            ("database.url", "host=/run/pg user=me"),
            ("redis.url", "redis://cache:6379/0"),
            ("auth.issuer", "holdfast"),
        ] {
            assert!(!belongs(path, text), "{path}");
        }
        assert!(!belongs_in_environment("auth.jwt_secret", &5.into()));
    }

    #[test]
    fn guessable_secrets_are_refused() {
        for weak in [
            "",
            "short",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababababababab",
            "hunter2hunter2hunter2hunter2hunter2hunter2",
            "your-256-bit-secret-your-256-bit-secret",
            "a-string-secret-at-least-256-bits-long",
            "Change_Me_Before_You_Go_To_Production",
            "0123456789012345678901234567890123456789",
            "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2",
        ] {
            assert!(strong(weak).is_err(), "{weak}");
        }
    }

    #[test]
    fn urls_keep_the_host_and_lose_the_password() {
        for (url, shown) in [
            ("postgres://me:pw@db:5432/shop", "postgres://me:********@db:5432/shop"),
            ("postgres://me:p@/w:x@db/shop", "postgres://me:********@db/shop"),
            ("postgres://me@db/shop", "postgres://me@db/shop"),
            ("redis://:pw@cache:6379/0", "redis://:********@cache:6379/0"),
            ("redis://cache", "redis://cache"),
            ("unix:///run/redis.sock?db=1&pass=pw", "unix:///run/redis.sock?********"),
            ("host=/run/pg user=me", "host=/run/pg user=me"),
            ("host=db password='p w' user=me", "host=db password=********"),
        ] {
            assert_eq!(masked_url(url), shown);
        }
    }
}
