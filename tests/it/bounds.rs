//! Every bound that the OpenAPI document states is stated for every field, and kept: each field of each body and each
//! parameter of each query is tried beyond all of them, is named by the refusal, and nothing is left half-written.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use crate::app::{Reply, TestApp};
use crate::permissions::operation;
use crate::till::Till;
use crate::world::{UNLIMITED, World};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document's schemas, which refer to each other.
struct Schemas(Value);

impl Schemas {
    /// What a schema says, without the null that it may allow.
    fn plain(&self, schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.plain(&self.0["components"]["schemas"][name]);
        }
        let or_null = ["oneOf", "anyOf"].iter().find_map(|of| schema[*of].as_array());
        match or_null.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            Some(one) => self.plain(one),
            None => schema.clone(),
        }
    }

    /// Values that the schema does not allow. Fails the test if it states no bounds.
    fn beyond(&self, schema: &Value, what: &str) -> Vec<Value> {
        let schema = self.plain(schema);
        let is = |kind: &str| match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|one| one == kind),
            one => one == kind,
        };
        let mut bad = vec![json!({ "no": "such" })];
        if is("boolean") {
            bad.extend([json!("true"), json!(1)]);
        } else if is("integer") {
            let bound = |name: &str| {
                schema[name].as_i64().unwrap_or_else(|| panic!("{what} has no {name}: {schema}"))
            };
            let (least, most) = (bound("minimum"), bound("maximum"));
            bad.extend([json!(least - 1), json!(most + 1), json!(i64::MIN), json!(u64::MAX)]);
            bad.extend([json!(1e300), json!(1.5), json!(true)]);
        } else if is("array") {
            let most = schema["maxItems"].as_u64();
            let most = most.unwrap_or_else(|| panic!("{what} has no maxItems: {schema}"));
            let one = self.good(&schema["items"]);
            bad.extend([json!(vec![one; most as usize + 1]), json!("A")]);
            bad.extend((schema["minItems"].as_u64() > Some(0)).then(|| json!([])));
        } else if is("object") {
            bad.extend([json!([]), json!("A"), json!(7)]);
        } else {
            bad.extend(self.bad_text(&schema, what));
        }
        bad
    }

    fn bad_text(&self, schema: &Value, what: &str) -> Vec<Value> {
        let mut bad = vec![json!("nul\u{0}nul"), json!(["A"]), json!(true), json!("\u{1b}[0m")];
        let bounded = schema["enum"].is_array()
            || schema["maxLength"].is_u64()
            || schema["pattern"].as_str().is_some_and(|text| !text.contains(['*', '+']))
            || schema["pattern"] == r"^[0-9]{1,16}(\.[0-9]+)?$"
            || ["uuid", "date-time"].iter().any(|format| schema["format"] == *format);
        assert!(bounded, "{what} has no bounds: {schema}");
        if let Some(most) = schema["maxLength"].as_u64() {
            bad.push(json!("x".repeat(most as usize + 1)));
            bad.push(json!("\u{1f600}".repeat(most as usize + 1)));
        }
        if schema["minLength"].as_u64().unwrap_or(0) > 0 {
            bad.push(json!(""));
        }
        if schema["pattern"].is_string()
            || schema["enum"].is_array()
            || schema["format"].is_string()
        {
            let password = schema["format"] == "password";
            bad.extend((!password).then(|| json!(" \u{202e} ")));
        }
        bad.push(json!("x".repeat(5_000)));
        bad
    }

    /// Something that the schema allows.
    fn good(&self, schema: &Value) -> Value {
        let schema = self.plain(schema);
        match schema["properties"].as_object() {
            Some(members) if members.contains_key("sku") => json!({ "sku": "A" }),
            _ => json!("A"),
        }
    }
}

const LOGINS: [&str; 2] = ["POST /api/auth/login", "POST /admin/session"];

/// Names, passwords and tokens that nobody can have are refused where one signs in as any others are: 401.
fn is_no_secret(operation: &str, value: &Value) -> bool {
    let signs_in = ["POST /api/auth/refresh", "POST /api/auth/logout"];
    (LOGINS.contains(&operation) || signs_in.contains(&operation))
        && value.as_str().is_some_and(|text| text.contains(['\0', '\u{1b}']))
}

/// A request in which one thing is wrong, and the field that is.
struct Wrong {
    field: String,
    body: Value,
}

