//! The proof at the end of a test: no unit sold twice (INV1), none lost or made up in Redis (INV2), and once nothing is
//! in doubt the two stores agree (INV9). It reads both stores itself and believes no counter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::app::Stores;

/// One SKU in Redis, as its keys are.
struct Sku {
    stock: BTreeMap<String, String>,
    records: BTreeMap<String, Vec<String>>,
    due: BTreeMap<String, i64>,
    pins: BTreeSet<String>,
    ended: BTreeSet<String>,
    buyers: BTreeMap<String, Vec<String>>,
}

/// Fails the test unless everything adds up, once no confirm is under way any more.
pub async fn prove(stores: &Stores) {
    let begun = Instant::now();
    loop {
        match examine(stores).await {
            Ok(()) => return,
            // A sale between its decision and its settling looks like a difference; it may take a little.
            Err(difference) if begun.elapsed() > Duration::from_secs(60) => panic!("{difference}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The first thing that does not add up.
pub async fn examine(stores: &Stores) -> Result<(), String> {
    let postgres = stores.postgres().await;
    let mut redis = stores.redis().await;
    let products = "
        select p.product_id, p.sku, s.stocked, s.sold, s.pending, s.returned, s.epoch, s.stock_ver, s.applied_ver,
               coalesce((select sum(line.quantity)::bigint from reservation_decisions d,
                   unnest(d.product_ids, d.quantities) as line(product_id, quantity)
                   where d.outcome = 'CONFIRMED' and line.product_id = p.product_id), 0) as decided,
               coalesce((select sum(i.quantity)::bigint from order_items i join orders o using (order_id)
                   where i.product_id = p.product_id and o.status in ('paid', 'fulfilled', 'refunded')), 0) as ordered,
               coalesce((select sum(line.quantity)::bigint from reservation_decisions d,
                   unnest(d.product_ids, d.quantities) as line(product_id, quantity)
                   where d.outcome = 'PENDING' and line.product_id = p.product_id), 0) as awaited,
               (select count(*) from reservation_decisions d
                   where d.outcome = 'PENDING' and d.product_ids @> array[p.product_id]) as paying,
               coalesce((select sum(u.pending)::bigint from user_sku u where u.product_id = p.product_id), 0) as promised,
               coalesce((select sum(u.bought)::bigint from user_sku u where u.product_id = p.product_id), 0) as bought,
               coalesce((select sum(u.returned)::bigint from user_sku u where u.product_id = p.product_id), 0) as given_back,
               moved.on_hand, moved.sales, moved.returns, moved.wrong_balances,
               (select stock_after from stock_movements m where m.product_id = p.product_id
                   order by movement_id desc limit 1) as balance
          from products p join sku_stock s using (product_id) cross join lateral (
              select coalesce(sum(m.change), 0)::bigint as on_hand,
                     coalesce(sum(m.quantity) filter (where m.movement_type = 'SALE'), 0)::bigint as sales,
                     coalesce(sum(m.quantity) filter (where m.movement_type = 'RETURN'), 0)::bigint as returns,
                     count(*) filter (where m.stock_after <> m.balance) as wrong_balances
                from (select *, sum(change) over (order by movement_id) as balance from (
                         select *, case when movement_type in ('IN', 'RETURN') then quantity else -quantity end as change
                           from stock_movements where product_id = p.product_id) signed) m) moved";
    for row in postgres.query(products, &[]).await.unwrap() {
        let of = |column: &str| row.get::<_, i64>(column);
        let sku: String = row.get("sku");
        let (stocked, sold) = (of("stocked"), of("sold"));
        let same = |what: &str, left: i64, right: i64| {
            if left == right {
                Ok(())
            } else {
                Err(format!("{sku}: {what}: {left} is not {right}"))
            }
        };
        if sold + of("pending") > stocked {
            return Err(format!("{sku}: INV1: sold {sold} of {stocked}"));
        }
        same("units under payment and decisions", of("pending"), of("awaited"))?;
        same("units under payment and their buyers", of("pending"), of("promised"))?;
        same("INV1: decisions and sold", of("decided"), sold)?;
        same("INV14: orders and sold", of("ordered"), sold)?;
        same("bought by buyers and sold", of("bought"), sold)?;
        same("INV14: movements and stock on hand", of("on_hand"), stocked - sold)?;
        same("INV14: sales among the movements", of("sales"), sold)?;
        same("INV14: returns among the movements", of("returns"), of("returned"))?;
        same("INV14: balances that do not add up", of("wrong_balances"), 0)?;
        same("what buyers gave back", of("given_back"), of("returned"))?;
        same("the stock that Redis has confirmed", of("applied_ver"), of("stock_ver"))?;
        let balance: Option<i64> = row.get("balance");
        same("INV14: the last balance and stock on hand", balance.unwrap_or(0), stocked - sold)?;
        if of("epoch") == 0 {
            continue;
        }
        let found = read(&mut redis, &stores.prefix, &sku).await;
        found.check(&sku)?;
        let number = |field: &str| found.stock[field].parse::<i64>().unwrap();
        same("the epochs", number("epoch"), of("epoch"))?;
        same("INV9: pins that nobody resolved", found.pins.len() as i64, of("paying"))?;
        same("INV9: sold in both stores", number("sold"), sold)?;
        same("INV9: available units", number("avail"), stocked - sold - number("held"))?;
        same("the stock in both stores", number("stocked"), stocked)?;
        same("returns in both stores", number("returned"), of("returned"))?;
        same("the version of the stock in both stores", number("ver"), of("stock_ver"))?;
        let buyers = "select user_id, bought, returned from user_sku where product_id = $1";
        let product: i64 = row.get("product_id");
        for row in postgres.query(buyers, &[&product]).await.unwrap() {
            let user: String = row.get("user_id");
            let wanted: [i64; 2] = [row.get("bought"), row.get("returned")];
            let told = found.buyers.get(&user).map(|buyer| [&buyer[2], &buyer[3]]);
            let told = told.map(|units| units.map(|units| units.parse::<i64>().unwrap()));
            if told.unwrap_or_default() != wanted {
                return Err(format!("{sku}: {user} bought and gave back {told:?}, not {wanted:?}"));
            }
        }
    }
    let outbox = "
        select (select count(*) from outbox_seen where topic = 'order.paid' and not payload ? 'channel') as told,
               (select count(*) from orders where status in ('paid', 'fulfilled', 'refunded')) as orders,
               (select count(distinct order_id) from reservation_decisions where outcome = 'CONFIRMED') as confirmed";
    let row = postgres.query_one(outbox, &[]).await.unwrap();
    let counts: [i64; 3] = [row.get("told"), row.get("orders"), row.get("confirmed")];
    if counts[0] != counts[1] || counts[1] != counts[2] {
        return Err(format!("INV14: news, orders, decisions: {counts:?}"));
    }
    examine_payments(&postgres).await
}

/// Of each payment one thing is true: it is open and its hold stands, it is sold, its money went back, or it ended and
/// its units with it. None waits for anybody but a person.
async fn examine_payments(postgres: &tokio_postgres::Client) -> Result<(), String> {
    let wrong = "
        select p.payment_id::text, p.status, o.status, own.outcomes, late.outcome
          from payments p join orders o using (order_id)
          cross join lateral (select coalesce(array_agg(distinct d.outcome), '{}') as outcomes
                                from reservation_decisions d where d.payment_id = p.payment_id) own
          left join reservation_decisions late on late.reservation_id = p.late_reservation_id
         where not case
             when p.status in ('initiated', 'pending', 'review') and own.outcomes = '{PENDING}'
                 then o.status = 'pending_payment' and late.outcome is null
             when p.status = 'paid' then o.status in ('paid', 'fulfilled')
                 and (own.outcomes = '{CONFIRMED}') <> (late.outcome is not distinct from 'CONFIRMED')
             when p.status = 'refunded' and p.refund_restock is not null then o.status = 'refunded'
             when p.status in ('refunded', 'review') then own.outcomes <@ '{ABORTED}'
                 and late.outcome is distinct from 'CONFIRMED'
             when p.status in ('failed', 'cancelled', 'expired')
                 then own.outcomes <@ '{ABORTED}' and late.outcome is distinct from 'CONFIRMED'
             else false end";
    match postgres.query(wrong, &[]).await.unwrap().first() {
        None => Ok(()),
        Some(row) => {
            let text = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
            let outcomes: Vec<String> = row.get(3);
            let (id, status, order, late) = (text(0), text(1), text(2), text(4));
            Err(format!(
                "payment {id} is {status}, its order {order}, decided {outcomes:?}, late {late:?}"
            ))
        }
    }
}

async fn read(redis: &mut MultiplexedConnection, prefix: &str, sku: &str) -> Sku {
    let key = |kind: &str| format!("{prefix}{kind}:{{{sku}}}");
    let fields = |packed: &str| packed.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // One transaction, so that all keys are of one moment.
    let mut pipe = redis::pipe();
    pipe.atomic().hgetall(key("s")).hgetall(key("h")).zrange_withscores(key("d"), 0, -1);
    pipe.zrange(key("p"), 0, -1).zrange(key("g"), 0, -1).hgetall(key("b"));
    type Found = (
        BTreeMap<String, String>,
        BTreeMap<String, String>,
        Vec<(String, f64)>,
        BTreeSet<String>,
        BTreeSet<String>,
        BTreeMap<String, String>,
    );
    let (stock, records, due, pins, ended, buyers): Found = pipe.query_async(redis).await.unwrap();
    Sku {
        stock,
        records: records.into_iter().map(|(rid, packed)| (rid, fields(&packed))).collect(),
        due: due.into_iter().map(|(rid, at)| (rid, at as i64)).collect(),
        pins,
        ended,
        buyers: buyers.into_iter().map(|(user, packed)| (user, fields(&packed))).collect(),
    }
}

impl Sku {
    /// INV2, and that every index says what the records say.
    fn check(&self, sku: &str) -> Result<(), String> {
        let number =
            |field: &str| self.stock.get(field).and_then(|value| value.parse::<i64>().ok());
        let missing = || format!("{sku}: INV2: counters are missing: {:?}", self.stock);
        let [stocked, avail, held, sold] = ["stocked", "avail", "held", "sold"].map(number);
        let (stocked, avail) = (stocked.ok_or_else(missing)?, avail.ok_or_else(missing)?);
        let (held, sold) = (held.ok_or_else(missing)?, sold.ok_or_else(missing)?);
        if avail + held + sold != stocked {
            return Err(format!("{sku}: INV2: {avail} + {held} + {sold} is not {stocked}"));
        }
        let in_state = |state: &'static str| {
            self.records
                .iter()
                .filter(move |(_, record)| record[0] == state)
                .map(|(rid, _)| rid.clone())
        };
        let due: BTreeMap<String, i64> = self
            .records
            .iter()
            .filter(|(_, record)| record[0] == "H")
            .map(|(rid, record)| (rid.clone(), record[4].parse().unwrap()))
            .collect();
        if due != self.due {
            return Err(format!("{sku}: deadlines and held records differ"));
        }
        if in_state("P").collect::<BTreeSet<_>>() != self.pins {
            return Err(format!("{sku}: pins and pinned records differ"));
        }
        if in_state("S").chain(in_state("E")).collect::<BTreeSet<_>>() != self.ended {
            return Err(format!("{sku}: tombstones and ended records differ"));
        }
        self.check_buyers(sku, held)
    }

    fn check_buyers(&self, sku: &str, held: i64) -> Result<(), String> {
        let live = self.records.iter().filter(|(_, record)| record[0] == "H" || record[0] == "P");
        let mut units: BTreeMap<&str, i64> = BTreeMap::new();
        let mut taken_out = 0;
        for (_, record) in live {
            let quantity = record[2].parse::<i64>().unwrap();
            match record[1].as_str() {
                "o" => taken_out += quantity,
                _ => *units.entry(record[9].as_str()).or_default() += quantity,
            }
        }
        if units.values().sum::<i64>() + taken_out != held {
            return Err(format!("{sku}: INV2: held is {held}, the records say {units:?}"));
        }
        for (user, buyer) in &self.buyers {
            let told: i64 = buyer[1].parse().unwrap();
            if told != units.remove(user.as_str()).unwrap_or(0) {
                return Err(format!("{sku}: {user} has {buyer:?}, not what the records say"));
            }
            let slot = self.records.get(&buyer[0]);
            if buyer[0] != "-"
                && !slot.is_some_and(|record| record[9] == *user && "HP".contains(&record[0]))
            {
                return Err(format!("{sku}: the slot of {user} leads nowhere: {buyer:?}"));
            }
        }
        match units.is_empty() {
            true => Ok(()),
            false => Err(format!("{sku}: buyers without an entry: {units:?}")),
        }
    }
}
