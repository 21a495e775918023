//! The functions that decide, by themselves: what the checks of them stand on. Every one of several sessions is its own
//! connection to a real Postgres; each check takes products of its own, so that it may run on functions that were changed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use tokio_postgres::Client;
use uuid::Uuid;

use crate::app::{Stores, connect};

/// A database, and a session in it.
pub struct Shop {
    pub stores: Stores,
    pub session: Client,
}

/// One reservation that is pinned and wants to be sold.
#[derive(Clone, Debug)]
pub struct Sale {
    pub id: Uuid,
    pub user: &'static str,
    pub lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub product: i64,
    pub quantity: i64,
    pub epoch: i64,
    pub cap: i64,
}

/// Outcome and reason of each reservation that has a decision.
pub type Decided = BTreeMap<Uuid, (String, Option<String>)>;
pub type Checked = Result<(), String>;

impl Shop {
    pub async fn fresh() -> Self {
        let stores = Stores::fresh().await;
        let session = stores.postgres().await;
        Self { stores, session }
    }

    /// Another session in the same database.
    pub async fn another(&self) -> Client {
        connect(&self.stores.database_url).await
    }

    /// A product with this stock, at epoch 0.
    pub async fn product(&self, stocked: i64) -> i64 {
        let sku = format!("S{}", numbered(0).simple());
        let product = "insert into products (sku, name, currency, price_minor)
            values ($1, $1, 'EUR', 100) returning product_id";
        let id: i64 = self.session.query_one(product, &[&sku]).await.unwrap().get(0);
        let stock = "insert into sku_stock (product_id, stocked) values ($1, $2)";
        self.session.execute(stock, &[&id, &stocked]).await.unwrap();
        id
    }

    /// (stocked, sold, pending, epoch).
    pub async fn stock(&self, product: i64) -> (i64, i64, i64, i64) {
        let sql = "select stocked, sold, pending, epoch from sku_stock where product_id = $1";
        let row = self.session.query_one(sql, &[&product]).await.unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3))
    }

    pub async fn sold(&self, product: i64) -> i64 {
        self.stock(product).await.1
    }

    /// A row that says a payment is under way.
    pub async fn pending(session: &Client, sale: &Sale) {
        let sql = "insert into reservation_decisions (reservation_id, outcome, user_id, order_id, product_ids,
            quantities, tokens, actor) values ($1, 'PENDING', $2, $3, $4, $5, $6, 'test')";
        let products: Vec<i64> = sale.lines.iter().map(|line| line.product).collect();
        let quantities: Vec<i64> = sale.lines.iter().map(|line| line.quantity).collect();
        let tokens: Vec<String> = products.iter().map(|product| token(sale.id, *product)).collect();
        let order = numbered(0);
        session
            .execute(sql, &[&sale.id, &sale.user, &order, &products, &quantities, &tokens])
            .await
            .unwrap();
    }
}

/// A number of this rank: sorted by it, whatever else is in it.
pub fn numbered(rank: u32) -> Uuid {
    let (high, low): (u32, u64) = rand::random();
    Uuid::from_u128(u128::from(rank) << 96 | u128::from(high) << 64 | u128::from(low))
}

pub fn token(id: Uuid, product: i64) -> String {
    format!("{id}/{product}")
}

pub fn sale(rank: u32, user: &'static str, product: i64, quantity: i64) -> Sale {
    let line = Line { product, quantity, epoch: 0, cap: 0 };
    Sale { id: numbered(rank), user, lines: vec![line] }
}

pub fn capped(cap: i64, mut sale: Sale) -> Sale {
    sale.lines.iter_mut().for_each(|line| line.cap = cap);
    sale
}

pub fn at_epoch(epoch: i64, mut sale: Sale) -> Sale {
    sale.lines.iter_mut().for_each(|line| line.epoch = epoch);
    sale
}

pub async fn confirm(session: &Client, sales: &[Sale]) -> Result<Decided, String> {
    let sql = "select reservation_id, outcome, reason from confirm($1, $2, $3, $4, $5, $6, $7, null, null,
        $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let ids: Vec<Uuid> = sales.iter().map(|sale| sale.id).collect();
    let orders: Vec<Uuid> = sales.iter().map(|_| numbered(0)).collect();
    let users: Vec<&str> = sales.iter().map(|sale| sale.user).collect();
    let (actors, currencies) = (vec!["test"; ids.len()], vec!["EUR"; ids.len()]);
    let (emails, totals) = (vec![None::<&str>; ids.len()], vec![100_i64; ids.len()]);
    let lines: Vec<(i32, Uuid, Line)> = (1..)
        .zip(sales)
        .flat_map(|(at, sale)| sale.lines.iter().map(move |line| (at, sale.id, *line)))
        .collect();
    let of = |field: fn(&Line) -> i64| lines.iter().map(|line| field(&line.2)).collect::<Vec<_>>();
    let positions: Vec<i32> = lines.iter().map(|line| line.0).collect();
    let tokens: Vec<String> = lines.iter().map(|(_, id, line)| token(*id, line.product)).collect();
    let (skus, prices) = (vec!["X"; lines.len()], vec![Some(100_i64); lines.len()]);
    let (products, quantities) = (of(|line| line.product), of(|line| line.quantity));
    let (epochs, caps) = (of(|line| line.epoch), of(|line| line.cap));
    let rows = session
        .query(
            sql,
            &[
                &ids,
                &orders,
                &users,
                &actors,
                &emails,
                &currencies,
                &totals,
                &positions,
                &products,
                &quantities,
                &tokens,
                &epochs,
                &caps,
                &skus,
                &skus,
                &prices,
            ],
        )
        .await;
    decided(rows)
}

