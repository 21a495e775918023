//! Who may do what: every operation of the OpenAPI document, which is made from the handlers, against everybody who may
//! call it. An operation without its row fails the test, and so does a row without its operation.

use std::collections::BTreeSet;

use holdfast::identity::Role;
use holdfast::platform::http::edge::ALIASES;
use reqwest::Method;
use serde_json::Value;

use crate::app::{Reply, TestApp};
use crate::till::Till;
use crate::world::{UNLIMITED, World};

/// alice is the buyer whose hold, cart and order everything is about, bob another one; maker owns the product and the
/// supplier, rival owns neither. `expired` had a customer's token until a moment ago. A name in braces stands for a thing
/// that is made for this one call; one operation may have several rows.
const TABLE: &str = "
                                              | nobody | expired | alice | bob | maker | rival | service | admin
GET    /healthz                               |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200
GET    /readyz                                |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200
GET    /problems/{code}                       |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200

POST   /api/auth/register                     |  201   |   201   |  201  | 201 |  201  |  201  |   201   |  201
POST   /api/auth/login                        |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200
POST   /api/auth/refresh                      |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200
POST   /api/auth/logout                       |  204   |   204   |  204  | 204 |  204  |  204  |   204   |  204
GET    /api/auth/me                           |  401   |   401   |  200  | 200 |  200  |  200  |   200   |  200

POST   /admin/session                         |  200   |   200   |  200  | 200 |  200  |  200  |   200   |  200
POST   /admin/session/refresh                 |  401   |   401   |  401  | 401 |  401  |  401  |   401   |  401
DELETE /admin/session                         |  204   |   204   |  204  | 204 |  204  |  204  |   204   |  204

GET    /api/products                          |  200   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/products?owner=me                 |  401   |   401   |  403  | 403 |  200  |  200  |   403   |  200
GET    /api/products?low_stock=true           |  401   |   401   |  403  | 403 |  200  |  200  |   403   |  200
POST   /api/products                          |  401   |   401   |  403  | 403 |  201  |  201  |   403   |  201
GET    /api/products/{product}                |  200   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/products/{hidden}                 |  404   |   401   |  404  | 404 |  200  |  404  |   404   |  200
PUT    /api/products/{product}                |  401   |   401   |  403  | 403 |  200  |  404  |   403   |  200
PATCH  /api/products/{product}                |  401   |   401   |  403  | 403 |  200  |  404  |   403   |  200
DELETE /api/products/{product}                |  401   |   401   |  403  | 403 |  204  |  404  |   403   |  204
GET    /api/products/{product}/status         |  200   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/products/{hidden}/status          |  404   |   401   |  404  | 404 |  200  |  404  |   404   |  200
GET    /api/inventory/{sku}                   |  200   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/inventory/{hidden_sku}            |  404   |   401   |  404  | 404 |  200  |  404  |   404   |  200
GET    /api/inventory/{sku}/events            |  200   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/inventory/{hidden_sku}/events     |  404   |   401   |  404  | 404 |  200  |  404  |   404   |  200

POST   /api/reserve                           |  401   |   401   |  201  | 403 |  403  |  403  |   201   |  201
GET    /api/reservations/{hold}               |  401   |   401   |  200  | 404 |  404  |  404  |   200   |  200
POST   /api/reservations/{hold}/extend        |  401   |   401   |  200  | 404 |  404  |  404  |   200   |  200
DELETE /api/reservations/{hold}               |  401   |   401   |  200  | 404 |  404  |  404  |   200   |  200
DELETE /api/reserve/{alice}/{held}            |  401   |   401   |  200  | 403 |  403  |  403  |   200   |  200
GET    /api/users/{alice}/reservations        |  401   |   401   |  200  | 403 |  403  |  403  |   200   |  200
POST   /api/checkout/cancel                   |  401   |   401   |  200  | 404 |  404  |  404  |   200   |  200
POST   /api/checkout                          |  401   |   401   |  201  | 404 |  404  |  404  |   201   |  201

