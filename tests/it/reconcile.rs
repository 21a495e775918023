//! Reconciling: what agrees is told as that, what does not is named, what can be put right is, by the route and by the
//! command.

use std::process::{Command, Output};

use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::app::{Stores, TestApp};
use crate::process::blocking;
use crate::till::Till;

/// The full pass must not be there first.
const ALONE: (&str, &str) = ("HOLDFAST__SWEEPER__FULL_PASS", "1h");

async fn reconcile(app: &TestApp, dry_run: bool) -> Value {
    let body = json!({ "dry_run": dry_run });
    app.post("/api/admin/reconcile", &app.admin(), body).await.expect(200)
}

fn kinds(report: &Value) -> Vec<(&str, &str, bool)> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let healed = finding["healed"].as_bool().unwrap();
            (finding["kind"].as_str().unwrap(), finding["subject"].as_str().unwrap(), healed)
        })
        .collect()
}

async fn command(stores: &Stores, arguments: &[&str]) -> Output {
    let environment = stores.environment(&[ALONE]);
    blocking(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("reconcile").args(arguments).env_clear().envs(environment);
        command.output().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agrees_is_told_as_that() {
    let app = TestApp::start_with(&[ALONE]).await;
    app.product("A", 9, json!({})).await;
    app.product("B", 9, json!({})).await;
    app.held("alice", "A", 2).await;
    let hold = app.held("bob", "A", 1).await;
    app.checkout("bob", &hold).await.expect(201);
    let report = reconcile(&app, false).await;
    assert_eq!((&report["findings"], &report["dry_run"]), (&json!([]), &json!(false)));
    let checked = &report["checked"];
    assert_eq!((&checked["products"], &checked["holds"]), (&json!(2), &json!(1)));
    assert_eq!((&checked["orders"], &checked["movements"]), (&json!(1), &json!(3)));
    let said = command(&app.stores, &[]).await;
    assert!(said.status.success(), "{said:?}");
    assert!(String::from_utf8(said.stdout).unwrap().contains("everything agrees"));
    let noted = app.get("/api/admin/audit?action=reconcile", &app.admin()).await.expect(200);
    assert_eq!(noted["items"][0]["detail"], json!({ "findings": 0, "left": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_put_right_unless_it_is_a_dry_run() {
    let app = TestApp::start_with(&[ALONE]).await;
    app.product("A", 9, json!({})).await;
    let hold = app.held("alice", "A", 2).await;
    let mut redis = app.stores.redis().await;
    let key = |kind: &str| format!("{}{kind}:{{A}}", app.stores.prefix);
    let _: i64 = redis.hincr(key("s"), "avail", 5).await.unwrap();
    let wrong = [("redis_counters", "A", false)];
    assert_eq!(kinds(&reconcile(&app, true).await), wrong);
    assert_eq!(kinds(&reconcile(&app, true).await), wrong, "a dry run changes nothing");
    assert_eq!(kinds(&reconcile(&app, false).await), [("redis_counters", "A", true)]);
    assert_eq!(kinds(&reconcile(&app, false).await), []);
    assert_eq!(app.stock("A").await, (9, 7, 2, 0));

    // The command does the same beside the service.
    let _: i64 = redis.hdel(key("h"), &hold).await.unwrap();
    let said = command(&app.stores, &["--dry-run", "--json"]).await;
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(kinds(&report).contains(&("redis_held", "A", false)), "{report:#}");
    let said = command(&app.stores, &[]).await;
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let table = String::from_utf8(said.stdout).unwrap();
    assert!(table.contains("redis_held") && table.contains("healed"), "{table}");
    assert_eq!(app.stock("A").await, (9, 9, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_must_decide_is_named_with_what_to_do() {
    let app = TestApp::start_with(&[ALONE]).await.unchecked();
    let product = app.product("A", 9, json!({})).await;
    let hold = app.held("alice", "A", 2).await;
    let order = app.checkout("alice", &hold).await.expect(201)["id"].as_str().unwrap().to_owned();
    let postgres = app.stores.postgres().await;
    let sql =
        "update stock_movements set quantity = 8 where product_id = $1 and movement_type = 'IN'";
    assert_eq!(postgres.execute(sql, &[&product]).await.unwrap(), 1);
    postgres.execute("delete from reservation_decisions", &[]).await.unwrap();
    let report = reconcile(&app, false).await;
    let found = kinds(&report);
    for wanted in ["movements_stock", "movement_balances"] {
        assert!(found.contains(&(wanted, "A", false)), "{report:#}");
    }
    assert!(found.contains(&("order_without_decision", &order, false)), "{report:#}");
    for finding in report["findings"].as_array().unwrap() {
        assert!(
            ["expected", "found", "advice"].iter().all(|name| finding[*name] != ""),
            "{finding}"
        );
    }
    let said = command(&app.stores, &[]).await;
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8(said.stderr).unwrap().contains("are left"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_looks_at_is_looked_at_again() {
    let till = Till::start_with(&[ALONE]).await;
    let app = &till.app;
    app.product("A", 9, json!({})).await;
    let hold = app.held("alice", "A", 1).await;
    let body = json!({
        "reservation_id": hold, "success_url": crate::till::OK_URL, "cancel_url": crate::till::BACK_URL,
    });
    let path = "/api/payment/stripe/session";
    let payment = app.post(path, &app.customer("alice"), body).await.expect(201);
    let id = payment["id"].as_str().unwrap();
    let postgres = app.stores.postgres().await;
    let sql =
        "update payments set next_check_at = null, pay_deadline = now() - interval '5 minutes'";
    postgres.execute(sql, &[]).await.unwrap();
    let report = reconcile(app, true).await;
    assert_eq!(kinds(&report), [("payment_forgotten", id, false)]);
    let report = reconcile(app, false).await;
    assert_eq!(kinds(&report), [("payment_forgotten", id, true)]);
    app.until("it has ended", || async {
        let payment = app.get(&format!("/api/payments/{id}"), &app.admin()).await.expect(200);
        payment["status"] == "expired"
    })
    .await;
    assert_eq!(app.stock("A").await, (9, 9, 0, 0));
}
