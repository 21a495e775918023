//! What may come between money and stock: both orders of every race, events twice and in any order, answers that are lost,
//! providers that are down or mad. Each ends with one of: paid with order, refunded, ended with the units back.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast_sandbox::{Act, Call, Fault, Wish};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Api, Reply, SOON, hasty, until};
use crate::till::{
    Till, come_back, ordered, product, refunds_of_bkash, until_order, until_payment, with_payment,
};

/// Payments may be paid for so long: long enough for a test to act meanwhile.
const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__WINDOW", "5s");

/// A product of so many units, one of them under payment by alice.
async fn begun(till: &Till, provider: &str, units: i64) -> Value {
    product(till, "PHONE", units, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    ordered(till, "alice", &id, provider).await
}

/// Makes the hold of a payment end although nobody asked the provider: what an operator's hand or a defect would do.
async fn ended_by_hand(till: &Till, order: &Value) {
    let end =
        "select end_payment($1::text::uuid, 'expired', 'payment_expired', null, true, 'hand')";
    let id = order["payment"]["id"].as_str().unwrap();
    till.stores.postgres().await.query(end, &[&id]).await.unwrap();
    until("the unit is back", || async { till.stock("PHONE").await.2 == 0 }).await;
}

async fn send(api: &Api, body: String, signature: &str) -> Reply {
    let event = api.request(Method::POST, "/api/payment/stripe/webhook");
    api.send(event.header("Stripe-Signature", signature).body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_before_the_expire_call_wins_although_its_event_is_late() {
    let till = Till::start_with(&[SHORT]).await;
    let order = begun(&till, "stripe", 1).await;
    till.sandbox.hold_events();
    till.pays(&till.only_session());
    // The deadline asks, and is told that it was paid.
    until_order(&till, &order, "paid").await;
    assert!(till.sandbox.count(Call::StripeExpire) > 0);
    till.sandbox.release_events(true);
    until("the events are kept", || async { processed(&till).await >= 1 }).await;
    until("it is sold once", || async { till.stock("PHONE").await == (1, 0, 0, 1) }).await;
}

async fn processed(till: &Till) -> i64 {
    let sql = "select count(*) from provider_events where processed_at is not null";
    till.stores.postgres().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_after_the_expire_call_is_not_taken() {
    let till = Till::start_with(&[SHORT]).await;
    let order = begun(&till, "stripe", 1).await;
    until_order(&till, &order, "cancelled").await;
    assert!(till.sandbox.act(&till.only_session(), Act::Pay).is_err(), "the page is closed");
    until("the unit is back", || async { till.stock("PHONE").await == (1, 1, 0, 0) }).await;
    until("its own event is kept", || async { processed(&till).await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_may_come_before_the_creation_is_answered() {
    let till = Till::start().await;
    product(&till, "PHONE", 2, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    till.sandbox.fail(Call::StripeCreate, Fault::PaidBeforeAnswer, 1);
    let body = with_payment(&id, "stripe");
    let order = till.post("/api/checkout", &till.customer("alice"), body).await.expect(201);
    let paid = until_order(&till, &order, "paid").await;
    assert!(paid["payment"]["provider_payment_id"].is_string());
    until("it is sold", || async { till.stock("PHONE").await == (2, 1, 0, 1) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_twice_and_in_any_order_have_one_effect() {
    let till = Till::start().await;
    let replica = till.replica(&[]).await;
    let order = begun(&till, "stripe", 2).await;
    till.sandbox.hold_events();
    till.sandbox.act(&till.only_session(), Act::PayLater).unwrap();
    till.sandbox.act(&till.only_session(), Act::Succeed).unwrap();
    till.sandbox.deliver_events(3, Duration::ZERO);
    till.sandbox.release_events(true);
    until_order(&till, &order, "paid").await;
    for event in till.sandbox.events() {
        let (body, signature) = till.sandbox.signed_event(event["id"].as_str().unwrap()).unwrap();
        // The replica has no keys of Stripe, so that it believes nobody.
        let reply = send(&replica, body.clone(), &signature).await;
        reply.expect_problem(404, "provider_disabled");
        let again = (0..6).map(|_| send(&till, body.clone(), &signature));
        for reply in join_all(again).await {
            assert_eq!(reply.expect(200)["received"], true);
        }
    }
    until("it is sold once", || async { till.stock("PHONE").await == (2, 1, 0, 1) }).await;
    let count = "select count(*), count(distinct event_id) from provider_events";
    let row = till.stores.postgres().await.query_one(count, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_takes_the_unit_again_if_it_is_there() {
    let till = Till::start().await;
    let order = begun(&till, "stripe", 1).await;
    ended_by_hand(&till, &order).await;
    till.pays(&till.only_session());
    let paid = until_order(&till, &order, "paid").await;
    assert_eq!(paid["payment"]["status"], "paid");
    assert_ne!(paid["reservation_id"], order["reservation_id"]);
    until("it is sold", || async { till.stock("PHONE").await == (1, 0, 0, 1) }).await;
    let id = paid["reservation_id"].as_str().unwrap();
    assert_eq!(till.reservation(id).await.expect(200)["status"], "confirmed");
    assert_eq!(till.sandbox.refunds().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_goes_back_once_where_the_unit_is_gone() {
    let till = Till::start().await;
    let order = begun(&till, "stripe", 1).await;
    ended_by_hand(&till, &order).await;
    let other = till.held("bob", "PHONE", 1).await;
    till.sandbox.deliver_events(3, Duration::ZERO);
    till.pays(&till.only_session());
    let back = until_payment(&till, &order["payment"], "refunded").await;
    assert_eq!(back["order_id"], order["id"]);
    for event in till.sandbox.events() {
        till.sandbox.send_event(event["id"].as_str().unwrap()).unwrap();
    }
    till.checkout("bob", &other).await.expect(201);
    assert_eq!(till.sandbox.refunds().len(), 1);
    until_order(&till, &order, "cancelled").await;
    assert_eq!(till.stock("PHONE").await, (1, 0, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_goes_back_where_the_buyer_may_not_have_more() {
    let till = Till::start().await;
    product(&till, "PHONE", 5, json!({ "max_per_buyer": 1 })).await;
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "stripe").await;
    ended_by_hand(&till, &order).await;
    let again = till.held("alice", "PHONE", 1).await;
    till.pays(&till.only_session());
    until_payment(&till, &order["payment"], "refunded").await;
    till.checkout("alice", &again).await.expect(201);
    assert_eq!(till.stock("PHONE").await, (5, 4, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execute_whose_answer_is_lost_is_asked_about_and_not_repeated() {
    let till = Till::start().await;
    let order = begun(&till, "bkash", 2).await;
    till.sandbox.fail(Call::BkashExecute, Fault::DropAfter, 1);
    let back = till.releases(&order["payment"]).await;
    assert!(back.headers["location"].to_str().unwrap().contains("status=paid"));
    until_order(&till, &order, "paid").await;
    assert_eq!(till.sandbox.count(Call::BkashExecute), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execute_that_lands_after_the_hold_was_given_up_is_found_and_goes_back() {
    let till = Till::start().await;
    let order = begun(&till, "bkash", 1).await;
    // Neither the execute nor any question is answered; then it reads unpaid for longer than the doubt lasts.
    till.sandbox.fail(Call::BkashExecute, Fault::Drop, 1);
    let initiated = json!({
        "statusCode": "0000", "statusMessage": "Successful", "transactionStatus": "Initiated",
        "paymentID": order["payment"]["provider_payment_id"], "amount": "100.00", "currency": "BDT",
        "merchantInvoice": order["payment"]["id"],
    });
    till.sandbox.fail(Call::BkashQuery, Fault::Answer { status: 200, body: initiated }, 0);
    let back = till.releases(&order["payment"]).await;
    assert!(back.headers["location"].to_str().unwrap().contains("status=pending"));
    until_order(&till, &order, "cancelled").await;
    until("the unit is back", || async { till.stock("PHONE").await == (1, 1, 0, 0) }).await;
    till.held("bob", "PHONE", 1).await;
    // It lands after all, and nobody tells: the watch finds it.
    executed_by_bkash(&till, &order).await;
    till.sandbox.clear();
    until_payment(&till, &order["payment"], "refunded").await;
    assert_eq!(refunds_of_bkash(&till.sandbox), 1);
}

/// The execute of a payment lands at bKash.
async fn executed_by_bkash(till: &Till, order: &Value) {
    let keys = till.sandbox.keys();
    let client = reqwest::Client::new();
    let base = format!("{}/v1.2.0-beta/tokenized/checkout", till.sandbox.url);
    let grant = client.post(format!("{base}/token/grant")).header("username", &keys.bkash_username);
    let grant = grant.header("password", &keys.bkash_password);
    let body = json!({ "app_key": keys.bkash_app_key, "app_secret": keys.bkash_app_secret });
    let token: Value = grant.json(&body).send().await.unwrap().json().await.unwrap();
    let execute = client.post(format!("{base}/execute")).header("X-App-Key", &keys.bkash_app_key);
    let execute = execute.header("Authorization", token["id_token"].as_str().unwrap());
    let body = json!({ "paymentID": order["payment"]["provider_payment_id"] });
    let executed: Value = execute.json(&body).send().await.unwrap().json().await.unwrap();
    assert_eq!(executed["transactionStatus"], "Completed", "{executed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_success_takes_no_money_and_a_forged_cancel_ends_nothing() {
    let till = Till::start().await;
    let order = begun(&till, "bkash", 1).await;
    let id = order["payment"]["provider_payment_id"].as_str().unwrap();
    let forged =
        format!("/api/payment/bkash/callback?paymentID={id}&status=cancel&signature=forged");
    let reply = come_back(&till, &format!("x{forged}")).await;
    assert!(reply.headers["location"].to_str().unwrap().contains("status=pending"));
    let bare = format!("x/api/payment/bkash/callback?paymentID={id}&status=failure");
    come_back(&till, &bare).await;
    assert_eq!(until_order(&till, &order, "pending_payment").await["payment"]["status"], "pending");
    // Nobody released the money: an execute finds none, and the attempt ends by itself.
    let forged =
        format!("x/api/payment/bkash/callback?paymentID={id}&status=success&signature=forged");
    let reply = come_back(&till, &forged).await;
    assert!(!reply.headers["location"].to_str().unwrap().contains("status=paid"));
    until_order(&till, &order, "cancelled").await;
    assert_eq!(till.stock("PHONE").await, (1, 1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callbacks_at_once_execute_once() {
    let till = Till::start().await;
    let order = begun(&till, "bkash", 2).await;
    till.sandbox.fail(Call::BkashExecute, Fault::Delay { ms: 150 }, 1);
    let way = till.wished(&order["payment"], Wish::Success { wallet: None });
    let replies = join_all((0..6).map(|_| come_back(&till, &way))).await;
    assert!(replies.iter().all(|reply| reply.status == 303));
    until_order(&till, &order, "paid").await;
    assert_eq!(till.sandbox.count(Call::BkashExecute), 1);
    until("it is sold once", || async { till.stock("PHONE").await == (2, 1, 0, 1) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_does_not_fit_is_held_for_a_person_and_never_a_sale() {
    for (members, why) in [
        (json!({ "amount_total": 9_999 }), "amount"),
        (json!({ "currency": "usd" }), "currency"),
        (json!({ "livemode": true }), "livemode"),
    ] {
        let till = Till::start_with(&[SHORT]).await;
        let order = begun(&till, "stripe", 2).await;
        till.sandbox.tamper(&till.only_session(), members);
        till.pays(&till.only_session());
        until_payment(&till, &order["payment"], "review").await;
        let kept = until_order(&till, &order, "pending_payment").await;
        assert_eq!(kept["payment"]["url"], Value::Null, "{why}");
        // It keeps its unit, past its deadline too, until somebody has looked.
        assert_eq!(till.stock("PHONE").await, (2, 1, 1, 0), "{why}");
        let path = format!("/api/orders/{}/cancel", order["id"].as_str().unwrap());
        let reply = till.post(&path, &till.customer("alice"), json!({})).await;
        reply.expect_problem(409, "payment_in_progress");
    }
    // bKash writes an amount without decimals: that is the same amount.
    let till = Till::start().await;
    let order = begun(&till, "bkash", 2).await;
    till.sandbox.fail(Call::BkashExecute, Fault::WholeAmount, 1);
    till.releases(&order["payment"]).await;
    until_order(&till, &order, "paid").await;
}

/// A payment over 1999 that was paid with 9999, in review.
async fn reviewed(till: &Till) -> Value {
    let order = begun(till, "stripe", 2).await;
    till.sandbox.tamper(&till.only_session(), json!({ "amount_total": 9_999 }));
    till.pays(&till.only_session());
    until_payment(till, &order["payment"], "review").await;
    order
}

async fn resolve(till: &Till, order: &Value, outcome: &str) -> Reply {
    let id = order["payment"]["id"].as_str().unwrap();
    let path = format!("/api/admin/payments/{id}/resolve");
    till.post(&path, &till.admin(), json!({ "outcome": outcome, "reason": "looked at" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sells_refunds_or_releases_what_is_in_review() {
    for (outcome, payment, of_order, stock) in [
        ("accept", "paid", "paid", (2, 1, 0, 1)),
        ("refund", "refunded", "cancelled", (2, 2, 0, 0)),
        ("release", "cancelled", "cancelled", (2, 2, 0, 0)),
    ] {
        let till = Till::start().await;
        let order = reviewed(&till).await;
        let list = till.get("/api/admin/payments?status=review", &till.admin()).await.expect(200);
        let listed = &list["items"][0];
        assert_eq!(listed["id"], order["payment"]["id"]);
        assert_eq!((&listed["failure"], &listed["user_id"]), (&json!("amount"), &json!("alice")));
        let resolved = resolve(&till, &order, outcome).await.expect(200);
        assert_eq!(resolved["status"], payment, "{outcome}");
        until_order(&till, &order, of_order).await;
        until("the stock agrees", || async { till.stock("PHONE").await == stock }).await;
        let back = usize::from(outcome == "refund");
        assert_eq!(till.sandbox.refunds().len(), back, "{outcome}");
        resolve(&till, &order, outcome).await.expect_problem(409, "not_in_review");
        let noted =
            till.get("/api/admin/audit?action=payment.resolve", &till.admin()).await.expect(200);
        assert_eq!(noted["items"].as_array().unwrap().len(), 1);
        let detail = json!({ "outcome": outcome, "failure": "amount", "reason": "looked at" });
        assert_eq!(noted["items"][0]["detail"], detail);
        let list = till.get("/api/admin/payments?status=review", &till.admin()).await.expect(200);
        assert_eq!(list["items"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_is_not_sold_on_a_word_that_the_provider_does_not_give() {
    let till = Till::start().await;
    let order = begun(&till, "stripe", 2).await;
    let mark = "update payments set status = 'review', failure_code = 'reference'";
    till.stores.postgres().await.execute(mark, &[]).await.unwrap();
    for outcome in ["accept", "refund"] {
        resolve(&till, &order, outcome).await.expect_problem(409, "not_paid");
    }
    till.sandbox.fail(Call::StripeRetrieve, Fault::Drop, 8);
    let away = resolve(&till, &order, "accept").await;
    away.expect_problem(503, "provider_unavailable");
    assert_eq!(till.stock("PHONE").await, (2, 1, 1, 0));
    assert_eq!(resolve(&till, &order, "release").await.expect(200)["status"], "cancelled");
    until("the unit is back", || async { till.stock("PHONE").await == (2, 2, 0, 0) }).await;
    // What its provider will not give back stays for a person, and its units are given up.
    let till = Till::start().await;
    let order = reviewed(&till).await;
    let error = json!({ "error": { "type": "invalid_request_error", "code": "charge_disputed", "message": "no" } });
    till.sandbox.fail(Call::StripeRefund, Fault::Answer { status: 400, body: error }, 1);
    assert_eq!(resolve(&till, &order, "refund").await.expect(200)["status"], "review");
    until("the unit is back", || async { till.stock("PHONE").await == (2, 2, 0, 0) }).await;
    resolve(&till, &order, "accept").await.expect_problem(409, "refund_decided");
    assert_eq!(resolve(&till, &order, "release").await.expect(200)["status"], "cancelled");
    let path = format!("/api/admin/payments/{}/resolve", order["id"].as_str().unwrap());
    let unknown = till.post(&path, &till.admin(), json!({ "outcome": "accept" })).await;
    unknown.expect_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_not_believed_is_refused_and_leaves_no_trace() {
    let till = Till::start().await;
    let order = begun(&till, "stripe", 2).await;
    till.sandbox.hold_events();
    till.pays(&till.only_session());
    let event = till.sandbox.events().pop().unwrap();
    let (body, signature) = till.sandbox.signed_event(event["id"].as_str().unwrap()).unwrap();
    let stale = signature.replacen("t=1", "t=0", 1);
    let changed = body.replace("\"paid\"", "\"paie\"");
    for (body, signature) in [
        (body.clone(), "t=1,v1=00"),
        (body.clone(), ""),
        (body.clone(), stale.as_str()),
        (changed, signature.as_str()),
        ("x".repeat(100_000), "t=1,v1=00"),
    ] {
        send(&till, body, signature).await.expect_problem(400, "invalid_signature");
    }
    let bare = till.request(Method::POST, "/api/payment/stripe/webhook").body(body.clone());
    till.send(bare).await.expect_problem(400, "invalid_signature");
    let long = till.request(Method::POST, "/api/payment/stripe/webhook");
    let long = long.header("Stripe-Signature", &signature).body("x".repeat(300_000));
    till.send(long).await.expect_problem(413, "body_too_large");
    let kept = "select count(*) from provider_events";
    let kept: i64 = till.stores.postgres().await.query_one(kept, &[]).await.unwrap().get(0);
    assert_eq!(kept, 0);
    assert_eq!(until_order(&till, &order, "pending_payment").await["payment"]["status"], "pending");
    send(&till, body, &signature).await.expect(200);
    until_order(&till, &order, "paid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_event_that_means_nothing_here_is_kept() {
    let till = Till::start().await;
    let keys = till.sandbox.keys();
    for (number, body) in [
        json!({ "id": "evt_a", "type": "customer.created", "livemode": false, "data": { "object": { "id": "cus_1" } } }),
        json!({ "id": "evt_b", "type": "checkout.session.completed", "livemode": false, "data": { "object": {
            "id": "cs_x", "client_reference_id": "01935f6e-9c40-7d18-8e2a-6b7c8d9e0f1a", "status": "complete",
            "payment_status": "paid", "amount_total": 1, "currency": "bdt", "livemode": false } } }),
    ]
    .into_iter()
    .enumerate()
    {
        let body = body.to_string();
        let signature = signed(&keys.stripe_webhook_secret, &body);
        send(&till, body.clone(), &signature).await.expect(200);
        send(&till, body, &signature).await.expect(200);
        until("it is kept", || async { processed(&till).await == number as i64 + 1 }).await;
    }
    let odd = "[]".to_owned();
    let signature = signed(&keys.stripe_webhook_secret, &odd);
    send(&till, odd, &signature).await.expect_problem(400, "malformed_json");
}

/// The `Stripe-Signature` of now.
fn signed(secret: &str, body: &str) -> String {
    let now = holdfast::kernel::Clock::System.now().as_second();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&key, format!("{now}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={now},v1={hex}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_costs_nobody_their_hold() {
    let till = Till::start().await;
    product(&till, "PHONE", 9, json!({})).await;
    for (number, (provider, call, fault)) in [
        ("stripe", Call::StripeCreate, Fault::Drop),
        ("stripe", Call::StripeCreate, Fault::Garbage),
        ("stripe", Call::StripeCreate, Fault::Huge),
        ("stripe", Call::StripeCreate, Fault::too_many()),
        ("stripe", Call::StripeCreate, Fault::DropAfter),
        ("bkash", Call::BkashCreate, Fault::Huge),
        ("bkash", Call::BkashCreate, Fault::Drop),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("buyer-{number}");
        let id = till.held(&user, "PHONE", 1).await;
        till.sandbox.fail(call, fault.clone(), 0);
        let own = till.customer(&user);
        let refused = till.post("/api/checkout", &own, with_payment(&id, provider)).await;
        assert!(refused.headers.contains_key("retry-after"), "{fault:?}");
        refused.expect_problem(503, "provider_unavailable");
        assert_eq!(till.reservation(&id).await.expect(200)["status"], "confirming", "{fault:?}");
        till.sandbox.clear();
        let till = &till;
        until("it goes on with the same hold", || {
            let (own, body) = (own.clone(), with_payment(&id, provider));
            async move {
                let reply = till.post("/api/checkout", &own, body).await;
                match reply.status.as_u16() {
                    409 => reply.expect_problem(409, "payment_in_progress") == Value::Null,
                    _ => reply.expect_success()["payment"]["url"].is_string(),
                }
            }
        })
        .await;
    }
    // Nobody was given two pages of Stripe: the key made each creation one.
    assert_eq!(till.sandbox.sessions().len(), 5);
    assert_eq!(till.stock("PHONE").await, (9, 2, 7, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_meets_a_silent_provider_keeps_the_hold() {
    let till = Till::start_with(&[SHORT]).await;
    let order = begun(&till, "stripe", 1).await;
    // Its own event would tell what the answers do not.
    till.sandbox.hold_events();
    till.sandbox.fail(Call::StripeExpire, Fault::error_after_commit(), 2);
    till.sandbox.fail(Call::StripeExpire, Fault::Garbage, 1);
    until("it was asked in vain", || async { till.sandbox.count(Call::StripeExpire) >= 1 }).await;
    until_order(&till, &order, "cancelled").await;
    assert!(till.sandbox.count(Call::StripeExpire) + till.sandbox.count(Call::StripeRetrieve) >= 2);
    until("the unit is back", || async { till.stock("PHONE").await == (1, 1, 0, 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_checkouts_against_a_provider_that_answers_429_loses_no_hold() {
    const BUYERS: usize = 300;
    let till = Till::start().await;
    product(&till, "PHONE", 400, json!({})).await;
    let buyers: Vec<String> = (0..BUYERS).map(|buyer| format!("buyer-{buyer}")).collect();
    let till = &till;
    let ids = join_all(buyers.iter().map(|buyer| till.held(buyer, "PHONE", 1))).await;
    // Each of these makes all calls rest for longer.
    till.sandbox.fail(Call::StripeCreate, Fault::too_many(), 3);
    let opens = tokio::time::Instant::now();
    let tries = buyers.iter().zip(&ids).enumerate().map(|(rank, (buyer, id))| async move {
        let own = till.customer(buyer);
        // A hundred come each second, four times as many as are taken to the provider.
        tokio::time::sleep_until(opens + Duration::from_millis(10) * rank as u32).await;
        let begun = std::time::Instant::now();
        loop {
            let reply = till.post("/api/checkout", &own, with_payment(id, "stripe")).await;
            match reply.status.as_u16() {
                503 => {}
                409 => drop(reply.expect_problem(409, "payment_in_progress")),
                _ => return reply.expect_success(),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{buyer} waited in vain");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let orders = join_all(tries).await;
    assert!(orders.iter().all(|order| order["status"] == "pending_payment"));
    assert_eq!(till.sandbox.sessions().len(), BUYERS, "no session twice");
    assert_eq!(till.stock("PHONE").await, (400, 100, 300, 0));
    assert!(till.sandbox.count(Call::StripeCreate) >= BUYERS + 3, "it did answer 429");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_checkouts_of_one_hold_at_once_are_one_payment() {
    let till = Till::start().await;
    product(&till, "PHONE", 2, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let own = till.customer("alice");
    let body = with_payment(&id, "stripe");
    let replies = join_all((0..6).map(|_| till.post("/api/checkout", &own, body.clone()))).await;
    let orders: Vec<Value> = replies.into_iter().map(Reply::expect_success).collect();
    assert!(orders.iter().all(|order| order["payment"]["url"] == orders[0]["payment"]["url"]));
    assert_eq!(till.sandbox.sessions().len(), 1);
    // Against a checkout that needs no payment: one of the two, never both.
    let id = till.held("bob", "PHONE", 1).await;
    let own = till.customer("bob");
    let (paid, direct) = tokio::join!(
        till.post("/api/checkout", &own, with_payment(&id, "stripe")),
        till.checkout("bob", &id)
    );
    match (paid.status.as_u16(), direct.status.as_u16()) {
        (201, 409) => drop(direct.expect_problem(409, "payment_in_progress")),
        (200 | 409, 201 | 200) => {}
        other => panic!("{other:?} {paid:#?} {direct:#?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_outlive_a_redis_that_lost_everything() {
    let (_redis, stores) = crate::process::own_redis(&[]).await;
    let till = Till::on(stores, &[]).await;
    let order = begun(&till, "stripe", 1).await;
    redis::cmd("FLUSHALL").exec_async(&mut till.stores.redis().await).await.unwrap();
    // The rebuild gives the payer's unit to nobody else.
    till.reserve("bob", "PHONE", 1).await.expect_problem(409, "insufficient_stock");
    redis::cmd("FLUSHALL").exec_async(&mut till.stores.redis().await).await.unwrap();
    till.pays(&till.only_session());
    until_order(&till, &order, "paid").await;
    until("it is sold", || async { till.stock("PHONE").await == (1, 0, 0, 1) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_leaves_the_pin_of_a_payment_to_its_deadline() {
    let till = Till::start_with(&hasty(&[SOON])).await;
    let order = begun(&till, "stripe", 1).await;
    let prefix = &till.stores.prefix;
    let score = || async {
        let mut redis = till.stores.redis().await;
        let pins: Vec<(String, f64)> = redis::cmd("ZRANGE")
            .arg(format!("{prefix}p:{{PHONE}}"))
            .arg("0")
            .arg("-1")
            .arg("WITHSCORES")
            .query_async(&mut redis)
            .await
            .unwrap();
        pins[0].1 as i64
    };
    let first = score().await;
    until("recovery has met it", || async { score().await > first + 400_000 }).await;
    assert_eq!(till.stock("PHONE").await, (1, 0, 1, 0));
    till.pays(&till.only_session());
    until_order(&till, &order, "paid").await;
}