/// All ways in which a good body may be wrong.
fn wrong_bodies(schemas: &Schemas, schema: &Value, good: &Value, operation: &str) -> Vec<Wrong> {
    let what = operation;
    let schema = schemas.plain(schema);
    assert_eq!(schema["additionalProperties"], false, "{what} takes what nobody knows");
    let with = |name: &str, value: &Value| {
        let mut body = good.as_object().cloned().unwrap_or_default();
        if LOGINS.contains(&what) && name == "email" {
            body.remove("username");
        }
        body.insert(name.to_owned(), value.clone());
        Value::Object(body)
    };
    let mut wrong = vec![Wrong { field: "nonsense".into(), body: with("nonsense", &json!(1)) }];
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let what = format!("{what}: {name}");
        for value in schemas.beyond(member, &what) {
            if !(is_no_secret(operation, &value)) {
                wrong.push(Wrong { field: name.clone(), body: with(name, &value) });
            }
        }
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        let mut body = good.as_object().cloned().unwrap_or_default();
        body.remove(name);
        wrong.push(Wrong { field: name.to_owned(), body: Value::Object(body) });
        wrong.push(Wrong { field: name.to_owned(), body: with(name, &Value::Null) });
    }
    wrong
}

/// As it stands in a query.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The rows of all tables that a request writes.
async fn rows(postgres: &Client) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for table in [
        "accounts",
        "cart_items",
        "order_items",
        "orders",
        "outbox_seen",
        "products",
        "reservation_decisions",
        "sessions",
        "sku_stock",
        "stock_movements",
        "suppliers",
    ] {
        let sql = format!("select count(*) from {table}");
        counts.insert(table.to_owned(), postgres.query_one(&sql, &[]).await.unwrap().get(0));
    }
    let versions = "select coalesce(sum(version), 0) from products";
    counts.insert("edits".into(), postgres.query_one(versions, &[]).await.unwrap().get(0));
    counts
}

