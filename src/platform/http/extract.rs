//! Bodies, queries and path segments, read so that every way to get them wrong has its own problem.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::platform::http::Problem;

/// How long a body may take to arrive; as long as the head of a request may.
const PATIENCE: Duration = Duration::from_secs(5);

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

/// A JSON object. What serde derives for a struct would take an array of its fields as well, in the order in which
/// they happen to stand in the code.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// A required JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            let body = in_time(body).await?;
            if !is_json {
                return Err(unsupported_media_type());
            }
            parse(&body).map(Self)
        })
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct MaybeJson<T>(pub Option<T>);

impl<T: DeserializeOwned + 'static> FromRequest for MaybeJson<T> {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            let body = in_time(body).await?;
            match (body.is_empty(), is_json) {
                (true, _) => Ok(Self(None)),
                (false, false) => Err(unsupported_media_type()),
                (false, true) => parse(&body).map(Some).map(Self),
            }
        })
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let patch = request.method() == actix_web::http::Method::PATCH;
    essence.eq_ignore_ascii_case("application/json")
        || (patch && essence.eq_ignore_ascii_case("application/merge-patch+json"))
}

fn unsupported_media_type() -> Problem {
    let detail = "the body must be JSON, sent as application/json";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

/// A whole body, unless its sender stops in the middle.
pub(super) async fn in_time(
    body: impl Future<Output = Result<Bytes, actix_web::Error>>,
) -> Result<Bytes, Problem> {
    let mut body = std::pin::pin!(body);
    // Mostly it came with the head, and needs no timer.
    let arrived = match futures_util::poll!(&mut body) {
        Poll::Ready(body) => Ok(body),
        Poll::Pending => tokio::time::timeout(PATIENCE, body).await,
    };
    match arrived {
        Ok(body) => body.map_err(|error| unreadable(&error)),
        Err(late) => {
            let detail = format!("the body did not arrive in {} s: {late}", PATIENCE.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail))
        }
    }
}

/// A body that could not be read whole.
pub(super) fn unreadable(error: &actix_web::Error) -> Problem {
    if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than this service takes",
        );
    }
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", "the body could not be read to its end")
}

/// Reads a JSON object, as `Json` does.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        // The first thing wrong need not be the worst: what is no JSON at all is told as that.
        match serde_json::from_slice::<serde_json::Value>(body) {
            Err(malformed) if !is_too_much(&malformed) => refuse(&field, &malformed),
            // Where a word of a list is expected, serde_json calls a list or a number bad syntax.
            _ if !error.inner().is_data() => {
                Problem::invalid_field(field, "expected a value of another type or range")
            }
            _ => refuse(&field, error.inner()),
        }
    })?;
    deserializer.end().map_err(|error| refuse(".", &error))?;
    Ok(value)
}

/// JSON that is right, but has a number too great or goes too deep for anybody here.
fn is_too_much(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["number out of range", "recursion limit exceeded"].iter().any(|what| text.starts_with(what))
}

fn refuse(field: &str, error: &serde_json::Error) -> Problem {
    if error.classify() != serde_json::error::Category::Data {
        let detail = format!("the body is not JSON: {error}");
        return Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail);
    }
    // "… at line 1 column 20" helps nobody whose client wrote the body.
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message =
        ["i64", "i32", "u32", "u64"].iter().fold(message.to_owned(), |message, number| {
            message.replace(&format!("expected {number}"), "expected a whole number")
        });
    let message = message.as_str();
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let field = match (field, missing) {
        (".", Some(missing)) => missing.to_owned(),
        (parent, Some(missing)) => format!("{parent}.{missing}"),
        (".", None) => "body".to_owned(),
        (field, None) => field.to_owned(),
    };
    Problem::invalid_field(field, message)
}

/// Whether it is an address that can stand in a mail header.
pub fn is_email(address: &str) -> bool {
    let (local, domain) = address.rsplit_once('@').unwrap_or_default();
    let plain =
        address.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;:\\\"()[]".contains(&byte));
    plain && !local.is_empty() && !domain.is_empty() && address.len() <= 254
}

/// The field `email` of a body, if it is there.
pub fn email(address: Option<String>) -> Result<Option<String>, Problem> {
    match address {
        Some(address) if !is_email(&address) => {
            Err(Problem::invalid_field("email", "expected an e-mail address"))
        }
        address => Ok(address),
    }
}

/// A query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let pairs = serde_urlencoded::Deserializer::new(pairs);
        let query = serde_path_to_error::deserialize(pairs).map(Self);
        std::future::ready(query.map_err(|error| {
            let name = error.path().to_string();
            let name = if name == "." { "query" } else { &name };
            Problem::invalid_field(name, of_text(error.inner().to_string()))
        }))
    }
}

/// What a parser of Rust says of a number or a switch, in the words of a body's.
fn of_text(message: String) -> String {
    match message.as_str() {
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => "expected a whole number".to_owned(),
        "provided string was not `true` or `false`" => "expected true or false".to_owned(),
        _ => message,
    }
}

/// The segments of a path. One that is malformed names nothing: 404.
#[derive(Debug)]
pub struct PathOf<T>(pub T);

impl<T: FromSegments + 'static> FromRequest for PathOf<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // The router has decoded all but `%2B`, `%2F` and `%25`; the last two are in no name of ours.
        let decoded = |(_, value): (_, &str)| value.replace("%2B", "+").replace("%2b", "+");
        let segments: Vec<String> = request.match_info().iter().map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        std::future::ready(T::from_segments(&segments).map(Self).ok_or_else(Problem::not_found))
    }
}

/// What path segments can be read as.
pub trait FromSegments: Sized {
    /// The value, if the segments are well formed.
    fn from_segments(segments: &[&str]) -> Option<Self>;
}

impl<T: FromStr> FromSegments for T {
    fn from_segments(segments: &[&str]) -> Option<Self> {
        segments.first()?.parse().ok()
    }
}

/// Two segments.
#[derive(Debug)]
pub struct Pair<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr> FromSegments for Pair<A, B> {
    fn from_segments(segments: &[&str]) -> Option<Self> {
        Some(Self(segments.first()?.parse().ok()?, segments.get(1)?.parse().ok()?))
    }
}

/// The id that `edge` gave this request.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// The id of `request`, once `edge` has seen it.
    pub fn of(request: &impl HttpMessage) -> Option<String> {
        request.extensions().get::<Self>().map(|id| id.0.clone())
    }
}
