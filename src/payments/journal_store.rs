//! The SQL of what was said about payments: every exchange with a provider, kept as it was, and the events that came, each
//! once, until their effect is done.

use serde_json::Value;
use tokio_postgres::Row;

use crate::kernel::{Instant, PaymentId};
use crate::payments::gateway::{Direction, Exchange, ProviderName};
use crate::payments::store::Pace;
use crate::platform::{Db, Fault};

const RECORD: &str = "-- payment_exchanges.insert
insert into payment_exchanges (payment_id, provider, source, operation, http_status, provider_event_id, duration_ms, raw)
select $1, $2, line.source, line.operation, line.http_status, $3, line.duration_ms, line.raw
  from unnest($4::text[], $5::text[], $6::integer[], $7::bigint[], $8::jsonb[])
       as line(source, operation, http_status, duration_ms, raw)";

const EXCHANGES: &str = "-- payment_exchanges.of_payment
select source, operation, http_status, duration_ms, provider_event_id, raw, created_at
  from payment_exchanges where payment_id = $1 order by exchange_id limit 500";

const NEWS: &str = "-- provider_events.insert
insert into provider_events (provider, event_id, event_type, payload, payment_id, next_check_at)
values ($1, $2, $3, $4, $5, now() + interval '2 seconds')
on conflict do nothing
returning event_id";

const NEWS_DONE: &str = "-- provider_events.done
update provider_events set processed_at = now(), next_check_at = null where provider = $1 and event_id = $2";

const TAKE_NEWS: &str = "-- provider_events.take_due
update provider_events e
   set checks = e.checks + 1,
       next_check_at = now() + least($2 * power(2, least(e.checks, 20)), $3) * interval '1 millisecond'
  from (select provider, event_id from provider_events where next_check_at <= now() order by next_check_at
           for update skip locked limit $1) due
 where e.provider = due.provider and e.event_id = due.event_id
returning e.provider, e.event_id, e.payload, e.payment_id";

/// Statements, for the test that prepares each on a fresh schema.
pub(super) const STATEMENTS: &[&str] = &[RECORD, EXCHANGES, NEWS, NEWS_DONE, TAKE_NEWS];

/// Where exchanges came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Api,
    Webhook,
    Callback,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Webhook => "webhook",
            Self::Callback => "callback",
        }
    }
}

/// Keeps what was said, for whoever looks at the payment later.
pub(super) async fn record(
    db: &Db,
    payment: Option<PaymentId>,
    provider: ProviderName,
    event: Option<&str>,
    source: Source,
    exchanges: &[Exchange],
) -> Result<(), Fault> {
    if exchanges.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = exchanges
        .iter()
        .map(|exchange| match exchange.direction {
            Direction::Out => Source::Api.as_str(),
            Direction::In => source.as_str(),
        })
        .collect();
    let operations: Vec<&str> = exchanges.iter().map(|exchange| exchange.what.as_str()).collect();
    let statuses: Vec<Option<i32>> =
        exchanges.iter().map(|exchange| exchange.http_status.map(i32::from)).collect();
    let durations: Vec<i64> = exchanges.iter().map(|exchange| exchange.duration_ms).collect();
    let raw = |exchange: &Exchange| serde_json::json!({ "request": exchange.request, "response": exchange.response });
    let raws: Vec<Value> = exchanges.iter().map(raw).collect();
    db.write(
        RECORD,
        &[
            &payment,
            &provider.as_str(),
            &event,
            &sources,
            &operations,
            &statuses,
            &durations,
            &raws,
        ],
    )
    .await
    .map(drop)
}

/// One exchange, as an admin sees it.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Recorded {
    /// `api`, `webhook` or `callback`.
    pub source: String,
    /// The call or the type of the event.
    pub operation: String,
    /// The status of the answer.
    pub http_status: Option<i32>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// The id of the event.
    pub provider_event_id: Option<String>,
    /// What was said, without secrets.
    #[schema(value_type = Object)]
    pub raw: Value,
    /// When.
    pub created_at: Instant,
}

pub(super) async fn exchanges(db: &Db, payment: PaymentId) -> Result<Vec<Recorded>, Fault> {
    let rows = db.read(EXCHANGES, &[&payment]).await?;
    let recorded = |row: &Row| Recorded {
        source: row.get("source"),
        operation: row.get("operation"),
        http_status: row.get("http_status"),
        duration_ms: row.get("duration_ms"),
        provider_event_id: row.get("provider_event_id"),
        raw: row.get("raw"),
        created_at: row.get("created_at"),
    };
    Ok(rows.iter().map(recorded).collect())
}

/// An event as it waits for its effect.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) provider: ProviderName,
    pub(super) id: String,
    pub(super) payload: Value,
    /// The payment that it is about.
    pub(super) payment: Option<PaymentId>,
}

/// Keeps an event. False: it came before.
pub(super) async fn keep_news(db: &Db, news: &News, kind: &str) -> Result<bool, Fault> {
    let News { provider, id, payload, payment } = news;
    let rows = db.write(NEWS, &[&provider.as_str(), id, &kind, payload, payment]).await?;
    Ok(!rows.is_empty())
}

pub(super) async fn news_done(db: &Db, provider: ProviderName, id: &str) -> Result<(), Fault> {
    db.write(NEWS_DONE, &[&provider.as_str(), &id]).await.map(drop)
}

pub(super) async fn take_news(db: &Db, limit: i64, pace: Pace) -> Result<Vec<News>, Fault> {
    let (first, most) = pace.millis();
    let rows = db.write(TAKE_NEWS, &[&limit, &first, &most]).await?;
    let news = |row: &Row| {
        let provider = row.get::<_, &str>("provider").parse();
        let provider = provider.map_err(|error| Fault::internal("reading an event").because(error));
        Ok(News {
            provider: provider?,
            id: row.get("event_id"),
            payload: row.get("payload"),
            payment: row.get("payment_id"),
        })
    };
    rows.iter().map(news).collect()
}
