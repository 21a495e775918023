//! The proof of conservation: what the service shows at the end is what it told on the way.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::desk::{Desk, Told};
use super::skus::Skus;
use super::wire::Wire;

/// Longest time the service may take to show what it told: a full sweep, and then some.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// The stock of a SKU, as the service shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Stock {
    pub(super) product_id: i64,
    pub(super) sku: String,
    total_stock: i64,
    available_stock: i64,
    reserved_stock: i64,
    sold_stock: i64,
    as_of: Timestamp,
}

/// Units of one SKU, or of all together.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Units {
    pub(super) total_stock: i64,
    pub(super) available_stock: i64,
    pub(super) reserved_stock: i64,
    pub(super) sold_stock: i64,
}

/// What was shown before and after, and what the answers in between add up to, over all SKUs.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Proof {
    pub(super) before: Units,
    pub(super) after: Units,
    /// Holds that we were told of and that stand at the time of `after`.
    pub(super) told_reserved: i64,
    /// Units that we were told are sold.
    pub(super) told_sold: i64,
    /// Units of which the answers left open whether they were taken, sold or given back.
    pub(super) left_open: i64,
    /// What does not fit, SKU by SKU.
    pub(super) contradictions: Vec<String>,
}

impl Stock {
    /// Whether no unit is missing or double.
    pub(super) fn adds_up(&self) -> bool {
        let parts = [self.available_stock, self.reserved_stock, self.sold_stock];
        self.total_stock == parts.iter().sum::<i64>() && parts.iter().all(|part| *part >= 0)
    }
}

impl Units {
    fn add(&mut self, stock: &Stock) {
        self.total_stock += stock.total_stock;
        self.available_stock += stock.available_stock;
        self.reserved_stock += stock.reserved_stock;
        self.sold_stock += stock.sold_stock;
    }
}

impl Proof {
    pub(super) fn holds(&self) -> bool {
        self.contradictions.is_empty()
    }

    /// Compares, SKU by SKU; says which places to look at again.
    fn new(before: &[Stock], after: &[Stock], desk: &Desk) -> (Self, Vec<usize>) {
        let times: Vec<i64> = after.iter().map(|stock| stock.as_of.as_millisecond()).collect();
        let live = desk.live_at(&times);
        let (mut proof, mut unfit) = (Self::default(), Vec::new());
        for (place, told) in desk.told().iter().enumerate() {
            let known = proof.contradictions.len();
            proof.compare(&before[place], &after[place], live[place], told);
            if proof.contradictions.len() > known {
                unfit.push(place);
            }
        }
        (proof, unfit)
    }

    /// Holds that others had before may have ended since; nobody else may have bought.
    fn compare(&mut self, before: &Stock, after: &Stock, live: i64, told: &Told) {
        let sku = &after.sku;
        let mut within = |what: &str, shown: i64, least: i64, most: i64| {
            if !(least..=most).contains(&shown) {
                self.contradictions.push(match least == most {
                    true => format!("{sku} {what}: {shown} shown, {least} told"),
                    false => format!("{sku} {what}: {shown} shown, {least} to {most} told"),
                });
            }
        };
        let parts = after.available_stock + after.reserved_stock + after.sold_stock;
        within("total", after.total_stock, parts, parts);
        let left_open = told.maybe_reserved + told.maybe_ended;
        within("reserved", after.reserved_stock, live, live + left_open + before.reserved_stock);
        let sold = after.sold_stock - before.sold_stock;
        within("sold", sold, told.sold, told.sold + told.maybe_ended);
        self.before.add(before);
        self.after.add(after);
        self.told_reserved += live;
        self.told_sold += told.sold;
        self.left_open += left_open;
    }
}

/// Reads the stock of each SKU.
pub(super) async fn stocks(
    client: &mut Client,
    wire: &Wire,
    skus: &Skus,
) -> anyhow::Result<Vec<Stock>> {
    let mut stocks = Vec::with_capacity(skus.count());
    for sku in skus.iter() {
        stocks.push(stock(client, wire, sku).await?);
    }
    Ok(stocks)
}

