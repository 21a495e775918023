//! What people do to all holds of a product: end its sale, or give its buyers more time.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::{Ending, Name};
use crate::kernel::ReservationId;
use crate::platform::fault::Kind;
use crate::platform::tasks::jittered;
use crate::platform::{Fault, Outcome, fault_point, metrics as names};
use crate::reservations::cancel::SALE_CLOSED;
use crate::reservations::ledger::{Closed, Moved, Place, Trouble};
use crate::reservations::record::{Lines, State};
use crate::reservations::{EndError, Reservations, hold_events_store};

/// Records that one call works on, so that everything else waits some milliseconds at most.
const PAGE: u32 = 500;
/// How often one page is asked for, and the pause between two attempts.
const PAGE_ATTEMPTS: usize = 5;
const PAGE_PAUSE: Duration = Duration::from_millis(200);
/// Products that one turn looks at.
const BATCH: i64 = 256;
/// Operations of others that are brought to their end before one's own.
const OTHERS: usize = 8;
/// How often an extension starts over because another one came in between.
const ATTEMPTS: usize = 3;

/// What became of the holds of a product that were to be extended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// They have more time.
    pub extended: i64,
    /// They could not live longer, or ended meanwhile.
    pub skipped: i64,
}

/// Who does something, and why.
#[derive(Clone, Debug)]
pub struct By {
    /// As `role:sub`.
    pub actor: String,
    /// The reason that was given.
    pub reason: Option<String>,
}

impl Reservations {
    /// Makes what Postgres says of this sale rule new holds: when this returns, no hold is made against it.
    pub async fn take_sale(&self, name: &Arc<Name>) -> Result<(), Fault> {
        let told = self.in_time(self.tell(name, false)).await;
        // It stands in Postgres, and is told by whichever replica looks next.
        told.map(drop).map_err(|fault| fault.with_outcome(Outcome::Unknown))
    }

    /// Releases every hold of a closed sale that is not being confirmed. A crash leaves the rest to `end_due`.
    pub async fn release_all(&self, name: &Arc<Name>, actor: &str) -> Result<i64, Fault> {
        let (mut sum, mut after) = (0, Place::start());
        loop {
            let page = || self.ledger.close_all(&name.sku, actor, SALE_CLOSED, &after, PAGE);
            let Closed::Page { released, now_ms, several, next } = self.on_sku(name, page).await?
            else {
                return Ok(sum);
            };
            if released > 0 {
                self.shared.watch.of(name).ended_at(now_ms);
                metrics::counter!(names::ENDS, "end" => "cancelled")
                    .increment(released.unsigned_abs());
            }
            sum += released;
            for (id, user) in several {
                match self.cancel_because(id, &user, actor, SALE_CLOSED).await {
                    Ok(_) => sum += 1,
                    Err(EndError::Fault(fault)) => return Err(fault),
                    Err(_) => {}
                }
            }
            fault_point::reach("after_close_page");
            match next {
                Some(next) => after = next,
                None => break,
            }
        }
        self.shared.catalogue.released(name.id).await?;
        Ok(sum)
    }

    /// Gives every live hold of a product more time, as far as a hold may live. Under one operation every hold is moved
    /// once, whoever calls how often.
    pub async fn extend_all(
        &self,
        name: &Arc<Name>,
        operation: &str,
        seconds: u32,
        by: &By,
    ) -> Result<Extension, Fault> {
        let more_ms = i64::from(seconds) * 1_000;
        let (mut running, mut running_ms) = (operation.to_owned(), more_ms);
        for _ in 0..OTHERS {
            match self.run_operation(name, &running, running_ms).await? {
                Moved::Other { operation, more_ms } => (running, running_ms) = (operation, more_ms),
                // One that was cut short wanted the same: asking again goes on with it.
                Moved::SoFar { extended, skipped, passed, .. } if running_ms == more_ms => {
                    let mut sum = Extension { extended, skipped };
                    if passed > 0 {
                        self.extend_several(name, &running, seconds, by, &mut sum).await?;
                    }
                    return Ok(sum);
                }
                Moved::SoFar { .. } => (running, running_ms) = (operation.to_owned(), more_ms),
            }
        }
        Err(Fault::unavailable("others extend the holds of this product", Outcome::None))
    }

