//! An example for every body, in requests and in answers: one story of one product, one buyer and one shop owner.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// By operation where its request or its answer is a special one, else by schema. Operations that end a hold answer `ended`.
static EXAMPLES: LazyLock<Value> = LazyLock::new(|| {
    // It is compiled in, and a test reads all of it.
    serde_json::from_str(include_str!("examples.json")).unwrap_or_default()
});
const ENDING: [&str; 3] = ["cancelReservation", "cancelCheckout", "cancelReservationOfProduct"];

/// Shows what each body of an operation looks like.
pub(super) fn show(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let asked = format!("{id} request");
    let of_request = |schema: &Value| EXAMPLES.get(&asked).cloned().or_else(|| of_schema(schema));
    each_content(&mut operation["requestBody"], &of_request);
    let special = if ENDING.contains(&id.as_str()) { "ended" } else { &id };
    let of_answer = |schema: &Value| match EXAMPLES.get(special) {
        Some(example) => Some(example.clone()),
        None => of_schema(schema),
    };
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with('2') {
            each_content(response, &of_answer);
        }
    }
}

fn each_content(body: &mut Value, example: &dyn Fn(&Value) -> Option<Value>) {
    let contents = body.get_mut("content").and_then(Value::as_object_mut);
    for content in contents.into_iter().flat_map(|contents| contents.values_mut()) {
        if let Some(example) = example(&content["schema"]) {
            content["example"] = example;
        }
    }
}

fn of_schema(schema: &Value) -> Option<Value> {
    let all = [schema].into_iter().chain(schema["oneOf"].as_array().into_iter().flatten());
    let name = all.filter_map(|schema| schema["$ref"].as_str()?.rsplit('/').next()).next()?;
    match name.strip_prefix("Page_") {
        Some("ProductResponse") => page(EXAMPLES.get("readProduct")?),
        Some(item) => page(EXAMPLES.get(item)?),
        None => EXAMPLES.get(name).cloned(),
    }
}

fn page(item: &Value) -> Option<Value> {
    Some(json!({ "items": [item], "next_cursor": null }))
}
