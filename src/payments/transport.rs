//! One question to a provider over HTTP, and what came back. No redirect is followed, no answer is read beyond 256 KiB,
//! no wait is without end. Only a JSON object is an answer; everything else is lost.

use std::time::{Duration, Instant};

use metrics::histogram;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Map, Value, json};
use tracing::Instrument;

use crate::payments::gateway::{Direction, Exchange, ProviderName};
use crate::payments::redact::Redactor;
use crate::platform::metrics::PROVIDER_CALL_SECONDS;
use crate::platform::traces;

/// A provider that sends more is cut off.
const LARGEST: usize = 256 << 10;
const CONNECT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections that are kept.
const KEPT: usize = 16;

/// Asks one provider.
pub(super) struct Transport {
    provider: ProviderName,
    client: Client,
    redactor: Redactor,
}

/// A question.
pub(super) struct Question {
    /// Its name in exchanges and metrics.
    pub(super) what: &'static str,
    /// The request.
    pub(super) request: RequestBuilder,
    /// What of it is recorded.
    pub(super) shown: Value,
    /// How long the whole answer may take.
    pub(super) patience: Duration,
}

/// An answer.
pub(super) struct Heard {
    /// Its status.
    pub(super) status: u16,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) body: Map<String, Value>,
}

/// No answer, or none that can be read. It may have been heard all the same.
#[derive(Debug)]
pub(super) struct Lost {
    /// The status, if one came.
    pub(super) status: Option<u16>,
    /// The headers, if they came.
    pub(super) headers: HeaderMap,
    /// What happened.
    pub(super) reason: String,
}

impl Transport {
    /// Over TLS alone, unless this is a sandbox.
    pub(super) fn new(
        provider: ProviderName,
        base: &str,
        redactor: Redactor,
    ) -> Result<Self, reqwest::Error> {
        let plain = base.starts_with("http://");
        let mut client = Client::builder()
            .https_only(!plain)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        if plain {
            // A fake provider on a machine without any certificate is asked all the same.
            client = client.tls_certs_only([]);
        }
        Ok(Self { provider, client: client.build()?, redactor })
    }

    /// For building requests.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What may be kept of an exchange.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Asks, and writes down what was said.
    pub(super) async fn ask(
        &self,
        question: Question,
        exchanges: &mut Vec<Exchange>,
    ) -> Result<Heard, Lost> {
        let Question { what, request, shown, patience } = question;
        let began = Instant::now();
        let mut met = Met::default();
        let hearing = met.hear(request).instrument(traces::call(self.provider.as_str(), what));
        let ended = tokio::time::timeout(patience, hearing).await;
        let trouble = match ended {
            Ok(Ok(())) => None,
            Ok(Err(trouble)) => Some(trouble),
            Err(_) => Some(format!("no answer within {patience:?}")),
        };
        let took = began.elapsed();
        let (response, heard) = met.read(&self.redactor, trouble);
        let outcome = match &heard {
            Ok(heard) if heard.status < 300 => "ok",
            Ok(heard) if heard.status < 500 => "refused",
            Ok(_) => "failed",
            Err(_) => "lost",
        };
        let provider = self.provider.as_str();
        histogram!(PROVIDER_CALL_SECONDS, "provider" => provider, "call" => what, "outcome" => outcome)
            .record(took.as_secs_f64());
        let http_status = match &heard {
            Ok(heard) => Some(heard.status),
            Err(lost) => lost.status,
        };
        exchanges.push(Exchange {
            direction: Direction::Out,
            what: what.to_owned(),
            http_status,
            duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            request: self.redactor.json(&shown),
            response,
        });
        heard
    }
}

/// As much of an answer as came.
#[derive(Default)]
struct Met {
    status: Option<u16>,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Met {
    async fn hear(&mut self, request: RequestBuilder) -> Result<(), String> {
        let mut response: Response = request.send().await.map_err(|error| described(&error))?;
        self.status = Some(response.status().as_u16());
        self.headers = std::mem::take(response.headers_mut());
        while let Some(chunk) = response.chunk().await.map_err(|error| described(&error))? {
            if self.bytes.len() + chunk.len() > LARGEST {
                return Err(format!("the answer is longer than {LARGEST} bytes"));
            }
            self.bytes.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// What is recorded of it, and what it says.
    fn read(self, redactor: &Redactor, trouble: Option<String>) -> (Value, Result<Heard, Lost>) {
        let Self { status, headers, bytes } = self;
        let parsed = serde_json::from_slice::<Value>(&bytes);
        let reason = match (trouble, status, parsed) {
            (None, Some(status), Ok(Value::Object(body))) => {
                let shown = redactor.json(&Value::Object(body.clone()));
                return (shown, Ok(Heard { status, headers, body }));
            }
            (Some(trouble), _, _) => trouble,
            (None, _, _) if bytes.is_empty() => "the answer is empty".to_owned(),
            (None, _, _) => "the answer is no JSON object".to_owned(),
        };
        let mut shown = json!({ "lost": reason });
        if !bytes.is_empty() {
            shown["body"] = redactor.text(&bytes);
        }
        (shown, Err(Lost { status, headers, reason }))
    }
}

/// The chain of causes, without the address: a query may carry what is nobody's affair.
fn described(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
