//! What a hold costs: at prices of a moment ago, and at those of right now where the client believes otherwise.

use std::sync::Arc;

use crate::catalogue::Offer;
use crate::kernel::money::sum;
use crate::kernel::{Money, Quantity};
use crate::orders::{Checkout, CheckoutError, Orders, line_total};
use crate::platform::Fault;
use crate::reservations::Reservation;

/// What a reservation costs, line by line.
pub(super) struct Quote {
    pub(super) offers: Vec<Arc<Offer>>,
    pub(super) total: Money,
}

impl Orders {
    /// Prices the reservation. A total that differs is looked at once more with prices as they are right now.
    pub(super) async fn quote(
        &self,
        checkout: &Checkout,
        reservation: &Reservation,
    ) -> Result<Quote, CheckoutError> {
        match self.quote_with(checkout, reservation, false).await {
            Err(CheckoutError::TotalMismatch { .. } | CheckoutError::PriceMissing { .. }) => {
                self.quote_with(checkout, reservation, true).await
            }
            quote => quote,
        }
    }

    async fn quote_with(
        &self,
        checkout: &Checkout,
        reservation: &Reservation,
        fresh: bool,
    ) -> Result<Quote, CheckoutError> {
        let mut offers = Vec::with_capacity(reservation.items.len());
        for item in &reservation.items {
            let catalogue = self.reservations.catalogue();
            let offer = if fresh {
                catalogue.fresh_offer(item.product_id).await?
            } else {
                catalogue.offer(item.product_id).await?
            };
            offers.push(offer.ok_or_else(|| Fault::internal("pricing a product that is held"))?);
        }
        let quantities = reservation.items.iter().map(|item| item.quantity);
        let total = total(&offers, quantities, checkout)?;
        Ok(Quote { offers, total })
    }
}

fn total(
    offers: &[Arc<Offer>],
    quantities: impl Iterator<Item = Quantity>,
    checkout: &Checkout,
) -> Result<Money, CheckoutError> {
    let currency = offers[0].currency;
    if offers.iter().any(|offer| offer.currency != currency) {
        return Err(CheckoutError::MixedCurrency);
    }
    let given = checkout.total.as_ref().map(|total| total.in_currency(currency)).transpose();
    let given = given.map_err(CheckoutError::BadTotal)?;
    if let Some(offer) = offers.iter().find(|offer| offer.price.is_none()) {
        let missing = CheckoutError::PriceMissing { sku: offer.name.sku.clone() };
        return if checkout.may_set_total { given.ok_or(missing) } else { Err(missing) };
    }
    let lines =
        offers.iter().zip(quantities).map(|(offer, quantity)| line_total(offer.price, quantity));
    let lines: Option<Vec<Money>> = lines.collect();
    let too_large = || CheckoutError::BadTotal("the total is larger than any amount may be");
    let expected =
        lines.and_then(|lines| sum(lines.into_iter(), currency)).ok_or_else(too_large)?;
    match given {
        Some(given) if given != expected => Err(CheckoutError::TotalMismatch { expected }),
        _ => Ok(expected),
    }
}
