//! The saga of a sale: pin (Redis), decide (Postgres, one call), settle (Redis).
//!
//! It runs in a task of its own, so that neither a client that goes away nor the request's deadline stops it halfway.
//! A crash is met step by step:
//! - after the pin: the hold cannot lapse; recovery fences it after its grace, and the units go back
//! - after the decision: the order stands; recovery settles by the decision, and a client that asks again gets the order
//! - after the settling: nothing is left to do
//!
//! There is no undo of a pin: a pin ends only by a decision, whoever makes it.

use std::sync::Arc;
use std::time::{Duration, Instant as Started};

use tracing::Instrument;

use crate::catalogue::Name;
use crate::kernel::money::Amount;
use crate::kernel::{Money, OrderId, ProductId, Quantity, ReservationId, Sku, UserId};
use crate::orders::quote::Quote;
use crate::orders::store::Sale;
use crate::orders::{Order, OrderItem, Orders, Viewer, store};
use crate::platform::fault_point;
use crate::platform::tasks::jittered;
use crate::platform::{Fault, Outcome};
use crate::reservations::{
    Decision, DecisionOutcome, EndError, PinError, Pinned, Reservation, ReserveError, Status,
};

/// How often a confirm starts over: its SKU was rebuilt, or its hold changed, in between.
const ATTEMPTS: u32 = 3;
/// The pause before it does.
const PAUSE: Duration = Duration::from_millis(10);

/// Which reservation is meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// This one.
    ById(ReservationId),
    /// The one hold of a buyer on a product.
    ByProduct {
        /// The buyer.
        user: UserId,
        /// The product.
        product: ProductId,
        /// How many units it must hold.
        quantity: Quantity,
    },
}

/// A wish to buy what is held.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// Which reservation.
    pub which: Which,
    /// Whose reservations the caller may see; none: all.
    pub viewer: Option<UserId>,
    /// What the client believes it costs.
    pub total: Option<Amount>,
    /// Whether a total may be set for products without a price.
    pub may_set_total: bool,
    /// Where news of the order go.
    pub email: Option<String>,
    /// Where else they may go: the caller's own address.
    pub own_email: Option<String>,
    /// Who asks, for the record.
    pub actor: String,
}

/// An order that stands.
#[derive(Debug)]
pub struct Placed {
    /// It.
    pub order: Order,
    /// Whether it was made now.
    pub created: bool,
}

/// Why nothing was bought.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// The reservation has ended, is being decided elsewhere, or is not there.
    #[error(transparent)]
    Ended(#[from] EndError),
    /// The hold is of another quantity, or of other products too.
    #[error("the hold is of another quantity, or of other products too")]
    QuantityMismatch {
        /// How many units it holds.
        held: Quantity,
    },
    /// It costs something else.
    #[error("it costs something else")]
    TotalMismatch {
        /// What it costs.
        expected: Money,
    },
    /// A total that is no amount.
    #[error("{0}")]
    BadTotal(&'static str),
    /// A product has no price, and none was given or may be given.
    #[error("a product has no price")]
    PriceMissing {
        /// Which.
        sku: Sku,
    },
    /// The products are priced in different currencies.
    #[error("the products are priced in different currencies")]
    MixedCurrency,
    /// The payment provider takes no such amount.
    #[error("this provider cannot take it: {0}")]
    NotPayable(String),
    /// Redis lost data: what was held is sold, or the buyer has bought all they may.
    #[error(transparent)]
    Refused(ReserveError),
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<PinError> for CheckoutError {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Ended(ended) => ended.into(),
            PinError::Fault(fault) => fault.into(),
            PinError::Decided(_) | PinError::OtherQuantity => {
                Fault::internal("pinning a reservation").into()
            }
        }
    }
}

/// How one attempt ended without an answer.
enum Attempt {
    Placed(Placed),
    /// The hold changed between reading and pinning it.
    Changed,
    /// Some SKU was rebuilt since it was pinned.
    Stale(Vec<Arc<Name>>),
}

/// What came of pinning a hold to sell it.
pub(super) enum Ready {
    Placed(Placed),
    Sale(Sale),
    /// It changed between reading and pinning it.
    Changed,
}

