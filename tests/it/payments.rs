//! Paying here, over HTTP, with both providers: the main ways, and what every route refuses.

use holdfast_sandbox::{Act, Call, Fault, Wish};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, until};
use crate::till::{
    BACK_URL, OK_URL, Till, asked, come_back, ordered, product, refunds_of_bkash, until_order,
    until_payment, with_payment,
};

/// Payments may be paid for so long.
const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__WINDOW", "3s");

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_paid_with_stripe_and_sold_on_its_signed_word() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({ "hold_ttl_seconds": 20 })).await;
    let id = till.held("alice", "PHONE", 2).await;
    let order = ordered(&till, "alice", &id, "stripe").await;
    assert_eq!(
        (&order["status"], &order["reservation_id"]),
        (&json!("pending_payment"), &json!(id))
    );
    let payment = &order["payment"];
    assert_eq!((&payment["status"], &payment["amount"]), (&json!("pending"), &json!("200.00")));
    assert!(payment["url"].as_str().unwrap().starts_with(&till.sandbox.url));
    assert_eq!(till.stock("PHONE").await, (3, 1, 2, 0));

    // The hold stands still until the payment's deadline, whatever its own was.
    assert_eq!(till.reservation(&id).await.expect(200)["status"], "confirming");
    let own = till.customer("alice");
    let path = format!("/api/reservations/{id}");
    till.delete(&path, &own).await.expect_problem(409, "payment_in_progress");
    let more = till.post(&format!("{path}/extend"), &own, json!({ "seconds": 9 })).await;
    more.expect_problem(409, "payment_in_progress");
    till.checkout("alice", &id).await.expect_problem(409, "payment_in_progress");
    let again = till.post("/api/checkout", &own, with_payment(&id, "stripe")).await.expect(200);
    assert_eq!(again, order);

    till.pays(&till.only_session());
    let paid = until_order(&till, &order, "paid").await;
    assert_eq!(paid["payment"]["status"], "paid");
    assert_eq!(paid["payment"]["url"], Value::Null);
    assert!(paid["payment"]["transaction_id"].is_string());
    until("it is settled", || async { till.stock("PHONE").await == (3, 1, 0, 2) }).await;
    let reservation = till.reservation(&id).await.expect(200);
    assert_eq!(
        (&reservation["status"], &reservation["order_id"]),
        (&json!("confirmed"), &order["id"])
    );
    let placed = till.checkout("alice", &id).await.expect(200);
    assert_eq!((&placed["id"], &placed["payment"]["status"]), (&order["id"], &json!("paid")));
    assert_eq!(till.sandbox.count(Call::StripeCreate), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_makes_ends_at_its_deadline_provider_first() {
    let till = Till::start_with(&[SHORT]).await;
    product(&till, "PHONE", 3, json!({})).await;
    for provider in ["stripe", "bkash"] {
        let id = till.held("alice", "PHONE", 2).await;
        let order = ordered(&till, "alice", &id, provider).await;
        let ended = until_order(&till, &order, "cancelled").await;
        assert_eq!(ended["payment"]["status"], "expired");
        until("the units are back", || async { till.stock("PHONE").await == (3, 3, 0, 0) }).await;
        let own = till.customer("alice");
        assert_eq!(till.reservation(&id).await.expect(200)["status"], "expired");
        let again = till.post("/api/checkout", &own, with_payment(&id, provider)).await;
        again.expect_problem(410, "reservation_expired");
        let order =
            json!({ "order_id": order["id"], "success_url": OK_URL, "cancel_url": BACK_URL });
        let again = till.post("/api/payment/stripe/session", &own, order).await;
        again.expect_problem(409, "order_cancelled");
    }
    let session = till.sandbox.session(&till.only_session()).unwrap();
    assert_eq!(session["status"], "expired", "the page is closed before the units go");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_paid_with_bkash_when_the_buyer_comes_back() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let body = json!({ "reservation_id": id, "success_url": format!("{OK_URL}?a=b#top"), "cancel_url": BACK_URL });
    let begun =
        till.post("/api/payment/bkash/initiate", &till.customer("alice"), body.clone()).await;
    let location = begun.headers["location"].to_str().unwrap().to_owned();
    let payment = begun.expect(201);
    assert_eq!(location, format!("/api/payments/{}", payment["id"].as_str().unwrap()));
    assert_eq!(payment["provider"], "bkash");
    let stood = till.post("/api/payment/bkash/initiate", &till.customer("alice"), body).await;
    assert_eq!(stood.expect(200), payment);
    let back = till.releases(&payment).await;
    assert_eq!(back.status, 303);
    let pay = payment["id"].as_str().unwrap();
    assert_eq!(back.headers["location"], format!("{OK_URL}?a=b&payment_id={pay}&status=paid#top"));
    let paid = until_payment(&till, &payment, "paid").await;
    assert!(paid["transaction_id"].is_string());
    until("it is settled", || async { till.stock("PHONE").await == (3, 2, 0, 1) }).await;
    assert_eq!(till.sandbox.count(Call::BkashExecute), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_who_gives_up_at_bkash_ends_the_attempt_and_nothing_else() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    for (wish, status) in [(Wish::Cancel, "cancelled"), (Wish::Failure, "failed")] {
        let id = till.held("alice", "PHONE", 1).await;
        let order = ordered(&till, "alice", &id, "bkash").await;
        let way = till.wished(&order["payment"], wish);
        let back = come_back(&till, &way).await;
        let location = back.headers["location"].to_str().unwrap().to_owned();
        assert!(location.starts_with(BACK_URL), "{location}");
        assert!(location.ends_with(&format!("status={status}")), "{location}");
        until_payment(&till, &order["payment"], status).await;
        until("the unit is back", || async { till.stock("PHONE").await == (3, 3, 0, 0) }).await;
        // Coming back once more changes nothing.
        assert_eq!(come_back(&till, &way).await.status, 303);
        until_order(&till, &order, "cancelled").await;
    }
    assert_eq!(till.sandbox.count(Call::BkashExecute), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_paid_whole_and_leaves_the_cart_with_the_sale() {
    let till = Till::start().await;
    let [phone, case] =
        [product(&till, "PHONE", 3, json!({})).await, product(&till, "CASE", 5, json!({})).await];
    let own = till.customer("alice");
    for (product, quantity) in [(phone, 1), (case, 2)] {
        let line = json!({ "product_id": product, "quantity": quantity });
        till.post("/api/cart/items", &own, line).await.expect_success();
    }
    // One of the lines is held already, alone: it is used.
    till.held("alice", "PHONE", 1).await;
    let order =
        till.post("/api/orders", &own, json!({ "payment": asked("stripe") })).await.expect(201);
    assert_eq!(
        (&order["status"], &order["total_amount"]),
        (&json!("pending_payment"), &json!("300.00"))
    );
    assert_eq!((till.stock("PHONE").await, till.stock("CASE").await), ((3, 2, 1, 0), (5, 3, 2, 0)));
    let kept = till.get("/api/cart", &own).await.expect(200);
    assert_eq!(kept["items"].as_array().unwrap().len(), 2);
    till.post("/api/orders", &own, json!({ "payment": asked("stripe") }))
        .await
        .expect_problem(409, "already_held");
    till.pays(&till.only_session());
    until_order(&till, &order, "paid").await;
    until("all is settled", || async {
        (till.stock("PHONE").await, till.stock("CASE").await) == ((3, 2, 0, 1), (5, 3, 0, 2))
    })
    .await;
    let left = till.get("/api/cart", &own).await.expect(200);
    assert_eq!(left["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_awaits_its_payment_is_cancelled_provider_first() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    for provider in ["stripe", "bkash"] {
        let id = till.held("alice", "PHONE", 1).await;
        let order = ordered(&till, "alice", &id, provider).await;
        let path = format!("/api/orders/{}/cancel", order["id"].as_str().unwrap());
        till.post(&path, &till.customer("bob"), json!({})).await.expect_problem(404, "not_found");
        let cancelled = till.post(&path, &till.customer("alice"), json!({})).await.expect(200);
        assert_eq!(cancelled["status"], "cancelled");
        assert_eq!(cancelled["payment"]["status"], "cancelled");
        assert_eq!(till.stock("PHONE").await, (3, 3, 0, 0));
        assert_eq!(till.reservation(&id).await.expect(200)["status"], "cancelled");
        till.post(&path, &till.customer("alice"), json!({})).await.expect(200);
    }
    assert_eq!(till.sandbox.session(&till.only_session()).unwrap()["status"], "expired");

    // The money was faster: the order is paid.
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "stripe").await;
    till.sandbox.hold_events();
    till.pays(till.sandbox.sessions().last().unwrap());
    let path = format!("/api/orders/{}/cancel", order["id"].as_str().unwrap());
    let late = till.post(&path, &till.customer("alice"), json!({})).await;
    late.expect_problem(409, "order_paid");
    until_order(&till, &order, "paid").await;
    till.sandbox.release_events(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_order_is_refunded_money_first() {
    let till = Till::start().await;
    for (number, provider) in ["stripe", "bkash"].into_iter().enumerate() {
        let sku = format!("PHONE-{number}");
        product(&till, &sku, 3, json!({ "max_per_buyer": 1 })).await;
        let id = till.held("alice", &sku, 1).await;
        let order = ordered(&till, "alice", &id, provider).await;
        if provider == "stripe" {
            till.pays(&till.only_session());
        } else {
            till.releases(&order["payment"]).await;
        }
        until_order(&till, &order, "paid").await;
        let path = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
        till.post(&path, &till.customer("alice"), json!({})).await.expect_problem(403, "forbidden");
        let root = till.admin();
        let refunds = (0..4).map(|_| till.post(&path, &root, json!({})));
        for reply in futures_util::future::join_all(refunds).await {
            match reply.status.as_u16() {
                200 => assert_eq!(reply.body["payment"]["status"], "refunded"),
                _ => drop(reply.expect_problem(409, "payment_in_progress")),
            }
        }
        let refunded = till.post(&path, &till.admin(), json!({})).await.expect(200);
        assert_eq!(refunded["status"], "refunded");
        assert_eq!(till.stock(&sku).await, (3, 3, 0, 0));
        till.held("alice", &sku, 1).await;
    }
    assert_eq!(till.sandbox.refunds().len(), 1);
    assert_eq!(refunds_of_bkash(&till.sandbox), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_provider_refuses_leaves_the_order_paid() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "bkash").await;
    till.releases(&order["payment"]).await;
    until_order(&till, &order, "paid").await;
    let refused = Fault::Answer {
        status: 400,
        body: json!({ "internalCode": "x", "externalCode": "2071", "errorMessageEn": "too old", "errorMessageBn": "-" }),
    };
    till.sandbox.fail(Call::BkashRefund, refused, 1);
    let path = format!("/api/orders/{}/refund", order["id"].as_str().unwrap());
    let refused = till.post(&path, &till.admin(), json!({})).await;
    assert_eq!(refused.expect_problem(409, "refund_refused")["reason"], "2071");
    until_order(&till, &order, "paid").await;
    till.post(&path, &till.admin(), json!({})).await.expect(200);
    assert_eq!(till.stock("PHONE").await, (3, 3, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_may_be_paid_with_the_other_provider_once_the_first_said_no() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "stripe").await;
    let ask = json!({ "order_id": order["id"], "success_url": OK_URL, "cancel_url": BACK_URL });
    let own = till.customer("alice");
    till.post("/api/payment/bkash/initiate", &till.customer("bob"), ask.clone())
        .await
        .expect_problem(404, "not_found");
    let other = till.post("/api/payment/bkash/initiate", &own, ask.clone()).await.expect(201);
    assert_eq!(till.sandbox.session(&till.only_session()).unwrap()["status"], "expired");
    until_payment(&till, &order["payment"], "cancelled").await;
    till.releases(&other).await;
    let paid = until_order(&till, &order, "paid").await;
    assert_eq!(paid["payment"]["id"], other["id"]);
    till.post("/api/payment/stripe/session", &own, ask).await.expect_problem(409, "order_paid");
    let bought = json!({ "reservation_id": id, "success_url": OK_URL, "cancel_url": BACK_URL });
    let bought = till.post("/api/payment/stripe/session", &own, bought).await;
    bought.expect_problem(409, "already_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_seen_by_its_buyer_and_what_was_said_by_an_admin() {
    let till = Till::start().await;
    product(&till, "PHONE", 3, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "bkash").await;
    till.releases(&order["payment"]).await;
    let path = format!("/api/payments/{}", order["payment"]["id"].as_str().unwrap());
    let own = till.get(&path, &till.customer("alice")).await.expect(200);
    assert_eq!((&own["order_id"], own.get("exchanges")), (&order["id"], None));
    till.get(&path, &till.customer("bob")).await.expect_problem(404, "not_found");
    till.get(&path, &till.merchant("maker")).await.expect_problem(404, "not_found");
    assert!(till.get(&path, &till.service()).await.expect(200).get("exchanges").is_none());
    let seen = till.get(&path, &till.admin()).await.expect(200);
    let said = seen["exchanges"].to_string();
    let operations: Vec<&str> = seen["exchanges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|exchange| exchange["operation"].as_str().unwrap())
        .collect();
    assert!(operations.contains(&"callback"), "{operations:?}");
    assert!(operations.len() >= 3, "{operations:?}");
    let keys = till.sandbox.keys();
    for secret in [keys.bkash_app_secret, keys.bkash_password, keys.stripe_secret_key] {
        assert!(!said.contains(&secret), "a secret was kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paid_here_is_refused_before_anything_is_pinned() {
    let till = Till::start().await;
    let own = till.customer("alice");
    product(&till, "YEN", 3, json!({ "currency": "JPY", "price": "500" })).await;
    product(&till, "FREE", 3, json!({ "price": "0" })).await;
    product(&till, "PHONE", 3, json!({})).await;
    for sku in ["YEN", "FREE"] {
        let id = till.held("alice", sku, 1).await;
        let reply = till.post("/api/checkout", &own, with_payment(&id, "stripe")).await;
        reply.expect_problem(422, "not_payable");
        assert_eq!(till.reservation(&id).await.expect(200)["status"], "held");
    }
    let id = till.held("alice", "PHONE", 1).await;
    for (field, url) in
        [("success_url", "https://evil.example/ok"), ("cancel_url", "javascript:alert(1)")]
    {
        let mut body = with_payment(&id, "stripe");
        body["payment"][field] = json!(url);
        let refused = till.post("/api/checkout", &own, body).await;
        assert_eq!(refused.expect_problem(422, "invalid_field")["errors"][0]["field"], field);
    }
    for body in [
        json!({ "success_url": OK_URL, "cancel_url": BACK_URL }),
        json!({ "reservation_id": id, "order_id": "01935f6e-8a2b-7c3d-9e4f-5a6b7c8d9e0f", "success_url": OK_URL, "cancel_url": BACK_URL }),
    ] {
        till.post("/api/payment/stripe/session", &own, body)
            .await
            .expect_problem(422, "invalid_field");
    }
    assert_eq!(till.reservation(&id).await.expect(200)["status"], "held");
    let unknown = "/api/payment/bkash/callback?paymentID=TR0011nobody&status=success";
    till.anonymous(Method::GET, unknown).await.expect_problem(404, "not_found");
    let odd = "/api/payment/bkash/callback?paymentID=TR0011nobody&status=perhaps";
    till.anonymous(Method::GET, odd).await.expect_problem(422, "invalid_field");
    let (long, signed) = ("x".repeat(65), "x".repeat(1_025));
    for (query, field) in [
        ("paymentID=TR%00&status=success".to_owned(), "paymentID"),
        (format!("paymentID={long}&status=success"), "paymentID"),
        (format!("paymentID=TR1&status=success&signature={signed}"), "signature"),
    ] {
        let path = format!("/api/payment/bkash/callback?{query}");
        let refused = till.anonymous(Method::GET, &path).await.expect_problem(422, "invalid_field");
        assert_eq!(refused["errors"][0]["field"], field);
    }
    assert_eq!(till.sandbox.count(Call::StripeCreate) + till.sandbox.count(Call::BkashQuery), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_over_and_the_unit_is_back() {
    let till = Till::start().await;
    // Worth less than Stripe takes.
    product(&till, "PIN", 3, json!({ "price": "10.00" })).await;
    let id = till.held("alice", "PIN", 1).await;
    let own = till.customer("alice");
    let refused = till.post("/api/checkout", &own, with_payment(&id, "stripe")).await;
    assert_eq!(refused.expect_problem(409, "payment_refused")["reason"], "amount_too_small");
    until("the unit is back", || async { till.stock("PIN").await == (3, 3, 0, 0) }).await;
    let again = till.post("/api/checkout", &own, with_payment(&id, "stripe")).await;
    again.expect_problem(410, "reservation_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_every_provider_is_off() {
    let app = TestApp::start().await;
    app.product("PHONE", 3, json!({})).await;
    let id = app.held("alice", "PHONE", 1).await;
    let own = app.customer("alice");
    let body = json!({ "reservation_id": id, "success_url": OK_URL, "cancel_url": BACK_URL });
    for path in ["/api/payment/stripe/session", "/api/payment/bkash/initiate"] {
        app.post(path, &own, body.clone()).await.expect_problem(404, "provider_disabled");
    }
    for provider in ["stripe", "bkash"] {
        let reply = app.post("/api/checkout", &own, with_payment(&id, provider)).await;
        reply.expect_problem(404, "provider_disabled");
        let reply = app.post("/api/orders", &own, json!({ "payment": asked(provider) })).await;
        reply.expect_problem(404, "provider_disabled");
    }
    let event = app.send(app.request(Method::POST, "/api/payment/stripe/webhook").body("{}")).await;
    event.expect_problem(404, "provider_disabled");
    let callback = "/api/payment/bkash/callback?paymentID=TR0011x&status=success";
    app.anonymous(Method::GET, callback).await.expect_problem(404, "provider_disabled");
    assert_eq!(app.reservation(&id).await.expect(200)["status"], "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_left_unpaid_after_checkout_is_not_sold() {
    let till = Till::start().await;
    product(&till, "PHONE", 1, json!({})).await;
    let id = till.held("alice", "PHONE", 1).await;
    let order = ordered(&till, "alice", &id, "stripe").await;
    // A delayed method: the buyer is through, the money is not there.
    till.sandbox.act(&till.only_session(), Act::PayLater).unwrap();
    until("the event is kept", || async { !till.sandbox.events().is_empty() }).await;
    till.reserve("bob", "PHONE", 1).await.expect_problem(409, "insufficient_stock");
    assert_eq!(until_order(&till, &order, "pending_payment").await["payment"]["status"], "pending");
    till.sandbox.act(&till.only_session(), Act::Succeed).unwrap();
    until_order(&till, &order, "paid").await;
}
