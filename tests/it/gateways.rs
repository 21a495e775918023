//! Stripe as the service asks it, against the sandbox: every way a call can go.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use holdfast::kernel::{Clock, Money, OrderId, PaymentId};
use holdfast::payments::gateway::{
    Answer, Attempt, AttemptLine, Cause, Exchange, Gateway, GatewayError, Session, Standing,
};
use holdfast::payments::{Gateways, ProviderName};
use holdfast::platform::redis::{Redis, Via};
use holdfast_sandbox::{Act, Call, Fault, Options, Sandbox};
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

    pub fn stripe(&self) -> &dyn Gateway {
        self.gateways.of(ProviderName::Stripe).unwrap()
    }

    pub fn attempt(&self, minor: i64) -> Attempt {
        let parameters = self.stripe().parameters();
        Attempt { parameters, ..attempt(minor, "USD") }
    }

    /// An attempt whose page is there.
    pub async fn begun(&self, minor: i64) -> Attempt {
        let attempt = self.attempt(minor);
        let session = self.stripe().create(&attempt).await.outcome.unwrap();
        Attempt { provider_payment_id: Some(session.provider_payment_id), ..attempt }
    }

    /// An attempt that is paid, as the table has it then.
    pub async fn paid(&self, minor: i64) -> Attempt {
        let attempt = self.begun(minor).await;
        self.sandbox.act(id(&attempt), Act::Pay).unwrap();
        let Standing::Paid(receipt) = self.stripe().query(&attempt).await.outcome.unwrap() else {
            panic!("not paid")
        };
        Attempt { intent: receipt.intent, ..attempt }
    }

    pub fn sessions(&self) -> usize {
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
        ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "15s"),
        ("HOLDFAST__PAYMENTS__BKASH__TIMEOUT", "15s"),
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

pub const SHORT: (&str, &str) = ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "3s");

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
async fn other_parameters_under_a_key_leave_the_outcome_open() {
    let world = World::new(&[]).await;
    let first = world.attempt(1_999);
    world.stripe().create(&first).await.outcome.unwrap();
    let other = Attempt { success_url: "https://shop.example.org/other".into(), ..first };
    assert!(unknown(world.stripe().create(&other).await).contains("idempotency_error"));
    unknown(world.stripe().end(&other).await);
    assert_eq!(world.sessions(), 1);
}
