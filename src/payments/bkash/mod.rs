//! bKash Tokenized Checkout. No money moves until we execute; nothing there can be ended, and no answer may be taken for
//! a no until a query says so.

mod answers;
mod cache;
mod calls;
mod codes;
mod token;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::config::BkashSettings;
use crate::kernel::{Clock, Instant, Money, UserId};
use crate::payments::gateway::{
    Answer, Attempt, Cause, Exchange, Gateway, GatewayError, ProviderName, Refunded, Session,
    Standing,
};
use crate::payments::redact::Redactor;
use crate::payments::transport::{Lost, Transport};
use crate::platform::redis::Via;

use cache::Cache;
use calls::{Failed, Method};

/// A payment that was not executed dies after a day.
const LIFE_MS: i64 = 24 * 60 * 60 * 1_000;
/// Below the callback base: where bKash sends the buyer back to.
const CALLBACK: &str = "/api/payment/bkash/callback";

/// Our account at bKash.
pub struct Bkash {
    transport: Transport,
    cache: Cache,
    renewing: tokio::sync::Mutex<()>,
    base: String,
    account: Account,
    callback_url: String,
    timeout: Duration,
    clock: Clock,
}

struct Account {
    app_key: SecretString,
    app_secret: SecretString,
    username: SecretString,
    password: SecretString,
}

impl Bkash {
    /// The account of these settings; none without keys.
    pub(super) fn new(
        settings: &BkashSettings,
        via: Via,
        prefix: &str,
        clock: Clock,
    ) -> Result<Option<Self>, reqwest::Error> {
        let (Some(app_key), Some(app_secret), Some(username), Some(password)) =
            (&settings.app_key, &settings.app_secret, &settings.username, &settings.password)
        else {
            return Ok(None);
        };
        let credentials = [app_key, app_secret, username, password].map(|key| key.expose_secret());
        let redactor = Redactor::new(credentials);
        Ok(Some(Self {
            transport: Transport::new(ProviderName::Bkash, &settings.base_url, redactor)?,
            cache: Cache::new(via, prefix, &credentials),
            renewing: tokio::sync::Mutex::default(),
            base: settings.base_url.clone(),
            account: Account {
                app_key: app_key.clone(),
                app_secret: app_secret.clone(),
                username: username.clone(),
                password: password.clone(),
            },
            callback_url: format!("{}{CALLBACK}", settings.callback_base),
            timeout: settings.timeout,
            clock,
        }))
    }

