//! `Idempotency-Key`, one layer for every POST: the first success under a key is kept for a day and replayed byte for
//! byte; a twin in flight and another body under the same key are refused. Refusals and faults are not kept.
//!
//! Costs one round trip when there is a key (the answer is kept after it was sent), none when there is not.

use std::time::Duration;

use actix_web::body::{self, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpResponse};
use redis::Value;
use sha2::{Digest, Sha256};

use crate::platform::http::Problem;
use crate::platform::http::extract::RequestId;
use crate::platform::redis::Via;
use crate::platform::{Fault, Outcome, Tasks, lua};

/// How long a success is replayed.
const KEPT: Duration = Duration::from_secs(24 * 3600);
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The layer's handle, one per worker.
#[derive(Clone)]
pub struct Idempotency {
    /// The worker's way to Redis.
    pub via: Via,
    /// What every key begins with.
    pub prefix: String,
    /// For keeping answers after they were sent.
    pub tasks: Tasks,
    /// How long a claim lives: a little longer than any request.
    pub claim: Duration,
    /// Who asks, as far as the token says; none when there is no valid one.
    pub caller: fn(&ServiceRequest) -> Option<String>,
}

/// The hash that a request's effects in Postgres carry under a unique constraint.
#[derive(Clone, Debug)]
pub struct RequestKey(pub Vec<u8>);

/// The middleware.
pub async fn idempotent<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    // What signs in is not kept: its answers are secrets, and a refresh token is good once anyway.
    let kept = !["/auth/", "/admin/session"].iter().any(|door| request.path().starts_with(door));
    let mut keys = request.headers().get_all(KEY);
    let (key, another) = (keys.next().filter(|_| kept).cloned(), keys.next().is_some());
    let layer = request.app_data::<Data<Idempotency>>().cloned();
    let (Some(key), Some(layer), &Method::POST) = (key, layer, request.method()) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let Some(caller) = (layer.caller)(&request) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let printable = |key: &HeaderValue| {
        (1..=255).contains(&key.len())
            && key.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte))
    };
    if another || !printable(&key) {
        let problem = Problem::invalid_field(
            "Idempotency-Key",
            "expected one of 1 to 255 printable characters",
        );
        return Ok(refused(request, problem));
    }
    let scope = scope(&caller, request.path(), key.as_bytes());
    let body = match super::extract::in_time(request.extract::<Bytes>()).await {
        Ok(body) => body,
        Err(problem) => return Ok(refused(request, problem)),
    };
    let run = Run {
        key: format!("{}idem:{}", layer.prefix, hex(&scope)),
        mark: format!("{:032x}", rand::random::<u128>()),
        fingerprint: fingerprint(&body),
        layer,
    };
    match run.claim().await {
        Ok(None) => {}
        Ok(Some(replay)) => return Ok(request.into_response(replay).map_into_right_body()),
        Err(problem) => return Ok(refused(request, problem)),
    }
    request.extensions_mut().insert(RequestKey(scope));
    request.set_payload(Payload::from(body));
    let response = next.call(request).await;
    match response {
        Ok(response) => run.end(response).await,
        Err(error) => {
            run.forget().await;
            Err(error)
        }
    }
}

fn refused<B>(
    request: ServiceRequest,
    problem: Problem,
) -> ServiceResponse<EitherBody<B, BoxBody>> {
    let id = RequestId::of(&request);
    request.into_response(problem.response(id.as_deref())).map_into_right_body()
}

