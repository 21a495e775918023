//! What a call of Stripe takes, as tables; and the errors of what it does not take.

use serde_json::{Map, Value, json};

/// What a parameter may be.
pub(crate) enum Kind {
    /// At most so many characters, and at least one.
    Text(usize),
    /// An address of the web.
    Url,
    /// A whole number between these.
    Whole(i64, i64),
    /// `true` or `false`.
    Flag,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// At most so many of the kind.
    List(&'static Kind, usize),
    /// These and no others.
    Object(&'static [Field]),
    /// Names and texts of one's own.
    Metadata,
    /// Known, and refused in this version of the API: with this code.
    Gone(&'static str),
}

/// A parameter.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// One that must be there.
pub(crate) const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: true }
}

/// One that may be there.
pub(crate) const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, required: false }
}

/// Why a parameter is refused.
#[derive(Debug, PartialEq)]
pub(crate) struct Bad {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) param: String,
}

impl Bad {
    fn new(code: &'static str, param: &str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: param.to_owned() }
    }

    /// The body of the error.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": {
            "type": "invalid_request_error", "code": self.code, "message": self.message,
            "param": self.param,
        } })
    }
}

/// The parameters with their types: numbers as numbers, flags as flags.
pub(crate) fn checked(given: &Value, fields: &'static [Field]) -> Result<Value, Bad> {
    object(given, fields, "")
}

fn object(given: &Value, fields: &'static [Field], path: &str) -> Result<Value, Bad> {
    let members = given.as_object();
    let members = members.ok_or_else(|| Bad::new("", path, "Invalid object"))?;
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}[{name}]") };
    let known = |name: &str| fields.iter().any(|field| field.name == name);
    if let Some(unknown) = members.keys().find(|name| !known(name)) {
        let unknown = at(unknown);
        let message = format!("Received unknown parameter: {unknown}");
        return Err(Bad::new("parameter_unknown", &unknown, message));
    }
    let mut read = Map::new();
    for field in fields {
        let place = at(field.name);
        match members.get(field.name) {
            Some(value) => {
                read.insert(field.name.to_owned(), one(value, &field.kind, &place)?);
            }
            None if field.required => {
                let message = format!("Missing required param: {place}.");
                return Err(Bad::new("parameter_missing", &place, message));
            }
            None => {}
        }
    }
    Ok(read.into())
}

fn one(given: &Value, kind: &'static Kind, path: &str) -> Result<Value, Bad> {
    let text = || given.as_str().ok_or_else(|| Bad::new("", path, format!("Invalid {path}")));
    match kind {
        Kind::Text(most) => match text()? {
            "" => {
                let message = format!("You passed an empty string for '{path}'.");
                Err(Bad::new("parameter_invalid_empty", path, message))
            }
            long if long.chars().count() > *most => {
                let message = format!("Invalid string: must be at most {most} characters");
                Err(Bad::new("parameter_invalid_string", path, message))
            }
            text => Ok(text.into()),
        },
        Kind::Url => {
            let url = text()?;
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let sane = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
            if sane && url.len() <= 5_000 && !url.contains(char::is_whitespace) {
                Ok(url.into())
            } else {
                Err(Bad::new("url_invalid", path, "Not a valid URL"))
            }
        }
        Kind::Whole(least, most) => match text()?.parse::<i64>() {
            Ok(number) if (*least..=*most).contains(&number) => Ok(number.into()),
            Ok(_) => {
                let message = format!("Invalid integer: must be {least} to {most}");
                Err(Bad::new("parameter_invalid_integer", path, message))
            }
            Err(_) => {
                let message = format!("Invalid integer: {}", text()?);
                Err(Bad::new("parameter_invalid_integer", path, message))
            }
        },
        Kind::Flag => match text()? {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            other => Err(Bad::new("", path, format!("Invalid boolean: {other}"))),
        },
        Kind::OneOf(values) => {
            let value = text()?;
            if values.contains(&value) {
                Ok(value.into())
            } else {
                let message = format!("Invalid {path}: must be one of {}", values.join(", "));
                Err(Bad::new("", path, message))
            }
        }
        Kind::List(kind, most) => {
            let items = given.as_array();
            let items = items.ok_or_else(|| Bad::new("", path, "Invalid array"))?;
            if items.len() > *most {
                let message = format!("Array too long: at most {most}");
                return Err(Bad::new("", path, message));
            }
            let items = items.iter().enumerate();
            items.map(|(n, item)| one(item, kind, &format!("{path}[{n}]"))).collect()
        }
        Kind::Object(fields) => object(given, fields, path),
        Kind::Metadata => metadata(given, path),
        Kind::Gone(code) => {
            Err(Bad::new(code, path, format!("{path} is not supported in this version")))
        }
    }
}

fn metadata(given: &Value, path: &str) -> Result<Value, Bad> {
    let bad = |message: &str| Bad::new("parameter_invalid_metadata", path, message);
    let members = given.as_object().ok_or_else(|| bad("Metadata must be a hash"))?;
    if members.len() > 50 {
        return Err(bad("Metadata can have at most 50 keys"));
    }
    for (name, value) in members {
        let fits = value.as_str().is_some_and(|value| value.chars().count() <= 500);
        if name.is_empty() || name.chars().count() > 40 || !fits {
            return Err(bad("Metadata keys have at most 40 characters, values at most 500"));
        }
    }
    Ok(given.clone())
}
