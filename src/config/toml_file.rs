//! One TOML text as a flat list of settings, each with the line it stands on.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

/// One setting as a file has it.
#[derive(Debug)]
pub(super) struct Entry {
    /// `section.key`.
    pub(super) path: String,
    /// As written, of any type.
    pub(super) value: toml::Value,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A text that is no TOML.
#[derive(Debug, PartialEq)]
pub(super) struct SyntaxError {
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong, without the line's text: it may hold a secret.
    pub(super) message: String,
}

/// Reads a TOML text.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let table = DeTable::parse(text).map_err(|error| syntax_error(text, &error))?;
    let mut found = Vec::new();
    flatten(text, "", table.into_inner(), &mut found)?;
    Ok(found)
}

fn flatten(
    text: &str,
    parent: &str,
    table: DeTable<'_>,
    found: &mut Vec<Entry>,
) -> Result<(), SyntaxError> {
    for (key, value) in table {
        let line = line_of(text, key.span().start);
        let path = join(parent, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => {
                flatten(text, &path, inner.clone(), found)?;
            }
            _ => found.push(Entry { path, value: plain(text, value)?, line }),
        }
    }
    Ok(())
}

/// Appends a key. A dot inside a quoted key must not pass for the dot between section and key.
fn join(parent: &str, key: &str) -> String {
    let key = if key.contains('.') { format!("{key:?}") } else { key.to_owned() };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

fn plain(text: &str, value: Spanned<DeValue<'_>>) -> Result<toml::Value, SyntaxError> {
    toml::Value::deserialize(ValueDeserializer::from(value))
        .map_err(|error| syntax_error(text, &error))
}

fn syntax_error(text: &str, error: &Error) -> SyntaxError {
    let start = error.span().map_or(0, |span| span.start);
    SyntaxError { line: line_of(text, start), message: error.message().to_owned() }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_knows_its_line() {
        let found =
            entries("# top\n[server]\nport = 1\n\n[a.b]\nc = [1,\n2]\nd.e = true\n").unwrap();
        let places: Vec<_> = found.iter().map(|e| (e.path.as_str(), e.line)).collect();
        assert_eq!(places, [("a.b.c", 6), ("a.b.d.e", 8), ("server.port", 3)]);
    }

    #[test]
    fn a_syntax_error_names_the_line_and_hides_the_text() {
        let error = entries("[auth]\njwt_secret = \"top-secret\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(!error.message.contains("top-secret"), "{}", error.message);
    }

    #[test]
    fn a_quoted_dot_is_not_a_section() {
        assert_eq!(entries("\"server.port\" = 1").unwrap()[0].path, "\"server.port\"");
    }
}
