//! Where a page of holds ended, as a cursor says it.

use std::fmt;
use std::str::FromStr;

use crate::kernel::{Instant, ReservationId};

/// The longest moment that Postgres takes.
const LATEST_MS: i64 = 9_000_000_000_000_000;

/// Where a page of holds ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldPlace {
    /// Among the held ones of a product.
    Held {
        /// Its place in the index.
        score: String,
        /// The last one.
        id: ReservationId,
    },
    /// Among the pinned ones of a product.
    Pinned {
        /// Its place in the index.
        score: String,
        /// The last one.
        id: ReservationId,
    },
    /// Among those that ended, of a product or a buyer.
    Ended(Instant, ReservationId),
    /// Among the sold ones of a product: the number of the movement.
    Sold(i64),
    /// Among the live ones of a buyer.
    Live(Instant, ReservationId),
}

impl fmt::Display for HoldPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { score, id } => write!(f, "held.{score}.{id}"),
            Self::Pinned { score, id } => write!(f, "pinned.{score}.{id}"),
            Self::Ended(at, id) => write!(f, "ended.{}.{id}", at.as_ms()),
            Self::Sold(movement) => write!(f, "sold.{movement}."),
            Self::Live(at, id) => write!(f, "live.{}.{id}", at.as_ms()),
        }
    }
}

impl FromStr for HoldPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNREADABLE: &str = "no place of a hold";
        let mut parts = text.splitn(3, '.');
        let (Some(kind), Some(number), Some(id)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(UNREADABLE);
        };
        let at: i64 =
            number.parse().ok().filter(|at| (0..LATEST_MS).contains(at)).ok_or(UNREADABLE)?;
        if kind == "sold" && id.is_empty() {
            return Ok(Self::Sold(at));
        }
        let (score, id) = (at.to_string(), id.parse()?);
        match kind {
            "held" => Ok(Self::Held { score, id }),
            "pinned" => Ok(Self::Pinned { score, id }),
            "ended" => Ok(Self::Ended(Instant::from_ms(at), id)),
            "live" => Ok(Self::Live(Instant::from_ms(at), id)),
            _ => Err(UNREADABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_itself() {
        let id: ReservationId = "00000000-0007-8a3b-9c2d-5e6f708192a3".parse().unwrap();
        for place in [
            HoldPlace::Held { score: "1794000600000".into(), id },
            HoldPlace::Pinned { score: "1794000600000".into(), id },
            HoldPlace::Ended(Instant::from_ms(7), id),
            HoldPlace::Live(Instant::from_ms(7), id),
            HoldPlace::Sold(7),
        ] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "held", "held.x.y", "held.-1.", "sold.7.x", "what.7.", "ended.9e99."] {
            assert!(bad.parse::<HoldPlace>().is_err(), "{bad}");
        }
    }
}
