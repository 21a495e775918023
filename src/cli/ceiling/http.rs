//! The routes that the load test needs.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Bytes, Data, Json};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::AuthSettings;
use crate::kernel::{Clock, ProductId, ReservationId};

const TOTAL: i64 = 1_000_000_000;
const HOLD: Duration = Duration::from_secs(600);
/// Products on a page.
const LISTED: u64 = 50;

#[derive(Clone)]
struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Verifier {
    fn claims(&self, request: &HttpRequest) -> Option<Claims> {
        let token = request.headers().get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let verified = jsonwebtoken::decode::<Claims>(token, &self.key, &self.rules);
        verified.ok().map(|verified| verified.claims)
    }
}

#[derive(Deserialize)]
struct Claims {
    #[expect(dead_code, reason = "read, as a service would")]
    sub: String,
    role: String,
}

#[derive(Deserialize)]
struct Wish {
    sku: String,
    quantity: u32,
    user_id: String,
}

#[derive(Serialize)]
struct Held {
    reservation_id: ReservationId,
    user_id: String,
    sku: String,
    quantity: u32,
    status: &'static str,
    expires_at: Timestamp,
    expires_in: u64,
}

pub(super) async fn serve(port: u16, settings: &AuthSettings) -> std::io::Result<()> {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_issuer(&[&settings.issuer]);
    rules.set_audience(&[&settings.audience]);
    let secret = settings.jwt_secret.expose_secret().as_bytes();
    let verifier = Verifier { key: DecodingKey::from_secret(secret), rules };
    let taken = Arc::new(AtomicI64::new(0));
    let page = page();
    HttpServer::new(move || {
        App::new()
            .app_data(Data::new(verifier.clone()))
            .app_data(Data::from(taken.clone()))
            .route("/api/inventory/reserve", web::post().to(reserve))
            .route("/api/inventory/{sku}", web::get().to(stock))
            .app_data(Data::new(page.clone()))
            .route("/api/products", web::get().to(list))
    })
    .workers(std::thread::available_parallelism().map_or(1, usize::from))
    .bind((Ipv4Addr::LOCALHOST, port))?
    .run()
    .await
}

async fn reserve(
    request: HttpRequest,
    verifier: Data<Verifier>,
    taken: Data<AtomicI64>,
    wish: Json<Wish>,
) -> HttpResponse {
    let product = ProductId::try_from(1);
    let (Some(claims), Ok(product)) = (verifier.claims(&request), product) else {
        return HttpResponse::Unauthorized().finish();
    };
    if claims.role != "service" {
        return HttpResponse::Forbidden().finish();
    }
    taken.fetch_add(i64::from(wish.quantity), Ordering::Relaxed);
    let Json(Wish { sku, quantity, user_id }) = wish;
    HttpResponse::Created().json(Held {
        reservation_id: ReservationId::random(product),
        user_id,
        sku,
        quantity,
        status: "held",
        expires_at: Clock::System.now() + HOLD,
        expires_in: HOLD.as_secs(),
    })
}

async fn stock(sku: web::Path<String>, taken: Data<AtomicI64>) -> HttpResponse {
    let taken = taken.load(Ordering::Relaxed);
    HttpResponse::Ok().json(json!({
        "product_id": 1, "sku": sku.as_str(), "total_stock": TOTAL,
        "available_stock": TOTAL - taken, "reserved_stock": taken, "sold_stock": 0,
        "as_of": Clock::System.now(),
    }))
}

/// A page of products like those of the service, written once: nothing is less work than to send it.
fn page() -> Bytes {
    let now = Clock::System.now();
    let product = |number: u64| {
        json!({
            "id": number, "sku": format!("LIST-{number}"), "name": "A product of the benchmark", "description": "",
            "category": null, "price": "10.00", "currency": "USD", "published": true, "total_stock": TOTAL,
            "hold_ttl_seconds": null, "max_per_buyer": null, "sale_starts_at": null, "sale_ends_at": null,
            "version": 1, "created_at": now, "updated_at": now,
        })
    };
    let items: Vec<_> = (1..=LISTED).map(product).collect();
    json!({ "items": items, "next_cursor": null }).to_string().into()
}

async fn list(request: HttpRequest, verifier: Data<Verifier>, page: Data<Bytes>) -> HttpResponse {
    if verifier.claims(&request).is_none() {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok().content_type("application/json").body(Bytes::clone(&page))
}
