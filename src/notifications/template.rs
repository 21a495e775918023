//! Fills templates: `{{name}}` stands for a value, and what is between `{{#items}}` and `{{/items}}` comes once for each
//! line of the order. Values are escaped for where they go; what a template says itself is left as it is.

use crate::platform::Fault;

const LOOP: &str = "{{#items}}";
const END: &str = "{{/items}}";

/// Where a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line of a header.
    Line,
    /// A text for people.
    Text,
    /// A page.
    Html,
}

/// Names and their values.
pub(super) type Values = Vec<(&'static str, String)>;

/// Fills a template.
///
/// # Errors
///
/// It names a value that is not there: a defect of the template.
pub(super) fn fill(
    template: &str,
    kind: Kind,
    values: &Values,
    items: &[Values],
) -> Result<String, Fault> {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(LOOP) {
        filled.push_str(&plain(before, kind, &[values])?);
        let broken = || Fault::internal("a template with a loop without end");
        let (inner, behind) = after.split_once(END).ok_or_else(broken)?;
        for item in items {
            filled.push_str(&plain(inner, kind, &[item, values])?);
        }
        rest = behind;
    }
    filled.push_str(&plain(rest, kind, &[values])?);
    Ok(filled)
}

fn plain(template: &str, kind: Kind, scopes: &[&Values]) -> Result<String, Fault> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, behind) = after
            .split_once("}}")
            .ok_or_else(|| Fault::internal("a template that ends in a name"))?;
        let known = scopes.iter().flat_map(|scope| scope.iter()).find(|(known, _)| *known == name);
        let (_, value) = known.ok_or_else(|| Fault::internal("a template with an unknown name"))?;
        escape(value, kind, &mut filled);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// No value can begin a line, a header or a tag of its own.
fn escape(value: &str, kind: Kind, to: &mut String) {
    for letter in value.chars() {
        match (kind, letter) {
            (Kind::Html, '&') => to.push_str("&amp;"),
            (Kind::Html, '<') => to.push_str("&lt;"),
            (Kind::Html, '>') => to.push_str("&gt;"),
            (Kind::Html, '"') => to.push_str("&quot;"),
            (Kind::Html, '\'') => to.push_str("&#39;"),
            (_, letter) if letter.is_control() || is_direction(letter) => to.push(' '),
            (_, letter) => to.push(letter),
        }
    }
}

/// Marks that end a line or turn the direction of what follows.
fn is_direction(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_and_loops_repeated() {
        let values = vec![("order", "o1".to_owned())];
        let items = [vec![("name", "A".to_owned())], vec![("name", "B".to_owned())]];
        let filled =
            fill("{{order}}:{{#items}} {{name}}/{{order}}{{/items}}.", Kind::Text, &values, &items);
        assert_eq!(filled.unwrap(), "o1: A/o1 B/o1.");
    }

    #[test]
    fn a_value_stays_a_value() {
        let evil = "<b>\"x\" & 'y'</b>\r\nBcc: c@d {{order}}\u{202e}";
        let values = vec![("name", evil.to_owned()), ("order", "o1".to_owned())];
        let fill = |kind| fill("{{name}}", kind, &values, &[]).unwrap();
        assert_eq!(
            fill(Kind::Html),
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;  Bcc: c@d {{order}} "
        );
        for kind in [Kind::Line, Kind::Text] {
            assert_eq!(fill(kind), "<b>\"x\" & 'y'</b>  Bcc: c@d {{order}} ");
        }
    }

    #[test]
    fn a_template_with_a_mistake_is_none() {
        for broken in ["{{other}}", "{{order", "{{#items}}{{order}}"] {
            assert!(
                fill(broken, Kind::Text, &vec![("order", String::new())], &[]).is_err(),
                "{broken}"
            );
        }
    }
}
