//! Takes out of an exchange what may not be kept: secrets by the name of their field and by their value, addresses and
//! numbers of buyers by their shape. What is left is of bounded size.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// Stands where a secret stood.
pub(super) const MASK: &str = "********";

/// An exchange longer than this is kept by its beginning.
const LARGEST: usize = 16 << 10;
const BEGINNING: usize = 2 << 10;
/// How much is kept of what is no JSON.
const TEXT: usize = 300;
/// A secret shorter than this is known by its field alone.
const SHORTEST_SECRET: usize = 6;
/// Something like a token, in a text of which no more is known.
const LONGEST_WORD: usize = 24;
const LONGEST_NUMBER: usize = 7;

/// Fields whose value is a secret, in lower case without `-` and `_`.
const SECRET_FIELDS: [&str; 16] = [
    "appkey",
    "appsecret",
    "authorization",
    "clientsecret",
    "idtoken",
    "password",
    "refreshtoken",
    "secret",
    "secretkey",
    "signingsecret",
    "stripesignature",
    "token",
    "username",
    "webhooksecret",
    "xappkey",
    "cookie",
];
/// Fields whose value leads to a buyer: of theirs the last digits stay.
const NUMBER_FIELDS: [&str; 6] =
    ["customermsisdn", "msisdn", "payeraccount", "payermsisdn", "phone", "customerphone"];
/// Objects about a person, of which only an address without its name stays.
const PERSON_FIELDS: [&str; 4] =
    ["customerdetails", "billingdetails", "shippingdetails", "collectedinformation"];

/// Knows the secrets of one provider's account.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    secrets: Arc<[String]>,
}

impl Redactor {
    /// One that knows these values wherever they stand.
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let long = secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET);
        Self { secrets: long.map(str::to_owned).collect() }
    }

    /// A JSON value as it may be kept.
    pub(super) fn json(&self, value: &Value) -> Value {
        let kept = self.value(value);
        let text = kept.to_string();
        if text.len() <= LARGEST {
            return kept;
        }
        json!({ "bytes": text.len(), "beginning": beginning(&text, BEGINNING) })
    }

    /// What is no JSON as it may be kept: its length, and a beginning without anything like a token.
    pub(super) fn text(&self, bytes: &[u8]) -> Value {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * TEXT)]);
        let text = self.string(beginning(&text, TEXT));
        let word = |c: char| c.is_ascii_alphanumeric() || "_-./+=".contains(c);
        let text = masked(&text, word, |word| word.len() >= LONGEST_WORD, |_| MASK.to_owned());
        let digits = masked(&text, |c| c.is_ascii_digit(), is_number, last_digits);
        json!({ "bytes": bytes.len(), "beginning": digits })
    }

    /// A provider's words as they may be kept.
    pub(super) fn line(&self, text: &str) -> String {
        self.string(beginning(text, TEXT))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) => self.members(members).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::String(text) => self.string(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn members(&self, members: &Map<String, Value>) -> Map<String, Value> {
        let kept = members.iter().map(|(name, value)| {
            let known: String = name.chars().filter(|c| !"-_".contains(*c)).collect();
            let known = known.to_ascii_lowercase();
            let is = |fields: &[&str]| fields.contains(&known.as_str());
            let value = match value {
                Value::Null => Value::Null,
                _ if is(&SECRET_FIELDS) => MASK.into(),
                value if is(&NUMBER_FIELDS) => number(value),
                value if is(&PERSON_FIELDS) => self.person(value),
                value => self.value(value),
            };
            (name.clone(), value)
        });
        kept.collect()
    }

    fn person(&self, value: &Value) -> Value {
        match value.get("email") {
            Some(Value::String(email)) => json!({ "email": self.string(email) }),
            Some(_) | None => MASK.into(),
        }
    }

    fn string(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        without_addresses(&text)
    }
}

/// `x***@example.org`, wherever an address stands.
fn without_addresses(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let part = |c: char| c.is_alphanumeric() || "@._+-%".contains(c);
    let is_address = |word: &str| {
        word.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
    };
    masked(text, part, is_address, |word| {
        let (name, host) = word.rsplit_once('@').unwrap_or((word, ""));
        let first = name.chars().next().unwrap_or('*');
        format!("{first}***@{host}")
    })
}

