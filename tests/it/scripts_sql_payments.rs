//! The functions of payments by themselves: two sessions of which one has to wait for the other, every fate of each, and
//! careless changes that must be noticed.

use std::pin::pin;

use futures_util::future::BoxFuture;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::scripts_sql::{
    Checked, Sale, Shop, at_epoch, capped, confirm, equal, fence, numbered, outcomes, pid,
    rebuild_begin, run, sale, token, told, until_it_waits,
};

/// A payment of some sales of one buyer.
#[derive(Clone, Debug)]
struct Pay {
    id: Uuid,
    order: Uuid,
    late: Uuid,
    sales: Vec<Sale>,
}

fn pay(sales: &[Sale]) -> Pay {
    Pay { id: numbered(0), order: numbered(0), late: numbered(9), sales: sales.to_vec() }
}

async fn open(session: &Client, pay: &Pay) -> Result<Vec<String>, String> {
    open_with(session, pay, None).await
}

async fn open_with(session: &Client, pay: &Pay, cart: Option<i64>) -> Result<Vec<String>, String> {
    let sql = "select outcome || coalesce(' ' || reason, '') || case when payment_id = $17 then '' else ' other' end
        from open_payment($1, $2, 'test', null, 'EUR', 100, $3, $4, array_fill(null::timestamptz, array[$18::integer]),
            array_fill(null::timestamptz, array[$18::integer]), $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $17, 'bkash', $15,
            '{}', 'https://a', 'https://b', $16, 600000)
        order by reservation_id";
    let ids: Vec<Uuid> = pay.sales.iter().map(|sale| sale.id).collect();
    let lines: Vec<_> = (1_i32..)
        .zip(&pay.sales)
        .flat_map(|(at, sale)| sale.lines.iter().map(move |line| (at, sale.id, *line)))
        .collect();
    let positions: Vec<i32> = lines.iter().map(|line| line.0).collect();
    let products: Vec<i64> = lines.iter().map(|line| line.2.product).collect();
    let quantities: Vec<i64> = lines.iter().map(|line| line.2.quantity).collect();
    let tokens: Vec<String> = lines.iter().map(|(_, id, line)| token(*id, line.product)).collect();
    let epochs: Vec<i64> = lines.iter().map(|line| line.2.epoch).collect();
    let caps: Vec<i64> = lines.iter().map(|line| line.2.cap).collect();
    let (skus, prices) = (vec!["X"; lines.len()], vec![Some(100_i64); lines.len()]);
    let carts = vec![cart; lines.len()];
    let (named, key, count) = (ids.first().copied(), pay.id.to_string(), ids.len() as i32);
    let user = pay.sales[0].user;
    let rows = session
        .query(
            sql,
            &[
                &pay.order,
                &user,
                &named,
                &ids,
                &positions,
                &products,
                &quantities,
                &tokens,
                &epochs,
                &caps,
                &skus,
                &skus,
                &prices,
                &carts,
                &key,
                &pay.late,
                &pay.id,
                &count,
            ],
        )
        .await
        .map_err(told)?;
    Ok(rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect())
}

async fn paid(session: &Client, pay: &Pay) -> Result<String, String> {
    paid_at(session, pay, 0).await
}

async fn paid_at(session: &Client, pay: &Pay, epoch: i64) -> Result<String, String> {
    let sql = "select pay_order($1, $2, $3, null, null, $4, 'test')";
    let lines = pay.sales.iter().flat_map(|sale| &sale.lines);
    let products: Vec<i64> = lines.map(|line| line.product).collect();
    let epochs = vec![epoch; products.len()];
    let trx = pay.id.to_string();
    let row = session.query_one(sql, &[&pay.id, &products, &epochs, &trx]).await.map_err(told)?;
    Ok(row.get(0))
}

async fn end(session: &Client, pay: &Pay, asked: bool) -> Result<String, String> {
    let sql = "select end_payment($1, 'expired', 'payment_expired', null, $2, 'test')";
    Ok(session.query_one(sql, &[&pay.id, &asked]).await.map_err(told)?.get(0))
}

