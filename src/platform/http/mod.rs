//! The shape of HTTP, the same for every feature: problems, bodies, request ids, limits, idempotency keys, probes.

pub mod address;
pub mod codes;
pub mod cors;
pub mod edge;
pub mod extract;
pub mod idempotency;
pub mod limits;
mod paging;
pub mod probes;
pub mod problem;

pub use extract::{Json, MaybeJson, Object, PathOf, Query};
pub use paging::{bad_cursor, page_limit};
pub use problem::Problem;
