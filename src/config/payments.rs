//! `payments`: which providers take money, and how they are reached.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::cors::is_origin;
use super::secret;
use super::violation::Findings;

/// Which providers take money. One without keys is off.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentSettings {
    /// How long a buyer may take to pay; the hold is pinned for so long.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// How long bKash may leave open what became of an execute before the units go back.
    #[serde(with = "humantime_serde")]
    pub doubt: Duration,
    /// Whether providers may be reached without TLS: a fake one on this machine.
    pub sandbox: bool,
    /// Origins that `success_url` and `cancel_url` may lead to.
    pub return_origins: Vec<String>,
    /// Stripe Checkout.
    pub stripe: StripeSettings,
    /// bKash Tokenized Checkout.
    pub bkash: BkashSettings,
}

/// How Stripe is reached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StripeSettings {
    /// Where its API begins.
    pub api_base: String,
    /// Key of our account; none means that Stripe is off.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub secret_key: Option<SecretString>,
    /// What its events are signed with.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub webhook_secret: Option<SecretString>,
    /// The version of the API that we speak.
    pub api_version: String,
    /// How long a call may take, its repetitions included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// How bKash is reached.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BkashSettings {
    /// Where its API begins.
    pub base_url: String,
    /// Key of our application; none means that bKash is off.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub app_key: Option<SecretString>,
    /// Its secret.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub app_secret: Option<SecretString>,
    /// Name of the merchant.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub username: Option<SecretString>,
    /// Password of the merchant.
    #[serde(deserialize_with = "secret::optional", serialize_with = "secret::mask_optional")]
    pub password: Option<SecretString>,
    /// Where buyers reach this service; bKash sends them back there.
    pub callback_base: String,
    /// How long a call may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

/// A session of Stripe lives 35 minutes; what is not paid by then must be over before it is.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 60);

impl PaymentSettings {
    /// Whether a buyer may be sent to this address after paying or giving up.
    pub fn may_return_to(&self, url: &str) -> bool {
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let origin = format!("{scheme}://{}", &rest[..end]);
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        plain && url.len() <= 2_048 && self.return_origins.contains(&origin)
    }

    pub(super) fn check(&self, found: &mut Findings) {
        let window = (Duration::from_secs(1)..=LONGEST_WINDOW).contains(&self.window);
        found.require(window, "payments.window", "must be 1s to 30m");
        let doubt = (Duration::from_secs(1)..=LONGEST_WINDOW).contains(&self.doubt);
        found.require(doubt, "payments.doubt", "must be 1s to 30m");
        let sane = self.return_origins.iter().all(|origin| is_origin(origin));
        found.require(
            sane,
            "payments.return_origins",
            "must be origins such as \"https://shop.example.org\", without a path",
        );
        self.check_stripe(found);
        self.check_bkash(found);
        for (path, timeout) in [
            ("payments.stripe.timeout", self.stripe.timeout),
            ("payments.bkash.timeout", self.bkash.timeout),
        ] {
            let sane = (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&timeout);
            found.require(sane, path, "must be 10ms to 60s");
        }
    }

    fn check_stripe(&self, found: &mut Findings) {
        let stripe = &self.stripe;
        self.check_base("payments.stripe.api_base", &stripe.api_base, found);
        let version = stripe.api_version.bytes().all(|byte| byte.is_ascii_graphic());
        found.require(
            version && !stripe.api_version.is_empty(),
            "payments.stripe.api_version",
            "must be the name of a version, such as \"2026-10-28.endive\"",
        );
        let Some(key) = &stripe.secret_key else { return };
        let key = key.expose_secret();
        let path = "payments.stripe.secret_key";
        let known = ["sk_live_", "rk_live_", "sk_test_", "rk_test_"];
        found.require(
            is_header(key) && known.iter().any(|begin| key.starts_with(begin)),
            path,
            "must begin with sk_live_, rk_live_, sk_test_ or rk_test_",
        );
        let live = key.contains("_live_");
        found.require(!(live && self.sandbox), path, "must be a test key with payments.sandbox");
        match &stripe.webhook_secret {
            None => found.missing("payments.stripe.webhook_secret", "STRIPE_WEBHOOK_SECRET"),
            Some(secret) => found.require(
                secret.expose_secret().len() >= 16,
                "payments.stripe.webhook_secret",
                "is shorter than 16 bytes",
            ),
        }
    }

    fn check_bkash(&self, found: &mut Findings) {
        let bkash = &self.bkash;
        self.check_base("payments.bkash.base_url", &bkash.base_url, found);
        let keys = [
            ("app_key", "BKASH_APP_KEY", &bkash.app_key),
            ("app_secret", "BKASH_APP_SECRET", &bkash.app_secret),
            ("username", "BKASH_USERNAME", &bkash.username),
            ("password", "BKASH_PASSWORD", &bkash.password),
        ];
        if keys.iter().all(|(_, _, key)| key.is_none()) {
            return;
        }
        for (name, variable, key) in keys {
            let path = format!("payments.bkash.{name}");
            match key {
                None => found.missing(&path, variable),
                Some(key) => {
                    let sane = is_header(key.expose_secret());
                    found.require(sane, &path, "must be printable characters without blank");
                }
            }
        }
        self.check_base("payments.bkash.callback_base", &bkash.callback_base, found);
    }

    /// Keys and buyers never travel in the clear, but to a fake provider.
    fn check_base(&self, path: &str, base: &str, found: &mut Findings) {
        let rest = base.strip_prefix("https://");
        let rest = rest.or_else(|| base.strip_prefix("http://").filter(|_| self.sandbox));
        let Some(rest) = rest else {
            let message = "must begin with https:// (http:// only with payments.sandbox)";
            return found.add(path, message);
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]/_".contains(&byte);
        let sane = !rest.starts_with('/') && !rest.ends_with('/') && rest.bytes().all(plain);
        let message = "must be a host and perhaps a path, without \"/\" at its end";
        found.require(sane && !rest.is_empty(), path, message);
    }
}

/// What may stand in a header.
fn is_header(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyers_are_sent_only_to_origins_that_are_named() {
        let settings = PaymentSettings {
            window: Duration::from_secs(600),
            doubt: Duration::from_secs(60),
            sandbox: false,
            return_origins: vec!["https://shop.example.org".into()],
            stripe: StripeSettings {
                api_base: String::new(),
                secret_key: None,
                webhook_secret: None,
                api_version: String::new(),
                timeout: Duration::ZERO,
            },
            bkash: BkashSettings {
                base_url: String::new(),
                app_key: None,
                app_secret: None,
                username: None,
                password: None,
                callback_base: String::new(),
                timeout: Duration::ZERO,
            },
        };
        for good in [
            "https://shop.example.org",
            "https://shop.example.org/ok?session={CHECKOUT_SESSION_ID}",
            "https://shop.example.org?a=b",
            "https://shop.example.org#top",
        ] {
            assert!(settings.may_return_to(good), "{good}");
        }
        for bad in [
            "",
            "/ok",
            "http://shop.example.org/ok",
            "https://shop.example.org.evil.example/",
            "https://shop.example.org@evil.example/",
            "https://shop.example.org:444/",
            "https://evil.example/https://shop.example.org",
            "https://shop.example.org\\@evil.example/",
            "https://shop.example.org/a b",
            "javascript:alert(1)",
        ] {
            assert!(!settings.may_return_to(bad), "{bad}");
        }
    }
}
