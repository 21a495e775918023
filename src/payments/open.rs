//! Beginning a payment: pin and price (orders), open it (Postgres, one call), make its page (the provider), attach that,
//! and only then hand its URL out. It runs in a task of its own, like a checkout.
//!
//! A crash is met step by step:
//! - after the pins: recovery fences them, nobody has paid anything
//! - after it was opened: asking again goes on with the same payment; at its deadline the provider is asked, and the
//!   units go back
//! - after the page was made: nobody has its URL; the repeated creation gives the same page, or one that is ended
//! - after it was attached: it can be paid; `deadline.rs` and the provider's word decide

use std::time::{Duration, Instant as Started};

use crate::kernel::{Money, OrderId, PaymentId, ReservationId};
use crate::orders::{
    Ask, Bill, Billed, Checkout, CheckoutError, Orders, PayError, Place, PlaceError, Placed,
};
use crate::payments::gateway::{
    Attempt, Cause, Gateway, GatewayError, ProviderName, Session, Standing,
};
use crate::payments::journal_store::{self, Source};
use crate::payments::open_store::{self, Opened, Opening};
use crate::payments::store::{self, Ended, Ending, Row, Status};
use crate::payments::{Paid, Payments};
use crate::platform::tasks::jittered;
use crate::platform::{Fault, Outcome, fault_point};
use crate::reservations::{DecisionOutcome, EndError};

/// How often it starts over: a SKU was rebuilt, or a hold changed, in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(10);

impl Payments {
    pub(super) async fn run_hold(self, checkout: Checkout, ask: Ask) -> Result<Placed, PayError> {
        let gateway = self.wanted(&ask)?;
        for _ in 0..ATTEMPTS {
            match self.orders.bill_hold(&checkout, |total| payable(gateway, total)).await? {
                Billed::Placed(placed) => return Ok(placed),
                Billed::Bill(bill) => return self.open(*bill, &ask).await,
                Billed::Again => tokio::time::sleep(jittered(PAUSE)).await,
            }
        }
        Err(Fault::unavailable("opening a payment against other changes", Outcome::None).into())
    }

    pub(super) async fn run_cart(self, place: Place, ask: Ask) -> Result<Placed, PayError> {
        let gateway = self.wanted(&ask)?;
        for _ in 0..ATTEMPTS {
            match self.orders.bill_cart(&place, |total| payable(gateway, total)).await? {
                Billed::Placed(placed) => return Ok(placed),
                Billed::Bill(bill) => return self.open(*bill, &ask).await,
                Billed::Again => tokio::time::sleep(jittered(PAUSE)).await,
            }
        }
        Err(Fault::unavailable("opening a payment against other changes", Outcome::None).into())
    }

    /// The payment under way of an order that awaits one, or another attempt in its place.
    pub(super) async fn run_order(self, order: OrderId, ask: Ask) -> Result<Paid, PayError> {
        self.wanted(&ask)?;
        let found = store::current(&self.db, &[order]).await?.pop();
        let status = self.orders.standing(order).await?.status;
        match found {
            Some(row) if row.status.is_open() => self.go_on(row, &ask).await,
            Some(_) | None => Err(PayError::OrderState(status)),
        }
    }

    /// The provider that is asked for, if it has keys, and the addresses are those of a shop of ours.
    pub(super) fn wanted(&self, ask: &Ask) -> Result<&dyn Gateway, PayError> {
        let gateway = self.gateway(ask.provider.into()).ok_or(PayError::ProviderDisabled)?;
        for (field, url) in [("success_url", &ask.success_url), ("cancel_url", &ask.cancel_url)] {
            if !self.may_return_to(url) {
                return Err(PayError::ReturnUrl(field));
            }
        }
        Ok(gateway)
    }

    fn opening(&self, ask: &Ask, home: ReservationId) -> Result<Opening, PayError> {
        let gateway = self.gateway(ask.provider.into()).ok_or(PayError::ProviderDisabled)?;
        let id = PaymentId::fresh();
        Ok(Opening {
            id,
            provider: gateway.name().as_str(),
            idempotency_key: format!("payment:{id}"),
            parameters: gateway.parameters(),
            success_url: ask.success_url.clone(),
            cancel_url: ask.cancel_url.clone(),
            late: self.late_id(id, home)?,
            window_ms: self.window().as_millis() as i64,
        })
    }

    async fn open(&self, mut bill: Bill, ask: &Ask) -> Result<Placed, PayError> {
        let home = bill.named.or_else(|| bill.pinned.first().map(|pin| pin.id));
        let home = home.ok_or_else(|| Fault::internal("opening a payment of nothing"))?;
        let opening = self.opening(ask, home)?;
        for _ in 0..ATTEMPTS {
            let opened = self.open_once(&bill, &opening).await?;
            fault_point::reach("after_open");
            if !opened.is_empty() {
                return self.opened(&bill, opened, &opening, ask).await;
            }
            self.pin_again(&mut bill).await?;
        }
        self.reservations.abandon(&bill.pinned, "payment_failed").await?;
        Err(Fault::unavailable("opening a payment against rebuilds", Outcome::None).into())
    }

