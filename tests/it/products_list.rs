//! Lists of products: filters, search, ordering, pages, and who sees what.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::TestApp;

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
