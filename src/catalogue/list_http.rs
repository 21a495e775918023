//! The list of products: one page that everybody sees is made once for all who ask.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::catalogue::body::{ProductResponse, text};
use crate::catalogue::http::{Absent, answer, owns, written};
use crate::catalogue::{Catalogue, Listing, Ordering, Product};
use crate::identity::{Caller, Role, Visitor};
use crate::kernel::page::Page;
use crate::kernel::{Instant, ProductId};
use crate::platform::Fault;
use crate::platform::cache::Cached;
use crate::platform::http::{Problem, Query, bad_cursor, page_limit};

/// Letters without which a search would look at everything.
const LETTERS: usize = 3;
/// The moments that have four digits for their year, in ms.
const MOMENTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Those of this category.
    #[param(min_length = 1, max_length = 64)]
    category: Option<String>,
    /// Those whose name has this text in it.
    #[param(min_length = 3, max_length = 100)]
    q: Option<String>,
    /// `name`, `price` or `created_at`, the other way round after a `-`.
    #[param(pattern = "^-?(name|price|created_at)$")]
    ordering: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Own products of which few are left. Merchants and admins.
    low_stock: Option<bool>,
    /// Own products. Merchants and admins.
    #[param(pattern = "^me$")]
    owner: Option<String>,
}

impl ListQuery {
    fn listing(self, caller: Option<&Caller>) -> Result<Listing, Problem> {
        let mine = self.owner(caller)?;
        let (ordering, descending) = self.ordering()?;
        let limit = page_limit(self.limit)?;
        let search = self.q.as_deref().map(|q| text("q", q, 100)).transpose()?;
        let letters = |q: &String| q.chars().filter(|letter| letter.is_alphanumeric()).count();
        if search.as_ref().is_some_and(|q| letters(q) < LETTERS) {
            let message = format!("expected at least {LETTERS} letters or digits");
            return Err(Problem::invalid_field("q", message));
        }
        Ok(Listing {
            every: caller.is_some_and(|caller| caller.role == Role::Admin),
            owner: mine,
            low_stock: self.low_stock.unwrap_or(false),
            category: self.category.map(|name| text("category", &name, 64)).transpose()?,
            text: search,
            after: match self.cursor {
                None => None,
                Some(cursor) => Some(after(&cursor, ordering, descending).ok_or_else(bad_cursor)?),
            },
            ordering,
            descending,
            limit,
        })
    }

    /// Whose products alone are asked for.
    fn owner(&self, caller: Option<&Caller>) -> Result<Option<String>, Problem> {
        if self.owner.as_deref().is_some_and(|owner| owner != "me") {
            return Err(Problem::invalid_field("owner", "expected `me`"));
        }
        if self.owner.is_none() && !self.low_stock.unwrap_or(false) {
            return Ok(None);
        }
        let caller = caller.ok_or_else(Problem::unauthenticated)?;
        match caller.role {
            Role::Merchant | Role::Admin => Ok(Some(caller.sub.to_string())),
            Role::Customer | Role::Service => Err(Problem::forbidden()),
        }
    }

    fn ordering(&self) -> Result<(Ordering, bool), Problem> {
        let wanted = self.ordering.as_deref().unwrap_or("-created_at");
        let (name, descending) =
            wanted.strip_prefix('-').map_or((wanted, false), |name| (name, true));
        let ordering = match name {
            "name" => Ordering::Name,
            "price" => Ordering::Price,
            "created_at" => Ordering::CreatedAt,
            _ => {
                let message =
                    "expected `name`, `price` or `created_at`, or one of these after a `-`";
                return Err(Problem::invalid_field("ordering", message));
            }
        };
        Ok((ordering, descending))
    }
}

/// What the list is sorted by, as text; a price of none comes before all others.
fn sort_key(product: &Product, ordering: Ordering) -> String {
    match ordering {
        Ordering::Name => product.terms.title.clone(),
        Ordering::Price => product.terms.price.map_or(-1, |price| price.minor).to_string(),
        Ordering::CreatedAt => product.created_at.as_ms().to_string(),
    }
}

fn mark(ordering: Ordering, descending: bool) -> String {
    format!("{}{}", if descending { "-" } else { "" }, ordering.column())
}

fn cursor(product: &Product, listing: &Listing) -> String {
    let key = sort_key(product, listing.ordering);
    let plain = format!("{} {} {key}", mark(listing.ordering, listing.descending), product.name.id);
    plain.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a cursor of this ordering points.
fn after(cursor: &str, ordering: Ordering, descending: bool) -> Option<(String, ProductId)> {
    if !cursor.is_ascii() || cursor.len() % 2 == 1 || cursor.len() > 2_048 {
        return None;
    }
    let bytes = (0..cursor.len()).step_by(2).map(|at| u8::from_str_radix(&cursor[at..at + 2], 16));
    let plain = String::from_utf8(bytes.collect::<Result<_, _>>().ok()?).ok()?;
    let mut parts = plain.splitn(3, ' ');
    let known = parts.next()? == mark(ordering, descending);
    let (id, key) = (parts.next()?.parse().ok()?, parts.next()?);
    let key = match ordering {
        Ordering::Name => (!key.contains('\0')).then(|| key.to_owned()),
        Ordering::Price => key.parse::<i64>().ok().map(|minor| minor.to_string()),
        Ordering::CreatedAt => {
            let ms = key.parse().ok().filter(|ms| MOMENTS.contains(ms));
            ms.map(|ms| Instant::from_ms(ms).to_string())
        }
    };
    known.then_some((key?, id))
}

/// Products, a page at a time.
#[utoipa::path(
    get,
    path = "/api/products",
    tag = "catalogue",
    operation_id = "listProducts",
    params(ListQuery),
    responses((status = 200, description = "A page", body = Page<ProductResponse>, headers(("ETag" = String, description = "What `If-Match` and `If-None-Match` take"))), (status = 304, description = "It is as `If-None-Match` knows it")),
    security((), ("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
pub(super) async fn list(
    request: HttpRequest,
    Visitor(caller): Visitor,
    catalogue: web::Data<Catalogue>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let listing = query.listing(caller.as_ref())?;
    if listing.every || listing.owner.is_some() {
        return Ok(answer(&request, page(&catalogue, &listing, caller.as_ref()).await?));
    }
    let key = format!(
        "list:{}:{}:{:?}:{:?}:{:?}",
        listing.limit,
        mark(listing.ordering, listing.descending),
        listing.category,
        listing.text,
        listing.after
    );
    let load = || async { page(&catalogue, &listing, None).await.map_err(Absent::Fault) };
    let found = catalogue.shown.get(&key, load).await;
    Ok(answer(&request, found.map_err(|absent| Problem::from(&*absent))?))
}

async fn page(
    catalogue: &Catalogue,
    listing: &Listing,
    caller: Option<&Caller>,
) -> Result<Cached, Fault> {
    let found = catalogue.page(listing).await?;
    let page = Page::cut(found, listing.limit as usize, |last| cursor(last, listing));
    let shown = |product| {
        let for_owner = owns(caller, &product);
        ProductResponse::new(product, for_owner)
    };
    let items: Vec<_> = page.items.into_iter().map(shown).collect();
    written(&Page { items, next_cursor: page.next_cursor })
}