fn scope(caller: &str, path: &str, key: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in [caller.as_bytes(), path.as_bytes(), key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().to_vec()
}

/// The body's meaning rather than its spelling: blanks and the order of members do not count.
fn fingerprint(body: &[u8]) -> String {
    let canonical = serde_json::from_slice::<serde_json::Value>(body)
        .map(|value| value.to_string().into_bytes());
    hex(&Sha256::digest(canonical.as_deref().unwrap_or(body)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One request under a key.
#[derive(Clone)]
struct Run {
    layer: Data<Idempotency>,
    key: String,
    mark: String,
    fingerprint: String,
}

impl Run {
    /// Claims the key. A kept answer comes back whole.
    async fn claim(&self) -> Result<Option<HttpResponse>, Problem> {
        let claim = self.layer.claim.as_millis().to_string();
        let reply: Vec<Value> =
            self.call(&["claim", &self.mark, &self.fingerprint, &claim]).await?;
        match reply.as_slice() {
            [Value::Int(0)] => Ok(None),
            [Value::Int(1)] => {
                let detail = "a request with this Idempotency-Key is being answered";
                Err(Problem::conflict("request_in_progress", detail).retry_after(1))
            }
            [Value::Int(3), Value::BulkString(kept)] => Ok(Some(replay(kept)?)),
            _ => {
                let detail = "this Idempotency-Key was used with another body";
                Err(Problem::field("idempotency_key_reused", "Idempotency-Key", detail))
            }
        }
    }

    /// Keeps a success, after it was sent on its way; lets go of the claim otherwise.
    async fn end<B: MessageBody + 'static>(
        self,
        response: ServiceResponse<B>,
    ) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
        if !response.status().is_success() {
            self.forget().await;
            return Ok(response.map_into_left_body());
        }
        let (request, response) = response.into_parts();
        let (head, content) = response.into_parts();
        let content = body::to_bytes(content)
            .await
            .map_err(|error| Fault::internal("reading an answer").because(error.into().to_string()))
            .map_err(Problem::from)?;
        let header = |name: HeaderName| {
            head.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
        };
        let mut kept = format!(
            "{}\n{}\n{}\n{}\n",
            self.fingerprint,
            head.status().as_u16(),
            header(CONTENT_TYPE),
            header(LOCATION)
        )
        .into_bytes();
        kept.extend_from_slice(&content);
        self.finish("keep", kept).await;
        let response = head.set_body(BoxBody::new(content));
        Ok(ServiceResponse::new(request, response).map_into_right_body())
    }

    async fn forget(self) {
        self.finish("drop", Vec::new()).await;
    }

    /// Ends the claim without letting the client wait: the call is on its way before the answer is, and its own answer
    /// is awaited by somebody else. Should it fail, the claim lapses by itself.
    async fn finish(self, verb: &'static str, kept: Vec<u8>) {
        let tasks = self.layer.tasks.clone();
        let (via, mark, key) = (self.layer.via.clone(), self.mark, self.key);
        let mut ending = Box::pin(async move {
            let kept_ms = KEPT.as_millis().to_string();
            let arguments: [&[u8]; 4] =
                [verb.as_bytes(), mark.as_bytes(), &kept, kept_ms.as_bytes()];
            if let Err(fault) = call::<Vec<Value>>(&via, &key, &arguments).await {
                tracing::warn!(error = fault.chain(), "an idempotency claim was left to lapse");
            }
        });
        if futures_util::poll!(&mut ending).is_pending() {
            drop(tasks.spawn(ending));
        }
    }

    async fn call(&self, arguments: &[&str]) -> Result<Vec<Value>, Fault> {
        // A claim by itself changes nothing that matters.
        call(&self.layer.via, &self.key, arguments)
            .await
            .map_err(|fault| fault.with_outcome(Outcome::None))
    }
}

async fn call<T: redis::FromRedisValue>(
    via: &Via,
    key: &str,
    arguments: &[impl redis::ToRedisArgs],
) -> Result<T, Fault> {
    let mut connection = via.connection().await?;
    let mut cmd = lua::IDEMPOTENCY.call(&[key]);
    cmd.arg(arguments);
    lua::IDEMPOTENCY
        .run(&cmd, &mut connection)
        .await
        .map_err(|error| via.fault("an idempotency key", error))
}

fn replay(kept: &[u8]) -> Result<HttpResponse, Fault> {
    let mut parts = kept.splitn(4, |byte| *byte == b'\n');
    let mut text =
        || parts.next().and_then(|part| std::str::from_utf8(part).ok()).map(str::to_owned);
    let (status, content_type, location) = (text(), text(), text());
    let status = status
        .and_then(|status| status.parse::<u16>().ok())
        .and_then(|code| StatusCode::from_u16(code).ok());
    let (Some(status), Some(content_type), Some(location), Some(content)) =
        (status, content_type, location, parts.next())
    else {
        return Err(Fault::internal("reading a kept answer"));
    };
    let mut response = HttpResponse::build(status);
    response.insert_header((REPLAYED, "true"));
    for (name, value) in [(CONTENT_TYPE, content_type), (LOCATION, location)] {
        if !value.is_empty() {
            response.insert_header((name, value));
        }
    }
    Ok(response.body(content.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_change_a_fingerprint() {
        assert_eq!(fingerprint(br#"{"a":1,"b":2}"#), fingerprint(b"{ \"b\": 2, \"a\": 1 }"));
        assert_ne!(fingerprint(br#"{"a":1}"#), fingerprint(br#"{"a":2}"#));
        assert_ne!(scope("a", "bc", b"k"), scope("ab", "c", b"k"));
    }

    #[test]
    fn a_kept_answer_comes_back_whole() {
        let response = replay(b"201\napplication/json\n/x\n{\"a\":\n1}").unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers().get("location").unwrap(), "/x");
        assert!(replay(b"nonsense").is_err());
    }
}
