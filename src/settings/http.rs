//! Routes and bodies of live settings, for admins.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::audit::MOST_REASON;
use crate::config::{Kind, LIVE, LiveSetting, Origin};
use crate::identity::Admin;
use crate::kernel::Instant;
use crate::platform::http::{Json, Problem};
use crate::settings::{Change, ChangeError, Known, LiveSettings, Refused};

/// Weakest first.
const PRECEDENCE: [&str; 4] = ["default", "file", "environment", "live"];
/// Most settings and sections in one body.
const MOST: usize = 100;
/// Longest text of a setting.
const MOST_TEXT: usize = 1_000;
const MOST_VERSION: i64 = (1 << 48) - 1;

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(read, change), components(schemas(SettingsPatch)))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let settings = web::resource("/api/admin/settings");
    config.service(settings.route(web::get().to(read)).route(web::patch().to(change)));
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown(name) => Problem::invalid_field(name, "is no setting"),
            ChangeError::NotLive(name) => Problem::field(
                "not_live",
                name,
                "takes effect at the start: change it in a file or the environment, and restart",
            ),
            ChangeError::Invalid(violations) => {
                let mut all = violations.into_iter().map(|found| (found.path, found.message));
                let (path, message) = all.next().unwrap_or_default();
                let problem = Problem::invalid_field(path, message);
                all.fold(problem, |problem, (path, message)| {
                    problem.and_field("invalid_field", path, message)
                })
            }
            ChangeError::Conflict { version } => {
                let detail = "somebody else changed settings meanwhile; read them again";
                Problem::conflict("version_conflict", detail).with("version", version)
            }
            ChangeError::Fault(fault) => fault.into(),
        }
    }
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SettingsResponse {
    /// Grows with every change of live settings.
    version: i64,
    /// The live settings in force here, nested by section.
    #[schema(value_type = Object)]
    settings: Value,
    /// The same one by one, with all that is known of each.
    details: Vec<SettingDetail>,
    /// Where a setting is taken from, weakest first.
    precedence: [&'static str; 4],
    /// Settings whose files or variables say something else than at the start, and which take a restart.
    restart: Vec<String>,
    /// What was not put in force here, and why.
    refused: Option<Refused>,
    /// Whether running holds are on their way to a changed hold time.
    moving_holds: bool,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SettingDetail {
    name: &'static str,
    #[schema(value_type = Value)]
    value: Value,
    /// `integer`, `boolean`, `duration` (a text such as `30m`), `text` or `list` (of texts).
    kind: &'static str,
    unit: Option<&'static str>,
    description: &'static str,
    #[schema(value_type = Value)]
    minimum: Value,
    #[schema(value_type = Value)]
    maximum: Value,
    /// `default`, `file`, `environment` or `live`.
    source: &'static str,
    /// The same in words: which line of which file, or which variable.
    origin: String,
    /// What it would be without the live setting.
    #[schema(value_type = Value)]
    before: Value,
    changed_by: Option<String>,
    changed_at: Option<Instant>,
}

/// What stands here for a body that is read as a map; `patch_schema` says what it is.
#[derive(utoipa::ToSchema)]
struct SettingsPatch {}

/// What a change may say: each live setting in its section, and what is said about the change.
pub fn patch_schema() -> Value {
    let mut sections: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for live in LIVE {
        let mut schema = match live.kind {
            Kind::Integer(least, most) => {
                json!({ "type": ["integer", "null"], "minimum": least, "maximum": most })
            }
            Kind::Boolean => json!({ "type": ["boolean", "null"] }),
            Kind::Duration(..) => json!({ "type": ["string", "null"], "maxLength": MOST_TEXT }),
            Kind::Text => json!({ "type": ["string", "null"], "maxLength": MOST_TEXT }),
            Kind::List => json!({
                "type": ["array", "null"], "maxItems": MOST,
                "items": { "type": "string", "maxLength": MOST_TEXT },
            }),
        };
        schema["description"] = live.description.into();
        if let Some((section, key)) = live.name.split_once('.') {
            sections.entry(section).or_default().insert(key.to_owned(), schema);
        }
    }
    let section = |(name, members): (&str, Map<String, Value>)| {
        let schema =
            json!({ "type": "object", "additionalProperties": false, "properties": members });
        (name.to_owned(), schema)
    };
    let mut properties: Map<String, Value> = sections.into_iter().map(section).collect();
    let about = [
        (
            "version",
            json!({
                "type": ["integer", "null"], "minimum": 0, "maximum": MOST_VERSION,
                "description": "The version that this change was made for",
            }),
        ),
        (
            "running_holds",
            json!({
                "type": ["boolean", "null"], "default": false,
                "description": "Whether holds that run take the hold time too",
            }),
        ),
        (
            "reason",
            json!({
                "type": ["string", "null"], "maxLength": MOST_REASON,
                "description": "Why, for the audit",
            }),
        ),
    ];
    properties.extend(about.map(|(name, schema)| (name.to_owned(), schema)));
    json!({
        "type": "object", "additionalProperties": false, "properties": properties,
        "description": "Settings to change; null takes a live setting away. A setting may also be \
            named in one: `{\"reservation.ttl_seconds\": 300}`.",
    })
}

fn kind(kind: Kind) -> (&'static str, Value, Value) {
    match kind {
        Kind::Integer(least, most) => ("integer", least.into(), most.into()),
        Kind::Duration(least, most) => ("duration", least.into(), most.into()),
        Kind::Boolean => ("boolean", Value::Null, Value::Null),
        Kind::Text => ("text", Value::Null, Value::Null),
        Kind::List => ("list", Value::Null, Value::Null),
    }
}

/// The file of the defaults only says what is inside the binary.
fn source(origin: &Origin) -> &'static str {
    match origin {
        Origin::BuiltIn => "default",
        Origin::File { path, .. } if path.ends_with("default.toml") => "default",
        Origin::File { .. } => "file",
        Origin::Variable(_) => "environment",
        Origin::Live => "live",
    }
}

fn answer(settings: &LiveSettings) -> HttpResponse {
    let known = settings.shared.known.load_full();
    let values = settings.shared.parts.current.load().live_values();
    let without = known.base.settings.live_values();
    let mut nested: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (name, value) in &values {
        if let Some((section, key)) = name.split_once('.') {
            nested.entry(section).or_default().insert(key.to_owned(), value.clone());
        }
    }
    HttpResponse::Ok().json(SettingsResponse {
        version: known.version,
        settings: serde_json::to_value(nested).unwrap_or_default(),
        details: LIVE.iter().map(|live| detail(live, &known, &values, &without)).collect(),
        precedence: PRECEDENCE,
        restart: known.restart.clone(),
        refused: known.refused_files.clone().or_else(|| known.refused_live.clone()),
        moving_holds: known.moving,
    })
}

fn detail(
    live: &LiveSetting,
    known: &Known,
    values: &BTreeMap<&'static str, Value>,
    without: &BTreeMap<&'static str, Value>,
) -> SettingDetail {
    let (kind, minimum, maximum) = kind(live.kind);
    let origin = known.in_force.origin(live.name);
    let row = known.rows.get(live.name);
    SettingDetail {
        name: live.name,
        value: values.get(live.name).cloned().unwrap_or_default(),
        kind,
        unit: live.unit,
        description: live.description,
        minimum,
        maximum,
        source: source(origin),
        origin: origin.to_string(),
        before: without.get(live.name).cloned().unwrap_or_default(),
        changed_by: row.map(|row| row.changed_by.clone()),
        changed_at: row.map(|row| row.changed_at),
    }
}

/// The live settings in force, and where each comes from.
#[utoipa::path(
    get,
    path = "/api/admin/settings",
    tag = "operations",
    operation_id = "readSettings",
    responses((status = 200, description = "The settings", body = SettingsResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn read(_: Admin, settings: web::Data<LiveSettings>) -> HttpResponse {
    answer(&settings)
}

/// Change live settings: all that are named, or none. In force in every replica within two seconds.
#[utoipa::path(
    patch,
    path = "/api/admin/settings",
    tag = "operations",
    operation_id = "changeSettings",
    request_body = SettingsPatch,
    responses((status = 200, description = "The settings as they are now", body = SettingsResponse)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "version_conflict", "not_live"]))),
)]
async fn change(
    Admin(caller): Admin,
    settings: web::Data<LiveSettings>,
    Json(body): Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    settings.change(&wanted(body, caller.actor())?).await?;
    Ok(answer(&settings))
}

