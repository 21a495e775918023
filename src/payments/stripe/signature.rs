//! Whether an event is genuine. The signature stands over the bytes as they came, so they must never be parsed before.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::webhook::WebhookError;

/// How far the time of a signature may be from ours.
const TOLERANCE_S: i64 = 300;
/// A longer header is none of Stripe's.
const LONGEST_HEADER: usize = 4 << 10;

/// Whether one of the header's `v1` is the HMAC of time and body under `secret`.
pub(super) fn verify(
    secret: &str,
    raw: &[u8],
    header: Option<&str>,
    now: Timestamp,
) -> Result<(), WebhookError> {
    let header = header.filter(|header| header.len() <= LONGEST_HEADER);
    let fields = header.ok_or(WebhookError::Header)?.split(',').map(|field| field.split_once('='));
    let fields: Vec<(&str, &str)> = fields.flatten().collect();
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = fields.iter().find(|(name, _)| *name == "t").map(|(_, time)| *time);
    let time = time.filter(digits).ok_or(WebhookError::Header)?;
    let signed_at: i64 = time.parse().ok().ok_or(WebhookError::Header)?;
    let mut signatures = fields.iter().filter(|(name, _)| *name == "v1").peekable();
    if signatures.peek().is_none() {
        return Err(WebhookError::Header);
    }
    let expected = signature(secret, time, raw).ok_or(WebhookError::Signature)?;
    // All of them are compared, so that the time taken tells nothing.
    let matches = signatures.fold(subtle::Choice::from(0), |matches, (_, given)| {
        matches | given.as_bytes().ct_eq(expected.as_bytes())
    });
    if !bool::from(matches) {
        return Err(WebhookError::Signature);
    }
    let age = now.as_second().saturating_sub(signed_at);
    if (-TOLERANCE_S..=TOLERANCE_S).contains(&age) { Ok(()) } else { Err(WebhookError::Stale) }
}

/// Lower-case hex of the HMAC over time, a dot, and the body.
fn signature(secret: &str, time: &str, raw: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(raw);
    let hex = mac.finalize().into_bytes();
    Some(hex.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const SECRET: &str = "whsec_test_secret";
    const TIME: i64 = 1_794_000_000;
    const BODY: &str = r#"{"id":"evt_test_0001","object":"event","type":"checkout.session.completed","data":{"object":{"id":"cs_test_0001","object":"checkout.session","payment_status":"paid"}}}"#;
    const V1: &str = "8eb18e0545125f770132b346b49e866a71d68bb89b6279966b260860139e20bb";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn given(header: &str, body: &str, now: i64) -> Result<(), WebhookError> {
        verify(SECRET, body.as_bytes(), Some(header), at(now))
    }

    #[test]
    fn the_known_answer_of_the_official_libraries_is_ours() {
        assert_eq!(signature(SECRET, &TIME.to_string(), BODY.as_bytes()).as_deref(), Some(V1));
        assert_eq!(given(&format!("t={TIME},v1={V1}"), BODY, TIME), Ok(()));
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_both_ways() {
        let header = format!("t={TIME},v1={V1}");
        for (age, verdict) in [
            (0, Ok(())),
            (299, Ok(())),
            (300, Ok(())),
            (301, Err(WebhookError::Stale)),
            (-300, Ok(())),
            (-301, Err(WebhookError::Stale)),
            (-3_600, Err(WebhookError::Stale)),
        ] {
            assert_eq!(given(&header, BODY, TIME + age), verdict, "{age}");
        }
    }

    #[test]
    fn any_right_signature_among_several_is_enough() {
        let wrong = "0".repeat(64);
        for header in [
            format!("t={TIME},v1={wrong},v1={V1}"),
            format!("t={TIME},v1={V1},v1={wrong}"),
            format!("t={TIME},v0={wrong},v1={V1},v2=x"),
            format!("v1={V1},t={TIME}"),
        ] {
            assert_eq!(given(&header, BODY, TIME), Ok(()), "{header}");
        }
    }

    #[test]
    fn what_is_not_signed_as_it_stands_is_not_believed() {
        let good = format!("t={TIME},v1={V1}");
        let changed = BODY.replace("paid", "paie");
        let written_anew = serde_json::from_str::<Value>(BODY).unwrap();
        let written_anew = serde_json::to_string_pretty(&written_anew).unwrap();
        for (header, body) in [
            (good.as_str(), changed.as_str()),
            (&good, &written_anew),
            (&good, &format!("{BODY}\n")),
            (&format!("t={},v1={V1}", TIME + 1), BODY),
            (&format!("t={TIME},v1={}", V1.to_uppercase()), BODY),
            (&format!("t={TIME},v1={}", &V1[..63]), BODY),
            (&format!("t={TIME},v1="), BODY),
        ] {
            assert_eq!(given(header, body, TIME), Err(WebhookError::Signature), "{header}");
        }
        for header in [
            "",
            ",",
            "t",
            &format!("t={TIME}"),
            &format!("v1={V1}"),
            &format!("t={TIME},v0={V1}"),
            &format!("t={TIME}, v1={V1}"),
            &format!("t=,v1={V1}"),
            &format!("t=-1,v1={V1}"),
            &format!("t=99999999999999999999,v1={V1}"),
            &format!("t={TIME},v1={V1},{}", "x".repeat(5_000)),
        ] {
            assert_eq!(given(header, BODY, TIME), Err(WebhookError::Header), "{header}");
        }
        assert_eq!(verify(SECRET, b"", None, at(TIME)), Err(WebhookError::Header));
    }

    #[test]
    fn the_time_is_judged_only_of_what_is_genuine() {
        let header = format!("t={TIME},v1={}", "0".repeat(64));
        assert_eq!(given(&header, BODY, TIME + 9_999), Err(WebhookError::Signature));
    }
}
