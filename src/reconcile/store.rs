//! All SQL of reconciling. Each statement sees one state of Postgres, in which everything that is written together is
//! there together; so whatever it finds is wrong, and no sale on its way.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::platform::{Db, Fault};
use crate::reconcile::{Checked, Inconsistency};

/// Products of a page.
const PRODUCTS: i64 = 100;

const COUNTS: &str = "-- reconcile.counts
select (select count(*) from products) as products, (select count(*) from orders) as orders,
       (select count(*) from payments) as payments, (select count(*) from stock_movements) as movements";

// The columns of sums are those of `WRONG` below, each beside what it should be.
const MOVEMENTS: &str = "-- reconcile.movements
select p.product_id, p.sku, s.stocked, s.sold, s.pending, s.returned, m.on_hand, m.sales, m.returns, m.wrong_balances,
       u.bought, u.pending as promised, u.returned as given_back, d.awaited
  from products p join sku_stock s using (product_id)
  cross join lateral (
      select coalesce(sum(m.change), 0)::bigint as on_hand,
             coalesce(sum(m.quantity) filter (where m.movement_type = 'SALE'), 0)::bigint as sales,
             coalesce(sum(m.quantity) filter (where m.movement_type = 'RETURN'), 0)::bigint as returns,
             count(*) filter (where m.stock_after <> m.balance) as wrong_balances
        from (select *, sum(change) over (order by movement_id) as balance from (
                 select *, case when movement_type in ('IN', 'RETURN') then quantity else -quantity end as change
                   from stock_movements where product_id = p.product_id) signed) m) m
  cross join lateral (
      select coalesce(sum(u.bought), 0)::bigint as bought, coalesce(sum(u.pending), 0)::bigint as pending,
             coalesce(sum(u.returned), 0)::bigint as returned
        from user_sku u where u.product_id = p.product_id) u
  cross join lateral (
      select coalesce(sum(line.quantity), 0)::bigint as awaited
        from reservation_decisions d, unnest(d.product_ids, d.quantities) as line(product_id, quantity)
       where d.outcome = 'PENDING' and d.product_ids @> array[p.product_id] and line.product_id = p.product_id) d
 where p.product_id > $1 order by p.product_id limit $2";

/// What must be the same of each product: its kind, what should be, in which column, what is, in which, and what to do.
const WRONG: [(&str, &str, &str, &str, &str, &str); 7] = [
    (
        "movements_sold",
        "units sold",
        "sold",
        "units in movements of type SALE",
        "sales",
        "compare orders with movements of type SALE; one of them was changed by hand",
    ),
    (
        "movements_returned",
        "units returned",
        "returned",
        "units in movements of type RETURN",
        "returns",
        "compare refunded orders with movements of type RETURN; one of them was changed by hand",
    ),
    (
        "buyers_bought",
        "units sold",
        "sold",
        "units that buyers bought",
        "bought",
        "limits of buyers count wrongly: compare user_sku with the orders",
    ),
    (
        "buyers_returned",
        "units returned",
        "returned",
        "units that buyers gave back",
        "given_back",
        "limits of buyers count wrongly: compare user_sku with refunded orders",
    ),
    (
        "payments_pending",
        "units under payment",
        "pending",
        "units of payments that are open",
        "awaited",
        "compare sku_stock.pending with reservation_decisions of outcome PENDING",
    ),
    (
        "buyers_pending",
        "units under payment",
        "pending",
        "units that buyers are paying for",
        "promised",
        "compare user_sku.pending with reservation_decisions of outcome PENDING",
    ),
    (
        "movement_balances",
        "movements whose balance is wrong",
        "",
        "",
        "wrong_balances",
        "the first movement whose stock_after does not follow from the one before was changed by hand",
    ),
];

// Sales: what decides, and what came of it. Each row is a finding.
const SALES: &str = "-- reconcile.sales
(select 'order_without_decision' as kind, o.order_id as subject, 'a CONFIRMED decision' as expected,
        'none for an order that is ' || o.status as found,
        'the order was made by hand, or its decision deleted: cancel it, or bring the decision back' as advice
   from orders o where o.status in ('paid', 'fulfilled', 'refunded')
    and not exists (select from reservation_decisions d where d.order_id = o.order_id and d.outcome = 'CONFIRMED')
  limit $1)
union all
(select 'decision_without_order', d.reservation_id, 'a paid order', 'order ' || coalesce(o.status, 'missing'),
        'the units are sold and nobody gets them: bring the order back, or take the units in with POST /stock'
   from reservation_decisions d left join orders o using (order_id)
  where d.outcome = 'CONFIRMED' and (o.order_id is null or o.status in ('pending_payment', 'cancelled'))
  limit $1)";

// Payments and orders. What a look at the payment settles by itself is `payment_forgotten`; the rest is for a person.
const PAYMENTS: &str = "-- reconcile.payments
(select 'payment_forgotten' as kind, p.payment_id as subject, 'somebody who looks at it' as expected,
        p.status || ', and nobody will' as found,
        'it is looked at again, and ends by what the provider says' as advice
   from payments p
  where p.next_check_at is null and (p.status in ('late', 'refunding')
        or p.status in ('initiated', 'pending') and p.pay_deadline < now() - interval '1 minute')
  limit $1)
