//! The demo sale, and what to try with it.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::service::Service;

/// SKU and the body that makes the product.
const PRODUCTS: [(&str, &str); 4] = [
    (
        "DEMO-SNEAKER",
        r#"{"sku":"DEMO-SNEAKER","name":"Limited sneaker","category":"shoes","price":"129.00","total_stock":100,"max_per_buyer":2}"#,
    ),
    (
        "DEMO-TICKET",
        r#"{"sku":"DEMO-TICKET","name":"Concert ticket","category":"tickets","price":"45.00","total_stock":500,"max_per_buyer":6}"#,
    ),
    (
        "DEMO-LAPTOP",
        r#"{"sku":"DEMO-LAPTOP","name":"Refurbished laptop","category":"computers","price":"499.00","total_stock":5}"#,
    ),
    // bKash takes taka alone.
    (
        "DEMO-SAREE",
        r#"{"sku":"DEMO-SAREE","name":"Jamdani saree","category":"clothes","price":"3500.00","currency":"BDT","total_stock":20}"#,
    ),
];

/// Makes the products that are not there yet.
pub(super) fn seed(service: &Service) -> Result<()> {
    let token = service.token("admin", "demo-admin")?;
    for (sku, body) in PRODUCTS {
        let answer = service
            .post("/api/products", &token, body)
            .with_context(|| format!("cannot make {sku}"))?;
        let there = answer.status == 409 && answer.body.contains("sku_taken");
        if answer.status != 201 && !there {
            bail!("cannot make {sku}: {} {}", answer.status, answer.body);
        }
    }
    Ok(())
}

/// Where to look.
pub(super) fn places(
    url: &str,
    management: &str,
    sandbox: Option<&str>,
    folder: &Path,
    environment: &Path,
) -> String {
    let payments = match sandbox {
        Some(sandbox) => format!("{sandbox}  (a sandbox: no money moves)"),
        None => "with the keys of your environment".to_owned(),
    };
    format!(
        "
Holdfast is running.

  API           {url}/api
  console       {url}/admin
  ready?        {url}/readyz
  metrics       http://{management}/metrics
  payments      {payments}
  data, logs    {}
  for scripts   {}

Ctrl-C stops everything; the data stays (--fresh begins with empty stores).
",
        folder.display(),
        environment.display()
    )
}

/// What to try, ready to be pasted into another shell.
pub(super) fn lines_to_try(environment: &Path, sandbox: bool) -> String {
    let lines = lines(environment);
    if sandbox { format!("{lines}{PAYING}") } else { lines }
}

/// Needs what the lines before it have set.
const PAYING: &str = r#"
  # or pay for it: open the address that this answers, and choose there how it goes
  HOLD=$(curl -s -X POST "$HOLDFAST_URL/api/inventory/reserve" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"sku":"DEMO-TICKET","quantity":2}' | sed 's/.*"reservation_id":"\([^"]*\)".*/\1/')
  curl -s -X POST "$HOLDFAST_URL/api/payment/stripe/session" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d "{\"reservation_id\":\"$HOLD\",\"success_url\":\"$HOLDFAST_SANDBOX_URL/shop/paid\",\"cancel_url\":\"$HOLDFAST_SANDBOX_URL/shop/cancelled\"}" \
    | sed 's/.*"url":"\([^"]*\)".*/\1/'

  # or by bKash, in taka
  HOLD=$(curl -s -X POST "$HOLDFAST_URL/api/inventory/reserve" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"sku":"DEMO-SAREE","quantity":1}' | sed 's/.*"reservation_id":"\([^"]*\)".*/\1/')
  curl -s -X POST "$HOLDFAST_URL/api/payment/bkash/initiate" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d "{\"reservation_id\":\"$HOLD\",\"success_url\":\"$HOLDFAST_SANDBOX_URL/shop/paid\",\"cancel_url\":\"$HOLDFAST_SANDBOX_URL/shop/cancelled\"}" \
    | sed 's/.*"url":"\([^"]*\)".*/\1/'
"#;

fn lines(environment: &Path) -> String {
    let environment = environment.display();
    format!(
        r#"
What to try, in another shell:

  # settings of this run, and a token for a buyer
  set -a; . '{environment}'; set +a
  TOKEN=$("$HOLDFAST_BIN" token --role customer --sub alice --ttl 2h | tail -n 1)

  # an account for the console: open $HOLDFAST_URL/admin, and sign in with the password that this prints
  "$HOLDFAST_BIN" create-admin --username operator --email operator@example.org

  # what is left?
  curl -s "$HOLDFAST_URL/api/inventory/DEMO-SNEAKER"

  # hold one for ten minutes
  HOLD=$(curl -s -X POST "$HOLDFAST_URL/api/inventory/reserve" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{{"sku":"DEMO-SNEAKER","quantity":1}}' | sed 's/.*"reservation_id":"\([^"]*\)".*/\1/')
  curl -s "$HOLDFAST_URL/api/reservations/$HOLD" -H "Authorization: Bearer $TOKEN"

  # turn it into an order: repeating this line gives the same order
  curl -s -X POST "$HOLDFAST_URL/api/checkout/confirm" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d "{{\"reservation_id\":\"$HOLD\"}}"

  # or hold another product, and give it back
  HOLD=$(curl -s -X POST "$HOLDFAST_URL/api/inventory/reserve" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{{"sku":"DEMO-LAPTOP","ttl_seconds":30}}' | sed 's/.*"reservation_id":"\([^"]*\)".*/\1/')
  curl -s -X POST "$HOLDFAST_URL/api/checkout/cancel" \
    -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d "{{\"reservation_id\":\"$HOLD\"}}"
"#
    )
}
