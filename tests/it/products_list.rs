//! Lists of products: filters, search, ordering, pages, and who sees what.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Stores, TestApp};
use crate::process::ServiceProcess;

fn skus(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["sku"].as_str().unwrap().to_owned()).collect()
}

async fn list(app: &TestApp, query: &str) -> Vec<String> {
    skus(&app.anonymous(Method::GET, &format!("/api/products?{query}")).await.expect(200))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ordering_goes_through_all_pages_once() {
    let app = TestApp::start().await;
    let priced = [("A", "3.00", "b"), ("B", "1.00", "a"), ("C", "2.00", "b"), ("D", "1.00", "Ünï")];
    for (sku, price, name) in priced {
        app.product(sku, 1, json!({ "price": price, "name": name })).await;
    }
    app.product("E", 1, json!({ "price": null, "name": "b" })).await;
    for (ordering, expected) in [
        ("created_at", "ABCDE"),
        ("-created_at", "EDCBA"),
        ("price", "EBDCA"),
        ("-price", "ACDBE"),
        ("", "EDCBA"),
    ] {
        let sorted =
            if ordering.is_empty() { String::new() } else { format!("&ordering={ordering}") };
        for limit in 1..=6 {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/api/products?limit={limit}{sorted}{cursor}");
                let page = app.anonymous(Method::GET, &path).await.expect(200);
                assert!(page["items"].as_array().unwrap().len() <= limit);
                seen.extend(skus(&page));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen.concat(), expected, "{ordering} {limit}");
        }
    }
    let by_name = list(&app, "ordering=name").await;
    let mut backwards = list(&app, "ordering=-name").await;
    backwards.reverse();
    assert_eq!(by_name, backwards);
    assert_eq!(by_name[0], "B");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_search_find_what_they_name() {
    let app = TestApp::start().await;
    for (sku, name, category) in [
        ("A", "Red phone", "phones"),
        ("B", "Blue PHONE 100%", "phones"),
        ("C", "Phone_case", "cases"),
        ("PHONEX", "Thing", "cases"),
    ] {
        app.product(sku, 1, json!({ "name": name, "category": category })).await;
    }
    let ascending = |query: &str| format!("ordering=created_at&{query}");
    for (query, expected) in [
        ("category=phones", vec!["A", "B"]),
        ("category=phone", vec![]),
        ("q=phone", vec!["A", "B", "C", "PHONEX"]),
        ("q=phone&category=cases", vec!["C", "PHONEX"]),
        ("q=100%25", vec!["B"]),
        ("q=e_case", vec!["C"]),
        ("q=d_ph", vec![]),
        ("q=phone%25%25", vec![]),
        ("q=x%27%20or%201%3D1", vec![]),
    ] {
        assert_eq!(list(&app, &ascending(query)).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_in_a_query_is_refused() {
    let app = TestApp::start().await;
    app.product("A", 1, json!({})).await;
    app.product("B", 1, json!({})).await;
    let first = app.anonymous(Method::GET, "/api/products?limit=1").await.expect(200);
    let foreign = format!("ordering=name&cursor={}", first["next_cursor"].as_str().unwrap());
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "q=ab",
        "q=%20%20a%20%20",
        "q=---",
        "q=a%00bcd",
        "q=",
        "ordering=stock",
        "ordering=--name",
        "ordering=",
        "cursor=x",
        "cursor=zz",
        "cursor=",
        "cursor=00ff",
        "page=2",
        "owner=maker",
        "low_stock=1",
        "category=",
        "category=%00",
        "cursor=%C3%A4",
        &foreign,
        &format!("q={}", "x".repeat(101)),
        &format!("category={}", "x".repeat(65)),
        // "-created_at 1 99999999999999999"
        "cursor=2d637265617465645f617420312039393939393939393939393939393939",
    ] {
        let reply = app.anonymous(Method::GET, &format!("/api/products?{query}")).await;
        assert_eq!(reply.status, 422, "{query}");
        let refused = reply.expect_problem(422, "invalid_field");
        let wrong = query.split('=').next().unwrap();
        let wrong = if query.contains("&cursor=") { "cursor" } else { wrong };
        assert_eq!(refused["errors"][0]["field"], wrong, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_each_what_is_theirs_to_see() {
    let app = TestApp::start().await;
    let make = |sku: &'static str, owner: &'static str, published: bool| {
        let body = json!({ "sku": sku, "name": sku, "total_stock": 3, "published": published, "low_stock_threshold": 3 });
        let (app, token) = (&app, app.merchant(owner));
        async move { app.post("/api/products", &token, body).await.expect(201) }
    };
    make("A", "maker", true).await;
    make("B", "maker", false).await;
    make("C", "rival", true).await;
    make("D", "rival", false).await;
    let seen = |query: &'static str, token: String| {
        let app = &app;
        async move {
            app.get(&format!("/api/products?ordering=created_at{query}"), &token).await.expect(200)
        }
    };
    assert_eq!(list(&app, "ordering=created_at").await, ["A", "C"]);
    for token in [app.customer("alice"), app.service(), app.merchant("maker")] {
        let page = seen("", token).await;
        assert_eq!(skus(&page), ["A", "C"]);
        assert!(page["items"][0].get("owner_id").is_none());
    }
    assert_eq!(skus(&seen("", app.admin()).await), ["A", "B", "C", "D"]);
    let own = seen("&owner=me", app.merchant("maker")).await;
    assert_eq!(skus(&own), ["A", "B"]);
    assert_eq!(own["items"][0]["owner_id"], "maker");
    assert_eq!(skus(&seen("&owner=me", app.admin()).await), Vec::<String>::new());
    assert_eq!(skus(&seen("&low_stock=true", app.merchant("rival")).await), ["C", "D"]);
    let raised = app.request(Method::PATCH, "/api/products/3").bearer_auth(app.merchant("rival"));
    app.send(raised.json(&json!({ "low_stock_threshold": 2 }))).await.expect(200);
    assert_eq!(skus(&seen("&low_stock=true", app.merchant("rival")).await), ["D"]);
    for query in ["owner=me", "low_stock=true"] {
        let path = format!("/api/products?{query}");
        app.get(&path, &app.customer("alice")).await.expect_problem(403, "forbidden");
        app.anonymous(Method::GET, &path).await.expect_problem(401, "unauthenticated");
    }
}

/// Three thousand products of two owners: some hidden, some low, in categories of very different size; what is asked for
/// is common, rare, or common only where the list does not begin, so that it is found in each way there is.
const MANY: &str = "
    insert into products (sku, owner_id, name, category, price_minor, currency, published, low_stock_threshold, created_at)
    select 'S-' || i, case when i % 3 = 0 then 'rival' else 'maker' end,
           case when i % 2 = 0 then 'Plain' else 'plain' end || ' thing ' || (i * 7919) % 3001
               || case when i <= 150 then ' early bird' when i % 500 = 7 then ' unique' else '' end,
           case when i <= 200 then 'first' when i % 2 = 0 then 'big' when i % 400 = 1 then 'small' end,
           nullif((i * 104729) % 301, 5) * 10, 'USD', i % 10 <> 3, case when i % 4 = 0 then 5 end,
           timestamptz '2026-01-01' + (i / 3) * interval '1 minute'
      from generate_series(1, 3000) i;
    insert into sku_stock (product_id, stocked) select product_id, product_id % 7 from products;
    analyze products";

/// The same page by the plainest statement there is.
async fn plainly(app: &TestApp, scope: &str, filter: &str, ordering: &str) -> Vec<String> {
    let way = if ordering.starts_with('-') { "desc" } else { "asc" };
    let sorted = match ordering.trim_start_matches('-') {
        "price" => "coalesce(price_minor, -1)",
        column => column,
    };
    let sql = format!(
        "select sku from (select p.*, stocked, sold from products p join sku_stock using (product_id)) p
          where deleted_at is null and {scope} and {filter} order by {sorted} {way}, product_id {way}"
    );
    let rows = app.stores.postgres().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_of_many_products_is_what_the_plainest_statement_finds() {
    let app = TestApp::start_with(&[("HOLDFAST__RATE_LIMIT__MAX_REQUESTS", "0")]).await.unchecked();
    app.stores.postgres().await.batch_execute(MANY).await.unwrap();
    let everybody = ("published", "", app.customer("alice"));
    let owner = ("owner_id = 'maker'", "&owner=me", app.merchant("maker"));
    let admin = ("true", "", app.admin());
    let low = "stocked - sold <= low_stock_threshold and owner_id = 'maker'";
    for (scope, query, token) in [everybody, owner, admin] {
        for (filter, wanted) in [
            ("true", ""),
            ("category = 'big'", "&category=big"),
            ("category = 'small'", "&category=small"),
            ("category = 'first'", "&category=first"),
            ("name ilike '%early%'", "&q=early"),
            ("name ilike '%PLAIN%'", "&q=PLAIN"),
            ("name like '%unique%'", "&q=Unique"),
            ("(name ilike '%s-19%' or sku ilike '%s-19%')", "&q=s-19"),
            ("false", "&q=nothing"),
            ("category = 'first' and name like '%early%'", "&category=first&q=early"),
            ("category = 'small' and name ilike '%plain%'", "&category=small&q=plain"),
            (low, "&low_stock=true"),
            (&format!("{low} and name like '%early%'"), "&low_stock=true&q=early"),
            (&format!("{low} and category = 'big'"), "&low_stock=true&category=big"),
        ] {
            if wanted.contains("low_stock") && !query.contains("owner") {
                continue;
            }
            for ordering in ["created_at", "-created_at", "name", "-name", "price", "-price"] {
                let all = plainly(&app, scope, filter, ordering).await;
                for limit in [1, 200] {
                    let (mut found, mut cursor) = (Vec::new(), String::new());
                    for _ in 0..4 {
                        let path = format!(
                            "/api/products?ordering={ordering}&limit={limit}{query}{wanted}{cursor}"
                        );
                        let page = app.get(&path, &token).await.expect(200);
                        found.extend(skus(&page));
                        let Some(next) = page["next_cursor"].as_str() else { break };
                        cursor = format!("&cursor={next}");
                    }
                    let first = all.get(..4 * limit).unwrap_or(&all);
                    assert_eq!(found, first, "{query} {wanted} {ordering} {limit}");
                }
            }
        }
    }
}

/// How often each statement was run, as `/metrics` shows it.
fn statements(metrics: &str) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let rest = line.strip_prefix("holdfast_statement_seconds_count{statement=\"")?;
        let (name, count) = rest.split_once("\"} ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    metrics.lines().filter_map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_not_cached_takes_one_statement_whatever_its_length() {
    let stores = Stores::fresh().await;
    let service = ServiceProcess::start(&stores, &[]).await;
    stores.postgres().await.batch_execute(MANY).await.unwrap();
    // Those of the background run all the time; a list must have nothing to do with them.
    let background = |name: &str| {
        !name.starts_with("products.") || ["products.untold", "products.ending"].contains(&name)
    };
    for (limit, query) in [(1, ""), (50, ""), (200, ""), (200, "&category=big"), (200, "&q=early")]
    {
        let before = statements(&service.metrics().await);
        let path = format!("/api/products?limit={limit}{query}");
        service.anonymous(Method::GET, &path).await.expect(200);
        let after = statements(&service.metrics().await);
        let run = after
            .iter()
            .map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0)));
        let run: BTreeMap<_, _> =
            run.filter(|(name, count)| *count > 0 && !background(name)).collect();
        assert_eq!(run, [("products.page".to_owned(), 1)].into(), "{path}");
    }
    assert!(statements(&service.metrics().await).len() > 3, "background work is measured too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_low_follows_sales_movements_refunds_and_edits() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let body = json!({ "sku": "A", "name": "A", "price": "1.00", "total_stock": 4, "low_stock_threshold": 2 });
    let created = app.post("/api/products", &maker, body).await.expect(201);
    let is_low = async || {
        let page = app.get("/api/products?low_stock=true", &maker).await.expect(200);
        skus(&page) == ["A"]
    };
    assert!(!is_low().await);
    let held = app.held("alice", "A", 2).await;
    assert!(!is_low().await, "what is held is on hand");
    let order = app.checkout("alice", &held).await.expect(201);
    assert!(is_low().await);
    let moved = async |kind: &str, quantity: i64| {
        let body =
            json!({ "product_id": created["id"], "movement_type": kind, "quantity": quantity });
        app.post("/api/stock", &maker, body).await.expect(201);
    };
    moved("IN", 1).await;
    assert!(!is_low().await);
    moved("OUT", 1).await;
    assert!(is_low().await);
    let refund = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
    app.post(&refund, &app.admin(), json!({})).await.expect(200);
    assert!(!is_low().await);
    let path = format!("/api/products/{}", created["id"]);
    for (threshold, low) in
        [(json!(4), true), (json!(3), false), (json!(null), false), (json!(9), true)]
    {
        let edit = app.request(Method::PATCH, &path).bearer_auth(&maker);
        app.send(edit.json(&json!({ "low_stock_threshold": threshold }))).await.expect(200);
        assert_eq!(is_low().await, low, "{threshold}");
    }
}
