//! Routes and bodies of products.

use actix_web::http::header::{CACHE_CONTROL, ContentType, ETAG, IF_NONE_MATCH, LOCATION};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::catalogue::body::{CreateRequest, ProductResponse};
use crate::catalogue::{Catalogue, CreateError, Name, NewProduct, Product, edit_http, list_http};
use crate::identity::{Caller, Merchant, Role, Visitor};
use crate::kernel::{ProductId, Sku};
use crate::platform::Fault;
use crate::platform::cache::Cached;
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, PathOf, Problem};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    list_http::list,
    create,
    read,
    edit_http::put,
    edit_http::patch,
    edit_http::delete
))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let list = web::resource("/products")
        .route(web::get().to(list_http::list))
        .route(web::post().to(create));
    let item = web::resource("/products/{id}")
        .route(web::get().to(read))
        .route(web::put().to(edit_http::put))
        .route(web::patch().to(edit_http::patch))
        .route(web::delete().to(edit_http::delete));
    config.service(list).service(item);
}

pub(super) fn unknown_supplier() -> Problem {
    Problem::invalid_field("supplier_id", "the owner of the product has no such supplier")
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::SkuTaken => Self::conflict(
                "sku_taken",
                "another product has or had this SKU; SKUs are never used again",
            ),
            CreateError::UnknownSupplier => unknown_supplier(),
            CreateError::Fault(fault) => fault.into(),
        }
    }
}

/// Put a product on sale.
#[utoipa::path(
    post,
    path = "/api/products",
    tag = "catalogue",
    operation_id = "createProduct",
    request_body = CreateRequest,
    responses((status = 201, description = "The product", body = ProductResponse, headers(("ETag" = String, description = "What `If-Match` and `If-None-Match` take")))),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "sku_taken"]))),
)]
async fn create(
    request: HttpRequest,
    Merchant(caller): Merchant,
    catalogue: web::Data<Catalogue>,
    Json(body): Json<CreateRequest>,
) -> Result<HttpResponse, Problem> {
    let (terms, total_stock) = body.terms(catalogue.default_currency)?;
    let product = NewProduct {
        terms,
        total_stock,
        sku: body.sku.unwrap_or_else(Sku::random),
        owner_id: caller.sub.to_string(),
        actor: caller.actor(),
        request_key: request.extensions().get::<RequestKey>().map(|key| key.0.clone()),
    };
    let created = catalogue.create(&product).await?;
    let location = format!("/api/products/{}", created.name.id);
    let shown = shown(created, true)?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .insert_header((ETAG, &*shown.etag))
        .content_type(ContentType::json())
        .body(shown.body))
}

/// Whether the caller sees and changes everything about this product.
pub fn owns(caller: Option<&Caller>, product: &Product) -> bool {
    caller.is_some_and(|caller| {
        caller.role == Role::Admin || product.owner_id.as_deref() == Some(caller.sub.as_str())
    })
}

/// One product.
#[utoipa::path(
    get,
    path = "/api/products/{id}",
    tag = "catalogue",
    operation_id = "readProduct",
    params(("id" = ProductId, Path, description = "The number of the product")),
    responses((status = 200, description = "The product", body = ProductResponse, headers(("ETag" = String, description = "What `If-Match` and `If-None-Match` take"))), (status = 304, description = "It is as `If-None-Match` knows it")),
    security((), ("token" = [])),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn read(
    request: HttpRequest,
    Visitor(caller): Visitor,
    catalogue: web::Data<Catalogue>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    if caller.as_ref().is_some_and(|caller| matches!(caller.role, Role::Merchant | Role::Admin)) {
        let product = catalogue.product(id).await?.ok_or_else(Problem::not_found)?;
        if owns(caller.as_ref(), &product) {
            return Ok(answer(&request, shown(product, true)?));
        }
    }
    let load = || async {
        let product = catalogue.product(id).await?.filter(|product| product.terms.published);
        shown(product.ok_or(Absent::NotFound)?, false).map_err(Absent::Fault)
    };
    let found = catalogue.shown.get(&id.to_string(), load).await;
    Ok(answer(&request, found.map_err(|absent| Problem::from(&*absent))?))
}

/// Why there is nothing to show.
#[derive(Debug)]
pub(super) enum Absent {
    NotFound,
    Fault(Fault),
}

impl From<Fault> for Absent {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<&Absent> for Problem {
    fn from(absent: &Absent) -> Self {
        match absent {
            Absent::NotFound => Self::not_found(),
            Absent::Fault(fault) => fault.repeat().into(),
        }
    }
}

/// The product as this reader sees it. Its tag begins with the version, which is what `If-Match` goes by.
pub(super) fn shown(product: Product, for_owner: bool) -> Result<Cached, Fault> {
    let version = product.version;
    let mut shown = written(&ProductResponse::new(product, for_owner))?;
    shown.etag = format!("\"{version}-{}", &shown.etag[1..]).into();
    Ok(shown)
}

/// A body with the hash of it as its tag.
pub(super) fn written(body: &impl Serialize) -> Result<Cached, Fault> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Fault::internal("writing products").because(error))?;
    let hash = Sha256::digest(&body);
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Cached { etag: format!("\"{hex}\"").into(), body: body.into() })
}

/// 304 for a reader that has it already.
pub(super) fn answer(request: &HttpRequest, shown: Cached) -> HttpResponse {
    let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|tags| tags.to_str().ok());
    let known = known
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == &*shown.etag);
    if known { with_tag(HttpResponse::NotModified(), &shown).finish() } else { whole(shown) }
}

/// The product as it is.
pub(super) fn whole(shown: Cached) -> HttpResponse {
    with_tag(HttpResponse::Ok(), &shown).content_type(ContentType::json()).body(shown.body)
}

fn with_tag(mut answer: HttpResponseBuilder, shown: &Cached) -> HttpResponseBuilder {
    answer.insert_header((ETAG, &*shown.etag));
    // A reader may keep it, and asks each time whether it is still so.
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    answer
}

/// A product in a request, by either of its names.
#[derive(Clone, Debug)]
pub enum SkuOrId {
    /// By SKU.
    Sku(Sku),
    /// By number.
    Id(ProductId),
}

impl SkuOrId {
    /// Exactly one of the two must be there.
    pub fn one_of(
        sku: Option<Sku>,
        product_id: Option<ProductId>,
        field: &str,
    ) -> Result<Self, Problem> {
        match (sku, product_id) {
            (Some(sku), None) => Ok(Self::Sku(sku)),
            (None, Some(id)) => Ok(Self::Id(id)),
            _ => Err(Problem::invalid_field(
                field,
                "name the product by either `sku` or `product_id`",
            )),
        }
    }

    /// The product it names.
    pub async fn find(&self, catalogue: &Catalogue) -> Result<Option<std::sync::Arc<Name>>, Fault> {
        match self {
            Self::Sku(sku) => catalogue.by_sku(sku).await,
            Self::Id(id) => catalogue.by_id(*id).await,
        }
    }
}
