//! Stripe as the service asks it, against the sandbox: every way a call can go.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::kernel::{Clock, Money, OrderId, PaymentId};
use holdfast::payments::gateway::{
    Answer, Attempt, AttemptLine, Cause, Exchange, Gateway, GatewayError, RefundStatus, Session,
    Standing,
};
use holdfast::payments::{Gateways, News, ProviderName};
use holdfast::platform::redis::{Redis, Via};
use holdfast_sandbox::{Act, Call, Fault, Options, RefundEnd, Sandbox};
use serde_json::json;

use crate::app::{Stores, maintenance_url, redis_url};

/// Providers, and a service's way to them.
pub struct World {
    pub sandbox: Sandbox,
    pub gateways: Gateways,
    pub stores: Stores,
    pub clock: Arc<AtomicI64>,
}

impl World {
    /// With the sandbox as it is and these settings.
    pub async fn new(more: &[(&str, &str)]) -> Self {
        Self::with(Options::default(), more).await
    }

    pub async fn with(options: Options, more: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stores = Stores {
            database_url: maintenance_url(),
            redis_url: redis_url(),
            prefix: format!("pay{}_{number}:", std::process::id()),
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let clock = Arc::new(AtomicI64::new(Clock::System.now_ms()));
        let gateways = gateways(&sandbox, &stores, &clock, more).await;
        Self { sandbox, gateways, stores, clock }
    }

    /// Another replica's way to them.
    pub async fn replica(&self, more: &[(&str, &str)]) -> Gateways {
        gateways(&self.sandbox, &self.stores, &self.clock, more).await
    }

    fn stripe(&self) -> &dyn Gateway {
        self.gateways.of(ProviderName::Stripe).unwrap()
    }

    fn attempt(&self, minor: i64) -> Attempt {
        let parameters = self.stripe().parameters();
        Attempt { parameters, ..attempt(minor, "USD") }
    }

    /// An attempt whose page is there.
    async fn begun(&self, minor: i64) -> Attempt {
        let attempt = self.attempt(minor);
        let session = self.stripe().create(&attempt).await.outcome.unwrap();
        Attempt { provider_payment_id: Some(session.provider_payment_id), ..attempt }
    }

    /// An attempt that is paid, as the table has it then.
    async fn paid(&self, minor: i64) -> Attempt {
        let attempt = self.begun(minor).await;
        self.sandbox.act(id(&attempt), Act::Pay).unwrap();
        let Standing::Paid(receipt) = self.stripe().query(&attempt).await.outcome.unwrap() else {
            panic!("not paid")
        };
        Attempt { intent: receipt.intent, ..attempt }
    }

    fn sessions(&self) -> usize {
        self.sandbox.sessions().len()
    }
}

async fn gateways(
    sandbox: &Sandbox,
    stores: &Stores,
    clock: &Arc<AtomicI64>,
    more: &[(&str, &str)],
) -> Gateways {
    let own = sandbox.environment();
    let mut all = vec![
        ("HOLDFAST__PAYMENTS__BKASH__CALLBACK_BASE", "http://127.0.0.1:1"),
        ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "5s"),
        ("HOLDFAST__PAYMENTS__BKASH__TIMEOUT", "2s"),
    ];
    all.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    all.extend(more);
    let settings = stores.settings(&all);
    let redis = Redis::new(&settings.redis).unwrap();
    let link = redis.connect().await.unwrap();
    redis.gate().bless(link.identity);
    let via = Via::Pool(redis);
    let clock = Clock::Manual(clock.clone());
    Gateways::new(&settings.payments, via, &stores.prefix, &clock).unwrap()
}

pub fn money(minor: i64, currency: &str) -> Money {
    Money::new(minor, currency.parse().unwrap())
}

pub fn attempt(minor: i64, currency: &str) -> Attempt {
    let payment = PaymentId::fresh();
    Attempt {
        payment,
        order: OrderId::fresh(),
        user: "alice".parse().unwrap(),
        amount: money(minor, currency),
        lines: vec![AttemptLine {
            name: "Sneaker & \"laces\"".into(),
            quantity: 1,
            unit: money(minor, currency),
        }],
        idempotency_key: format!("pay:{payment}"),
        parameters: json!({}),
        success_url: "https://shop.example.org/ok?id={CHECKOUT_SESSION_ID}".into(),
        cancel_url: "https://shop.example.org/back".into(),
        provider_payment_id: None,
        intent: None,
        transaction: None,
    }
}

