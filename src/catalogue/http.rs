//! Routes and bodies of products.

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use crate::catalogue::{Catalogue, CreateError, Name, NewProduct, Product, Terms};
use crate::identity::{Caller, Merchant, Role, Visitor};
use crate::kernel::money::Amount;
use crate::kernel::{Currency, Instant, Money, ProductId, Quantity, Sku};
use crate::platform::Fault;
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, PathOf, Problem};

/// Most units a product may have.
const MAX_STOCK: i64 = 1_000_000_000;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/products").route(web::post().to(create)))
        .service(web::resource("/products/{id}").route(web::get().to(read)));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    sku: Option<Sku>,
    name: String,
    description: Option<String>,
    category: Option<String>,
    price: Option<Amount>,
    currency: Option<Currency>,
    total_stock: i64,
    published: Option<bool>,
    low_stock_threshold: Option<i64>,
    hold_ttl_seconds: Option<i32>,
    max_per_buyer: Option<Quantity>,
    sale_starts_at: Option<Instant>,
    sale_ends_at: Option<Instant>,
}

/// Text that people read: trimmed, not empty, without control characters.
fn text(field: &str, text: &str, most: usize) -> Result<String, Problem> {
    let text = text.trim();
    let count = text.chars().count();
    if count == 0 || count > most || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        let message = format!("expected 1 to {most} characters without control characters");
        return Err(Problem::invalid_field(field, message));
    }
    Ok(text.to_owned())
}

fn within(field: &str, value: i64, least: i64, most: i64) -> Result<i64, Problem> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Problem::invalid_field(
            field,
            format!("expected a whole number from {least} to {most}"),
        ))
    }
}

impl CreateRequest {
    fn terms(&self, default_currency: Currency) -> Result<Terms, Problem> {
        let currency = self.currency.unwrap_or(default_currency);
        if let (Some(start), Some(end)) = (self.sale_starts_at, self.sale_ends_at)
            && end <= start
        {
            return Err(Problem::invalid_field(
                "sale_ends_at",
                "the sale must end after it starts",
            ));
        }
        let hold_ttl = self
            .hold_ttl_seconds
            .map(|ttl| within("hold_ttl_seconds", ttl.into(), 1, 86_400).map(|_| ttl));
        let low =
            self.low_stock_threshold.map(|low| within("low_stock_threshold", low, 0, MAX_STOCK));
        Ok(Terms {
            title: text("name", &self.name, 200)?,
            description: match self.description.as_deref().map(str::trim) {
                None | Some("") => String::new(),
                Some(description) => text("description", description, 10_000)?,
            },
            category: self
                .category
                .as_deref()
                .map(|category| text("category", category, 100))
                .transpose()?,
            currency,
            price: self.price.as_ref().map(|price| amount(price, currency)).transpose()?,
            hold_ttl_seconds: hold_ttl.transpose()?,
            max_per_buyer: self.max_per_buyer,
            sale_starts_at: self.sale_starts_at,
            sale_ends_at: self.sale_ends_at,
            low_stock_threshold: low.transpose()?,
        })
    }
}

fn amount(amount: &Amount, currency: Currency) -> Result<Money, Problem> {
    amount.in_currency(currency).map_err(|message| Problem::invalid_field("price", message))
}

#[derive(Debug, Serialize)]
struct ProductResponse {
    id: ProductId,
    sku: Sku,
    name: String,
    description: String,
    category: Option<String>,
    price: Option<Money>,
    currency: Currency,
    published: bool,
    total_stock: i64,
    hold_ttl_seconds: Option<i32>,
    max_per_buyer: Option<Quantity>,
    sale_starts_at: Option<Instant>,
    sale_ends_at: Option<Instant>,
    version: i32,
    created_at: Instant,
    updated_at: Instant,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerPart>,
}

/// What only the owner and an admin see.
#[derive(Debug, Serialize)]
struct OwnerPart {
    owner_id: Option<String>,
    low_stock_threshold: Option<i64>,
}

impl ProductResponse {
    fn new(product: Product, for_owner: bool) -> Self {
        let terms = product.terms;
        Self {
            id: product.name.id,
            sku: product.name.sku,
            name: terms.title,
            description: terms.description,
            category: terms.category,
            price: terms.price,
            currency: terms.currency,
            published: product.published,
            total_stock: product.total_stock,
            hold_ttl_seconds: terms.hold_ttl_seconds,
            max_per_buyer: terms.max_per_buyer,
            sale_starts_at: terms.sale_starts_at,
            sale_ends_at: terms.sale_ends_at,
            version: product.version,
            created_at: product.created_at,
            updated_at: product.updated_at,
            owner: for_owner.then_some(OwnerPart {
                owner_id: product.owner_id,
                low_stock_threshold: terms.low_stock_threshold,
            }),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::SkuTaken => Self::conflict(
                "sku_taken",
                "another product has or had this SKU; SKUs are never used again",
            ),
            CreateError::Fault(fault) => fault.into(),
        }
    }
}

async fn create(
    request: HttpRequest,
    Merchant(caller): Merchant,
    catalogue: web::Data<Catalogue>,
    Json(body): Json<CreateRequest>,
) -> Result<HttpResponse, Problem> {
    let product = NewProduct {
        terms: body.terms(catalogue.default_currency)?,
        total_stock: within("total_stock", body.total_stock, 0, MAX_STOCK)?,
        sku: body.sku.unwrap_or_else(Sku::random),
        published: body.published.unwrap_or(true),
        owner_id: caller.sub.to_string(),
        actor: caller.actor(),
        request_key: request.extensions().get::<RequestKey>().map(|key| key.0.clone()),
    };
    let created = catalogue.create(&product).await?;
    let location = format!("/api/products/{}", created.name.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .json(ProductResponse::new(created, true)))
}

/// Whether the caller sees and changes everything about this product.
pub fn owns(caller: Option<&Caller>, product: &Product) -> bool {
    caller.is_some_and(|caller| {
        caller.role == Role::Admin || product.owner_id.as_deref() == Some(caller.sub.as_str())
    })
}

async fn read(
    Visitor(caller): Visitor,
    catalogue: web::Data<Catalogue>,
    PathOf(id): PathOf<ProductId>,
) -> Result<HttpResponse, Problem> {
    let product = catalogue.product(id).await?.ok_or_else(Problem::not_found)?;
    let for_owner = owns(caller.as_ref(), &product);
    if !product.published && !for_owner {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::Ok().json(ProductResponse::new(product, for_owner)))
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
