//! The OpenAPI document (<https://spec.openapis.org/oas/v3.1.1>): what the features say of their routes, and what is true
//! of all routes alike, said once.

mod examples;
mod http;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::platform::http::codes::{CODES, Code, Operations as Codes};
use crate::platform::http::edge::ALIASES;
use crate::platform::http::probes::Operations as Probes;
use crate::{
    accounts, audit, cart, catalogue, console, health, notifications, orders, payments, reconcile,
    reservations, sales, settings, stock, suppliers,
};

pub use http::routes;

const ABOUT: &str = "Holds limited stock for a buyer for a few minutes, under a crowd, and turns the hold into an order: \
    exactly once, never oversold, nothing lost. Every path answers without `/api` in front too.";

const TAGS: [(&str, &str); 11] = [
    ("accounts", "Who may sign in here"),
    ("catalogue", "Products"),
    ("reservations", "Holds and stock as they are"),
    ("cart", "What a buyer collects"),
    ("orders", "What holds and carts become"),
    ("payments", "Money through Stripe and bKash"),
    ("stock", "What a shop owner does: suppliers and movements"),
    ("notifications", "What storefronts are told, and what did not arrive"),
    ("operations", "What operators see and change while the service runs"),
    ("console", "Signing in to the operator's page, which has a cookie instead of a token"),
    ("service", "The service itself"),
];

/// Which member of the answer of one operation is the `id` that others take.
const LINKS: [(&str, &str, &[&str]); 7] = [
    (
        "createProduct",
        "id",
        &["readProduct", "replaceProduct", "patchProduct", "deleteProduct", "readStockOfProduct"],
    ),
    ("createSupplier", "id", &["readSupplier", "replaceSupplier", "deleteSupplier"]),
    ("reserve", "reservation_id", &["readReservation", "extendReservation", "cancelReservation"]),
    ("createEndpoint", "id", &["readEndpoint", "deleteEndpoint", "rotateSecret"]),
    ("addToCart", "items/0/id", &["setCartLine", "removeCartLine"]),
    ("checkout", "id", &["readOrder", "cancelOrder", "fulfilOrder", "refundOrder"]),
    ("placeOrder", "id", &["readOrder", "cancelOrder", "fulfilOrder", "refundOrder"]),
];

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[derive(OpenApi)]
#[openapi(info(title = "Holdfast", description = ABOUT, license(name = "MIT", identifier = "MIT")))]
struct Document;

/// The document.
pub fn document() -> Value {
    let mut document = Document::openapi();
    for part in [
        accounts::Operations::openapi(),
        audit::Operations::openapi(),
        catalogue::Operations::openapi(),
        reservations::Operations::openapi(),
        sales::Operations::openapi(),
        sales::ExpiryOperations::openapi(),
        cart::Operations::openapi(),
        orders::Operations::openapi(),
        payments::Operations::openapi(),
        stock::Operations::openapi(),
        suppliers::Operations::openapi(),
        notifications::Operations::openapi(),
        settings::Operations::openapi(),
        health::Operations::openapi(),
        reconcile::Operations::openapi(),
        console::Operations::openapi(),
        Probes::openapi(),
        Codes::openapi(),
    ] {
        document.merge(part);
    }
    // Whatever utoipa made of it is JSON.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["tags"] =
        TAGS.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
    document["servers"] = json!([{ "url": "/" }]);
    document["components"]["securitySchemes"] = json!({ "token": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "`sub` says who is calling; `role` is customer, merchant, admin or service."
    }});
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["headers"] = all_headers();
    for code in CODES {
        document["components"]["examples"][code.code] = json!({ "value": example(code) });
    }
    merge_patch(&mut document);
    if let Some(paths) = document["paths"].as_object_mut() {
        complete(paths);
        second_names(paths);
    }
    document
}

/// RFC 9457, with what is ours.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457). `code` is what a program branches on.",
        "required": ["type", "title", "status", "detail", "code", "request_id"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference", "description": "A page about this code" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people" },
            "code": { "type": "string" },
            "request_id": { "type": "string" },
            "outcome": { "enum": ["none", "unknown"], "description": "With 5xx: whether it may have had its effect. `unknown` is safe to send again." },
            "errors": {
                "type": "array", "description": "With 422: what is wrong with which field",
                "items": {
                    "type": "object", "required": ["field", "code", "message"],
                    "properties": { "field": { "type": "string" }, "code": { "type": "string" }, "message": { "type": "string" } }
                }
            }
        }
    })
}

/// A merge patch is what a PUT takes, with nothing required.
fn merge_patch(document: &mut Value) {
    let schemas = &mut document["components"]["schemas"];
    let mut patch = schemas["PutRequest"].clone();
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("required");
        patch.insert("description".into(), "Members to change; null empties one.".into());
    }
    schemas["PatchRequest"] = patch;
    let content = json!({ "schema": { "$ref": "#/components/schemas/PatchRequest" } });
    document["paths"]["/api/products/{id}"]["patch"]["requestBody"]["content"] =
        json!({ "application/json": content, "application/merge-patch+json": content });
    document["components"]["schemas"]["SettingsPatch"] = settings::patch_schema();
    let content = json!({ "schema": { "$ref": "#/components/schemas/SettingsPatch" } });
    document["paths"]["/api/admin/settings"]["patch"]["requestBody"]["content"] =
        json!({ "application/json": content, "application/merge-patch+json": content });
}