    /// The row that decides. An answer that was lost is asked for again until the deadline: the row makes that safe.
    async fn open_once(&self, bill: &Bill, opening: &Opening) -> Result<Vec<Opened>, Fault> {
        let begun = Started::now();
        loop {
            match open_store::open(&self.db, bill, opening).await {
                Err(fault)
                    if begun.elapsed() < self.deadline && fault.outcome() == Outcome::Unknown =>
                {
                    tracing::warn!(error = fault.chain(), payment.id = %opening.id, "asking again whether a payment is open");
                    tokio::time::sleep(jittered(PAUSE)).await;
                }
                // The pins stay: a call before this one may have been heard. Recovery finds out.
                Err(fault) => return Err(fault.with_outcome(Outcome::Unknown)),
                opened => return opened,
            }
        }
    }

    /// Some SKU was rebuilt since it was pinned.
    async fn pin_again(&self, bill: &mut Bill) -> Result<(), PayError> {
        for name in bill.names() {
            self.reservations.catch_up(&name).await?;
        }
        for at in 0..bill.pinned.len() {
            let id = bill.pinned[at].id;
            match self.reservations.pin(id, &bill.user, None).await {
                Ok(pinned) => bill.pinned[at] = pinned,
                Err(error) => {
                    self.reservations.abandon(&bill.pinned, "payment_failed").await?;
                    return Err(CheckoutError::from(error).into());
                }
            }
        }
        Ok(())
    }

    async fn opened(
        &self,
        bill: &Bill,
        opened: Vec<Opened>,
        opening: &Opening,
        ask: &Ask,
    ) -> Result<Placed, PayError> {
        let under = |id| {
            let pending = |(decision, payment): &Opened| {
                decision.outcome == DecisionOutcome::Pending && *payment == id
            };
            opened.len() == bill.pinned.len() && opened.iter().all(pending)
        };
        if under(Some(opening.id)) {
            let row = self.row(opening.id).await?;
            let row = self.make_page(row).await?;
            return self.placed(&row, true).await;
        }
        let first = opened.first().and_then(|(_, payment)| *payment);
        if first.is_some() && under(first) {
            let row = self.row(first.unwrap_or(opening.id)).await?;
            let paid = self.go_on(row, ask).await?;
            return self.placed(&paid.row, paid.created).await;
        }
        // Decided otherwise: what is not decided is let go.
        let decisions = self.reservations.abandon(&bill.pinned, "payment_failed").await?;
        let order = decisions.iter().find_map(|decision| decision.order_id);
        match (order, decisions.as_slice()) {
            (Some(id), [only]) if only.outcome == DecisionOutcome::Confirmed => {
                Ok(Placed { order: self.orders.standing(id).await?, created: false })
            }
            (Some(_), _) => Err(EndError::PaymentInProgress.into()),
            (None, decisions) => {
                let changed = |reason: &str| reason == "cart_changed";
                if decisions.iter().any(|decision| decision.reason.as_deref().is_some_and(changed))
                {
                    return Err(PlaceError::CartChanged.into());
                }
                let decision = decisions.first();
                let decision = decision.ok_or_else(|| Fault::internal("opening a payment"))?;
                Err(Orders::why_aborted(decision).into())
            }
        }
    }

    /// The order of a payment, with it.
    async fn placed(&self, row: &Row, created: bool) -> Result<Placed, PayError> {
        let mut order = self.orders.standing(row.order).await?;
        order.payment = Some(Box::new(row.view()));
        Ok(Placed { order, created })
    }

    /// Goes on with a payment that stands: hands out its URL, makes its page, or puts another provider's in its place.
    pub(super) async fn go_on(&self, row: Row, ask: &Ask) -> Result<Paid, PayError> {
        if row.due {
            return Err(EndError::PaymentInProgress.into());
        }
        if row.provider != ask.provider.into() {
            return self.switch(row, ask).await;
        }
        // bKash takes each invoice once, so that a page whose making was cut off is left alone: nobody has its URL, and
        // without an execute of ours it takes no money. A twin of this request may still be at it.
        if row.status == Status::Initiated && row.provider == ProviderName::Bkash {
            if row.age < self.doubt() / 12 {
                return Err(EndError::PaymentInProgress.into());
            }
            return self.replace(row, ask).await;
        }
        let row = if row.status == Status::Initiated { self.make_page(row).await? } else { row };
        Ok(Paid { row, created: false })
    }

    /// Another attempt may begin only after the first has its final no.
    async fn switch(&self, old: Row, ask: &Ask) -> Result<Paid, PayError> {
        let (gateway, attempt) = self.asking(&old).await?;
        match self.told(&old, gateway.end(&attempt).await).await {
            Ok(Standing::Dead) => {}
            // Without an execute of ours no money moves.
            Ok(Standing::Open) if old.claimed.is_none() => {}
            Ok(Standing::Paid(receipt)) => {
                self.paid(&old, &receipt, "payments").await?;
                return Err(PayError::OrderState("paid".to_owned()));
            }
            Ok(Standing::Open | Standing::Processing) => {
                return Err(EndError::PaymentInProgress.into());
            }
            Err(_) => return Err(PayError::ProviderUnavailable(Outcome::None)),
        }
        self.replace(old, ask).await
    }

