//! Payments: Initiated until somebody executes what a customer released; then Completed, once.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::refunds::Refund;
use super::{amount, code, minor, only, text, time};
use crate::serve::Reply;
use crate::world::{State, World, random};

const LIFE_MS: i64 = 24 * 60 * 60 * 1_000;
/// The same wallet and amount within this time is taken for a mistake.
const REPEAT_MS: i64 = 120 * 1_000;
const FIELDS: [&str; 7] = [
    "mode",
    "payerReference",
    "callbackURL",
    "amount",
    "currency",
    "intent",
    "merchantInvoiceNumber",
];

/// What a customer does on the page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Types PIN and code: the money may be taken, from this wallet or from one of its own.
    Success {
        /// Number of the wallet.
        wallet: Option<String>,
    },
    /// Has too little money.
    Failure,
    /// Gives up.
    Cancel,
}

/// A payment.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) id: String,
    pub(crate) minor: i64,
    pub(crate) refunds: Vec<Refund>,
    pub(crate) transaction: Option<String>,
    pub(crate) invoice: String,
    pub(crate) wallet: Option<String>,
    payer: String,
    callback: String,
    signature: String,
    created_ms: i64,
    executed_ms: Option<i64>,
}

impl Payment {
    fn callback(&self, status: &str) -> String {
        let joint = if self.callback.contains('?') { '&' } else { '?' };
        format!(
            "{}{joint}paymentID={}&status={status}&signature={}&apiVersion=1.2.0-beta/",
            self.callback, self.id, self.signature
        )
    }

    fn status(&self) -> &'static str {
        if self.transaction.is_some() { "Completed" } else { "Initiated" }
    }
}

/// `create`
pub(crate) fn create(state: &mut State, given: &Map<String, Value>) -> Reply {
    match made(state, given) {
        Ok(body) => Reply::ok(body),
        Err(refused) => refused,
    }
}

fn made(state: &mut State, given: &Map<String, Value>) -> Result<Value, Reply> {
    only(given, &FIELDS)?;
    if let Some(missing) = FIELDS.iter().find(|name| text(given, name).is_empty()) {
        return Err(code("2065", &format!("Mandatory field missing: {missing}")));
    }
    let payer = text(given, "payerReference");
    let callback = text(given, "callbackURL");
    let invoice = text(given, "merchantInvoiceNumber");
    let is_url = callback.starts_with("https://") || callback.starts_with("http://");
    let plain = |text: &str| text.len() <= 255 && !text.contains(['<', '>', '&']);
    let used = state.bkash.payments.iter().any(|payment| payment.invoice == invoice);
    let price = minor(text(given, "amount"));
    for (holds, number, message) in [
        (text(given, "mode") == "0011", "2063", "Invalid mode"),
        (plain(payer), "2048", "Invalid payer reference"),
        (is_url && callback.len() <= 2_048, "2049", "Invalid callback URL"),
        (price.is_some(), "2006", "Invalid amount"),
        (text(given, "currency") == "BDT", "2007", "Invalid currency"),
        (text(given, "intent") == "sale", "2008", "Invalid intent"),
        (plain(invoice) && !used, "2031", "Invalid merchant invoice number"),
    ] {
        if !holds {
            return Err(code(number, message));
        }
    }
    let payment = Payment {
        id: format!("TR0011{}", random(16)),
        minor: price.unwrap_or_default(),
        refunds: Vec::new(),
        transaction: None,
        invoice: invoice.to_owned(),
        wallet: None,
        payer: payer.to_owned(),
        callback: callback.to_owned(),
        signature: random(10),
        created_ms: state.clock.now_ms(),
        executed_ms: None,
    };
    let body = json!({
        "statusCode": "0000", "statusMessage": "Successful", "paymentID": payment.id,
        "bkashURL": format!("{}/bkash/pay/{}", state.url, payment.id),
        "callbackURL": payment.callback,
        "successCallbackURL": payment.callback("success"),
        "failureCallbackURL": payment.callback("failure"),
        "cancelledCallbackURL": payment.callback("cancel"),
        "amount": amount(payment.minor), "intent": "sale", "currency": "BDT",
        "paymentCreateTime": time(payment.created_ms), "transactionStatus": "Initiated",
        "merchantInvoiceNumber": payment.invoice,
    });
    let body = state.with_tampered(&payment.invoice, body);
    state.bkash.payments.push(payment);
    Ok(body)
}

