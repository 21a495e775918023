//! How answers leave: as they are, or as a fault has them.

use std::iter;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fault::Fault;

/// Longest body of a request.
pub(crate) const LARGEST_BODY: usize = 1 << 20;
const HUGE: usize = 10 << 20;
const PART: usize = 64 << 10;
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(600);

/// An answer of a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Whether it was given before.
    pub(crate) replayed: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self { status, body, replayed: false }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(status(self.status));
        response.insert_header(("request-id", format!("req_{}", crate::world::random(14))));
        if self.replayed {
            response.insert_header(("idempotent-replayed", "true"));
        }
        response.json(&self.body)
    }
}

/// What a fault says before anything is done; none: do it.
pub(crate) fn before(fault: Option<&Fault>) -> Option<Result<Reply, HttpResponse>> {
    match fault? {
        Fault::Answer { status, body } => Some(Ok(Reply::new(*status, body.clone()))),
        Fault::Drop => Some(Err(dropped())),
        Fault::Redirect => {
            let elsewhere = ("location", "/control/state");
            Some(Err(HttpResponse::Found().insert_header(elsewhere).finish()))
        }
        _ => None,
    }
}

/// What leaves when it is done.
pub(crate) async fn after(fault: Option<Fault>, reply: &Reply) -> HttpResponse {
    match fault {
        Some(Fault::Delay { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            reply.response()
        }
        Some(Fault::DropAfter) => dropped(),
        Some(Fault::Hang) => {
            tokio::time::sleep(FOR_EVER).await;
            dropped()
        }
        Some(Fault::Empty) => HttpResponse::Ok().finish(),
        Some(Fault::Garbage) => HttpResponse::Ok()
            .content_type("text/html")
            .body("<html><body><h1>We will be back soon</h1></body></html>"),
        Some(Fault::Huge) => huge(reply),
        Some(Fault::Truncated) => {
            let text = reply.body.to_string();
            let half = text.as_bytes()[..text.len() / 2].to_vec();
            let parts = [Ok(half.into()), Err(std::io::Error::other("as it was switched"))];
            HttpResponse::Ok().content_type("application/json").streaming(stream::iter(parts))
        }
        Some(
            Fault::Answer { .. }
            | Fault::AnswerAfter { .. }
            | Fault::Drop
            | Fault::Redirect
            | Fault::WholeAmount
            | Fault::PaidBeforeAnswer,
        )
        | None => reply.response(),
    }
}

/// The status that a caller sees; none where no answer comes.
pub(crate) fn seen_status(fault: Option<&Fault>, reply: &Reply) -> Option<u16> {
    match fault {
        Some(Fault::Drop | Fault::DropAfter | Fault::Hang | Fault::Truncated) => None,
        Some(Fault::Empty | Fault::Garbage) => Some(200),
        _ => Some(reply.status),
    }
}

/// The answer with ten megabytes of blanks in it: JSON all the same.
fn huge(reply: &Reply) -> HttpResponse {
    let text = reply.body.to_string();
    let (first, rest) = text.split_at(1);
    let blanks = Bytes::from(vec![b' '; PART]);
    let parts = iter::once(Bytes::copy_from_slice(first.as_bytes()))
        .chain(iter::repeat_n(blanks, HUGE / PART))
        .chain([Bytes::copy_from_slice(rest.as_bytes())]);
    HttpResponse::build(status(reply.status))
        .content_type("application/json")
        .streaming(stream::iter(parts.map(Ok::<_, std::io::Error>)))
}

/// Breaks the connection: a body that fails at once.
fn dropped() -> HttpResponse {
    let failed: [Result<Bytes, std::io::Error>; 1] =
        [Err(std::io::Error::other("as it was switched"))];
    HttpResponse::Ok().streaming(stream::iter(failed))
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An address that neither provider has.
pub(crate) async fn nothing_here(request: actix_web::HttpRequest) -> HttpResponse {
    if request.path().starts_with("/v1/") {
        let message =
            format!("Unrecognized request URL ({}: {}).", request.method(), request.path());
        let error = json!({ "type": "invalid_request_error", "message": message });
        return HttpResponse::NotFound().json(json!({ "error": error }));
    }
    HttpResponse::Forbidden().json(json!({ "message": "Missing Authentication Token" }))
}
