//! Stripe as the service asks it: crowds, refunds, refusals, events.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::kernel::Clock;
use holdfast::payments::gateway::{Attempt, Cause, GatewayError, RefundStatus, Standing};
use holdfast::payments::{News, ProviderName};
use holdfast_sandbox::{Act, Call, Fault, Options, RefundEnd};
use serde_json::json;

use crate::gateways::{SHORT, World, attempt, faults, id, money, nothing_secret, refused, unknown};

const TEN_SECONDS: (&str, &str) = ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "10s");

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_stays_below_the_pace_of_stripe_over_all_replicas() {
    // What a loaded machine lets arrive together is not what is tried here.
    let options = Options { calls_per_second: 60, ..Options::default() };
    let world = World::with(options, &[TEN_SECONDS]).await;
    let replica = world.replica(&[TEN_SECONDS]).await;
    let gateways = [&world.gateways, &replica];
    let create = async |number: usize| {
        let stripe = gateways[number % 2].of(ProviderName::Stripe).unwrap();
        let begun = Instant::now();
        (stripe.create(&world.attempt(1_999)).await, begun.elapsed())
    };
    let answers = join_all((0..60).map(create)).await;
    assert!(answers.iter().all(|(answer, _)| answer.outcome.is_ok()));
    let statuses: Vec<_> = world.sandbox.seen().into_iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [Some(200); 60]);
    let longest = answers.iter().map(|(_, took)| *took).max().unwrap();
    // Four at once, then sixteen a second.
    assert!(longest > Duration::from_millis(3_400), "{longest:?}");

    // A line has an end: who does not fit in is told at once, and nothing was sent for them.
    let stripe = world.stripe();
    let attempts: Vec<Attempt> = (0..200).map(|_| world.attempt(1_999)).collect();
    let answers = join_all(attempts.iter().map(|attempt| stripe.create(attempt))).await;
    let full = answers.iter().filter(|answer| answer.exchanges.is_empty()).count();
    assert!((100..=140).contains(&full), "{full}");
    assert!(world.sandbox.seen().iter().all(|seen| seen.status == Some(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_429_makes_no_session_twice_and_loses_none() {
    let world = World::new(&[]).await;
    let attempts: Vec<Attempt> = (0..20).map(|_| world.attempt(1_999)).collect();
    world.sandbox.fail(Call::StripeCreate, Fault::too_many(), 5);
    let stripe = world.stripe();
    let mut left = attempts.clone();
    let end = Instant::now() + Duration::from_secs(30);
    while !left.is_empty() {
        assert!(Instant::now() < end, "{} are left", left.len());
        let answers = join_all(left.iter().map(|attempt| stripe.create(attempt))).await;
        let answered = left.into_iter().zip(answers);
        left = answered.filter(|(_, a)| a.outcome.is_err()).map(|(attempt, _)| attempt).collect();
    }
    assert_eq!(world.sessions(), attempts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_made_once_for_each_key() {
    let world = World::new(&[]).await;
    let stripe = world.stripe();
    let attempt = world.paid(1_999).await;
    assert_eq!(stripe.refund_status(&attempt, "refund:1").await.outcome, Ok(None));
    let refund = stripe.refund(&attempt, "refund:1").await.outcome.unwrap();
    assert_eq!(refund.status, RefundStatus::Succeeded);
    let again = stripe.refund(&attempt, "refund:1").await;
    nothing_secret(&world.sandbox, &again.exchanges);
    assert_eq!(again.outcome, Ok(refund.clone()));
    let found = stripe.refund_status(&attempt, "refund:1").await.outcome;
    assert_eq!(found, Ok(Some(refund.clone())));
    assert_eq!(stripe.refund_status(&attempt, "refund:2").await.outcome, Ok(None));
    // All is given back: another key finds nothing to give.
    let (cause, code) = refused(stripe.refund(&attempt, "refund:2").await);
    assert_eq!((cause, code.as_str()), (Cause::Setup, "charge_already_refunded"));
    // Stripe has forgotten the key, and not the refund.
    world.sandbox.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(stripe.refund(&attempt, "refund:1").await.outcome, Ok(refund));
    assert_eq!(world.sandbox.refunds().len(), 1);
    assert_eq!(world.sandbox.refunds()[0]["amount"], 1_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_answer_is_lost_is_not_made_twice() {
    let world = World::new(&[SHORT]).await;
    for (number, (fault, _)) in faults().into_iter().enumerate() {
        let attempt = world.paid(1_999).await;
        world.sandbox.fail(Call::StripeRefund, fault.clone(), 0);
        let key = format!("refund:{}", attempt.payment);
        unknown(world.stripe().refund(&attempt, &key).await);
        world.sandbox.clear();
        // A crash kept what it names from being stored: it is asked for.
        let forgotten = Attempt { intent: None, ..attempt };
        world.stripe().refund(&forgotten, &key).await.outcome.unwrap();
        assert_eq!(world.sandbox.refunds().len(), number + 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_may_take_time_or_fail() {
    let world = World::new(&[]).await;
    world.sandbox.delay_refunds(true);
    for (end, status) in
        [(RefundEnd::Succeed, RefundStatus::Succeeded), (RefundEnd::Fail, RefundStatus::Failed)]
    {
        let attempt = world.paid(1_999).await;
        let key = format!("refund:{}", attempt.payment);
        let refund = world.stripe().refund(&attempt, &key).await.outcome.unwrap();
        assert_eq!(refund.status, RefundStatus::Pending);
        world.sandbox.end_refund(&refund.id, end).unwrap();
        let found = world.stripe().refund_status(&attempt, &key).await.outcome.unwrap().unwrap();
        assert_eq!((found.id, found.status), (refund.id, status));
    }
    let unpaid = world.begun(1_999).await;
    let (cause, code) = refused(world.stripe().refund(&unpaid, "k").await);
    assert_eq!((cause, code.as_str()), (Cause::Setup, "not_paid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_whose_affair_it_is() {
    let world = World::new(&[]).await;
    let stripe = world.stripe();
    let (cause, code) = refused(stripe.create(&world.attempt(49)).await);
    assert_eq!((cause, code.as_str()), (Cause::Order, "amount_too_small"));
    for (amount, refusal) in [
        (money(1_999, "USD"), None),
        (money(1_999, "BDT"), None),
        (money(1_999, "EUR"), Some("currency_not_supported")),
        (money(1_999, "JPY"), Some("currency_not_supported")),
        (money(0, "USD"), Some("amount_not_supported")),
        (money(100_000_000, "USD"), Some("amount_not_supported")),
    ] {
        let code = match stripe.accepts(amount) {
            Ok(()) => None,
            Err(GatewayError::Refused { cause: Cause::Order, code, .. }) => Some(code),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(code.as_deref(), refusal, "{amount} {}", amount.currency);
    }
    let before = world.sandbox.seen().len();
    let (cause, _) = refused(stripe.create(&attempt(1_999, "EUR")).await);
    assert_eq!((cause, world.sandbox.seen().len()), (Cause::Order, before));
    let declined = json!({ "error": { "type": "card_error", "code": "card_declined" } });
    world.sandbox.fail(Call::StripeCreate, Fault::Answer { status: 402, body: declined }, 1);
    assert_eq!(refused(stripe.create(&world.attempt(1_999)).await).0, Cause::Customer);

    let other = world.replica(&[("STRIPE_SECRET_KEY", "sk_test_of_somebody_else")]).await;
    let other = other.of(ProviderName::Stripe).unwrap();
    let answer = other.create(&world.attempt(1_999)).await;
    let text = serde_json::to_string(&answer.exchanges).unwrap();
    assert!(text.contains("401") && !text.contains("of_somebody_else"), "{text}");
    assert_eq!(refused(answer).0, Cause::Setup);
    // A key that does not fit is no reason to let stock go.
    let begun = world.begun(1_999).await;
    assert_eq!(refused(other.end(&begun).await).0, Cause::Setup);
    assert_eq!(refused(other.end(&world.attempt(1_999)).await).0, Cause::Setup);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_sandbox_are_believed_and_read() {
    let world = World::new(&[]).await;
    let stripe = world.gateways.stripe().unwrap();
    let attempt = world.begun(1_999).await;
    world.sandbox.act(id(&attempt), Act::Pay).unwrap();
    let paid = Attempt { intent: None, ..attempt.clone() };
    world.stripe().refund(&paid, "refund:1").await.outcome.unwrap();
    let foreign = world.begun(1_999).await;
    world.sandbox.tamper(id(&foreign), json!({ "livemode": true }));
    world.sandbox.act(id(&foreign), Act::Pay).unwrap();

    let now = Clock::System.now();
    let mut kinds = Vec::new();
    for event in world.sandbox.events() {
        let (body, header) = world.sandbox.signed_event(event["id"].as_str().unwrap()).unwrap();
        let read = stripe.verify_webhook(body.as_bytes(), Some(&header), now).unwrap();
        let shown = serde_json::to_string(&read.exchange).unwrap();
        assert!(!shown.contains("buyer@example.com"), "{shown}");
        let forged = body.replace("1999", "1");
        stripe.verify_webhook(forged.as_bytes(), Some(&header), now).unwrap_err();
        match &read.news {
            News::Session { reference, standing: Some(Standing::Paid(receipt)), .. } => {
                let ours = reference.as_deref() == Some(attempt.payment.to_string().as_str());
                assert_eq!(ours, read.mode_fits);
                let mismatch = receipt.mismatch(attempt.payment, attempt.amount);
                assert_eq!(mismatch.is_none(), ours);
            }
            News::Refund { key, refund, .. } => {
                assert_eq!(key.as_deref(), Some("refund:1"));
                assert_eq!(refund.as_ref().unwrap().status, RefundStatus::Succeeded);
            }
            News::ChargeRefunded { amount, .. } => assert_eq!(*amount, Some(attempt.amount)),
            other => panic!("{other:?}"),
        }
        kinds.push(read.kind);
    }
    let completed = "checkout.session.completed";
    assert_eq!(kinds, [completed, "refund.created", "charge.refunded", completed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_without_keys_is_off() {
    let world = World::new(&[]).await;
    let keyless = [
        ("STRIPE_SECRET_KEY", ""),
        ("BKASH_APP_KEY", ""),
        ("BKASH_APP_SECRET", ""),
        ("BKASH_USERNAME", ""),
        ("BKASH_PASSWORD", ""),
    ];
    let off = world.replica(&keyless).await;
    assert!(off.of(ProviderName::Stripe).is_none() && off.of(ProviderName::Bkash).is_none());
    assert!(off.stripe().is_none());
}
