//! The fakes over HTTP: what they refuse, what they repeat, what their switches do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod bkash;
mod control;
mod events;
mod pages;
mod stripe;

use holdfast_sandbox::{Options, Sandbox};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// A sandbox and somebody who calls it.
struct World {
    sandbox: Sandbox,
    client: Client,
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { sandbox: Sandbox::start(options).await.unwrap(), client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.url)
    }
}

/// Status and body; null where the body is no JSON.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}
