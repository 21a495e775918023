//! A service and the fake providers beside it: what the tests of payments stand on.

use std::time::Duration;

use holdfast_sandbox::{Act, Call, Options, Sandbox, Wish};
use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::app::{Api, Reply, Stores, TestApp, until};

/// Where buyers are sent.
pub const OK_URL: &str = "https://shop.example/ok";
pub const BACK_URL: &str = "https://shop.example/back";

/// The settings of a service that takes money from these providers.
pub fn environment(sandbox: &Sandbox, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [
        ("HOLDFAST__PAYMENTS__RETURN_ORIGINS", "https://shop.example"),
        ("HOLDFAST__PAYMENTS__BKASH__CALLBACK_BASE", "http://127.0.0.1:1"),
        ("HOLDFAST__PAYMENTS__DOUBT", "3s"),
        ("HOLDFAST__PAYMENTS__STRIPE__TIMEOUT", "10s"),
        ("HOLDFAST__PAYMENTS__BKASH__TIMEOUT", "10s"),
    ];
    let own = own.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into()));
    sandbox.environment().into_iter().chain(own).collect()
}

/// The same as borrowed pairs.
pub fn pairs(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub async fn sandbox() -> Sandbox {
    Sandbox::start(Options { calls_per_second: 1_000, ..Options::default() }).await.unwrap()
}

/// Both together.
pub struct Till {
    pub app: TestApp,
    pub sandbox: Sandbox,
}

impl Till {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        Self::on(Stores::fresh().await, more).await
    }

    pub async fn on(stores: Stores, more: &[(&str, &str)]) -> Self {
        let sandbox = sandbox().await;
        let environment = environment(&sandbox, more);
        let app = TestApp::on(stores, &pairs(&environment)).await;
        let till = Self { app, sandbox };
        till.hears(&till.app);
        till
    }

    /// Events go to this service from now on.
    pub fn hears(&self, api: &Api) {
        self.sandbox.set_webhook_url(&format!("{}/api/payment/stripe/webhook", api.url));
    }

    /// The one page of Stripe that was made.
    #[track_caller]
    pub fn only_session(&self) -> String {
        let sessions = self.sandbox.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions[0].clone()
    }

    pub fn pays(&self, session: &str) {
        self.sandbox.act(session, Act::Pay).unwrap();
    }

    /// The buyer releases the money on bKash's page, and comes back.
    pub async fn releases(&self, payment: &Value) -> Reply {
        let way = self.wished(payment, Wish::Success { wallet: None });
        come_back(&self.app, &way).await
    }

    /// Where bKash sends a buyer who did this.
    pub fn wished(&self, payment: &Value, wish: Wish) -> String {
        let id = payment["provider_payment_id"].as_str().unwrap();
        self.sandbox.wish(id, wish).unwrap()
    }
}

impl std::ops::Deref for Till {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

/// The payments of bKash whose money went back: it may have been asked for more than once.
pub fn refunds_of_bkash(sandbox: &Sandbox) -> usize {
    sandbox
        .seen()
        .iter()
        .filter(|seen| seen.call == Call::BkashRefund && seen.status == Some(200))
        .count()
}

/// A request for a payment of this hold at checkout.
pub fn with_payment(reservation: &str, provider: &str) -> Value {
    json!({ "reservation_id": reservation, "payment": asked(provider) })
}

pub fn asked(provider: &str) -> Value {
    json!({ "provider": provider, "success_url": OK_URL, "cancel_url": BACK_URL })
}

/// The order that awaits its payment.
pub async fn ordered(api: &Api, user: &str, reservation: &str, provider: &str) -> Value {
    let body = with_payment(reservation, provider);
    api.post("/api/checkout", &api.customer(user), body).await.expect(201)
}

/// A product in a currency that both providers take.
pub async fn product(api: &Api, sku: &str, stock: i64, more: Value) -> i64 {
    let mut body = json!({ "currency": "BDT", "price": "100.00" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    api.product(sku, stock, body).await
}

/// The buyer's browser follows this way to the service; it is not followed further.
pub async fn come_back(api: &Api, way: &str) -> Reply {
    let (_, path) = way.split_once("/api/").unwrap();
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let request = client.request(Method::GET, format!("{}/api/{path}", api.url));
    api.send(request.timeout(Duration::from_secs(60))).await
}

/// Waits until the order stands so.
pub async fn until_order(api: &Api, order: &Value, status: &'static str) -> Value {
    let path = format!("/api/orders/{}", order["id"].as_str().unwrap());
    until(status, || async { api.get(&path, &api.admin()).await.expect(200)["status"] == status })
        .await;
    api.get(&path, &api.admin()).await.expect(200)
}

/// Waits until the payment stands so.
pub async fn until_payment(api: &Api, payment: &Value, status: &'static str) -> Value {
    let path = format!("/api/payments/{}", payment["id"].as_str().unwrap());
    until(status, || async { api.get(&path, &api.admin()).await.expect(200)["status"] == status })
        .await;
    api.get(&path, &api.admin()).await.expect(200)
}
