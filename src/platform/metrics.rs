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
/// SKUs that an audit found wrong.
pub const DRIFT_FOUND: &str = "holdfast_drift_found_total";
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
/// Events of holds that were dropped, because too many waited to be written.
pub const HOLD_EVENTS_DROPPED: &str = "holdfast_hold_events_dropped_total";
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

/// The version of the live settings in force.
pub const SETTINGS_VERSION: &str = "holdfast_settings_version";
/// Whether files or live settings say something that was refused.
pub const SETTINGS_REFUSED: &str = "holdfast_settings_refused";
/// Settings that changed while the service ran.
pub const SETTINGS_CHANGES: &str = "holdfast_settings_changes_total";
/// Whether a part of the service can do its work, by `part`.
pub const READY: &str = "holdfast_ready";
/// When a background loop last ended a turn, unix time in seconds, by `loop`.
pub const LOOP_TURN: &str = "holdfast_loop_turn_timestamp_seconds";
/// Duration of a pass over all SKUs, seconds.
pub const PASS_SECONDS: &str = "holdfast_pass_seconds";
/// Sweeps of one SKU, by `outcome` (done, failed).
pub const SWEEPS: &str = "holdfast_sweeps_total";
/// Subscriptions to expiry events.
pub const SUBSCRIPTIONS: &str = "holdfast_listener_subscriptions_total";
/// Connections of a pool, by `pool` and `state` (in_use, idle).
pub const POOL_CONNECTIONS: &str = "holdfast_pool_connections";
/// Connections that a pool may have, by `pool`.
pub const POOL_LIMIT: &str = "holdfast_pool_connections_limit";
/// Callers that wait for a connection of a pool, by `pool`.
pub const POOL_WAITING: &str = "holdfast_pool_waiting";
/// Callers that got none, by `pool` and `why` (busy, down).
pub const POOL_REFUSALS: &str = "holdfast_pool_refusals_total";
/// Lanes to Redis that are connected.
pub const LANES: &str = "holdfast_lanes_connected";
/// Attempts to connect a lane, by `outcome` (ok, failed).
pub const LANE_CONNECTS: &str = "holdfast_lane_connects_total";
/// Items that were refused because too many waited, by `batch`.
pub const QUEUE_REFUSALS: &str = "holdfast_queue_refusals_total";
/// Payments on which work is left, by `provider` and `status`.
pub const PAYMENTS_OPEN: &str = "holdfast_payments_open";
/// How long the payment in doubt for longest has been so, seconds.
pub const PAYMENT_DOUBT: &str = "holdfast_payment_doubt_seconds";
/// Memory that the process occupies, bytes.
pub const RESIDENT: &str = "process_resident_memory_bytes";
/// Time that processors have spent on the process, seconds.
pub const CPU: &str = "process_cpu_seconds_total";
/// Open file descriptors.
pub const OPEN_FDS: &str = "process_open_fds";
/// File descriptors that may be open.
pub const MAX_FDS: &str = "process_max_fds";
/// Threads of the process.
pub const THREADS: &str = "process_threads";
/// When the process started, unix time in seconds.
pub const STARTED: &str = "process_start_time_seconds";
/// What runs: always 1, with its `version`.
pub const BUILD: &str = "holdfast_build_info";
/// Spans on their way to the collector, by `outcome` (sent, refused).
pub const SPANS: &str = "holdfast_trace_spans_total";

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
    begin_at_zero();
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    *installed = Some(handle.clone());
    Ok(handle)
}

/// Notes that a background loop has ended a turn: whoever watches sees one that stands still.
pub fn turned(name: &'static str) {
    let now_s = crate::kernel::Clock::System.now_ms() as f64 / 1_000.0;
    metrics::gauge!(LOOP_TURN, "loop" => name).set(now_s);
}

