//! `mail`: how buyers are told of their orders.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::secret;
use super::violation::Findings;

/// How buyers are told of their orders. Without a server there is no mail.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The server, with its login: `smtps://user:password@mail.example.org`.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional_url")]
    pub smtp_url: Option<SecretString>,
    /// The sender: `Shop <orders@example.org>`.
    pub from: String,
    /// How long sending one mail may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Connections to the server, by each process.
    pub concurrency: usize,
}

impl MailSettings {
    pub(super) fn check(&self, found: &mut Findings) {
        found.require(
            (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.timeout),
            "mail.timeout",
            "must be 1s to 60s",
        );
        found.require((1..=32).contains(&self.concurrency), "mail.concurrency", "must be 1 to 32");
        let Some(url) = &self.smtp_url else { return };
        let known = ["smtp://", "smtps://"].iter().any(|way| url.expose_secret().starts_with(way));
        found.require(known, "mail.smtp_url", "must begin with smtps:// or smtp://");
        if self.from.trim().is_empty() {
            found.missing(
                "mail.from",
                "HOLDFAST__MAIL__FROM, such as \"Shop <orders@example.org>\"",
            );
            return;
        }
        let sender = self.from.parse::<lettre::message::Mailbox>();
        let plain = !self.from.chars().any(char::is_control);
        found.require(
            plain && sender.is_ok(),
            "mail.from",
            "must be an address, such as \"Shop <orders@example.org>\"",
        );
    }
}
