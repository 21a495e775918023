//! Two sessions of which one has to wait for the other, and batches of every mixture.

use std::pin::pin;

use futures_util::future::{BoxFuture, join_all};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::scripts_sql::{
    Checked, Line, Sale, Shop, at_epoch, capped, confirm, equal, fence, numbered, outcomes, pid,
    rebuild_begin, run, sale, token, told, until_it_waits,
};

/// A check by its name.
pub type Check = (&'static str, for<'a> fn(&'a Shop) -> BoxFuture<'a, Checked>);

macro_rules! checks {
    ($($name:ident)*) => {
        /// Everything that the functions must pass.
        pub const CHECKS: &[Check] = &[$((stringify!($name), |shop| Box::pin($name(shop)))),*];

        mod each {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(&super::Shop::fresh().await).await.unwrap();
            })*
        }
    };
}

checks! {
    a_sale_writes_all_its_rows_at_once
    a_fence_waits_for_a_sale_in_flight_and_gives_in_to_it
    a_fence_wins_over_a_sale_that_was_rolled_back
    a_sale_waits_for_a_fence_in_flight_and_gives_in_to_it
    a_sale_wins_over_a_fence_that_was_rolled_back
    a_refused_sale_gives_in_to_a_fence_in_flight_too
    a_sale_waits_for_another_of_the_last_unit_and_is_refused
    a_batch_that_meets_the_limit_gives_each_its_own_answer
    units_under_payment_are_not_for_sale
    the_cap_counts_what_was_bought_is_paid_for_and_came_back
    a_batch_of_one_buyer_stops_at_the_cap
    a_sale_of_another_epoch_writes_nothing
    a_sale_of_an_older_epoch_is_stale_even_where_nothing_is_left
    a_reservation_twice_in_a_batch_is_sold_once
    decided_open_and_stale_sales_share_a_batch
    a_repeated_sale_is_answered_and_changes_nothing
    a_reservation_of_several_products_is_sold_whole_or_not
    a_payment_under_way_is_left_alone
    balances_follow_the_order_of_a_batch
    stock_rows_are_locked_in_the_order_of_their_numbers
    a_rebuild_bumps_the_epoch_before_it_reads
    a_rebuild_waits_for_a_sale_in_flight_and_counts_it
    a_sale_waits_for_a_rebuild_in_flight_and_is_stale
    a_rebuild_waits_for_a_payment_in_flight_and_lists_it
    a_rebuild_lists_payments_of_this_product_only
    a_row_that_oversells_is_refused_whoever_writes_it
    batches_in_any_order_never_deadlock_nor_oversell
}

async fn a_sale_writes_all_its_rows_at_once(shop: &Shop) -> Checked {
    let product = shop.product(5).await;
    let sold = sale(1, "u", product, 2);
    outcomes(
        &confirm(&shop.session, std::slice::from_ref(&sold)).await?,
        &[&sold],
        &["CONFIRMED"],
    )?;
    equal("stock", shop.stock(product).await, (5, 2, 0, 0))?;
    let rows = "select (select bought from user_sku where product_id = $1 and user_id = 'u'),
        (select stock_after from stock_movements where product_id = $1 and movement_type = 'SALE' and quantity = 2),
        (select quantity from order_items where product_id = $1),
        (select count(*) from orders o join order_items using (order_id)
            where product_id = $1 and reservation_id = $2 and status = 'paid'),
        (select count(*) from outbox where reservation_id = $2 and topic = 'order.paid'),
        (select quantities[1] from reservation_decisions
            where reservation_id = $2 and product_ids = array[$1::bigint] and tokens[1] = $3)";
    let wanted = token(sold.id, product);
    let row = shop.session.query_one(rows, &[&product, &sold.id, &wanted]).await.map_err(told)?;
    let found: Vec<Option<i64>> = (0..6).map(|at| row.get(at)).collect();
    equal("rows", found, [2, 3, 2, 1, 1, 2].map(Some).to_vec())
}

