//! The route table.

use std::sync::Arc;

use actix_web::web::{self, Data, PayloadConfig, ServiceConfig};

use crate::app::handles::Handles;
use crate::catalogue::{self, Sale};
use crate::orders::{self, Till};
use crate::platform::http::address::Proxies;
use crate::platform::http::codes;
use crate::platform::http::edge::{AllowedHosts, no_route};
use crate::platform::http::probes;
use crate::{
    accounts, audit, cart, console, health, notifications, openapi, payments, reconcile,
    reservations, sales, settings, stock, suppliers,
};

impl Handles {
    /// The route table.
    pub(super) fn routes(self, config: &mut ServiceConfig) {
        config
            .app_data(PayloadConfig::new(self.settings.server.body_limit_bytes))
            .app_data(Data::new(self.current))
            .app_data(Data::new(self.authenticator))
            .app_data(Data::new(self.accounts))
            .app_data(Data::new(self.audit))
            .app_data(Data::new(self.catalogue))
            .app_data(Data::<dyn Sale>::from(Arc::new(self.reservations.clone()) as Arc<dyn Sale>))
            .app_data(Data::new(self.suppliers))
            .app_data(Data::new(self.reservations))
            .app_data(Data::new(self.movements))
            .app_data(Data::new(self.carts))
            .app_data(Data::new(self.orders))
            .app_data(Data::<dyn Till>::from(Arc::new(self.payments.clone()) as Arc<dyn Till>))
            .app_data(Data::new(self.payments))
            .app_data(Data::new(self.notifications))
            .app_data(Data::new(self.live_settings))
            .app_data(Data::new(self.health))
            .app_data(Data::new(self.reconcile))
            .app_data(Data::new(self.idempotency))
            .app_data(Data::new(self.rate_limits))
            .app_data(Data::new(Proxies(self.settings.server.trusted_proxies.clone())))
            .app_data(Data::new(AllowedHosts(self.settings.server.allowed_hosts.clone())))
            .app_data(Data::new(self.sales))
            .app_data(Data::new(self.readiness))
            // The router tries one after the other: what a crowd asks for comes first.
            .configure(reservations::routes)
            .configure(orders::routes)
            .configure(catalogue::routes)
            .configure(accounts::routes)
            .configure(audit::routes)
            .configure(suppliers::routes)
            .configure(sales::routes)
            .configure(stock::routes)
            .configure(cart::routes)
            .configure(payments::routes)
            .configure(notifications::routes)
            .configure(health::routes)
            .configure(reconcile::routes)
            .configure(settings::routes)
            .configure(console::routes)
            .configure(probes::routes)
            .configure(codes::routes)
            .configure(openapi::routes)
            .default_service(web::route().to(no_route));
    }
}
