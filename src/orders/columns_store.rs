//! Pinned reservations and their lines as the columns that the deciding functions of Postgres take, in their order.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use crate::catalogue::Offer;
use crate::kernel::{Instant, ProductId, ReservationId};
use crate::platform::Fault;
use crate::reservations::{Pinned, PinnedLine};

/// One entry of the first three for each reservation, one of the others for each line.
#[derive(Debug, Default)]
pub struct Columns<'a> {
    /// Which reservations.
    pub ids: Vec<ReservationId>,
    /// When they were made.
    pub held_at: Vec<Instant>,
    /// The deadlines they had.
    pub expires_at: Vec<Instant>,
    /// Of which of the reservations a line is, counted from 1.
    pub positions: Vec<i32>,
    /// Which products.
    pub products: Vec<ProductId>,
    /// How many units.
    pub quantities: Vec<i64>,
    /// The secrets of the holds.
    pub tokens: Vec<&'a str>,
    /// The rebuilds they were pinned under.
    pub epochs: Vec<i64>,
    /// The limits they were granted under; 0 is none.
    pub caps: Vec<i64>,
    /// The SKUs as they are now.
    pub skus: Vec<&'a str>,
    /// The names as they are now.
    pub names: Vec<&'a str>,
    /// The prices as they are now, in minor units.
    pub prices: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    /// Those of these reservations, each with the offers of its products among others.
    pub fn of(
        pins: impl IntoIterator<Item = (&'a Pinned, &'a [Arc<Offer>])>,
    ) -> Result<Self, Fault> {
        let mut columns = Self::default();
        for (position, (pin, offers)) in (1..).zip(pins) {
            columns.ids.push(pin.id);
            columns.held_at.push(pin.held_at);
            columns.expires_at.push(pin.expires_at);
            for line in &pin.lines {
                let offer = offers.iter().find(|offer| offer.name.id == line.name.id);
                let offer = offer.ok_or_else(|| Fault::internal("pricing a pinned line"))?;
                columns.push(position, line, offer);
            }
        }
        Ok(columns)
    }

    /// Those of the lines, as parameters: `position` to `price`.
    pub fn of_lines(&self) -> [&(dyn ToSql + Sync); 9] {
        [
            &self.positions,
            &self.products,
            &self.quantities,
            &self.tokens,
            &self.epochs,
            &self.caps,
            &self.skus,
            &self.names,
            &self.prices,
        ]
    }

    fn push(&mut self, position: i32, line: &'a PinnedLine, offer: &'a Offer) {
        self.positions.push(position);
        self.products.push(line.name.id);
        self.quantities.push(line.quantity.get());
        self.tokens.push(&line.token);
        self.epochs.push(line.epoch);
        self.caps.push(line.cap);
        self.skus.push(line.name.sku.as_str());
        self.names.push(&offer.title);
        self.prices.push(offer.price.map(|price| price.minor));
    }
}
