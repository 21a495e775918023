//! What every list asks of its query.

use crate::platform::http::Problem;

/// Items of a page whose request does not say how many, and the most that one may ask for.
const USUAL: i64 = 50;
const MOST: i64 = 200;

/// How many items a page has.
///
/// # Errors
///
/// The request asks for none, or for more than 200.
pub fn page_limit(wanted: Option<i64>) -> Result<i64, Problem> {
    let limit = wanted.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid_field("limit", format!("expected a whole number from 1 to {MOST}")))
}

/// A cursor that no page gave.
pub fn bad_cursor() -> Problem {
    Problem::invalid_field("cursor", "use `next_cursor` of the page before")
}