async fn stock(client: &mut Client, wire: &Wire, sku: &str) -> anyhow::Result<Stock> {
    let answer = client
        .exchange(&wire.get_stock(sku))
        .await
        .with_context(|| format!("{} does not answer", wire.target().authority))?;
    let body = String::from_utf8_lossy(answer.body);
    anyhow::ensure!(answer.status == 200, "cannot read the stock of {sku}: {body}");
    serde_json::from_slice(answer.body).with_context(|| format!("not a stock: {body}"))
}

/// Reads the stock of each SKU until it fits what was told, or patience ends.
pub(super) async fn prove(
    client: &mut Client,
    wire: &Wire,
    before: &[Stock],
    desk: &RefCell<Desk>,
) -> anyhow::Result<Proof> {
    let started = Instant::now();
    let mut after = before.to_vec();
    let mut unfit: Vec<usize> = (0..before.len()).collect();
    loop {
        for place in unfit {
            after[place] = stock(client, wire, &before[place].sku).await?;
        }
        let proof;
        (proof, unfit) = Proof::new(before, &after, &desk.borrow());
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

    fn stock(available_stock: i64, reserved_stock: i64, sold_stock: i64) -> Stock {
        Stock {
            product_id: 1,
            sku: "A".into(),
            total_stock: 10,
            available_stock,
            reserved_stock,
            sold_stock,
            as_of: Timestamp::UNIX_EPOCH,
        }
    }

    fn desk_with_one_hold(skus: usize) -> Desk {
        let mut desk = Desk::new(None, skus);
        let action = desk.next(Kind::Reserve, 0);
        desk.settle(action, &Verdict::Held { id: uuid::Uuid::nil(), deadline_ms: 9_000 });
        desk
    }

    fn proof(before: &Stock, after: &Stock, desk: &Desk) -> Proof {
        Proof::new(std::slice::from_ref(before), std::slice::from_ref(after), desk).0
    }

    #[test]
    fn what_was_told_must_be_shown() {
        let (before, desk) = (stock(10, 0, 0), desk_with_one_hold(1));
        assert!(proof(&before, &stock(9, 1, 0), &desk).holds());
        for (wrong, what) in [
            (stock(10, 0, 0), "A reserved: 0 shown, 1 told"),
            (stock(8, 2, 0), "A reserved: 2 shown, 1 told"),
            (stock(8, 1, 1), "A sold: 1 shown, 0 told"),
            (stock(8, 1, 0), "A total: 10 shown, 9 told"),
        ] {
            assert_eq!(proof(&before, &wrong, &desk).contradictions, [what]);
        }
    }

    #[test]
    fn what_was_left_open_may_be_either() {
        let (before, mut desk) = (stock(10, 0, 0), desk_with_one_hold(1));
        let action = desk.next(Kind::Reserve, 0);
        desk.settle(action, &Verdict::Open { code: "store_unavailable".into() });
        for shown in [stock(9, 1, 0), stock(8, 2, 0)] {
            assert!(proof(&before, &shown, &desk).holds());
        }
        assert!(!proof(&before, &stock(7, 3, 0), &desk).holds());
    }

    #[test]
    fn a_unit_too_many_here_does_not_make_up_for_one_too_few_there() {
        let (before, desk) = ([stock(10, 0, 0), stock(10, 0, 0)], desk_with_one_hold(2));
        let right = [stock(10, 0, 0), stock(9, 1, 0)];
        let (proof, unfit) = Proof::new(&before, &right, &desk);
        assert!(proof.holds() && unfit.is_empty());
        assert_eq!((proof.after.total_stock, proof.after.reserved_stock), (20, 1));
        let [one, other] = right;
        let (proof, unfit) = Proof::new(&before, &[other, one], &desk);
        assert_eq!((proof.contradictions.len(), unfit), (2, vec![0, 1]));
    }
}