async fn sell_late(session: &Client, pay: &Pay, epoch: i64, cap: i64) -> Result<String, String> {
    let sql =
        "select outcome || coalesce(' ' || reason, '') from sell_late($1, $2, $3, $4, $5, 'test')";
    let lines: Vec<_> = pay.sales.iter().flat_map(|sale| &sale.lines).collect();
    let products: Vec<i64> = lines.iter().map(|line| line.product).collect();
    let tokens: Vec<String> = products.iter().map(|at| token(pay.late, *at)).collect();
    let (epochs, caps) = (vec![epoch; lines.len()], vec![cap; lines.len()]);
    let rows =
        session.query(sql, &[&pay.id, &products, &tokens, &epochs, &caps]).await.map_err(told)?;
    Ok(rows.first().map_or_else(|| "-".to_owned(), |row| row.get(0)))
}

/// (status of the payment, status of the order, units pending, sold, and the buyer's pending and bought).
async fn state(
    session: &Client,
    pay: &Pay,
) -> Result<(String, String, i64, i64, i64, i64), String> {
    let sql = "select p.status, o.status, s.pending, s.sold, coalesce(u.pending, 0), coalesce(u.bought, 0)
        from payments p join orders o using (order_id) join order_items i using (order_id)
        join sku_stock s using (product_id)
        left join user_sku u on u.product_id = i.product_id and u.user_id = p.user_id
        where p.payment_id = $1 order by i.product_id limit 1";
    let row = session.query_one(sql, &[&pay.id]).await.map_err(told)?;
    Ok((row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5)))
}

fn told_state(state: (String, String, i64, i64, i64, i64)) -> String {
    let (payment, order, pending, sold, promised, bought) = state;
    format!("{payment} {order} {pending} {sold} {promised} {bought}")
}

async fn stands(session: &Client, pay: &Pay, wanted: &str) -> Checked {
    equal("state", told_state(state(session, pay).await?), wanted.to_owned())
}

type Check = (&'static str, for<'a> fn(&'a Shop) -> BoxFuture<'a, Checked>);

macro_rules! checks {
    ($($name:ident)*) => {
        const CHECKS: &[Check] = &[$((stringify!($name), |shop| Box::pin($name(shop)))),*];
    };
}

checks! {
    a_payment_counts_in_stock_and_cap_until_it_is_sold
    a_payment_of_several_reservations_is_opened_sold_and_ended_whole
    of_two_payments_of_the_last_unit_the_second_waits_and_is_refused
    an_end_gives_everything_back_and_comes_once
    money_after_the_end_is_late_and_one_row_decides
    late_money_meets_stock_cap_and_epoch
    late_money_of_an_order_that_has_other_money_goes_back
    another_attempt_takes_the_place_and_money_of_the_first_is_late
    a_claimed_execute_ends_only_after_it_was_asked_about
    a_payment_in_flight_is_waited_for_by_confirm_and_fence
    opening_waits_for_a_fence_in_flight_and_gives_in
    paying_waits_for_a_rebuild_and_is_stale
    money_and_end_at_once_leave_one_of_them
    a_refund_is_begun_once_and_brings_units_back_with_it
    a_refused_refund_leaves_the_order_as_it_was
    a_cart_is_emptied_by_the_sale_and_not_before
    exchanges_stay_as_they_are
}

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_of_payments_keep_their_word() {
    let shop = Shop::fresh().await;
    for (name, check) in CHECKS {
        let own = Shop { stores: shop.stores.clone(), session: shop.another().await };
        if let Err(error) = check(&own).await {
            panic!("{name}: {error}");
        }
    }
}

async fn a_payment_counts_in_stock_and_cap_until_it_is_sold(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(3).await, &shop.session);
    let first = pay(&[capped(2, sale(1, "u", product, 2))]);
    equal("opened", open(session, &first).await?, vec!["PENDING".into()])?;
    equal("opened again", open(session, &first).await?, vec!["PENDING".into()])?;
    stands(session, &first, "initiated pending_payment 2 0 2 0").await?;
    let other = pay(&[sale(2, "v", product, 2)]);
    let refused = vec!["ABORTED insufficient_stock other".to_owned()];
    equal("no stock", open(session, &other).await.map(no_payment)?, refused.clone())?;
    let more = pay(&[capped(2, sale(3, "u", product, 1))]);
    let limit = vec!["ABORTED buyer_limit other".to_owned()];
    equal("no room", open(session, &more).await.map(no_payment)?, limit)?;
    // A direct confirm of the same reservation leaves the payment alone.
    let decided = confirm(session, &first.sales).await?;
    outcomes(&decided, &[&first.sales[0]], &["PENDING"])?;
    equal("paid", paid(session, &first).await?, "sold".into())?;
    equal("paid again", paid(session, &first).await?, "known".into())?;
    stands(session, &first, "paid paid 0 2 0 2").await?;
    let rows = "select (select count(*) from outbox where topic = 'order.paid'
            and payload->>'order_id' = $1::uuid::text),
        (select count(*) from stock_movements where order_id = $1 and movement_type = 'SALE' and stock_after = 1)";
    let row = session.query_one(rows, &[&first.order]).await.map_err(told)?;
    equal("news and movements", (row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1))?;
    equal("end comes too late", end(session, &first, true).await?, "known".into())
}