pub fn id(attempt: &Attempt) -> &str {
    attempt.provider_payment_id.as_deref().unwrap()
}

#[track_caller]
pub fn unknown<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    let Err(GatewayError::Unknown { reason }) = answer.outcome else { panic!("{answer:#?}") };
    reason
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Answer<T>) -> (Cause, String) {
    let Err(GatewayError::Refused { cause, code, .. }) = answer.outcome else {
        panic!("{answer:#?}")
    };
    (cause, code)
}

/// Everything that is wrong with a call, and whether it is done all the same.
pub fn faults() -> [(Fault, bool); 9] {
    [
        (Fault::Drop, false),
        (Fault::DropAfter, true),
        (Fault::Hang, true),
        (Fault::Empty, true),
        (Fault::Garbage, true),
        (Fault::Huge, true),
        (Fault::Truncated, true),
        (Fault::Redirect, false),
        (Fault::Answer { status: 503, body: json!({ "message": "Service Unavailable" }) }, false),
    ]
}

/// Fails if a secret of the accounts, or a buyer's address or number, is in what was written down.
#[track_caller]
pub fn nothing_secret(sandbox: &Sandbox, exchanges: &[Exchange]) {
    let keys = sandbox.keys();
    let text = serde_json::to_string(exchanges).unwrap();
    for secret in [
        &keys.stripe_secret_key,
        &keys.stripe_webhook_secret,
        &keys.bkash_app_key,
        &keys.bkash_app_secret,
        &keys.bkash_username,
        &keys.bkash_password,
    ] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
    assert!(!text.contains("buyer@example.com") && !text.contains("01770618575"), "{text}");
}

