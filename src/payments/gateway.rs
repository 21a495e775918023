//! What the protocol of payments asks of a provider. A [`Gateway`] knows how to ask, and what an answer means; it keeps
//! nothing, decides nothing about stock, and never takes silence for a no.
//!
//! Every answer comes with the exchanges it took, redacted and of bounded size, for the record of the payment.

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::{Instant, Money, OrderId, PaymentId, UserId};

/// A provider of payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderName {
    /// Stripe Checkout.
    Stripe,
    /// bKash Tokenized Checkout.
    Bkash,
}

impl ProviderName {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Stripe, Self::Bkash];

    /// As URLs, tables and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Bkash => "bkash",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderName {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "stripe" => Ok(Self::Stripe),
            "bkash" => Ok(Self::Bkash),
            _ => Err("a provider is stripe or bkash"),
        }
    }
}

/// One payment as it stands in the table: everything that a question about it needs.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The payment: our reference at the provider.
    pub payment: PaymentId,
    /// What is paid for.
    pub order: OrderId,
    /// Who pays. bKash is shown it; it must say nothing to a stranger.
    pub user: UserId,
    /// What the order costs.
    pub amount: Money,
    /// What the page of the provider lists. Where it does not sum up to `amount`, the page shows one line instead.
    pub lines: Vec<AttemptLine>,
    /// Stored before the first call; a repeated creation carries it again.
    pub idempotency_key: String,
    /// What [`Gateway::parameters`] answered before the first call, stored with the key: a repeated creation must
    /// be the same to the byte.
    pub parameters: Value,
    /// Where the buyer goes after paying.
    pub success_url: String,
    /// Where the buyer goes after giving up.
    pub cancel_url: String,
    /// The provider's name for it, once creation was answered.
    pub provider_payment_id: Option<String>,
    /// What a refund of Stripe names, once paid.
    pub intent: Option<String>,
    /// What a refund of bKash names, once paid.
    pub transaction: Option<String>,
}

/// One line of what is paid for.
#[derive(Clone, Debug)]
pub struct AttemptLine {
    /// The product's name at the time.
    pub name: String,
    /// How many.
    pub quantity: i64,
    /// What one costs.
    pub unit: Money,
}

/// A page where the buyer can pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The provider's name for it.
    pub provider_payment_id: String,
    /// Where to send the buyer. It must not leave the service before it is stored.
    pub url: String,
    /// When the provider ends it by itself.
    pub expires_at: Instant,
    /// What bKash puts into callbacks of this payment. Proves nothing; another one is a forgery.
    pub callback_signature: Option<String>,
}

/// How a payment stands at its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was paid, and it still can be.
    Open,
    /// The buyer is through, and the money is on its way.
    Processing,
    /// The money is there. Compare with [`Receipt::mismatch`] before anything is sold.
    Paid(Receipt),
    /// A final no: it was not paid, and cannot be any more.
    Dead,
}

/// What the provider says it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How much.
    pub amount: Money,
    /// Our payment id as the provider repeats it.
    pub reference: Option<String>,
    /// What a refund of Stripe names.
    pub intent: Option<String>,
    /// The provider's number of the transaction: what a refund of bKash names.
    pub transaction: Option<String>,
    /// False for test money where real money is expected, and the other way round.
    pub mode_fits: bool,
}

impl Receipt {
    /// Why this money may not be taken for that of `payment` over `amount`: it waits for a person then.
    pub fn mismatch(&self, payment: PaymentId, amount: Money) -> Option<&'static str> {
        if !self.mode_fits {
            return Some("livemode");
        }
        if self.reference.as_deref() != Some(payment.to_string().as_str()) {
            return Some("reference");
        }
        if self.amount.currency != amount.currency {
            return Some("currency");
        }
        (self.amount.minor != amount.minor).then_some("amount")
    }
}

/// A refund as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunded {
    /// The provider's name for it.
    pub id: String,
    /// How far it is.
    pub status: RefundStatus,
}

