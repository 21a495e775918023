//! Stripe Checkout. A session lives at least 30 minutes there; it is ended by the expire call, whose answer decides
//! whether the stock may go.

mod calls;
mod creation;
mod form;
mod pace;
mod session;
mod signature;
mod webhook;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::config::StripeSettings;
use crate::kernel::{Clock, Money};
use crate::payments::gateway::{
    Answer, Attempt, Cause, Exchange, Gateway, GatewayError, ProviderName, Refunded, Session,
    Standing,
};
use crate::payments::redact::Redactor;
use crate::payments::transport::Transport;
use crate::platform::limiter::Limiter;

use calls::{Call, Failed};
use creation::{creation, page};
use form::Form;
use pace::Pace;

pub use webhook::{Event, News, WebhookError};

/// Currencies whose minor units are the same there as here.
const CURRENCIES: [&str; 2] = ["USD", "BDT"];
/// Life of a session: Stripe takes 30 minutes and more, and a slow creation must not fall below.
const LIFE_S: i64 = 35 * 60;
/// After the end of a session that nobody was ever sent to, it is over whatever Stripe does not tell.
const OVER_S: i64 = 5 * 60;
/// Our account at Stripe.
pub struct Stripe {
    transport: Transport,
    pace: Pace,
    base: String,
    key: SecretString,
    webhook_secret: SecretString,
    version: String,
    timeout: Duration,
    live: bool,
    clock: Clock,
}

impl Stripe {
    /// The account of these settings; none without keys.
    pub(super) fn new(
        settings: &StripeSettings,
        limiter: Limiter,
        clock: Clock,
    ) -> Result<Option<Self>, reqwest::Error> {
        let (Some(key), Some(secret)) = (&settings.secret_key, &settings.webhook_secret) else {
            return Ok(None);
        };
        let redactor = Redactor::new([key.expose_secret(), secret.expose_secret()]);
        Ok(Some(Self {
            transport: Transport::new(ProviderName::Stripe, &settings.api_base, redactor)?,
            pace: Pace::new(limiter),
            base: settings.api_base.clone(),
            key: key.clone(),
            webhook_secret: secret.clone(),
            version: settings.api_version.clone(),
            timeout: settings.timeout,
            live: key.expose_secret().contains("_live_"),
            clock,
        }))
    }