async fn a_fence_waits_for_a_sale_in_flight_and_gives_in_to_it(shop: &Shop) -> Checked {
    fence_against_sale(shop, "commit", "CONFIRMED", 1).await
}

async fn a_fence_wins_over_a_sale_that_was_rolled_back(shop: &Shop) -> Checked {
    fence_against_sale(shop, "rollback", "ABORTED in_doubt", 0).await
}

async fn fence_against_sale(shop: &Shop, end: &str, outcome: &str, sold: i64) -> Checked {
    let (product, other) = (shop.product(5).await, shop.another().await);
    let sale = sale(1, "u", product, 1);
    run(&shop.session, "begin").await?;
    confirm(&shop.session, std::slice::from_ref(&sale)).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let list = [&sale];
    let mut fencing = pin!(fence(&other, &list));
    until_it_waits(&watcher, pid, fencing.as_mut()).await?;
    run(&shop.session, end).await?;
    outcomes(&fencing.await?, &[&sale], &[outcome])?;
    equal("sold", shop.sold(product).await, sold)
}

async fn a_sale_waits_for_a_fence_in_flight_and_gives_in_to_it(shop: &Shop) -> Checked {
    sale_against_fence(shop, 5, "commit", "ABORTED in_doubt", 0).await
}

async fn a_sale_wins_over_a_fence_that_was_rolled_back(shop: &Shop) -> Checked {
    sale_against_fence(shop, 5, "rollback", "CONFIRMED", 1).await
}

async fn a_refused_sale_gives_in_to_a_fence_in_flight_too(shop: &Shop) -> Checked {
    sale_against_fence(shop, 0, "commit", "ABORTED in_doubt", 0).await
}

async fn sale_against_fence(
    shop: &Shop,
    stocked: i64,
    end: &str,
    outcome: &str,
    sold: i64,
) -> Checked {
    let (product, other) = (shop.product(stocked).await, shop.another().await);
    let sale = sale(1, "u", product, 1);
    run(&shop.session, "begin").await?;
    fence(&shop.session, &[&sale]).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let list = [sale.clone()];
    let mut confirming = pin!(confirm(&other, &list));
    until_it_waits(&watcher, pid, confirming.as_mut()).await?;
    run(&shop.session, end).await?;
    outcomes(&confirming.await?, &[&sale], &[outcome])?;
    let orders = "select count(*) from orders where reservation_id = $1";
    let orders: i64 = shop.session.query_one(orders, &[&sale.id]).await.map_err(told)?.get(0);
    equal("sold and orders", (shop.sold(product).await, orders), (sold, sold))
}

async fn a_sale_waits_for_another_of_the_last_unit_and_is_refused(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(1).await, shop.another().await);
    let (first, second) = (sale(2, "a", product, 1), sale(1, "b", product, 1));
    run(&shop.session, "begin").await?;
    confirm(&shop.session, std::slice::from_ref(&first)).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let list = [second.clone()];
    let mut confirming = pin!(confirm(&other, &list));
    until_it_waits(&watcher, pid, confirming.as_mut()).await?;
    run(&shop.session, "commit").await?;
    outcomes(&confirming.await?, &[&second], &["ABORTED insufficient_stock"])?;
    equal("sold", shop.sold(product).await, 1)
}

async fn a_batch_that_meets_the_limit_gives_each_its_own_answer(shop: &Shop) -> Checked {
    let (scarce, plenty) = (shop.product(3).await, shop.product(9).await);
    let sales = [
        sale(4, "d", scarce, 1),
        sale(1, "a", scarce, 1),
        sale(2, "b", plenty, 2),
        sale(3, "c", scarce, 2),
    ];
    let [last, first, other, second] = &sales;
    let decided = confirm(&shop.session, &sales).await?;
    let wanted = ["CONFIRMED", "CONFIRMED", "CONFIRMED", "ABORTED insufficient_stock"];
    outcomes(&decided, &[first, other, second, last], &wanted)?;
    equal("sold", (shop.sold(scarce).await, shop.sold(plenty).await), (3, 2))
}

