//! Money as whole minor units of an ISO 4217 currency. Never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The greatest amount, in minor units.
pub const MAX_MINOR: i64 = 1_000_000_000_000_000;

/// An ISO 4217 currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Z]{3}$", example = "USD")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// How many decimals its amounts are written with.
    pub fn decimals(self) -> u32 {
        self.0.exponent().unwrap_or(0).into()
    }
}

impl FromStr for Currency {
    type Err = &'static str;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        iso_currency::Currency::from_code(code)
            .map(Self)
            .ok_or("expected an ISO 4217 code like USD")
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code())
    }
}

/// An amount in a currency; displays as the decimal string of the API (`1999.98`, `500` for JPY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// Whole minor units.
    pub minor: i64,
    /// Their currency.
    pub currency: Currency,
}

impl Money {
    /// `minor` units of `currency`.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// This amount `quantity` times, unless that is more than any amount may be.
    pub fn times(self, quantity: i64) -> Option<Self> {
        let minor = self.minor.checked_mul(quantity).filter(|minor| *minor <= MAX_MINOR)?;
        Some(Self { minor, ..self })
    }
}

/// A sum in one currency, unless it is more than any amount may be.
pub fn sum(amounts: impl Iterator<Item = Money>, currency: Currency) -> Option<Money> {
    amounts.into_iter().try_fold(Money::new(0, currency), |sum, amount| {
        let minor = sum.minor.checked_add(amount.minor).filter(|minor| *minor <= MAX_MINOR)?;
        Some(Money::new(minor, currency))
    })
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_i64.pow(self.currency.decimals());
        match self.currency.decimals() as usize {
            0 => write!(f, "{}", self.minor),
            decimals => write!(f, "{}.{:0decimals$}", self.minor / scale, self.minor % scale),
        }
    }
}

impl utoipa::ToSchema for Money {}

impl utoipa::PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.description(Some("A decimal amount with the decimals of its currency."));
        text.pattern(Some(r"^[0-9]+(\.[0-9]+)?$")).examples(["1999.98"]).into()
    }
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An amount as a request writes it, a decimal string or a JSON number, before its currency is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(String);

impl utoipa::ToSchema for Amount {}

impl utoipa::PartialSchema for Amount {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
        let text = "A decimal amount with at most the decimals of its currency; its digits are read, never a float.";
        ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Number]))
            .description(Some(text))
            .pattern(Some(r"^[0-9]{1,16}(\.[0-9]+)?$"))
            .minimum(Some(0))
            .examples(["1999.98"])
            .into()
    }
}

impl Amount {
    /// The amount in `currency`; refuses more decimals than the currency has, a sign, and anything too large.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, &'static str> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        if whole.is_empty()
            || whole.len() > 16
            || !digits(whole)
            || !digits(fraction)
            || self.0.ends_with('.')
        {
            return Err("expected a decimal amount like \"1999.98\"");
        }
        let decimals = currency.decimals() as usize;
        if fraction.len() > decimals {
            return Err("more decimals than the currency has");
        }
        let padded = format!("{whole}{fraction:0<decimals$}");
        match padded.parse::<i64>() {
            Ok(minor) if minor <= MAX_MINOR => Ok(Money { minor, currency }),
            Ok(_) | Err(_) => Err("the amount is too large"),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The number's own digits are read, not a float's: 1999.98 stays 1999.98.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            serde_json::Value::Number(number) => Ok(Self(number.to_string())),
            _ => Err(serde::de::Error::custom("expected a decimal amount like \"1999.98\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    fn amount(json: &str, code: &str) -> Result<String, &'static str> {
        let amount: Amount = serde_json::from_str(json).unwrap();
        amount.in_currency(currency(code)).map(|money| money.to_string())
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        assert_eq!(amount("\"1999.98\"", "USD"), Ok("1999.98".into()));
        assert_eq!(amount("1999.98", "USD"), Ok("1999.98".into()));
        assert_eq!(amount("1999.9", "USD"), Ok("1999.90".into()));
        assert_eq!(amount("500", "JPY"), Ok("500".into()));
        assert_eq!(amount("\"1.234\"", "KWD"), Ok("1.234".into()));
        assert_eq!(amount("0", "USD"), Ok("0.00".into()));
    }

    #[test]
    fn bad_amounts_are_refused() {
        for (json, code) in [
            ("\"1.999\"", "USD"),
            ("500.5", "JPY"),
            ("-1", "USD"),
            ("\"+1\"", "USD"),
            ("\"1.\"", "USD"),
            ("\".5\"", "USD"),
            ("\"\"", "USD"),
            ("\"1e3\"", "USD"),
            ("\"99999999999999999\"", "USD"),
            ("1e300", "USD"),
        ] {
            assert!(amount(json, code).is_err(), "{json} {code}");
        }
        assert!("XXQ".parse::<Currency>().is_err());
        assert!("usd".parse::<Currency>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(minor in 0..=MAX_MINOR, code in prop::sample::select(vec!["USD", "JPY", "KWD"])) {
            let money = Money::new(minor, currency(code));
            prop_assert_eq!(Amount(money.to_string()).in_currency(money.currency), Ok(money));
        }
    }
}
