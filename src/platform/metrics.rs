//! The service's metrics: names, units, buckets. No label ever carries a SKU or a buyer.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Lateness of a release after its deadline, seconds.
pub const RESTORE_LAG: &str = "holdfast_restore_lag_seconds";
/// Age of the oldest pin, seconds.
pub const OLDEST_PIN_AGE: &str = "holdfast_oldest_pin_age_seconds";
/// Greatest distance between the epoch of Postgres and that of Redis.
pub const EPOCH_GAP: &str = "holdfast_epoch_gap";
/// Units sold in Postgres that Redis has not counted and no pin explains.
pub const DRIFT_UNITS: &str = "holdfast_drift_units";
/// Answers that had to leave the outcome open.
pub const UNKNOWN_OUTCOMES: &str = "holdfast_unknown_outcomes_total";
/// Confirms that met a newer epoch.
pub const STALE_CONFIRMS: &str = "holdfast_stale_confirms_total";
/// Duration of the rebuild of one SKU, seconds.
pub const REBUILD_SECONDS: &str = "holdfast_rebuild_seconds";
/// Units by which the available stock of all SKUs is below zero.
pub const NEGATIVE_AVAIL: &str = "holdfast_negative_avail_units";
/// Duration of a script's call, from the lane and back, seconds, by `script`.
pub const SCRIPT_SECONDS: &str = "holdfast_script_seconds";
/// Duration of a statement, the wait for a connection included, seconds, by `statement`.
pub const STATEMENT_SECONDS: &str = "holdfast_statement_seconds";
/// Items of a batch, by `batch`.
pub const BATCH_ITEMS: &str = "holdfast_batch_items";
/// Items that wait for a batch when one leaves, by `batch`; those that leave with it included.
pub const QUEUE_ITEMS: &str = "holdfast_queue_items";
/// Requests by `route`, `method` and `status`.
pub const HTTP_SECONDS: &str = "holdfast_http_request_seconds";
/// Holds that were made, by `kind` (single, several).
pub const HOLDS: &str = "holdfast_holds_total";
/// Refusals to reserve, by `code`.
pub const REFUSALS: &str = "holdfast_refusals_total";
/// Reservations that ended, by `end`.
pub const ENDS: &str = "holdfast_ends_total";
/// Expiry events that led to no sweep; the sweeper makes up for them.
pub const EVENTS_DROPPED: &str = "holdfast_expiry_events_dropped_total";
/// Requests that were refused for coming too often, by `policy`.
pub const RATE_LIMITED: &str = "holdfast_rate_limited_total";
/// Payments that came to an end, by `provider` and `end`.
pub const PAYMENTS: &str = "holdfast_payments_total";
/// Payments that a person must look at, by `why`.
pub const PAYMENT_REVIEWS: &str = "holdfast_payment_reviews_total";
/// Money that came after its hold had ended, by `end` (taken, returned).
pub const LATE_PAYMENTS: &str = "holdfast_late_payments_total";
/// Duration of a call of a payment provider, seconds, by `provider`, `call` and `outcome`.
pub const PROVIDER_CALL_SECONDS: &str = "holdfast_provider_call_seconds";
/// Open streams of stock events.
pub const EVENT_STREAMS: &str = "holdfast_event_streams";
/// Deliveries and events that wait to be sent.
pub const OUTBOX_BACKLOG: &str = "holdfast_outbox_backlog";
/// Age of the oldest of them, seconds.
pub const OUTBOX_OLDEST: &str = "holdfast_outbox_oldest_age_seconds";
/// Deliveries that were given up and wait for an admin.
pub const DEAD_LETTERS: &str = "holdfast_dead_letters";
/// Attempts to deliver, by `kind` and `outcome`.
pub const DELIVERIES: &str = "holdfast_deliveries_total";
/// Duration of an attempt to deliver, seconds, by `kind`.
pub const DELIVERY_SECONDS: &str = "holdfast_delivery_seconds";

const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0];

const ITEMS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Makes the process-wide recorder; the handle renders `/metrics`. A second call (tests start several services in one
/// process) answers the same handle.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    use std::sync::Mutex;
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_items".into()), &ITEMS)?
        .install_recorder()?;
    describe();
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(RESTORE_LAG, Unit::Seconds, "lateness of a release after its deadline");
    describe_gauge!(OLDEST_PIN_AGE, Unit::Seconds, "age of the oldest pin");
    describe_gauge!(EPOCH_GAP, "greatest distance between the epochs of postgres and redis");
    describe_gauge!(
        DRIFT_UNITS,
        "units sold in postgres that redis has not counted and no pin explains"
    );
    describe_counter!(UNKNOWN_OUTCOMES, "answers that had to leave the outcome open");
    describe_counter!(STALE_CONFIRMS, "confirms that met a newer epoch");
    describe_histogram!(REBUILD_SECONDS, Unit::Seconds, "duration of the rebuild of one SKU");
    describe_gauge!(NEGATIVE_AVAIL, "units by which available stock is below zero");
    describe_histogram!(SCRIPT_SECONDS, Unit::Seconds, "duration of a script call");
    describe_histogram!(STATEMENT_SECONDS, Unit::Seconds, "duration of a statement");
    describe_histogram!(BATCH_ITEMS, "items of a batch");
    describe_histogram!(QUEUE_ITEMS, "items that wait for a batch when one leaves");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "duration of a request");
    describe_counter!(RATE_LIMITED, "requests that were refused for coming too often");
    describe_histogram!(PROVIDER_CALL_SECONDS, Unit::Seconds, "duration of a call of a provider");
    describe_gauge!(EVENT_STREAMS, "open streams of stock events");
    describe_gauge!(OUTBOX_BACKLOG, "deliveries and events that wait to be sent");
    describe_gauge!(OUTBOX_OLDEST, Unit::Seconds, "age of the oldest that waits to be sent");
    describe_gauge!(DEAD_LETTERS, "deliveries that were given up");
    describe_counter!(DELIVERIES, "attempts to deliver");
    describe_histogram!(DELIVERY_SECONDS, Unit::Seconds, "duration of an attempt to deliver");
    describe_counter!(HOLDS, "holds that were made");
    describe_counter!(REFUSALS, "refusals to reserve");
    describe_counter!(ENDS, "reservations that ended");
    describe_counter!(PAYMENTS, "payments that came to an end");
    describe_counter!(PAYMENT_REVIEWS, "payments that a person must look at");
    describe_counter!(LATE_PAYMENTS, "money that came after its hold had ended");
    describe_counter!(EVENTS_DROPPED, "expiry events that led to no sweep");
}

/// How often histograms are drained, so that they stay small when nobody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);