async fn units_under_payment_are_not_for_sale(shop: &Shop) -> Checked {
    let product = shop.product(3).await;
    run(&shop.session, &format!("update sku_stock set pending = 2 where product_id = {product}"))
        .await?;
    let (two, one) = (sale(1, "a", product, 2), sale(2, "b", product, 1));
    let decided = confirm(&shop.session, std::slice::from_ref(&two)).await?;
    outcomes(&decided, &[&two], &["ABORTED insufficient_stock"])?;
    let decided = confirm(&shop.session, std::slice::from_ref(&one)).await?;
    outcomes(&decided, &[&one], &["CONFIRMED"])
}

async fn the_cap_counts_what_was_bought_is_paid_for_and_came_back(shop: &Shop) -> Checked {
    let product = shop.product(20).await;
    // Of a cap of five: three bought, one of them came back, two under payment. One is left.
    let rows = format!(
        "insert into user_sku (product_id, user_id, bought, pending, returned)
        values ({product}, 'u', 3, 2, 1)"
    );
    run(&shop.session, &rows).await?;
    let (two, one) = (capped(5, sale(1, "u", product, 2)), capped(5, sale(2, "u", product, 1)));
    let decided = confirm(&shop.session, std::slice::from_ref(&two)).await?;
    outcomes(&decided, &[&two], &["ABORTED buyer_limit"])?;
    let decided = confirm(&shop.session, std::slice::from_ref(&one)).await?;
    outcomes(&decided, &[&one], &["CONFIRMED"])?;
    let free = sale(3, "u", product, 9);
    let decided = confirm(&shop.session, std::slice::from_ref(&free)).await?;
    outcomes(&decided, &[&free], &["CONFIRMED"])
}

async fn a_batch_of_one_buyer_stops_at_the_cap(shop: &Shop) -> Checked {
    let product = shop.product(20).await;
    let sales = [(1, "u", 1), (2, "u", 2), (3, "v", 2)];
    let sales = sales.map(|(rank, user, quantity)| capped(2, sale(rank, user, product, quantity)));
    let decided = confirm(&shop.session, &sales).await?;
    let [one, two, other] = &sales;
    outcomes(&decided, &[one, two, other], &["CONFIRMED", "ABORTED buyer_limit", "CONFIRMED"])?;
    for (rank, outcome) in [(4, "CONFIRMED"), (5, "ABORTED buyer_limit")] {
        let next = capped(2, sale(rank, "u", product, 1));
        let decided = confirm(&shop.session, std::slice::from_ref(&next)).await?;
        outcomes(&decided, &[&next], &[outcome])?;
    }
    equal("sold", shop.sold(product).await, 4)
}

async fn a_sale_of_another_epoch_writes_nothing(shop: &Shop) -> Checked {
    let product = shop.product(5).await;
    let ahead = at_epoch(1, sale(1, "u", product, 1));
    outcomes(&confirm(&shop.session, std::slice::from_ref(&ahead)).await?, &[&ahead], &["-"])?;
    rebuild_begin(&shop.session, product).await?;
    let behind = sale(1, "u", product, 1);
    outcomes(&confirm(&shop.session, std::slice::from_ref(&behind)).await?, &[&behind], &["-"])?;
    equal("stock", shop.stock(product).await, (5, 0, 0, 1))?;
    outcomes(
        &confirm(&shop.session, std::slice::from_ref(&ahead)).await?,
        &[&ahead],
        &["CONFIRMED"],
    )
}