/// How far a refund is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// On its way.
    Pending,
    /// The buyer has it, or will without anybody's doing.
    Succeeded,
    /// It did not work; a person must look.
    Failed,
    /// It was taken back; a person must look.
    Canceled,
}

/// Why there is no answer to go on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// A definite no to this call: it did nothing, and will do nothing.
    #[error("the provider refused: {code}: {message}")]
    Refused {
        /// Whose affair it is.
        cause: Cause,
        /// The provider's code, or one of ours in snake_case.
        code: String,
        /// The provider's words, without anything secret. For operators.
        message: String,
    },
    /// It may have done something, or may yet: ask again.
    #[error("the provider's answer is not known: {reason}")]
    Unknown {
        /// What came instead of an answer.
        reason: String,
    },
}

/// Whose affair a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What we send or how we are set up. An operator should know.
    Setup,
    /// This provider cannot take this amount or currency: 422.
    Order,
    /// The buyer's account, card or typing. Another attempt may go well.
    Customer,
    /// The buyer did the same a moment ago; another attempt will go well in a few minutes.
    Repeat,
}

/// What was answered, and the exchanges that took.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What was answered.
    pub outcome: Result<T, GatewayError>,
    /// Everything sent and received, in order; none if nothing was sent.
    pub exchanges: Vec<Exchange>,
}

/// One request and what came back, without secrets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exchange {
    /// Who asked.
    pub direction: Direction,
    /// The call, e.g. `checkout.sessions.create`, or the type of an event.
    pub what: String,
    /// The status of the answer; none if there was none.
    pub http_status: Option<u16>,
    /// How long it took.
    pub duration_ms: i64,
    /// What was sent.
    pub request: Value,
    /// What came back, or why nothing did.
    pub response: Value,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// We asked the provider.
    Out,
    /// The provider told us.
    In,
}

/// A provider of payments. Every wait ends; every call may be repeated.
pub trait Gateway: Send + Sync {
    /// Which one it is.
    fn name(&self) -> ProviderName;

    /// Whether an amount can be paid here at all; asked before anything is pinned or stored.
    ///
    /// # Errors
    ///
    /// Always [`GatewayError::Refused`] with [`Cause::Order`].
    fn accepts(&self, amount: Money) -> Result<(), GatewayError>;

    /// What of a creation is decided now and must be the same when it is repeated. To be stored as
    /// [`Attempt::parameters`] before [`Gateway::create`] is called.
    fn parameters(&self) -> Value;

    /// Makes the page where the buyer pays.
    ///
    /// Stripe: the same attempt gives the same page. bKash knows no keys: a second creation of the same attempt is
    /// refused, and a first one whose answer was lost is harmless, because nobody can execute it; [`Gateway::end`] it.
    fn create<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Session>>;

    /// Asks how it stands. Without a `provider_payment_id` nothing is asked: `Open`.
    fn query<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>>;

    /// Ends it if the provider can, and tells how it stands then. Only `Dead` lets stock go.
    ///
    /// Stripe: the expire call. An attempt without `provider_payment_id` is created once more with its key, and what
    /// comes of that is ended; a refused creation is `Dead`. bKash cannot end anything: as `query`; an attempt without
    /// `provider_payment_id` is `Dead`, because nobody can execute it.
    fn end<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>>;

    /// Takes the money that the buyer has released (bKash), at most once; on any doubt it queries. `Open` means that it
    /// was not taken so far and may be yet. Where money moves without a word of ours (Stripe): as `query`.
    fn execute<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>>;

    /// Gives all the money back, once for each `key`.
    fn refund<'a>(&'a self, attempt: &'a Attempt, key: &'a str) -> BoxFuture<'a, Answer<Refunded>>;

    /// What became of the refund with this key; none if there is none.
    fn refund_status<'a>(
        &'a self,
        attempt: &'a Attempt,
        key: &'a str,
    ) -> BoxFuture<'a, Answer<Option<Refunded>>>;
}
