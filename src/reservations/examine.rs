//! Looking at SKUs for `reconcile`: the audit of the full pass, with all records added up, and a rebuild where that heals.

use std::sync::Arc;
use std::time::Duration;

use crate::catalogue::Name;
use crate::platform::Fault;
use crate::reservations::finding::Finding;
use crate::reservations::ledger::{Audit, Trouble, Weighed};
use crate::reservations::stock_store::Shelf;
use crate::reservations::{Reservations, stock_store};

/// SKUs of a page.
const SKUS: i64 = 100;
/// Records that are added up in one call, which Redis does in about a tenth of a second; it is a person who asks.
const MOST: usize = 20_000;
/// Between two looks at what may only be a sale on its way.
const AGAIN: Duration = Duration::from_secs(1);

/// What is wrong between Redis and Postgres with one SKU.
#[derive(Clone, Debug)]
pub struct Discrepancy {
    /// Its name.
    pub name: Arc<Name>,
    /// Each thing that is wrong: its kind, what should be, and what is.
    pub wrong: Vec<(&'static str, String, String)>,
    /// Whether it was put right.
    pub healed: bool,
}

/// A page of SKUs that were looked at.
#[derive(Debug, Default)]
pub struct ExaminedPage {
    /// The number of the last one; none when there are no more.
    pub last: Option<i64>,
    /// How many.
    pub products: i64,
    /// Live holds on them.
    pub holds: i64,
    /// Those with which something is wrong.
    pub found: Vec<Discrepancy>,
}

/// One look at one SKU.
struct Look {
    finding: Finding,
    wrong: Vec<(&'static str, String, String)>,
    holds: i64,
}

impl Reservations {
    /// Lets the pool through to Redis if it is the one that Postgres vouches for: for commands beside the service.
    pub async fn open_gate(&self) -> Result<(), Fault> {
        self.shared.rebuilder.admit_known(&self.shared.redis).await
    }

    /// Looks at the next SKUs after number `after`, and rebuilds those that differ if it is to `heal` them.
    pub async fn examine_page(&self, after: i64, heal: bool) -> Result<ExaminedPage, Fault> {
        let known = stock_store::known(&self.shared.background_db, after, SKUS).await?;
        let mut page = ExaminedPage {
            last: known.last().map(|(id, _)| id.get()),
            products: known.len() as i64,
            ..ExaminedPage::default()
        };
        for (id, sku) in known {
            let name = Arc::new(Name { id, sku });
            let Some(look) = self.look(&name, heal).await? else { continue };
            page.holds += look.holds;
            if look.finding == Finding::default() {
                continue;
            }
            if !look.finding.is_certain() {
                tokio::time::sleep(AGAIN).await;
            }
            page.found.extend(self.examine(name, heal).await?);
        }
        Ok(page)
    }

    /// The second look, and what follows from it.
    async fn examine(&self, name: Arc<Name>, heal: bool) -> Result<Option<Discrepancy>, Fault> {
        let Some(look) = self.look(&name, heal).await? else { return Ok(None) };
        if look.finding == Finding::default() {
            return Ok(None);
        }
        let healed = heal && self.heal(&name, &look.finding).await?;
        Ok(Some(Discrepancy { name, wrong: look.wrong, healed }))
    }

    async fn heal(&self, name: &Arc<Name>, finding: &Finding) -> Result<bool, Fault> {
        if finding.ahead {
            // Only Postgres can have lost something, and no rebuild brings it back.
            self.ledger.close(&name.sku).await?;
            return Ok(false);
        }
        self.shared.rebuilder.rebuild(name).await?;
        let after = self.look(name, true).await?;
        Ok(after.is_some_and(|after| after.finding == Finding::default()))
    }

    /// None: the product is gone meanwhile, or closed where nothing may be changed.
    async fn look(&self, name: &Arc<Name>, heal: bool) -> Result<Option<Look>, Fault> {
        let ids = [name.id];
        let shelf = || stock_store::stock(&self.shared.background_db, &ids);
        let Some((_, before)) = shelf().await?.into_iter().next() else { return Ok(None) };
        let audit = match self.ledger.audit(&name.sku).await {
            Ok(audit) => audit,
            // It is closed, and made anew by whoever touches it first: nothing is lost.
            Err(Trouble::Rebuild) if !heal => return Ok(None),
            Err(Trouble::Rebuild) => {
                self.shared.rebuilder.rebuild(name).await?;
                self.audit(name).await?
            }
            Err(Trouble::Fault(fault)) => return Err(fault),
        };
        let weighed = match self.ledger.weigh(&name.sku, Some(MOST)).await {
            Ok(weighed) => weighed.unwrap_or_default(),
            Err(Trouble::Rebuild) => Weighed::default(),
            Err(Trouble::Fault(fault)) => return Err(fault),
        };
        let Some((_, after)) = shelf().await?.into_iter().next() else { return Ok(None) };
        let mut finding = Finding::of(&audit, weighed, before, after);
        if before.sold > audit.sold {
            finding.drift = finding.drift.max(self.forgotten(name).await?);
        }
        let wrong = wrong(&finding, &audit, before, after);
        Ok(Some(Look { finding, wrong, holds: audit.live }))
    }
}

/// Each thing that is wrong: its kind, what should be, and what is.
fn wrong(
    finding: &Finding,
    audit: &Audit,
    before: Shelf,
    after: Shelf,
) -> Vec<(&'static str, String, String)> {
    let Audit { avail, held, sold, stocked, live, strays, .. } = audit;
    let (weighed, sum) = (finding.weighed, avail + held + sold);
    let astray = weighed.astray.max(strays.abs());
    let all = [
        (
            sum != *stocked,
            "redis_counters",
            format!("available + held + sold = {stocked}"),
            format!("{avail} + {held} + {sold} = {sum}"),
        ),
        (
            weighed.units != 0 || (*held == 0) != (*live == 0) || held < live,
            "redis_held",
            format!("{} units in {live} live holds", held - weighed.units),
            format!("{held} counted as held"),
        ),
        (
            astray != 0,
            "redis_indexes",
            "each hold in its index".to_owned(),
            format!("{astray} out of place"),
        ),
        (
            weighed.buyers != 0,
            "redis_buyers",
            "what buyers hold is in live holds".to_owned(),
            format!("{} units more are said to be held", weighed.buyers),
        ),
        (
            finding.drift != 0,
            "redis_sold",
            format!("{} sold in postgres", before.sold),
            format!("{sold} sold and {} pinned in redis", audit.pinned),
        ),
        (
            finding.epoch_gap != 0,
            "redis_epoch",
            format!("rebuild {}", before.epoch),
            format!("rebuild {}", audit.epoch),
        ),
        (
            finding.old_stock,
            "redis_stock",
            format!("version {}: {} in, {} back", before.ver, before.stocked, before.returned),
            format!("version {}: {stocked} in, {} back", audit.ver, audit.returned),
        ),
        (
            finding.ahead,
            "postgres_behind",
            format!("rebuild {} or later, stock {} or later", audit.epoch, audit.ver),
            format!("rebuild {}, stock {}", after.epoch, after.ver),
        ),
    ];
    let found = all.into_iter().filter(|(is_wrong, ..)| *is_wrong);
    found.map(|(_, kind, expected, found)| (kind, expected, found)).collect()
}
