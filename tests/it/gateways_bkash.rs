//! bKash as the service asks it, against the sandbox: every way a call can go.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast::payments::gateway::{Attempt, Cause, Gateway, RefundStatus, Standing};
use holdfast::payments::{Gateways, ProviderName};
use holdfast_sandbox::{Call, Fault, Options, Wish};
use redis::AsyncCommands;
use serde_json::json;

use crate::gateways::{World, attempt, faults, id, money, nothing_secret, refused, unknown};

const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__BKASH__TIMEOUT", "3s");

fn bkash(gateways: &Gateways) -> &dyn Gateway {
    gateways.of(ProviderName::Bkash).unwrap()
}

impl World {
    fn bkash(&self) -> &dyn Gateway {
        bkash(&self.gateways)
    }

    /// An attempt whose page is there.
    async fn initiated(&self, minor: i64) -> Attempt {
        let attempt = attempt(minor, "BDT");
        let session = self.bkash().create(&attempt).await.outcome.unwrap();
        Attempt { provider_payment_id: Some(session.provider_payment_id), ..attempt }
    }

    /// An attempt that the customer released.
    async fn released(&self, minor: i64) -> Attempt {
        let attempt = self.initiated(minor).await;
        self.sandbox.wish(id(&attempt), Wish::Success { wallet: None }).unwrap();
        attempt
    }

    /// An attempt that is paid, as the table has it then.
    async fn completed(&self, minor: i64) -> Attempt {
        let attempt = self.released(minor).await;
        let Standing::Paid(receipt) = self.bkash().execute(&attempt).await.outcome.unwrap() else {
            panic!("not paid")
        };
        Attempt { transaction: receipt.transaction, ..attempt }
    }

