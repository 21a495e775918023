//! Mail to buyers about their orders, written when it is sent: the outbox knows only of which order. The address stands
//! in the order, or in the buyer's account, and nowhere in a log.

use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use crate::config::MailSettings;
use crate::kernel::{Money, OrderId, UserId};
use crate::notifications::Notifications;
use crate::notifications::deliver::Claimed;
use crate::notifications::template::{Kind, Values, fill};
use crate::orders::Order;
use crate::platform::Fault;

/// What a buyer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Confirmed,
    Refunded,
    Cancelled,
}

/// Subject, text, page.
struct Templates(&'static str, &'static str, &'static str);

macro_rules! templates {
    ($name:literal) => {
        Templates(
            include_str!(concat!("templates/", $name, "/subject.txt")),
            include_str!(concat!("templates/", $name, "/body.txt")),
            include_str!(concat!("templates/", $name, "/body.html")),
        )
    };
}

impl Letter {
    /// The letter about this event, if there is one.
    pub(super) fn of(topic: &str) -> Option<Self> {
        match topic {
            "order.paid" => Some(Self::Confirmed),
            "order.refunded" => Some(Self::Refunded),
            "order.cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    fn templates(self) -> Templates {
        match self {
            Self::Confirmed => templates!("order_confirmed"),
            Self::Refunded => templates!("order_refunded"),
            Self::Cancelled => templates!("order_cancelled"),
        }
    }
}

/// A letter as its reader sees it.
struct Written {
    subject: String,
    text: String,
    html: String,
}

/// Sends mail.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
    pub(super) concurrency: usize,
}

/// Why a mail was not sent. None of these carries an address, or what a server said, which may repeat it.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error("the order has no address")]
    NoAddress,
    #[error("the mail server refused it")]
    Rejected,
    #[error("the mail server did not take it")]
    Away,
    #[error("the mail server did not answer in time")]
    Late,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Mailer {
    /// A mailer by these settings; none without a server.
    pub(super) fn new(settings: &MailSettings) -> Result<Option<Self>, Fault> {
        let Some(url) = &settings.smtp_url else { return Ok(None) };
        // The text of these errors may repeat the address of the server with its login.
        let wrong = || Fault::internal("reading mail.smtp_url");
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret());
        let pool = PoolConfig::new().max_size(settings.concurrency as u32);
        Ok(Some(Self {
            transport: transport
                .map_err(|_secret| wrong())?
                .timeout(Some(settings.timeout))
                .pool_config(pool)
                .build(),
            from: settings.from.parse().map_err(|_checked| Fault::internal("reading mail.from"))?,
            timeout: settings.timeout,
            concurrency: settings.concurrency,
        }))
    }

    fn message(&self, id: &str, to: &str, letter: Written) -> Result<Message, MailError> {
        let to: Mailbox = Mailbox::new(None, to.parse().map_err(|_address| MailError::Rejected)?);
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        // The same event, sent again, is the same mail.
        let message_id = format!("<{id}@{}>", self.from.email.domain());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(Some(message_id))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
            .map_err(|error| Fault::internal("writing a mail").because(error).into())
    }

    /// The transport bounds only its connecting: a server that takes the connection and says nothing would hold it for ever.
    async fn send(&self, message: Message) -> Result<(), MailError> {
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(verdict(error.is_permanent(), error.status().map(u16::from))),
            Err(_late) => Err(MailError::Late),
        }
    }
}

/// A server that refuses for good refuses the letter; unless it refuses us, which somebody may mend.
fn verdict(permanent: bool, status: Option<u16>) -> MailError {
    let about_us = status.is_some_and(|status| (530..=538).contains(&status));
    if permanent && !about_us { MailError::Rejected } else { MailError::Away }
}

impl Notifications {
    /// Sends the mail of one delivery.
    pub(super) async fn mail(&self, delivery: &Claimed) -> Result<(), MailError> {
        let broken = || Fault::internal("reading a mail of the outbox");
        let mailer = self.shared.mailer.as_ref().ok_or_else(broken)?;
        let letter = Letter::of(&delivery.topic).ok_or_else(broken)?;
        let id: uuid::Uuid = delivery.body.parse().map_err(|_body| broken())?;
        let (order, address) =
            self.recipient(OrderId::from(id)).await?.ok_or(MailError::NoAddress)?;
        let message_id = super::events::webhook_id(delivery.event);
        let message = mailer.message(&message_id, &address, write(letter, &order)?)?;
        mailer.send(message).await
    }

