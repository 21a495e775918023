//! The ways of a payment, with the real process killed at each of their named points, and a storm of payments in which it
//! is killed again and again. What is left is taken up by another replica; each payment ends as exactly one thing.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast_sandbox::{Act, Call, Sandbox, Wish};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Api, SOON, Stores, TestApp, hasty, until};
use crate::process::ServiceProcess;
use crate::till::{
    come_back, environment, pairs, product, refunds_of_bkash, sandbox, until_order, until_payment,
    with_payment,
};

/// All cases, two at a time, each a task of its own: waiting for a process keeps a task busy.
async fn all<F: Future<Output = ()> + Send + 'static>(cases: impl IntoIterator<Item = F>) {
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        if running.len() == 2 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(case);
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// Payments may be paid for so long.
const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__WINDOW", "4s");

async fn hears(sandbox: &Sandbox, api: &Api) {
    sandbox.set_webhook_url(&format!("{}/api/payment/stripe/webhook", api.url));
}

/// A process that dies at this point.
async fn doomed(
    stores: &Stores,
    sandbox: &Sandbox,
    point: &str,
    more: &[(&str, &str)],
) -> ServiceProcess {
    let fault = format!("{point}:kill");
    let mut environment = environment(sandbox, more);
    environment.push(("HOLDFAST_FAULT".into(), fault));
    ServiceProcess::start(stores, &pairs(&environment)).await
}

async fn standing_by(stores: &Stores, sandbox: &Sandbox, more: &[(&str, &str)]) -> TestApp {
    let environment = environment(sandbox, more);
    let mut all = pairs(&environment);
    all.extend(hasty(&[SOON]));
    TestApp::on(stores.clone(), &all).await
}

async fn dies(doomed: &ServiceProcess, point: &str) {
    assert_eq!(doomed.ended().await.code, None, "{point}: it ends by a signal");
    assert!(doomed.has_said("fault point reached"), "{point}");
}

