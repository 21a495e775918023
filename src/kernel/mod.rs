//! Values of the domain, without any I/O: parsed once at the door, right ever after.

pub mod clock;
pub mod ids;
pub mod money;
pub mod page;
pub mod quantity;
pub mod time;

pub use clock::Clock;
pub use ids::{OrderId, PaymentId, ProductId, ReservationId, Sku, UserId};
pub use money::{Currency, Money};
pub use quantity::Quantity;
pub use time::Instant;