GET    /api/cart                              |  401   |   401   |  200  | 200 |  200  |  200  |   403   |  403
POST   /api/cart/items                        |  401   |   401   |  201  | 201 |  201  |  201  |   403   |  403
PATCH  /api/cart/items/{line}                 |  401   |   401   |  200  | 404 |  404  |  404  |   403   |  403
DELETE /api/cart/items/{line}                 |  401   |   401   |  204  | 404 |  404  |  404  |   403   |  403

POST   /api/orders                            |  401   |   401   |  201  | 409 |  409  |  409  |   403   |  403
GET    /api/orders                            |  401   |   401   |  200  | 200 |  200  |  200  |   200   |  200
GET    /api/orders?user_id=alice              |  401   |   401   |  200  | 403 |  403  |  403  |   200   |  200
GET    /api/orders/{order}                    |  401   |   401   |  200  | 404 |  200  |  404  |   200   |  200
POST   /api/orders/{order}/cancel             |  401   |   401   |  409  | 404 |  404  |  404  |   409   |  409
POST   /api/orders/{order}/fulfil             |  401   |   401   |  403  | 403 |  200  |  404  |   200   |  200
POST   /api/orders/{order}/refund             |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200

GET    /api/suppliers                         |  401   |   401   |  403  | 403 |  200  |  200  |   403   |  200
POST   /api/suppliers                         |  401   |   401   |  403  | 403 |  201  |  201  |   403   |  201
GET    /api/suppliers/{supplier}              |  401   |   401   |  403  | 403 |  200  |  404  |   403   |  200
PUT    /api/suppliers/{supplier}              |  401   |   401   |  403  | 403 |  200  |  404  |   403   |  200
DELETE /api/suppliers/{supplier}              |  401   |   401   |  403  | 403 |  204  |  404  |   403   |  204
GET    /api/stock                             |  401   |   401   |  403  | 403 |  200  |  200  |   403   |  200
GET    /api/stock?product_id={product}        |  401   |   401   |  403  | 403 |  200  |  404  |   403   |  200
POST   /api/stock                             |  401   |   401   |  403  | 403 |  201  |  404  |   403   |  201

POST   /api/payment/stripe/session            |  401   |   401   |  201  | 404 |  404  |  404  |   201   |  201
POST   /api/payment/bkash/initiate            |  401   |   401   |  201  | 404 |  404  |  404  |   201   |  201
POST   /api/payment/stripe/webhook            |  400   |   400   |  400  | 400 |  400  |  400  |   400   |  400
GET    /api/payment/bkash/callback?paymentID=TR1&status=success | 404 | 404 | 404 | 404 | 404 | 404 | 404 | 404
GET    /api/payments/{payment}                |  401   |   401   |  200  | 404 |  404  |  404  |   200   |  200

GET    /api/webhook-endpoints                 |  401   |   401   |  403  | 403 |  403  |  403  |   200   |  200
POST   /api/webhook-endpoints                 |  401   |   401   |  403  | 403 |  403  |  403  |   201   |  201
GET    /api/webhook-endpoints/{endpoint}      |  401   |   401   |  403  | 403 |  403  |  403  |   200   |  200
POST   /api/webhook-endpoints/{endpoint}/rotate-secret | 401 | 401 | 403 | 403 | 403  |  403  |   200   |  200
DELETE /api/webhook-endpoints/{endpoint}      |  401   |   401   |  403  | 403 |  403  |  403  |   204   |  204
GET    /api/admin/audit                       |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/health                      |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/reconcile                   |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/settings                    |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
PATCH  /api/admin/settings                    |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/sales                       |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/sales/{product}             |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/sales/{product}/history     |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/sales/{product}/open        |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/sales/{product}/pause       |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/sales/{product}/drain       |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/sales/{product}/close       |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/sales/{product}/extend-holds | 401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/expiry                      |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/expiry/freeze               |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/expiry/thaw                 |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/holds?user_id=alice         |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/holds/{hold}                |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/dead-letters                |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/dead-letters/{letter}/retry |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
GET    /api/admin/payments                    |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/payments/{review}/resolve   |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
POST   /api/admin/orders/{listened}/resend    |  401   |   401   |  403  | 403 |  403  |  403  |   403   |  200
";

