//! A small shop for tests that go through all operations: for each call the things that it is about are made anew, so that
//! none sees what another left, and each has a body that is good.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::app::TestApp;
use crate::till::{BACK_URL, OK_URL};

/// Limits are tried elsewhere.
pub const UNLIMITED: [(&str, &str); 6] = [
    ("HOLDFAST__RATE_LIMIT__MAX_REQUESTS", "0"),
    ("HOLDFAST__RATE_LIMIT__ANONYMOUS_PER_MINUTE", "0"),
    ("HOLDFAST__RATE_LIMIT__REGISTER_PER_MINUTE", "0"),
    ("HOLDFAST__RATE_LIMIT__LOGIN_PER_MINUTE", "0"),
    ("HOLDFAST__RATE_LIMIT__ACCOUNT_PER_MINUTE", "0"),
    ("HOLDFAST__RESERVATION__CHURN_BURST", "0"),
];

/// The shop: maker's products and suppliers, alice's holds, cart and orders.
pub struct World<'a> {
    app: &'a TestApp,
    postgres: Client,
    number: AtomicU64,
}

impl<'a> World<'a> {
    pub async fn new(app: &'a TestApp) -> Self {
        Self { app, postgres: app.stores.postgres().await, number: AtomicU64::new(0) }
    }

    /// The path and the body of a call of this operation, with every name in braces filled in.
    pub async fn call(&self, operation: &str, path: &str) -> (String, Value) {
        // Whoever has ordered before, or has a full cart, would be told so.
        self.postgres.execute("delete from cart_items", &[]).await.unwrap();
        let (mut path, mut body) = (path.to_owned(), template(operation).to_string());
        if operation == "POST /api/orders" {
            self.line().await;
        }
        while let Some(name) = first_name(&path).or_else(|| first_name(&body)) {
            for (name, value) in self.make(&name).await {
                let name = format!("{{{name}}}");
                path = path.replace(&name, &value);
                // A number stands in quotes in the template.
                body = body.replace(&format!("\"#{name}\""), &value).replace(&name, &value);
            }
        }
        (path, serde_json::from_str(&body).unwrap())
    }

    /// The path of an operation with the names of the things that `call` makes.
    pub fn path(&self, operation: &str) -> String {
        let path = operation.split(' ').nth(1).unwrap();
        match operation {
            "POST /api/admin/payments/{}/resolve" => return path.replace("{}", "{review}"),
            "POST /api/admin/orders/{}/resend" => return path.replace("{}", "{listened}"),
            _ => {}
        }
        let mut parts: Vec<&str> = path.split('/').collect();
        for at in 1..parts.len() {
            if parts[at] == "{}" {
                parts[at] = match parts[at - 1] {
                    "products" | "sales" => "{product}",
                    "inventory" => "{sku}",
                    "reservations" | "holds" => "{hold}",
                    "reserve" | "users" => "{alice}",
                    "items" => "{line}",
                    "orders" => "{order}",
                    "suppliers" => "{supplier}",
                    "payments" => "{payment}",
                    "webhook-endpoints" => "{endpoint}",
                    "dead-letters" => "{letter}",
                    "problems" => "{code}",
                    _ => "{held}",
                };
            }
        }
        parts.join("/")
    }

    fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes what this name stands for, and whatever came with it.
    async fn make(&self, name: &str) -> Vec<(&'static str, String)> {
        let service = self.app.service();
        match name {
            "alice" => vec![("alice", "alice".to_owned())],
            "code" => vec![("code", "not_found".to_owned())],
            "new" => vec![("new", format!("N-{}", self.next()))],
            "product" | "sku" => {
                let (id, sku) = self.product(true).await;
                vec![("product", id.to_string()), ("sku", sku)]
            }
            "hidden" | "hidden_sku" => {
                let (id, sku) = self.product(false).await;
                vec![("hidden", id.to_string()), ("hidden_sku", sku)]
            }
            "hold" | "held" => {
                let (id, sku) = self.product(true).await;
                let hold = self.app.held("alice", &sku, 1).await;
                vec![("hold", hold), ("held", id.to_string())]
            }
            "order" => {
                let (_, sku) = self.product(true).await;
                let hold = json!({ "reservation_id": self.app.held("alice", &sku, 1).await });
                let order = self.app.post("/api/checkout", &service, hold).await.expect(201);
                vec![("order", order["id"].as_str().unwrap().to_owned())]
            }
            "line" => vec![("line", self.line().await)],
            "supplier" => {
                let maker = self.app.merchant("maker");
                let body = json!({ "name": "Northern Parts" });
                let made = self.app.post("/api/suppliers", &maker, body).await.expect(201);
                vec![("supplier", made["id"].to_string())]
            }
            "endpoint" => {
                // Of what nobody does here: it is never called.
                let body =
                    json!({ "url": "https://shop.example/hooks", "events": ["order.cancelled"] });
                let path = "/api/webhook-endpoints";
                let made = self.app.post(path, &service, body).await.expect(201);
                vec![("endpoint", made["id"].as_str().unwrap().to_owned())]
            }
            "payment" => {
                let (_, sku) = self.product(true).await;
                let hold = self.app.held("alice", &sku, 1).await;
                let body = json!({
                    "reservation_id": hold, "success_url": OK_URL, "cancel_url": BACK_URL,
                });
                let path = "/api/payment/stripe/session";
                let made = self.app.post(path, &self.app.customer("alice"), body).await.expect(201);
                vec![("payment", made["id"].as_str().unwrap().to_owned())]
            }
            "taka_hold" => {
                let sku = format!("P-{}", self.next());
                let more = json!({ "price": "10.00", "currency": "BDT" });
                self.app.product(&sku, 9, more).await;
                vec![("taka_hold", self.app.held("alice", &sku, 1).await)]
            }
            "review" => {
                let made = Box::pin(self.make("payment")).await;
                let sql = "update payments set status = 'review' where payment_id = $1::text::uuid";
                self.postgres.execute(sql, &[&made[0].1]).await.unwrap();
                vec![("review", made[0].1.clone())]
            }
            // Somebody wants to know of it, who is not there.
            "listened" => {
                let body =
                    json!({ "url": "https://shop.example/hooks", "events": ["order.fulfilled"] });
                self.app.post("/api/webhook-endpoints", &service, body).await.expect(201);
                let order = Box::pin(self.make("order")).await[0].1.clone();
                let sql = "update orders set status = 'fulfilled' where order_id = $1::text::uuid";
                self.postgres.execute(sql, &[&order]).await.unwrap();
                vec![("listened", order)]
            }
            "letter" => vec![("letter", self.letter().await)],
            "account" | "refresh" => {
                let account = format!("account-{}", self.next());
                let body = json!({
                    "username": account, "email": format!("{account}@example.org"), "password": "strongpassword",
                });
                let made = self.app.post("/api/auth/register", &service, body).await.expect(201);
                let refresh = made["refresh"].as_str().unwrap().to_owned();
                vec![("account", account), ("refresh", refresh)]
            }
            "shopkeeper" => {
                let account = format!("shop-{}", self.next());
                let body = json!({
                    "username": account, "email": format!("{account}@example.org"), "password": "strongpassword",
                    "role": "merchant",
                });
                self.app.post("/api/auth/register", &service, body).await.expect(201);
                vec![("shopkeeper", account)]
            }
            unknown => panic!("nothing is called {unknown}"),
        }
    }

    /// One of maker's products, by number and SKU.
    async fn product(&self, published: bool) -> (i64, String) {
        let sku = format!("P-{}", self.next());
        let body = json!({ "sku": sku, "name": "Phone 15", "price": "10.00", "total_stock": 9, "published": published });
        let maker = self.app.merchant("maker");
        let made = self.app.post("/api/products", &maker, body).await.expect(201);
        (made["id"].as_i64().unwrap(), sku)
    }

    /// News that was given up, for an endpoint that is gone.
    async fn letter(&self) -> String {
        let sql = "insert into deliveries (endpoint_id, event_id, topic, subject, body, attempts, dead_at)
            values (gen_random_uuid(), gen_random_uuid(), 'order.cancelled', gen_random_uuid(), '{}', 8, now())
            returning delivery_id";
        self.postgres.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).to_string()
    }

    /// A line of alice's cart.
    async fn line(&self) -> String {
        let (id, _) = self.product(true).await;
        let body = json!({ "product_id": id, "quantity": 1 });
        let alice = self.app.customer("alice");
        let cart = self.app.post("/api/cart/items", &alice, body).await.expect(201);
        cart["items"][0]["id"].to_string()
    }
}

