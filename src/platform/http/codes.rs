//! Every problem code, with its status and what to do about it; `/problems/<code>` shows it to people.
//! `docs/api.md` has the same table.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::platform::http::Problem;
use crate::platform::http::problem::title;

/// One problem code.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// What a program branches on.
    pub code: &'static str,
    /// The status it comes with.
    pub status: u16,
    /// What it means and what to do, for people.
    pub text: &'static str,
}

impl Code {
    /// `sold_out` reads "Sold out".
    pub fn title(&self) -> String {
        title(self.code)
    }
}

const fn code(status: u16, code: &'static str, text: &'static str) -> Code {
    Code { code, status, text }
}

/// All of them, by status.
pub const CODES: &[Code] = &[
    code(
        400,
        "invalid_signature",
        "The event is not signed with the secret of this endpoint, or too old. Nothing of it was kept.",
    ),
    code(400, "malformed_json", "The body is not JSON, or ended early. Nothing was read from it."),
    code(
        401,
        "unauthenticated",
        "There is no bearer token, or it is not valid: expired, forged, or meant for another service. Get a new one.",
    ),
    code(403, "forbidden", "Your role may not do this."),
    code(403, "not_yours", "A customer acts only for the buyer that its token names."),
    code(
        403,
        "payment_required",
        "A buyer's own token cannot say that the money was taken elsewhere: pay here, or let the storefront confirm.",
    ),
    code(
        403,
        "cross_site",
        "Sessions of the console are for its own page, over HTTPS or on the machine itself: the headers that only it sends are missing.",
    ),
    code(403, "origin_not_allowed", "Pages of this origin may not call the API from a browser."),
    code(
        404,
        "not_found",
        "There is nothing here, or it is not yours to see; the two look the same.",
    ),
    code(404, "provider_disabled", "This payment provider is not set up here."),
    code(404, "unknown_product", "No product has this SKU or number, or it is not for sale."),
    code(
        405,
        "method_not_allowed",
        "This resource does not take that method; `Allow` lists those it takes.",
    ),
    code(408, "request_timeout", "The body did not arrive in time. Nothing was read from it."),
    code(409, "username_taken", "Another account has this username. Choose another one."),
    code(
        409,
        "email_taken",
        "Another account has this e-mail address. Sign in with it, or use another one.",
    ),
    code(409, "already_confirmed", "The reservation is sold. Its order stands."),
    code(
        409,
        "already_held",
        "The buyer has a live hold of this product that the request would clash with: `reservation_id` names it. Cancel it or use it.",
    ),
    code(
        409,
        "buyer_limit",
        "The buyer would have more units than one buyer may: `limit`, `held`, `bought`.",
    ),
    code(
        409,
        "cart_changed",
        "The cart, or a hold it relied on, changed while it was ordered. Nothing was ordered: read the cart and ask again.",
    ),
    code(
        409,
        "cart_empty",
        "There is nothing in the cart. If you have just ordered it, the order stands.",
    ),
    code(409, "cart_full", "A cart has at most 20 lines."),
    code(
        409,
        "endpoint_limit",
        "There are as many webhook endpoints as there may be. Delete one that is not used.",
    ),
    code(
        409,
        "extension_limit",
        "The hold was extended as often, or to as long a life, as is allowed.",
    ),
    code(
        409,
        "insufficient_stock",
        "There is not enough: `lines` names each short product, `soonest_expiry` when the next hold ends.",
    ),
    code(409, "order_cancelled", "The order is cancelled: nothing was sold."),
    code(409, "order_refunded", "The order is refunded, and its units went back."),
    code(409, "not_in_review", "The payment is not in review: nobody has to decide about it."),
    code(
        409,
        "not_paid",
        "The provider has no money for this payment, or none that is real here. Release it instead.",
    ),
    code(409, "nothing_to_send", "There is no news of this order, or nobody to send it to."),
    code(
        409,
        "refund_decided",
        "The units of this payment were given up and its money is to go back. Refund or release it.",
    ),
    code(409, "order_paid", "The order is paid, so it cannot be cancelled any more."),
    code(
        409,
        "payment_in_progress",
        "The sale is being decided, or a payment is under way. Ask again in a moment.",
    ),
    code(
        409,
        "payment_refused",
        "The provider refused the payment: `reason` says why. The hold has ended; reserve again.",
    ),
    code(
        409,
        "refund_refused",
        "The provider does not give the money back: `reason` says why. The order stays as it is.",
    ),
    code(
        409,
        "has_live_holds",
        "Somebody holds the product, so it cannot be deleted. Unpublish it, and delete it when the last hold has ended.",
    ),
    code(409, "quantity_mismatch", "The hold is of another quantity: `held` says how many."),
    code(
        409,
        "request_in_progress",
        "A request with this Idempotency-Key is being answered. Ask again after `Retry-After`.",
    ),
    code(409, "reservation_cancelled", "The reservation was cancelled. Reserve again."),
    code(409, "sale_closed", "The sale is over."),
    code(409, "sale_not_open", "The sale has not begun: `opens_at` says when it does."),
    code(409, "sale_paused", "The sale is paused. Holds that stand can still be bought."),
    code(409, "sku_taken", "Another product has or had this SKU; SKUs are never used again."),
    code(
        409,
        "version_conflict",
        "The product was edited meanwhile: `version` says which one it has now.",
    ),
    code(410, "reservation_expired", "The reservation ran out. Reserve again."),
    code(
        412,
        "precondition_failed",
        "The product is no longer the one that `If-Match` names. Read it again, then send the change with its `ETag`.",
    ),
    code(
        413,
        "body_too_large",
        "A body is at most 64 KiB, unless the service is set up otherwise.",
    ),
    code(415, "unsupported_media_type", "Send JSON as `application/json`."),
    code(
        421,
        "misdirected_request",
        "The service is not called by this name: `Host` names another one.",
    ),
    code(
        422,
        "idempotency_key_reused",
        "This Idempotency-Key was used with another body. Use a new one.",
    ),
    code(
        422,
        "invalid_field",
        "A field is unknown, missing, of the wrong type or out of range: `errors` names it.",
    ),
    code(
        422,
        "mixed_currency",
        "The products are priced in different currencies and cannot be one order.",
    ),
    code(
        422,
        "not_live",
        "This setting takes effect at the start. Change it in a file or the environment, and restart.",
    ),
    code(
        422,
        "not_payable",
        "This provider takes no such amount, or not in this currency. Nothing was begun.",
    ),
    code(
        422,
        "price_missing",
        "A product has no price: a storefront sends `total_amount`; a customer cannot buy it alone.",
    ),
    code(
        422,
        "url_not_allowed",
        "A webhook endpoint must be reached by https at a public address, unless the operator allows its network.",
    ),
    code(422, "total_mismatch", "It costs something else: `total_amount` says what."),
    code(
        429,
        "hold_churn",
        "This product was reserved and cancelled too often. Come again after `Retry-After`.",
    ),
    code(429, "rate_limited", "You ask too often. Come again after `Retry-After`."),
    code(
        500,
        "internal_error",
        "Something is wrong on our side. `outcome` says whether it may have had its effect; sending it again is safe.",
    ),
    code(
        503,
        "overloaded",
        "More is asked than fits right now; nothing was begun. Send it again after `Retry-After`.",
    ),
    code(
        503,
        "provider_unavailable",
        "The payment provider did not answer. The hold stays; sending it again goes on with the same payment.",
    ),
    code(
        503,
        "store_unavailable",
        "A store did not answer. `outcome` says whether it may have had its effect; sending it again is safe.",
    ),
];

/// The operations of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(page))]
pub struct Operations;

/// The pages.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/problems/{code}").route(web::get().to(page)));
}

/// What a problem code means, for people.
#[utoipa::path(
    get,
    path = "/problems/{code}",
    tag = "service",
    operation_id = "readProblem",
    params(("code" = String, Path, description = "The code", pattern = "^[a-z_]{1,64}$")),
    responses((status = 200, description = "A page", content_type = "text/html", body = String)),
    extensions(("x-codes" = json!(["not_found"]))),
)]
async fn page(path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let code = CODES.iter().find(|code| code.code == *path).ok_or_else(Problem::not_found)?;
    let reason =
        StatusCode::from_u16(code.status).ok().and_then(|status| status.canonical_reason());
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <h1>{title}</h1><p><code>{code}</code>, {status} {reason}</p><p>{text}</p></html>\n",
        title = title(code.code),
        code = code.code,
        status = code.status,
        reason = reason.unwrap_or_default(),
        text = code.text,
    );
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(page))
}
