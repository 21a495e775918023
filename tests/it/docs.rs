//! The problem codes, three times over: what the service serves, what `docs/api.md` tells, what the tests expect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holdfast::platform::http::codes::CODES;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn served() -> BTreeMap<String, u16> {
    CODES.iter().map(|code| (code.code.to_owned(), code.status)).collect()
}

/// Rows like "| `sku_taken` | 409 | … | … |".
fn documented() -> BTreeMap<String, u16> {
    let page = read("docs/api.md");
    let row = |line: &str| {
        let cells: Vec<&str> =
            line.strip_prefix("| `")?.trim_end_matches(" |").split(" | ").collect();
        let [code, status, when, then] = cells.as_slice() else { panic!("not four cells: {line}") };
        assert!(!when.trim().is_empty() && !then.trim().is_empty(), "{line}");
        Some((code.trim_end_matches('`').to_owned(), status.parse().unwrap()))
    };
    page.lines().filter_map(row).collect()
}

/// The first two arguments of every `expect_problem` in the tests that are literals.
fn expected() -> BTreeSet<(u16, String)> {
    let mut found = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("docs.rs") {
            continue;
        }
        let source = std::fs::read_to_string(path).unwrap();
        for call in source.split("expect_problem(").skip(1) {
            let (arguments, _) = call.split_once(')').unwrap();
            let Some((status, code)) = arguments.split_once(',') else { continue };
            let code = code.trim().trim_end_matches(',').trim_end();
            let literal = code.strip_prefix('"').and_then(|code| code.strip_suffix('"'));
            if let (Ok(status), Some(code)) = (status.trim().parse(), literal) {
                found.insert((status, code.to_owned()));
            }
        }
    }
    found
}

#[test]
fn the_documented_codes_are_the_served_ones() {
    assert_eq!(documented(), served());
}

#[test]
fn every_code_is_expected_by_a_test_and_no_other_is() {
    let served: BTreeSet<(u16, String)> =
        served().into_iter().map(|(code, status)| (status, code)).collect();
    let expected = expected();
    let untested: Vec<_> = served.difference(&expected).collect();
    assert!(untested.is_empty(), "no test expects {untested:?}");
    let unknown: Vec<_> = expected.difference(&served).collect();
    assert!(unknown.is_empty(), "not in CODES: {unknown:?}");
}