impl Orders {
    /// Buys what is held, exactly once however often it is asked.
    pub async fn checkout(&self, checkout: Checkout) -> Result<Placed, CheckoutError> {
        // Known to be down: say so before anything is pinned, and the hold keeps its own time.
        self.db.available()?;
        let saga = self.tasks.spawn(self.clone().run(checkout).in_current_span());
        match tokio::time::timeout(self.deadline, saga).await {
            Ok(Ok(placed)) => placed,
            Ok(Err(panic)) => Err(Fault::internal("confirming").because(panic).into()),
            Err(late) => Err(Fault::unavailable("the request's deadline", Outcome::Unknown)
                .because(late)
                .into()),
        }
    }

    async fn run(self, checkout: Checkout) -> Result<Placed, CheckoutError> {
        let begun = Started::now();
        let id = self.resolve(&checkout).await?;
        for _ in 0..ATTEMPTS {
            match self.attempt(id, &checkout, begun).await? {
                Attempt::Placed(placed) => return Ok(placed),
                Attempt::Changed => {}
                Attempt::Stale(names) => {
                    for name in &names {
                        self.reservations.catch_up(name).await?;
                    }
                }
            }
            tokio::time::sleep(jittered(PAUSE)).await;
        }
        Err(Fault::unavailable("confirming against rebuilds", Outcome::Unknown).into())
    }

    pub(super) async fn resolve(
        &self,
        checkout: &Checkout,
    ) -> Result<ReservationId, CheckoutError> {
        match &checkout.which {
            Which::ById(id) => Ok(*id),
            Which::ByProduct { user, product, .. } => {
                let found = self.reservations.find_by_product(user, *product).await?;
                Ok(found.ok_or(EndError::NotFound)?)
            }
        }
    }

    /// One run of the saga.
    async fn attempt(
        &self,
        id: ReservationId,
        checkout: &Checkout,
        begun: Started,
    ) -> Result<Attempt, CheckoutError> {
        let sale = match self.pin_sale(id, checkout, |_| Ok(())).await? {
            Ready::Sale(sale) => sale,
            Ready::Placed(placed) => return Ok(Attempt::Placed(placed)),
            Ready::Changed => return Ok(Attempt::Changed),
        };
        let decision = self.decide(&sale, begun).await?;
        fault_point::reach("after_decision");
        let lines = sale.pinned.lines.iter();
        let names: Vec<Arc<Name>> = lines.map(|line| line.name.clone()).collect();
        let Some(decision) = decision else { return Ok(Attempt::Stale(names)) };
        self.reservations.settle(&decision, &names).await;
        fault_point::reach("after_settle");
        self.answer(&decision, Some(&sale)).await
    }

    /// Reads, prices and pins a hold. `payable` may refuse its total before anything is pinned.
    pub(super) async fn pin_sale(
        &self,
        id: ReservationId,
        checkout: &Checkout,
        payable: impl Fn(Money) -> Result<(), CheckoutError>,
    ) -> Result<Ready, CheckoutError> {
        let found = self.reservations.get(id, checkout.viewer.as_ref()).await?;
        let reservation = found.ok_or(EndError::NotFound)?;
        self.check_quantity(checkout, &reservation)?;
        if let Some(order_id) = reservation.order_id {
            return self.placed_before(order_id).await.map(Ready::Placed);
        }
        match reservation.status {
            Status::Held | Status::Confirming | Status::Confirmed => {}
            Status::Cancelled => return Err(EndError::Cancelled.into()),
            Status::Expired => return Err(EndError::Expired.into()),
        }
        let quote = self.quote(checkout, &reservation).await?;
        payable(quote.total)?;
        // Asked before the pin: while there is no room, no free connection, or no Postgres, the hold keeps its own
        // time. The connection is not kept: the pin may need one, to ask what became of the hold.
        self.committing.has_room(&id.home())?;
        drop(self.db.get().await?);
        fault_point::reach("before_pin");
        let only =
            if let [only] = reservation.items.as_slice() { Some(only.quantity) } else { None };
        let pinned = match self.reservations.pin(id, &reservation.user, only).await {
            Ok(pinned) => pinned,
            Err(PinError::OtherQuantity) => return Ok(Ready::Changed),
            Err(PinError::Decided(decision)) => {
                return match self.answer(&decision, None).await? {
                    Attempt::Placed(placed) => Ok(Ready::Placed(placed)),
                    Attempt::Changed | Attempt::Stale(_) => Ok(Ready::Changed),
                };
            }
            Err(error) => return Err(error.into()),
        };
        fault_point::reach("after_pin");
        Ok(Ready::Sale(sale(pinned, quote, checkout)))
    }