union all
(select 'payment_without_order', p.payment_id, 'an order that is paid or refunded', 'order ' || o.status,
        'money was taken and the order does not say so: compare both with the provider, then refund the payment there'
   from payments p join orders o using (order_id)
  where p.status = 'paid' and o.status not in ('paid', 'fulfilled')
  limit $1)
union all
(select 'order_without_payment', o.order_id, 'a payment that is paid', 'order ' || o.status || ', no payment is',
        'look at its payments; if no money came, cancel the order and bring its units back'
   from orders o
  where o.status in ('paid', 'fulfilled') and exists (select from payments p where p.order_id = o.order_id)
    and not exists (select from payments p
                     where p.order_id = o.order_id and p.status in ('paid', 'refunding', 'refunded', 'review'))
  limit $1)
union all
(select 'order_awaits_nothing', o.order_id, 'a payment that is open', 'order pending_payment, none is',
        'cancel the order: POST /orders/{id}/cancel'
   from orders o
  where o.status = 'pending_payment' and o.updated_at < now() - interval '1 minute'
    and not exists (select from payments p
                     where p.order_id = o.order_id and p.status in ('initiated', 'pending', 'paid', 'late', 'review'))
  limit $1)
union all
(select 'decision_without_payment', d.reservation_id, 'a payment that is open',
        'PENDING, and its payment is ' || coalesce(p.status, 'missing'),
        'its units are kept for money that will not come: look at the payment, then cancel its order'
   from reservation_decisions d left join payments p on p.payment_id = d.payment_id
  where d.outcome = 'PENDING' and d.created_at < now() - interval '1 minute'
    and (p.payment_id is null or p.status not in ('initiated', 'pending', 'review'))
  limit $1)";

// Looking decides nothing: whoever looks asks the provider first.
const ASK_AGAIN: &str = "-- reconcile.ask_again
update payments set next_check_at = now(), updated_at = now()
 where payment_id = $1 and next_check_at is null and status in ('late', 'refunding', 'initiated', 'pending')
returning payment_id";

/// Statements, for the test that prepares each on a fresh schema.
pub const STATEMENTS: &[&str] = &[COUNTS, MOVEMENTS, SALES, PAYMENTS, ASK_AGAIN];

/// A page of products.
pub(super) struct Page {
    pub(super) last: Option<i64>,
    pub(super) products: i64,
    pub(super) found: Vec<Inconsistency>,
}

pub(super) async fn counts(db: &Db) -> Result<Checked, Fault> {
    let rows = db.read(COUNTS, &[]).await?;
    let row = rows.first().ok_or_else(|| Fault::internal("counting"))?;
    Ok(Checked {
        products: row.get("products"),
        holds: 0,
        orders: row.get("orders"),
        payments: row.get("payments"),
        movements: row.get("movements"),
    })
}

pub(super) async fn movements(db: &Db, after: i64) -> Result<Page, Fault> {
    let rows = db.read(MOVEMENTS, &[&after, &PRODUCTS]).await?;
    Ok(Page {
        last: rows.last().map(|row| row.get("product_id")),
        products: rows.len() as i64,
        found: rows.iter().flat_map(of_product).collect(),
    })
}

fn of_product(row: &Row) -> Vec<Inconsistency> {
    let sku: String = row.get("sku");
    let finding = |kind: &str, expected, found, advice: &str| Inconsistency {
        kind: kind.to_owned(),
        subject: sku.clone(),
        expected,
        found,
        healed: false,
        advice: advice.to_owned(),
    };
    let mut found = Vec::new();
    for (kind, what, column, is, other, advice) in WRONG {
        let wanted: i64 = if column.is_empty() { 0 } else { row.get(column) };
        let seen: i64 = row.get(other);
        if wanted != seen {
            let is = if is.is_empty() { what } else { is };
            found.push(finding(kind, format!("{wanted} {what}"), format!("{seen} {is}"), advice));
        }
    }
    let (stocked, sold, on_hand): (i64, i64, i64) =
        (row.get("stocked"), row.get("sold"), row.get("on_hand"));
    if stocked - sold != on_hand {
        let expected = format!("{} units on hand", stocked - sold);
        let is = format!("{on_hand} units by its movements");
        let advice = "sku_stock or a movement was changed by hand: count the goods, then mend it with POST /stock";
        found.push(finding("movements_stock", expected, is, advice));
    }
    found
}

fn finding(row: &Row) -> Inconsistency {
    Inconsistency {
        kind: row.get("kind"),
        subject: row.get::<_, Uuid>("subject").to_string(),
        expected: row.get("expected"),
        found: row.get("found"),
        healed: false,
        advice: row.get("advice"),
    }
}

pub(super) async fn sales(db: &Db, most: i64) -> Result<Vec<Inconsistency>, Fault> {
    Ok(db.read(SALES, &[&most]).await?.iter().map(finding).collect())
}

pub(super) async fn payments(db: &Db, most: i64) -> Result<Vec<Inconsistency>, Fault> {
    Ok(db.read(PAYMENTS, &[&most]).await?.iter().map(finding).collect())
}

/// Whether somebody will look at the payment now.
pub(super) async fn ask_again(db: &Db, payment: &str) -> Result<bool, Fault> {
    let Ok(payment) = payment.parse::<Uuid>() else { return Ok(false) };
    Ok(!db.write(ASK_AGAIN, &[&payment]).await?.is_empty())
}
