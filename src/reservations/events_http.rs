//! `GET /inventory/{sku}/events`: server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, ContentEncoding};
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpResponse};
use futures_util::stream;

use crate::catalogue::{SkuOrId, owns};
use crate::identity::Visitor;
use crate::kernel::Sku;
use crate::platform::http::{PathOf, Problem};
use crate::reservations::http::unknown_product;
use crate::reservations::{Reservations, Watching};

/// How long a stream may be silent: shorter than proxies wait.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// One stream.
struct Events {
    watching: Watching,
    /// Whether it may go on when the product is taken off the shop.
    sees_hidden: bool,
    first: bool,
}

/// The stock of a SKU as server-sent events: now, and each time it changes.
#[utoipa::path(
    get,
    path = "/api/inventory/{sku}/events",
    tag = "reservations",
    operation_id = "watchStock",
    params(("sku" = Sku, Path, description = "The SKU")),
    responses((status = 200, description = "Events `stock`, whose data is the stock; a comment every 15 s", content_type = "text/event-stream", body = String)),
    security((), ("token" = [])),
    extensions(("x-codes" = json!(["unknown_product", "not_found"]))),
)]
pub(super) async fn events(
    Visitor(caller): Visitor,
    reservations: web::Data<Reservations>,
    PathOf(sku): PathOf<Sku>,
) -> Result<HttpResponse, Problem> {
    let catalogue = reservations.catalogue();
    let name = SkuOrId::Sku(sku).find(catalogue).await?.ok_or_else(unknown_product)?;
    let product = catalogue.product(name.id).await?.ok_or_else(unknown_product)?;
    let sees_hidden = owns(caller.as_ref(), &product);
    if !product.terms.published && !sees_hidden {
        return Err(unknown_product());
    }
    let watching = reservations.watch(&name).await?;
    let events = Events { watching, sees_hidden, first: true };
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header((CACHE_CONTROL, "no-store"));
    // What is encoded already is not compressed, and nginx need not hold it back.
    response.insert_header((CONTENT_ENCODING, ContentEncoding::Identity));
    response.insert_header(("X-Accel-Buffering", "no"));
    Ok(response.streaming(stream::unfold(events, next)))
}

async fn next(mut events: Events) -> Option<(Result<Bytes, Error>, Events)> {
    let first = std::mem::replace(&mut events.first, false);
    let text = match tokio::time::timeout(HEARTBEAT, events.watching.next(first)).await {
        Ok(None) => return None,
        Ok(Some(snapshot)) if snapshot.stock.hidden && !events.sees_hidden => return None,
        Ok(Some(snapshot)) => {
            let retry = if first { "retry: 2000\n" } else { "" };
            format!("{retry}event: stock\ndata: {}\n\n", snapshot.json)
        }
        Err(_) => ": still there\n\n".to_owned(),
    };
    Some((Ok(Bytes::from(text)), events))
}
