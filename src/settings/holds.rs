//! Moving the deadlines of running holds to a hold time that was changed for them too. Any replica does it, one at a
//! time; it may be done twice, since where a deadline goes depends on nothing but the hold and the settings.

use serde_json::json;

use crate::platform::Fault;
use crate::settings::{LiveSettings, store};

/// Who did it, for the record: no person.
const ACTOR: &str = "system:settings";

impl LiveSettings {
    /// Moves them, unless somebody else is at it.
    pub(super) async fn move_holds(&self) -> Result<(), Fault> {
        let parts = &self.shared.parts;
        let Some(version) = store::claim_holds(&parts.background_db).await? else { return Ok(()) };
        let (mut after, mut moved) = (0, 0);
        loop {
            let page = parts.reservations.retime_page(after).await?;
            moved += page.moved;
            let Some(last) = page.last else { break };
            after = last;
            store::renew_holds(&parts.background_db, version).await?;
        }
        let ttl_seconds = parts.current.load().reservation.ttl_seconds;
        let detail = json!({ "version": version, "moved": moved, "ttl_seconds": ttl_seconds });
        let (action, subject) = ("settings.holds_moved", "reservation.ttl_seconds");
        parts.audit.note(ACTOR, action, subject, &detail).await?;
        store::holds_done(&parts.background_db, version).await?;
        tracing::info!(version, moved, ttl_seconds, "running holds took the hold time");
        self.look().await
    }
}