async fn try_checkout(api: &Api, id: &str, provider: &str) -> bool {
    let request = api.request(Method::POST, "/api/checkout").bearer_auth(api.customer("alice"));
    api.try_send(request.json(&with_payment(id, provider))).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_with_payment_killed_at_any_point_goes_on_when_it_is_repeated() {
    for provider in ["stripe", "bkash"] {
        for point in ["after_open", "after_create", "after_attach"] {
            let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
            let app = standing_by(&stores, &sandbox, &[]).await;
            product(&app, "PHONE", 2, json!({})).await;
            let doomed = doomed(&stores, &sandbox, point, &[]).await;
            let id = doomed.held("alice", "PHONE", 1).await;
            assert!(!try_checkout(&doomed, &id, provider).await, "{point}");
            dies(&doomed, point).await;
            assert_eq!(app.reservation(&id).await.expect(200)["status"], "confirming");
            let order = repeated(&app, &id, provider).await;
            assert_eq!(sandbox.sessions().len(), usize::from(provider == "stripe"), "{point}");
            hears(&sandbox, &app).await;
            pay(&app, &sandbox, &order).await;
            until_order(&app, &order, "paid").await;
            until("it is sold", || async { app.stock("PHONE").await == (2, 1, 0, 1) }).await;
        }
    }
}

/// The order once the checkout is asked for again.
async fn repeated(api: &Api, id: &str, provider: &str) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let own = api.customer("alice");
        let reply = api.post("/api/checkout", &own, with_payment(id, provider)).await;
        if reply.status.as_u16() != 409 {
            return reply.expect_success();
        }
        // A twin may be at it still.
        reply.expect_problem(409, "payment_in_progress");
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The buyer pays, and comes back where that is what pays.
async fn pay(api: &Api, sandbox: &Sandbox, order: &Value) {
    let id = order["payment"]["provider_payment_id"].as_str().unwrap();
    if order["payment"]["provider"] == "stripe" {
        sandbox.act(id, Act::Pay).unwrap();
    } else {
        let way = sandbox.wish(id, Wish::Success { wallet: None }).unwrap();
        assert_eq!(come_back(api, &way).await.status, 303);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_with_payment_killed_at_any_point_and_not_repeated_gives_the_unit_back() {
    let each = ["after_open", "after_create", "after_attach"].map(|point| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let app = standing_by(&stores, &sandbox, &[SHORT]).await;
        product(&app, "PHONE", 2, json!({})).await;
        let doomed = doomed(&stores, &sandbox, point, &[SHORT]).await;
        let id = doomed.held("alice", "PHONE", 1).await;
        assert!(!try_checkout(&doomed, &id, "stripe").await, "{point}");
        dies(&doomed, point).await;
        until("the unit is back", || async { app.stock("PHONE").await == (2, 2, 0, 0) }).await;
        // Whatever page there was or is cannot be paid any more.
        for session in sandbox.sessions() {
            assert_eq!(sandbox.session(&session).unwrap()["status"], "expired", "{point}");
        }
    });
    all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_whose_handler_was_killed_is_sold_by_another_replica() {
    let each = ["after_event", "after_pay"].map(|point| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let app = standing_by(&stores, &sandbox, &[]).await;
        product(&app, "PHONE", 2, json!({})).await;
        let id = app.held("alice", "PHONE", 1).await;
        let order = repeated(&app, &id, "stripe").await;
        let doomed = doomed(&stores, &sandbox, point, &[]).await;
        hears(&sandbox, &doomed).await;
        pay(&app, &sandbox, &order).await;
        dies(&doomed, point).await;
        until_order(&app, &order, "paid").await;
        until("it is sold", || async { app.stock("PHONE").await == (2, 1, 0, 1) }).await;
    });
    all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_was_killed_halfway_is_finished_by_another_replica() {
    let cases =
        [("after_ask", false), ("after_end", false), ("after_ask", true), ("after_pay", true)];
    let each = cases.map(|(point, paid)| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let doomed = doomed(&stores, &sandbox, point, &[SHORT]).await;
        product(&doomed, "PHONE", 2, json!({})).await;
        let id = doomed.held("alice", "PHONE", 1).await;
        let order = repeated(&doomed, &id, "stripe").await;
        if paid {
            // The event never comes: the deadline finds the money.
            sandbox.hold_events();
            pay(&doomed, &sandbox, &order).await;
        }
        dies(&doomed, point).await;
        let app = standing_by(&stores, &sandbox, &[SHORT]).await;
        until_order(&app, &order, if paid { "paid" } else { "cancelled" }).await;
        let wanted = if paid { (2, 1, 0, 1) } else { (2, 2, 0, 0) };
        until("it has ended", || async { app.stock("PHONE").await == wanted }).await;
    });
    all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execute_that_was_killed_is_asked_about_by_another_replica() {
    let cases = [("after_claim", "cancelled"), ("after_execute", "paid"), ("after_pay", "paid")];
    let each = cases.map(|(point, end)| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let app = standing_by(&stores, &sandbox, &[]).await;
        product(&app, "PHONE", 2, json!({})).await;
        let id = app.held("alice", "PHONE", 1).await;
        let order = repeated(&app, &id, "bkash").await;
        let doomed = doomed(&stores, &sandbox, point, &[]).await;
        let page = order["payment"]["provider_payment_id"].as_str().unwrap();
        let way = sandbox.wish(page, Wish::Success { wallet: None }).unwrap();
        let (_, path) = way.split_once("/api/").unwrap();
        let request = doomed.request(Method::GET, &format!("/api/{path}"));
        assert!(doomed.try_send(request).await.is_err(), "{point}");
        dies(&doomed, point).await;
        until_order(&app, &order, end).await;
        assert!(sandbox.count(Call::BkashExecute) <= 1, "{point}");
        // The buyer tries once more: too late, or known already.
        assert_eq!(come_back(&app, &way).await.status, 303);
        until_order(&app, &order, end).await;
    });
    all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_whose_handler_was_killed_takes_the_unit_or_goes_back_once() {
    let points = [
        "after_late_noted",
        "after_late_pin",
        "after_late_decision",
        "after_refund_begun",
        "after_refund",
    ];
    let each = points.into_iter().flat_map(|point| [(point, 1), (point, 0)]);
    // Where the unit is there no refund is begun, and where it is gone none is pinned.
    let each = each.filter(|(point, left)| match *point {
        "after_late_pin" => *left == 1,
        "after_refund_begun" | "after_refund" => *left == 0,
        _ => true,
    });
    let each = each.map(|(point, left)| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let app = standing_by(&stores, &sandbox, &[]).await;
        product(&app, "PHONE", 1, json!({})).await;
        let id = app.held("alice", "PHONE", 1).await;
        let order = repeated(&app, &id, "stripe").await;
        let end =
            "select end_payment($1::text::uuid, 'expired', 'payment_expired', null, true, 'hand')";
        let payment = order["payment"]["id"].as_str().unwrap();
        stores.postgres().await.query(end, &[&payment]).await.unwrap();
        until("the unit is back", || async { app.stock("PHONE").await.2 == 0 }).await;
        if left == 0 {
            app.held("bob", "PHONE", 1).await;
        }
        let doomed = doomed(&stores, &sandbox, point, &[]).await;
        hears(&sandbox, &doomed).await;
        sandbox.act(order["payment"]["provider_payment_id"].as_str().unwrap(), Act::Pay).unwrap();
        dies(&doomed, point).await;
        let path = format!("/api/payments/{payment}");
        let ended = || async {
            let status = app.get(&path, &app.admin()).await.expect(200)["status"].clone();
            status == "paid" || status == "refunded"
        };
        until("it has an end", ended).await;
        let status = app.get(&path, &app.admin()).await.expect(200)["status"].clone();
        let back = usize::from(status == "refunded");
        assert_eq!(sandbox.refunds().len(), back, "{point} {left}");
        assert!(left == 1 || back == 1, "{point} {left}: {status}");
        let wanted = if status == "paid" { (1, 0, 0, 1) } else { (1, left, 1 - left, 0) };
        until("the stock says the same", || async { app.stock("PHONE").await == wanted }).await;
    });
    all(each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_was_killed_gives_money_and_units_back_once() {
    let cases = ["after_refund_begun", "after_refund", "after_refund_noted"];
    let cases = cases.into_iter().flat_map(|point| [(point, "stripe"), (point, "bkash")]);
    let each = cases.map(|(point, provider)| async move {
        let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
        let app = standing_by(&stores, &sandbox, &[]).await;
        hears(&sandbox, &app).await;
        product(&app, "PHONE", 2, json!({})).await;
        let id = app.held("alice", "PHONE", 2).await;
        let order = repeated(&app, &id, provider).await;
        pay(&app, &sandbox, &order).await;
        until_order(&app, &order, "paid").await;
        let doomed = doomed(&stores, &sandbox, point, &[]).await;
        let path = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
        let refund = doomed.request(Method::POST, &path).bearer_auth(doomed.admin());
        assert!(doomed.try_send(refund).await.is_err(), "{point}");
        dies(&doomed, point).await;
        until_payment(&app, &order["payment"], "refunded").await;
        until_order(&app, &order, "refunded").await;
        until("the units are back", || async { app.stock("PHONE").await == (2, 2, 0, 0) }).await;
        app.post(&path, &app.admin(), json!({})).await.expect(200);
        let made =
            if provider == "stripe" { sandbox.refunds().len() } else { refunds_of_bkash(&sandbox) };
        assert_eq!(made, 1, "{point} {provider}");
    });
    all(each).await;
}

#[expect(clippy::disallowed_methods, reason = "how long a storm lasts is the caller's to say")]
fn kills() -> usize {
    std::env::var("HOLDFAST_STORM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

/// `HOLDFAST_STORM_KILLS=100` makes it the long one.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_payments_with_a_service_that_is_killed_again_and_again() {
    let kills = kills();
    let buyers = kills * 12;
    let (stores, sandbox) = (Stores::fresh().await, sandbox().await);
    let window = ("HOLDFAST__PAYMENTS__WINDOW", "3s");
    let environment = environment(&sandbox, &hasty(&[window, SOON]));
    let settings = pairs(&environment);
    let first = ServiceProcess::start(&stores, &settings).await;
    product(&first, "PHONE", (buyers * 2 / 3) as i64, json!({})).await;
    let service = tokio::sync::RwLock::new(first);
    hears(&sandbox, &service.read().await.api).await;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let killing = async {
        for _ in 0..kills {
            let pause = Duration::from_millis(rand::random_range(150..900));
            tokio::time::sleep(pause).await;
            service.read().await.kill9().await;
            let next = ServiceProcess::start(&stores, &settings).await;
            hears(&sandbox, &next).await;
            *service.write().await = next;
        }
        done.store(1, std::sync::atomic::Ordering::Relaxed);
    };
    let buying = (0..buyers).map(|number| {
        let (service, sandbox) = (&service, &sandbox);
        async move {
            // They come all through the storm.
            tokio::time::sleep(Duration::from_millis(number as u64 * 80)).await;
            buy(service, sandbox, number).await;
        }
    });
    tokio::join!(killing, join_all(buying));
    let last = service.into_inner();
    last.kill9().await;
    let app = standing_by(&stores, &sandbox, &[window]).await;
    hears(&sandbox, &app).await;
    let open = "select count(*) from payments where status in ('initiated', 'pending', 'late', 'refunding')";
    let postgres = stores.postgres().await;
    let all_ended = || async { postgres.query_one(open, &[]).await.unwrap().get::<_, i64>(0) == 0 };
    until("every payment has its end", all_ended).await;
    crate::conservation::prove(&stores).await;
    compare(&postgres, &sandbox).await;
}

/// One buyer, who asks again when nobody answers, and then pays, gives up, or forgets about it.
async fn buy(service: &tokio::sync::RwLock<ServiceProcess>, sandbox: &Sandbox, number: usize) {
    let user = format!("buyer-{number}");
    let provider = if number.is_multiple_of(2) { "stripe" } else { "bkash" };
    let mut order = None;
    for _ in 0..40 {
        let service = service.read().await;
        let own = service.customer(&user);
        let hold = service.request(Method::POST, "/api/reserve").bearer_auth(&own);
        let hold = service.try_send(hold.json(&json!({ "sku": "PHONE", "quantity": 1 }))).await;
        let id = hold.ok().and_then(|hold| hold.body["reservation_id"].as_str().map(str::to_owned));
        if let Some(id) = id {
            let checkout = service.request(Method::POST, "/api/checkout").bearer_auth(&own);
            let checkout = checkout.json(&with_payment(&id, provider));
            if let Ok(reply) = service.try_send(checkout).await
                && reply.body["payment"]["url"].is_string()
            {
                order = Some(reply.body);
                break;
            }
        }
        drop(service);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let Some(order) = order else { return };
    let page = order["payment"]["provider_payment_id"].as_str().unwrap();
    match (number % 5, provider) {
        (0, _) => {}
        (1, "bkash") => drop(sandbox.wish(page, Wish::Cancel)),
        (_, "stripe") => drop(sandbox.act(page, Act::Pay)),
        _ => {
            let Ok(way) = sandbox.wish(page, Wish::Success { wallet: Some(user) }) else { return };
            let (_, path) = way.split_once("/api/").unwrap();
            for _ in 0..3 {
                let service = service.read().await;
                let back = service.request(Method::GET, &format!("/api/{path}"));
                // Its answer leads to a shop that is not there.
                let _ = service.try_send(back.timeout(Duration::from_secs(3))).await;
                drop(service);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What the providers took is what the orders say, less what went back.
async fn compare(postgres: &tokio_postgres::Client, sandbox: &Sandbox) {
    let ours =
        "select provider_payment_id, status from payments where provider_payment_id is not null";
    let mut paid = 0;
    for row in postgres.query(ours, &[]).await.unwrap() {
        let (id, status): (String, String) = (row.get(0), row.get(1));
        let taken = match sandbox.session(&id) {
            Some(session) => session["payment_status"] == "paid",
            None => sandbox.bkash_payment(&id).unwrap()["transactionStatus"] == "Completed",
        };
        let kept = matches!(status.as_str(), "paid" | "refunded");
        assert_eq!(taken, kept, "{id} is {status}");
        paid += usize::from(status == "paid");
    }
    assert!(paid > 0, "somebody bought something");
    println!("{paid} payments were sold");
}