fn wanted(mut body: Map<String, Value>, actor: String) -> Result<Change, Problem> {
    let version = match body.remove("version") {
        None | Some(Value::Null) => None,
        Some(version) => Some(
            version.as_i64().filter(|version| (0..=MOST_VERSION).contains(version)).ok_or_else(
                || Problem::invalid_field("version", "expected a whole number from 0"),
            )?,
        ),
    };
    let running_holds = match body.remove("running_holds") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => return Err(Problem::invalid_field("running_holds", "expected true or false")),
    };
    let reason = match body.remove("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if is_reason(&text) => Some(text),
        Some(_) => return Err(Problem::invalid_field("reason", "expected at most 200 characters")),
    };
    let mut values = Map::new();
    flatten("", body, &mut values)?;
    Ok(Change { values, version, running_holds, reason, actor })
}

fn is_reason(text: &str) -> bool {
    text.chars().count() <= MOST_REASON && !text.chars().any(char::is_control)
}

fn fits(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text.chars().count() <= MOST_TEXT && !text.chars().any(char::is_control)
        }
        Value::Array(items) => items.len() <= MOST && items.iter().all(fits),
        _ => true,
    }
}

/// Nested names as dotted ones. A name may be said once.
fn flatten(
    above: &str,
    body: Map<String, Value>,
    to: &mut Map<String, Value>,
) -> Result<(), Problem> {
    for (key, value) in body {
        let name = if above.is_empty() { key } else { format!("{above}.{key}") };
        let is_text = name.len() <= 100 && !name.contains('\0');
        if to.len() >= MOST || !is_text {
            return Err(Problem::invalid_field("body", "expected settings by their names"));
        }
        match value {
            Value::Object(members) => flatten(&name, members, to)?,
            value => {
                if !fits(&value) {
                    return Err(Problem::invalid_field(name, "is too long"));
                }
                if to.insert(name.clone(), value).is_some() {
                    return Err(Problem::invalid_field(name, "is said twice"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(body: Value) -> Result<Change, Problem> {
        let Value::Object(body) = body else { unreachable!("a test says an object") };
        wanted(body, "admin:root".to_owned())
    }

    #[test]
    fn nested_and_dotted_names_are_the_same() {
        let wanted = json!({ "reservation.ttl_seconds": 300 });
        for body in [json!({ "reservation": { "ttl_seconds": 300 } }), wanted.clone()] {
            assert_eq!(Value::from(change(body).unwrap().values), wanted);
        }
        let twice = json!({ "reservation": { "ttl_seconds": 1 }, "reservation.ttl_seconds": 2 });
        assert!(change(twice).is_err());
    }

    #[test]
    fn what_is_no_setting_is_taken_out() {
        let body = json!({ "version": 3, "running_holds": true, "reason": "why", "log": { "filter": null } });
        let change = change(body).unwrap();
        assert_eq!((change.version, change.running_holds), (Some(3), true));
        assert_eq!(change.reason.as_deref(), Some("why"));
        assert_eq!(Value::from(change.values), json!({ "log.filter": null }));
    }
}
