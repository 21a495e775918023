//! `auth`: which tokens are believed, and for how long.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::secret;
use super::violation::Findings;

/// Which tokens are believed. The secrets are checked for strength when settings are loaded.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// The only accepted `iss`.
    pub issuer: String,
    /// The only accepted `aud`.
    pub audience: String,
    /// HS256 secret that signs and verifies; at least 32 bytes.
    #[serde(serialize_with = "secret::mask")]
    pub jwt_secret: SecretString,
    /// The secret before this one: still verifies while it is being replaced, never signs.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub previous_jwt_secret: Option<SecretString>,
    /// File of the public keys of an outside identity provider: PEM, or a JWKS; "" means none.
    pub outside_keys: String,
    /// The `iss` of its tokens.
    pub outside_issuer: String,
    /// The `aud` of its tokens.
    pub outside_audience: String,
    /// The roles that its tokens may carry.
    pub outside_roles: Vec<String>,
    /// How far the clocks of issuer and service may be apart.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// How long the access token of a login lives.
    #[serde(with = "humantime_serde")]
    pub access_lifetime: Duration,
    /// How long a session lasts after its last refresh.
    #[serde(with = "humantime_serde")]
    pub refresh_lifetime: Duration,
    /// Longest accepted time from `iat` to `exp`.
    #[serde(with = "humantime_serde")]
    pub max_token_lifetime: Duration,
}

const LONGEST_LEEWAY: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl AuthSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        for (path, text) in [("auth.issuer", &self.issuer), ("auth.audience", &self.audience)] {
            let sane =
                (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            found.require(sane, path, "must be 1 to 255 printable characters without space");
        }
        self.check_secrets(found);
        self.check_outside(found);
        found.require(
            (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&self.access_lifetime),
            "auth.access_lifetime",
            "must be 1s to 366 days",
        );
        found.require(
            (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&self.refresh_lifetime),
            "auth.refresh_lifetime",
            "must be 1s to 366 days",
        );
        found.require(self.leeway <= LONGEST_LEEWAY, "auth.leeway", "must be at most 60s");
        found.require(
            (Duration::from_secs(1)..=LONGEST_LIFETIME).contains(&self.max_token_lifetime),
            "auth.max_token_lifetime",
            "must be 1s to 366 days",
        );
    }

    fn check_outside(&self, found: &mut Findings) {
        const ROLES: [&str; 4] = ["customer", "merchant", "admin", "service"];
        let known = self.outside_roles.iter().all(|role| ROLES.contains(&role.as_str()));
        found.require(known, "auth.outside_roles", "must be of customer, merchant, admin, service");
        if self.outside_keys.is_empty() {
            return;
        }
        for (path, text) in [
            ("auth.outside_issuer", &self.outside_issuer),
            ("auth.outside_audience", &self.outside_audience),
        ] {
            let sane =
                (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
            found.require(sane, path, "must be 1 to 255 printable characters without space");
        }
        let own = self.outside_issuer != self.issuer;
        found.require(own, "auth.outside_issuer", "must not be auth.issuer");
    }

    fn check_secrets(&self, found: &mut Findings) {
        let current = self.jwt_secret.expose_secret();
        if current.trim().is_empty() {
            let how = secret::HOW_TO_MAKE_ONE;
            found.missing("auth.jwt_secret", &format!("HOLDFAST__AUTH__JWT_SECRET; {how}"));
        } else if let Err(weakness) = secret::strong(current) {
            found.add("auth.jwt_secret", weakness);
        }
        let Some(previous) = &self.previous_jwt_secret else {
            return;
        };
        if let Err(weakness) = secret::strong(previous.expose_secret()) {
            found.add("auth.previous_jwt_secret", weakness);
        } else if previous.expose_secret() == current {
            found.add("auth.previous_jwt_secret", "is the same as auth.jwt_secret; leave it empty");
        }
    }
}
