//! The examples of the OpenAPI document are true: each body has one, its schema allows it, the service takes those of
//! requests, and its answers look like those of answers.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::app::TestApp;
use crate::bounds::caller;
use crate::openapi::each;
use crate::permissions::operation;
use crate::till::Till;
use crate::world::{UNLIMITED, World};

/// What of `value` the schema does not allow, if anything.
fn flaw(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return flaw(document, &document["components"]["schemas"][name], value);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().find_map(|one| flaw(document, one, value));
    }
    if let Some(any) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let fits = any.iter().any(|one| flaw(document, one, value).is_none());
        return (!fits).then(|| format!("{value} is none of {any:?}"));
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    let kinds = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), |all| all);
    if !schema["type"].is_null() && !kinds.iter().any(is) {
        return Some(format!("{value} is no {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Some(format!("{value} is none of {words:?}"));
    }
    let bound = |name: &str| schema[name].as_i64();
    let size = match value {
        Value::String(text) => Some((text.chars().count() as i64, "minLength", "maxLength")),
        Value::Number(number) => number.as_i64().map(|number| (number, "minimum", "maximum")),
        _ => None,
    };
    if let Some((size, least, most)) = size
        && (bound(least).is_some_and(|least| size < least)
            || bound(most).is_some_and(|most| size > most))
    {
        return Some(format!("{value} is out of bounds: {schema}"));
    }
    if let (Some(item), Some(items)) = (schema.get("items"), value.as_array()) {
        return items.iter().find_map(|one| flaw(document, item, one));
    }
    let members = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) =
        required.filter_map(Value::as_str).find(|name| !members.contains_key(*name))
    {
        return Some(format!("{missing} is missing in {value}"));
    }
    let known = schema["properties"].as_object();
    members.iter().find_map(|(name, value)| match known.and_then(|known| known.get(name)) {
        Some(member) => flaw(document, member, value),
        None if schema["additionalProperties"] == false => Some(format!("{name} is unknown")),
        None => None,
    })
}

/// Where an answer has other members than its example, or of another type.
fn difference(example: &Value, answer: &Value) -> Option<String> {
    match (example, answer) {
        (Value::Object(example), Value::Object(answer)) => {
            let names = |members: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                members.keys().cloned().collect()
            };
            if names(example) != names(answer) {
                return Some(format!("{:?} is not {:?}", names(answer), names(example)));
            }
            example.iter().find_map(|(name, one)| difference(one, &answer[name]))
        }
        (Value::Array(example), Value::Array(answer)) => {
            difference(example.first()?, answer.first()?)
        }
        (Value::Null, _) | (_, Value::Null) => None,
        _ => (std::mem::discriminant(example) != std::mem::discriminant(answer))
            .then(|| format!("{answer} is not like {example}")),
    }
}

/// The bodies of an operation that have a content: of its request and of its successes.
fn contents(described: &Value) -> Vec<&Value> {
    let answers = described["responses"].as_object().unwrap().iter();
    let answers = answers.filter(|(status, _)| status.starts_with('2')).map(|(_, answer)| answer);
    let bodies = [&described["requestBody"]].into_iter().chain(answers);
    bodies.filter_map(|body| body["content"].as_object()).flat_map(|all| all.values()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_has_an_example_that_its_schema_allows() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let mut seen = 0;
    for (name, described) in each(&document) {
        for content in contents(described) {
            assert!(!content["example"].is_null(), "{name} has no example: {content}");
            let flaw = flaw(&document, &content["schema"], &content["example"]);
            assert_eq!(flaw, None, "{name}");
            seen += 1;
        }
    }
    assert!(seen > 70, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_takes_the_examples_and_answers_like_them() {
    let till = Till::start_with(&UNLIMITED).await;
    let app = &till.app;
    let world = World::new(app).await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    for (name, described) in each(&document) {
        let (method, path) = name.split_once(' ').unwrap();
        // Streams have no end; what providers sign and send buyers back with is made by the sandbox alone.
        // A session of the console goes on by its cookie.
        let other = ["/events", "/webhook", "/callback", "/session/refresh"];
        let other = other.iter().any(|end| path.ends_with(end));
        if described["deprecated"] == true || other {
            continue;
        }
        let operation = operation(method, path);
        let (mut path, body) = world.call(&operation, &world.path(&operation)).await;
        if operation == "GET /api/admin/holds" {
            // It has to be said whose.
            path.push_str("?user_id=alice");
        }
        let content = &described["requestBody"]["content"]["application/json"];
        let mut example = content["example"].clone();
        // Names and numbers are those of this shop; everything else is as the example has it.
        for (name, value) in example.as_object_mut().into_iter().flatten() {
            if let Some(ours) = body.get(name) {
                *value = ours.clone();
            }
        }
        let token = match operation.as_str() {
            "POST /api/orders/{}/cancel" => app.admin(),
            // An owner is shown more.
            read if read.starts_with("GET /api/products") => app.customer("alice"),
            _ => caller(app, &operation),
        };
        let request = app.request(method.to_uppercase().parse().unwrap(), &path).bearer_auth(token);
        let request = if content.is_null() { request } else { request.json(&example) };
        let reply = app.send(request).await;
        if operation == "POST /api/orders/{}/cancel" {
            reply.expect_problem(409, "order_paid");
            continue;
        }
        assert!(reply.status.is_success(), "{operation} {example}: {reply:#?}");
        let answer = &described["responses"][reply.status.as_str()]["content"]["application/json"];
        if !answer.is_null() {
            assert_eq!(difference(&answer["example"], &reply.body), None, "{operation}");
        }
    }
}