/// Refused reservations have no payment.
fn no_payment(outcomes: Vec<String>) -> Vec<String> {
    outcomes
        .into_iter()
        .map(
            |outcome| if outcome.ends_with("other") { outcome } else { format!("{outcome} other") },
        )
        .collect()
}

async fn a_payment_of_several_reservations_is_opened_sold_and_ended_whole(shop: &Shop) -> Checked {
    let session = &shop.session;
    for ended in [false, true] {
        let (one, two) = (shop.product(2).await, shop.product(1).await);
        let both = pay(&[sale(2, "u", two, 1), sale(1, "u", one, 2)]);
        equal("opened", open(session, &both).await?.len(), 2)?;
        let outcome =
            if ended { end(session, &both, false).await? } else { paid(session, &both).await? };
        equal("fate", outcome, if ended { "ended".into() } else { "sold".into() })?;
        let wanted =
            if ended { ((2, 0, 0, 0), (1, 0, 0, 0)) } else { ((2, 2, 0, 0), (1, 1, 0, 0)) };
        equal("stock", (shop.stock(one).await, shop.stock(two).await), wanted)?;
    }
    // One that is decided otherwise: nothing is written.
    let (one, two) = (shop.product(2).await, shop.product(2).await);
    let both = pay(&[sale(1, "u", one, 1), sale(2, "u", two, 1)]);
    fence(session, &[&both.sales[1]]).await?;
    equal("opened", open(session, &both).await?.len(), 1)?;
    equal("stock", shop.stock(one).await.2 + shop.stock(two).await.2, 0)?;
    let short = pay(&[sale(3, "u", one, 1), sale(4, "u", two, 3)]);
    equal("refused whole", open(session, &short).await?.len(), 2)?;
    equal("stock", shop.stock(one).await.2 + shop.stock(two).await.2, 0)
}

async fn of_two_payments_of_the_last_unit_the_second_waits_and_is_refused(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(1).await, shop.another().await);
    let (first, second) = (pay(&[sale(1, "u", product, 1)]), pay(&[sale(2, "v", product, 1)]));
    run(&shop.session, "begin").await?;
    open(&shop.session, &first).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let mut opening = pin!(open(&other, &second));
    until_it_waits(&watcher, pid, opening.as_mut()).await?;
    run(&shop.session, "commit").await?;
    let refused = vec!["ABORTED insufficient_stock other".to_owned()];
    equal("refused", no_payment(opening.await?), refused)
}

async fn an_end_gives_everything_back_and_comes_once(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(2).await, &shop.session);
    let payment = pay(&[sale(1, "u", product, 2)]);
    open(session, &payment).await?;
    equal("ended", end(session, &payment, false).await?, "ended".into())?;
    equal("ended again", end(session, &payment, false).await?, "known".into())?;
    stands(session, &payment, "expired cancelled 0 0 0 0").await?;
    let decided = fence(session, &[&payment.sales[0]]).await?;
    outcomes(&decided, &[&payment.sales[0]], &["ABORTED payment_expired"])?;
    let next = pay(&[sale(2, "v", product, 2)]);
    equal("opened", open(session, &next).await?, vec!["PENDING".into()])
}

