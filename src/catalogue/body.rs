//! Bodies of products, both ways.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalogue::{Product, Terms};
use crate::kernel::money::Amount;
use crate::kernel::{Currency, Instant, Money, ProductId, Quantity, Sku};
use crate::platform::http::Problem;

/// Most units a product may have.
const MAX_STOCK: i64 = 1_000_000_000;
/// The greatest number of a supplier.
const MAX_SUPPLIER: i64 = (1 << 48) - 1;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    pub(super) sku: Option<Sku>,
    #[schema(min_length = 1, max_length = 200, example = "Phone 15")]
    name: String,
    #[schema(max_length = 4096)]
    description: Option<String>,
    #[schema(min_length = 1, max_length = 64, example = "phones")]
    category: Option<String>,
    price: Option<Amount>,
    currency: Option<Currency>,
    #[schema(minimum = 0, maximum = 1000000000, example = 100)]
    total_stock: i64,
    #[schema(default = true)]
    published: Option<bool>,
    #[schema(minimum = 0, maximum = 1000000000)]
    low_stock_threshold: Option<i64>,
    #[schema(minimum = 1, maximum = 281474976710655i64)]
    supplier_id: Option<i64>,
    #[schema(minimum = 1, maximum = 86400)]
    hold_ttl_seconds: Option<i32>,
    max_per_buyer: Option<Quantity>,
    sale_starts_at: Option<Instant>,
    sale_ends_at: Option<Instant>,
}

impl CreateRequest {
    /// What it says, and how many units there are to begin with.
    pub(super) fn terms(&self, default_currency: Currency) -> Result<(Terms, i64), Problem> {
        let put = PutRequest {
            name: self.name.clone(),
            description: self.description.clone(),
            category: self.category.clone(),
            price: self.price.clone(),
            published: self.published,
            low_stock_threshold: self.low_stock_threshold,
            supplier_id: self.supplier_id,
            hold_ttl_seconds: self.hold_ttl_seconds,
            max_per_buyer: self.max_per_buyer,
            sale_starts_at: self.sale_starts_at,
            sale_ends_at: self.sale_ends_at,
            version: None,
        };
        let terms = put.terms(self.currency.unwrap_or(default_currency))?;
        Ok((terms, within("total_stock", self.total_stock, 0, MAX_STOCK)?))
    }
}

/// Everything that may be changed; what is left out is empty afterwards.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutRequest {
    #[schema(min_length = 1, max_length = 200, example = "Phone 15")]
    name: String,
    #[schema(max_length = 4096)]
    description: Option<String>,
    #[schema(min_length = 1, max_length = 64, example = "phones")]
    category: Option<String>,
    price: Option<Amount>,
    #[schema(default = true)]
    published: Option<bool>,
    #[schema(minimum = 0, maximum = 1000000000)]
    low_stock_threshold: Option<i64>,
    #[schema(minimum = 1, maximum = 281474976710655i64)]
    supplier_id: Option<i64>,
    #[schema(minimum = 1, maximum = 86400)]
    hold_ttl_seconds: Option<i32>,
    max_per_buyer: Option<Quantity>,
    sale_starts_at: Option<Instant>,
    sale_ends_at: Option<Instant>,
    /// The version that the change is meant for.
    #[schema(minimum = 1, maximum = 2147483647)]
    pub(super) version: Option<i32>,
}

impl PutRequest {
    pub(super) fn terms(&self, currency: Currency) -> Result<Terms, Problem> {
        if let (Some(start), Some(end)) = (self.sale_starts_at, self.sale_ends_at)
            && end <= start
        {
            let message = "the sale must end after it starts";
            return Err(Problem::invalid_field("sale_ends_at", message));
        }
        let number = |field, value: Option<i64>, least, most| {
            value.map(|value| within(field, value, least, most)).transpose()
        };
        number("hold_ttl_seconds", self.hold_ttl_seconds.map(i64::from), 1, 86_400)?;
        number("version", self.version.map(i64::from), 1, i32::MAX.into())?;
        Ok(Terms {
            title: text("name", &self.name, 200)?,
            description: match self.description.as_deref().map(str::trim) {
                None | Some("") => String::new(),
                Some(description) => text("description", description, 4_096)?,
            },
            category: self
                .category
                .as_deref()
                .map(|category| text("category", category, 64))
                .transpose()?,
            currency,
            price: self.price.as_ref().map(|price| amount(price, currency)).transpose()?,
            published: self.published.unwrap_or(true),
            hold_ttl_seconds: self.hold_ttl_seconds,
            max_per_buyer: self.max_per_buyer,
            sale_starts_at: self.sale_starts_at,
            sale_ends_at: self.sale_ends_at,
            low_stock_threshold: number(
                "low_stock_threshold",
                self.low_stock_threshold,
                0,
                MAX_STOCK,
            )?,
            supplier_id: number("supplier_id", self.supplier_id, 1, MAX_SUPPLIER)?,
        })
    }
}

/// The body of a PUT that would leave the product as it is; a merge patch is applied to it.
pub(super) fn editable(terms: &Terms) -> Value {
    json!({
        "name": terms.title,
        "description": terms.description,
        "category": terms.category,
        "price": terms.price,
        "published": terms.published,
        "low_stock_threshold": terms.low_stock_threshold,
        "supplier_id": terms.supplier_id,
        "hold_ttl_seconds": terms.hold_ttl_seconds,
        "max_per_buyer": terms.max_per_buyer,
        "sale_starts_at": terms.sale_starts_at,
        "sale_ends_at": terms.sale_ends_at,
    })
}

/// Text that people read: trimmed, not empty, without control characters.
pub fn text(field: &str, text: &str, most: usize) -> Result<String, Problem> {
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

fn amount(amount: &Amount, currency: Currency) -> Result<Money, Problem> {
    amount.in_currency(currency).map_err(|message| Problem::invalid_field("price", message))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ProductResponse {
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
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OwnerPart {
    owner_id: Option<String>,
    supplier_id: Option<i64>,
    low_stock_threshold: Option<i64>,
}

impl ProductResponse {
    pub(super) fn new(product: Product, for_owner: bool) -> Self {
        let terms = product.terms;
        Self {
            id: product.name.id,
            sku: product.name.sku,
            name: terms.title,
            description: terms.description,
            category: terms.category,
            price: terms.price,
            currency: terms.currency,
            published: terms.published,
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
                supplier_id: terms.supplier_id,
                low_stock_threshold: terms.low_stock_threshold,
            }),
        }
    }
}
