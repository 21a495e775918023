//! What people did to the service: who may read it, how it is filtered and paged.

use holdfast::audit::Audit;
use holdfast::config::DatabaseSettings;
use holdfast::kernel::Clock;
use holdfast::platform::Db;
use serde_json::{Value, json};

use crate::app::TestApp;

fn audit(app: &TestApp) -> Audit {
    let settings: DatabaseSettings = app.stores.settings(&[]).database;
    Audit::new(Db::new(&settings, &Clock::System).unwrap())
}

fn subjects(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["subject"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_listed_newest_first_and_filtered_and_paged() {
    let app = TestApp::start().await;
    let (audit, admin) = (audit(&app), app.admin());
    for (actor, action, subject) in [
        ("admin:root", "sale.open", "7"),
        ("admin:ann", "sale.pause", "7"),
        ("admin:root", "sale.open", "8"),
    ] {
        let detail = json!({ "reason": "a test", "before": null });
        audit.note(actor, action, subject, &detail).await.unwrap();
    }
    let all = app.get("/api/admin/audit", &admin).await.expect(200);
    assert_eq!(subjects(&all), ["8", "7", "7"]);
    let newest = &all["items"][0];
    assert_eq!(newest["actor"], "admin:root");
    assert_eq!(newest["action"], "sale.open");
    assert_eq!(newest["detail"], json!({ "reason": "a test", "before": null }));
    assert!(newest["at"].as_str().unwrap().ends_with('Z'), "{newest}");

    let path = "/api/admin/audit?action=sale.open&actor=admin:root";
    assert_eq!(subjects(&app.get(path, &admin).await.expect(200)), ["8", "7"]);
    let path = "/api/admin/audit?subject=7";
    assert_eq!(subjects(&app.get(path, &admin).await.expect(200)), ["7", "7"]);

    let first = app.get("/api/admin/audit?limit=2", &admin).await.expect(200);
    assert_eq!(subjects(&first), ["8", "7"]);
    let next = first["next_cursor"].as_str().unwrap();
    let path = format!("/api/admin/audit?limit=2&cursor={next}");
    let second = app.get(&path, &admin).await.expect(200);
    assert_eq!(subjects(&second), ["7"]);
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_about_the_audit_is_refused() {
    let app = TestApp::start().await;
    for wrong in ["limit=0", "limit=201", "cursor=0", "action=", "since=yesterday"] {
        let path = format!("/api/admin/audit?{wrong}");
        app.get(&path, &app.admin()).await.expect_problem(422, "invalid_field");
    }
}
