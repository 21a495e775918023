//! Products that a crowd wants: their buyers leave no hints in Redis, and are listed all the same.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{Stores, TestApp};
use crate::proxy::Proxy;
use crate::reserve::id_of;

/// Most products that leave no hints.
const MOST: i64 = 32;
/// So many at once are a crowd, however the workers share them.
const WAVE: usize = 64;

/// A service to which Redis is so far away that whoever comes at once goes out in few batches.
async fn far_from_redis(stores: &Stores) -> (TestApp, Proxy) {
    let (proxy, through) = Proxy::before_redis(stores).await;
    let app = TestApp::on(through, &[]).await.unchecked();
    proxy.delay(Duration::from_millis(50));
    (app, proxy)
}

/// Holds of this product for many buyers at once.
async fn wave(app: &TestApp, name: &str, sku: &str) {
    let holds = (0..WAVE).map(|number| async move {
        app.held(&format!("{name}-{number}"), sku, 1).await;
    });
    join_all(holds).await;
}

/// The places where Redis was told that this buyer holds something.
async fn hints_of(stores: &Stores, user: &str) -> Vec<String> {
    let mut redis = stores.redis().await;
    let mut keys: Vec<String> = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{}u:*", stores.prefix)).arg("COUNT").arg(1_000);
        let (next, found): (u64, Vec<String>) = scan.query_async(&mut redis).await.unwrap();
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let mut hints = Vec::new();
    for key in keys {
        let fields: Vec<String> =
            redis::cmd("HKEYS").arg(key).query_async(&mut redis).await.unwrap();
        hints.extend(fields.into_iter().filter(|field| field.starts_with(&format!("{user}/"))));
    }
    hints
}

async fn crowded(stores: &Stores, product: i64) -> bool {
    let mut redis = stores.redis().await;
    let mut score = redis::cmd("ZSCORE");
    score.arg(format!("{}crowds", stores.prefix)).arg(product);
    score.query_async::<Option<f64>>(&mut redis).await.unwrap().is_some()
}

async fn listed(app: &TestApp, user: &str, query: &str) -> Vec<(String, Value)> {
    let path = format!("/api/users/{user}/reservations{query}");
    let page = app.get(&path, &app.service()).await.expect(200);
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| (id_of(item), item["status"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_in_a_crowd_leaves_no_hint_and_is_listed_all_the_same() {
    let stores = Stores::fresh().await;
    let (app, proxy) = far_from_redis(&stores).await;
    let product = app.product("A", 1_000_000, json!({})).await;
    app.product("B", 10, json!({})).await;
    let before = app.held("early", "A", 1).await;
    assert_eq!(hints_of(&stores, "early").await, [format!("early/{product}")]);
    // Opens the SKU: where something is rebuilt, nothing is trusted that Redis said before.
    app.held("opener", "B", 1).await;
    wave(&app, "first", "A").await;
    assert!(crowded(&stores, product).await);
    proxy.delay(Duration::ZERO);

    let late = app.held("late", "A", 2).await;
    let other = app.held("late", "B", 1).await;
    let hints = hints_of(&stores, "late").await;
    assert_eq!(hints.len(), 1, "of the product that nobody crowds alone: {hints:?}");
    let replica = app.replica(&[]).await;
    for app in [&app, &replica] {
        assert_eq!(
            listed(app, "late", "").await,
            [(other.clone(), json!("held")), (late.clone(), json!("held"))]
        );
        assert_eq!(listed(app, "early", "").await, [(before.clone(), json!("held"))]);
        assert_eq!(listed(app, "nobody", "").await, []);
    }
    // Redis may lose the note, or somebody type something else into it.
    let mut redis = stores.redis().await;
    let key = format!("{}crowds", stores.prefix);
    redis::cmd("DEL").arg(&key).exec_async(&mut redis).await.unwrap();
    let later = app.held("later", "A", 1).await;
    assert!(crowded(&stores, product).await, "the next hold notes it again");
    assert_eq!(listed(&replica, "later", "").await, [(later, json!("held"))]);
    redis::cmd("SET").arg(&key).arg("nonsense").exec_async(&mut redis).await.unwrap();
    let odd = app.held("odd", "A", 1).await;
    assert_eq!(hints_of(&stores, "odd").await, [format!("odd/{product}")]);
    assert_eq!(listed(&replica, "odd", "").await, [(odd, json!("held"))]);
    app.held("last", "A", 1).await;
    assert!(crowded(&stores, product).await, "a listing threw the nonsense away");

    app.delete(&format!("/api/reservations/{late}"), &app.service()).await.expect(200);
    let history = listed(&replica, "late", "?status=all").await;
    assert!(history.contains(&(late, json!("cancelled"))), "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_products_are_asked_by_every_listing() {
    let stores = Stores::fresh().await;
    let mut redis = stores.redis().await;
    let key = format!("{}crowds", stores.prefix);
    // Products that are gone by now, as far as the catalogue knows.
    for gone in 1..=MOST {
        let mut add = redis::cmd("ZADD");
        add.arg(&key).arg(1e15).arg(1_000_000 + gone);
        add.query_async::<()>(&mut redis).await.unwrap();
    }
    let (app, proxy) = far_from_redis(&stores).await;
    let product = app.product("A", 1_000_000, json!({})).await;
    for name in ["first", "second", "third"] {
        wave(&app, name, "A").await;
    }
    assert!(!crowded(&stores, product).await, "there was no room");
    assert_eq!(hints_of(&stores, "third-7").await, [format!("third-7/{product}")]);
    assert_eq!(listed(&app, "third-7", "").await.len(), 1);
    drop((app, proxy));

    // One place is over: the same crowd takes it, as soon as somebody asks.
    let mut add = redis::cmd("ZADD");
    add.arg(&key).arg(1).arg(1_000_001);
    add.query_async::<()>(&mut redis).await.unwrap();
    let (app, _proxy) = far_from_redis(&stores).await;
    for name in ["fourth", "fifth", "sixth"] {
        wave(&app, name, "A").await;
    }
    assert!(crowded(&stores, product).await);
    assert!(!crowded(&stores, 1_000_001).await, "what is over was taken out");
    assert_eq!(listed(&app, "sixth-7", "").await.len(), 1);
}
