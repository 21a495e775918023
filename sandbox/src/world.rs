//! All that both providers know.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc::Sender;

use crate::Options;
use crate::bkash::BkashState;
use crate::clock::Clock;
use crate::fault::{Call, Faults};
use crate::stripe::StripeState;

/// Calls that are remembered.
const MOST_SEEN: usize = 10_000;

/// What the two accounts are reached with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// `sk_test_…`
    pub stripe_secret_key: String,
    /// `whsec_…`
    pub stripe_webhook_secret: String,
    /// Key of the application.
    pub bkash_app_key: String,
    /// Secret of the application.
    pub bkash_app_secret: String,
    /// Name of the merchant.
    pub bkash_username: String,
    /// Password of the merchant.
    pub bkash_password: String,
}

impl Keys {
    /// Keys that nobody else has.
    #[must_use]
    pub fn random() -> Self {
        Self {
            stripe_secret_key: format!("sk_test_{}", random(24)),
            stripe_webhook_secret: format!("whsec_{}", random(32)),
            bkash_app_key: random(26),
            bkash_app_secret: random(52),
            bkash_username: format!("sandbox-{}", random(8)),
            bkash_password: random(16),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Which.
    pub call: Call,
    /// The status of the answer; none where the connection broke or nothing came.
    pub status: Option<u16>,
    /// Its idempotency key.
    pub key: Option<String>,
}

/// The whole, shared by all requests.
pub(crate) struct World {
    state: Mutex<State>,
}

/// What there is to know.
pub(crate) struct State {
    pub(crate) url: String,
    pub(crate) keys: Keys,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) seen: VecDeque<Seen>,
    pub(crate) tampered: BTreeMap<String, Value>,
    pub(crate) stripe: StripeState,
    pub(crate) bkash: BkashState,
}

impl World {
    pub(crate) fn new(options: Options, sender: Sender<String>) -> Self {
        let state = State {
            url: String::new(),
            keys: options.keys,
            clock: Clock::default(),
            faults: Faults::default(),
            seen: VecDeque::new(),
            tampered: BTreeMap::new(),
            stripe: StripeState::new(options.calls_per_second, sender),
            bkash: BkashState::new(options.grants_per_hour),
        };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn saw(&mut self, call: Call, status: Option<u16>, key: Option<String>) {
        if self.seen.len() == MOST_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { call, status, key });
    }

    /// A thing with what was tampered with.
    pub(crate) fn with_tampered(&self, id: &str, mut shown: Value) -> Value {
        if let (Some(members), Some(Value::Object(other))) =
            (shown.as_object_mut(), self.tampered.get(id))
        {
            members.extend(other.clone());
        }
        shown
    }
}

/// So many random letters and digits.
pub(crate) fn random(length: usize) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}