    /// One page of many. An answer that was lost is asked for again, because the stock knows how far it came; and one
    /// that waits while Redis is busy gives up no work of a hundred thousand holds.
    async fn page_of<T, Answer>(
        &self,
        name: &Arc<Name>,
        page: impl Fn() -> Answer,
    ) -> Result<T, Fault>
    where
        Answer: Future<Output = Result<T, Trouble>>,
    {
        let mut tried = 1;
        loop {
            match self.on_sku(name, &page).await {
                Err(fault) if fault.kind() == Kind::Unavailable && tried < PAGE_ATTEMPTS => {
                    tried += 1;
                    tokio::time::sleep(jittered(PAGE_PAUSE)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn run_operation(
        &self,
        name: &Arc<Name>,
        operation: &str,
        more_ms: i64,
    ) -> Result<Moved, Fault> {
        let life_ms = self.shared.settings.load().reservation.max_lifetime.as_millis() as i64;
        loop {
            let page = || self.ledger.extend_all(&name.sku, operation, more_ms, life_ms, PAGE);
            let moved = self.page_of(name, page).await?;
            fault_point::reach("after_extend_page");
            match moved {
                Moved::SoFar { done: false, .. } => {}
                moved => {
                    self.moved_again(name);
                    return Ok(moved);
                }
            }
        }
    }

    /// Reservations of several products end with their first line, so all of their lines are moved.
    async fn extend_several(
        &self,
        name: &Arc<Name>,
        operation: &str,
        seconds: u32,
        by: &By,
        sum: &mut Extension,
    ) -> Result<(), Fault> {
        let (mut several, mut after) = (BTreeSet::<ReservationId>::new(), Place::start());
        loop {
            let page = || self.ledger.live_page(&name.sku, false, &after, PAGE as usize);
            let (_, page) = self.on_sku(name, page).await?;
            let Some((last, ..)) = page.last() else { break };
            let next = last.clone();
            let found = page.into_iter().filter(|(.., record)| record.lines != Lines::One);
            several.extend(found.map(|(_, id, _)| id));
            after = next;
        }
        for id in several {
            match self.extend_lines_of(id, operation, seconds, by).await {
                Ok(true) => sum.extended += 1,
                Err(EndError::Fault(fault)) => return Err(fault),
                Ok(false) | Err(_) => sum.skipped += 1,
            }
        }
        Ok(())
    }

    /// What the operation means to do is written down first, so that doing it again does nothing more.
    async fn extend_lines_of(
        &self,
        id: ReservationId,
        operation: &str,
        seconds: u32,
        by: &By,
    ) -> Result<bool, EndError> {
        let life_ms = self.shared.settings.load().reservation.max_lifetime.as_millis() as i64;
        for _ in 0..ATTEMPTS {
            let Some(live) = self.live(id).await? else { return Ok(false) };
            let home = live.home();
            if home.state != State::Held {
                return Ok(false);
            }
            let wanted_ms = (home.deadline_ms + i64::from(seconds) * 1_000)
                .min(home.created_ms + life_ms)
                .max(home.deadline_ms);
            let db = &self.shared.db;
            let deadline_ms = hold_events_store::intend(db, id, operation, by, wanted_ms).await?;
            // It could not live longer, or has what was meant.
            if deadline_ms <= home.deadline_ms {
                return Ok(deadline_ms < wanted_ms);
            }
            if self.move_lines(live, deadline_ms).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Closes what has drained and releases what is closed, until the service stops.
    pub(super) async fn run_ending(self) {
        while self.shared.tasks.pause(jittered(super::startup::RETRY)).await {
            if let Err(fault) = self.end_due().await {
                tracing::warn!(error = fault.chain(), "sales wait for their end");
            }
        }
    }

    /// One turn of that.
    pub async fn end_due(&self) -> Result<(), Fault> {
        let mut after = 0;
        loop {
            let ending = self.shared.catalogue.ending(after, BATCH).await?;
            let Some(last) = ending.last() else { return Ok(()) };
            after = last.name.id.get();
            for sale in &ending {
                match self.end(sale).await {
                    // One product that cannot be ended holds up no other.
                    Err(fault) if fault.kind() != Kind::Unavailable => {
                        tracing::error!(error = fault.chain(), sku = %sale.name.sku, "a sale cannot be ended");
                    }
                    ended => ended?,
                }
            }
        }
    }

    async fn end(&self, sale: &Ending) -> Result<(), Fault> {
        // Whoever changed it may have died before Redis knew.
        self.take_sale(&sale.name).await?;
        if let Some(closer) = &sale.closer {
            self.release_all(&sale.name, closer).await?;
        }
        if sale.draining { self.close_drained(&sale.name).await } else { Ok(()) }
    }

    /// Closes a draining sale if nothing of it is held any more. Redis takes no holds of it, so none comes in between.
    pub async fn close_drained(&self, name: &Arc<Name>) -> Result<(), Fault> {
        if self.audit(name).await?.live == 0 {
            self.shared.catalogue.drained(name.id).await?;
            self.take_sale(name).await?;
        }
        Ok(())
    }
}
