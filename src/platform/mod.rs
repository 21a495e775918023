//! What every feature stands on: stores, scripts, background tasks, telemetry, and the shape of HTTP. Knows no feature.

pub mod cache;
pub mod coalescer;
pub mod fault;
pub mod fault_point;
pub mod http;
pub mod limiter;
pub mod lua;
pub mod metrics;
pub mod postgres;
pub mod redis;
pub mod replicas;
pub mod tasks;
pub mod telemetry;
pub mod traces;
pub mod vitals;

pub use fault::{Fault, Outcome};
pub use postgres::Db;
pub use tasks::Tasks;