async fn a_sale_of_an_older_epoch_is_stale_even_where_nothing_is_left(shop: &Shop) -> Checked {
    let product = shop.product(0).await;
    rebuild_begin(&shop.session, product).await?;
    let behind = sale(1, "u", product, 1);
    outcomes(&confirm(&shop.session, std::slice::from_ref(&behind)).await?, &[&behind], &["-"])?;
    let sales = [behind, at_epoch(1, sale(2, "v", product, 1))];
    let decided = confirm(&shop.session, &sales).await?;
    outcomes(&decided, &[&sales[0], &sales[1]], &["-", "ABORTED insufficient_stock"])
}

async fn a_reservation_twice_in_a_batch_is_sold_once(shop: &Shop) -> Checked {
    for stocked in [5, 2] {
        let product = shop.product(stocked).await;
        let twice = sale(1, "u", product, 2);
        let decided = confirm(&shop.session, &[twice.clone(), twice.clone()]).await?;
        outcomes(&decided, &[&twice], &["CONFIRMED"])?;
        equal("sold", shop.sold(product).await, 2)?;
    }
    Ok(())
}

async fn decided_open_and_stale_sales_share_a_batch(shop: &Shop) -> Checked {
    let product = shop.product(4).await;
    let sales = [1, 2, 3, 4].map(|rank| sale(rank, "u", product, 2));
    let [sold, fenced, stale, open] = &sales;
    confirm(&shop.session, std::slice::from_ref(sold)).await?;
    fence(&shop.session, &[fenced]).await?;
    let batch = [sold.clone(), at_epoch(7, stale.clone()), fenced.clone(), open.clone()];
    let decided = confirm(&shop.session, &batch).await?;
    let wanted = ["CONFIRMED", "ABORTED in_doubt", "-", "CONFIRMED"];
    outcomes(&decided, &[sold, fenced, stale, open], &wanted)?;
    equal("sold", shop.sold(product).await, 4)
}

async fn a_repeated_sale_is_answered_and_changes_nothing(shop: &Shop) -> Checked {
    let product = shop.product(1).await;
    let (sold, refused) = (sale(1, "u", product, 1), sale(2, "v", product, 1));
    for _ in 0..2 {
        for (sale, outcome) in [(&sold, "CONFIRMED"), (&refused, "ABORTED insufficient_stock")] {
            outcomes(
                &confirm(&shop.session, std::slice::from_ref(sale)).await?,
                &[sale],
                &[outcome],
            )?;
        }
    }
    outcomes(&fence(&shop.session, &[&sold]).await?, &[&sold], &["CONFIRMED"])?;
    equal("sold", shop.sold(product).await, 1)
}

async fn a_reservation_of_several_products_is_sold_whole_or_not(shop: &Shop) -> Checked {
    let (plenty, scarce) = (shop.product(5).await, shop.product(1).await);
    let both = |rank, quantity| {
        let mut both = sale(rank, "u", plenty, 1);
        both.lines.push(Line { product: scarce, quantity, epoch: 0, cap: 0 });
        both
    };
    let (too_much, fits) = (both(1, 2), both(2, 1));
    let mut stale = both(3, 1);
    stale.lines[1].epoch = 9;
    let decided = confirm(&shop.session, &[too_much.clone(), fits.clone(), stale.clone()]).await?;
    let wanted = ["ABORTED insufficient_stock", "CONFIRMED", "-"];
    outcomes(&decided, &[&too_much, &fits, &stale], &wanted)?;
    equal("sold", (shop.sold(plenty).await, shop.sold(scarce).await), (1, 1))
}

async fn a_payment_under_way_is_left_alone(shop: &Shop) -> Checked {
    let product = shop.product(5).await;
    let paying = sale(1, "u", product, 1);
    Shop::pending(&shop.session, &paying).await;
    outcomes(&fence(&shop.session, &[&paying]).await?, &[&paying], &["PENDING"])?;
    outcomes(
        &confirm(&shop.session, std::slice::from_ref(&paying)).await?,
        &[&paying],
        &["PENDING"],
    )?;
    equal("sold", shop.sold(product).await, 0)
}

