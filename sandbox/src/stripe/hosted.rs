//! The page where a person pays by Stripe.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use serde_json::Value;

use super::sessions::{Act, act};
use crate::page::{button, escaped, money, page, see_other};
use crate::world::World;

const BRAND: &str = "stripe";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/stripe/pay/{id}", web::get().to(show))
        .route("/stripe/pay/{id}/{button}", web::post().to(press));
}

async fn show(world: Data<World>, id: Path<String>) -> HttpResponse {
    world.tick();
    shown(&world, &id, 200)
}

async fn press(world: Data<World>, path: Path<(String, String)>) -> HttpResponse {
    let (id, button) = path.into_inner();
    let wanted = match button.as_str() {
        "pay" => Act::Pay,
        "decline" => Act::Decline,
        "pay-later" => Act::PayLater,
        "succeed" => Act::Succeed,
        "fail" => Act::Fail,
        _ => return shown(&world, &id, 404),
    };
    if act(&world, &id, wanted).is_err() {
        return shown(&world, &id, 409);
    }
    let session = world.lock().session_shown(&id, false).unwrap_or_default();
    let success = session["success_url"].as_str().unwrap_or_default();
    match wanted {
        Act::Pay | Act::PayLater => see_other(&success.replace("{CHECKOUT_SESSION_ID}", &id)),
        Act::Decline | Act::Succeed | Act::Fail => see_other(&format!("/stripe/pay/{id}")),
    }
}

fn shown(world: &World, id: &str, status: u16) -> HttpResponse {
    let state = world.lock();
    let Some(session) = state.stripe.sessions.iter().find(|session| session.id == id) else {
        return page(404, BRAND, "No such session", "<h1>There is no such session.</h1>");
    };
    let total = money(session.total, &session.currency);
    let lines = session.given["line_items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: String = lines.iter().map(|line| row(line, &session.currency)).collect();
    let given = |name: &str| escaped(session.given[name].as_str().unwrap_or_default());
    let intent = state.stripe.intents.iter().find(|i| Some(&i.id) == session.intent.as_ref());
    let body = match (session.status.as_ref(), intent.map(|intent| intent.status.as_ref())) {
        ("open", _) => open(id, session.declined, &given("cancel_url")),
        ("expired", _) => {
            "<p class=\"alert\">This session has expired. Nothing was paid.</p>".to_owned()
        }
        (_, Some("processing")) => format!(
            "<p class=\"alert good\">The money is on its way.</p><form method=\"post\">{}{}</form>",
            button(&format!("/stripe/pay/{id}/succeed"), "main", "It arrives", "the bank pays"),
            button(&format!("/stripe/pay/{id}/fail"), "", "It does not", "the bank refuses"),
        ),
        (_, Some("succeeded")) => format!(
            "<p class=\"alert good\">Paid.</p><a href=\"{}\">Back to the shop</a>",
            given("success_url").replace("{CHECKOUT_SESSION_ID}", id)
        ),
        _ => "<p class=\"alert\">The money did not come.</p>".to_owned(),
    };
    let body = format!(
        "<h1>Pay by card</h1><p class=\"total\">{}</p><table>{rows}</table>{body}\
         <p class=\"note\">Session {}, for {}</p>",
        escaped(&total),
        escaped(id),
        given("client_reference_id"),
    );
    page(status, BRAND, &format!("Pay {total}"), &body)
}

fn open(id: &str, declined: u32, back: &str) -> String {
    let to = |button: &str| format!("/stripe/pay/{id}/{button}");
    let alert = match declined {
        0 => "",
        _ => "<p class=\"alert\" role=\"alert\">The card was declined. Nothing was paid.</p>",
    };
    let back = match back {
        "" => String::new(),
        back => format!("<p><a href=\"{back}\">Back to the shop without paying</a></p>"),
    };
    format!(
        "{alert}<form method=\"post\">{}{}{}</form>{back}",
        button(&to("pay"), "main", "Pay", "the money is there at once"),
        button(&to("decline"), "", "Decline", "the bank refuses the card"),
        button(&to("pay-later"), "", "Pay later", "through, but the money comes later or never"),
    )
}

fn row(line: &Value, currency: &str) -> String {
    let quantity = line["quantity"].as_i64().unwrap_or_default();
    let unit = line["price_data"]["unit_amount"].as_i64().unwrap_or_default();
    let name = line["price_data"]["product_data"]["name"].as_str().unwrap_or_default();
    format!(
        "<tr><td>{}<small>{quantity} × {}</small></td><td>{}</td></tr>",
        escaped(name),
        money(unit, currency),
        money(unit * quantity, currency)
    )
}