async fn money_after_the_end_is_late_and_one_row_decides(shop: &Shop) -> Checked {
    let session = &shop.session;
    for fenced in [false, true] {
        let product = shop.product(2).await;
        let payment = pay(&[sale(1, "u", product, 2)]);
        open(session, &payment).await?;
        end(session, &payment, false).await?;
        equal("late", paid(session, &payment).await?, "late".into())?;
        equal("late again", paid(session, &payment).await?, "late".into())?;
        stands(session, &payment, "late cancelled 0 0 0 0").await?;
        equal("no refund yet", refund_late(session, &payment).await?, 0)?;
        let late = Sale { id: payment.late, user: "u", lines: vec![] };
        if fenced {
            fence(session, &[&late]).await?;
            equal("sold", sell_late(session, &payment, 0, 0).await?, "ABORTED in_doubt".into())?;
            equal("refund", refund_late(session, &payment).await?, 1)?;
            equal("refund again", refund_late(session, &payment).await?, 0)?;
            finish(session, &payment).await?;
            finish(session, &payment).await?;
            stands(session, &payment, "refunded cancelled 0 0 0 0").await?;
        } else {
            equal("sold", sell_late(session, &payment, 0, 0).await?, "CONFIRMED".into())?;
            equal("sold again", sell_late(session, &payment, 0, 0).await?, "CONFIRMED".into())?;
            equal("sold long ago", sell_late(session, &payment, 7, 0).await?, "CONFIRMED".into())?;
            outcomes(&fence(session, &[&late]).await?, &[&late], &["CONFIRMED"])?;
            equal("no refund", refund_late(session, &payment).await?, 0)?;
            stands(session, &payment, "paid paid 0 2 0 2").await?;
        }
    }
    Ok(())
}

async fn refund_late(session: &Client, pay: &Pay) -> Result<u64, String> {
    let statements = holdfast::payments::STATEMENTS.concat();
    let sql = statements.iter().find(|sql| sql.contains("payments.refund_late"));
    session.execute(*sql.unwrap(), &[&pay.id, &1_000_f64]).await.map_err(told)
}

async fn finish(session: &Client, pay: &Pay) -> Result<bool, String> {
    let sql = "select refund_finish($1, 're_1')";
    Ok(session.query_one(sql, &[&pay.id]).await.map_err(told)?.get(0))
}

async fn late(shop: &Shop, product: i64, user: &'static str, quantity: i64) -> Result<Pay, String> {
    let payment = pay(&[sale(1, user, product, quantity)]);
    open(&shop.session, &payment).await?;
    end(&shop.session, &payment, false).await?;
    paid(&shop.session, &payment).await?;
    Ok(payment)
}

async fn late_money_meets_stock_cap_and_epoch(shop: &Shop) -> Checked {
    let session = &shop.session;
    let product = shop.product(2).await;
    let payment = late(shop, product, "u", 2).await?;
    equal("stale", sell_late(session, &payment, 7, 0).await?, "-".into())?;
    let rival = pay(&[sale(2, "v", product, 1)]);
    open(session, &rival).await?;
    let short = "ABORTED insufficient_stock";
    equal("short", sell_late(session, &payment, 0, 0).await?, short.into())?;
    stands(session, &payment, "late cancelled 1 0 0 0").await?;

    let product = shop.product(5).await;
    let payment = late(shop, product, "w", 2).await?;
    let bought = capped(3, sale(3, "w", product, 2));
    confirm(session, std::slice::from_ref(&bought)).await?;
    equal("capped", sell_late(session, &payment, 0, 3).await?, "ABORTED buyer_limit".into())?;
    let payment = late(shop, product, "x", 2).await?;
    equal("room", sell_late(session, &payment, 0, 2).await?, "CONFIRMED".into())
}

async fn late_money_of_an_order_that_has_other_money_goes_back(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(5).await, &shop.session);
    let payment = late(shop, product, "u", 1).await?;
    run(
        session,
        &format!("update orders set status = 'paid' where order_id = '{}'", payment.order),
    )
    .await?;
    equal("taken", sell_late(session, &payment, 0, 0).await?, "ABORTED order_taken".into())?;
    equal("sold", shop.sold(product).await, 0)
}

async fn replace(session: &Client, old: &Pay, new: &Pay) -> Result<bool, String> {
    let sql = "select replace_payment($1, 'replaced', $2, 'stripe', $3, '{}', 'https://a', 'https://b', $4, 600000, 'test')";
    let key = new.id.to_string();
    let row = session.query_one(sql, &[&old.id, &new.id, &key, &new.late]).await.map_err(told)?;
    Ok(row.get(0))
}

