//! Endpoints: where storefronts want to be told, of what, and what they believe a call by.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use uuid::Uuid;

use crate::kernel::{Instant, ids};
use crate::notifications::signature::Secret;
use crate::notifications::vault::Vault;
use crate::notifications::webhook::UrlError;
use crate::notifications::{Notifications, endpoints_store};
use crate::platform::Fault;
use crate::reservations::Wanted;

/// An endpoint to be.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Who will be told.
    pub owner: String,
    /// Where.
    pub url: Url,
    /// What its owner calls it.
    pub description: Option<String>,
    /// Of what; none means of everything.
    pub events: Vec<String>,
    /// The hash of the request's Idempotency-Key.
    pub request_key: Option<Vec<u8>>,
}

/// An endpoint as the database has it, secrets sealed.
#[derive(Clone)]
pub struct Stored {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub owner: String,
    /// Where it is.
    pub url: String,
    /// What its owner calls it.
    pub description: Option<String>,
    /// What it is told of; none means everything.
    pub events: Vec<String>,
    pub(super) secret: Vec<u8>,
    pub(super) previous_secret: Option<Vec<u8>>,
    /// Until when the secret before this one signs too.
    pub previous_until: Option<Instant>,
    /// When it was made.
    pub created_at: Instant,
}

/// Why no endpoint was made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Its address is none that may be called.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There are as many as there may be.
    #[error("there are as many endpoints as there may be")]
    TooMany,
    /// Something else.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// An endpoint, ready to be called.
pub(super) struct Endpoint {
    pub(super) id: Uuid,
    pub(super) url: Url,
    events: Vec<String>,
    /// The current one, then perhaps the one before it.
    secrets: Vec<Secret>,
    previous_until_ms: i64,
}

impl Endpoint {
    /// The secrets that sign now.
    pub(super) fn secrets(&self, now_ms: i64) -> &[Secret] {
        let signing = if now_ms < self.previous_until_ms { 2 } else { 1 };
        &self.secrets[..signing.min(self.secrets.len())]
    }

    /// Whether it is told of this.
    pub(super) fn wants(&self, topic: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|event| event == topic)
    }

    #[cfg(test)]
    pub(super) fn of(id: Uuid, url: Url, secrets: Vec<Secret>) -> Self {
        Self { id, url, events: Vec::new(), secrets, previous_until_ms: i64::MAX }
    }
}

/// How long the old secret signs too, unless its owner says otherwise.
pub const KEEP: Duration = Duration::from_secs(24 * 3600);
/// And at most.
pub const KEEP_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

impl Notifications {
    /// The address of an endpoint to be, if it may be called.
    pub fn parse_url(&self, text: &str) -> Result<Url, UrlError> {
        self.shared.caller.parse(text)
    }

    /// Makes an endpoint and its secret, which is shown now and never again. An earlier run of the same request counts
    /// as this one.
    pub async fn register(
        &self,
        new: &Registration,
    ) -> Result<(Stored, SecretString), RegisterError> {
        let (id, secret) = (ids::random(), Secret::random());
        let sealed = self.shared.vault.seal(id, &secret)?;
        let most = i64::from(self.shared.webhooks.most_endpoints);
        let stored = endpoints_store::register(&self.shared.db, id, new, &sealed, most).await?;
        let stored = stored.ok_or(RegisterError::TooMany)?;
        self.reload();
        let opened = self.shared.vault.open(stored.id, &stored.secret);
        let opened = opened.ok_or_else(|| Fault::internal("opening a secret"))?;
        Ok((stored, opened.secret.shown()))
    }

