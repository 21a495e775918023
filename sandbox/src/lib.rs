//! Stripe Checkout and bKash Tokenized Checkout as fakes: for the tests, and for paying by hand on a page that says it is
//! a sandbox. They keep state and are strict: what the real ones refuse, they refuse; what the real ones repeat, they
//! repeat. Switches make them late, silent, forgetful or mad ([`Fault`]). No money, no network beyond this machine.

mod bkash;
mod clock;
mod control;
mod fault;
mod form;
mod page;
mod saved;
mod schema;
mod serve;
mod stripe;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use anyhow::Context;
use serde_json::Value;
use tokio::task::JoinHandle;

pub use bkash::Wish;
pub use fault::{Call, Fault};
pub use stripe::{Act, RefundEnd};
pub use world::{Keys, Seen};

use world::World;

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(100);

/// How to start one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Interface to listen on. Whoever reaches it can do everything here.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// What the accounts are reached with.
    pub keys: Keys,
    /// Where events go; none keeps them until there is one.
    pub webhook_url: Option<String>,
    /// File in which what happened outlives the sandbox; none forgets.
    pub state: Option<PathBuf>,
    /// Grants of a token that bKash allows in an hour.
    pub grants_per_hour: usize,
    /// Calls that Stripe allows in a second.
    pub calls_per_second: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            keys: Keys::random(),
            webhook_url: None,
            state: None,
            grants_per_hour: 20,
            calls_per_second: 25,
        }
    }
}

/// A running sandbox; dropping it ends it.
pub struct Sandbox {
    /// Where both providers answer.
    pub url: String,
    world: Arc<World>,
    server: ServerHandle,
    tasks: Vec<JoinHandle<()>>,
    state: Option<PathBuf>,
}