    async fn make(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Map<String, Value>, Failed> {
        let call = Call {
            what: "checkout.sessions.create",
            method: Method::POST,
            path: "/v1/checkout/sessions".into(),
            form: Some(creation(attempt)),
            key: Some(&attempt.idempotency_key),
        };
        self.call(call, exchanges).await
    }

    async fn read(
        &self,
        id: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Standing, GatewayError> {
        let call = Call {
            what: "checkout.sessions.retrieve",
            method: Method::GET,
            path: format!("{}?expand[0]=payment_intent", path(id, "")?),
            form: None,
            key: None,
        };
        let session = self.call(call, exchanges).await.map_err(|failed| failed.error)?;
        session::standing(&session, self.live).ok_or_else(unreadable)
    }

    async fn expire(
        &self,
        id: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Standing, GatewayError> {
        // Without a key: under one, an answer 500 would come again for a day.
        let call = Call {
            what: "checkout.sessions.expire",
            method: Method::POST,
            path: path(id, "/expire")?,
            form: Some(Form::default()),
            key: None,
        };
        match self.call(call, exchanges).await {
            Ok(session) => session::standing(&session, self.live).ok_or_else(unreadable),
            // It was not open: only the session itself tells what it is.
            Err(failed) if failed.status == Some(400) => self.read(id, exchanges).await,
            Err(failed) => Err(failed.error),
        }
    }

    async fn create_once_more_and_end(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Standing, GatewayError> {
        match self.make(attempt, exchanges).await {
            Ok(session) => {
                let id = session::text(&session, "id").ok_or_else(unreadable)?;
                self.expire(id, exchanges).await
            }
            Err(failed) if failed.is_invalid() => Ok(Standing::Dead),
            // Nobody was sent to the page, if there is one, and by now it has ended by itself.
            Err(_) if self.is_over(attempt) => Ok(Standing::Dead),
            Err(failed) => Err(failed.error),
        }
    }

    fn is_over(&self, attempt: &Attempt) -> bool {
        let end = attempt.parameters.get("expires_at").and_then(Value::as_i64);
        end.is_some_and(|end| self.clock.now().as_second() > end + OVER_S)
    }

    async fn find_refund(
        &self,
        intent: &str,
        key: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Option<Refunded>, GatewayError> {
        let call = Call {
            what: "refunds.list",
            method: Method::GET,
            path: format!("/v1/refunds?payment_intent={}&limit=100", plain(intent)?),
            form: None,
            key: None,
        };
        let list = self.call(call, exchanges).await.map_err(|failed| failed.error)?;
        let Some(Value::Array(refunds)) = list.get("data") else { return Err(unreadable()) };
        let ours = refunds
            .iter()
            .filter_map(Value::as_object)
            .find(|refund| session::metadata(refund, "refund_key") == Some(key));
        ours.map(|refund| session::refunded(refund).ok_or_else(unreadable)).transpose()
    }

    /// What a refund names; asked for where a crash kept it from being stored.
    async fn intent(
        &self,
        attempt: &Attempt,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<String, GatewayError> {
        if let Some(intent) = &attempt.intent {
            return Ok(intent.clone());
        }
        let standing = match &attempt.provider_payment_id {
            Some(id) => self.read(id, exchanges).await?,
            None => Standing::Open,
        };
        match standing {
            Standing::Paid(receipt) => receipt.intent.ok_or_else(unreadable),
            Standing::Open | Standing::Processing | Standing::Dead => Err(GatewayError::Refused {
                cause: Cause::Setup,
                code: "not_paid".into(),
                message: "there is no money to give back".into(),
            }),
        }
    }

    async fn give_back(
        &self,
        attempt: &Attempt,
        key: &str,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Refunded, GatewayError> {
        let intent = self.intent(attempt, exchanges).await?;
        let form = Form::default()
            .with("payment_intent", &intent)
            .with("reason", "requested_by_customer")
            .with("metadata[payment_id]", attempt.payment)
            .with("metadata[order_id]", attempt.order)
            .with("metadata[refund_key]", key);
        let call = Call {
            what: "refunds.create",
            method: Method::POST,
            path: "/v1/refunds".into(),
            form: Some(form),
            key: Some(key),
        };
        match self.call(call, exchanges).await {
            Ok(refund) => session::refunded(&refund).ok_or_else(unreadable),
            // Stripe forgets keys after a day; the refund itself stays.
            Err(failed) if failed.code == "charge_already_refunded" => {
                let found = self.find_refund(&intent, key, exchanges).await?;
                found.ok_or(failed.error)
            }
            Err(failed) => Err(failed.error),
        }
    }
}

impl Gateway for Stripe {
    fn name(&self) -> ProviderName {
        ProviderName::Stripe
    }

    fn accepts(&self, amount: Money) -> Result<(), GatewayError> {
        let (code, message) = if !CURRENCIES.contains(&amount.currency.to_string().as_str()) {
            ("currency_not_supported", "payments by Stripe are taken in USD and BDT")
        } else if !(1..=99_999_999).contains(&amount.minor) {
            ("amount_not_supported", "payments by Stripe are taken from 0.01 to 999999.99")
        } else {
            return Ok(());
        };
        let (code, message) = (code.to_owned(), message.to_owned());
        Err(GatewayError::Refused { cause: Cause::Order, code, message })
    }

    fn parameters(&self) -> Value {
        json!({ "expires_at": self.clock.now().as_second() + LIFE_S })
    }

    fn create<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Session>> {
        async move {
            if let Err(refused) = self.accepts(attempt.amount) {
                return Answer { outcome: Err(refused), exchanges: Vec::new() };
            }
            let mut exchanges = Vec::new();
            let outcome = match self.make(attempt, &mut exchanges).await {
                Ok(session) => page(&session, attempt, self.live),
                Err(failed) => Err(failed.error),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn query<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match &attempt.provider_payment_id {
                Some(id) => self.read(id, &mut exchanges).await,
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
                Some(id) => self.expire(id, &mut exchanges).await,
                None => self.create_once_more_and_end(attempt, &mut exchanges).await,
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn execute<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Answer<Standing>> {
        self.query(attempt)
    }

    fn refund<'a>(&'a self, attempt: &'a Attempt, key: &'a str) -> BoxFuture<'a, Answer<Refunded>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = self.give_back(attempt, key, &mut exchanges).await;
            Answer { outcome, exchanges }
        }
        .boxed()
    }

    fn refund_status<'a>(
        &'a self,
        attempt: &'a Attempt,
        key: &'a str,
    ) -> BoxFuture<'a, Answer<Option<Refunded>>> {
        async move {
            let mut exchanges = Vec::new();
            let outcome = match self.intent(attempt, &mut exchanges).await {
                Ok(intent) => self.find_refund(&intent, key, &mut exchanges).await,
                Err(error) => Err(error),
            };
            Answer { outcome, exchanges }
        }
        .boxed()
    }
}

/// Path of a session.
fn path(id: &str, rest: &str) -> Result<String, GatewayError> {
    Ok(format!("/v1/checkout/sessions/{}{rest}", plain(id)?))
}

/// An id as a part of a path; nothing else may lead elsewhere.
fn plain(id: &str) -> Result<&str, GatewayError> {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !id.is_empty() && id.len() <= 255 && id.bytes().all(sane) {
        Ok(id)
    } else {
        let message = "this is no id of Stripe".to_owned();
        Err(GatewayError::Refused { cause: Cause::Setup, code: "invalid_id".into(), message })
    }
}

fn unreadable() -> GatewayError {
    GatewayError::Unknown { reason: "the answer is not as the API describes it".to_owned() }
}
