//! The last fifteen minutes of a sale.

use serde::Serialize;

use crate::kernel::{Instant, ProductId};
use crate::platform::Fault;
use crate::reservations::Rates;
use crate::sales::Sales;

/// How a sale stood at one moment, and how fast it went since the moment before.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HistoryPoint {
    at: Instant,
    available: i64,
    /// Units held, those of `paying` included.
    held: i64,
    paying: i64,
    sold: i64,
    /// Units held a second.
    reserved_per_s: f64,
    /// Requests refused a second.
    refused_per_s: f64,
}

impl Sales {
    /// The points of a sale, the oldest first; none where there is no such product.
    pub async fn history(&self, id: ProductId) -> Result<Option<Vec<HistoryPoint>>, Fault> {
        let Some(name) = self.reservations.catalogue().by_id(id).await? else { return Ok(None) };
        let points = self.reservations.series(&name).await?;
        let before = std::iter::once(None).chain(points.iter().map(Some));
        let shown = points.iter().zip(before).map(|(point, before)| {
            let rates = before.map_or(Rates::default(), |before| Rates::between(before, point));
            HistoryPoint {
                at: point.at(),
                available: point.available,
                held: point.held,
                paying: point.paying,
                sold: point.sold,
                reserved_per_s: rates.reserved,
                refused_per_s: rates.refused,
            }
        });
        Ok(Some(shown.collect()))
    }
}