impl Sandbox {
    /// Starts one on the current runtime.
    ///
    /// # Errors
    ///
    /// Somebody else listens there.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let (sender, queue) = stripe::events::channel();
        let address = (options.host.clone(), options.port);
        let state = options.state.clone();
        let (webhook_url, options) =
            (options.webhook_url.clone(), Options { webhook_url: None, ..options });
        let world = Arc::new(World::new(options, sender));
        if let Some(path) = &state {
            world.load(path)?;
        }
        if let Some(url) = &webhook_url {
            world.set_webhook_url(url);
        }
        let served = world.clone();
        let server = HttpServer::new(move || {
            let world = web::Data::from(served.clone());
            App::new()
                .app_data(web::PayloadConfig::new(serve::LARGEST_BODY))
                .app_data(world)
                .configure(control::routes)
                .configure(stripe::routes)
                .configure(bkash::routes)
                .default_service(web::route().to(serve::nothing_here))
        })
        .workers(2)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(&address)
        .with_context(|| format!("cannot listen on {}:{}", address.0, address.1))?;
        let bound: SocketAddr = server.addrs()[0];
        let url = format!("http://{bound}");
        world.lock().url.clone_from(&url);
        let server = server.run();
        let handle = server.handle();
        let mut tasks = vec![
            spawn(async move {
                // The caller hears of a broken server by its silence.
                drop(server.await);
            }),
            spawn(stripe::events::deliver(world.clone(), queue)),
            spawn(tick(world.clone())),
        ];
        if let Some(path) = state.clone() {
            tasks.push(spawn(saved::keep(world.clone(), path)));
        }
        Ok(Self { url, world, server: handle, tasks, state })
    }

    /// The environment that makes a service use it: settings of Holdfast.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let keys = self.world.lock().keys.clone();
        [
            ("HOLDFAST__PAYMENTS__SANDBOX", "true".to_owned()),
            ("HOLDFAST__PAYMENTS__STRIPE__API_BASE", self.url.clone()),
            ("STRIPE_SECRET_KEY", keys.stripe_secret_key),
            ("STRIPE_WEBHOOK_SECRET", keys.stripe_webhook_secret),
            ("HOLDFAST__PAYMENTS__BKASH__BASE_URL", self.url.clone()),
            ("BKASH_APP_KEY", keys.bkash_app_key),
            ("BKASH_APP_SECRET", keys.bkash_app_secret),
            ("BKASH_USERNAME", keys.bkash_username),
            ("BKASH_PASSWORD", keys.bkash_password),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// The keys of both accounts.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.world.lock().keys.clone()
    }

    /// Sends events there from now on, those that waited for an address too.
    pub fn set_webhook_url(&self, url: &str) {
        self.world.set_webhook_url(url);
    }

    /// Lets the next `times` calls go wrong; 0 is all calls until [`Sandbox::clear`].
    pub fn fail(&self, call: Call, fault: Fault, times: usize) {
        self.world.lock().faults.add(call, fault, times);
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.world.lock().faults.clear();
    }

    /// The calls that were made so far, in order; the last 10,000.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.world.lock().seen.iter().cloned().collect()
    }

    /// How many calls of this kind were made.
    #[must_use]
    pub fn count(&self, call: Call) -> usize {
        self.world.lock().seen.iter().filter(|seen| seen.call == call).count()
    }

    /// Moves the providers' clock forward: sessions expire, tokens end.
    pub fn advance(&self, time: Duration) {
        self.world.lock().clock.advance(time);
        self.world.tick();
    }

    /// What a buyer does on the page of Stripe, or what becomes of a delayed payment.
    ///
    /// # Errors
    ///
    /// The session is not where this can be done.
    pub fn act(&self, session: &str, act: Act) -> anyhow::Result<()> {
        stripe::sessions::act(&self.world, session, act).map_err(anyhow::Error::msg)
    }

    /// A session as the API shows it; none if there is none.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<Value> {
        self.world.tick();
        self.world.lock().session_shown(id, false)
    }

    /// All sessions, in the order of their making.
    #[must_use]
    pub fn sessions(&self) -> Vec<String> {
        self.world.lock().stripe.sessions.iter().map(|session| session.id.clone()).collect()
    }

    /// Makes refunds stay `pending` from now on, until [`Sandbox::end_refund`].
    pub fn delay_refunds(&self, delayed: bool) {
        self.world.lock().stripe.refunds_pending = delayed;
    }

    /// Ends a pending refund.
    ///
    /// # Errors
    ///
    /// It is not pending.
    pub fn end_refund(&self, refund: &str, end: RefundEnd) -> anyhow::Result<()> {
        stripe::refunds::end(&self.world, refund, end).map_err(anyhow::Error::msg)
    }

    /// All refunds of Stripe as the API shows them.
    #[must_use]
    pub fn refunds(&self) -> Vec<Value> {
        self.world.lock().stripe.refunds.iter().map(|refund| refund.shown()).collect()
    }

    /// Keeps events back from now on.
    pub fn hold_events(&self) {
        self.world.lock().stripe.events.held = true;
    }

    /// Sends the events that were kept back, the last first if `reversed`.
    pub fn release_events(&self, reversed: bool) {
        self.world.release_events(reversed);
    }

    /// Sends each event so many times, so long after it happened.
    pub fn deliver_events(&self, copies: usize, delay: Duration) {
        let mut world = self.world.lock();
        world.stripe.events.copies = copies;
        world.stripe.events.delay = delay;
    }

    /// All events so far, in the order of their making.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.world.lock().stripe.events.all.clone()
    }

    /// Sends an event once more.
    ///
    /// # Errors
    ///
    /// There is none of this id.
    pub fn send_event(&self, id: &str) -> anyhow::Result<()> {
        self.world.send_event(id).map_err(anyhow::Error::msg)
    }

    /// The body and the `Stripe-Signature` of an event, for sending it by hand.
    #[must_use]
    pub fn signed_event(&self, id: &str) -> Option<(String, String)> {
        let world = self.world.lock();
        let event = world.stripe.events.all.iter().find(|event| event["id"] == id)?;
        let body = event.to_string();
        let now = clock::Clock::default().now_s();
        let header = stripe::events::signed(&world.keys.stripe_webhook_secret, now, &body);
        Some((body, header))
    }

    /// What a buyer does on the page of bKash; answers where the page sends them.
    ///
    /// # Errors
    ///
    /// The payment is not where this can be done.
    pub fn wish(&self, payment: &str, wish: Wish) -> anyhow::Result<String> {
        bkash::payments::wish(&self.world, payment, &wish).map_err(anyhow::Error::msg)
    }

    /// A payment of bKash as a query shows it; none if there is none.
    #[must_use]
    pub fn bkash_payment(&self, id: &str) -> Option<Value> {
        self.world.lock().bkash_shown(id)
    }

    /// All payments of bKash, in the order of their making.
    #[must_use]
    pub fn bkash_payments(&self) -> Vec<String> {
        self.world.lock().bkash.payments.iter().map(|payment| payment.id.clone()).collect()
    }

    /// Makes all tokens of bKash invalid.
    pub fn revoke_tokens(&self) {
        self.world.lock().bkash.tokens.clear();
    }

    /// Shows these members instead of the true ones wherever the session or payment of this id is shown, events
    /// included: another amount, another reference, another mode.
    pub fn tamper(&self, id: &str, members: Value) {
        self.world.lock().tampered.insert(id.to_owned(), members);
    }

    /// Returns when the server has ended.
    pub async fn ended(&mut self) {
        if let Some(server) = self.tasks.first_mut() {
            // It cannot have panicked: it only awaits.
            drop(server.await);
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The command is sent by the call; its future only waits.
        drop(self.server.stop(false));
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(path) = &self.state
            && let Err(error) = self.world.saved().and_then(|text| saved::write(path, &text))
        {
            eprintln!("sandbox: {error:#}");
        }
    }
}

async fn tick(world: Arc<World>) {
    loop {
        tokio::time::sleep(TICK).await;
        world.tick();
    }
}

#[expect(clippy::disallowed_methods, reason = "ended when the sandbox is dropped")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
