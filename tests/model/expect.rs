//! The two things a test can expect of a search.

use crate::search::{Model, Verdict, search};
use crate::violation::Kind;

/// No search here needs more states; one that does has bounds too wide for a test run.
const LIMIT: usize = 500_000;

/// The search must find a violation of this kind, and find it before any other.
#[track_caller]
pub(crate) fn caught<M: Model>(name: &str, model: &M, kind: Kind) {
    let report = search(model, LIMIT);
    println!("{name}: {report}");
    match report.verdict {
        Verdict::Caught { violation, trace } => {
            assert_eq!(violation.kind, kind, "{name}: {violation}\n{}", trace.join("\n"));
        }
        Verdict::Holds { .. } | Verdict::TooLarge => {
            panic!("{name}: the weakened protocol was not caught")
        }
    }
}

/// The search must visit every state and find nothing wrong.
#[track_caller]
pub(crate) fn holds<M: Model>(name: &str, model: &M) {
    let report = search(model, LIMIT);
    println!("{name}: {report}");
    match report.verdict {
        Verdict::Holds { .. } => {}
        Verdict::Caught { violation, trace } => panic!("{name}: {violation}\n{}", trace.join("\n")),
        Verdict::TooLarge => panic!("{name}: more than {LIMIT} states, choose smaller bounds"),
    }
}
