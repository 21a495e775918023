//! `application/x-www-form-urlencoded` as Stripe reads it: `line_items[0][price_data][currency]=usd`.

use serde_json::{Map, Value};

/// A body under construction. Its order is that of the calls, so that the same calls make the same bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Adds a field. Its name is written as it is, brackets and all; only its value is encoded.
    pub(super) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// The body.
    pub(super) fn encoded(&self) -> String {
        let fields = self.0.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        fields.collect::<Vec<_>>().join("&")
    }

    /// The same for the record of exchanges.
    pub(super) fn shown(&self) -> Value {
        let members = self.0.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        members.collect::<Map<String, Value>>().into()
    }
}

/// Percent-encoding of a value (RFC 3986: everything but the unreserved).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_brackets_and_values_are_encoded() {
        let form = Form::default()
            .with("mode", "payment")
            .with("line_items[0][price_data][product_data][name]", "Schuh & \"Größe\" 42+")
            .with("line_items[0][quantity]", 2)
            .with("success_url", "https://shop.example.org/ok?id={CHECKOUT_SESSION_ID}");
        assert_eq!(
            form.encoded(),
            "mode=payment\
             &line_items[0][price_data][product_data][name]=Schuh%20%26%20%22Gr%C3%B6%C3%9Fe%22%2042%2B\
             &line_items[0][quantity]=2\
             &success_url=https%3A%2F%2Fshop.example.org%2Fok%3Fid%3D%7BCHECKOUT_SESSION_ID%7D"
        );
        assert_eq!(form.shown()["line_items[0][quantity]"], "2");
    }

    #[test]
    fn no_value_can_add_a_field() {
        let form = Form::default().with("a", "1&mode=setup=%\r\n");
        assert_eq!(form.encoded(), "a=1%26mode%3Dsetup%3D%25%0D%0A");
    }
}
