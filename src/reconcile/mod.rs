//! Looking whether everything agrees: Redis with Postgres, movements with the stock, payments with orders. What can be put
//! right without a choice is; the rest is named, with what to do about it.

mod http;
mod store;

use std::sync::Arc;
use std::time::Instant as Started;

use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::platform::{Db, Fault, Tasks};
use crate::reservations::{Discrepancy, Reservations};

pub use http::{Operations, routes};
pub use store::STATEMENTS;

/// Findings of one kind that are told.
const MOST: i64 = 200;

/// What reconciling is made of.
pub struct Parts {
    /// For statements that may take long.
    pub db: Db,
    /// Redis, and its stock.
    pub reservations: Reservations,
    /// Where it is noted.
    pub audit: Audit,
    /// Where it runs, whoever goes away.
    pub tasks: Tasks,
}

/// Reconciling's handle.
#[derive(Clone)]
pub struct Reconcile {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    /// One at a time in this process.
    turn: Mutex<()>,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Checked {
    /// Products.
    pub products: i64,
    /// Live holds.
    pub holds: i64,
    /// Orders.
    pub orders: i64,
    /// Payments.
    pub payments: i64,
    /// Movements.
    pub movements: i64,
}

/// Something that does not agree.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Inconsistency {
    /// What kind, e.g. `redis_counters`.
    pub kind: String,
    /// Whose: a SKU, or the id of an order, a payment or a reservation.
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub found: String,
    /// Whether it was put right.
    pub healed: bool,
    /// What to do if it was not.
    pub advice: String,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Reconciled {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// How much was looked at.
    pub checked: Checked,
    /// What does not agree.
    pub findings: Vec<Inconsistency>,
    /// How long it took.
    pub took_ms: u64,
}

impl Reconciled {
    /// Findings that are left.
    pub fn left(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.healed).count()
    }
}

impl Reconcile {
    /// Reconciling of these stores.
    pub fn new(parts: Parts) -> Self {
        Self { shared: Arc::new(Shared { parts, turn: Mutex::default() }) }
    }

    /// The same in a task of its own: a client that goes away does not stop it halfway.
    pub async fn run_apart(&self, dry_run: bool, actor: String) -> Result<Reconciled, Fault> {
        let this = self.clone();
        let running = async move { this.run(dry_run, &actor, |_, _| ()).await };
        let ended = self.shared.parts.tasks.spawn(running).await;
        ended.map_err(|lost| Fault::internal("reconciling").because(lost))?
    }

    /// Looks at everything; a dry run changes nothing. `progress` hears what is looked at, and how many of it were.
    pub async fn run(
        &self,
        dry_run: bool,
        actor: &str,
        progress: impl Fn(&'static str, i64),
    ) -> Result<Reconciled, Fault> {
        let _turn = self.shared.turn.lock().await;
        let begun = Started::now();
        let Parts { db, reservations, audit, .. } = &self.shared.parts;
        let mut report = Reconciled {
            dry_run,
            checked: store::counts(db).await?,
            findings: Vec::new(),
            took_ms: 0,
        };
        report.checked.products = 0;
        let mut after = 0;
        loop {
            let page = reservations.examine_page(after, !dry_run).await?;
            report.checked.products += page.products;
            report.checked.holds += page.holds;
            report.findings.extend(page.found.iter().flat_map(of_redis));
            progress("products in redis and postgres", report.checked.products);
            let Some(last) = page.last else { break };
            after = last;
        }
        (after, report.checked.products) = (0, 0);
        loop {
            let page = store::movements(db, after).await?;
            report.checked.products += page.products;
            report.findings.extend(page.found);
            progress("movements and stock of products", report.checked.products);
            let Some(last) = page.last else { break };
            after = last;
        }
        report.findings.extend(store::sales(db, MOST).await?);
        progress("orders", report.checked.orders);
        let found = store::payments(db, MOST).await?;
        for mut finding in found {
            if !dry_run && finding.may_ask_again() {
                finding.healed = store::ask_again(db, &finding.subject).await?;
            }
            report.findings.push(finding);
        }
        progress("payments", report.checked.payments);
        if !dry_run {
            let detail = json!({ "findings": report.findings.len(), "left": report.left() });
            audit.note(actor, "reconcile", "stores", &detail).await?;
        }
        report.took_ms = begun.elapsed().as_millis() as u64;
        Ok(report)
    }
}

impl Inconsistency {
    /// Whether it is a payment that somebody only has to look at again: that decides nothing by itself.
    fn may_ask_again(&self) -> bool {
        self.kind == "payment_forgotten"
    }
}

fn of_redis(found: &Discrepancy) -> Vec<Inconsistency> {
    let of = |(kind, expected, is): &(&'static str, String, String)| Inconsistency {
        kind: (*kind).to_owned(),
        subject: found.name.sku.to_string(),
        expected: expected.clone(),
        found: is.clone(),
        healed: found.healed,
        advice: match *kind {
            "postgres_behind" => {
                "postgres has lost something: nothing of this SKU is sold until \
                it is restored, or its epoch and stock_ver are raised above those of redis by hand"
            }
            _ if found.healed => "it was rebuilt from its holds and from postgres",
            _ => "run it again without --dry-run: the SKU is rebuilt",
        }
        .to_owned(),
    };
    found.wrong.iter().map(of).collect()
}