async fn balances_follow_the_order_of_a_batch(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(10).await, shop.product(3).await);
    let sales = [
        sale(3, "a", product, 2),
        sale(1, "b", other, 1),
        sale(2, "c", product, 1),
        sale(4, "d", product, 3),
    ];
    confirm(&shop.session, &sales).await?;
    let balances = "select quantity, stock_after from stock_movements where product_id = $1 order by movement_id";
    let rows = shop.session.query(balances, &[&product]).await.map_err(told)?;
    let balances: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    equal("balances", balances, vec![(2, 8), (1, 7), (3, 4)])
}

async fn stock_rows_are_locked_in_the_order_of_their_numbers(shop: &Shop) -> Checked {
    let (low, high) = (shop.product(5).await, shop.product(5).await);
    let other = shop.another().await;
    run(&shop.session, "begin").await?;
    let lock =
        |product| format!("select from sku_stock where product_id = {product} for update nowait");
    run(&shop.session, &lock(low)).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let sales = [sale(1, "u", high, 1), sale(2, "u", low, 1)];
    let mut confirming = pin!(confirm(&other, &sales));
    until_it_waits(&watcher, pid, confirming.as_mut()).await?;
    // It waits for the lower one, so it must not have the higher one yet.
    let free = run(&shop.session, &lock(high)).await;
    run(&shop.session, "rollback").await?;
    outcomes(&confirming.await?, &[&sales[0], &sales[1]], &["CONFIRMED", "CONFIRMED"])?;
    free
}

async fn batches_in_any_order_never_deadlock_nor_oversell(shop: &Shop) -> Checked {
    const STOCK: i64 = 60;
    let mut products = Vec::new();
    for _ in 0..4 {
        products.push(shop.product(STOCK).await);
    }
    let users = ["a", "b", "c"];
    // What several sessions may meet at the same time: sales, and fences of the same reservations.
    let mut random = rand::rngs::SmallRng::seed_from_u64(7);
    let mut all: Vec<Sale> = (0..240)
        .map(|rank| {
            products.shuffle(&mut random);
            let lines = products[..random.random_range(1..=3)].iter();
            let line = |product: &i64| Line { product: *product, quantity: 1, epoch: 0, cap: 70 };
            Sale {
                id: numbered(rank),
                user: users[rank as usize % 3],
                lines: lines.map(line).collect(),
            }
        })
        .collect();
    let sessions = join_all((0..6).map(|_| shop.another())).await;
    let mut batches = Vec::new();
    for _ in &sessions {
        all.shuffle(&mut random);
        batches.push(all.clone());
    }
    let work = sessions.iter().zip(&batches).enumerate().map(|(at, (session, sales))| async move {
        for batch in sales.chunks(8) {
            match at {
                0 => fence(session, &batch.iter().step_by(5).collect::<Vec<_>>()).await?,
                _ => confirm(session, batch).await?,
            };
        }
        Ok::<(), String>(())
    });
    join_all(work).await.into_iter().collect::<Checked>()?;
    for product in products {
        let decided = "select coalesce(sum(line.quantity), 0)::bigint from reservation_decisions d,
            unnest(d.product_ids, d.quantities) as line(product_id, quantity)
            where d.outcome = 'CONFIRMED' and line.product_id = $1";
        let decided: i64 = shop.session.query_one(decided, &[&product]).await.map_err(told)?.get(0);
        equal("decided and sold", decided, shop.sold(product).await)?;
        equal("within the stock", decided <= STOCK, true)?;
    }
    let all: Vec<&Sale> = all.iter().collect();
    equal("decisions", fence(&shop.session, &all).await?.len(), all.len())
}

async fn a_rebuild_bumps_the_epoch_before_it_reads(shop: &Shop) -> Checked {
    let product = shop.product(5).await;
    equal("first", rebuild_begin(&shop.session, product).await?.0, 1)?;
    equal("second", rebuild_begin(&shop.session, product).await?.0, 2)?;
    equal("stored", shop.stock(product).await.3, 2)
}

