//! Names of things. A malformed one never gets past the door.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The number of a product, below 2^48.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(try_from = "i64", into = "i64")]
#[schema(value_type = i64, minimum = 1, maximum = 281474976710655i64, example = 7)]
pub struct ProductId(i64);

impl ProductId {
    /// The number itself.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for ProductId {
    type Error = &'static str;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        if (1..1 << 48).contains(&number) {
            Ok(Self(number))
        } else {
            Err("a product id is a whole number from 1, below 2^48")
        }
    }
}

impl From<ProductId> for i64 {
    fn from(id: ProductId) -> Self {
        id.0
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ProductId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a product id is a whole number");
        }
        text.parse::<i64>().map_or(Err("a product id is a whole number"), Self::try_from)
    }
}

/// A reservation: a UUIDv8 (RFC 9562) that carries the number of its home product in its first 48 bits, so that every
/// replica finds its record without a look-up. The other 74 bits are random, fresh for every run, or derived where every
/// run of one request must mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[schema(value_type = Uuid, example = "00000000-0007-8a3b-9c2d-5e6f708192a3")]
pub struct ReservationId(Uuid);

impl ReservationId {
    /// A fresh id whose record lives with this product.
    pub fn random(home: ProductId) -> Self {
        Self::at(home, rand::random())
    }

    /// The one id whose record lives with this product and that comes of `source`, which must be as hard to guess as it.
    pub fn derived(home: ProductId, source: &[u8]) -> Self {
        let hash = Sha256::digest(source);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self::at(home, bytes)
    }

    fn at(home: ProductId, mut bytes: [u8; 16]) -> Self {
        bytes[..6].copy_from_slice(&home.0.to_be_bytes()[2..]);
        Self(Uuid::new_v8(bytes))
    }

    /// The product in whose SKU the record lives.
    pub fn home(self) -> Option<ProductId> {
        let mut number = [0; 8];
        number[2..].copy_from_slice(&self.0.as_bytes()[..6]);
        ProductId::try_from(i64::from_be_bytes(number)).ok()
    }

    /// The UUID, for Postgres.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ReservationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ReservationId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for ReservationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A fresh random id for what has no type of its own.
#[expect(clippy::disallowed_methods, reason = "ids are made here")]
pub fn random() -> Uuid {
    Uuid::new_v4()
}

/// The id that always comes of this source.
pub fn derived(source: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(source)[..16]);
    Uuid::new_v8(bytes)
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[schema(value_type = Uuid, example = "01935f6e-8a2b-7c3d-9e4f-5a6b7c8d9e0f")]
pub struct OrderId(Uuid);

impl OrderId {
    /// A fresh id; ids made later sort later (UUIDv7).
    #[expect(clippy::disallowed_methods, reason = "ids are made here")]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID, for Postgres.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for OrderId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OrderId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[schema(value_type = Uuid, example = "01935f6e-9c40-7d18-8e2a-6b7c8d9e0f1a")]
pub struct PaymentId(Uuid);

impl PaymentId {
    /// A fresh id; ids made later sort later (UUIDv7).
    #[expect(clippy::disallowed_methods, reason = "ids are made here")]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID, for Postgres.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for PaymentId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PaymentId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_uuid(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for PaymentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Only the hyphenated form, so that one thing has one name.
fn parse_uuid(text: &str) -> Result<Uuid, &'static str> {
    let expected = "expected a UUID like 0197f2c4-8d1e-7aa0-9c55-3f0d7a1b2c3d";
    if text.len() != 36 {
        return Err(expected);
    }
    text.parse().map_or(Err(expected), Ok)
}

/// The secret that ties a hold to the decision about it: 128 random bits, new for every run, never from a counter
/// that could go back in time with Redis.
pub fn hold_token() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A stock keeping unit: 1-64 of `A-Za-z0-9._-`, the first one alphanumeric. Unique for ever.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "PHONE-15")]
pub struct Sku(Arc<str>);

impl Sku {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for a product whose owner gave none.
    pub fn random() -> Self {
        Self(format!("SKU-{:016X}", rand::random::<u64>()).into())
    }
}

impl FromStr for Sku {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= 64 && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err("a SKU is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit")
        }
    }
}

impl TryFrom<String> for Sku {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A buyer, as the storefront names them: 1-128 printable ASCII characters without blank `/ ? # %`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 128, pattern = r##"^[!"$&-.0->@-~]{1,128}$"##, example = "alice")]
pub struct UserId(Arc<str>);

impl UserId {
    /// Stands where a record has no buyer.
    pub fn nobody() -> Self {
        Self("-".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| byte.is_ascii_graphic() && !b"/?#%".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err("a user id is 1 to 128 printable ASCII characters without blank / ? # %")
        }
    }
}

impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_id_leads_back_to_its_home_product() {
        let home = ProductId::try_from((1 << 48) - 1).unwrap();
        let id = ReservationId::random(home);
        assert_eq!(id.home(), Some(home));
        assert_eq!(id.uuid().get_version_num(), 8);
        assert_ne!(id, ReservationId::random(home));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_comes_of_one_source_has_one_id_at_each_home() {
        let [one, two] = [1, 2].map(|number| ProductId::try_from(number).unwrap());
        let id = ReservationId::derived(one, b"request");
        assert_eq!((id, id.home()), (ReservationId::derived(one, b"request"), Some(one)));
        assert_ne!(id, ReservationId::derived(one, b"other"));
        assert_ne!(id, ReservationId::derived(two, b"request"));
    }

    #[test]
    fn only_hyphenated_uuids_are_ids() {
        assert!("0197f2c48d1e7aa09c553f0d7a1b2c3d".parse::<OrderId>().is_err());
        assert!("{0197f2c4-8d1e-7aa0-9c55-3f0d7a1b2c3d}".parse::<OrderId>().is_err());
        assert!("0197f2c4-8d1e-7aa0-9c55-3f0d7a1b2c3d".parse::<OrderId>().is_ok());
    }

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["A", "iphone-15_pro.max", "0"] {
            assert!(good.parse::<Sku>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "é", "a{b}", &"x".repeat(65)] {
            assert!(bad.parse::<Sku>().is_err(), "{bad}");
        }
        for good in ["user123", "auth0|5f7c", "a@b.example", "{x}"] {
            assert!(good.parse::<UserId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a?b", "a#b", "a%b", "a\0b", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
    }
}
