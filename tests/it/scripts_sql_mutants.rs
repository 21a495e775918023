//! Do the checks notice when a function loses a guard?

use crate::scripts_sql::{Shop, told};
use crate::scripts_sql_checks::CHECKS;

/// What stands in the migration, what a careless hand makes of it, and what it guards.
const MUTANTS: &[(&str, &str, &str)] = &[
    (
        "where line.position = request.position and s.epoch is distinct from line.epoch)\n    ), demand",
        "where false)\n    ), demand",
        "a stale sale is not refused",
    ),
    (
        "where line.position = request.position and s.epoch is distinct from line.epoch)\n        ), decision",
        "where false)\n        ), decision",
        "L2: the epoch",
    ),
    ("order by s.product_id for update;", "order by s.product_id;", "the lock of the stock"),
    (
        "order by s.product_id for update;",
        "order by s.product_id desc for update;",
        "the order of locks",
    ),
    ("where s.sold + s.pending + demand.quantity > s.stocked)", "where false)", "INV1"),
    ("s.sold + s.pending + demand", "s.sold + demand", "P11: pending counts"),
    (
        "s.sold + s.pending + demand.quantity > s.stocked",
        "s.sold + s.pending + demand.quantity >= s.stocked",
        "the last unit is for sale",
    ),
    ("buyer.quantity > buyer.cap)", "buyer.quantity > buyer.cap + 1)", "the cap"),
    ("buyer.quantity > buyer.cap)", "buyer.quantity >= buyer.cap)", "the cap may be used up"),
    (
        "u.bought - u.returned + u.pending, 0) + buyer",
        "u.bought + u.pending, 0) + buyer",
        "what came back may be bought again",
    ),
    (
        "u.bought - u.returned + u.pending, 0) + buyer",
        "u.bought - u.returned, 0) + buyer",
        "units under payment count in the cap",
    ),
    ("min(nullif(line.cap, 0))", "min(line.cap)", "no cap is no limit"),
    (
        "if refused is not null and cardinality(r_reservation) > 1 then",
        "if false then",
        "each of a batch gets its own answer",
    ),
    (
        "from why_not(r_user[1], l_product, l_quantity, l_cap) why\n        on conflict do nothing",
        "from why_not(r_user[1], l_product, l_quantity, l_cap) why",
        "F9: the first decision stands",
    ),
    (
        "             order by request.reservation_id\n            on conflict do nothing",
        "             order by request.reservation_id",
        "F9: the first decision stands",
    ),
    (
        "     order by f.reservation_id\n    on conflict do nothing;",
        "     order by f.reservation_id;",
        "F9: the fence gives in",
    ),
    (
        "    on conflict do nothing;\n    return query select * from reservation_decisions d where d.reservation_id = any (p_reservation);",
        "    on conflict (reservation_id) do update set outcome = 'ABORTED', order_id = null;\n    return query select * from reservation_decisions d where d.reservation_id = any (p_reservation);",
        "INV5: one end",
    ),
    (
        "select distinct on (request.reservation_id) request.*",
        "select request.*",
        "a reservation is sold once",
    ),
    (
        "update sku_stock s set sold = s.sold + taken.quantity",
        "update sku_stock s set sold = s.sold + 1",
        "INV1",
    ),
    (
        "rows between 1 following and unbounded following",
        "rows between current row and unbounded following",
        "the balances",
    ),
    (
        "set bought = u.bought + excluded.bought",
        "set bought = excluded.bought",
        "the cap counts every sale",
    ),
    (
        "    update sku_stock s set epoch = s.epoch + 1 where s.product_id = p_product;\n",
        "",
        "the epoch is bumped",
    ),
    (
        "    update sku_stock s set epoch = s.epoch + 1 where s.product_id = p_product;\n    return query\n        select s.epoch,",
        "    return query\n        with s as (update sku_stock s set epoch = s.epoch + 1 where s.product_id = p_product returning s.*)\n        select s.epoch,",
        "L4: nothing is read before the epoch is bumped",
    ),
    (
        "where d.outcome = 'PENDING' and d.product_ids",
        "where d.product_ids",
        "only payments under way are restored",
    ),
    ("'token', d.tokens[line.position]", "'token', d.tokens[1]", "each product has its own token"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_careless_change_of_a_function_is_noticed() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/V4__functions.sql");
    let real = std::fs::read_to_string(path).unwrap();
    let real = real.replace("create function", "create or replace function");
    let mut checks = CHECKS.to_vec();
    let mut unnoticed = Vec::new();
    let shop = Shop::fresh().await;
    for (from, to, guards) in MUTANTS {
        assert_eq!(real.matches(from).count(), 1, "{from}");
        let mut changed = real.replacen(from, to, 1);
        if guards.starts_with("L4") {
            let rest = "from sku_stock s where s.product_id = p_product;\nend $$;";
            assert!(changed.contains(rest));
            changed = changed.replacen(rest, "from s;\nend $$;", 1);
        }
        shop.session
            .batch_execute(&changed)
            .await
            .unwrap_or_else(|error| panic!("{guards}: {}", told(error)));
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
            None => unnoticed.push(format!("{guards}: {to}")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