async fn a_rebuild_waits_for_a_sale_in_flight_and_counts_it(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(5).await, shop.another().await);
    run(&shop.session, "begin").await?;
    confirm(&shop.session, &[sale(1, "u", product, 2)]).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let mut beginning = pin!(rebuild_begin(&other, product));
    until_it_waits(&watcher, pid, beginning.as_mut()).await?;
    run(&shop.session, "commit").await?;
    let (epoch, sold, _) = beginning.await?;
    equal("epoch and sold", (epoch, sold), (1, 2))
}

async fn a_sale_waits_for_a_rebuild_in_flight_and_is_stale(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(5).await, shop.another().await);
    run(&shop.session, "begin").await?;
    rebuild_begin(&shop.session, product).await?;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let list = [sale(1, "u", product, 2)];
    let mut confirming = pin!(confirm(&other, &list));
    until_it_waits(&watcher, pid, confirming.as_mut()).await?;
    run(&shop.session, "commit").await?;
    outcomes(&confirming.await?, &[&list[0]], &["-"])?;
    equal("sold", shop.sold(product).await, 0)
}

async fn a_rebuild_waits_for_a_payment_in_flight_and_lists_it(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(5).await, shop.another().await);
    let paying = sale(1, "u", product, 2);
    run(&shop.session, "begin").await?;
    run(&shop.session, &format!("update sku_stock set pending = 2 where product_id = {product}"))
        .await?;
    Shop::pending(&shop.session, &paying).await;
    let (pid, watcher) = (pid(&other).await, shop.another().await);
    let mut beginning = pin!(rebuild_begin(&other, product));
    until_it_waits(&watcher, pid, beginning.as_mut()).await?;
    run(&shop.session, "commit").await?;
    let wanted = serde_json::json!([{
        "reservation_id": paying.id, "user_id": "u", "token": token(paying.id, product), "quantity": 2,
        "product_ids": [product],
    }]);
    equal("pending", beginning.await?.2, wanted)
}

async fn a_rebuild_lists_payments_of_this_product_only(shop: &Shop) -> Checked {
    let (product, other) = (shop.product(5).await, shop.product(5).await);
    let mut both = sale(1, "u", other, 1);
    both.lines.push(Line { product, quantity: 3, epoch: 0, cap: 0 });
    Shop::pending(&shop.session, &both).await;
    Shop::pending(&shop.session, &sale(2, "v", other, 1)).await;
    confirm(&shop.session, &[sale(3, "w", product, 1)]).await?;
    fence(&shop.session, &[&sale(4, "x", product, 1)]).await?;
    let wanted = serde_json::json!([{
        "reservation_id": both.id, "user_id": "u", "token": token(both.id, product), "quantity": 3,
        "product_ids": [other, product],
    }]);
    equal("pending", rebuild_begin(&shop.session, product).await?.2, wanted)
}

async fn a_row_that_oversells_is_refused_whoever_writes_it(shop: &Shop) -> Checked {
    let product = shop.product(5).await;
    confirm(&shop.session, &[sale(1, "u", product, 3)]).await?;
    for change in [
        "sku_stock set sold = 6",
        "sku_stock set stocked = 2",
        "sku_stock set pending = 3",
        "sku_stock set sold = -1",
        "sku_stock set pending = -1",
        "sku_stock set returned = 4",
        "sku_stock set returned = -1",
        "user_sku set bought = -1",
        "user_sku set returned = 4",
        "user_sku set pending = -1",
    ] {
        let outcome =
            run(&shop.session, &format!("update {change} where product_id = {product}")).await;
        if !outcome.as_ref().is_err_and(|error| error.contains("check constraint")) {
            return Err(format!("{change}: {outcome:?}"));
        }
    }
    Ok(())
}