    /// The order, and where mail about it goes; none where no address is known.
    pub(super) async fn recipient(&self, id: OrderId) -> Result<Option<(Order, String)>, Fault> {
        let Some((order, named)) = self.shared.orders.with_address(id).await? else {
            return Ok(None);
        };
        let address = match named {
            Some(address) => Some(address),
            None => self.address_of(&order).await?,
        };
        Ok(address.map(|address| (order, address)))
    }

    /// The address that a buyer registered here with.
    async fn address_of(&self, order: &Order) -> Result<Option<String>, Fault> {
        let Ok(buyer) = order.user_id.parse::<UserId>() else { return Ok(None) };
        Ok(self.shared.accounts.of(&buyer).await?.map(|account| account.email))
    }
}

fn write(letter: Letter, order: &Order) -> Result<Written, Fault> {
    let amount = |money: Money| format!("{money} {}", money.currency);
    let values: Values = vec![
        ("order_id", order.id.to_string()),
        ("total", amount(order.total)),
        ("date", order.created_at.to_string()[..10].to_owned()),
    ];
    let items: Vec<Values> = order
        .items
        .iter()
        .map(|item| {
            let total = item.unit_price.and_then(|price| price.times(item.quantity.get()));
            vec![
                ("name", item.name.clone()),
                ("sku", item.sku.to_string()),
                ("quantity", item.quantity.get().to_string()),
                ("line_total", total.map(amount).unwrap_or_default()),
            ]
        })
        .collect();
    let Templates(subject, text, html) = letter.templates();
    Ok(Written {
        subject: fill(subject.trim_end(), Kind::Line, &values, &items)?,
        text: fill(text, Kind::Text, &values, &items)?,
        html: fill(html, Kind::Html, &values, &items)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Instant, ProductId, Quantity};
    use crate::orders::OrderItem;

    fn order() -> Order {
        let money = |minor| Money::new(minor, "EUR".parse().unwrap());
        Order {
            id: OrderId::fresh(),
            user_id: "alice".into(),
            reservation_id: None,
            status: "paid".into(),
            items: vec![OrderItem {
                product_id: ProductId::try_from(7).unwrap(),
                sku: "PHONE".parse().unwrap(),
                name: "Phone <15> & \"case\"\r\nBcc: all@shop.example".into(),
                unit_price: Some(money(1_000)),
                quantity: Quantity::try_from(2).unwrap(),
            }],
            total: money(2_000),
            payment: None,
            created_at: Instant::from_ms(1_794_000_000_007),
        }
    }

    #[test]
    fn every_letter_names_the_order_and_escapes_what_it_shows() {
        let order = order();
        for topic in ["order.paid", "order.refunded", "order.cancelled"] {
            let written = write(Letter::of(topic).unwrap(), &order).unwrap();
            let id = order.id.to_string();
            assert!(written.subject.contains(&id) && !written.subject.contains('\n'), "{topic}");
            assert!(written.text.contains(&id) && written.html.contains(&id), "{topic}");
            assert!(written.html.contains("Phone &lt;15&gt; &amp; &quot;case&quot;"), "{topic}");
            assert!(written.text.contains("Phone <15> & \"case\""), "{topic}");
            assert!(!written.text.contains("\nBcc") && !written.html.contains("\nBcc"), "{topic}");
            assert!(written.text.contains("20.00 EUR") && written.html.contains("20.00 EUR"));
        }
        assert_eq!(Letter::of("order.fulfilled"), None);
    }

    #[test]
    fn a_refusal_of_us_is_no_refusal_of_the_letter() {
        assert!(matches!(verdict(true, Some(550)), MailError::Rejected));
        assert!(matches!(verdict(true, Some(535)), MailError::Away));
        assert!(matches!(verdict(false, Some(451)), MailError::Away));
        assert!(matches!(verdict(false, None), MailError::Away));
    }
}