    async fn make(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Session, GatewayError> {
        self.accepts(attempt.amount)?;
        let body = json!({
            "mode": "0011",
            "payerReference": self.payer_reference(&attempt.user),
            "callbackURL": self.callback_url,
            "amount": attempt.amount.to_string(),
            "currency": "BDT",
            "intent": "sale",
            "merchantInvoiceNumber": attempt.payment.to_string(),
        });
        let created = self.call(Method::Create, body, exchanges).await.map_err(Failed::error)?;
        self.page(&created, attempt)
    }

    fn page(
        &self,
        created: &Map<String, Value>,
        attempt: &Attempt,
    ) -> Result<Session, GatewayError> {
        let id = answers::text(created, "paymentID").filter(|id| is_id(id));
        let url = answers::text(created, "bkashURL")
            .filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        let (Some(id), Some(url)) = (id, url) else { return Err(unreadable()) };
        let invoice = answers::text(created, "merchantInvoiceNumber");
        let as_asked = answers::amount(created) == Some(attempt.amount)
            && invoice == Some(attempt.payment.to_string().as_str());
        if !as_asked {
            let reason = "the payment is not the one that was asked for".to_owned();
            return Err(GatewayError::Unknown { reason });
        }
        Ok(Session {
            provider_payment_id: id.to_owned(),
            url: url.to_owned(),
            expires_at: Instant::from_ms(self.clock.now_ms() + LIFE_MS),
            callback_signature: answers::callback_signature(created),
        })
    }

    async fn ask(&self, id: &str, exchanges: &mut Vec<Exchange>) -> Result<Standing, GatewayError> {
        let body = json!({ "paymentID": id });
        let payment = self.call(Method::Query, body, exchanges).await.map_err(Failed::error)?;
        answers::standing(&payment).ok_or_else(unreadable)
    }

    async fn take(
        &self,
        id: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Standing, GatewayError> {
        let executed = self.call(Method::Execute, json!({ "paymentID": id }), exchanges).await;
        let refused = match executed {
            Ok(payment) => match answers::standing(&payment) {
                Some(Standing::Paid(receipt)) => return Ok(Standing::Paid(receipt)),
                Some(Standing::Open | Standing::Processing | Standing::Dead) | None => None,
            },
            Err(failed) => failed.refusal(),
        };
        // Whatever was not a clear yes is asked about, and never executed again.
        match (self.ask(id, exchanges).await?, refused) {
            (Standing::Open, Some(refused)) => Err(refused),
            (standing, _) => Ok(standing),
        }
    }

    async fn give_back(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Refunded, GatewayError> {
        let (payment, transaction) = self.paid(attempt, exchanges).await?;
        // bKash knows no keys: whether this refund was made already must be asked first.
        if let Some(refund) = self.find_refund(&payment, &transaction, exchanges).await? {
            return Ok(refund);
        }
        let body = json!({
            "paymentId": payment,
            "trxId": transaction,
            "refundAmount": attempt.amount.to_string(),
            "sku": attempt.order.to_string(),
            "reason": "refund of the order",
        });
        match self.call(Method::Refund, body, exchanges).await {
            Ok(refund) => match answers::refunded(&refund) {
                Some(refund) => Ok(refund),
                None => Err(unreadable()),
            },
            Err(failed) => match self.find_refund(&payment, &transaction, exchanges).await? {
                Some(refund) => Ok(refund),
                None => Err(failed.error()),
            },
        }
    }

    /// A payment of ours is refunded whole, so that there is one refund at most.
    async fn find_refund(
        &self,
        payment: &str,
        transaction: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Option<Refunded>, GatewayError> {
        let body = json!({ "paymentId": payment, "trxId": transaction });
        let status = self.call(Method::RefundStatus, body, exchanges).await;
        let status = status.map_err(Failed::error)?;
        let Some(Value::Array(refunds)) = status.get("refundTransactions") else {
            return Err(unreadable());
        };
        let refunds: Option<Vec<Refunded>> =
            refunds.iter().map(|refund| answers::refunded(refund.as_object()?)).collect();
        Ok(refunds.ok_or_else(unreadable)?.into_iter().next())
    }

    /// What a refund names; asked for where a crash kept it from being stored.
    async fn paid(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<(String, String), GatewayError> {
        let refused = || GatewayError::Refused {
            cause: Cause::Setup,
            code: "not_paid".into(),
            message: "there is no money to give back".into(),
        };
        let payment = attempt.provider_payment_id.clone().ok_or_else(refused)?;
        if let Some(transaction) = &attempt.transaction {
            return Ok((payment, transaction.clone()));
        }
        match self.ask(&payment, exchanges).await? {
            Standing::Paid(receipt) => Ok((payment, receipt.transaction.ok_or_else(unreadable)?)),
            Standing::Open | Standing::Processing | Standing::Dead => Err(refused()),
        }
    }

    /// Tells bKash's page nothing about the buyer, and never looks like the number of a wallet.
    fn payer_reference(&self, user: &UserId) -> String {
        let secret = self.account.app_secret.expose_secret().as_bytes();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            return "buyer".to_owned();
        };
        mac.update(user.as_str().as_bytes());
        let hash = mac.finalize().into_bytes();
        let hex = hash.iter().take(12).map(|byte| format!("{byte:02x}"));
        format!("buyer-{}", hex.collect::<String>())
    }
}

impl Gateway for Bkash {
    fn name(&self) -> ProviderName {
        ProviderName::Bkash
    }

    fn accepts(&self, amount: Money) -> Result<(), GatewayError> {
        let (code, message) = if amount.currency.to_string() != "BDT" {
            ("currency_not_supported", "payments by bKash are taken in BDT")
        } else if amount.minor < 1 {
            ("amount_not_supported", "payments by bKash are taken from 0.01 on")
        } else {
            return Ok(());
        };
        let (code, message) = (code.to_owned(), message.to_owned());
        Err(GatewayError::Refused { cause: Cause::Order, code, message })
    }

    fn parameters(&self) -> Value {
        json!({})
    }

    fn create<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Session>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = self.make(attempt, &mut exchanges).await;
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn query<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match &attempt.provider_payment_id {
                Some(id) => self.ask(id, &mut exchanges).await,
                None => Ok(Standing::Open),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn end<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match &attempt.provider_payment_id {
                Some(id) => self.ask(id, &mut exchanges).await,
                // Without its id nobody can execute it.
                None => Ok(Standing::Dead),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn execute<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match &attempt.provider_payment_id {
                Some(id) => self.take(id, &mut exchanges).await,
                None => Ok(Standing::Open),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn refund<'a>(
        &'a self,
        attempt: &'a Attempt,
        _key: &'a str,
    ) -> BoxFuture<'a, Answer<Refunded>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = self.give_back(attempt, &mut exchanges).await;
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn refund_status<'a>(
        &'a self,
        attempt: &'a Attempt,
        _key: &'a str,
    ) -> BoxFuture<'a, Answer<Option<Refunded>>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match self.paid(attempt, &mut exchanges).await {
                Ok((id, transaction)) => self.find_refund(&id, &transaction, &mut exchanges).await,
                Err(error) => Err(error),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }
}

fn is_id(id: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=255).contains(&id.len()) && id.bytes().all(sane)
}

fn lost(lost: Lost) -> GatewayError {
    GatewayError::Unknown { reason: lost.reason }
}

fn unreadable() -> GatewayError {
    GatewayError::Unknown { reason: "the answer is not as the API describes it".to_owned() }
}
