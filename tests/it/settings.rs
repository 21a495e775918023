//! Settings that change while the service runs, on two replicas: by admins, by files, for new holds and running ones.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast::config::LoadOptions;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::app::{Api, Reply, Stores, TestApp, until};
use crate::process::ServiceProcess;

const PATH: &str = "/api/admin/settings";

async fn patch(api: &Api, body: Value) -> Reply {
    api.send(api.request(Method::PATCH, PATH).bearer_auth(api.admin()).json(&body)).await
}

async fn settings(api: &Api) -> Value {
    api.get(PATH, &api.admin()).await.expect(200)
}

fn detail<'a>(settings: &'a Value, name: &str) -> &'a Value {
    settings["details"].as_array().unwrap().iter().find(|detail| detail["name"] == name).unwrap()
}

async fn expires_in(api: &Api, user: &str, sku: &str) -> i64 {
    api.reserve(user, sku, 1).await.expect_success()["expires_in"].as_i64().unwrap()
}

/// Seconds that a hold has left.
async fn left(api: &Api, id: &str) -> i64 {
    api.reservation(id).await.expect(200)["expires_in"].as_i64().unwrap()
}

/// A folder of settings of its own, which is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(stores: &Stores) -> Self {
        let name = format!("settings-{}", stores.prefix.trim_end_matches(':'));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// The profile of the tests with another hold time and another number of attempts.
    fn text(ttl_seconds: u32, attempts: u32) -> String {
        let test = concat!(env!("CARGO_MANIFEST_DIR"), "/config/test.toml");
        let text = fs::read_to_string(test).unwrap();
        let changed = text
            .replace("[reservation]", &format!("[reservation]\nttl_seconds = {ttl_seconds}"))
            .replace("attempts = 4", &format!("attempts = {attempts}"));
        assert!(changed.len() > text.len(), "the profile has these sections");
        changed
    }

    /// Puts another file in the place of the one that is there, as editors do.
    fn write(&self, ttl_seconds: u32, attempts: u32) {
        fs::write(self.0.join("next"), Self::text(ttl_seconds, attempts)).unwrap();
        fs::rename(self.0.join("next"), self.0.join("test.toml")).unwrap();
    }

    fn options(&self, stores: &Stores, more: &[(&str, &str)]) -> LoadOptions {
        let dir = self.0.to_str().unwrap();
        let more: Vec<(&str, &str)> =
            more.iter().copied().chain([("HOLDFAST_CONFIG_DIR", dir)]).collect();
        let mut environment = stores.environment(&[]);
        environment.retain(|(name, _)| name != "HOLDFAST_CONFIG_DIR");
        environment.extend(more.iter().map(|(name, text)| (name.to_string(), text.to_string())));
        LoadOptions::from_env(environment)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_in_every_replica_and_noted() {
    let app = TestApp::start_with(&[("REDIS_TTL", "500")]).await;
    let other = app.replica(&[("REDIS_TTL", "500")]).await;
    app.product("A", 9, json!({})).await;
    let before = settings(&app).await;
    assert_eq!(before["settings"]["reservation"]["ttl_seconds"], 500);
    let ttl = detail(&before, "reservation.ttl_seconds");
    assert_eq!((&ttl["source"], &ttl["kind"]), (&json!("environment"), &json!("integer")));
    assert_eq!((&ttl["minimum"], &ttl["maximum"]), (&json!(1), &json!(86_400)));
    assert_eq!(before["precedence"], json!(["default", "file", "environment", "live"]));
    assert_eq!(expires_in(&other, "alice", "A").await, 500);

    let body = json!({ "reservation": { "ttl_seconds": 60 }, "reason": "a rush" });
    let after = patch(&app, body).await.expect(200);
    assert_eq!(after["version"].as_i64(), before["version"].as_i64().map(|version| version + 1));
    let ttl = detail(&after, "reservation.ttl_seconds");
    assert_eq!(
        (&ttl["value"], &ttl["before"], &ttl["source"]),
        (&json!(60), &json!(500), &json!("live"))
    );
    assert_eq!(ttl["changed_by"], "admin:root");
    assert_eq!(expires_in(&app, "bob", "A").await, 60, "in force here at once");
    until("the other replica has it", || async {
        settings(&other).await["settings"]["reservation"]["ttl_seconds"] == 60
    })
    .await;
    assert_eq!(expires_in(&other, "carol", "A").await, 60);
    let alices = app.get("/api/users/alice/reservations", &app.customer("alice")).await.expect(200);
    assert!(
        alices["items"][0]["expires_in"].as_i64().unwrap() > 60,
        "a running hold keeps its time"
    );

    let noted = app.get("/api/admin/audit?action=settings.change", &app.admin()).await.expect(200);
    let noted = &noted["items"][0];
    assert_eq!(
        (&noted["actor"], &noted["subject"]),
        (&json!("admin:root"), &json!("reservation.ttl_seconds"))
    );
    let detail_of = &noted["detail"];
    assert_eq!((&detail_of["before"], &detail_of["after"]), (&json!(500), &json!(60)));
    assert_eq!(detail_of["reason"], "a rush");

    let gone = patch(&other, json!({ "reservation.ttl_seconds": null })).await.expect(200);
    assert_eq!(detail(&gone, "reservation.ttl_seconds")["source"], "environment");
    assert_eq!(expires_in(&other, "dave", "A").await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_later_has_the_live_settings() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    patch(&app, json!({ "reservation": { "ttl_seconds": 77 } })).await.expect(200);
    let late = app.replica(&[]).await;
    assert_eq!(expires_in(&late, "alice", "A").await, 77);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_holds_take_the_hold_time_where_that_is_wanted() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    for sku in ["A", "B"] {
        app.product(sku, 9, json!({})).await;
    }
    app.product("OWN", 9, json!({ "hold_ttl_seconds": 400 })).await;
    let (mine, own) = (app.held("alice", "A", 1).await, app.held("alice", "OWN", 1).await);
    let items = json!({ "items": [{ "sku": "A" }, { "sku": "B" }] });
    let several = app.post("/api/reserve", &app.customer("bob"), items).await.expect(201);
    let several = several["reservation_id"].as_str().unwrap().to_owned();
    let (was_own, was_several) = (left(&app, &own).await, left(&app, &several).await);
    patch(&other, json!({ "reservation.ttl_seconds": 100, "running_holds": true }))
        .await
        .expect(200);
    until("the running hold has it", || async {
        app.reservation(&mine).await.expect(200)["expires_in"].as_i64().unwrap() <= 100
    })
    .await;
    until("all have", || async { settings(&app).await["moving_holds"] == false }).await;
    let now_left = left(&app, &mine).await;
    assert!((40..=100).contains(&now_left), "{now_left}");
    assert!((was_own - 60..=was_own).contains(&left(&app, &own).await));
    assert!((was_several - 60..=was_several).contains(&left(&app, &several).await));
    let mut redis = app.stores.redis().await;
    let timer = format!("{}t:{{A}}:{mine}", app.stores.prefix);
    let left_ms: i64 = redis::cmd("PTTL").arg(timer).query_async(&mut redis).await.unwrap();
    assert!((40_000..=100_000).contains(&left_ms), "its timer too: {left_ms}");
    until("it is noted", || async {
        let path = "/api/admin/audit?action=settings.holds_moved";
        let noted = app.get(path, &app.admin()).await.expect(200);
        noted["items"][0]["detail"]["moved"] == 1
    })
    .await;
    // One that is older than the time ends at once, and its unit is there again.
    patch(&app, json!({ "reservation.ttl_seconds": 1, "running_holds": true })).await.expect(200);
    until("it has ended", || async {
        app.reservation(&mine).await.expect(200)["status"] == "expired"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_field_and_nothing_changes() {
    let app = TestApp::start().await;
    let before = settings(&app).await;
    for (body, field) in [
        (json!({ "reservation": { "ttl_seconds": 0 } }), "reservation.ttl_seconds"),
        (json!({ "reservation.ttl_seconds": "soon" }), "reservation.ttl_seconds"),
        (json!({ "payments": { "window": "2h" } }), "payments.window"),
        (json!({ "log.filter": "loud=very" }), "log.filter"),
        (json!({ "reservation": { "ttl": 5 } }), "reservation.ttl"),
        (
            json!({ "reservation.ttl_seconds": 5, "reservation.max_extensions": -1 }),
            "reservation.max_extensions",
        ),
        (json!({ "version": "new" }), "version"),
        (json!({ "running_holds": 1 }), "running_holds"),
        (json!({ "reason": "x".repeat(201) }), "reason"),
    ] {
        let refused = patch(&app, body).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field, "{refused:#}");
    }
    let refused =
        patch(&app, json!({ "server": { "port": 1 } })).await.expect_problem(422, "not_live");
    assert_eq!(refused["errors"][0]["field"], "server.port");
    patch(&app, json!({ "redis.url": "redis://elsewhere" })).await.expect_problem(422, "not_live");
    let after = settings(&app).await;
    assert_eq!((&after["version"], &after["settings"]), (&before["version"], &before["settings"]));
    let token = app.service();
    let request = app.request(Method::PATCH, PATH).bearer_auth(&token).json(&json!({}));
    app.send(request).await.expect_problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_one_version_one_wins() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    let version = settings(&app).await["version"].as_i64().unwrap();
    let change = |ttl: u32| json!({ "version": version, "reservation": { "ttl_seconds": ttl } });
    let (first, second) = tokio::join!(patch(&app, change(100)), patch(&other, change(200)));
    let (won, lost) = if first.status == 200 { (first, second) } else { (second, first) };
    let won = won.expect(200);
    let lost = lost.expect_problem(409, "version_conflict");
    assert_eq!(lost["version"], won["version"]);
    let (app, won) = (&app, &won);
    until("the replica that lost has it too", || async {
        settings(app).await["settings"] == won["settings"]
            && settings(&other).await["settings"] == won["settings"]
    })
    .await;
    // Without a version each is laid over what is there.
    let (first, second) = tokio::join!(
        patch(app, json!({ "reservation.max_extensions": 5 })),
        patch(&other, json!({ "reservation.churn_burst": 7 }))
    );
    first.expect(200);
    second.expect(200);
    until("both are there", || async {
        let now = &settings(app).await["settings"]["reservation"];
        (&now["max_extensions"], &now["churn_burst"]) == (&json!(5), &json!(7))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_extensions_and_who_pays_change_while_it_runs() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    let hold = app.held("alice", "A", 1).await;
    patch(&app, json!({ "reservation": { "max_extensions": 0 } })).await.expect(200);
    let extend = format!("/api/reservations/{hold}/extend");
    let refused = app.post(&extend, &app.customer("alice"), json!({ "seconds": 5 })).await;
    refused.expect_problem(409, "extension_limit");
    let must = json!({ "checkout": { "customers_must_pay_here": true } });
    patch(&app, must).await.expect(200);
    app.checkout("alice", &hold).await.expect_problem(403, "payment_required");
    patch(&app, json!({ "checkout.customers_must_pay_here": false })).await.expect(200);
    app.checkout("alice", &hold).await.expect(201);
    patch(&app, json!({ "rate_limit": { "max_requests": 2 } })).await.expect(200);
    for _ in 0..2 {
        app.get("/api/auth/me", &app.customer("mallory")).await.expect(200);
    }
    app.get("/api/auth/me", &app.customer("mallory")).await.expect_problem(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_origin_may_call_while_it_is_set_and_no_longer() {
    let stores = Stores::fresh().await;
    let credentials = [("HOLDFAST__CORS__CREDENTIALS", "true")];
    let first = TestApp::on(stores.clone(), &credentials).await;
    let second = TestApp::on(stores, &credentials).await.unchecked();
    let shop = "https://shop.example.org";
    let ask = async |api: &Api, origin: &str| {
        let request = api.request(Method::OPTIONS, "/api/reserve").header("Origin", origin);
        api.send(request.header("Access-Control-Request-Method", "POST")).await
    };
    let may = async |origin: &str, wanted: u16| {
        until("both replicas say so", || async {
            ask(&first, origin).await.status == wanted
                && ask(&second, origin).await.status == wanted
        })
        .await;
    };
    ask(&first, shop).await.expect_problem(403, "origin_not_allowed");
    patch(&first, json!({ "cors": { "origins": [shop] } })).await.expect(200);
    may(shop, 200).await;
    may("https://evil.example", 403).await;
    let called = second.request(Method::GET, "/api/cart").bearer_auth(second.customer("alice"));
    let reply = second.send(called.header("Origin", shop)).await;
    assert_eq!(reply.headers["access-control-allow-origin"], shop);
    assert_eq!(reply.headers["access-control-allow-credentials"], "true");
    // Cookies go to named origins only, and an origin has no path.
    for wrong in [json!(["*"]), json!([format!("{shop}/cart")])] {
        let refused = patch(&first, json!({ "cors.origins": wrong })).await;
        let body = refused.expect_problem(422, "invalid_field");
        assert_eq!(body["errors"][0]["field"], "cors.origins", "{body}");
    }
    ask(&first, shop).await.expect_success();
    patch(&first, json!({ "cors.origins": null })).await.expect(200);
    may(shop, 403).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_and_wrong_ones_refused_by_line() {
    let stores = Stores::fresh().await;
    let folder = Folder::new(&stores);
    folder.write(300, 4);
    let app = TestApp::of(folder.options(&stores, &[]), stores.clone()).await;
    app.product("A", 9, json!({})).await;
    let ttl = |settings: &Value| settings["settings"]["reservation"]["ttl_seconds"].clone();
    let first = settings(&app).await;
    assert_eq!(
        (ttl(&first), &detail(&first, "reservation.ttl_seconds")["source"]),
        (json!(300), &json!("file"))
    );

    folder.write(200, 4);
    until("the file is in force", || async { ttl(&settings(&app).await) == 200 }).await;
    assert_eq!(expires_in(&app, "alice", "A").await, 200);

    folder.write(0, 4);
    until("it is refused", || async { settings(&app).await["refused"].is_object() }).await;
    let refused = settings(&app).await;
    let reason = refused["refused"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("test.toml line ") && reason.contains("reservation.ttl_seconds"),
        "{reason}"
    );
    assert_eq!(ttl(&refused), 200, "what was in force stands");
    // Admins are not kept from changing others by a file that is wrong.
    patch(&app, json!({ "reservation.max_extensions": 9 })).await.expect(200);
    assert_eq!(expires_in(&app, "bob", "A").await, 200);

    folder.write(250, 3);
    until("it is sound again", || async { ttl(&settings(&app).await) == 250 }).await;
    let sound = settings(&app).await;
    assert_eq!((&sound["refused"], &sound["restart"]), (&Value::Null, &json!(["outbox.attempts"])));
    assert_eq!(sound["settings"]["reservation"]["max_extensions"], 9);

    // What an admin set wins against the file, until it is taken away.
    patch(&app, json!({ "reservation.ttl_seconds": 99 })).await.expect(200);
    folder.write(260, 4);
    until("the file was read", || async {
        detail(&settings(&app).await, "reservation.ttl_seconds")["before"] == 260
    })
    .await;
    assert_eq!(ttl(&settings(&app).await), 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_links_are_swapped_is_followed() {
    use std::os::unix::fs::symlink;
    let stores = Stores::fresh().await;
    // As Kubernetes mounts a ConfigMap: test.toml -> ..data/test.toml, ..data -> ..1
    let folder = Folder::new(&stores);
    for (version, ttl_seconds) in [("..1", 300), ("..2", 150)] {
        fs::create_dir(folder.0.join(version)).unwrap();
        fs::write(folder.0.join(version).join("test.toml"), Folder::text(ttl_seconds, 4)).unwrap();
    }
    symlink("..1", folder.0.join("..data")).unwrap();
    symlink("..data/test.toml", folder.0.join("test.toml")).unwrap();
    let app = TestApp::of(folder.options(&stores, &[]), stores.clone()).await;
    let ttl = || async { settings(&app).await["settings"]["reservation"]["ttl_seconds"].clone() };
    assert_eq!(ttl().await, 300);
    symlink("..2", folder.0.join("..data_tmp")).unwrap();
    fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).unwrap();
    until("the new link is followed", || async { ttl().await == 150 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_all_without_redis() {
    let app = TestApp::start().await;
    let other = app.replica(&[]).await;
    // No replica lets anything through to a Redis that says it is another one.
    let postgres = app.stores.postgres().await;
    postgres.execute("update redis_incarnations set run_id = 'another'", &[]).await.unwrap();
    patch(&app, json!({ "reservation": { "ttl_seconds": 61 } })).await.expect(200);
    until("the other replica has it", || async {
        settings(&other).await["settings"]["reservation"]["ttl_seconds"] == 61
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reads_the_files_and_ends_nothing() {
    let stores = Stores::fresh().await;
    let folder = Folder::new(&stores);
    folder.write(300, 4);
    let dir = folder.0.to_str().unwrap();
    let service = ServiceProcess::start(&stores, &[("HOLDFAST_CONFIG_DIR", dir)]).await;
    let ttl =
        || async { settings(&service).await["settings"]["reservation"]["ttl_seconds"].clone() };
    assert_eq!(ttl().await, 300);
    folder.write(240, 4);
    service.signal(Signal::HUP);
    until("the file is in force", || async { ttl().await == 240 }).await;
    assert!(service.has_said("told to read the settings files (SIGHUP)"));
    assert!(service.has_said("a setting was changed"));
    let metrics = service.metrics().await;
    assert!(metrics.contains("holdfast_settings_refused 0"), "{metrics}");
    folder.write(0, 4);
    until("it is refused", || async { settings(&service).await["refused"].is_object() }).await;
    assert!(service.metrics().await.contains("holdfast_settings_refused 1"));
    assert!(service.has_said("settings were refused; those in force stand"));

    assert!(!service.has_said("answered"), "that is told at level debug");
    patch(&service, json!({ "log.filter": "info,holdfast=debug" })).await.expect(200);
    until("more is logged", || async {
        settings(&service).await;
        service.has_said("answered")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_and_wrong_keeps_no_replica_down_and_can_be_taken_away() {
    let app = TestApp::start().await;
    app.product("A", 9, json!({})).await;
    let postgres = app.stores.postgres().await;
    let wrong = "insert into live_settings (name, value, changed_by)
        values ('reservation.ttl_seconds', '0', 'a newer one'), ('what.newer_ones_know', '1', 'a newer one')";
    postgres.execute(wrong, &[]).await.unwrap();
    postgres.execute("update live_settings_state set version = version + 1", &[]).await.unwrap();
    until("it is refused", || async { settings(&app).await["refused"].is_object() }).await;
    assert_eq!(expires_in(&app, "alice", "A").await, 600);
    let late = app.replica(&[]).await;
    assert_eq!(expires_in(&late, "bob", "A").await, 600);
    let mended = patch(&late, json!({ "reservation.ttl_seconds": null })).await.expect(200);
    assert_eq!(mended["refused"], Value::Null);
    until("it is sound here too", || async { settings(&app).await["refused"].is_null() }).await;
}
