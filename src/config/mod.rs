//! Settings: where they come from, what they may be, and what is wrong with them.
//!
//! `config/default.toml` < `config/<profile>.toml` < environment < live settings. The defaults are also inside the
//! binary, so that it starts in any folder. Loading finds everything wrong at once and names the
//! file and line, or the variable, at fault. Secrets never leave a setting except on purpose: they
//! are masked in debug output, in error texts and in [`Settings::redacted`].

mod auth;
mod catalogue;
mod checkout;
mod cors;
mod database;
mod environment;
mod layers;
mod live;
mod load;
mod log;
mod mail;
mod outbox;
mod payments;
mod rate_limit;
mod redis;
mod reservation;
mod secret;
mod server;
mod shop;
mod sweeper;
mod telemetry;
#[cfg(test)]
mod tests;
mod toml_file;
mod violation;
mod webhooks;

use serde::{Deserialize, Serialize};

pub use auth::AuthSettings;
pub use catalogue::CatalogueSettings;
pub use checkout::CheckoutSettings;
pub use cors::CorsSettings;
pub use database::DatabaseSettings;
pub use live::{Current, Kind, LIVE, LiveSetting, live_setting};
pub use load::{LiveValues, LoadOptions, Loaded, Sources};
pub use log::{LogFormat, LogSettings};
pub use mail::MailSettings;
pub use outbox::OutboxSettings;
pub use payments::{BkashSettings, PaymentSettings, StripeSettings};
pub use rate_limit::RateLimitSettings;
pub use redis::RedisSettings;
pub use reservation::{MAX_TTL_SECONDS, ReservationSettings};
pub use server::ServerSettings;
pub use shop::ShopSettings;
pub use sweeper::SweeperSettings;
pub use telemetry::TelemetrySettings;
pub use violation::{ConfigError, Origin, Violation};
pub use webhooks::WebhookSettings;

use violation::Findings;

/// All settings; each feature is handed its own section.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens.
    pub server: ServerSettings,
    /// Which pages of other origins may call it.
    pub cors: CorsSettings,
    /// How often somebody may ask.
    pub rate_limit: RateLimitSettings,
    /// What is logged.
    pub log: LogSettings,
    /// Where traces go.
    pub telemetry: TelemetrySettings,
    /// How Postgres is reached.
    pub database: DatabaseSettings,
    /// How Redis is reached.
    pub redis: RedisSettings,
    /// Which tokens are believed.
    pub auth: AuthSettings,
    /// What is true of the whole shop.
    pub shop: ShopSettings,
    /// How long lists are remembered.
    pub catalogue: CatalogueSettings,
    /// How long stock is held.
    pub reservation: ReservationSettings,
    /// Who has to pay here.
    pub checkout: CheckoutSettings,
    /// Which providers take money.
    pub payments: PaymentSettings,
    /// How soon expired holds are cleaned up.
    pub sweeper: SweeperSettings,
    /// How news leaves.
    pub outbox: OutboxSettings,
    /// How storefronts are told.
    pub webhooks: WebhookSettings,
    /// How buyers are told.
    pub mail: MailSettings,
}

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn load(options: &LoadOptions) -> Result<Settings, ConfigError> {
        Ok(Loaded::read(options)?.settings)
    }

    /// Reads what signing and verifying tokens needs, whatever the other sections lack.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with this section, and files that are no TOML.
    pub fn load_auth(options: &LoadOptions) -> Result<AuthSettings, ConfigError> {
        load::load(&Sources::read(options), &LiveValues::new(), "auth.")
            .map(|loaded| loaded.settings.auth)
    }

    /// Reads where a service with these settings listens, whatever the other sections lack.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with this section, and files that are no TOML.
    pub fn load_server(options: &LoadOptions) -> Result<ServerSettings, ConfigError> {
        let loaded = load::load(&Sources::read(options), &LiveValues::new(), "server.");
        loaded.map(|loaded| loaded.settings.server)
    }

    /// The values in force as TOML, with secrets masked.
    #[must_use]
    pub fn redacted(&self) -> String {
        // Cannot fail: every value came from TOML.
        toml::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }

    fn check(&self, found: &mut Findings) {
        self.server.check(found);
        self.cors.check(found);
        self.rate_limit.check(found);
        self.log.check(found);
        self.telemetry.check(found);
        self.database.check(&self.server, found);
        self.redis.check(&self.server, found);
        self.auth.check(found);
        self.shop.check(found);
        self.catalogue.check(found);
        self.reservation.check(found);
        self.payments.check(found);
        self.sweeper.check(&self.server, found);
        self.outbox.check(found);
        self.webhooks.check(found);
        self.mail.check(found);
    }
}
