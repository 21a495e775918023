//! A payment as its row in Postgres says, and what others are shown of it.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Row as PgRow;

use crate::kernel::{
    Currency, Instant, Money, OrderId, PaymentId, ProductId, Quantity, ReservationId, Sku, UserId,
};
use crate::orders::Payment;
use crate::payments::gateway::{Attempt, AttemptLine, ProviderName};
use crate::platform::Fault;

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Initiated,
    Pending,
    Paid,
    Failed,
    Cancelled,
    Expired,
    Late,
    Refunding,
    Refunded,
    Review,
}

impl Status {
    /// All there are.
    pub(super) const ALL: [Self; 10] = [
        Self::Initiated,
        Self::Pending,
        Self::Paid,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Late,
        Self::Refunding,
        Self::Refunded,
        Self::Review,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Late => "late",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::Review => "review",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| Fault::internal("reading the status of a payment"))
    }

    /// Whether it may still be paid for its hold.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Initiated | Self::Pending)
    }
}

/// A payment as its row says.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: PaymentId,
    pub(super) order: OrderId,
    pub(super) user: UserId,
    pub(super) provider: ProviderName,
    pub(super) status: Status,
    pub(super) amount: Money,
    pub(super) idempotency_key: String,
    pub(super) parameters: Value,
    pub(super) success_url: String,
    pub(super) cancel_url: String,
    pub(super) late: ReservationId,
    pub(super) provider_payment_id: Option<String>,
    pub(super) intent: Option<String>,
    pub(super) transaction: Option<String>,
    pub(super) callback_signature: Option<String>,
    pub(super) url: Option<String>,
    pub(super) deadline: Instant,
    /// Whether its deadline has passed, by the clock that set it.
    pub(super) due: bool,
    /// How long ago it was opened.
    pub(super) age: Duration,
    /// How long ago its execute was claimed.
    pub(super) claimed: Option<Duration>,
    pub(super) refund_restock: Option<bool>,
    pub(super) refund_actor: Option<String>,
    pub(super) checks: i32,
    /// What the provider said, or what did not fit.
    pub(super) failure: Option<String>,
    pub(super) created_at: Instant,
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

/// One line of the order that a payment is about.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) product: ProductId,
    pub(super) sku: Sku,
    pub(super) name: String,
    pub(super) quantity: Quantity,
    pub(super) unit_minor: Option<i64>,
}

impl Row {
    pub(super) fn read(row: &PgRow) -> Result<Self, Fault> {
        let bad = |error: &'static str| Fault::internal("reading a payment").because(error);
        let currency: Currency = row.get::<_, &str>("currency").parse().map_err(bad)?;
        let claimed: Option<i64> = row.get("claimed_ms");
        Ok(Self {
            id: row.get("payment_id"),
            order: row.get("order_id"),
            user: row.get("user_id"),
            provider: row.get::<_, &str>("provider").parse().map_err(bad)?,
            status: Status::parse(row.get("status"))?,
            amount: Money::new(row.get("amount_minor"), currency),
            idempotency_key: row.get("idempotency_key"),
            parameters: row.get("parameters"),
            success_url: row.get("success_url"),
            cancel_url: row.get("cancel_url"),
            late: row.get("late_reservation_id"),
            provider_payment_id: row.get("provider_payment_id"),
            intent: row.get("provider_intent_id"),
            transaction: row.get("provider_trx_id"),
            callback_signature: row.get("callback_signature"),
            url: row.get("url"),
            deadline: row.get("pay_deadline"),
            due: row.get("due"),
            age: millis(row.get("age_ms")),
            claimed: claimed.map(millis),
            refund_restock: row.get("refund_restock"),
            refund_actor: row.get("refund_actor"),
            checks: row.get("checks"),
            failure: row.get("failure_code"),
            created_at: row.get("created_at"),
        })
    }

    /// As the API shows it. The URL is there only while it leads anywhere.
    pub(super) fn view(&self) -> Payment {
        Payment {
            id: self.id,
            order_id: self.order,
            provider: self.provider.to_string(),
            status: self.status.as_str().to_owned(),
            amount: self.amount,
            currency: self.amount.currency,
            provider_payment_id: self.provider_payment_id.clone(),
            transaction_id: self.transaction.clone().or_else(|| self.intent.clone()),
            url: self.url.clone().filter(|_| self.status == Status::Pending),
            deadline: self.deadline,
            created_at: self.created_at,
        }
    }

    /// What the provider is asked with.
    pub(super) fn attempt(&self, lines: &[Line]) -> Attempt {
        let unit = |line: &Line| Money::new(line.unit_minor.unwrap_or(0), self.amount.currency);
        let lines = lines.iter().map(|line| AttemptLine {
            name: line.name.clone(),
            quantity: line.quantity.get(),
            unit: unit(line),
        });
        Attempt {
            payment: self.id,
            order: self.order,
            user: self.user.clone(),
            amount: self.amount,
            lines: lines.collect(),
            idempotency_key: self.idempotency_key.clone(),
            parameters: self.parameters.clone(),
            success_url: self.success_url.clone(),
            cancel_url: self.cancel_url.clone(),
            provider_payment_id: self.provider_payment_id.clone(),
            intent: self.intent.clone(),
            transaction: self.transaction.clone(),
        }
    }
}
