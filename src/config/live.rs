//! Live settings: those that can change while the service runs, and the handle by which features read what is in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use serde_json::Value;

use super::{Settings, violation::Findings};

/// A setting that can change without a restart. Its range is checked by its section; here it is told.
#[derive(Debug)]
pub struct LiveSetting {
    /// `section.key`.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// What a number counts.
    pub unit: Option<&'static str>,
    /// What it does.
    pub description: &'static str,
}

/// What a live setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number in this range.
    Integer(i64, i64),
    /// true or false.
    Boolean,
    /// A time such as `30m`, in this range.
    Duration(&'static str, &'static str),
    /// A text.
    Text,
    /// A list of texts.
    List,
}

const fn live(
    name: &'static str,
    kind: Kind,
    unit: Option<&'static str>,
    description: &'static str,
) -> LiveSetting {
    LiveSetting { name, kind, unit, description }
}

const A_MINUTE: Option<&str> = Some("requests a minute");
const MOST: Kind = Kind::Integer(0, 10_000_000);

/// All of them, by name; `config/default.toml` marks each.
pub const LIVE: &[LiveSetting] = &[
    live(
        "checkout.customers_must_pay_here",
        Kind::Boolean,
        None,
        "Whether an order made with a customer's own token needs a payment made here",
    ),
    live(
        "cors.origins",
        Kind::List,
        None,
        "Origins whose pages may call the API from a browser; `*` alone is any",
    ),
    live("log.filter", Kind::Text, None, "What is logged: a level, or levels by module"),
    live(
        "payments.return_origins",
        Kind::List,
        None,
        "Origins to which buyers may be sent after paying or giving up",
    ),
    live(
        "payments.window",
        Kind::Duration("1s", "30m"),
        None,
        "How long a buyer may take to pay; payments that are under way keep their deadline",
    ),
    live(
        "rate_limit.account_per_minute",
        MOST,
        A_MINUTE,
        "Attempts to sign in to one account from anywhere; 0 is no limit",
    ),
    live(
        "rate_limit.anonymous_per_minute",
        MOST,
        A_MINUTE,
        "Requests without a valid token, by address; 0 is no limit",
    ),
    live(
        "rate_limit.login_per_minute",
        MOST,
        A_MINUTE,
        "Attempts to sign in to one account from one address; 0 is no limit",
    ),
    live(
        "rate_limit.max_requests",
        MOST,
        Some("requests in a window"),
        "Requests of one customer or merchant; 0 is no limit",
    ),
    live(
        "rate_limit.register_per_minute",
        MOST,
        A_MINUTE,
        "Registrations, by address; 0 is no limit",
    ),
    live(
        "rate_limit.window_ms",
        Kind::Integer(1, 86_400_000),
        Some("ms"),
        "The window of rate_limit.max_requests",
    ),
    live(
        "reservation.churn_burst",
        Kind::Integer(0, 10_000),
        Some("cancels"),
        "Cancels in a row that one buyer has for one product; 0 is any number",
    ),
    live(
        "reservation.churn_interval",
        Kind::Duration("1ms", "1day"),
        None,
        "The time after which one more cancel is allowed",
    ),
    live(
        "reservation.max_extensions",
        Kind::Integer(0, 1_000),
        Some("extensions"),
        "How often one hold may be extended",
    ),
    live(
        "reservation.max_lifetime",
        Kind::Duration("1s", "7days"),
        None,
        "How long extensions may carry one hold, from its beginning",
    ),
    live(
        "reservation.ttl_seconds",
        Kind::Integer(1, 86_400),
        Some("s"),
        "How long a hold lasts unless its product or request says less; running holds keep their deadline",
    ),
];

/// The live setting of this name.
pub fn live_setting(name: &str) -> Option<&'static LiveSetting> {
    LIVE.iter().find(|setting| setting.name == name)
}

/// The settings in force, for whoever must see a change; reading takes no lock. Clones share one value.
#[derive(Clone, Debug)]
pub struct Current(Arc<ArcSwap<Settings>>);

impl Current {
    /// Begins with the settings of the start.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// What is in force now. Of its sections only live settings ever differ from those of the start.
    pub fn load(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }

    /// Puts other ones in force.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}

impl Settings {
    /// These settings with the live ones of `newer`.
    #[must_use]
    pub fn with_live_of(&self, newer: &Settings) -> Settings {
        let mut settings = self.clone();
        settings.checkout = newer.checkout.clone();
        settings.cors.origins.clone_from(&newer.cors.origins);
        settings.log.filter.clone_from(&newer.log.filter);
        settings.payments.return_origins.clone_from(&newer.payments.return_origins);
        settings.payments.window = newer.payments.window;
        settings.rate_limit = newer.rate_limit.clone();
        let (to, from) = (&mut settings.reservation, &newer.reservation);
        to.churn_burst = from.churn_burst;
        to.churn_interval = from.churn_interval;
        to.max_extensions = from.max_extensions;
        to.max_lifetime = from.max_lifetime;
        to.ttl_seconds = from.ttl_seconds;
        settings
    }

    /// The live settings with their values, as JSON.
    #[must_use]
    pub fn live_values(&self) -> BTreeMap<&'static str, Value> {
        // Cannot fail: every value came from TOML.
        let all = serde_json::to_value(self).unwrap_or_default();
        let value = |name: &str| all.pointer(&format!("/{}", name.replace('.', "/"))).cloned();
        LIVE.iter().map(|live| (live.name, value(live.name).unwrap_or_default())).collect()
    }

    /// Everything wrong with a combination of sound settings, such as those of the start with other live ones.
    pub(super) fn violations(&self) -> Findings {
        let mut found = Findings::default();
        self.check(&mut found);
        found
    }
}
