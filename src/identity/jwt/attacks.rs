//! Tokens as an attacker sends them: each is refused, and all with the same answer.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::InvalidToken;
use super::forge::*;

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

// The reasons, as `Flaw` has them.
const LONG: &str = "longer than 8 KiB";
const HEADER: &str = "header cannot be read";
const UNSIGNED: &str = "no key of ours signed it";
const MALFORMED: &str = "malformed claims";
const NO_TOKEN: &str = "no token";
const OWN_KEY: &str = "header brings its own key";
const UNKNOWN: &str = "header asks for what we do not do";
const TYPE: &str = "header names another type";
const EXPIRED: &str = "expired";
const FUTURE: &str = "from the future, or from before 1970";
const EARLY: &str = "not valid yet";
const LIFETIME: &str = "lives too long";
const ISSUER: &str = "another issuer";
const AUDIENCE: &str = "another audience";
const PURPOSE: &str = "not for calling the API";
const TOKEN_ID: &str = "malformed jti";
const EMAIL: &str = "malformed email";

/// An attack: what it is, why it fails, and the token.
type Attack = (String, &'static str, String);

fn attack(name: &str, flaw: &'static str, token: String) -> Attack {
    (name.to_owned(), flaw, token)
}

fn on_the_signature() -> Vec<Attack> {
    let (head, body, signature) = parts(&good());
    let message = format!("{head}.{body}");
    let raised = base64(claim_text("role", json!("admin")));
    let other = parts(&claim("sub", json!("bob"))).2;
    let hs = |name: &str, algorithm| {
        let head = base64(format!(r#"{{"alg":"{name}"}}"#));
        signed_as(algorithm, SECRET, &format!("{head}.{body}"))
    };
    vec![
        attack("stripped", UNSIGNED, format!("{message}.")),
        attack("two parts", NO_TOKEN, message.clone()),
        attack("truncated", UNSIGNED, format!("{message}.{}", &signature[..40])),
        attack("lengthened", UNSIGNED, format!("{message}.{signature}AAAA")),
        attack("of another token", UNSIGNED, format!("{message}.{other}")),
        attack("role raised", UNSIGNED, format!("{head}.{raised}.{signature}")),
        attack("unknown key", UNSIGNED, signed_as(Algorithm::HS256, OLD_SECRET, &message)),
        attack("empty key", UNSIGNED, signed_as(Algorithm::HS256, "", &message)),
        attack("public key as key", UNSIGNED, signed_as(Algorithm::HS256, PUBLIC_KEY, &message)),
        attack("HS384", UNSIGNED, hs("HS384", Algorithm::HS384)),
        attack("HS512", UNSIGNED, hs("HS512", Algorithm::HS512)),
        attack("HS512 called HS256", UNSIGNED, signed_as(Algorithm::HS512, SECRET, &message)),
    ]
}

fn on_the_algorithm() -> Vec<Attack> {
    let body = parts(&good()).1;
    let mut attacks = Vec::new();
    for name in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1", "RS256\0"] {
        let head = base64(json!({"alg": name}).to_string());
        attacks.push(attack(&format!("alg {name:?} unsigned"), HEADER, format!("{head}.{body}.")));
        attacks.push(attack(&format!("alg {name:?}"), HEADER, signed(&format!("{head}.{body}"))));
    }
    for name in ["RS256", "PS256", "ES256", "EdDSA"] {
        let forged = header(&json!({"alg": name}).to_string());
        attacks.push(attack(&format!("alg {name} over our HMAC"), UNSIGNED, forged));
    }
    for text in ["{}", "null", "[]", "\"HS256\"", "{\"alg\":null}", "{\"alg\":[\"HS256\"]}"] {
        attacks.push(attack(&format!("header {text}"), HEADER, header(text)));
    }
    attacks
}

fn on_the_header() -> Vec<Attack> {
    let with = |text: &str| header(&format!(r#"{{"alg":"HS256",{text}}}"#));
    let jwk = r#""jwk":{"kty":"oct","k":"AAAA"}"#;
    let mut attacks = vec![
        attack("jku", OWN_KEY, with(r#""jku":"https://evil.example/keys""#)),
        attack("x5u", OWN_KEY, with(r#""x5u":"https://evil.example/cert""#)),
        attack("x5c", OWN_KEY, with(r#""x5c":["MIIB"]"#)),
        attack("jwk", OWN_KEY, with(jwk)),
        attack("crit", UNKNOWN, with(r#""crit":["b64"],"b64":false"#)),
        attack("empty crit", UNKNOWN, with(r#""crit":[]"#)),
        attack("compressed", UNKNOWN, with(r#""zip":"DEF""#)),
        attack("encrypted", UNKNOWN, with(r#""enc":"A128GCM""#)),
        attack("content type", UNKNOWN, with(r#""cty":"JWT""#)),
        attack("alg twice", HEADER, with(r#""alg":"HS256""#)),
        attack("kid twice", HEADER, with(r#""kid":"a","kid":"b""#)),
        attack("numeric kid", HEADER, with(r#""kid":1"#)),
        attack("kid list", HEADER, with(r#""kid":["a"]"#)),
    ];
    for name in ["", "JWS", "JWE", "refresh+jwt", "logout+jwt", "JWT ", "JW\u{421}"] {
        let text = format!(r#""typ":"{name}""#);
        attacks.push(attack(&format!("typ {name:?}"), TYPE, with(&text)));
    }
    for name in ["", "00000000", "../../../../dev/null", "' or '1'='1", "a\0b", "https://e.vil/k"] {
        attacks.push(attack(&format!("kid {name:?}"), UNSIGNED, kid(name)));
    }
    attacks
}

fn on_the_shape() -> Vec<Attack> {
    let good = good();
    let (head, body, signature) = parts(&good);
    // One whose payload needs the two digits in which the alphabets differ.
    let slashed = (0..64).map(|n| claim("x", json!(format!("{}???>>>", "~".repeat(n)))));
    let slashed = slashed.map(|t| parts(&t)).find(|(_, b, _)| b.contains('_')).unwrap();
    let standard = format!("{}.{}", slashed.0, slashed.1.replace('-', "+").replace('_', "/"));
    let nested = token(r#"{"alg":"HS256","cty":"JWT"}"#, &good);
    let oversized = header(&json!({"alg": "HS256", "x": "y".repeat(1 << 20)}).to_string());
    vec![
        attack("empty", NO_TOKEN, String::new()),
        attack("dots", HEADER, "..".into()),
        attack("no token", NO_TOKEN, "null".into()),
        attack("scheme kept", HEADER, format!("Bearer {good}")),
        attack("leading blank", HEADER, format!(" {good}")),
        attack("trailing newline", UNSIGNED, format!("{good}\n")),
        attack("four parts", HEADER, format!("{good}.{signature}")),
        attack("encrypted, five parts", HEADER, format!("{head}.{body}.{body}.{body}.{signature}")),
        attack("padded signature", UNSIGNED, format!("{head}.{body}.{signature}=")),
        attack("padded payload", MALFORMED, signed(&format!("{head}.{body}="))),
        attack("padded header", HEADER, signed(&format!("{head}=.{body}"))),
        attack("standard alphabet", MALFORMED, signed(&standard)),
        attack("not ASCII", HEADER, format!("\u{ff45}{good}")),
        attack("nested", UNKNOWN, nested),
        attack("token for payload", MALFORMED, token(PLAIN, &good)),
        attack("payload no object", MALFORMED, token(PLAIN, "[]")),
        attack("payload no JSON", MALFORMED, token(PLAIN, "sub=alice")),
        attack("payload no UTF-8", MALFORMED, token(PLAIN, b"{\"sub\":\"\xff\"}")),
        attack("payload cut", MALFORMED, token(PLAIN, "{\"sub\":\"alice\"")),
        attack("payload and more", MALFORMED, token(PLAIN, claim_text("x", json!(1)) + "{}")),
        attack("deep nesting", MALFORMED, raw_claim(&format!("\"x\":{}", "[".repeat(4000)))),
        attack("header of 1 MB", LONG, oversized),
        attack("kid of 100 kB", LONG, kid(&"k".repeat(100_000))),
        attack("1 MB of dots", LONG, ".".repeat(1 << 20)),
    ]
}

fn on_the_times() -> Vec<Attack> {
    let mut attacks = vec![
        attack("expired by 61 s", EXPIRED, claim("exp", json!(NOW - 61))),
        attack("expired just now", EXPIRED, claim("exp", json!(NOW - LEEWAY))),
        attack("exp negative", EXPIRED, claim("exp", json!(-1))),
        attack("exp least", EXPIRED, claim("exp", json!(i64::MIN))),
        attack("exp greatest", LIFETIME, claim("exp", json!(i64::MAX))),
        attack("exp in milliseconds", LIFETIME, claim("exp", json!(NOW * 1000))),
        attack("a day and a second", LIFETIME, claim("exp", json!(NOW + DAY + 1))),
        attack("exp at iat", LIFETIME, claim("exp", json!(NOW))),
        attack("iat from the future", FUTURE, claim("iat", json!(NOW + LEEWAY + 1))),
        attack("iat before 1970", FUTURE, claim("iat", json!(-1))),
        attack("iat least", FUTURE, claim("iat", json!(i64::MIN))),
        attack("nbf in the future", EARLY, claim("nbf", json!(NOW + LEEWAY + 1))),
        attack("nbf greatest", EARLY, claim("nbf", json!(i64::MAX))),
    ];
    let expiry = NOW + 900;
    let texts = ["1e30", "1.8e9", "-0", "true", "[1]", "{}", "99999999999999999999"];
    let texts = texts.map(str::to_owned).into_iter();
    for text in texts.chain([format!("\"{expiry}\""), format!("{expiry}.0"), format!("[{expiry}]")])
    {
        attacks.push(attack(&format!("exp {text}"), MALFORMED, raw_expiry(&text)));
    }
    for value in [json!("1"), json!(1.5), json!([1]), json!(null)] {
        attacks.push(attack(&format!("iat {value}"), MALFORMED, claim("iat", value.clone())));
        attacks.push(attack(&format!("nbf {value}"), MALFORMED, claim("nbf", value)));
    }
    attacks
}

fn on_the_claims() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for name in ["iss", "aud", "sub", "role", "iat", "exp", "jti"] {
        let mut claims = good_claims();
        let value = claims.remove(name).unwrap();
        let without = token(PLAIN, Value::Object(claims).to_string());
        attacks.push(attack(&format!("no {name}"), MALFORMED, without));
        attacks.push(attack(&format!("{name} null"), MALFORMED, claim(name, json!(null))));
        attacks.push(attack(&format!("{name} list"), MALFORMED, claim(name, json!([value]))));
        let twice = raw_claim(&format!("\"{name}\":{value}"));
        attacks.push(attack(&format!("{name} twice"), MALFORMED, twice));
    }
    let look_alike = "\u{430}lice";
    let long = "a".repeat(129);
    let endless = "a".repeat(4096);
    let subs = ["", "a\0b", look_alike, "a b", "a/b", "a?b", "a#b", "a%2fb", "a\nb", "a\u{200b}"];
    for sub in subs.into_iter().chain([&*long, &endless]) {
        attacks.push(attack(&format!("sub {sub:?}"), MALFORMED, claim("sub", json!(sub))));
    }
    for role in [json!("root"), json!("Admin"), json!("admin "), json!(""), json!(2), json!({})] {
        attacks.push(attack(&format!("role {role}"), MALFORMED, claim("role", role)));
    }
    for aud in ["", "sho", "shop2", "Shop", "shop/", " shop", "shop,other"] {
        attacks.push(attack(&format!("aud {aud:?}"), AUDIENCE, claim("aud", json!(aud))));
    }
    for iss in ["", "holdfast/", "Holdfast", "holdfas", "h\u{43e}ldfast", "https://evil.example"] {
        attacks.push(attack(&format!("iss {iss:?}"), ISSUER, claim("iss", json!(iss))));
    }
    for purpose in ["refresh", "id", "", "Access"] {
        attacks.push(attack(&format!("use {purpose:?}"), PURPOSE, claim("use", json!(purpose))));
    }
    attacks.push(attack("use null", MALFORMED, claim("use", json!(null))));
    for jti in ["", "a b", "a\0", &"j".repeat(129)] {
        attacks.push(attack(&format!("jti {jti:?}"), TOKEN_ID, claim("jti", json!(jti))));
    }
    for email in ["", "alice", "@b.example", "a@", "a@b\r\nBcc: c@d.example", "a@b,c@d"] {
        attacks.push(attack(&format!("email {email:?}"), EMAIL, claim("email", json!(email))));
    }
    attacks
}

#[test]
fn no_attack_gets_through_and_all_hear_the_same() {
    let groups = [
        on_the_signature(),
        on_the_algorithm(),
        on_the_header(),
        on_the_shape(),
        on_the_times(),
        on_the_claims(),
    ];
    let tokens = tokens();
    assert!(tokens.verify(&good(), at(NOW)).is_ok(), "attacks must differ from a good token");
    for (name, flaw, token) in groups.iter().flatten() {
        assert_eq!(tokens.examine(token, at(NOW)), Err(*flaw), "{name}");
        assert_eq!(tokens.verify(token, at(NOW)), Err(InvalidToken), "{name}");
    }
    let count = groups.iter().flatten().count();
    assert!(count >= 150, "only {count} attacks are left");
}

#[test]
fn a_token_with_any_one_character_changed_is_refused() {
    let (tokens, good) = (tokens(), good());
    for place in 0..good.len() {
        for other in ["A", "z", "_", ".", "=", " "] {
            let mut changed = good.clone();
            changed.replace_range(place..=place, other);
            let verified = tokens.verify(&changed, at(NOW));
            assert!(changed == good || verified == Err(InvalidToken), "{place} {other}");
        }
    }
}
