//! Movements of stock: in and out, the history with its balances, every bound, and nobody touches somebody else's.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Api, Reply, TestApp};
use crate::world::UNLIMITED;

/// Moves units of a product on behalf of whoever has this token.
pub async fn moved(api: &Api, token: &str, kind: &str, product: i64, quantity: i64) -> Reply {
    let body = json!({ "product_id": product, "movement_type": kind, "quantity": quantity });
    api.post("/api/stock", token, body).await
}

/// A product of this merchant's.
pub async fn product_of(api: &Api, owner: &str, sku: &str, total_stock: i64) -> i64 {
    let body = json!({ "sku": sku, "name": sku, "price": "10.00", "total_stock": total_stock });
    let created = api.post("/api/products", &api.merchant(owner), body).await.expect(201);
    created["id"].as_i64().unwrap()
}

/// Type, quantity and balance of each movement of a page.
fn rows(page: &Value) -> Vec<(String, i64, i64)> {
    let row = |item: &Value| {
        let number = |field: &str| item[field].as_i64().unwrap();
        let kind = item["movement_type"].as_str().unwrap().to_owned();
        (kind, number("quantity"), number("stock_after"))
    };
    page["items"].as_array().unwrap().iter().map(row).collect()
}

fn row(kind: &str, quantity: i64, stock_after: i64) -> (String, i64, i64) {
    (kind.to_owned(), quantity, stock_after)
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_come_in_and_are_taken_out_and_the_history_tells_of_it() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let product = product_of(&app, "maker", "PHONE", 5).await;
    let body = json!({
        "product_id": product, "movement_type": "IN", "quantity": 7, "note": " two boxes\nof the new ones ",
    });
    let reply = app.post("/api/stock", &maker, body).await;
    assert_eq!(reply.headers["location"], format!("/api/stock?product_id={product}"));
    let brought = reply.expect(201);
    assert_eq!(
        brought,
        json!({
            "id": brought["id"], "product_id": product, "movement_type": "IN", "quantity": 7, "stock_after": 12,
            "note": "two boxes\nof the new ones", "supplier_id": null, "actor": "merchant:maker",
            "created_at": brought["created_at"],
        })
    );
    assert_eq!(app.stock("PHONE").await, (12, 12, 0, 0));
    let taken = moved(&app, &maker, "OUT", product, 4).await.expect(201);
    assert_eq!((&taken["movement_type"], &taken["stock_after"]), (&json!("OUT"), &json!(8)));
    assert_eq!(app.stock("PHONE").await, (8, 8, 0, 0));
    let id = app.held("alice", "PHONE", 3).await;
    app.checkout("alice", &id).await.expect(201);
    app.held("bob", "PHONE", 1).await;
    moved(&app, &maker, "IN", product, 2).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (10, 6, 1, 3));

    let history = app.get(&format!("/api/stock?product_id={product}"), &maker).await.expect(200);
    let wanted =
        [row("IN", 2, 7), row("SALE", 3, 5), row("OUT", 4, 8), row("IN", 7, 12), row("IN", 5, 5)];
    assert_eq!(rows(&history), wanted);
    assert_eq!(history["items"][3], brought);
    assert_eq!(history["items"][1]["actor"], "customer:alice");
    assert_eq!(history["items"][4]["note"], "opening stock");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_sees_of_a_product_follows_its_stock() {
    let app = TestApp::start().await;
    let product = product_of(&app, "maker", "PHONE", 5).await;
    let path = format!("/api/products/{product}");
    let total = async || app.anonymous(Method::GET, &path).await.expect(200)["total_stock"].clone();
    assert_eq!(total().await, 5);
    for (kind, quantity, wanted) in [("IN", 3, 8), ("OUT", 6, 2)] {
        moved(&app, &app.merchant("maker"), kind, product, quantity).await.expect(201);
        assert_eq!(total().await, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_neither_held_nor_sold_is_taken_out() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let product = product_of(&app, "maker", "PHONE", 10).await;
    let sold = app.held("alice", "PHONE", 2).await;
    app.checkout("alice", &sold).await.expect(201);
    let hold = app.held("bob", "PHONE", 3).await;
    let refused = moved(&app, &maker, "OUT", product, 6).await;
    let refused = refused.expect_problem(409, "insufficient_stock");
    let line = json!([{ "sku": "PHONE", "requested": 6, "available": 5 }]);
    assert_eq!(refused["lines"], line);
    let deadline = &app.reservation(&hold).await.expect(200)["expires_at"];
    assert_eq!(&refused["soonest_expiry"], deadline);
    assert_eq!(app.stock("PHONE").await, (10, 5, 3, 2));
    assert_eq!(moved(&app, &maker, "OUT", product, 5).await.expect(201)["stock_after"], 3);
    assert_eq!(app.stock("PHONE").await, (5, 0, 3, 2));
    moved(&app, &maker, "OUT", product, 1).await.expect_problem(409, "insufficient_stock");
    app.reserve("carol", "PHONE", 1).await.expect_problem(409, "insufficient_stock");
    app.checkout("bob", &hold).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (5, 0, 0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_has_run_out_is_no_reason_to_refuse() {
    let app = TestApp::start_with(&[
        ("HOLDFAST__SWEEPER__TICK", "5s"),
        ("HOLDFAST__SWEEPER__FULL_PASS", "5s"),
    ])
    .await;
    let body = json!({ "sku": "PHONE", "name": "P", "price": "1", "total_stock": 2, "hold_ttl_seconds": 1 });
    let created = app.post("/api/products", &app.merchant("maker"), body).await.expect(201);
    let id = app.held("alice", "PHONE", 2).await;
    app.until("the hold reads expired", || async {
        app.reservation(&id).await.expect(200)["status"] == "expired"
    })
    .await;
    let product = created["id"].as_i64().unwrap();
    moved(&app, &app.merchant("maker"), "OUT", product, 2).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_moves_the_stock_of_another_merchant() {
    let app = TestApp::start().await;
    let (mine, theirs) =
        (product_of(&app, "maker", "MINE", 5).await, product_of(&app, "rival", "THEIRS", 5).await);
    let maker = app.merchant("maker");
    let unknown = 281_474_976_710_655;
    for kind in ["IN", "OUT"] {
        let foreign = moved(&app, &maker, kind, theirs, 1).await;
        let mut foreign = foreign.expect_problem(404, "unknown_product");
        let absent = moved(&app, &maker, kind, unknown, 1).await;
        let absent = absent.expect_problem(404, "unknown_product");
        foreign["request_id"] = absent["request_id"].clone();
        assert_eq!(foreign, absent);
    }
    for product in [theirs, unknown] {
        let listed = app.get(&format!("/api/stock?product_id={product}"), &maker).await;
        listed.expect_problem(404, "unknown_product");
    }
    assert_eq!(app.stock("THEIRS").await, (5, 5, 0, 0));
    moved(&app, &app.merchant("rival"), "IN", theirs, 2).await.expect(201);
    let products = |page: &Value| -> Vec<i64> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["product_id"].as_i64().unwrap()).collect()
    };
    assert_eq!(products(&app.get("/api/stock", &maker).await.expect(200)), [mine]);
    let rival = app.get("/api/stock", &app.merchant("rival")).await.expect(200);
    assert_eq!(products(&rival), [theirs, theirs]);
    // A cursor from somebody else's history opens nothing.
    let cursor = format!("/api/stock?cursor={}", rival["items"][0]["id"]);
    assert_eq!(products(&app.get(&cursor, &maker).await.expect(200)), [mine]);

    assert_eq!(
        products(&app.get("/api/stock", &app.admin()).await.expect(200)),
        [theirs, theirs, mine]
    );
    moved(&app, &app.admin(), "OUT", mine, 1).await.expect(201);
    let path = format!("/api/stock?product_id={mine}");
    assert_eq!(products(&app.get(&path, &app.admin()).await.expect(200)), [mine, mine]);
    for token in [app.customer("alice"), app.service()] {
        app.get("/api/stock", &token).await.expect_problem(403, "forbidden");
        moved(&app, &token, "IN", mine, 1).await.expect_problem(403, "forbidden");
    }
    app.anonymous(Method::GET, "/api/stock").await.expect_problem(401, "unauthenticated");
    app.anonymous(Method::POST, "/api/stock").await.expect_problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_deleted_product_stays_and_nothing_is_added_to_it() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let product = product_of(&app, "maker", "PHONE", 5).await;
    assert_eq!(app.delete(&format!("/api/products/{product}"), &maker).await.status, 204);
    for kind in ["IN", "OUT"] {
        moved(&app, &maker, kind, product, 1).await.expect_problem(404, "unknown_product");
    }
    let path = format!("/api/stock?product_id={product}");
    assert_eq!(rows(&app.get(&path, &maker).await.expect(200)), [row("IN", 5, 5)]);
    assert_eq!(rows(&app.get("/api/stock", &maker).await.expect(200)), [row("IN", 5, 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_comes_in_pages_and_from_a_time_to_another() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let products =
        [product_of(&app, "maker", "A", 0).await, product_of(&app, "maker", "B", 0).await];
    product_of(&app, "rival", "C", 9).await;
    let mut brought = Vec::new();
    for quantity in 1..=5 {
        let product = products[quantity as usize % 2];
        brought.push(moved(&app, &maker, "IN", product, quantity).await.expect(201));
    }
    brought.reverse();
    for (token, more) in [(&maker, 0), (&app.admin(), 1)] {
        let (mut path, mut found) = ("/api/stock?limit=2".to_owned(), Vec::new());
        loop {
            let page = app.get(&path, token).await.expect(200);
            found.extend(page["items"].as_array().unwrap().clone());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            assert_eq!(page["items"].as_array().unwrap().len(), 2);
            path = format!("/api/stock?limit=2&cursor={cursor}");
        }
        assert_eq!(found[..5], brought);
        assert_eq!(found.len(), 5 + more);
    }
    let path = format!("/api/stock?product_id={}", products[0]);
    let of_one = app.get(&path, &maker).await.expect(200);
    assert_eq!(rows(&of_one), [row("IN", 4, 6), row("IN", 2, 2)]);

    // The times that were answered are those that can be asked for: from is in, to is out.
    let at = |index: usize| brought[index]["created_at"].as_str().unwrap();
    for token in [&maker, &app.admin()] {
        for of in ["", &format!("&product_id={}", products[1])] {
            let path = format!("/api/stock?from={}&to={}{of}", at(4), at(0));
            let page = app.get(&path, token).await.expect(200);
            let times = page["items"].as_array().unwrap().iter();
            let times: Vec<_> = times.map(|item| item["created_at"].as_str().unwrap()).collect();
            assert!(times.iter().all(|time| (at(4)..at(0)).contains(time)), "{times:?}");
            assert!(at(4) == at(0) || times.contains(&at(4)), "{times:?}");
        }
    }
    let early = app.get("/api/stock?to=2020-01-01T00:00:00Z", &maker).await.expect(200);
    assert_eq!(early, json!({ "items": [], "next_cursor": null }));
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=x",
        "cursor=-1",
        "cursor=0",
        "page=1",
        "from=yesterday",
        "to=1",
        "product_id=x",
        "product_id=0",
    ] {
        let reply = app.get(&format!("/api/stock?{query}"), &maker).await;
        let refused = reply.expect_problem(422, "invalid_field");
        if let Some(field) = query.strip_suffix("=x").filter(|field| *field != "cursor") {
            assert_eq!(refused["errors"][0]["field"], field);
            assert_eq!(refused["errors"][0]["message"], "expected a whole number", "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_movement_has_its_bounds() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let product = product_of(&app, "maker", "PHONE", 0).await;
    for (field, good, bad) in [
        (
            "quantity",
            json!(1_000_000),
            vec![json!(0), json!(-1), json!(1_000_001), json!(1.5), json!("1"), Value::Null],
        ),
        ("movement_type", json!("IN"), vec![json!("SALE"), json!("in"), json!(1), Value::Null]),
        ("product_id", json!(product), vec![json!(0), json!("x"), json!(1_i64 << 48), Value::Null]),
        (
            "note",
            json!("\u{1f600}".repeat(500)),
            vec![json!(""), json!("x".repeat(501)), json!("a\u{0}"), json!("\u{1b}"), json!(1)],
        ),
        ("supplier_id", Value::Null, vec![json!(1), json!(-1), json!("x"), json!(i64::MAX)]),
        ("stock_after", Value::Null, vec![json!(1)]),
    ] {
        let body = |value: &Value| {
            let mut body = json!({ "product_id": product, "movement_type": "IN", "quantity": 1 });
            body[field] = value.clone();
            body
        };
        if field != "stock_after" {
            app.post("/api/stock", &maker, body(&good)).await.expect(201);
        }
        for value in bad {
            let refused = app.post("/api/stock", &maker, body(&value)).await;
            let refused = refused.expect_problem(422, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], field, "{value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_has_at_most_a_thousand_million_units() {
    let app = TestApp::start().await;
    let maker = app.merchant("maker");
    let product = product_of(&app, "maker", "PHONE", 999_999_999).await;
    let refused = moved(&app, &maker, "IN", product, 2).await.expect_problem(422, "invalid_field");
    assert_eq!(refused["errors"][0]["field"], "quantity");
    assert_eq!(
        moved(&app, &maker, "IN", product, 1).await.expect(201)["stock_after"],
        1_000_000_000
    );
    moved(&app, &maker, "IN", product, 1).await.expect_problem(422, "invalid_field");
    assert_eq!(app.stock("PHONE").await, (1_000_000_000, 1_000_000_000, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_come_from_a_supplier_of_the_products_owner_only() {
    let app = TestApp::start().await;
    let product = product_of(&app, "maker", "PHONE", 3).await;
    let supplier = async |owner: &str| {
        let body = json!({ "name": owner });
        let created = app.post("/api/suppliers", &app.merchant(owner), body).await.expect(201);
        created["id"].clone()
    };
    let (own, foreign) = (supplier("maker").await, supplier("rival").await);
    let body = |kind: &str, supplier: &Value| json!({ "product_id": product, "movement_type": kind, "quantity": 1, "supplier_id": supplier });
    for token in [app.merchant("maker"), app.admin()] {
        for kind in ["IN", "OUT"] {
            let refused = app.post("/api/stock", &token, body(kind, &foreign)).await;
            let refused = refused.expect_problem(422, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], "supplier_id");
            let made = app.post("/api/stock", &token, body(kind, &own)).await.expect(201);
            assert_eq!(made["supplier_id"], own);
        }
    }
    let path = format!("/api/suppliers/{own}");
    assert_eq!(app.delete(&path, &app.merchant("maker")).await.status, 204);
    let history = app.get("/api/stock", &app.merchant("maker")).await.expect(200);
    assert_eq!(history["items"][0]["supplier_id"], own, "what happened stays as it was");
}

/// A movement under this Idempotency-Key.
pub async fn moved_once(api: &Api, key: &str, kind: &str, product: i64, quantity: i64) -> Reply {
    let body = json!({ "product_id": product, "movement_type": kind, "quantity": quantity });
    let request = api.request(Method::POST, "/api/stock").bearer_auth(api.merchant("maker"));
    api.send(request.header("Idempotency-Key", key).json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_movement_under_a_key_happens_once_even_if_redis_forgets_the_key() {
    let app = TestApp::start().await;
    let product = product_of(&app, "maker", "PHONE", 5).await;
    let other = product_of(&app, "maker", "CASE", 5).await;
    for (kind, stock) in [("IN", (8, 8, 0, 0)), ("OUT", (5, 5, 0, 0))] {
        let first = moved_once(&app, kind, kind, product, 3).await.expect(201);
        let mut redis = app.stores.redis().await;
        let pattern = format!("{}idem:*", app.stores.prefix);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
        let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis).await.unwrap();
        assert_eq!(moved_once(&app, kind, kind, product, 3).await.expect(201), first);
        assert_eq!(app.stock("PHONE").await, stock);
        // Redis cannot tell any more that this is another request; Postgres knows that the key is spent.
        let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis).await.unwrap();
        assert_eq!(moved_once(&app, kind, kind, other, 1).await.expect(201), first);
        assert_eq!(app.stock("CASE").await, (5, 5, 0, 0));
        moved_once(&app, kind, kind, product, 4)
            .await
            .expect_problem(422, "idempotency_key_reused");
    }
    // Another merchant's key of the same name is another key.
    let body = json!({ "product_id": product, "movement_type": "IN", "quantity": 1 });
    let request = app.request(Method::POST, "/api/stock").bearer_auth(app.admin());
    app.send(request.header("Idempotency-Key", "IN").json(&body)).await.expect(201);
    assert_eq!(app.stock("PHONE").await, (6, 6, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_movements_at_once_sum_up() {
    // Not all of them find a connection at once.
    let crowded = ("HOLDFAST__DATABASE__POOL_WAIT", "300ms");
    let settings = [UNLIMITED.as_slice(), &[crowded]].concat();
    let app = TestApp::start_with(&settings).await;
    let replica = app.replica(&settings).await;
    let product = product_of(&app, "maker", "PHONE", 50).await;
    let maker = app.merchant("maker");
    let movements = (1..=100).map(|number: i64| {
        let api: &Api = if number % 3 == 0 { &replica } else { &app };
        let (kind, maker) = (if number % 2 == 0 { "IN" } else { "OUT" }, maker.clone());
        async move {
            loop {
                let reply = moved(api, &maker, kind, product, number % 7 + 1).await;
                match reply.status.as_u16() {
                    201 => break (reply.expect(201), number),
                    409 => drop(reply.expect_problem(409, "insufficient_stock")),
                    _ => assert_eq!(reply.expect_problem(503, "overloaded")["outcome"], "none"),
                }
            }
        }
    });
    let done = join_all(movements).await;
    let change = |number: i64| if number % 2 == 0 { number % 7 + 1 } else { -(number % 7 + 1) };
    let wanted: i64 = 50 + (1..=100).map(change).sum::<i64>();
    assert_eq!(app.stock("PHONE").await, (wanted, wanted, 0, 0));
    let history = app.get("/api/stock?limit=200", &maker).await.expect(200);
    let mut balance = wanted;
    for item in history["items"].as_array().unwrap() {
        assert_eq!(item["stock_after"], balance);
        let quantity = item["quantity"].as_i64().unwrap();
        balance += if item["movement_type"] == "IN" { -quantity } else { quantity };
    }
    assert_eq!((balance, done.len()), (0, 100));
}
