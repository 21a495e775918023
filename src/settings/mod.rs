//! Settings that change while the service runs. Files and environment come first, then what admins set, which Postgres
//! keeps for all replicas ([`LiveSettings::change`]). Each replica looks at its files and at the version in Postgres, and
//! puts in force what is sound as a whole; what is not is refused and told, and what was in force stands.

mod change;
mod files;
mod follow;
mod holds;
mod http;
mod look;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Mutex, Notify};

use crate::audit::Audit;
use crate::config::{Current, Loaded};
use crate::kernel::{Clock, Instant};
use crate::platform::{Db, Tasks};
use crate::reservations::Reservations;

pub use change::{Change, ChangeError};
pub use http::{Operations, patch_schema, routes};
pub use store::STATEMENTS;

/// What the live settings are made of.
pub struct Parts {
    /// For requests.
    pub db: Db,
    /// For background work.
    pub background_db: Db,
    /// What the service started with.
    pub start: Loaded,
    /// Where features read what is in force.
    pub current: Current,
    /// Whose running holds a change may move.
    pub reservations: Reservations,
    /// Where it is noted.
    pub audit: Audit,
    /// Where background work runs.
    pub tasks: Tasks,
    /// The service's clock.
    pub clock: Clock,
}

/// The live settings' handle.
#[derive(Clone)]
pub struct LiveSettings {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Parts,
    known: ArcSwap<Known>,
    /// Held by the one who puts settings in force.
    turn: Mutex<()>,
    /// Somebody thinks that a file has changed.
    files: Notify,
}

/// A live setting as Postgres has it.
#[derive(Clone, Debug)]
struct Row {
    value: Value,
    changed_by: String,
    changed_at: Instant,
}

/// What this replica goes by.
#[derive(Clone)]
struct Known {
    version: i64,
    rows: BTreeMap<String, Row>,
    /// Files and environment alone.
    base: Loaded,
    /// With live settings.
    in_force: Loaded,
    /// What the files say that was refused, and what Postgres says.
    refused_files: Option<Refused>,
    refused_live: Option<Refused>,
    /// Settings that differ from those of the start and take a restart.
    restart: Vec<String>,
    /// Whether running holds are to take the hold time, and have not all.
    moving: bool,
}

/// A change that was not put in force.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Refused {
    /// Since when.
    pub at: Instant,
    /// Why, with file and line, or the variable, or the setting.
    pub reason: String,
}

impl LiveSettings {
    /// Begins with the settings of the start; [`LiveSettings::begin`] adds the live ones.
    pub fn new(parts: Parts) -> Self {
        let known = Known {
            version: 0,
            rows: BTreeMap::new(),
            base: parts.start.clone(),
            in_force: parts.start.clone(),
            refused_files: None,
            refused_live: None,
            restart: Vec::new(),
            moving: false,
        };
        let shared = Shared {
            parts,
            known: ArcSwap::from_pointee(known),
            turn: Mutex::default(),
            files: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The version of the live settings in force here.
    pub fn version(&self) -> i64 {
        self.shared.known.load().version
    }

    /// Looks at the files at once, changed or not.
    pub fn read_files(&self) {
        self.shared.files.notify_one();
    }
}
