//! Moments as the API writes them: RFC 3339, UTC, milliseconds, `Z`.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 0001-01-01T00:00:00Z.
const YEAR_ONE_S: i64 = -62_135_596_800;

/// A moment, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-27T09:00:00.000Z")]
pub struct Instant(i64);

impl Instant {
    /// From milliseconds since the epoch.
    pub fn from_ms(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// The same moment for Postgres.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::MAX)
    }
}

impl From<Timestamp> for Instant {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.as_millisecond())
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "expected a time like 2026-01-31T12:00:00.000Z (RFC 3339)";
        let timestamp: Timestamp = text.parse().map_err(|error: jiff::Error| {
            serde::de::Error::custom(format!("{expected}: {error}"))
        })?;
        // Years have four digits, and Postgres knows none much before the first.
        if timestamp.as_second() < YEAR_ONE_S {
            return Err(serde::de::Error::custom(expected));
        }
        Ok(timestamp.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_decimals_and_a_z() {
        assert_eq!(Instant::from_ms(1_794_000_000_007).to_string(), "2026-11-06T21:20:00.007Z");
        assert_eq!(Instant::from_ms(1_794_000_000_000).to_string(), "2026-11-06T21:20:00.000Z");
    }

    #[test]
    fn times_are_read_in_any_offset() {
        let read: Instant = serde_json::from_str("\"2026-11-06T22:20:00.007+01:00\"").unwrap();
        assert_eq!(read, Instant::from_ms(1_794_000_000_007));
        for bad in ["tomorrow", "-000001-01-01T00:00:00Z", "0000-12-31T23:59:59Z"] {
            assert!(serde_json::from_str::<Instant>(&format!("\"{bad}\"")).is_err(), "{bad}");
        }
    }
}
