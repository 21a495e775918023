//! A form body or query as Stripe reads it: `a[b][0][c]=v` is a value within a list within an object.

use serde_json::{Map, Value};

/// Deepest nesting, and most fields.
const DEEPEST: usize = 8;
const MOST: usize = 2_000;

/// The whole as one object; every leaf is text.
pub(crate) fn decoded(text: &str) -> Result<Value, String> {
    let mut root = Value::Object(Map::new());
    let pairs: Vec<&str> = text.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > MOST {
        return Err("too many parameters".into());
    }
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (plain(name)?, plain(value)?);
        let path = path(&name).ok_or_else(|| format!("Invalid parameter name: {name}"))?;
        put(&mut root, &path, value).ok_or_else(|| format!("Invalid parameter: {name}"))?;
    }
    Ok(with_lists(root))
}

/// Percent-encoding and `+` undone.
fn plain(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()];
                let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
                match (hex(digits[0]), hex(digits[1])) {
                    (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                    _ => return Err("Invalid percent-encoding".into()),
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// `a[b][]` as `a`, `b`, ``.
fn path(name: &str) -> Option<Vec<String>> {
    let (first, mut rest) = name.split_at(name.find('[').unwrap_or(name.len()));
    let mut path = vec![first.to_owned()];
    while !rest.is_empty() {
        let (part, after) = rest.strip_prefix('[')?.split_once(']')?;
        path.push(part.to_owned());
        rest = after;
    }
    (!first.is_empty() && path.len() <= DEEPEST).then_some(path)
}

fn put(at: &mut Value, path: &[String], value: String) -> Option<()> {
    let members = at.as_object_mut()?;
    let (first, rest) = path.split_first()?;
    let name = if first.is_empty() { members.len().to_string() } else { first.clone() };
    if rest.is_empty() {
        return members.insert(name, value.into()).is_none().then_some(());
    }
    put(members.entry(name).or_insert_with(|| Map::new().into()), rest, value)
}

/// Objects whose names count from 0 are lists.
fn with_lists(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let mut members: Vec<(String, Value)> =
        members.into_iter().map(|(name, value)| (name, with_lists(value))).collect();
    let number = |name: &str| name.parse::<usize>().ok();
    members.sort_by_key(|(name, _)| number(name));
    let counted = members.iter().enumerate().all(|(n, (name, _))| number(name) == Some(n));
    if counted && !members.is_empty() {
        members.into_iter().map(|(_, value)| value).collect()
    } else {
        members.into_iter().collect::<Map<String, Value>>().into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_nest() {
        let text = "mode=payment&l%5B0%5D[p][n]=A+%26%20B&l[1][p][n]=C&e[]=x&e[]=y&m[k]=1&z=";
        let expected = json!({
            "mode": "payment", "l": [{ "p": { "n": "A & B" } }, { "p": { "n": "C" } }],
            "e": ["x", "y"], "m": { "k": "1" }, "z": "",
        });
        assert_eq!(decoded(text).unwrap(), expected);
        assert_eq!(decoded("").unwrap(), json!({}));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["a=%zz", "a=%f", "a=%ff", "[a]=1", "a=1&a=2", "a=1&a[b]=2", "a[b=1", "=1"] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }
}
