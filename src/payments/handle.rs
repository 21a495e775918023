//! The payments' handle: what the other files of this folder are methods of.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::catalogue::Name;
use crate::config::Current;
use crate::kernel::{Clock, OrderId, PaymentId, ReservationId, UserId};
use crate::orders::{
    Ask, Checkout, Orders, PayError, Payment, Place, Placed, Provider, Till, Viewer,
};
use crate::payments::Gateways;
use crate::payments::deadline::{Closed, Wish};
use crate::payments::gateway::{Attempt, Gateway, ProviderName};
use crate::payments::journal_store::{self, Recorded};
use crate::payments::store::{self, Row, Status};
use crate::platform::{Db, Fault, Outcome, Tasks};
use crate::reservations::{EndError, Reservations};
use crate::stock::{Movements, Units};

/// What payments are made of.
pub struct Parts {
    /// For requests.
    pub db: Db,
    /// For background work.
    pub background_db: Db,
    /// What is paid for.
    pub orders: Orders,
    /// What is held meanwhile.
    pub reservations: Reservations,
    /// What a refund brings back.
    pub movements: Movements,
    /// Where work runs that must not stop halfway.
    pub tasks: Tasks,
    /// The settings in force.
    pub settings: Current,
    /// The providers that are on.
    pub gateways: Gateways,
    /// What the ids of late money are derived with.
    pub secret: Vec<u8>,
    /// No wait for a store is longer.
    pub deadline: Duration,
    /// The service's clock.
    pub clock: Clock,
}

/// The payments' handle.
#[derive(Clone)]
pub struct Payments {
    pub(super) db: Db,
    pub(super) background_db: Db,
    pub(super) orders: Orders,
    pub(super) reservations: Reservations,
    pub(super) movements: Movements,
    pub(super) tasks: Tasks,
    settings: Current,
    pub(super) gateways: Gateways,
    pub(super) deadline: Duration,
    pub(super) clock: Clock,
    secret: Arc<hmac::Key>,
}

/// A payment to go on with.
pub(super) struct Paid {
    pub(super) row: Row,
    /// Whether it was begun now.
    pub(super) created: bool,
}

impl From<Provider> for ProviderName {
    fn from(provider: Provider) -> Self {
        match provider {
            Provider::Stripe => Self::Stripe,
            Provider::Bkash => Self::Bkash,
        }
    }
}

