//! Events of Stripe: believed by their signature, kept once, answered at once; their effect follows in a task of its own.
//! Should that die, the provider is asked what the event was about. Events come twice, late, and in any order.

use crate::kernel::PaymentId;
use crate::payments::gateway::{ProviderName, RefundStatus, Standing};
use crate::payments::journal_store::{self, Source};
use crate::payments::store::{self, Ending, Row, Status};
use crate::payments::{Event, News, Payments, WebhookError};
use crate::platform::{Fault, fault_point, metrics as names};

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Stripe has no keys here.
    #[error("this payment provider is not set up here")]
    Disabled,
    /// It is not believed.
    #[error(transparent)]
    Forged(#[from] WebhookError),
    /// It was not kept: it must come again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Payments {
    /// Takes an event of Stripe, as its body and signature came.
    pub async fn take_event(&self, raw: &[u8], signature: Option<&str>) -> Result<(), EventError> {
        let stripe = self.gateways.stripe().ok_or(EventError::Disabled)?;
        let event = stripe.verify_webhook(raw, signature, self.clock.now())?;
        let row = self.subject(&event).await?;
        let news = journal_store::News {
            provider: ProviderName::Stripe,
            id: event.id.clone(),
            payload: event.exchange.request.clone(),
            payment: row.as_ref().map(|row| row.id),
        };
        if !journal_store::keep_news(&self.db, &news, &event.kind).await? {
            return Ok(());
        }
        fault_point::reach("after_event");
        let this = self.clone();
        drop(self.tasks.spawn(async move {
            if let Err(fault) = this.run_event(event, row).await {
                tracing::warn!(
                    error = fault.chain(),
                    event.id = news.id,
                    "an event waits for its effect"
                );
            }
        }));
        Ok(())
    }

    /// The payment that an event is about: by our own id in it, because the event may be here before the creation was
    /// answered.
    async fn subject(&self, event: &Event) -> Result<Option<Row>, Fault> {
        let (reference, intent) = match &event.news {
            News::Session { reference, .. } => (reference.as_deref(), None),
            News::Refund { reference, intent, .. } => (reference.as_deref(), intent.as_deref()),
            News::ChargeRefunded { intent, .. } | News::Dispute { intent } => {
                (None, intent.as_deref())
            }
            News::Other => (None, None),
        };
        if let Some(id) = reference.and_then(|id| id.parse::<PaymentId>().ok()) {
            return store::find(&self.db, id).await;
        }
        match intent {
            Some(intent) => store::find_by_intent(&self.db, ProviderName::Stripe, intent).await,
            None => Ok(None),
        }
    }

    async fn run_event(&self, event: Event, row: Option<Row>) -> Result<(), Fault> {
        let payment = row.as_ref().map(|row| row.id);
        let exchanges = std::slice::from_ref(&event.exchange);
        let id = Some(event.id.as_str());
        let provider = ProviderName::Stripe;
        journal_store::record(&self.db, payment, provider, id, Source::Webhook, exchanges).await?;
        if let Some(row) = row.filter(|row| row.provider == provider) {
            self.act_on(&event, row).await?;
        }
        journal_store::news_done(&self.db, provider, &event.id).await
    }

    async fn act_on(&self, event: &Event, row: Row) -> Result<(), Fault> {
        match &event.news {
            News::Session { .. } if !event.mode_fits => {
                self.hold_for_review(&row, "livemode").await
            }
            News::Session { provider_payment_id, standing, .. } => {
                let known = row.provider_payment_id.as_ref();
                if known.is_some_and(|known| known != provider_payment_id) {
                    // Another page than the one that was made for this payment.
                    return match standing {
                        Some(Standing::Paid(_)) => self.hold_for_review(&row, "session").await,
                        Some(Standing::Open | Standing::Processing | Standing::Dead) | None => {
                            Ok(())
                        }
                    };
                }
                let row = Row { provider_payment_id: Some(provider_payment_id.clone()), ..row };
                match standing {
                    Some(standing) => self.stands(&row, standing).await,
                    None => self.ask(&row).await,
                }
            }
            News::Refund { refund: Some(refund), .. } => {
                let failed = matches!(refund.status, RefundStatus::Failed | RefundStatus::Canceled);
                if row.status == Status::Refunding {
                    return self.give_money_back(&row).await.map(drop);
                }
                if failed && row.status == Status::Refunded {
                    metrics::counter!(names::PAYMENT_REVIEWS, "why" => "refund").increment(1);
                    tracing::error!(payment.id = %row.id, order.id = %row.order, refund.id = refund.id, "a refund that was under way failed; a person must look");
                }
                Ok(())
            }
            News::Dispute { .. } => {
                metrics::counter!(names::PAYMENT_REVIEWS, "why" => "dispute").increment(1);
                tracing::error!(payment.id = %row.id, order.id = %row.order, "a payment is disputed; a person must look");
                Ok(())
            }
            News::Refund { refund: None, .. } | News::ChargeRefunded { .. } | News::Other => Ok(()),
        }
    }

    /// Does what the provider's word about a payment means.
    pub(super) async fn stands(&self, row: &Row, standing: &Standing) -> Result<(), Fault> {
        match standing {
            Standing::Paid(receipt) => self.paid(row, receipt, row.provider.as_str()).await,
            Standing::Dead => {
                let ending = Ending {
                    status: Status::Expired,
                    reason: "payment_expired",
                    failure: None,
                    asked: true,
                    actor: row.provider.as_str(),
                };
                self.end(row, ending).await.map(drop)
            }
            Standing::Open | Standing::Processing => Ok(()),
        }
    }

    /// Asks the provider how a payment stands, and does what that means.
    pub(super) async fn ask(&self, row: &Row) -> Result<(), Fault> {
        let (gateway, attempt) = self.asking(row).await?;
        match self.told(row, gateway.query(&attempt).await).await {
            Ok(standing) => self.stands(row, &standing).await,
            Err(error) => {
                let what = "asking a provider how a payment stands";
                Err(Fault::unavailable(what, crate::platform::Outcome::None).because(error))
            }
        }
    }

    /// The effect of an event that did not come to its end.
    pub(super) async fn take_effect(&self, news: &journal_store::News) -> Result<(), Fault> {
        if let Some(id) = news.payment {
            let row = self.row(id).await?;
            // The event may know the page before it was attached.
            let page = news.payload.pointer("/data/object/id").and_then(serde_json::Value::as_str);
            let page = page.filter(|id| id.starts_with("cs_")).map(str::to_owned);
            let row = Row { provider_payment_id: row.provider_payment_id.clone().or(page), ..row };
            match row.status {
                Status::Refunding => self.give_money_back(&row).await.map(drop)?,
                Status::Late => self.place_late(&row).await?,
                Status::Initiated
                | Status::Pending
                | Status::Failed
                | Status::Cancelled
                | Status::Expired => self.ask(&row).await?,
                Status::Paid | Status::Refunded | Status::Review => {}
            }
        }
        journal_store::news_done(&self.db, news.provider, &news.id).await
    }
}