async fn another_attempt_takes_the_place_and_money_of_the_first_is_late(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(1).await, &shop.session);
    let first = pay(&[sale(1, "u", product, 1)]);
    let second = Pay { id: numbered(0), late: numbered(9), ..first.clone() };
    open(session, &first).await?;
    equal("replaced", replace(session, &first, &second).await?, true)?;
    let third = Pay { id: numbered(0), late: numbered(9), ..first.clone() };
    equal("replaced once", replace(session, &first, &third).await?, false)?;
    stands(session, &second, "initiated pending_payment 1 0 1 0").await?;
    equal("the first is late", paid(session, &first).await?, "late".into())?;
    let taken = sell_late(session, &first, 0, 0).await?;
    equal("and goes back", taken, "ABORTED order_taken".into())?;
    equal("the second sells", paid(session, &second).await?, "sold".into())?;
    outcomes(&fence(session, &[&first.sales[0]]).await?, &[&first.sales[0]], &["CONFIRMED"])?;
    stands(session, &second, "paid paid 0 1 0 1").await
}

async fn a_claimed_execute_ends_only_after_it_was_asked_about(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(2).await, &shop.session);
    let payment = pay(&[sale(1, "u", product, 1)]);
    open(session, &payment).await?;
    let claim = format!(
        "update payments set status = 'pending', execute_claimed_at = now() where payment_id = '{}'",
        payment.id
    );
    run(session, &claim).await?;
    equal("claimed", end(session, &payment, false).await?, "claimed".into())?;
    let second = Pay { id: numbered(0), late: numbered(9), ..payment.clone() };
    equal("no other attempt", replace(session, &payment, &second).await?, false)?;
    stands(session, &payment, "pending pending_payment 1 0 1 0").await?;
    equal("asked", end(session, &payment, true).await?, "ended".into())
}

async fn a_payment_in_flight_is_waited_for_by_confirm_and_fence(shop: &Shop) -> Checked {
    for commit in [true, false] {
        let (product, other, third) =
            (shop.product(2).await, shop.another().await, shop.another().await);
        let payment = pay(&[sale(1, "u", product, 1)]);
        run(&shop.session, "begin").await?;
        open(&shop.session, &payment).await?;
        let (confirm_pid, fence_pid) = (pid(&other).await, pid(&third).await);
        let watcher = shop.another().await;
        let list = payment.sales.clone();
        let refs = [&payment.sales[0]];
        let mut confirming = pin!(confirm(&other, &list));
        until_it_waits(&watcher, confirm_pid, confirming.as_mut()).await?;
        if commit {
            let mut fencing = pin!(fence(&third, &refs));
            until_it_waits(&watcher, fence_pid, fencing.as_mut()).await?;
            run(&shop.session, "commit").await?;
            outcomes(&fencing.await?, &refs, &["PENDING"])?;
            outcomes(&confirming.await?, &refs, &["PENDING"])?;
        } else {
            run(&shop.session, "rollback").await?;
            outcomes(&confirming.await?, &refs, &["CONFIRMED"])?;
        }
        let (_, sold, pending, _) = shop.stock(product).await;
        equal("stock", (sold, pending), if commit { (0, 1) } else { (1, 0) })?;
    }
    Ok(())
}

async fn opening_waits_for_a_fence_in_flight_and_gives_in(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(2).await, shop.another().await);
    let payment = pay(&[sale(1, "u", product, 1), sale(2, "u", shop.product(1).await, 1)]);
    run(&shop.session, "begin").await?;
    fence(&shop.session, &[&payment.sales[0]]).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let mut opening = pin!(open(&other, &payment));
    until_it_waits(&watcher, pid, opening.as_mut()).await?;
    run(&shop.session, "commit").await?;
    equal("opened", no_payment(opening.await?), vec!["ABORTED in_doubt other".into()])?;
    let rows = "select count(*) from payments where payment_id = $1";
    let rows: i64 = shop.session.query_one(rows, &[&payment.id]).await.map_err(told)?.get(0);
    equal("nothing is left", (rows, shop.stock(product).await.2), (0, 0))
}

