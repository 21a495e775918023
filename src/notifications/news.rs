//! News that begins in Redis: holds that were made or extended, and stock that ran low, out, or came back.

use crate::kernel::ProductId;
use crate::notifications::Notifications;
use crate::platform::Fault;

impl Notifications {
    /// Brings what is known to wait.
    pub(super) async fn bring_news(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Brings what waits on these products.
    pub(super) async fn bring_news_of(
        &self,
        _homes: impl Iterator<Item = ProductId>,
    ) -> Result<(), Fault> {
        Ok(())
    }
}