/// `execute`
pub(crate) fn execute(state: &mut State, given: &Map<String, Value>) -> Reply {
    if let Err(refused) = only(given, &["paymentID"]) {
        return refused;
    }
    let now = state.clock.now_ms();
    let id = text(given, "paymentID");
    let payments = &state.bkash.payments;
    let Some(payment) = payments.iter().find(|payment| payment.id == id) else {
        return code("2002", "Invalid Payment ID");
    };
    if payment.transaction.is_some() {
        return code("2062", "The payment has already been completed");
    }
    let dead = now >= payment.created_ms + LIFE_MS;
    let Some(wallet) = payment.wallet.clone().filter(|_| !dead) else {
        return code("2056", "Invalid Payment State");
    };
    let repeats = payments.iter().any(|other| {
        other.wallet.as_ref() == Some(&wallet)
            && other.minor == payment.minor
            && other.executed_ms.is_some_and(|executed| now < executed + REPEAT_MS)
    });
    if repeats {
        return code("2029", "Duplicate for all transactions");
    }
    let place = payments.iter().position(|payment| payment.id == id).unwrap_or_default();
    let payment = &mut state.bkash.payments[place];
    payment.transaction = Some(random(10).to_uppercase());
    payment.executed_ms = Some(now);
    let body = json!({
        "statusCode": "0000", "statusMessage": "Successful", "paymentID": payment.id,
        "trxID": payment.transaction, "transactionStatus": "Completed",
        "amount": amount(payment.minor), "currency": "BDT", "intent": "sale",
        "paymentExecuteTime": time(now), "merchantInvoiceNumber": payment.invoice,
        "payerReference": payment.payer, "customerMsisdn": wallet, "payerAccount": wallet,
    });
    Reply::ok(state.with_tampered(id, body))
}

/// `payment/status`
pub(crate) fn query(state: &mut State, given: &Map<String, Value>) -> Reply {
    if let Err(refused) = only(given, &["paymentID"]) {
        return refused;
    }
    match state.bkash_shown(text(given, "paymentID")) {
        Some(shown) => Reply::ok(shown),
        None => code("2002", "Invalid Payment ID"),
    }
}

/// `general/searchTransaction`
pub(crate) fn search(state: &mut State, given: &Map<String, Value>) -> Reply {
    if let Err(refused) = only(given, &["trxID"]) {
        return refused;
    }
    let wanted = text(given, "trxID");
    let mut payments = state.bkash.payments.iter();
    let Some(payment) = payments.find(|payment| payment.transaction.as_deref() == Some(wanted))
    else {
        return code("2077", "Invalid Transaction ID");
    };
    Reply::ok(json!({
        "statusCode": "0000", "statusMessage": "Successful", "trxID": wanted,
        "transactionStatus": "Completed", "amount": amount(payment.minor), "currency": "BDT",
        "transactionType": "bKash Tokenized Checkout via API",
        "completedTime": time(payment.executed_ms.unwrap_or_default()),
        "initiationTime": time(payment.created_ms), "customerMsisdn": payment.wallet,
    }))
}

/// Does what a customer does; answers where they go.
pub(crate) fn wish(world: &World, id: &str, wish: &Wish) -> Result<String, String> {
    let mut state = world.lock();
    let now = state.clock.now_ms();
    let payment = state.bkash.payments.iter_mut().find(|payment| payment.id == id);
    let payment = payment.ok_or_else(|| format!("no payment {id}"))?;
    if payment.transaction.is_some() || now >= payment.created_ms + LIFE_MS {
        return Err("this payment is over".to_owned());
    }
    match wish {
        Wish::Success { wallet } => {
            let own = || format!("017{:08}", rand::random_range(0..100_000_000));
            payment.wallet = Some(wallet.clone().unwrap_or_else(own));
            Ok(payment.callback("success"))
        }
        Wish::Failure => Ok(payment.callback("failure")),
        Wish::Cancel => Ok(payment.callback("cancel")),
    }
}

impl State {
    /// A payment as a query shows it.
    pub(crate) fn bkash_shown(&self, id: &str) -> Option<Value> {
        let payment = self.bkash.payments.iter().find(|payment| payment.id == id)?;
        let verified = if payment.wallet.is_some() { "Complete" } else { "Incomplete" };
        let mut shown = json!({
            "statusCode": "0000", "statusMessage": "Successful", "paymentID": payment.id,
            "mode": "0011", "paymentCreateTime": time(payment.created_ms),
            "amount": amount(payment.minor), "currency": "BDT", "intent": "sale",
            // The query has another name for it than all other calls.
            "merchantInvoice": payment.invoice, "payerReference": payment.payer,
            "transactionStatus": payment.status(), "verificationStatus": verified,
        });
        if let Some(transaction) = &payment.transaction {
            shown["trxID"] = transaction.as_str().into();
            shown["customerMsisdn"] = payment.wallet.clone().into();
            shown["paymentExecuteTime"] = time(payment.executed_ms.unwrap_or_default()).into();
        }
        Some(self.with_tampered(id, shown))
    }
}