    fn check_quantity(
        &self,
        checkout: &Checkout,
        reservation: &Reservation,
    ) -> Result<(), CheckoutError> {
        let Which::ByProduct { product, quantity, .. } = checkout.which else { return Ok(()) };
        let item = reservation.items.iter().find(|item| item.product_id == product);
        match item {
            // Who names one product agrees to pay for no other.
            Some(item) if item.quantity != quantity || reservation.items.len() > 1 => {
                Err(CheckoutError::QuantityMismatch { held: item.quantity })
            }
            _ => Ok(()),
        }
    }

    /// The commit point. An answer that was lost is asked for again until the deadline: the decision row makes that
    /// safe. None: an epoch moved, nothing was decided.
    async fn decide(&self, sale: &Sale, begun: Started) -> Result<Option<Decision>, CheckoutError> {
        loop {
            match self.committing.submit(sale.pinned.id.home(), sale.clone()).await.flatten() {
                Ok(decision) => return Ok(decision),
                Err(fault)
                    if begun.elapsed() < self.deadline && fault.outcome() == Outcome::Unknown =>
                {
                    let id = sale.pinned.id;
                    tracing::warn!(error = fault.chain(), reservation.id = %id, "asking again for a decision");
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                // The pin stays: a call before this one may have been heard. Recovery finds out.
                Err(fault) => return Err(fault.with_outcome(Outcome::Unknown).into()),
            }
        }
    }

    async fn answer(
        &self,
        decision: &Decision,
        sale: Option<&Sale>,
    ) -> Result<Attempt, CheckoutError> {
        match (decision.outcome, decision.order_id, sale) {
            (DecisionOutcome::Confirmed, Some(id), Some(sale)) if id == sale.order_id => {
                Ok(Attempt::Placed(Placed { order: order(sale, decision), created: true }))
            }
            (DecisionOutcome::Confirmed, Some(id), _) => {
                self.placed_before(id).await.map(Attempt::Placed)
            }
            (DecisionOutcome::Pending, ..) => Err(EndError::PaymentInProgress.into()),
            _ => Err(aborted(decision)),
        }
    }

    pub(super) async fn placed_before(&self, id: OrderId) -> Result<Placed, CheckoutError> {
        let order = store::order(&self.db, id, &Viewer::All).await?;
        let order = order.ok_or_else(|| Fault::internal("reading the order of a decision"))?;
        Ok(Placed { order, created: false })
    }
}

/// What an ABORTED decision means for whoever wanted to buy.
pub(super) fn aborted(decision: &Decision) -> CheckoutError {
    decision.refusal().map_or(EndError::Expired.into(), CheckoutError::Refused)
}

fn sale(pinned: Pinned, quote: Quote, checkout: &Checkout) -> Sale {
    let email = checkout.email.as_ref().or(pinned.email.as_ref()).or(checkout.own_email.as_ref());
    Sale {
        order_id: OrderId::fresh(),
        offers: quote.offers,
        total: quote.total,
        email: email.cloned(),
        actor: checkout.actor.clone(),
        pinned,
    }
}

/// The order as the confirm has just written it.
fn order(sale: &Sale, decision: &Decision) -> Order {
    let items = sale.pinned.lines.iter().filter_map(|line| {
        let offer = sale.offers.iter().find(|offer| offer.name.id == line.name.id)?;
        Some(OrderItem {
            product_id: line.name.id,
            sku: line.name.sku.clone(),
            name: offer.title.clone(),
            unit_price: offer.price,
            quantity: line.quantity,
        })
    });
    Order {
        id: sale.order_id,
        user_id: sale.pinned.user.to_string(),
        reservation_id: Some(sale.pinned.id),
        status: "paid".to_owned(),
        payment: None,
        items: items.collect(),
        total: sale.total,
        created_at: decision.created_at,
    }
}
