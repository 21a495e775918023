//! The proof of conservation: what the service shows at the end is what it told on the way.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::desk::Desk;
use super::wire::Wire;

/// Longest time the service may take to show what it told: a full sweep, and then some.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// The stock of a SKU, as the service shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Stock {
    pub(super) product_id: i64,
    pub(super) sku: String,
    pub(super) total_stock: i64,
    pub(super) available_stock: i64,
    pub(super) reserved_stock: i64,
    pub(super) sold_stock: i64,
    pub(super) as_of: Timestamp,
}

/// What was shown before and after, and what the answers in between add up to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Proof {
    pub(super) before: Stock,
    pub(super) after: Stock,
    /// Holds that we were told of and that stand at the time of `after`.
    pub(super) told_reserved: i64,
    /// Units that we were told are sold.
    pub(super) told_sold: i64,
    /// Units of which the answers left open whether they were taken, sold or given back.
    pub(super) left_open: i64,
    /// What does not fit.
    pub(super) contradictions: Vec<String>,
}

impl Stock {
    /// Whether no unit is missing or double.
    pub(super) fn adds_up(&self) -> bool {
        let parts = [self.available_stock, self.reserved_stock, self.sold_stock];
        self.total_stock == parts.iter().sum::<i64>() && parts.iter().all(|part| *part >= 0)
    }
}

impl Proof {
    pub(super) fn holds(&self) -> bool {
        self.contradictions.is_empty()
    }

    /// Compares. Holds that others had before may have ended since; nobody else may have bought.
    fn new(before: &Stock, after: Stock, desk: &Desk) -> Self {
        let told = desk.told();
        let live = desk.live_at(after.as_of.as_millisecond());
        let mut contradictions = Vec::new();
        let mut within = |what: &str, shown: i64, least: i64, most: i64| {
            if !(least..=most).contains(&shown) {
                contradictions.push(match least == most {
                    true => format!("{what}: {shown} shown, {least} told"),
                    false => format!("{what}: {shown} shown, {least} to {most} told"),
                });
            }
        };
        let parts = after.available_stock + after.reserved_stock + after.sold_stock;
        within("total", after.total_stock, parts, parts);
        let most = live + told.maybe_reserved + told.maybe_ended + before.reserved_stock;
        within("reserved", after.reserved_stock, live, most);
        let sold = after.sold_stock - before.sold_stock;
        within("sold", sold, told.sold, told.sold + told.maybe_ended);
        Self {
            before: before.clone(),
            after,
            told_reserved: live,
            told_sold: told.sold,
            left_open: told.maybe_reserved + told.maybe_ended,
            contradictions,
        }
    }
}

/// Reads the stock.
pub(super) async fn stock(client: &mut Client, wire: &Wire, sku: &str) -> anyhow::Result<Stock> {
    let answer = client
        .exchange(&wire.get(&format!("/inventory/{sku}")))
        .await
        .with_context(|| format!("{} does not answer", wire.target().authority))?;
    let body = String::from_utf8_lossy(answer.body);
    anyhow::ensure!(answer.status == 200, "cannot read the stock of {sku}: {body}");
    serde_json::from_slice(answer.body).with_context(|| format!("not a stock: {body}"))
}

/// Reads the stock until it fits what was told, or patience ends.
pub(super) async fn prove(
    client: &mut Client,
    wire: &Wire,
    before: &Stock,
    desk: &RefCell<Desk>,
) -> anyhow::Result<Proof> {
    let started = Instant::now();
    loop {
        let after = stock(client, wire, &before.sku).await?;
        let proof = Proof::new(before, after, &desk.borrow());
        if proof.holds() || started.elapsed() > PATIENCE {
            return Ok(proof);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::mix::Kind;
    use super::*;

    fn stock(available: i64, reserved: i64, sold: i64) -> Stock {
        Stock {
            product_id: 1,
            sku: "A".into(),
            total_stock: 10,
            available_stock: available,
            reserved_stock: reserved,
            sold_stock: sold,
            as_of: Timestamp::UNIX_EPOCH,
        }
    }

    fn desk_with_one_hold() -> Desk {
        let mut desk = Desk::new(None);
        let action = desk.next(Kind::Reserve, 0);
        desk.settle(action, &Verdict::Held { id: uuid::Uuid::nil(), deadline_ms: 9_000 });
        desk
    }

    #[test]
    fn what_was_told_must_be_shown() {
        let (before, desk) = (stock(10, 0, 0), desk_with_one_hold());
        assert!(Proof::new(&before, stock(9, 1, 0), &desk).holds());
        for (wrong, what) in [
            (stock(10, 0, 0), "reserved: 0 shown, 1 told"),
            (stock(8, 2, 0), "reserved: 2 shown, 1 told"),
            (stock(8, 1, 1), "sold: 1 shown, 0 told"),
            (stock(8, 1, 0), "total: 10 shown, 9 told"),
        ] {
            assert_eq!(Proof::new(&before, wrong, &desk).contradictions, [what]);
        }
    }

    #[test]
    fn what_was_left_open_may_be_either() {
        let (before, mut desk) = (stock(10, 0, 0), desk_with_one_hold());
        let action = desk.next(Kind::Reserve, 0);
        desk.settle(action, &Verdict::Open { code: "store_unavailable".into() });
        for shown in [stock(9, 1, 0), stock(8, 2, 0)] {
            assert!(Proof::new(&before, shown, &desk).holds());
        }
        assert!(!Proof::new(&before, stock(7, 3, 0), &desk).holds());
    }
}
