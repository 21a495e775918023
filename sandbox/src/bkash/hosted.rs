//! The page where a person pays by bKash.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};

use super::payments::{Wish, wish};
use crate::form;
use crate::page::{button, escaped, money, page, see_other};
use crate::world::World;

const BRAND: &str = "bkash";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/bkash/pay/{id}", web::get().to(show))
        .route("/bkash/pay/{id}/{button}", web::post().to(press));
}

async fn show(world: Data<World>, id: Path<String>) -> HttpResponse {
    shown(&world, &id, 200)
}

async fn press(world: Data<World>, path: Path<(String, String)>, body: Bytes) -> HttpResponse {
    let (id, button) = path.into_inner();
    let given = form::decoded(&String::from_utf8_lossy(&body)).unwrap_or_default();
    let wallet = given["wallet"].as_str().map(str::trim).unwrap_or_default();
    let number = wallet.len() == 11 && wallet.bytes().all(|byte| byte.is_ascii_digit());
    let wanted = match button.as_str() {
        "success" => Wish::Success { wallet: number.then(|| wallet.to_owned()) },
        "failure" => Wish::Failure,
        "cancel" => Wish::Cancel,
        _ => return shown(&world, &id, 404),
    };
    match wish(&world, &id, &wanted) {
        Ok(url) => see_other(&url),
        Err(_) => shown(&world, &id, 409),
    }
}

fn shown(world: &World, id: &str, status: u16) -> HttpResponse {
    let state = world.lock();
    let Some(payment) = state.bkash.payments.iter().find(|payment| payment.id == id) else {
        return page(404, BRAND, "No such payment", "<h1>There is no such payment.</h1>");
    };
    let total = money(payment.minor, "BDT");
    let to = |button: &str| format!("/bkash/pay/{id}/{button}");
    let body = match &payment.transaction {
        Some(transaction) => format!(
            "<p class=\"alert good\">Completed, as transaction {}.</p>",
            escaped(transaction)
        ),
        None => format!(
            "<form method=\"post\"><label>Number of the wallet\
             <input name=\"wallet\" inputmode=\"numeric\" pattern=\"[0-9]{{11}}\" \
             autocomplete=\"off\" value=\"017{:08}\"></label>{}{}{}</form>",
            rand::random_range(0..100_000_000),
            button(
                &to("success"),
                "main",
                "Success",
                "code and PIN are right: the shop may take it"
            ),
            button(&to("failure"), "", "Failure", "too little money in the wallet"),
            button(&to("cancel"), "", "Cancel", "back to the shop without paying"),
        ),
    };
    let body = format!(
        "<h1>Pay by bKash</h1><p class=\"total\">{}</p><table>\
         <tr><td>Invoice<small>{}</small></td><td></td></tr></table>{body}\
         <p class=\"note\">Payment {}</p>",
        escaped(&total),
        escaped(&payment.invoice),
        escaped(id)
    );
    page(status, BRAND, &format!("Pay {total}"), &body)
}
