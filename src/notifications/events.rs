//! What storefronts can be told, and how an event is written.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::kernel::{Instant, ProductId};
use crate::orders::Order;
use crate::platform::Fault;

/// Every event there is.
pub const EVENTS: [&str; 11] = [
    "reservation.held",
    "reservation.extended",
    "reservation.expired",
    "reservation.cancelled",
    "order.paid",
    "order.cancelled",
    "order.fulfilled",
    "order.refunded",
    "stock.low",
    "stock.sold_out",
    "stock.available",
];

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) reservation: Option<Uuid>,
    pub(super) payload: Map<String, Value>,
    pub(super) written_at: Instant,
    /// There where it began in Redis.
    pub(super) event: Option<Uuid>,
}

/// For whom an event is that is sent again. One that says nothing is for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Channel {
    /// The buyer.
    Mail,
    /// The storefronts.
    Webhook,
}

impl Row {
    /// The order that it tells of.
    pub(super) fn order(&self) -> Option<Uuid> {
        if !self.topic.starts_with("order.") {
            return None;
        }
        self.payload.get("order_id")?.as_str()?.parse().ok()
    }

    /// For whom alone it is.
    pub(super) fn channel(&self) -> Option<Channel> {
        Channel::deserialize(self.payload.get("channel")?).ok()
    }

    /// What it is about: news of one subject keep their order.
    pub(super) fn subject(&self) -> Uuid {
        let product = || {
            let number = self.payload.get("product_id")?.as_i64()?;
            Some(subject_of_product(ProductId::try_from(number).ok()?))
        };
        self.reservation.or_else(|| self.order()).or_else(product).unwrap_or(Uuid::nil())
    }

    /// The body, as it is signed and sent: `type`, `timestamp`, `data`.
    pub(super) fn body(&self, order: Option<&Order>) -> Result<String, Fault> {
        let mut data = self.payload.clone();
        data.remove("channel");
        // Events that are noted later than they happened say when.
        let at = data.remove("at").unwrap_or_else(|| json!(self.written_at));
        if let Some(order) = order {
            data.extend(of_order(&self.topic, order)?);
        }
        Ok(json!({ "type": self.topic, "timestamp": at, "data": data }).to_string())
    }
}

/// News of the stock of a product has it as its subject.
fn subject_of_product(product: ProductId) -> Uuid {
    Uuid::from_u64_pair(0, product.get().unsigned_abs())
}

/// The order as the API shows it, with the state that the event brought.
fn of_order(topic: &str, order: &Order) -> Result<Map<String, Value>, Fault> {
    let items: Vec<Value> = order
        .items
        .iter()
        .map(|item| {
            let total = item.unit_price.and_then(|price| price.times(item.quantity.get()));
            json!({
                "product_id": item.product_id, "sku": item.sku, "name": item.name,
                "unit_price": item.unit_price, "quantity": item.quantity, "line_total": total,
            })
        })
        .collect();
    let shown = json!({
        "order_id": order.id,
        "reservation_id": order.reservation_id,
        "user_id": order.user_id,
        "status": topic.trim_start_matches("order."),
        "items": items,
        "total_amount": order.total,
        "currency": order.total.currency,
        "created_at": order.created_at,
    });
    match shown {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::internal("writing an order")),
    }
}

/// What a receiver knows a delivery by, however often it comes.
pub(super) fn webhook_id(event: Uuid) -> String {
    format!("evt_{}", event.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ids;

    fn row(topic: &str, payload: Value) -> Row {
        let Value::Object(payload) = payload else { panic!("no object") };
        let written_at = Instant::from_ms(1_794_000_000_007);
        Row { id: 1, topic: topic.into(), reservation: None, payload, written_at, event: None }
    }

    #[test]
    fn an_event_says_when_it_happened() {
        let body = |payload| row("reservation.expired", payload).body(None).unwrap();
        assert_eq!(
            body(json!({ "reservation_id": "r" })),
            r#"{"data":{"reservation_id":"r"},"timestamp":"2026-11-06T21:20:00.007Z","type":"reservation.expired"}"#
        );
        let earlier = body(json!({ "at": "2026-11-06T21:19:00.000Z" }));
        assert_eq!(
            earlier,
            r#"{"data":{},"timestamp":"2026-11-06T21:19:00.000Z","type":"reservation.expired"}"#
        );
    }

    #[test]
    fn news_is_ordered_by_reservation_else_order_else_product() {
        let (reservation, order) = (ids::random(), ids::random());
        let paid = row("order.paid", json!({ "order_id": order.to_string() }));
        assert_eq!((paid.subject(), paid.order()), (order, Some(order)));
        let of_reservation = Row { reservation: Some(reservation), ..paid };
        assert_eq!(of_reservation.subject(), reservation);
        let stock = |id| row("stock.low", json!({ "product_id": id })).subject();
        assert_eq!((stock(7), stock(8)), (stock(7), Uuid::from_u64_pair(0, 8)));
        assert_ne!(stock(7), stock(8));
    }
}
