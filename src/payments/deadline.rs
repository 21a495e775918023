//! What must be looked at: payments past their deadline, money that came late, refunds under way, executes that may
//! still land, and events whose effect failed. Every replica looks, from Postgres; whoever takes a row keeps it for a
//! while, and should it die, another comes.
//!
//! The provider is asked first. Only its final no lets the units go; silence keeps them.

use std::time::{Duration, Instant};

use crate::kernel::PaymentId;
use crate::payments::Payments;
use crate::payments::gateway::{ProviderName, Standing};
use crate::payments::journal_store;
use crate::payments::store::{self, Ended, Ending, Pace, Row, Status};
use crate::platform::tasks::jittered;
use crate::platform::{Fault, fault_point, metrics as names};

/// Time between two looks.
const TICK: Duration = Duration::from_millis(250);
/// Time between two looks at how many are open.
const MEASURE: Duration = Duration::from_secs(10);
/// Payments and events that one look takes.
const BATCH: i64 = 32;

/// Who wants a payment to end, and what it is then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) status: Status,
    pub(super) reason: &'a str,
    pub(super) actor: &'a str,
}

/// What a deadline makes of a payment.
pub(super) const DEADLINE: Wish<'static> =
    Wish { status: Status::Expired, reason: "payment_expired", actor: "clock" };

/// What became of the wish to end a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is over, one way or the other.
    Over,
    /// Its outcome is not known yet.
    Open,
    /// The provider did not answer.
    Unknown,
}

impl Payments {
    /// Looks until the service stops.
    pub(super) async fn run(self) {
        let mut measured: Option<Instant> = None;
        while self.tasks.pause(jittered(TICK)).await {
            match self.run_once().await {
                Ok(()) => names::turned("payments"),
                Err(fault) => {
                    tracing::warn!(error = fault.chain(), "payments wait to be looked at");
                }
            }
            if measured.is_none_or(|at| at.elapsed() > MEASURE) {
                measured = Some(Instant::now());
                if let Err(fault) = self.measure().await {
                    tracing::warn!(error = fault.chain(), "payments were not measured");
                }
            }
        }
    }

    /// Takes what is due, and does what it needs.
    pub async fn run_once(&self) -> Result<(), Fault> {
        let pace = self.pace();
        let due = store::take_due(&self.background_db, BATCH, pace).await?;
        let news = journal_store::take_news(&self.background_db, BATCH, pace).await?;
        let payments = due.into_iter().map(|id| async move {
            if let Err(fault) = self.look_at(id).await {
                tracing::warn!(error = fault.chain(), payment.id = %id, "a payment waits for its next look");
            }
        });
        futures_util::future::join_all(payments).await;
        for event in news {
            if let Err(fault) = self.take_effect(&event).await {
                tracing::warn!(
                    error = fault.chain(),
                    event.id = event.id,
                    "an event waits for its effect"
                );
            }
        }
        Ok(())
    }

    fn pace(&self) -> Pace {
        let doubt = self.doubt();
        Pace { first: (doubt / 30).max(Duration::from_millis(200)), most: doubt / 2 }
    }

    /// Does what a payment needs, whatever it is.
    async fn look_at(&self, id: PaymentId) -> Result<(), Fault> {
        let row = self.row(id).await?;
        match row.status {
            Status::Initiated | Status::Pending if row.due || row.claimed.is_some() => {
                self.close(&row, DEADLINE).await.map(drop)
            }
            // Its time has not come.
            Status::Initiated | Status::Pending | Status::Review => Ok(()),
            Status::Paid | Status::Refunded => self.settle(&row, row.status).await,
            Status::Late => self.place_late(&row).await,
            Status::Refunding => self.give_money_back(&row).await.map(drop),
            Status::Failed | Status::Cancelled | Status::Expired => self.watch(&row).await,
        }
    }

    /// Ends a payment, provider first.
    pub(super) async fn close(&self, row: &Row, wish: Wish<'_>) -> Result<Closed, Fault> {
        // Without an execute of ours bKash moves no money, so nothing needs to be asked.
        if row.provider == ProviderName::Bkash && row.claimed.is_none() {
            match self.end(row, ending(wish, false)).await? {
                Ended::Now | Ended::Known => return Ok(Closed::Over),
                // Claimed this very moment.
                Ended::Claimed => return Ok(Closed::Open),
            }
        }
        let (gateway, attempt) = self.asking(row).await?;
        let standing = self.told(row, gateway.end(&attempt).await).await;
        fault_point::reach("after_ask");
        match standing {
            Ok(Standing::Paid(receipt)) => {
                self.paid(row, &receipt, wish.actor).await?;
                Ok(Closed::Over)
            }
            Ok(Standing::Dead) => {
                self.end(row, ending(wish, true)).await?;
                Ok(Closed::Over)
            }
            Ok(Standing::Open) if row.claimed.is_some_and(|age| age >= self.doubt()) => {
                self.end(row, ending(wish, true)).await?;
                Ok(Closed::Over)
            }
            Ok(Standing::Open | Standing::Processing) => Ok(Closed::Open),
            Err(error) => {
                tracing::warn!(payment.id = %row.id, provider = %row.provider, %error, "a payment keeps its hold: its provider does not tell how it stands");
                Ok(Closed::Unknown)
            }
        }
    }

    /// A payment that has ended: Redis must know, and an execute that was claimed may still land.
    async fn watch(&self, row: &Row) -> Result<(), Fault> {
        if row.claimed.is_some() {
            let (gateway, attempt) = self.asking(row).await?;
            match self.told(row, gateway.query(&attempt).await).await {
                Ok(Standing::Paid(receipt)) => return self.paid(row, &receipt, "payments").await,
                Ok(Standing::Open | Standing::Processing | Standing::Dead) | Err(_) => {}
            }
        }
        self.settle(row, row.status).await
    }
}

fn ending<'a>(wish: Wish<'a>, asked: bool) -> Ending<'a> {
    let Wish { status, reason, actor } = wish;
    Ending { status, reason, failure: None, asked, actor }
}
