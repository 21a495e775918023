//! What people did to the service: who, when, to what, and why. Rows are only ever added.
//!
//! A change notes itself in its own statement (`note_audit()` in SQL), so that neither is there without the other; what
//! happens elsewhere is noted by [`Audit::note`] afterwards.

mod http;
mod store;

use serde::Serialize;
use serde_json::Value;

use crate::kernel::Instant;
use crate::platform::{Db, Fault};

pub use http::{Operations, reason, routes};
pub use store::STATEMENTS;

/// The longest reason that may be given for something, in characters.
pub const MOST_REASON: usize = 200;

/// Something that was done.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Instant,
    /// By whom, as `role:sub`.
    pub actor: String,
    /// What, e.g. `settings.change`.
    pub action: String,
    /// To what: the name of a setting, a number, an id.
    pub subject: String,
    /// What it was and is, and the reason, if one was given.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// Which entries are asked for; what is absent matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// This action only.
    pub action: Option<String>,
    /// This subject only.
    pub subject: Option<String>,
    /// This actor only.
    pub actor: Option<String>,
}

/// The audit's handle.
#[derive(Clone)]
pub struct Audit {
    db: Db,
}

impl Audit {
    /// The audit in this database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Notes what was done, as a statement of its own.
    pub async fn note(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        detail: &Value,
    ) -> Result<(), Fault> {
        store::note(&self.db, actor, action, subject, detail).await
    }

    /// At most `limit` entries and one more, those before number `before`, the newest first.
    pub async fn page(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, Fault> {
        store::page(&self.db, filter, before, limit + 1).await
    }
}