/// Adds what is true of every operation of its kind.
fn complete(paths: &mut Map<String, Value>) {
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete_operation(path, method, operation);
            }
        }
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let probe = ["/healthz", "/readyz"].contains(&path);
    let signs_in = path.starts_with("/api/auth/") || path.starts_with("/admin/session");
    let takes_key = method == "post" && !signs_in;
    let codes = codes_of(operation, probe, takes_key);
    if takes_key {
        take_key(operation);
    }
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    for (_, member, others) in LINKS.iter().filter(|(from, ..)| *from == id) {
        for other in *others {
            operation["responses"]["201"]["links"][*other] = json!({
                "operationId": other, "parameters": { "id": format!("$response.body#/{member}") }
            });
        }
    }
    examples::show(operation);
    for code in CODES.iter().filter(|known| codes.iter().any(|code| code == known.code)) {
        refuse(operation, code);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, response) in responses {
            headers(response, status, probe);
        }
    }
}

/// All codes that an operation may refuse with: its own, and those of the layers before it.
fn codes_of(operation: &mut Value, probe: bool, takes_key: bool) -> Vec<String> {
    let has_query = operation["parameters"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["in"] == "query"));
    let layers: [(bool, &[&str]); 6] = [
        (true, &["internal_error"]),
        (!probe, &["misdirected_request", "rate_limited", "overloaded", "store_unavailable"]),
        (operation.get("security").is_some(), &["unauthenticated"]),
        (has_query, &["invalid_field"]),
        (
            operation.get("requestBody").is_some(),
            &[
                "malformed_json",
                "request_timeout",
                "body_too_large",
                "unsupported_media_type",
                "invalid_field",
            ],
        ),
        (takes_key, &["request_in_progress", "idempotency_key_reused", "invalid_field"]),
    ];
    let passed = layers.into_iter().filter(|(passes, _)| *passes);
    let mut codes: Vec<String> =
        passed.flat_map(|(_, codes)| codes).map(|code| (*code).to_owned()).collect();
    let own = operation.as_object_mut().and_then(|operation| operation.remove("x-codes"));
    let own = own.as_ref().and_then(Value::as_array).into_iter().flatten();
    codes.extend(own.filter_map(Value::as_str).map(str::to_owned));
    codes
}

fn take_key(operation: &mut Value) {
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "The first success under it is kept for 24 h and replayed byte for byte.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" }
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(key),
        None => operation["parameters"] = json!([key]),
    }
}

/// Adds a way to be refused.
fn refuse(operation: &mut Value, code: &Code) {
    let response = &mut operation["responses"][code.status.to_string()];
    if response.is_null() {
        *response = json!({ "description": "", "content": { "application/problem+json": {
            "schema": { "$ref": "#/components/schemas/Problem" }, "examples": {}
        }}});
    }
    let known = response["description"].as_str().unwrap_or_default();
    let joined = format!(
        "{known}{}`{}`: {}",
        if known.is_empty() { "" } else { "\n\n" },
        code.code,
        code.text
    );
    response["description"] = joined.into();
    let examples = &mut response["content"]["application/problem+json"]["examples"];
    examples[code.code] = json!({ "$ref": format!("#/components/examples/{}", code.code) });
}

fn example(code: &Code) -> Value {
    let mut example = json!({
        "type": format!("/problems/{}", code.code), "title": code.title(), "status": code.status,
        "detail": code.text, "code": code.code, "request_id": "3f6c1a52d8e94b07a1c25e7d90b84f13"
    });
    if code.status >= 500 {
        example["outcome"] = "none".into();
    }
    if code.status == 422 {
        example["errors"] = json!([{ "field": "body", "code": code.code, "message": code.text }]);
    }
    example
}

/// What headers say, by name.
fn all_headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "Location": text("Where what was made can be read"),
        "RateLimit": text("What is left: `\"customer\";r=<requests>;t=<seconds>`; absent where nothing limits"),
        "RateLimit-Policy": text("The limit: `\"customer\";q=<requests>;w=<seconds>`"),
        "Retry-After": { "description": "Seconds", "schema": { "type": "integer", "minimum": 1 } },
        "WWW-Authenticate": text("`Bearer`"),
        "X-Request-Id": text("Names the request in logs"),
    })
}

fn headers(response: &mut Value, status: &str, probe: bool) {
    let mut names = vec!["X-Request-Id"];
    if !probe {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    match status {
        "201" => names.push("Location"),
        "401" => names.push("WWW-Authenticate"),
        "429" | "503" => names.push("Retry-After"),
        _ => {}
    }
    for name in names {
        response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
    }
}

/// The second names of routes, marked as such.
fn second_names(paths: &mut Map<String, Value>) {
    for (alias, first) in ALIASES {
        let Some(mut operation) =
            paths.get(&format!("/api{first}")).map(|item| item["post"].clone())
        else {
            continue;
        };
        operation["deprecated"] = true.into();
        operation["summary"] = format!("Second name of `/api{first}`.").into();
        let id = format!(
            "{}By{}",
            operation["operationId"].as_str().unwrap_or_default(),
            capital(alias)
        );
        operation["operationId"] = id.into();
        paths.insert(format!("/api{alias}"), json!({ "post": operation }));
    }
}

/// `/checkout/confirm` reads `CheckoutConfirm`.
fn capital(path: &str) -> String {
    let words = path.split('/').filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}