async fn paying_waits_for_a_rebuild_and_is_stale(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(2).await, shop.another().await);
    let payment = pay(&[sale(1, "u", product, 1)]);
    let stale = pay(&[sale(2, "u", product, 1)]);
    open(&shop.session, &payment).await?;
    run(&shop.session, "begin").await?;
    let (_, _, pending) = rebuild_begin(&shop.session, product).await?;
    equal("listed", pending.as_array().map(Vec::len), Some(1))?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let mut paying = pin!(paid(&other, &payment));
    until_it_waits(&watcher, pid, paying.as_mut()).await?;
    run(&shop.session, "commit").await?;
    equal("stale", paying.await?, "stale".into())?;
    stands(&shop.session, &payment, "initiated pending_payment 1 0 1 0").await?;
    equal("opening is stale too", open(&shop.session, &stale).await?.len(), 0)?;
    equal("it stands", open(&shop.session, &payment).await?, vec!["PENDING".into()])?;
    let fresh = Pay { sales: vec![at_epoch(1, stale.sales[0].clone())], ..stale };
    equal("opened", open(&shop.session, &fresh).await?, vec!["PENDING".into()])?;
    equal("sold", paid_at(&shop.session, &payment, 1).await?, "sold".into())
}

async fn money_and_end_at_once_leave_one_of_them(shop: &Shop) -> Checked {
    for money_first in [true, false] {
        let (product, other) = (shop.product(2).await, shop.another().await);
        let payment = pay(&[sale(1, "u", product, 1)]);
        open(&shop.session, &payment).await?;
        run(&shop.session, "begin").await?;
        let (pid, watcher) = (pid(&other).await, shop.another().await);
        if money_first {
            paid(&shop.session, &payment).await?;
            let mut ending = pin!(end(&other, &payment, true));
            until_it_waits(&watcher, pid, ending.as_mut()).await?;
            run(&shop.session, "commit").await?;
            equal("end", ending.await?, "known".into())?;
            stands(&shop.session, &payment, "paid paid 0 1 0 1").await?;
        } else {
            end(&shop.session, &payment, true).await?;
            let mut paying = pin!(paid(&other, &payment));
            until_it_waits(&watcher, pid, paying.as_mut()).await?;
            run(&shop.session, "commit").await?;
            equal("money", paying.await?, "late".into())?;
            stands(&shop.session, &payment, "late cancelled 0 0 0 0").await?;
        }
    }
    Ok(())
}

async fn begin_refund(session: &Client, pay: &Pay) -> Result<Option<bool>, String> {
    let sql = "select begun from refund_begin($1, true, 'admin:root', 1000)";
    let rows = session.query(sql, &[&pay.order]).await.map_err(told)?;
    Ok(rows.first().map(|row| row.get(0)))
}

async fn sold(shop: &Shop, quantity: i64) -> Result<(i64, Pay), String> {
    let product = shop.product(3).await;
    let payment = pay(&[sale(1, "u", product, quantity)]);
    open(&shop.session, &payment).await?;
    paid(&shop.session, &payment).await?;
    Ok((product, payment))
}

async fn a_refund_is_begun_once_and_brings_units_back_with_it(shop: &Shop) -> Checked {
    let session = &shop.session;
    let (product, payment) = sold(shop, 2).await?;
    equal("begun", begin_refund(session, &payment).await?, Some(true))?;
    equal("joined", begin_refund(session, &payment).await?, Some(false))?;
    stands(session, &payment, "refunding paid 0 2 0 2").await?;
    let fulfil = holdfast::orders::STATEMENTS.iter().find(|sql| sql.contains("orders.fulfil"));
    session.execute(*fulfil.unwrap(), &[&payment.order, &"admin:root"]).await.map_err(told)?;
    stands(session, &payment, "refunding paid 0 2 0 2").await?;
    equal("finished", finish(session, &payment).await?, true)?;
    equal("once", finish(session, &payment).await?, false)?;
    stands(session, &payment, "refunded refunded 0 2 0 2").await?;
    equal("stock", shop.stock(product).await, (5, 2, 0, 0))?;
    equal("begun too late", begin_refund(session, &payment).await?, None)
}