    /// At most `limit` endpoints and one more, those after this one; everybody's for an owner of none.
    pub async fn endpoints(
        &self,
        owner: Option<&str>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Stored>, Fault> {
        endpoints_store::page(&self.shared.db, owner, after, limit).await
    }

    /// The endpoint of this id.
    pub async fn endpoint(&self, owner: Option<&str>, id: Uuid) -> Result<Option<Stored>, Fault> {
        endpoints_store::get(&self.shared.db, owner, id).await
    }

    /// Deletes it with all that waits for it. False: there is none.
    pub async fn unregister(&self, owner: Option<&str>, id: Uuid) -> Result<bool, Fault> {
        let gone = endpoints_store::delete(&self.shared.db, owner, id).await?;
        self.reload();
        Ok(gone)
    }

    /// Gives it a new secret; the old one signs too for a while. None: there is no such endpoint.
    pub async fn rotate(
        &self,
        owner: Option<&str>,
        id: Uuid,
        keep: Duration,
    ) -> Result<Option<(Stored, SecretString)>, Fault> {
        let secret = Secret::random();
        let sealed = self.shared.vault.seal(id, &secret)?;
        let rotated = endpoints_store::rotate(&self.shared.db, owner, id, &sealed, keep).await?;
        self.reload();
        Ok(rotated.map(|stored| (stored, secret.shown())))
    }

    /// Reads the endpoints anew, and tells the reservations what of their news is wanted.
    pub(super) async fn load_endpoints(&self) -> Result<(), Fault> {
        let shared = &self.shared;
        let mut ready = Vec::new();
        for stored in endpoints_store::all(&shared.background_db).await? {
            match open(&shared.vault, &stored) {
                Some(opened) => {
                    if let Some((secret, previous)) = opened.resealed(&shared.vault, &stored)? {
                        let (db, known) = (&shared.background_db, &stored.secret);
                        endpoints_store::reseal(db, stored.id, known, &secret, previous.as_deref())
                            .await?;
                    }
                    ready.push(Arc::new(opened.endpoint));
                }
                None => tracing::error!(
                    endpoint.id = %stored.id,
                    "the secret of a webhook endpoint cannot be opened: auth.jwt_secret was replaced twice; rotate it"
                ),
            }
        }
        let any = |topics: &[&str]| {
            ready.iter().any(|endpoint| topics.iter().any(|topic| endpoint.wants(topic)))
        };
        shared.reservations.want_news(Wanted {
            holds: any(&["reservation.held", "reservation.extended"]),
            ends: any(&["reservation.expired", "reservation.cancelled"]),
            stock: any(&["stock.low", "stock.sold_out", "stock.available"]),
        });
        shared.endpoints.store(Arc::new(ready));
        Ok(())
    }
}

/// An endpoint whose secrets were opened, and whether one of them is to be sealed anew.
struct Opened {
    endpoint: Endpoint,
    outdated: bool,
}

fn open(vault: &Vault, stored: &Stored) -> Option<Opened> {
    let current = vault.open(stored.id, &stored.secret)?;
    let sealed = stored.previous_secret.as_deref();
    let previous = sealed.and_then(|sealed| vault.open(stored.id, sealed));
    let outdated = current.outdated || previous.as_ref().is_some_and(|before| before.outdated);
    let previous = previous.map(|before| before.secret);
    Some(Opened {
        endpoint: Endpoint {
            id: stored.id,
            url: stored.url.parse().ok()?,
            events: stored.events.clone(),
            secrets: std::iter::once(current.secret).chain(previous).collect(),
            previous_until_ms: stored.previous_until.map_or(0, Instant::as_ms),
        },
        outdated,
    })
}

impl Opened {
    /// The secrets under the current seal, if they are not yet.
    #[expect(clippy::type_complexity, reason = "two secrets, of which one may be absent")]
    fn resealed(
        &self,
        vault: &Vault,
        stored: &Stored,
    ) -> Result<Option<(Vec<u8>, Option<Vec<u8>>)>, Fault> {
        if !self.outdated {
            return Ok(None);
        }
        let mut sealed = self.endpoint.secrets.iter().map(|secret| vault.seal(stored.id, secret));
        let secret = sealed.next().ok_or_else(|| Fault::internal("sealing no secret"))??;
        Ok(Some((secret, sealed.next().transpose()?)))
    }
}