    /// How it really stands.
    fn truth(&self, attempt: &Attempt) -> String {
        let shown = self.sandbox.bkash_payment(id(attempt)).unwrap();
        shown["transactionStatus"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_made_as_it_was_asked_for() {
    let world = World::new(&[]).await;
    let attempt = attempt(50_000, "BDT");
    let answer = world.bkash().create(&attempt).await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    let sent = &answer.exchanges.last().unwrap().request["body"];
    assert_eq!((&sent["amount"], &sent["mode"]), (&json!("500.00"), &json!("0011")));
    assert_eq!(sent["callbackURL"], "http://127.0.0.1:1/api/payment/bkash/callback");
    let payer = sent["payerReference"].as_str().unwrap();
    assert!(payer.starts_with("buyer-") && !payer.contains("alice"), "{payer}");
    let session = answer.outcome.unwrap();
    assert!(session.url.starts_with(&world.sandbox.url));
    assert_eq!(
        session.expires_at.as_ms(),
        world.clock.load(std::sync::atomic::Ordering::Relaxed) + 86_400_000
    );

    let attempt = Attempt { provider_payment_id: Some(session.provider_payment_id), ..attempt };
    let back = world.sandbox.wish(id(&attempt), Wish::Cancel).unwrap();
    let signature = format!("signature={}&", session.callback_signature.unwrap());
    assert!(back.contains("status=cancel") && back.contains(&signature), "{back}");
    assert_eq!(world.bkash().query(&attempt).await.outcome, Ok(Standing::Open));
    // The same invoice again is refused, and there is nothing to be ended.
    let (cause, code) = refused(world.bkash().create(&attempt).await);
    assert_eq!((cause, code.as_str()), (Cause::Setup, "2031"));
    let unmade = Attempt { provider_payment_id: None, ..attempt };
    let ended = world.bkash().end(&unmade).await;
    assert_eq!((ended.outcome, ended.exchanges.len()), (Ok(Standing::Dead), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_only_when_it_is_executed_and_only_once() {
    let world = World::new(&[]).await;
    let attempt = world.initiated(50_000).await;
    // Nobody released it: not taken, and perhaps later.
    assert_eq!(world.bkash().execute(&attempt).await.outcome, Ok(Standing::Open));
    world.sandbox.wish(id(&attempt), Wish::Failure).unwrap();
    assert_eq!(world.bkash().end(&attempt).await.outcome, Ok(Standing::Open));
    world.sandbox.wish(id(&attempt), Wish::Success { wallet: None }).unwrap();
    assert_eq!(world.bkash().query(&attempt).await.outcome, Ok(Standing::Open));
    let answer = world.bkash().execute(&attempt).await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    let Ok(Standing::Paid(receipt)) = answer.outcome else { panic!("not paid") };
    assert_eq!(receipt.mismatch(attempt.payment, attempt.amount), None);
    // 2062: the query tells.
    let paid = Ok(Standing::Paid(receipt));
    assert_eq!(world.bkash().execute(&attempt).await.outcome, paid);
    assert_eq!(world.bkash().end(&attempt).await.outcome, paid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execute_that_is_not_answered_is_asked_about_and_never_repeated() {
    let world = World::new(&[SHORT]).await;
    let mut all = faults().to_vec();
    all.push((Fault::error_after_commit(), true));
    all.push((Fault::AnswerAfter { status: 200, body: json!({ "message": "?" }) }, true));
    all.push((Fault::code("2003"), false));
    all.push((Fault::code("2117"), false));
    all.push((Fault::code("9999"), false));
    for (fault, done) in all {
        let attempt = world.released(50_000).await;
        let executed = world.sandbox.count(Call::BkashExecute);
        world.sandbox.fail(Call::BkashExecute, fault.clone(), 0);
        let standing = world.bkash().execute(&attempt).await.outcome.unwrap();
        assert_eq!(matches!(standing, Standing::Paid(_)), done, "{fault:?}: {standing:?}");
        assert_eq!(standing == Standing::Open, !done, "{fault:?}");
        assert_eq!(world.sandbox.count(Call::BkashExecute) - executed, 1, "{fault:?}");
        world.sandbox.clear();
    }
    // Neither answers: then it is not known.
    let attempt = world.released(50_000).await;
    world.sandbox.fail(Call::BkashExecute, Fault::Hang, 0);
    world.sandbox.fail(Call::BkashQuery, Fault::Garbage, 0);
    unknown(world.bkash().execute(&attempt).await);
    world.sandbox.clear();
    assert_eq!(world.truth(&attempt), "Completed");
    assert!(matches!(world.bkash().query(&attempt).await.outcome, Ok(Standing::Paid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_to_execute_stands_only_if_the_query_agrees() {
    let world = World::new(&[]).await;
    let shapes = [
        (Fault::code("2023"), Cause::Customer, "2023"),
        (Fault::code("2001"), Cause::Setup, "2001"),
        (
            Fault::Answer {
                status: 200,
                body: json!({ "errorCode": "2057", "errorMessage": "Not a wallet" }),
            },
            Cause::Customer,
            "2057",
        ),
        (
            Fault::Answer { status: 400, body: json!({ "message": "Bad schema" }) },
            Cause::Setup,
            "gateway",
        ),
    ];
    for (fault, cause, code) in shapes {
        let attempt = world.released(50_000).await;
        world.sandbox.fail(Call::BkashExecute, fault, 1);
        let answer = world.bkash().execute(&attempt).await;
        assert_eq!(answer.exchanges.last().unwrap().what, "checkout.payment.status");
        assert_eq!(refused(answer), (cause, code.to_owned()));
    }
    // It says no, and the money was taken all the same.
    let attempt = world.released(50_000).await;
    let lie = json!({ "statusCode": "2023", "statusMessage": "Insufficient Balance" });
    let lie = Fault::AnswerAfter { status: 200, body: lie };
    world.sandbox.fail(Call::BkashExecute, lie, 1);
    assert!(matches!(world.bkash().execute(&attempt).await.outcome, Ok(Standing::Paid(_))));
    // The same wallet and amount a moment later.
    let wallet = Wish::Success { wallet: Some("01770618575".into()) };
    let [first, second] = [world.initiated(9_900).await, world.initiated(9_900).await];
    for attempt in [&first, &second] {
        world.sandbox.wish(id(attempt), wallet.clone()).unwrap();
    }
    let answer = world.bkash().execute(&first).await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    assert!(matches!(answer.outcome, Ok(Standing::Paid(_))));
    let (cause, code) = refused(world.bkash().execute(&second).await);
    assert_eq!((cause, code.as_str()), (Cause::Repeat, "2029"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_repeated_once() {
    let world = World::new(&[SHORT]).await;
    let attempt = world.initiated(50_000).await;
    for (fault, _) in faults() {
        world.sandbox.fail(Call::BkashQuery, fault.clone(), 1);
        let answer = world.bkash().query(&attempt).await;
        assert_eq!(answer.outcome, Ok(Standing::Open), "{fault:?}");
        assert_eq!(answer.exchanges.len(), 2, "{fault:?}");
    }
    world.sandbox.fail(Call::BkashQuery, Fault::Huge, 0);
    unknown(world.bkash().query(&attempt).await);
    world.sandbox.clear();
    let strange = Attempt { provider_payment_id: Some("TR0011x".into()), ..attempt };
    let (cause, code) = refused(world.bkash().query(&strange).await);
    assert_eq!((cause, code.as_str()), (Cause::Setup, "2002"));
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_the_same_however_they_are_written() {
    let world = World::new(&[]).await;
    let attempt = world.released(50_000).await;
    world.sandbox.fail(Call::BkashExecute, Fault::WholeAmount, 1);
    let Ok(Standing::Paid(receipt)) = world.bkash().execute(&attempt).await.outcome else {
        panic!("not paid")
    };
    assert_eq!(receipt.mismatch(attempt.payment, attempt.amount), None);
    let fitting = attempt;
    for (members, mismatch) in [
        (json!({ "amount": "499.99" }), "amount"),
        (json!({ "currency": "USD" }), "currency"),
        (json!({ "merchantInvoice": "another", "merchantInvoiceNumber": null }), "reference"),
    ] {
        world.sandbox.tamper(id(&fitting), members);
        let standing = world.bkash().query(&fitting).await.outcome.unwrap();
        let Standing::Paid(receipt) = standing else { panic!("{standing:?}") };
        assert_eq!(receipt.mismatch(fitting.payment, fitting.amount), Some(mismatch));
    }
    let bkash = world.bkash();
    assert!(bkash.accepts(money(1, "BDT")).is_ok());
    for (amount, code) in
        [(money(1, "USD"), "currency_not_supported"), (money(0, "BDT"), "amount_not_supported")]
    {
        let attempt = Attempt { amount, ..fitting.clone() };
        let refusal = refused(bkash.create(&attempt).await);
        assert_eq!(refusal, (Cause::Order, code.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_is_not_answered_moves_no_money() {
    let world = World::new(&[SHORT]).await;
    world.initiated(100).await;
    for (fault, _) in faults() {
        world.sandbox.fail(Call::BkashCreate, fault.clone(), 1);
        let attempt = attempt(50_000, "BDT");
        let reason = unknown(world.bkash().create(&attempt).await);
        assert!(!reason.is_empty(), "{fault:?}");
        assert_eq!(world.bkash().end(&attempt).await.outcome, Ok(Standing::Dead));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_share_one_token() {
    let world = World::new(&[]).await;
    let replica = world.replica(&[]).await;
    let attempts: Vec<Attempt> = (0..20).map(|_| attempt(50_000, "BDT")).collect();
    let gateways = [&world.gateways, &replica];
    let create = |(number, attempt)| bkash(gateways[number % 2]).create(attempt);
    let answers = join_all(attempts.iter().enumerate().map(create)).await;
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()), "{answers:#?}");
    assert_eq!(world.sandbox.count(Call::BkashGrant), 1);

    // Redis does not know it: what it keeps is sealed, and gone before the hour is over.
    let mut redis = world.stores.redis().await;
    let key = format!("{}bkash:token", world.stores.prefix);
    let kept: Vec<u8> = redis.get(&key).await.unwrap();
    assert!(kept.len() > 180 && std::str::from_utf8(&kept).is_err());
    let ttl: i64 = redis.ttl(&key).await.unwrap();
    assert!((49 * 60..=55 * 60).contains(&ttl), "{ttl}");

    // Revoked: one of them renews it, and every call succeeds.
    world.sandbox.revoke_tokens();
    let answers = join_all((0..10).map(|n| {
        let attempt = &attempts[n];
        bkash(gateways[n % 2]).refund_status(attempt, "k")
    }))
    .await;
    // Nothing is paid, which a payment without an id tells without a call.
    assert!(answers.iter().all(|answer| answer.exchanges.is_empty()));
    let made: Vec<Attempt> = join_all((0..10).map(|_| world.initiated(100))).await;
    assert_eq!(made.len(), 10);
    let grants = world.sandbox.count(Call::BkashGrant);
    assert!((2..=3).contains(&grants), "{grants}");

    // An hour later.
    world.sandbox.advance(Duration::from_secs(3_601));
    world.initiated(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_do_not_fit_are_said_and_not_tried_in_a_row() {
    let world = World::new(&[]).await;
    let other = world.replica(&[SHORT, ("BKASH_PASSWORD", "wrong-password")]).await;
    let attempt = attempt(50_000, "BDT");
    let answer = bkash(&other).create(&attempt).await;
    let text = serde_json::to_string(&answer.exchanges).unwrap();
    assert!(text.contains("401") && !text.contains("wrong-password"), "{text}");
    assert_eq!(refused(answer).0, Cause::Setup);
    let grants = world.sandbox.count(Call::BkashGrant);
    // The next one waits for its turn longer than a call may take.
    unknown(bkash(&other).create(&attempt).await);
    assert_eq!(world.sandbox.count(Call::BkashGrant), grants);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_is_shut_out_knows_nothing() {
    let options = Options { grants_per_hour: 1, ..Options::default() };
    let world = World::with(options, &[]).await;
    let attempt = world.initiated(50_000).await;
    world.sandbox.revoke_tokens();
    assert!(unknown(world.bkash().query(&attempt).await).contains("429"));
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_that_go_wrong_are_no_answer() {
    let world = World::new(&[SHORT]).await;
    for (fault, _) in faults() {
        let attempt = attempt(50_000, "BDT");
        let other = World::with(Options::default(), &[SHORT]).await;
        other.sandbox.fail(Call::BkashGrant, fault.clone(), 1);
        let answer = other.bkash().create(&attempt).await;
        nothing_secret(&other.sandbox, &answer.exchanges);
        unknown(answer);
        assert_eq!(other.sandbox.count(Call::BkashCreate), 0, "{fault:?}");
    }
    world.sandbox.fail(Call::BkashGrant, Fault::code("2001"), 1);
    assert_eq!(refused(world.bkash().create(&attempt(1, "BDT")).await).0, Cause::Setup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_made_once() {
    let world = World::new(&[SHORT]).await;
    let bkash = world.bkash();
    let attempt = world.completed(50_000).await;
    assert_eq!(bkash.refund_status(&attempt, "k").await.outcome, Ok(None));
    let answer = bkash.refund(&attempt, "k").await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    let refund = answer.outcome.unwrap();
    assert_eq!(refund.status, RefundStatus::Succeeded);
    assert_eq!(bkash.refund(&attempt, "k").await.outcome, Ok(refund.clone()));
    assert_eq!(bkash.refund_status(&attempt, "k").await.outcome, Ok(Some(refund)));
    assert_eq!(world.sandbox.count(Call::BkashRefund), 1);

    for (fault, done) in faults() {
        // The transaction's number was not stored: it is asked for.
        let attempt = Attempt { transaction: None, ..world.completed(50_000).await };
        world.sandbox.fail(Call::BkashRefund, fault.clone(), 1);
        let answer = bkash.refund(&attempt, "k").await;
        assert_eq!(answer.outcome.is_ok(), done, "{fault:?}: {answer:#?}");
        bkash.refund(&attempt, "k").await.outcome.unwrap();
        let status = bkash.refund_status(&attempt, "k").await.outcome.unwrap();
        assert_eq!(status.unwrap().status, RefundStatus::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_refused_says_why() {
    let world = World::new(&[]).await;
    let bkash = world.bkash();
    let unpaid = world.initiated(50_000).await;
    let refusal = refused(bkash.refund(&unpaid, "k").await);
    assert_eq!(refusal, (Cause::Setup, "not_paid".to_owned()));
    let attempt = world.completed(50_000).await;
    let too_old = json!({
        "internalCode": "refund_too_old", "externalCode": "2071", "errorMessageEn": "Too old",
        "errorMessageBn": "…",
    });
    let too_old = Fault::Answer { status: 400, body: too_old };
    world.sandbox.fail(Call::BkashRefund, too_old, 1);
    let refusal = refused(bkash.refund(&attempt, "k").await);
    assert_eq!(refusal, (Cause::Setup, "2071".to_owned()));
    let other = Attempt { transaction: Some("ANOTHER".into()), ..attempt };
    let refusal = refused(bkash.refund(&other, "k").await);
    assert_eq!(refusal, (Cause::Setup, "2077".to_owned()));
}
