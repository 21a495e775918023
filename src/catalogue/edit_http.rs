//! Editing and deleting products.

use actix_web::http::StatusCode;
use actix_web::http::header::IF_MATCH;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};

use crate::catalogue::body::{PutRequest, editable};
use crate::catalogue::http::{owns, shown, unknown_supplier, whole};
use crate::catalogue::{Catalogue, DeleteError, Product, Sale, UpdateError};
use crate::identity::{Caller, Merchant};
use crate::kernel::ProductId;
use crate::platform::http::extract::parse;
use crate::platform::http::{Json, PathOf, Problem};

/// How often a change that names no version is tried on the product as others leave it.
const TRIES: usize = 5;

/// Change a product; what is left out is empty afterwards.
#[utoipa::path(
    put,
    path = "/api/products/{id}",
    tag = "catalogue",
    operation_id = "replaceProduct",
    params(("id" = ProductId, Path, description = "The number of the product"), ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is meant for")),
    request_body = PutRequest,
    responses((status = 200, description = "The product as it is now", body = crate::catalogue::body::ProductResponse, headers(("ETag" = String, description = "What `If-Match` and `If-None-Match` take")))),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "version_conflict", "precondition_failed"]))),
)]
pub(super) async fn put(
    request: HttpRequest,
    Merchant(caller): Merchant,
    catalogue: web::Data<Catalogue>,
    sale: web::Data<dyn Sale>,
    PathOf(id): PathOf<ProductId>,
    Json(body): Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    change(&request, &caller, &catalogue, &**sale, id, |_| body.clone()).await
}

/// Change some members of a product (RFC 7396).
#[utoipa::path(
    patch,
    path = "/api/products/{id}",
    tag = "catalogue",
    operation_id = "patchProduct",
    params(("id" = ProductId, Path, description = "The number of the product"), ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is meant for")),
    request_body = PutRequest,
    responses((status = 200, description = "The product as it is now", body = crate::catalogue::body::ProductResponse, headers(("ETag" = String, description = "What `If-Match` and `If-None-Match` take")))),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "version_conflict", "precondition_failed"]))),
)]
pub(super) async fn patch(
    request: HttpRequest,
    Merchant(caller): Merchant,
    catalogue: web::Data<Catalogue>,
    sale: web::Data<dyn Sale>,
    PathOf(id): PathOf<ProductId>,
    Json(body): Json<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let patched = |product: &Product| {
        let Value::Object(mut patched) = editable(&product.terms) else { return body.clone() };
        patched.extend(body.clone());
        patched
    };
    change(&request, &caller, &catalogue, &**sale, id, patched).await
}

async fn change(
    request: &HttpRequest,
    caller: &Caller,
    catalogue: &Catalogue,
    sale: &dyn Sale,
    id: ProductId,
    body: impl Fn(&Product) -> Map<String, Value>,
) -> Result<HttpResponse, Problem> {
    for _ in 0..TRIES {
        let product = own(catalogue, caller, id).await?;
        expect_tag(request, &product)?;
        let body: PutRequest = parse(Value::Object(body(&product)).to_string().as_bytes())?;
        let terms = body.terms(product.terms.currency)?;
        if body.version.is_some_and(|version| version != product.version) {
            return Err(version_conflict().with("version", product.version));
        }
        match catalogue.update(sale, &product, &terms, &caller.actor()).await {
            Ok(product) => return Ok(whole(shown(product, true)?)),
            Err(UpdateError::Conflict) => {}
            Err(UpdateError::UnknownSupplier) => return Err(unknown_supplier()),
            Err(UpdateError::Fault(fault)) => return Err(fault.into()),
        }
    }
    Err(version_conflict())
}

/// Take a product off the shop for good. Orders keep what they say of it.
#[utoipa::path(
    delete,
    path = "/api/products/{id}",
    tag = "catalogue",
    operation_id = "deleteProduct",
    params(("id" = ProductId, Path, description = "The number of the product"), ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is meant for")),
    responses((status = 204, description = "It is gone")),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found", "has_live_holds", "version_conflict", "precondition_failed"]))),
)]
pub(super) async fn delete(
    request: HttpRequest,
    Merchant(caller): Merchant,
    catalogue: web::Data<Catalogue>,
    sale: web::Data<dyn Sale>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    for _ in 0..TRIES {
        let product = own(&catalogue, &caller, id).await?;
        expect_tag(&request, &product)?;
        match catalogue.delete(&**sale, &product, &caller.actor()).await {
            Ok(()) => return Ok(HttpResponse::NoContent().finish()),
            Err(DeleteError::Conflict) => {}
            Err(DeleteError::LiveHolds) => {
                let detail =
                    "somebody holds the product: unpublish it and wait for the last hold to end";
                return Err(Problem::conflict("has_live_holds", detail));
            }
            Err(DeleteError::Fault(fault)) => return Err(fault.into()),
        }
    }
    Err(version_conflict())
}

/// The product, if the caller may change it; somebody else's looks like none.
async fn own(catalogue: &Catalogue, caller: &Caller, id: ProductId) -> Result<Product, Problem> {
    let product = catalogue.product(id).await?;
    product.filter(|product| owns(Some(caller), product)).ok_or_else(Problem::not_found)
}

/// `If-Match` goes by the version alone: stock that came or went meanwhile is no edit.
fn expect_tag(request: &HttpRequest, product: &Product) -> Result<(), Problem> {
    let version = product.version.to_string();
    let is_it = |tag: &str| {
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        tag.is_some_and(|tag| tag.split('-').next() == Some(&version))
    };
    let mut tags = request.headers().get_all(IF_MATCH).peekable();
    let expected = tags.peek().is_none()
        || tags
            .filter_map(|tags| tags.to_str().ok())
            .flat_map(|tags| tags.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || is_it(tag));
    if expected {
        return Ok(());
    }
    let detail = "the product was edited meanwhile";
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
        .with("version", product.version))
}

fn version_conflict() -> Problem {
    Problem::conflict("version_conflict", "the product was edited meanwhile")
}
