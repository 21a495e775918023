//! Deliveries that were given up. They wait for an admin, who sends them again once the receiver is well.

use uuid::Uuid;

use crate::kernel::Instant;
use crate::notifications::{Notifications, dead_letters_store};
use crate::platform::Fault;

/// A delivery that was given up. Its body and the buyer's address are nobody's business here.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// For which endpoint; none: for the mail server.
    pub endpoint: Option<Uuid>,
    /// Where that is.
    pub url: Option<String>,
    /// Which event.
    pub event: Uuid,
    /// Of which kind.
    pub topic: String,
    /// How often it was tried.
    pub attempts: i32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When the event was spread.
    pub created_at: Instant,
    /// When it was given up.
    pub died_at: Instant,
}

impl Notifications {
    /// At most `limit` and one more, the newest first, those before this one.
    pub async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, Fault> {
        dead_letters_store::dead(&self.shared.db, before, limit).await
    }

    /// Sends one again, with all its attempts before it; answers it as it was. None: there is no such one.
    pub async fn retry(&self, id: i64) -> Result<Option<DeadLetter>, Fault> {
        let letter = dead_letters_store::retry(&self.shared.db, id).await?;
        self.shared.db.outbox().notify_one();
        Ok(letter)
    }
}
