//! Tokens as honest callers have them: signed, believed, and replaced in time.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::forge::*;
use super::{Role, SignError, Tokens};
use crate::kernel::UserId;

#[test]
fn what_is_signed_is_believed() {
    let tokens = tokens();
    let alice: UserId = "alice".parse().unwrap();
    for role in [Role::Customer, Role::Merchant, Role::Admin, Role::Service] {
        let minutes = Duration::from_secs(900);
        let token = tokens.sign(&alice, role, Some("a@b.example"), minutes, at(NOW)).unwrap();
        let claims = tokens.verify(&token, at(NOW)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.role), ("alice", role));
        assert_eq!(claims.email.as_deref(), Some("a@b.example"));
        assert_eq!((claims.iat, claims.exp), (NOW, NOW + 900));
        assert_eq!(role.to_string().parse(), Ok(role));
    }
}

#[test]
fn no_two_tokens_have_the_same_id() {
    let tokens = tokens();
    let alice: UserId = "alice".parse().unwrap();
    let sign = || tokens.sign(&alice, Role::Customer, None, Duration::from_secs(9), at(NOW));
    assert_ne!(sign().unwrap(), sign().unwrap());
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let tokens = tokens();
    let alice: UserId = "alice".parse().unwrap();
    let sign = |seconds, email| {
        let lifetime = Duration::from_secs(seconds);
        tokens.sign(&alice, Role::Customer, email, lifetime, at(NOW))
    };
    assert!(sign(86_400, None).is_ok());
    assert!(matches!(sign(86_401, None), Err(SignError::Lifetime(_))));
    assert!(matches!(sign(0, None), Err(SignError::Lifetime(_))));
    assert!(matches!(sign(9, Some("a@b\r\nc")), Err(SignError::Email)));
}

#[test]
fn what_is_just_within_bounds_is_believed() {
    let tokens = tokens();
    let typed = |name: &str| header(&format!(r#"{{"alg":"HS256","typ":"{name}"}}"#));
    for (name, token) in [
        ("no typ", header(r#"{"alg":"HS256"}"#)),
        ("typ jwt", typed("jwt")),
        ("typ AT+JWT", typed("AT+JWT")),
        ("our kid", kid(&tokens.0.verifying[0].id)),
        ("iat ahead by the leeway", claim("iat", json!(NOW + LEEWAY))),
        ("nbf ahead by the leeway", claim("nbf", json!(NOW + LEEWAY))),
        ("exp not quite past the leeway", {
            let mut claims = good_claims();
            claims.insert("iat".into(), json!(NOW - 900));
            claims.insert("exp".into(), json!(NOW - LEEWAY + 1));
            token(PLAIN, Value::Object(claims).to_string())
        }),
        ("a whole day", claim("exp", json!(NOW + DAY))),
        ("longest sub", claim("sub", json!("a".repeat(128)))),
        ("odd sub", claim("sub", json!("auth0|5f7c:a@b{}"))),
        ("longest jti", claim("jti", json!("j".repeat(128)))),
        ("no email", claim("email", json!(null))),
        ("an access token", claim("use", json!("access"))),
        ("claims of others", claim("scope", json!(["openid"]))),
    ] {
        assert!(tokens.verify(&token, at(NOW)).is_ok(), "{name}");
    }
}

#[test]
fn a_replaced_secret_still_verifies_until_it_is_dropped() {
    let alice: UserId = "alice".parse().unwrap();
    let before = Tokens::new(&settings(OLD_SECRET, None)).unwrap();
    let during = Tokens::new(&settings(SECRET, Some(OLD_SECRET))).unwrap();
    let after = Tokens::new(&settings(SECRET, None)).unwrap();
    let sign = |tokens: &Tokens| {
        tokens.sign(&alice, Role::Customer, None, Duration::from_secs(900), at(NOW)).unwrap()
    };
    let believes = |tokens: &Tokens, token: &str| tokens.verify(token, at(NOW)).is_ok();

    let (old, new) = (sign(&before), sign(&during));
    assert!(believes(&during, &old) && believes(&during, &new));
    assert!(believes(&after, &new) && !believes(&after, &old));
    assert!(!believes(&before, &new), "the old secret no longer signs");

    let message = old.rsplit_once('.').unwrap().0;
    let swapped = signed_as(Algorithm::HS256, SECRET, message);
    assert!(!believes(&during, &swapped), "a kid ties a token to its own key");
    let (head, body, _) = parts(&good());
    let nameless = signed_as(Algorithm::HS256, OLD_SECRET, &format!("{head}.{body}"));
    assert!(believes(&during, &nameless) && !believes(&after, &nameless));
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let shown = format!("{:?}", Tokens::new(&settings(SECRET, Some(OLD_SECRET))).unwrap());
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!shown.contains(SECRET) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
}