async fn a_refused_refund_leaves_the_order_as_it_was(shop: &Shop) -> Checked {
    let session = &shop.session;
    let (_, payment) = sold(shop, 1).await?;
    begin_refund(session, &payment).await?;
    run(session, &format!("select refund_refused('{}', '2071')", payment.id)).await?;
    stands(session, &payment, "paid paid 0 1 0 1").await?;
    equal("nothing to finish", finish(session, &payment).await?, false)?;
    equal("begun anew", begin_refund(session, &payment).await?, Some(true))
}

async fn a_cart_is_emptied_by_the_sale_and_not_before(shop: &Shop) -> Checked {
    let (product, session) = (shop.product(9).await, &shop.session);
    let line = "insert into cart_items (user_id, product_id, quantity) values ('u', $1, 3) returning cart_item_id";
    let line: i64 = session.query_one(line, &[&product]).await.map_err(told)?.get(0);
    let left = || async {
        let left =
            "select coalesce(sum(quantity), 0)::bigint from cart_items where product_id = $1";
        session.query_one(left, &[&product]).await.map(|row| row.get::<_, i64>(0)).map_err(told)
    };
    let much = pay(&[sale(1, "u", product, 4)]);
    let changed = open_with(session, &much, Some(line)).await?;
    equal("changed", no_payment(changed), vec!["ABORTED cart_changed other".into()])?;
    let payment = pay(&[sale(2, "u", product, 2)]);
    open_with(session, &payment, Some(line)).await?;
    equal("kept", left().await?, 3)?;
    paid(session, &payment).await?;
    equal("emptied", left().await?, 1)?;
    let rest = pay(&[sale(3, "u", product, 1)]);
    open(session, &rest).await?;
    paid(session, &rest).await?;
    equal("not of this cart", left().await?, 1)?;
    let last = pay(&[sale(4, "u", product, 1)]);
    open_with(session, &last, Some(line)).await?;
    paid(session, &last).await?;
    equal("gone", left().await?, 0)
}

async fn exchanges_stay_as_they_are(shop: &Shop) -> Checked {
    run(&shop.session, "insert into payment_exchanges (provider, source, operation, raw) values ('stripe', 'api', 'x', '{}')")
        .await?;
    for change in ["update payment_exchanges set raw = '[]'", "delete from payment_exchanges"] {
        equal("refused", run(&shop.session, change).await.is_err(), true)?;
    }
    Ok(())
}

