//! Sales as an operator sees and steers them: how each stands and how fast it goes, who may still hold, and the clock by
//! which holds expire. How units are held is the reservations' business.

mod expiry_http;
mod http;
mod series;
mod show;
mod steer;

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::audit::Audit;
use crate::kernel::ProductId;
use crate::platform::Tasks;
use crate::reservations::Reservations;

pub use expiry_http::ExpiryOperations;
pub use http::{Operations, routes};
pub use series::HistoryPoint;
pub use show::{Sale, State};
pub use steer::SteerError;

/// How long an operator waits for work on all holds of a product; it goes on when they no longer do.
const PATIENCE: Duration = Duration::from_secs(15);

/// How old what an onlooker is shown may be: hundreds of consoles cost what one does.
const SHOWN: Duration = Duration::from_millis(200);

/// Sales that are shown at a time.
const MOST_SHOWN: u64 = 1_024;

/// The handle of this feature.
#[derive(Clone)]
pub struct Sales {
    reservations: Reservations,
    audit: Audit,
    tasks: Tasks,
    shown: Cache<ProductId, Option<Arc<Sale>>>,
}

impl Sales {
    /// Sales of these reservations.
    pub fn new(reservations: Reservations, audit: Audit, tasks: Tasks) -> Self {
        let shown = Cache::builder().max_capacity(MOST_SHOWN).time_to_live(SHOWN).build();
        Self { reservations, audit, tasks, shown }
    }

    /// The same over a worker's way to Redis.
    pub fn over(&self, reservations: Reservations) -> Self {
        Self { reservations, ..self.clone() }
    }
}