/// The first name in braces, if there is one; JSON's own braces hold none.
fn first_name(text: &str) -> Option<String> {
    text.split('{').skip(1).find_map(|rest| {
        let name = rest.split('}').next()?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase());
        is_name.then(|| name.to_owned())
    })
}

/// A good body of an operation, if it takes one.
fn template(operation: &str) -> Value {
    match operation {
        "POST /api/auth/register" => json!({
            "username": "{new}", "email": "{new}@example.org", "password": "strongpassword", "role": "merchant",
        }),
        "POST /admin/session" => {
            json!({ "username": "{shopkeeper}", "password": "strongpassword" })
        }
        "POST /api/auth/login" => {
            json!({ "username": "{account}", "password": "strongpassword" })
        }
        "POST /api/auth/refresh" | "POST /api/auth/logout" => json!({ "refresh": "{refresh}" }),
        "POST /api/products" => json!({
            "sku": "{new}", "name": "Phone 15", "description": "A phone", "category": "phones", "price": "999.50",
            "currency": "EUR", "total_stock": 5, "published": true, "low_stock_threshold": 3, "hold_ttl_seconds": 90,
            "max_per_buyer": 2, "sale_starts_at": "2026-01-01T00:00:00.000Z",
            "sale_ends_at": "2099-01-01T00:00:00.000Z",
        }),
        "PUT /api/products/{}" => json!({
            "name": "Phone 15", "description": "A phone", "category": "phones", "price": "999.50", "published": true,
            "low_stock_threshold": 3, "hold_ttl_seconds": 90, "max_per_buyer": 2,
            "sale_starts_at": "2026-01-01T00:00:00.000Z", "sale_ends_at": "2099-01-01T00:00:00.000Z", "version": 1,
        }),
        "PATCH /api/products/{}" => json!({ "name": "Phone 15", "price": "899.50" }),
        "POST /api/reserve" => {
            json!({ "sku": "{sku}", "quantity": 2, "user_id": "alice", "ttl_seconds": 60, "email": "alice@example.org" })
        }
        "POST /api/reservations/{}/extend" => json!({ "seconds": 60 }),
        "POST /api/checkout/cancel" => json!({ "reservation_id": "{hold}" }),
        "POST /api/checkout" => {
            json!({ "reservation_id": "{hold}", "total_amount": "10.00", "email": "alice@example.org" })
        }
        "POST /api/cart/items" => json!({ "product_id": "#{product}", "quantity": 2 }),
        "PATCH /api/cart/items/{}" => json!({ "quantity": 3 }),
        "POST /api/orders" => json!({ "email": "alice@example.org" }),
        "POST /api/orders/{}/cancel" | "POST /api/orders/{}/fulfil" => json!({}),
        "POST /api/orders/{}/refund" => json!({ "restock": true }),
        "POST /api/suppliers" | "PUT /api/suppliers/{}" => json!({
            "name": "Northern Parts", "email": "parts@example.org", "phone": "+1 555 0100", "address": "1 Road\nTown",
        }),
        "POST /api/payment/stripe/session" => json!({
            "reservation_id": "{hold}", "success_url": OK_URL, "cancel_url": BACK_URL,
        }),
        "POST /api/payment/bkash/initiate" => json!({
            "reservation_id": "{taka_hold}", "success_url": OK_URL, "cancel_url": BACK_URL,
        }),
        "POST /api/webhook-endpoints" => json!({
            "url": "https://shop.example/hooks", "events": ["order.cancelled"], "description": "the shop",
        }),
        "POST /api/admin/payments/{}/resolve" => {
            json!({ "outcome": "release", "reason": "settled" })
        }
        "POST /api/admin/orders/{}/resend" => json!({ "what": "webhook" }),
        "POST /api/admin/reconcile" => json!({ "dry_run": true }),
        "PATCH /api/admin/settings" => json!({ "running_holds": false, "reason": "a test" }),
        "POST /api/stock" => json!({
            "product_id": "#{product}", "movement_type": "IN", "quantity": 5, "note": "two boxes",
        }),
        "POST /api/admin/sales/{}/extend-holds" => {
            json!({ "seconds": 60, "reason": "a slow bank" })
        }
        steering
            if steering.starts_with("POST /api/admin/sales/")
                || steering.starts_with("POST /api/admin/expiry/") =>
        {
            json!({ "reason": "a slow bank" })
        }
        _ => Value::Null,
    }
}