/// What is wrong with an answer, if it is anything but a refusal that names this field.
fn unless_refused(reply: Reply, field: &str, what: &str) -> Option<String> {
    let named = reply.body["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
    // A part of a field is named by its path from there: `items[0].sku`.
    let rest = named.strip_prefix(field);
    let names_it = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']));
    if reply.status != 422 || !names_it {
        return Some(format!("{what}: {field}: {} {}", reply.status, reply.body));
    }
    reply.expect_problem(422, "invalid_field");
    None
}

/// Whoever may call this operation at all.
pub fn caller(app: &TestApp, operation: &str) -> String {
    let merchants = ["/api/products", "/api/suppliers", "/api/stock"];
    let path = operation.split(' ').nth(1).unwrap();
    match path {
        _ if path.ends_with("/refund") || path.starts_with("/api/admin/") => app.admin(),
        _ if path.starts_with("/api/webhook-endpoints") => app.service(),
        _ if path.ends_with("/fulfil") => app.service(),
        _ if merchants.iter().any(|first| path.starts_with(first)) => app.merchant("maker"),
        _ => app.customer("alice"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_goes_beyond_what_the_document_says() {
    let till = Till::start_with(&UNLIMITED).await;
    let app = &till.app;
    let world = World::new(app).await;
    let postgres = app.stores.postgres().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let schemas = Schemas(document.clone());
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item[**method]["deprecated"] != true) {
            let content = &item[*method]["requestBody"]["content"]["application/json"];
            // What a provider signs is taken as it comes, and its signature is tried elsewhere.
            if content.is_null() || content["schema"]["type"] == "string" {
                continue;
            }
            let operation = operation(method, path);
            let (path, good) = world.call(&operation, &world.path(&operation)).await;
            let before = rows(&postgres).await;
            for Wrong { field, body } in
                wrong_bodies(&schemas, &content["schema"], &good, &operation)
            {
                let request = app.request(method.to_uppercase().parse().unwrap(), &path);
                let request = request.bearer_auth(caller(app, &operation)).json(&body);
                let reply = app.send(request).await;
                wrong.extend(unless_refused(reply, &field, &format!("{operation}: {body:.200}")));
                tried += 1;
            }
            assert_eq!(rows(&postgres).await, before, "{operation}: {wrong:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 500, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_goes_beyond_what_the_document_says() {
    let app = TestApp::start_with(&UNLIMITED).await;
    let world = World::new(&app).await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let schemas = Schemas(document.clone());
    let (mut tried, mut accepted) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let parameters = parameters.iter().filter(|one| one["in"] == "query");
        let parameters: Vec<&Value> = parameters.collect();
        // Whoever comes back from a provider names everything at once: tried elsewhere.
        if parameters.is_empty() || path.ends_with("/callback") {
            continue;
        }
        let operation = operation("get", path);
        let (path, _) = world.call(&operation, &world.path(&operation)).await;
        let token = match path.as_str() {
            _ if path.contains("/users/") => app.customer("alice"),
            _ if path.contains("/admin/") || path.contains("/webhook-endpoints") => app.admin(),
            _ => app.merchant("maker"),
        };
        let mut wrong = vec![("nonsense".to_owned(), json!("1"))];
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            let what = format!("{operation}: {name}");
            wrong.extend(
                schemas
                    .beyond(&parameter["schema"], &what)
                    .into_iter()
                    // A query has words only: `true` is one as good as any.
                    .filter(|value| !value.is_array() && !value.is_object() && !value.is_boolean())
                    .filter(|value| value != "true")
                    .map(|value| (name.to_owned(), value)),
            );
        }
        for (name, value) in wrong {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let request = app.request(Method::GET, &format!("{path}?{name}={}", encoded(&text)));
            let reply = app.send(request.bearer_auth(&token)).await;
            accepted.extend(unless_refused(reply, &name, &format!("{operation}: {text:.200}")));
            tried += 1;
        }
    }
    assert!(accepted.is_empty(), "{}", accepted.join("\n"));
    assert!(tried > 80, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_breaks_anything() {
    let app = TestApp::start_with(&UNLIMITED).await;
    let maker = app.merchant("maker");
    // What a name may be comes back as it was, wherever it is shown.
    for name in [
        "\u{202e}drawkcab\u{202c}",
        "e\u{301}\u{327} \u{1f469}\u{200d}\u{1f680}",
        "\u{feff}bom",
        "'; drop table products; --",
        "<script>alert(1)</script>",
        "%_\\ 100%",
        "{sku}:*",
        "${jndi:x} {{7*7}} %s%n",
        "\u{fffd}\u{10ffff}",
        "\u{3b1}\u{3b2}\u{3b3} \u{65e5}\u{672c}\u{8a9e}",
    ] {
        let trimmed = name.trim();
        let body = json!({ "name": name, "description": name, "category": name, "price": "1.00", "total_stock": 3 });
        let made = app.post("/api/products", &maker, body).await.expect(201);
        for field in ["name", "description", "category"] {
            assert_eq!(made[field], trimmed, "{name:?}");
        }
        let path = format!("/api/products?category={}", encoded(name));
        let listed = app.anonymous(Method::GET, &path).await.expect(200);
        assert_eq!(listed["items"][0]["name"], trimmed, "{name:?}");
        let item = json!({ "product_id": made["id"], "quantity": 1 });
        app.post("/api/cart/items", &app.customer("alice"), item).await.expect(201);
        let order =
            app.send(app.request(Method::POST, "/api/orders").bearer_auth(app.customer("alice")));
        assert_eq!(order.await.expect(201)["items"][0]["name"], trimmed, "{name:?}");
    }
    // The longest of everything at once still fits into every index.
    let longest = app.merchant(&"m".repeat(128));
    let body = json!({
        "sku": "S".repeat(64), "name": "\u{1f600}".repeat(200), "category": "\u{1f600}".repeat(64),
        "description": "\u{1f600}".repeat(4_096), "total_stock": 1,
    });
    app.post("/api/products", &longest, body).await.expect(201);
    // Four kilobytes are no name, in whatever script, and are not kept by half.
    for letter in ["x", "\u{e9}", "\u{65e5}", "\u{1f600}"] {
        let name = letter.repeat(4_096 / letter.len());
        let mut bodies: BTreeMap<&str, Value> = BTreeMap::new();
        bodies.insert("/api/products", json!({ "name": name, "total_stock": 1 }));
        bodies.insert("/api/suppliers", json!({ "name": name }));
        for (path, body) in bodies {
            let refused = app.post(path, &maker, body).await.expect_problem(422, "invalid_field");
            assert_eq!(refused["errors"][0]["field"], "name");
        }
        let account =
            json!({ "username": name, "email": "a@example.org", "password": "strongpassword" });
        let request = app.request(Method::POST, "/api/auth/register").json(&account);
        app.send(request).await.expect_problem(422, "invalid_field");
        let body: Map<String, Value> = [("sku".to_owned(), json!(name))].into_iter().collect();
        let reply = app.post("/api/reserve", &app.customer("alice"), body.into()).await;
        reply.expect_problem(422, "invalid_field");
    }
    assert_eq!(app.get("/api/suppliers", &maker).await.expect(200)["items"], json!([]));
}