const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "1200ms");

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_what_was_asked_for_and_asking_again_makes_no_other() {
    let world = World::new(&[]).await;
    let attempt = world.attempt(1_999);
    let answer = world.stripe().create(&attempt).await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    assert_eq!(answer.exchanges[0].what, "checkout.sessions.create");
    assert_eq!(answer.exchanges[0].http_status, Some(200));
    let Session { provider_payment_id, url, expires_at, callback_signature } =
        answer.outcome.unwrap();
    assert!(url.starts_with(&world.sandbox.url));
    assert_eq!(callback_signature, None);
    let life = expires_at.as_ms() - world.clock.load(Ordering::Relaxed);
    assert!((31 * 60_000..=35 * 60_000).contains(&life), "{life}");

    let session = world.sandbox.session(&provider_payment_id).unwrap();
    assert_eq!(session["amount_total"], 1_999);
    assert_eq!(session["client_reference_id"], attempt.payment.to_string());
    assert_eq!(session["metadata"]["order_id"], attempt.order.to_string());
    assert_eq!(session["allowed_payment_method_types"], json!(["card"]));
    assert_eq!(session["adaptive_pricing"]["enabled"], false);

    let again = world.stripe().create(&attempt).await.outcome.unwrap();
    assert_eq!((again.provider_payment_id, again.url), (provider_payment_id, url));
    assert_eq!(world.sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stands_as_the_buyer_and_the_bank_left_it() {
    let world = World::new(&[]).await;
    let stripe = world.stripe();
    let stands = async |attempt: &Attempt| stripe.query(attempt).await.outcome.unwrap();
    let attempt = world.begun(1_999).await;
    assert_eq!(stands(&attempt).await, Standing::Open);
    world.sandbox.act(id(&attempt), Act::Decline).unwrap();
    assert_eq!(stands(&attempt).await, Standing::Open);
    world.sandbox.act(id(&attempt), Act::Pay).unwrap();
    let answer = stripe.query(&attempt).await;
    nothing_secret(&world.sandbox, &answer.exchanges);
    let Ok(Standing::Paid(receipt)) = answer.outcome else { panic!("not paid") };
    assert_eq!(receipt.mismatch(attempt.payment, attempt.amount), None);
    assert!(receipt.intent.unwrap().starts_with("pi_"));

    for (act, ends) in [(Act::Succeed, true), (Act::Fail, false)] {
        let later = world.begun(2_500).await;
        world.sandbox.act(id(&later), Act::PayLater).unwrap();
        assert_eq!(stands(&later).await, Standing::Processing);
        world.sandbox.act(id(&later), act).unwrap();
        let standing = stands(&later).await;
        assert_eq!(matches!(standing, Standing::Paid(_)), ends, "{standing:?}");
        assert_eq!(standing == Standing::Dead, !ends);
    }

    let slow = world.begun(1_999).await;
    world.sandbox.advance(Duration::from_secs(36 * 60));
    assert_eq!(stands(&slow).await, Standing::Dead);
    // Nobody asks about what was never made.
    let nothing = stripe.query(&world.attempt(1_999)).await;
    assert_eq!((nothing.outcome, nothing.exchanges.len()), (Ok(Standing::Open), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_not_what_was_asked_for_is_told_apart() {
    let world = World::new(&[]).await;
    for (members, mismatch) in [
        (json!({ "amount_total": 1_998 }), "amount"),
        (json!({ "currency": "bdt" }), "currency"),
        (json!({ "client_reference_id": "another" }), "reference"),
        (json!({ "client_reference_id": null }), "reference"),
        (json!({ "livemode": true }), "livemode"),
    ] {
        let attempt = world.begun(1_999).await;
        world.sandbox.tamper(id(&attempt), members);
        world.sandbox.act(id(&attempt), Act::Pay).unwrap();
        let standing = world.stripe().query(&attempt).await.outcome.unwrap();
        let Standing::Paid(receipt) = standing else { panic!("{standing:?}") };
        assert_eq!(receipt.mismatch(attempt.payment, attempt.amount), Some(mismatch));
    }
    let attempt = world.begun(1_999).await;
    world.sandbox.tamper(id(&attempt), json!({ "status": "paused" }));
    unknown(world.stripe().query(&attempt).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_the_expire_call_decides() {
    let world = World::new(&[]).await;
    let stripe = world.stripe();
    let open = world.begun(1_999).await;
    assert_eq!(stripe.end(&open).await.outcome, Ok(Standing::Dead));
    assert_eq!(world.sandbox.session(id(&open)).unwrap()["status"], "expired");
    assert!(world.sandbox.act(id(&open), Act::Pay).is_err());
    // Once more: not open, so the session tells.
    assert_eq!(stripe.end(&open).await.outcome, Ok(Standing::Dead));

    let paid = world.begun(1_999).await;
    world.sandbox.act(id(&paid), Act::Pay).unwrap();
    let answer = stripe.end(&paid).await;
    let calls: Vec<_> = answer.exchanges.iter().map(|e| (e.what.as_str(), e.http_status)).collect();
    let expected =
        [("checkout.sessions.expire", Some(400)), ("checkout.sessions.retrieve", Some(200))];
    assert_eq!(calls, expected);
    assert!(matches!(answer.outcome, Ok(Standing::Paid(_))));

    let later = world.begun(1_999).await;
    world.sandbox.act(id(&later), Act::PayLater).unwrap();
    assert_eq!(stripe.end(&later).await.outcome, Ok(Standing::Processing));

    let unknown_there = Attempt { provider_payment_id: Some("cs_test_x".into()), ..open };
    let (cause, code) = refused(stripe.end(&unknown_there).await);
    assert_eq!((cause, code.as_str()), (Cause::Setup, "resource_missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_not_heard_of_is_no_end() {
    let world = World::new(&[SHORT]).await;
    for (fault, done) in faults() {
        let attempt = world.begun(1_999).await;
        world.sandbox.fail(Call::StripeExpire, fault.clone(), 0);
        match world.stripe().end(&attempt).await.outcome {
            // Repeated, and then the session was asked.
            Ok(Standing::Dead) => assert!(done, "{fault:?}"),
            outcome => assert!(matches!(outcome, Err(GatewayError::Unknown { .. })), "{outcome:?}"),
        }
        world.sandbox.clear();
        let status = &world.sandbox.session(id(&attempt)).unwrap()["status"];
        assert_eq!(status, if done { "expired" } else { "open" }, "{fault:?}");
        assert_eq!(world.stripe().end(&attempt).await.outcome, Ok(Standing::Dead), "{fault:?}");
    }
    let attempt = world.begun(1_999).await;
    world.sandbox.fail(Call::StripeExpire, Fault::too_many(), 1);
    unknown(world.stripe().end(&attempt).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_answer_is_lost_is_found_again_by_its_key() {
    let world = World::new(&[SHORT]).await;
    for (fault, done) in faults() {
        let before = world.sessions();
        let attempt = world.attempt(1_999);
        world.sandbox.fail(Call::StripeCreate, fault.clone(), 0);
        let answer = world.stripe().create(&attempt).await;
        let size = serde_json::to_string(&answer.exchanges).unwrap().len();
        assert!(size < 8 << 10, "{fault:?}: {size}");
        unknown(answer);
        assert_eq!(world.sessions() - before, usize::from(done), "{fault:?}");
        world.sandbox.clear();
        world.stripe().create(&attempt).await.outcome.unwrap();
        assert_eq!(world.sessions() - before, 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_perhaps_made_is_made_once_more_to_be_ended() {
    let world = World::new(&[SHORT]).await;
    for fault in [Fault::Drop, Fault::DropAfter] {
        let before = world.sessions();
        let attempt = world.attempt(1_999);
        world.sandbox.fail(Call::StripeCreate, fault, 0);
        unknown(world.stripe().create(&attempt).await);
        world.sandbox.clear();
        assert_eq!(world.stripe().end(&attempt).await.outcome, Ok(Standing::Dead));
        let sessions = world.sandbox.sessions();
        assert_eq!(sessions.len() - before, 1);
        let last = world.sandbox.session(sessions.last().unwrap()).unwrap();
        assert_eq!(last["status"], "expired");
    }
    // So late that the parameters are refused: then it was not made before either.
    let attempt = world.attempt(1_999);
    let before = world.sessions();
    world.sandbox.advance(Duration::from_secs(6 * 60));
    assert_eq!(world.stripe().end(&attempt).await.outcome, Ok(Standing::Dead));
    assert_eq!(world.sessions(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_is_repeated_for_a_day_ends_with_its_session() {
    let world = World::new(&[SHORT]).await;
    let attempt = world.attempt(1_999);
    world.sandbox.fail(Call::StripeCreate, Fault::error_after_commit(), 1);
    unknown(world.stripe().create(&attempt).await);
    // Its key answers 500 now, whatever happens.
    unknown(world.stripe().create(&attempt).await);
    unknown(world.stripe().end(&attempt).await);
    assert_eq!(world.sessions(), 1);
    // Nobody was ever sent to that page, and it has ended by itself.
    world.clock.fetch_add(41 * 60_000, Ordering::Relaxed);
    assert_eq!(world.stripe().end(&attempt).await.outcome, Ok(Standing::Dead));
    assert_eq!(world.sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_where_that_may_help_and_a_429_is_not() {
    let world = World::new(&[]).await;
    let conflict = Fault::Answer { status: 409, body: json!({ "error": {} }) };
    for fault in [Fault::DropAfter, Fault::Garbage, conflict] {
        let (calls, before) = (world.sandbox.count(Call::StripeCreate), world.sessions());
        world.sandbox.fail(Call::StripeCreate, fault, 1);
        let answer = world.stripe().create(&world.attempt(1_999)).await;
        assert_eq!(answer.exchanges.len(), 2);
        answer.outcome.unwrap();
        assert_eq!(world.sandbox.count(Call::StripeCreate) - calls, 2);
        assert_eq!(world.sessions() - before, 1);
    }
    let calls = world.sandbox.count(Call::StripeCreate);
    world.sandbox.fail(Call::StripeCreate, Fault::Drop, 0);
    unknown(world.stripe().create(&world.attempt(1_999)).await);
    assert_eq!(world.sandbox.count(Call::StripeCreate) - calls, 3);
    world.sandbox.clear();

    let calls = world.sandbox.count(Call::StripeCreate);
    world.sandbox.fail(Call::StripeCreate, Fault::too_many(), 1);
    unknown(world.stripe().create(&world.attempt(1_999)).await);
    assert_eq!(world.sandbox.count(Call::StripeCreate) - calls, 1);
    // The next call rests first.
    let begun = Instant::now();
    world.stripe().create(&world.attempt(1_999)).await.outcome.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_stays_below_the_pace_of_stripe_over_all_replicas() {
    let world = World::new(&[]).await;
    let replica = world.replica(&[]).await;
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
    // Twenty a second.
    assert!(longest > Duration::from_secs(2), "{longest:?}");

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
async fn other_parameters_under_a_key_leave_the_outcome_open() {
    let world = World::new(&[]).await;
    let first = world.attempt(1_999);
    world.stripe().create(&first).await.outcome.unwrap();
    let other = Attempt { success_url: "https://shop.example.org/other".into(), ..first };
    assert!(unknown(world.stripe().create(&other).await).contains("idempotency_error"));
    unknown(world.stripe().end(&other).await);
    assert_eq!(world.sessions(), 1);
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