/// What stands in the migration, what a careless hand makes of it, and what it guards.
const MUTANTS: &[(&str, &str, &str)] = &[
    (
        "perform from sku_stock s where s.product_id = any (l_product) order by s.product_id for update;",
        "",
        "the lock of the stock",
    ),
    (
        "if exists (select from reservation_decisions d where d.reservation_id = any (r_reservation)) then",
        "if false then",
        "the first decision stands",
    ),
    (
        "left join sku_stock s using (product_id) where s.epoch is distinct from line.epoch) then\n        return;\n    end if;\n    perform from cart_items",
        "left join sku_stock s using (product_id) where false) then\n        return;\n    end if;\n    perform from cart_items",
        "open: the epoch",
    ),
    (
        "where s.sold + s.pending + line.quantity > s.stocked",
        "where s.sold + line.quantity > s.stocked",
        "P11",
    ),
    (
        "u.bought - u.returned + u.pending, 0) + line.quantity",
        "u.bought - u.returned, 0) + line.quantity",
        "the cap counts payments",
    ),
    ("if written < cardinality(r_reservation) then", "if false then", "all or none"),
    (
        "update sku_stock s set pending = s.pending + line.quantity",
        "update sku_stock s set pending = s.pending + 0 * line.quantity",
        "P11: pending",
    ),
    (
        "set pending = u.pending + excluded.pending;",
        "set pending = u.pending;",
        "the buyer's share",
    ),
    ("coalesce(c.quantity, 0) < line.quantity)", "false)", "a changed cart"),
    (
        "if pay.status in ('failed', 'cancelled', 'expired', 'late') then",
        "if false then",
        "late money is noted",
    ),
    (
        "where i.order_id = pay.order_id and s.epoch is distinct from line.epoch) then\n        return 'stale';",
        "where false) then\n        return 'stale';",
        "paid: the epoch",
    ),
    (
        "set pending = s.pending - i.quantity, sold = s.sold + i.quantity",
        "set sold = s.sold + i.quantity",
        "units leave pending",
    ),
    (
        "    if pay.execute_claimed_at is not null and not p_asked then\n        return 'claimed';\n    end if;\n",
        "",
        "H2: the claim",
    ),
    ("or old.execute_claimed_at is not null then", "then", "a claimed execute is no final no"),
    (
        "if old.status not in ('initiated', 'pending')",
        "if old.status in ('paid')",
        "one attempt at a time",
    ),
    (
        "update reservation_decisions set payment_id = p_payment,",
        "update reservation_decisions set payment_id = p_old,",
        "the second attempt sells",
    ),
    (
        "       set outcome = 'ABORTED', reason = p_reason, order_id = null, pending_until = null, actor = p_actor\n     where d.payment_id = p_payment and d.outcome = 'PENDING';\n    update sku_stock s set pending = s.pending - i.quantity",
        "       set outcome = 'ABORTED', reason = p_reason, order_id = null, pending_until = null, actor = p_actor\n     where d.payment_id = p_payment and d.outcome = 'PENDING';\n    update sku_stock s set pending = s.pending",
        "units go back",
    ),
    (
        "if exists (select from reservation_decisions d where d.reservation_id = pay.late_reservation_id) then",
        "if false then",
        "P6: one row decides about late money",
    ),
    (
        "where i.order_id = pay.order_id and s.epoch is distinct from line.epoch) then\n        return;",
        "where false) then\n        return;",
        "late: the epoch",
    ),
    (
        "and s.sold + s.pending + i.quantity > s.stocked)",
        "and s.sold + i.quantity > s.stocked)",
        "late: pending counts",
    ),
    (
        "u.bought - u.returned + u.pending, 0) + i.quantity > nullif(line.cap, 0))",
        "u.bought - u.returned + u.pending, 0) > nullif(line.cap, 0))",
        "late: the cap",
    ),
    (
        "select from orders o where o.order_id = pay.order_id and o.status = 'cancelled')",
        "select from orders o where o.order_id = pay.order_id)",
        "one order, one money",
    ),
    ("if written = 1 and refused is null then", "if refused is null then", "late: sold once"),
    (
        "o.status in ('paid', 'fulfilled') and o.refunding_at is null",
        "o.status in ('paid', 'fulfilled')",
        "a refund is begun once",
    ),
    (
        "    if pay.status <> 'refunding' then\n        return false;\n    end if;\n",
        "",
        "P7: a refund is noted once",
    ),
    (
        "        update orders o set refunding_at = null, updated_at = now() where o.order_id = pay.order_id;\n",
        "",
        "a refused refund may be tried again",
    ),
    ("    if whole.from_cart then", "    if true then", "only what came of the cart leaves it"),
];

/// Of these the row lock of the payment, and the status that is looked at under it, guard the same once more.
const DOUBLED: &[&str] = &["late: sold once", "a refund is begun once"];

#[tokio::test(flavor = "multi_thread")]
async fn every_careless_change_of_a_payment_function_is_noticed() {
    let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let read = |file: &str| std::fs::read_to_string(migrations.join(file)).unwrap();
    let (sales, payments) = (read("V4__functions.sql"), read("V9__payments.sql"));
    let refusals =
        sales.find("create function why_not").unwrap()..sales.find("-- Decides res").unwrap();
    let own = payments.find("create function lock_payment").unwrap();
    let functions = [&sales[refusals], &payments[own..]].concat();
    let real = functions.replace("create function", "create or replace function");
    let mut checks = CHECKS.to_vec();
    let mut unnoticed = Vec::new();
    let shop = Shop::fresh().await;
    for (from, to, guards) in MUTANTS {
        assert_eq!(real.matches(from).count(), 1, "{from}");
        let changed = real.replacen(from, to, 1);
        let batch = shop.session.batch_execute(&changed).await;
        batch.unwrap_or_else(|error| panic!("{guards}: {}", told(error)));
        let mut by = None;
        for (at, (_, check)) in checks.iter().enumerate() {
            let own = Shop { stores: shop.stores.clone(), session: shop.another().await };
            if check(&own).await.is_err() {
                by = Some(at);
                break;
            }
        }
        match by {
            Some(at) => checks[..=at].rotate_right(1),
            None if DOUBLED.contains(guards) => {}
            None => unnoticed.push(format!("{guards}: {to}")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
