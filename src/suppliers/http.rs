//! Routes and bodies of suppliers. Somebody else's looks like none.

use actix_web::http::header::LOCATION;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::catalogue::text;
use crate::identity::{Caller, Merchant, Role};
use crate::kernel::page::Page;
use crate::platform::http::extract::is_email;
use crate::platform::http::idempotency::RequestKey;
use crate::platform::http::{Json, PathOf, Problem, Query, bad_cursor, page_limit};
use crate::suppliers::{Details, Suppliers, Whose};

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, create, read, replace, delete))]
pub struct Operations;

/// The routes of this feature.
pub fn routes(config: &mut web::ServiceConfig) {
    let list = web::resource("/suppliers").route(web::get().to(list)).route(web::post().to(create));
    let item = web::resource("/suppliers/{id}")
        .route(web::get().to(read))
        .route(web::put().to(replace))
        .route(web::delete().to(delete));
    config.service(list).service(item);
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SupplierRequest {
    #[schema(min_length = 1, max_length = 200, example = "Northern Parts")]
    name: String,
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
    #[schema(min_length = 1, max_length = 50)]
    phone: Option<String>,
    #[schema(min_length = 1, max_length = 500)]
    address: Option<String>,
}

impl SupplierRequest {
    fn details(&self) -> Result<Details, Problem> {
        let optional = |field, value: &Option<String>, most| {
            value.as_deref().map(|value| text(field, value, most)).transpose()
        };
        let email = optional("email", &self.email, 254)?;
        if email.as_ref().is_some_and(|email| !is_email(email)) {
            return Err(Problem::invalid_field("email", "expected an e-mail address"));
        }
        Ok(Details {
            name: text("name", &self.name, 200)?,
            email,
            phone: optional("phone", &self.phone, 50)?,
            address: optional("address", &self.address, 500)?,
        })
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

fn whose(caller: &Caller) -> Whose<'_> {
    if caller.role == Role::Admin { None } else { Some(caller.sub.as_str()) }
}

/// Numbers beyond those that are given name nothing.
fn number(id: i64) -> Result<i64, Problem> {
    if (1..1 << 48).contains(&id) { Ok(id) } else { Err(Problem::not_found()) }
}

/// Own suppliers; all for an admin.
#[utoipa::path(
    get,
    path = "/api/suppliers",
    tag = "stock",
    operation_id = "listSuppliers",
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<crate::suppliers::Supplier>)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn list(
    Merchant(caller): Merchant,
    suppliers: web::Data<Suppliers>,
    Query(query): Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit)?;
    let after = match query.cursor {
        None => 0,
        Some(cursor) => cursor.parse().ok().filter(|after| *after > 0).ok_or_else(bad_cursor)?,
    };
    let found = suppliers.page(whose(&caller), after, limit).await?;
    let page = Page::cut(found, limit as usize, |last| last.id.to_string());
    Ok(HttpResponse::Ok().json(page))
}

/// Note a supplier.
#[utoipa::path(
    post,
    path = "/api/suppliers",
    tag = "stock",
    operation_id = "createSupplier",
    request_body = SupplierRequest,
    responses((status = 201, description = "The supplier", body = crate::suppliers::Supplier)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden"]))),
)]
async fn create(
    request: HttpRequest,
    Merchant(caller): Merchant,
    suppliers: web::Data<Suppliers>,
    Json(body): Json<SupplierRequest>,
) -> Result<HttpResponse, Problem> {
    let key = request.extensions().get::<RequestKey>().map(|key| key.0.clone());
    let (owner, actor) = (caller.sub.as_str(), caller.actor());
    let created = suppliers.create(owner, &body.details()?, key.as_deref(), &actor).await?;
    let location = format!("/api/suppliers/{}", created.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(created))
}

/// One supplier.
#[utoipa::path(
    get,
    path = "/api/suppliers/{id}",
    tag = "stock",
    operation_id = "readSupplier",
    params(("id" = i64, Path, description = "The number of the supplier", minimum = 1, maximum = 281474976710655i64)),
    responses((status = 200, description = "The supplier", body = crate::suppliers::Supplier)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn read(
    Merchant(caller): Merchant,
    suppliers: web::Data<Suppliers>,
    PathOf(id): PathOf<i64>,
) -> Result<HttpResponse, Problem> {
    let found = suppliers.get(whose(&caller), number(id)?).await?;
    Ok(HttpResponse::Ok().json(found.ok_or_else(Problem::not_found)?))
}

/// Change a supplier.
#[utoipa::path(
    put,
    path = "/api/suppliers/{id}",
    tag = "stock",
    operation_id = "replaceSupplier",
    params(("id" = i64, Path, description = "The number of the supplier", minimum = 1, maximum = 281474976710655i64)),
    request_body = SupplierRequest,
    responses((status = 200, description = "The supplier as it is now", body = crate::suppliers::Supplier)),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn replace(
    Merchant(caller): Merchant,
    suppliers: web::Data<Suppliers>,
    PathOf(id): PathOf<i64>,
    Json(body): Json<SupplierRequest>,
) -> Result<HttpResponse, Problem> {
    let (id, actor) = (number(id)?, caller.actor());
    let changed = suppliers.update(whose(&caller), id, &body.details()?, &actor).await?;
    Ok(HttpResponse::Ok().json(changed.ok_or_else(Problem::not_found)?))
}

/// Forget a supplier. Movements keep its number.
#[utoipa::path(
    delete,
    path = "/api/suppliers/{id}",
    tag = "stock",
    operation_id = "deleteSupplier",
    params(("id" = i64, Path, description = "The number of the supplier", minimum = 1, maximum = 281474976710655i64)),
    responses((status = 204, description = "It is gone")),
    security(("token" = [])),
    extensions(("x-codes" = json!(["forbidden", "not_found"]))),
)]
async fn delete(
    Merchant(caller): Merchant,
    suppliers: web::Data<Suppliers>,
    PathOf(id): PathOf<i64>,
) -> Result<HttpResponse, Problem> {
    if suppliers.delete(whose(&caller), number(id)?).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found())
    }
}
