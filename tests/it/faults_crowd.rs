//! Buyers that reserve, buy, cancel and walk away while a test breaks things under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::app::{Api, Stores, until};

/// A crowd at work.
pub struct Crowd {
    buyers: JoinSet<Vec<String>>,
    shared: Arc<Shared>,
}

struct Shared {
    apis: Vec<Api>,
    skus: Vec<String>,
    stop: AtomicBool,
    answered: AtomicUsize,
}

impl Crowd {
    /// Sends so many buyers to these services for these products.
    pub fn start(apis: &[&Api], skus: &[&str], size: usize) -> Self {
        let shared = Arc::new(Shared {
            apis: apis.iter().map(|api| (*api).clone()).collect(),
            skus: skus.iter().map(|sku| (*sku).to_owned()).collect(),
            stop: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
        });
        let mut buyers = JoinSet::new();
        for number in 0..size {
            buyers.spawn(buy(shared.clone(), number));
        }
        Self { buyers, shared }
    }

    /// Waits until so many more requests were answered other than by 503.
    pub async fn goes_on(&self, answers: usize) {
        let wanted = self.shared.answered.load(Ordering::Relaxed) + answers;
        until("the crowd goes on", || async {
            self.shared.answered.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    /// Sends it home; every order that anybody was told of must stand.
    pub async fn stop(self, stores: &Stores) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let told: Vec<String> = self.buyers.join_all().await.concat();
        let orders = "select order_id::text from orders";
        let orders = stores.postgres().await.query(orders, &[]).await.unwrap();
        let orders: Vec<String> = orders.iter().map(|row| row.get(0)).collect();
        println!("{} orders told, {} stand", told.len(), orders.len());
        for order in told {
            assert!(orders.contains(&order), "order {order} was answered and does not stand");
        }
    }
}

/// One buyer after the other at one place, each with a name of their own; answers the orders it was told of.
async fn buy(shared: Arc<Shared>, number: usize) -> Vec<String> {
    let mut orders = Vec::new();
    for round in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let user = format!("buyer-{number}-{}", round % 50);
        let place = |at: usize| &shared.apis[(number + round + at) % shared.apis.len()];
        let sku = &shared.skus[(number * 7 + round) % shared.skus.len()];
        let body = json!({ "sku": sku, "quantity": 1 + (number + round) % 2 });
        let held = shared.ask(place(0), Method::POST, "/api/reserve", &user, body).await;
        let Some(id) = held["reservation_id"].as_str() else { continue };
        let path = format!("/api/reservations/{id}");
        match round % 4 {
            0 => drop(shared.ask(place(1), Method::DELETE, &path, &user, Value::Null).await),
            1 if number.is_multiple_of(2) => {}
            _ => {
                let body = json!({ "reservation_id": id });
                let order = shared.ask(place(1), Method::POST, "/api/checkout", &user, body).await;
                if let Some(id) = order["id"].as_str() {
                    orders.push(id.to_owned());
                }
            }
        }
    }
    orders
}

impl Shared {
    /// The answer's body; nothing where the service is not there.
    async fn ask(&self, api: &Api, method: Method, path: &str, user: &str, body: Value) -> Value {
        let request = api.request(method, path).bearer_auth(api.customer(user));
        let request = if body.is_null() { request } else { request.json(&body) };
        let Ok(reply) = api.try_send(request).await else { return Value::Null };
        match reply.status.as_u16() {
            200 | 201 | 404 | 409 | 410 | 429 => self.answered.fetch_add(1, Ordering::Relaxed),
            503 => usize::from(reply.body["outcome"].is_string()),
            _ => panic!("a crowd is never answered so: {path} {reply:#?}"),
        };
        reply.body
    }
}
