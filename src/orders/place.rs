//! The order of a whole cart: hold what is missing, pin that and what the buyer held before, decide all of it in one
//! transaction, settle. It runs in a task of its own, like a checkout.
//!
//! A crash while holding leaves the new lines to their short deadline, and the earlier holds as they were. After a pin
//! each reservation stands for itself: recovery fences it or settles it by its own decision row. A refusal after the
//! pins ends the earlier holds too, because a pin ends only by a decision.

use std::sync::Arc;
use std::time::{Duration, Instant as Started};

use tracing::Instrument;

use crate::cart::Line;
use crate::catalogue::{Name, Offer};
use crate::kernel::money::sum;
use crate::kernel::{Money, OrderId, Quantity, ReservationId, UserId};
use crate::orders::{CheckoutError, Order, OrderItem, Orders, Placed, line_total, store};
use crate::platform::fault_point;
use crate::platform::tasks::jittered;
use crate::platform::{Fault, Outcome};
use crate::reservations::{
    Decision, DecisionOutcome, EndError, Hold, PinError, Pinned, ReserveError, Short, Status,
};

/// How often an order starts over: a hold ended, or a SKU was rebuilt, in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(10);

/// A wish to order a cart.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whose cart.
    pub user: UserId,
    /// Where news of the order go.
    pub email: Option<String>,
    /// Who asks, for the record.
    pub actor: String,
}

