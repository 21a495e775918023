//! Tokens made by hand, for tests: rightly signed, whatever they say.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};

use super::Tokens;
use crate::config::AuthSettings;

pub(super) const SECRET: &str = "q4Zr0m9yVt1xK8uTnW3sLbPf6hJcAe2RgYdXi7oM5kNvQzUw";
pub(super) const OLD_SECRET: &str = "Zy8Xw2Vu6Ts0Rq4Po1Nm5Lk9Ji3Hg7Fe2Dc6Ba0zYxWvUtSr";
pub(super) const NOW: i64 = 1_800_000_000;
pub(super) const LEEWAY: i64 = 5;
pub(super) const DAY: i64 = 86_400;
pub(super) const PLAIN: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub(super) fn settings(secret: &str, previous: Option<&str>) -> AuthSettings {
    AuthSettings {
        issuer: "holdfast".into(),
        audience: "shop".into(),
        jwt_secret: secret.into(),
        previous_jwt_secret: previous.map(Into::into),
        outside_keys: String::new(),
        outside_issuer: String::new(),
        outside_audience: String::new(),
        outside_roles: vec!["customer".into(), "merchant".into()],
        leeway: Duration::from_secs(5),
        max_token_lifetime: Duration::from_secs(86_400),
        access_lifetime: Duration::from_secs(900),
        refresh_lifetime: Duration::from_secs(30 * 24 * 3_600),
    }
}

pub(super) fn tokens() -> Tokens {
    Tokens::new(&settings(SECRET, None)).unwrap()
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// URL-safe base64 without padding.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.as_ref().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |place| bits >> (18 - 6 * place) & 63)
    });
    digits.map(|digit| char::from(DIGITS[digit as usize])).collect()
}

pub(super) fn signed_as(algorithm: Algorithm, secret: &str, message: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(super) fn signed(message: &str) -> String {
    signed_as(Algorithm::HS256, SECRET, message)
}

/// A token with exactly this header and payload, rightly signed.
pub(super) fn token(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    signed(&format!("{}.{}", base64(header), base64(payload)))
}

pub(super) fn good_claims() -> Map<String, Value> {
    let claims = json!({
        "iss": "holdfast", "aud": "shop", "sub": "alice", "role": "customer", "jti": "one",
        "iat": NOW, "exp": NOW + 900,
    });
    claims.as_object().unwrap().clone()
}

/// A token that is good but for one claim.
pub(super) fn claim(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims.insert(name.to_owned(), value);
    token(PLAIN, Value::Object(claims).to_string())
}

pub(super) fn good() -> String {
    claim("sub", json!("alice"))
}

pub(super) fn header(text: &str) -> String {
    token(text, Value::Object(good_claims()).to_string())
}

pub(super) fn kid(name: &str) -> String {
    header(&json!({"alg": "HS256", "typ": "JWT", "kid": name}).to_string())
}

/// A good token with one claim written as raw JSON in front of the others.
pub(super) fn raw_claim(text: &str) -> String {
    token(PLAIN, Value::Object(good_claims()).to_string().replacen('{', &format!("{{{text},"), 1))
}

pub(super) fn raw_expiry(text: &str) -> String {
    let mut claims = good_claims();
    claims.remove("exp");
    token(PLAIN, Value::Object(claims).to_string().replacen('{', &format!("{{\"exp\":{text},"), 1))
}

pub(super) fn parts(token: &str) -> (String, String, String) {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    (parts[0].clone(), parts[1].clone(), parts[2].clone())
}

pub(super) fn claim_text(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims.insert(name.to_owned(), value);
    Value::Object(claims).to_string()
}