impl Payments {
    /// Payments for these orders.
    pub fn new(parts: Parts) -> Self {
        Self {
            db: parts.db,
            background_db: parts.background_db,
            orders: parts.orders,
            reservations: parts.reservations,
            movements: parts.movements,
            tasks: parts.tasks,
            settings: parts.settings,
            gateways: parts.gateways,
            deadline: parts.deadline,
            clock: parts.clock,
            secret: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &parts.secret)),
        }
    }

    /// How long a buyer may take to pay.
    pub(super) fn window(&self) -> Duration {
        self.settings.load().payments.window
    }

    /// How long an execute may leave open what became of it.
    pub(super) fn doubt(&self) -> Duration {
        self.settings.load().payments.doubt
    }

    /// Whether a buyer may be sent to this address after paying or giving up.
    pub(super) fn may_return_to(&self, url: &str) -> bool {
        self.settings.load().payments.may_return_to(url)
    }

    /// The same over other handles: another way to the same Redis.
    pub fn over(&self, orders: Orders, reservations: Reservations, movements: Movements) -> Self {
        Self { orders, reservations, movements, ..self.clone() }
    }

    /// Begins to look after what is due, until the service stops. Without a provider there is nothing.
    pub fn start(&self) {
        if !self.takes(Provider::Stripe) && !self.takes(Provider::Bkash) {
            return;
        }
        drop(self.tasks.spawn(self.clone().run()));
    }

    /// Whether this provider has keys here.
    pub fn takes(&self, provider: Provider) -> bool {
        self.gateway(provider.into()).is_some()
    }

    /// The payment, if it exists and `viewer` may see it (none: may see all).
    pub async fn get(
        &self,
        id: PaymentId,
        viewer: Option<&UserId>,
    ) -> Result<Option<Payment>, Fault> {
        let row = store::find(&self.db, id).await?;
        let row = row.filter(|row| viewer.is_none_or(|viewer| *viewer == row.user));
        Ok(row.map(|row| row.view()))
    }

    /// Everything that was said to and by the provider.
    pub async fn exchanges(&self, id: PaymentId) -> Result<Vec<Recorded>, Fault> {
        journal_store::exchanges(&self.db, id).await
    }

    /// Pays an order that awaits its payment. None: the viewer may not see it.
    pub(super) async fn pay_order(
        &self,
        order: OrderId,
        viewer: &Viewer,
        ask: Ask,
    ) -> Result<Option<Paid>, PayError> {
        if self.orders.get(order, viewer).await?.is_none() {
            return Ok(None);
        }
        self.to_its_end(self.clone().run_order(order, ask)).await.map(Some)
    }

    pub(super) fn gateway(&self, provider: ProviderName) -> Option<&dyn Gateway> {
        self.gateways.of(provider)
    }

    /// The provider of a payment, and what it is asked with. Without its keys nobody can know how the payment stands.
    pub(super) async fn asking(&self, row: &Row) -> Result<(&dyn Gateway, Attempt), Fault> {
        let off = || Fault::unavailable("asking a provider without its keys", Outcome::None);
        let gateway = self.gateway(row.provider).ok_or_else(off)?;
        let lines = store::lines(&self.db, row.order).await?;
        Ok((gateway, row.attempt(&lines)))
    }

    pub(super) async fn row(&self, id: PaymentId) -> Result<Row, Fault> {
        let row = store::find(&self.db, id).await?;
        row.ok_or_else(|| Fault::internal("reading a payment"))
    }

    pub(super) fn name(&self, line: &store::Line) -> Arc<Name> {
        Arc::new(Name { id: line.product, sku: line.sku.clone() })
    }

    /// The products of the order that a payment is about.
    pub(super) async fn names_of(&self, row: &Row) -> Result<Vec<Arc<Name>>, Fault> {
        let lines = store::lines(&self.db, row.order).await?;
        Ok(lines.iter().map(|line| self.name(line)).collect())
    }

    /// The id under which late money of a payment takes its units, at the same home as the reservation it paid for.
    pub(super) fn late_id(
        &self,
        payment: PaymentId,
        reservation: ReservationId,
    ) -> Result<ReservationId, Fault> {
        let missing = || Fault::internal("finding the home of a reservation");
        let home = reservation.home().ok_or_else(missing)?;
        let tag = hmac::sign(&self.secret, format!("late|{payment}").as_bytes());
        Ok(ReservationId::derived(home, tag.as_ref()))
    }

    /// Runs what must not stop halfway in a task of its own. Every wait in it ends.
    pub(super) async fn to_its_end<T: Send + 'static, E: From<Fault> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        self.db.available()?;
        match self.tasks.spawn(work).await {
            Ok(answer) => answer,
            Err(panic) => Err(Fault::internal("paying").because(panic).into()),
        }
    }

    async fn run_give_up(self, order: OrderId, actor: String) -> Result<(), PayError> {
        let Some(row) = store::current(&self.db, &[order]).await?.pop() else { return Ok(()) };
        if !row.status.is_open() {
            return Ok(());
        }
        let wish = Wish { status: Status::Cancelled, reason: "cancelled", actor: &actor };
        match self.close(&row, wish).await? {
            Closed::Over => Ok(()),
            Closed::Open => Err(EndError::PaymentInProgress.into()),
            Closed::Unknown => Err(PayError::ProviderUnavailable(Outcome::None)),
        }
    }
}

impl Till for Payments {
    fn pay_hold(&self, checkout: Checkout, ask: Ask) -> BoxFuture<'_, Result<Placed, PayError>> {
        self.to_its_end(self.clone().run_hold(checkout, ask)).boxed()
    }

    fn pay_cart(&self, place: Place, ask: Ask) -> BoxFuture<'_, Result<Placed, PayError>> {
        self.to_its_end(self.clone().run_cart(place, ask)).boxed()
    }

    fn payments_of<'a>(
        &'a self,
        orders: &'a [OrderId],
    ) -> BoxFuture<'a, Result<Vec<Payment>, Fault>> {
        async move {
            let rows = store::current(&self.db, orders).await?;
            Ok(rows.iter().map(Row::view).collect())
        }
        .boxed()
    }

    fn give_up(&self, order: OrderId, actor: String) -> BoxFuture<'_, Result<(), PayError>> {
        self.to_its_end(self.clone().run_give_up(order, actor)).boxed()
    }

    fn pay_back(
        &self,
        order: OrderId,
        units: Units,
        actor: String,
    ) -> BoxFuture<'_, Result<bool, PayError>> {
        self.to_its_end(self.clone().run_back(order, units, actor)).boxed()
    }
}