/// Why nothing was ordered.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is nothing in the cart.
    #[error("the cart is empty")]
    CartEmpty,
    /// The cart, or a hold it relied on, was changed or bought meanwhile.
    #[error("the cart changed while it was ordered")]
    CartChanged,
    /// A line cannot be held.
    #[error(transparent)]
    Refused(#[from] ReserveError),
    /// What may also happen to a checkout.
    #[error(transparent)]
    Checkout(#[from] CheckoutError),
}

impl From<EndError> for PlaceError {
    fn from(error: EndError) -> Self {
        Self::Checkout(error.into())
    }
}

impl From<Fault> for PlaceError {
    fn from(fault: Fault) -> Self {
        Self::Checkout(fault.into())
    }
}

/// The lines of one order with their prices, and the pins that it decides about.
pub(super) struct CartSale {
    pub(super) order_id: OrderId,
    pub(super) user: UserId,
    pub(super) actor: String,
    pub(super) email: Option<String>,
    pub(super) total: Money,
    /// The reservation made for this order.
    pub(super) named: Option<ReservationId>,
    pub(super) pinned: Vec<Pinned>,
    pub(super) lines: Vec<(Line, Arc<Offer>)>,
}

pub(super) enum Attempt {
    Placed(Placed),
    Again,
}

impl Orders {
    /// Orders the whole cart, or nothing of it.
    pub async fn place(&self, place: Place) -> Result<Placed, PlaceError> {
        self.db.available()?;
        let saga = self.tasks.spawn(self.clone().run_place(place).in_current_span());
        match tokio::time::timeout(self.deadline, saga).await {
            Ok(Ok(placed)) => placed,
            Ok(Err(panic)) => Err(Fault::internal("ordering a cart").because(panic).into()),
            Err(late) => Err(Fault::unavailable("the request's deadline", Outcome::Unknown)
                .because(late)
                .into()),
        }
    }

    async fn run_place(self, place: Place) -> Result<Placed, PlaceError> {
        let begun = Started::now();
        for _ in 0..ATTEMPTS {
            match self.attempt_place(&place, begun).await? {
                Attempt::Placed(placed) => return Ok(placed),
                Attempt::Again => tokio::time::sleep(jittered(PAUSE)).await,
            }
        }
        Err(Fault::unavailable("ordering against other changes", Outcome::None).into())
    }

    async fn attempt_place(&self, place: &Place, begun: Started) -> Result<Attempt, PlaceError> {
        let (mut sale, standing) = self.hold_cart(place, |_| Ok(())).await?;
        for _ in 0..ATTEMPTS {
            if let Some(error) = self.pin_all(&mut sale, &standing).await? {
                return error;
            }
            fault_point::reach("after_pin");
            let decisions = self.decide_all(&sale, begun).await?;
            fault_point::reach("after_decision");
            if !decisions.is_empty() {
                return self.conclude(&sale, decisions).await;
            }
            for name in sale.names() {
                self.reservations.catch_up(&name).await?;
            }
        }
        self.reservations.abandon(&sale.pinned, "order_failed").await?;
        Err(Fault::unavailable("ordering against rebuilds", Outcome::None).into())
    }

    /// Prices the cart and holds what is missing of it. `payable` may refuse its total before anything is held.
    pub(super) async fn hold_cart(
        &self,
        place: &Place,
        payable: impl Fn(Money) -> Result<(), CheckoutError>,
    ) -> Result<(CartSale, Vec<(ReservationId, Quantity)>), PlaceError> {
        let lines = self.carts.lines(&place.user).await?;
        if lines.is_empty() {
            return Err(PlaceError::CartEmpty);
        }
        refuse_gone(&lines)?;
        let (lines, total) = self.price(lines).await?;
        payable(total)?;
        let (standing, missing) = self.holds(&place.user, &lines).await?;
        drop(self.db.get().await?);
        let named = self.hold_missing(place, missing).await?;
        fault_point::reach("before_pin");
        let sale = CartSale {
            order_id: OrderId::fresh(),
            user: place.user.clone(),
            actor: place.actor.clone(),
            email: place.email.clone(),
            total,
            named,
            pinned: Vec::new(),
            lines,
        };
        Ok((sale, standing))
    }

    /// The lines at the prices of right now.
    async fn price(
        &self,
        lines: Vec<Line>,
    ) -> Result<(Vec<(Line, Arc<Offer>)>, Money), PlaceError> {
        let currency = lines[0].currency;
        let mut priced = Vec::with_capacity(lines.len());
        let mut totals = Vec::with_capacity(lines.len());
        for line in lines {
            let offer = self.reservations.catalogue().fresh_offer(line.product_id).await?;
            let offer = offer.ok_or(ReserveError::UnknownProduct)?;
            if offer.currency != currency {
                return Err(CheckoutError::MixedCurrency.into());
            }
            if offer.price.is_none() {
                return Err(CheckoutError::PriceMissing { sku: offer.name.sku.clone() }.into());
            }
            totals.push(line_total(offer.price, line.quantity));
            priced.push((line, offer));
        }
        let totals: Option<Vec<Money>> = totals.into_iter().collect();
        let total = totals.and_then(|totals| sum(totals.into_iter(), currency));
        let too_large = CheckoutError::BadTotal("the total is larger than any amount may be");
        Ok((priced, total.ok_or(too_large)?))
    }

    /// The buyer's holds that the order can use, and the lines that it must hold itself.
    async fn holds(
        &self,
        user: &UserId,
        lines: &[(Line, Arc<Offer>)],
    ) -> Result<(Vec<(ReservationId, Quantity)>, Vec<(Arc<Name>, Quantity)>), PlaceError> {
        let (mut standing, mut missing) = (Vec::new(), Vec::new());
        for (line, offer) in lines {
            let found = self.reservations.find_by_product(user, line.product_id).await?;
            let found = match found {
                Some(id) => self.reservations.get(id, Some(user)).await?,
                None => None,
            };
            match found {
                Some(hold) if hold.status == Status::Held => match hold.items.as_slice() {
                    [only] if only.quantity == line.quantity => {
                        standing.push((hold.id, line.quantity));
                    }
                    _ => return Err(ReserveError::AlreadyHeld(hold.id).into()),
                },
                Some(hold) if hold.status == Status::Confirming => {
                    return Err(ReserveError::AlreadyHeld(hold.id).into());
                }
                _ => missing.push((offer.name.clone(), line.quantity)),
            }
        }
        Ok((standing, missing))
    }

    async fn hold_missing(
        &self,
        place: &Place,
        lines: Vec<(Arc<Name>, Quantity)>,
    ) -> Result<Option<ReservationId>, PlaceError> {
        if lines.is_empty() {
            return Ok(None);
        }
        let hold = Hold {
            user: place.user.clone(),
            lines,
            ttl_seconds: None,
            email: place.email.clone(),
            actor: place.actor.clone(),
        };
        Ok(Some(self.reservations.hold_briefly(&hold).await?))
    }

    /// Pins the order's own reservation, then those that stood before. Something else than pins: how the attempt ends.
    pub(super) async fn pin_all(
        &self,
        sale: &mut CartSale,
        standing: &[(ReservationId, Quantity)],
    ) -> Result<Option<Result<Attempt, PlaceError>>, PlaceError> {
        let mut pinned = Vec::with_capacity(standing.len() + 1);
        let own = sale.named.map(|id| (id, None));
        let earlier = standing.iter().map(|(id, quantity)| (*id, Some(*quantity)));
        for (id, expected) in own.into_iter().chain(earlier) {
            match self.reservations.pin(id, &sale.user, expected).await {
                Ok(pin) => pinned.push(pin),
                Err(error) => {
                    self.reservations.abandon(&pinned, "order_failed").await?;
                    return Ok(Some(match error {
                        PinError::OtherQuantity => Ok(Attempt::Again),
                        PinError::Ended(EndError::PaymentInProgress) => {
                            Err(CheckoutError::from(EndError::PaymentInProgress).into())
                        }
                        PinError::Ended(EndError::Fault(fault)) | PinError::Fault(fault) => {
                            Err(fault.into())
                        }
                        PinError::Ended(_) => Ok(Attempt::Again),
                        PinError::Decided(_) => Err(PlaceError::CartChanged),
                    }));
                }
            }
        }
        sale.pinned = pinned;
        Ok(None)
    }

    /// The commit point of all. An answer that was lost is asked for again: the decision rows make that safe.
    async fn decide_all(
        &self,
        sale: &CartSale,
        begun: Started,
    ) -> Result<Vec<Decision>, PlaceError> {
        loop {
            match store::confirm_order(&self.db, sale).await {
                Ok(decisions) => return Ok(decisions),
                Err(fault)
                    if begun.elapsed() < self.deadline && fault.outcome() == Outcome::Unknown =>
                {
                    tracing::warn!(error = fault.chain(), order.id = %sale.order_id, "asking again for a decision");
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                // The pins stay: a call before this one may have been heard. Recovery finds out.
                Err(fault) => return Err(fault.with_outcome(Outcome::Unknown).into()),
            }
        }
    }

    async fn conclude(
        &self,
        sale: &CartSale,
        decisions: Vec<Decision>,
    ) -> Result<Attempt, PlaceError> {
        let ours = |decision: &Decision| {
            decision.outcome == DecisionOutcome::Confirmed
                && decision.order_id == Some(sale.order_id)
        };
        if decisions.len() == sale.pinned.len() && decisions.iter().all(ours) {
            let names = sale.names();
            for decision in &decisions {
                let of = |name: &&Arc<Name>| decision.lines.iter().any(|l| l.product == name.id);
                let names: Vec<_> = names.iter().filter(of).cloned().collect();
                self.reservations.settle(decision, &names).await;
            }
            fault_point::reach("after_settle");
            self.db.outbox().notify_one();
            let order = sale.order(&decisions[0]);
            return Ok(Attempt::Placed(Placed { order, created: true }));
        }
        let decisions = self.reservations.abandon(&sale.pinned, "order_failed").await?;
        if let Some(Some(id)) = decisions.first().map(|decision| decision.order_id)
            && decisions.iter().all(|decision| decision.order_id == Some(id))
        {
            return Ok(Attempt::Placed(self.placed_before(id).await?));
        }
        if decisions.iter().any(|decision| decision.order_id.is_some()) {
            return Err(PlaceError::CartChanged);
        }
        if let Some(refused) = decisions.iter().find_map(Decision::refusal) {
            return Err(refused.into());
        }
        match decisions.iter().find_map(|decision| decision.reason.as_deref()) {
            Some("cart_changed") => Err(PlaceError::CartChanged),
            _ => Ok(Attempt::Again),
        }
    }
}

/// Of a product that was deleted or unpublished there is nothing to order; every such line is named.
fn refuse_gone(lines: &[Line]) -> Result<(), ReserveError> {
    let gone = lines.iter().filter(|line| !line.for_sale);
    let short =
        gone.map(|line| Short { sku: line.sku.clone(), requested: line.quantity, available: 0 });
    let lines: Vec<Short> = short.collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(ReserveError::InsufficientStock { lines, soonest_expiry: None })
}

impl CartSale {
    pub(super) fn names(&self) -> Vec<Arc<Name>> {
        self.pinned.iter().flat_map(|pin| &pin.lines).map(|line| line.name.clone()).collect()
    }

    /// The order as it has just been written.
    fn order(&self, decision: &Decision) -> Order {
        let items = self.lines.iter().map(|(line, offer)| OrderItem {
            product_id: line.product_id,
            sku: line.sku.clone(),
            name: offer.title.clone(),
            unit_price: offer.price,
            quantity: line.quantity,
        });
        let mut items: Vec<OrderItem> = items.collect();
        items.sort_by_key(|item| item.product_id);
        Order {
            id: self.order_id,
            user_id: self.user.to_string(),
            reservation_id: self.named,
            status: "paid".to_owned(),
            payment: None,
            items,
            total: self.total,
            created_at: decision.created_at,
        }
    }
}