/// Replaces the words of `text`, made of `part`s, that are to be masked.
fn masked(
    text: &str,
    part: impl Fn(char) -> bool,
    is_to_be: impl Fn(&str) -> bool,
    mask: impl Fn(&str) -> String,
) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if is_to_be(word) {
            kept.push_str(&mask(word))
        } else {
            kept.push_str(word)
        }
        let next = after.find(&part).unwrap_or(after.len());
        kept.push_str(&after[..next]);
        rest = &after[next..];
    }
    kept
}

fn is_number(word: &str) -> bool {
    word.len() >= LONGEST_NUMBER
}

fn number(value: &Value) -> Value {
    match value {
        Value::String(digits) => last_digits(digits).into(),
        Value::Number(digits) => last_digits(&digits.to_string()).into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => MASK.into(),
    }
}

fn last_digits(digits: &str) -> String {
    let mut last: Vec<char> = digits.chars().rev().take(3).collect();
    last.reverse();
    format!("{MASK}{}", if digits.len() > 5 { last.iter().collect() } else { String::new() })
}

fn beginning(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(["sk_test_topsecret", "short"])
    }

    #[test]
    fn secrets_are_known_by_their_field() {
        for field in [
            "Authorization",
            "X-App-Key",
            "username",
            "password",
            "app_key",
            "app_secret",
            "id_token",
            "refresh_token",
            "webhook_secret",
            "secret",
            "client_secret",
            "Stripe-Signature",
        ] {
            let kept = redactor().json(&json!({ "deep": [{ field: "hush" }] }));
            assert_eq!(kept, json!({ "deep": [{ field: MASK }] }), "{field}");
        }
        assert_eq!(
            redactor().json(&json!({ "client_secret": null }))["client_secret"],
            Value::Null
        );
    }

    #[test]
    fn secrets_are_known_by_their_value() {
        let kept = redactor().json(&json!({ "message": "Invalid key: sk_test_topsecret!" }));
        assert_eq!(kept["message"], format!("Invalid key: {MASK}!"));
        let kept =
            redactor().text(b"<p>sk_test_topsecret eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0</p>");
        assert!(!kept.to_string().contains("topsecret"), "{kept}");
        assert!(!kept.to_string().contains("eyJ"), "{kept}");
    }

    #[test]
    fn buyers_cannot_be_reached_by_what_is_kept() {
        let kept = redactor().json(&json!({
            "customerMsisdn": "01770618575",
            "payerAccount": 1_770_618_575_i64,
            "customer_email": "alice@example.org",
            "note": "for bob.b+x@mail.example.org, thanks",
            "customer_details": { "email": "carol@example.org", "name": "Carol C", "phone": "1" },
            "billing_details": { "name": "Carol C" },
        }));
        assert_eq!(
            kept,
            json!({
                "customerMsisdn": "********575",
                "payerAccount": "********575",
                "customer_email": "a***@example.org",
                "note": "for b***@mail.example.org, thanks",
                "customer_details": { "email": "c***@example.org" },
                "billing_details": MASK,
            })
        );
        let kept = redactor().text(b"<b>01770618575 dave@example.org</b>").to_string();
        assert!(!kept.contains("0177061857") && !kept.contains("dave"), "{kept}");
    }

    #[test]
    fn what_is_needed_later_stays() {
        let body = json!({
            "id": "cs_test_a1YS1URlnyQCN5fUUduORoQ7Pw41PJqDWkIVQCpJPqkfIhd6tVY8XB1OLY",
            "amount_total": 1999, "livemode": false, "payment_intent": null,
            "success_url": "https://shop.example.org/ok?id={CHECKOUT_SESSION_ID}",
            "trxID": "BFD90JRLST", "merchantInvoiceNumber": "01935f6e-9c40-7d18-8e2a-6b7c8d9e0f1a",
        });
        assert_eq!(redactor().json(&body), body);
    }

    #[test]
    fn what_is_kept_is_of_bounded_size() {
        let kept = redactor().json(&json!({ "pad": "ü".repeat(1 << 20) }));
        assert!(kept.to_string().len() < 2 * BEGINNING, "{}", kept.to_string().len());
        assert!(kept["bytes"].as_u64() > Some(1 << 20));
        let kept = redactor().text(&vec![0xff; 10 << 20]);
        assert!(kept.to_string().len() < 8 * TEXT);
        assert_eq!(kept["bytes"], 10 << 20);
    }
}