/// What an alert or a panel watches for its rise is there from the beginning: Prometheus sees no rise in what appears with
/// its first event.
fn begin_at_zero() {
    use metrics::counter;
    metrics::gauge!(EVENT_STREAMS).set(0.0);
    for code in [
        "already_held",
        "insufficient_stock",
        "buyer_limit",
        "sale_not_open",
        "sale_closed",
        "sale_paused",
        "invalid_field",
        "hold_churn",
        "unknown_product",
    ] {
        counter!(REFUSALS, "code" => code).increment(0);
    }
    for policy in ["customer", "anonymous", "register", "login", "account"] {
        counter!(RATE_LIMITED, "policy" => policy).increment(0);
    }
    for provider in ["stripe", "bkash"] {
        for end in ["paid", "failed", "cancelled", "expired", "refunded"] {
            counter!(PAYMENTS, "provider" => provider, "end" => end).increment(0);
        }
    }
    for why in ["amount", "currency", "reference", "livemode", "session", "refund", "dispute"] {
        counter!(PAYMENT_REVIEWS, "why" => why).increment(0);
    }
    for end in ["taken", "returned"] {
        counter!(LATE_PAYMENTS, "end" => end).increment(0);
    }
    for pool in ["requests", "background", "patient", "redis"] {
        for why in ["busy", "down"] {
            counter!(POOL_REFUSALS, "pool" => pool, "why" => why).increment(0);
        }
    }
    for batch in ["reserve", "read", "pin", "settle", "confirm", "generation", "limit"] {
        counter!(QUEUE_REFUSALS, "batch" => batch).increment(0);
    }
    for name in [
        UNKNOWN_OUTCOMES,
        STALE_CONFIRMS,
        EVENTS_DROPPED,
        HOLD_EVENTS_DROPPED,
        DRIFT_FOUND,
        SETTINGS_CHANGES,
    ] {
        counter!(name).increment(0);
    }
    counter!(SWEEPS, "outcome" => "failed").increment(0);
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
    describe_counter!(DRIFT_FOUND, "SKUs that an audit found wrong");
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
    describe_gauge!(SETTINGS_VERSION, "version of the live settings in force");
    describe_gauge!(SETTINGS_REFUSED, "whether changed settings were refused");
    describe_counter!(SETTINGS_CHANGES, "settings that changed while the service ran");
    describe_counter!(HOLD_EVENTS_DROPPED, "events of holds that were dropped");
    describe_counter!(EVENTS_DROPPED, "expiry events that led to no sweep");
    describe_gauge!(READY, "whether a part of the service can do its work");
    describe_gauge!(LOOP_TURN, Unit::Seconds, "when a background loop last ended a turn");
    describe_histogram!(PASS_SECONDS, Unit::Seconds, "duration of a pass over all SKUs");
    describe_counter!(SWEEPS, "sweeps of one SKU");
    describe_counter!(SUBSCRIPTIONS, "subscriptions to expiry events");
    describe_gauge!(POOL_CONNECTIONS, "connections of a pool");
    describe_gauge!(POOL_LIMIT, "connections that a pool may have");
    describe_gauge!(POOL_WAITING, "callers that wait for a connection of a pool");
    describe_counter!(POOL_REFUSALS, "callers that got no connection of a pool");
    describe_gauge!(LANES, "lanes to redis that are connected");
    describe_counter!(LANE_CONNECTS, "attempts to connect a lane to redis");
    describe_counter!(QUEUE_REFUSALS, "items that were refused because too many waited");
    describe_gauge!(PAYMENTS_OPEN, "payments on which work is left");
    describe_gauge!(PAYMENT_DOUBT, Unit::Seconds, "how long a payment has been in doubt");
    describe_gauge!(RESIDENT, Unit::Bytes, "memory that the process occupies");
    describe_counter!(CPU, Unit::Seconds, "time that processors have spent on the process");
    describe_gauge!(OPEN_FDS, "open file descriptors");
    describe_gauge!(MAX_FDS, "file descriptors that may be open");
    describe_gauge!(THREADS, "threads of the process");
    describe_gauge!(STARTED, Unit::Seconds, "when the process started");
    describe_gauge!(BUILD, "what runs");
    describe_counter!(SPANS, "spans on their way to the collector");
}

/// How often histograms are drained, so that they stay small when nobody scrapes.
pub const UPKEEP: Duration = Duration::from_secs(5);