    async fn replace(&self, old: Row, ask: &Ask) -> Result<Paid, PayError> {
        let opening = self.opening(ask, old.late)?;
        if !open_store::replace(&self.db, old.id, "replaced", &opening, "payments").await? {
            return Err(EndError::PaymentInProgress.into());
        }
        let row = self.make_page(self.row(opening.id).await?).await?;
        Ok(Paid { row, created: true })
    }

    /// Has the provider make the page, and attaches it. Safe to repeat: the stored key and parameters go with it.
    async fn make_page(&self, row: Row) -> Result<Row, PayError> {
        let (gateway, attempt) = self.asking(&row).await?;
        let answer = self.told(&row, gateway.create(&attempt).await).await;
        fault_point::reach("after_create");
        match answer {
            Ok(session) => self.attach(row, gateway, attempt, session).await,
            Err(GatewayError::Unknown { reason }) => {
                tracing::warn!(payment.id = %row.id, provider = %row.provider, reason, "a payment page may have been made");
                Err(PayError::ProviderUnavailable(Outcome::Unknown))
            }
            Err(GatewayError::Refused { cause: Cause::Setup, code, message }) => {
                tracing::error!(payment.id = %row.id, provider = %row.provider, code, message, "the provider does not take our payments");
                Err(PayError::ProviderUnavailable(Outcome::None))
            }
            Err(GatewayError::Refused { code, message, .. }) => {
                tracing::warn!(payment.id = %row.id, provider = %row.provider, code, message, "a payment was refused");
                let ending = Ending {
                    status: Status::Failed,
                    reason: "payment_failed",
                    failure: Some(&code),
                    asked: true,
                    actor: "payments",
                };
                self.end(&row, ending).await?;
                Err(PayError::Refused(code))
            }
        }
    }

    /// The URL leaves the service only after this succeeded.
    async fn attach(
        &self,
        row: Row,
        gateway: &dyn Gateway,
        attempt: Attempt,
        session: Session,
    ) -> Result<Row, PayError> {
        if open_store::attach(&self.db, row.id, &session).await? {
            fault_point::reach("after_attach");
            return self.row(row.id).await.map_err(Into::into);
        }
        let now = self.row(row.id).await?;
        let current = store::current(&self.db, &[row.order]).await?.pop();
        if let Some(other) = current.filter(|other| other.id != row.id && other.status.is_open()) {
            let url = other.status == Status::Pending;
            return if url { Ok(other) } else { Err(EndError::PaymentInProgress.into()) };
        }
        match now.status {
            // Another creation was faster, or the buyer.
            Status::Pending | Status::Paid | Status::Refunding | Status::Refunded => Ok(now),
            Status::Initiated => Err(EndError::PaymentInProgress.into()),
            Status::Failed
            | Status::Cancelled
            | Status::Expired
            | Status::Late
            | Status::Review => {
                let id = Some(session.provider_payment_id);
                let attempt = Attempt { provider_payment_id: id, ..attempt };
                if let Err(error) = self.told(&now, gateway.end(&attempt).await).await {
                    tracing::warn!(payment.id = %row.id, %error, "a page that nobody was given was left open");
                }
                Err(EndError::Expired.into())
            }
        }
    }

    /// Ends a payment that was not paid, and gives its units back.
    pub(super) async fn end(&self, row: &Row, ending: Ending<'_>) -> Result<Ended, Fault> {
        let ended = store::end(&self.db, row.id, ending).await?;
        fault_point::reach("after_end");
        if ended == Ended::Now {
            metrics::counter!(crate::platform::metrics::PAYMENTS, "provider" => row.provider.as_str(), "end" => ending.status.as_str())
                .increment(1);
            self.settle(row, ending.status).await?;
        }
        Ok(ended)
    }

    /// What a provider answered, once everything that was said is kept.
    pub(super) async fn told<T>(
        &self,
        row: &Row,
        answer: crate::payments::gateway::Answer<T>,
    ) -> Result<T, GatewayError> {
        let kept = journal_store::record(
            &self.db,
            Some(row.id),
            row.provider,
            None,
            Source::Api,
            &answer.exchanges,
        );
        if let Err(fault) = kept.await {
            tracing::warn!(error = fault.chain(), payment.id = %row.id, "an exchange was not kept");
        }
        answer.outcome
    }
}

fn payable(gateway: &dyn Gateway, total: Money) -> Result<(), CheckoutError> {
    gateway.accepts(total).map_err(|error| match error {
        GatewayError::Refused { code, .. } => CheckoutError::NotPayable(code),
        GatewayError::Unknown { reason } => CheckoutError::NotPayable(reason),
    })
}
