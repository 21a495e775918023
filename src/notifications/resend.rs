//! News of an order once more: for a buyer who lost the mail, or a storefront that lost the event.

use serde_json::json;

use crate::kernel::OrderId;
use crate::notifications::events::Channel;
use crate::notifications::{Notifications, store};
use crate::orders::Viewer;
use crate::platform::Fault;

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResendError {
    #[error("there is no such order")]
    NotFound,
    #[error("{0}")]
    Nothing(&'static str),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Notifications {
    /// Queues the last news of an order again, for the buyer or for storefronts; answers its topic.
    pub(super) async fn resend(
        &self,
        id: OrderId,
        channel: Channel,
        actor: &str,
    ) -> Result<&'static str, ResendError> {
        let order = self.shared.orders.get(id, &Viewer::All).await?;
        let order = order.ok_or(ResendError::NotFound)?;
        let topic = match (order.status.as_str(), channel) {
            ("paid", _) | ("fulfilled", Channel::Mail) => "order.paid",
            ("fulfilled", Channel::Webhook) => "order.fulfilled",
            ("cancelled", _) => "order.cancelled",
            ("refunded", _) => "order.refunded",
            _ => return Err(ResendError::Nothing("the order awaits its payment")),
        };
        match channel {
            Channel::Mail if self.shared.mailer.is_none() => {
                return Err(ResendError::Nothing("no mail is sent: `mail.smtp_url` is not set"));
            }
            Channel::Mail if self.recipient(id).await?.is_none() => {
                return Err(ResendError::Nothing("no address of the buyer is known"));
            }
            Channel::Webhook if !self.is_wanted(topic).await? => {
                return Err(ResendError::Nothing("no webhook endpoint wants to know"));
            }
            Channel::Mail | Channel::Webhook => {}
        }
        let payload = json!({
            "order_id": order.id, "reservation_id": order.reservation_id, "user_id": order.user_id,
            "channel": channel,
        });
        let reservation = order.reservation_id.map(crate::kernel::ReservationId::uuid);
        store::resend(&self.shared.db, topic, reservation, &payload, actor).await?;
        self.shared.db.outbox().notify_one();
        Ok(topic)
    }

    async fn is_wanted(&self, topic: &str) -> Result<bool, Fault> {
        self.load_endpoints().await?;
        Ok(self.shared.endpoints.load().iter().any(|endpoint| endpoint.wants(topic)))
    }
}