/// Who calls, in the order of the columns.
const CALLERS: [&str; 8] =
    ["nobody", "expired", "alice", "bob", "maker", "rival", "service", "admin"];

/// One row of the table.
struct Row {
    method: Method,
    path: &'static str,
    statuses: Vec<u16>,
}

fn table() -> Vec<Row> {
    let mut lines = TABLE.lines().filter(|line| !line.is_empty());
    let cells = |line: &'static str| line.split('|').map(str::trim).collect::<Vec<_>>();
    assert_eq!(cells(lines.next().unwrap())[1..], CALLERS);
    let row = |line: &'static str| {
        let cells = cells(line);
        let (method, path) = cells[0].split_once(' ').unwrap();
        let statuses: Vec<u16> = cells[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(statuses.len(), CALLERS.len(), "{line}");
        Row { method: method.parse().unwrap(), path: path.trim(), statuses }
    };
    lines.map(row).collect()
}

/// The operation that a call is one of: parameters have no name, and a query is none of it.
pub fn operation(method: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    format!("{} {}", method.to_uppercase(), parts.collect::<Vec<_>>().join("/"))
}

fn token(app: &TestApp, caller: &str) -> Option<String> {
    match caller {
        "nobody" => None,
        "expired" => Some(app.expired(Role::Customer, "alice")),
        "alice" | "bob" => Some(app.customer(caller)),
        "maker" | "rival" => Some(app.merchant(caller)),
        "service" => Some(app.service()),
        _ => Some(app.admin()),
    }
}

/// Calls a path; an answer that never ends is read as far as its head.
async fn call(app: &TestApp, row: &Row, path: &str, token: Option<String>, body: Value) -> Reply {
    let request = app.request(row.method.clone(), path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    if !row.path.ends_with("/events") {
        return app.send(request).await;
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = if status.is_success() { Value::Null } else { response.json().await.unwrap() };
    Reply { status, headers, body }
}

/// The codes that may come with a status, for which the table would say too little.
#[track_caller]
fn expect(reply: Reply, status: u16, what: &str) {
    let shown = format!("{what}: {reply:#?}");
    assert_eq!(reply.status.as_u16(), status, "{shown}");
    let codes: &[&str] = match status {
        401 => &["unauthenticated"],
        403 => &["forbidden", "not_yours"],
        404 => &["not_found", "unknown_product"],
        409 => &["cart_empty", "order_paid"],
        _ => return,
    };
    let code = codes.iter().find(|code| reply.body["code"] == **code);
    let code = code.unwrap_or_else(|| panic!("{shown}"));
    reply.expect_problem(status, code);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_says_and_nothing_else() {
    let till = Till::start_with(&UNLIMITED).await;
    let app = &till.app;
    let world = World::new(app).await;
    for row in table() {
        let alias = ALIASES.iter().find(|(_, first)| row.path == format!("/api{first}"));
        let alias = alias.filter(|_| row.method == Method::POST);
        let alias = alias.map(|(alias, _)| format!("/api{alias}"));
        for path in [Some(row.path), alias.as_deref()].into_iter().flatten() {
            for (caller, status) in CALLERS.into_iter().zip(&row.statuses) {
                let operation = operation(row.method.as_str(), row.path);
                let (path, body) = world.call(&operation, path).await;
                let what = format!("{caller}: {} {path} {body}", row.method);
                let reply = call(app, &row, &path, token(app, caller), body).await;
                expect(reply, *status, &what);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_its_row() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").await.expect(200);
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            // A second name is called beside the first one.
            if described["operationId"].is_string() && described["deprecated"] != true {
                served.insert(operation(method, path));
            }
        }
    }
    let rows = table().into_iter().map(|row| operation(row.method.as_str(), row.path)).collect();
    assert!(served.len() > 40, "{served:?}");
    assert_eq!(served, rows, "left: what the service has; right: what the table has");
}