pub async fn fence(session: &Client, sales: &[&Sale]) -> Result<Decided, String> {
    let sql = "select reservation_id, outcome, reason from fence($1, $2, 'in_doubt', 'recovery')";
    let ids: Vec<Uuid> = sales.iter().map(|sale| sale.id).collect();
    let users: Vec<&str> = sales.iter().map(|sale| sale.user).collect();
    decided(session.query(sql, &[&ids, &users]).await)
}

pub async fn rebuild_begin(
    session: &Client,
    product: i64,
) -> Result<(i64, i64, serde_json::Value), String> {
    let sql = "select epoch, sold, pending from rebuild_begin($1)";
    let row = session.query_one(sql, &[&product]).await.map_err(told)?;
    Ok((row.get(0), row.get(1), row.get(2)))
}

pub fn told(error: tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

fn decided(
    rows: Result<Vec<tokio_postgres::Row>, tokio_postgres::Error>,
) -> Result<Decided, String> {
    let rows = rows.map_err(told)?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

/// Compares what was decided, in the order of `sales`, with outcomes like `CONFIRMED`, `ABORTED buyer_limit` or `-`.
pub fn outcomes(decided: &Decided, sales: &[&Sale], wanted: &[&str]) -> Checked {
    let found: Vec<String> = sales
        .iter()
        .map(|sale| match decided.get(&sale.id) {
            Some((outcome, Some(reason))) => format!("{outcome} {reason}"),
            Some((outcome, None)) => outcome.clone(),
            None => "-".to_owned(),
        })
        .collect();
    equal("outcomes", found, wanted.iter().map(|outcome| (*outcome).to_owned()).collect())
}

pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Checked {
    if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, not {wanted:?}")) }
}

pub async fn run(session: &Client, sql: &str) -> Checked {
    session.batch_execute(sql).await.map_err(told)
}

pub async fn pid(session: &Client) -> i32 {
    session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Lets `running`, a call in the session `pid`, go on until it waits for a lock. It is an error if it ends instead.
pub async fn until_it_waits<T>(
    watcher: &Client,
    pid: i32,
    mut running: Pin<&mut impl Future<Output = T>>,
) -> Checked {
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let blocked = "select cardinality(pg_blocking_pids($1)) > 0";
        let pid: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&pid];
        let look = watcher.query_one(blocked, &pid);
        tokio::select! {
            _ = &mut running => return Err("it did not wait".to_owned()),
            row = look => if row.unwrap().get(0) { return Ok(()) },
        }
    }
    Err("it neither waits nor ends".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_of_the_stores_can_be_prepared() {
    let shop = Shop::fresh().await;
    let stores = [
        &[
            holdfast::accounts::STATEMENTS,
            holdfast::audit::STATEMENTS,
            holdfast::cart::STATEMENTS,
            holdfast::catalogue::STATEMENTS,
            holdfast::orders::STATEMENTS,
            holdfast::reconcile::STATEMENTS,
            holdfast::settings::STATEMENTS,
            holdfast::stock::STATEMENTS,
            holdfast::suppliers::STATEMENTS,
        ],
        holdfast::notifications::STATEMENTS,
        holdfast::payments::STATEMENTS,
        holdfast::reservations::STATEMENTS,
    ]
    .concat();
    for sql in stores.concat() {
        shop.session.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", told(error)));
    }
}

/// A session keeps the plans that it made when the shop was empty, and reading an empty table whole seemed cheap then.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_as_old_as_the_shop_finds_everything_by_an_index() {
    let shop = Shop::fresh().await;
    let product = shop.product(1_000).await;
    for batch in 0..20 {
        let sales: Vec<Sale> = (0..8).map(|at| sale(batch * 8 + at, "u", product, 1)).collect();
        assert_eq!(confirm(&shop.session, &sales).await.unwrap().len(), 8);
        let all: Vec<&Sale> = sales.iter().collect();
        assert_eq!(fence(&shop.session, &all).await.unwrap().len(), 8);
    }
    run(&shop.session, "select pg_stat_force_next_flush()").await.unwrap();
    let read = "select relname::text, seq_tup_read from pg_stat_user_tables
        where relname in ('reservation_decisions', 'user_sku', 'orders', 'order_items') and seq_tup_read > 0";
    let rows = shop.session.query(read, &[]).await.unwrap();
    let read: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(read.is_empty(), "read whole, with so many rows: {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_that_writes_says_that_it_looks_by_indexes() {
    let shop = Shop::fresh().await;
    let careless = "select proname::text from pg_proc p join pg_language l on l.oid = p.prolang
        where l.lanname = 'plpgsql' and p.pronamespace = current_schema()::regnamespace and p.provolatile = 'v'
          and p.prorettype <> 'trigger'::regtype and 'enable_seqscan=off' <> all (coalesce(p.proconfig, '{}'))";
    let rows = shop.session.query(careless, &[]).await.unwrap();
    let careless: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(careless.is_empty(), "without `set enable_seqscan = off`: {careless:?}");
}
