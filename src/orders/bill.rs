//! What a payment is about: reservations that are pinned and priced, of a hold or of a whole cart. From here on the
//! payment decides what becomes of them.

use std::sync::Arc;

use crate::catalogue::{Name, Offer};
use crate::kernel::{Money, OrderId, ProductId, ReservationId, UserId};
use crate::orders::checkout::{Ready, aborted};
use crate::orders::columns_store::Columns;
use crate::orders::place::{Attempt, CartSale};
use crate::orders::store::{self, Sale};
use crate::orders::{Checkout, CheckoutError, Order, Orders, Place, PlaceError, Placed, Viewer};
use crate::platform::Fault;
use crate::reservations::{Decision, Pinned};

/// Pinned reservations and what they cost.
#[derive(Clone, Debug)]
pub struct Bill {
    /// The order that they become.
    pub order_id: OrderId,
    /// Whose.
    pub user: UserId,
    /// Who asked, for the record.
    pub actor: String,
    /// Where news of the order go.
    pub email: Option<String>,
    /// What all of it costs.
    pub total: Money,
    /// The reservation that the order names.
    pub named: Option<ReservationId>,
    /// The reservations.
    pub pinned: Vec<Pinned>,
    /// What is known of each product.
    pub offers: Vec<Arc<Offer>>,
    /// The lines of the cart that it came from.
    pub cart: Vec<(ProductId, i64)>,
}

/// What came of pinning and pricing.
#[derive(Debug)]
pub enum Billed {
    /// Payment may begin.
    Bill(Box<Bill>),
    /// It was bought before.
    Placed(Placed),
    /// Something changed in between: try again.
    Again,
}

impl Bill {
    /// Its reservations and lines as columns.
    pub fn columns(&self) -> Result<Columns<'_>, Fault> {
        Columns::of(self.pinned.iter().map(|pin| (pin, self.offers.as_slice())))
    }

    /// The products.
    pub fn names(&self) -> Vec<Arc<Name>> {
        self.pinned.iter().flat_map(|pin| &pin.lines).map(|line| line.name.clone()).collect()
    }
}

impl From<Sale> for Bill {
    fn from(sale: Sale) -> Self {
        Self {
            order_id: sale.order_id,
            user: sale.pinned.user.clone(),
            actor: sale.actor,
            email: sale.email,
            total: sale.total,
            named: Some(sale.pinned.id),
            pinned: vec![sale.pinned],
            offers: sale.offers,
            cart: Vec::new(),
        }
    }
}

impl From<CartSale> for Bill {
    fn from(sale: CartSale) -> Self {
        let cart = sale.lines.iter().map(|(line, _)| (line.product_id, line.id)).collect();
        Self {
            order_id: sale.order_id,
            user: sale.user,
            actor: sale.actor,
            email: sale.email,
            total: sale.total,
            named: sale.named,
            pinned: sale.pinned,
            offers: sale.lines.into_iter().map(|(_, offer)| offer).collect(),
            cart,
        }
    }
}

impl Orders {
    /// Pins and prices what is held. `payable` may refuse the total before anything is pinned.
    pub async fn bill_hold(
        &self,
        checkout: &Checkout,
        payable: impl Fn(Money) -> Result<(), CheckoutError>,
    ) -> Result<Billed, CheckoutError> {
        let id = self.resolve(checkout).await?;
        Ok(match self.pin_sale(id, checkout, payable).await? {
            Ready::Sale(sale) => Billed::Bill(Box::new(sale.into())),
            Ready::Placed(placed) => Billed::Placed(placed),
            Ready::Changed => Billed::Again,
        })
    }

    /// Holds, pins and prices a cart. `payable` may refuse the total before anything is held.
    pub async fn bill_cart(
        &self,
        place: &Place,
        payable: impl Fn(Money) -> Result<(), CheckoutError>,
    ) -> Result<Billed, PlaceError> {
        let (mut sale, standing) = self.hold_cart(place, payable).await?;
        match self.pin_all(&mut sale, &standing).await? {
            None => Ok(Billed::Bill(Box::new(sale.into()))),
            Some(Ok(Attempt::Placed(placed))) => Ok(Billed::Placed(placed)),
            Some(Ok(Attempt::Again)) => Ok(Billed::Again),
            Some(Err(error)) => Err(error),
        }
    }

    /// The order as it stands, whoever asks.
    pub async fn standing(&self, id: OrderId) -> Result<Order, Fault> {
        let order = store::order(&self.db, id, &Viewer::All).await?;
        order.ok_or_else(|| Fault::internal("reading the order of a payment"))
    }

    /// Why a payment could not begin, by the decision that it met.
    pub fn why_aborted(decision: &Decision) -> CheckoutError {
        aborted(decision)
    }
}
