//! Refunds of version 2, whose errors have a shape of their own; and the first version, which allows one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{amount, code, minor, text, time};
use crate::serve::Reply;
use crate::world::{State, random};

const MOST: usize = 10;
const LONGEST: usize = 255;

/// A refund.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Refund {
    transaction: String,
    minor: i64,
    at_ms: i64,
}

/// Why there is none: code and words.
type Refused = (&'static str, &'static str);

/// `/v2/tokenized-checkout/refund/payment/transaction`
pub(crate) fn create(state: &mut State, given: &Map<String, Value>) -> Reply {
    let names = ["paymentId", "trxId", "refundAmount", "sku", "reason"];
    let made = only(given, &names).and_then(|()| {
        let ids = (text(given, "paymentId"), text(given, "trxId"));
        made(state, ids, text(given, "refundAmount"), given)
    });
    match made {
        Ok(place) => {
            let payment = &state.bkash.payments[place];
            let mut shown = payment.refunds.last().map(Refund::shown).unwrap_or_default();
            shown["originalTrxId"] = payment.transaction.clone().into();
            shown["originalTrxAmount"] = amount(payment.minor).into();
            Reply::ok(shown)
        }
        Err(refused) => second_version(refused),
    }
}

/// `/v2/tokenized-checkout/refund/payment/status`
pub(crate) fn status(state: &mut State, given: &Map<String, Value>) -> Reply {
    let ids = (text(given, "paymentId"), text(given, "trxId"));
    let found = only(given, &["paymentId", "trxId"]).and_then(|()| place(state, ids));
    match found {
        Ok(place) => {
            let payment = &state.bkash.payments[place];
            let refunds: Vec<Value> = payment.refunds.iter().map(Refund::shown).collect();
            Reply::ok(json!({
                "originalTrxId": payment.transaction,
                "originalTrxAmount": amount(payment.minor),
                "originalTrxCompletedTime": time(0),
                "refundTransactions": refunds,
            }))
        }
        Err(refused) => second_version(refused),
    }
}

/// `…/payment/refund`: with an amount a refund, without one its status.
pub(crate) fn first_version(state: &mut State, given: &Map<String, Value>) -> Reply {
    let ids = (text(given, "paymentID"), text(given, "trxID"));
    let asks = given.contains_key("amount");
    let names = ["paymentID", "trxID", "amount", "sku", "reason"];
    let names = if asks { &names[..] } else { &names[..2] };
    let found = only(given, names).and_then(|()| place(state, ids));
    let found = found.and_then(|place| match (asks, state.bkash.payments[place].refunds.first()) {
        (true, Some(_)) => Err(("2074", "The transaction cannot be reversed again")),
        (true, None) => made(state, ids, text(given, "amount"), given),
        (false, _) => Ok(place),
    });
    match found.map(|place| &state.bkash.payments[place]) {
        Ok(payment) => {
            let mut body = json!({ "statusCode": "0000", "statusMessage": "Successful" });
            if let Some(refund) = payment.refunds.first() {
                body["originalTrxID"] = payment.transaction.clone().into();
                body["refundTrxID"] = refund.transaction.as_str().into();
                body["transactionStatus"] = "Completed".into();
                body["amount"] = amount(refund.minor).into();
                body["currency"] = "BDT".into();
                body["completedTime"] = time(refund.at_ms).into();
            }
            Reply::ok(body)
        }
        Err((number, message)) => code(number, message),
    }
}

impl Refund {
    fn shown(&self) -> Value {
        let done = time(self.at_ms);
        json!({
            "refundTrxId": self.transaction, "refundTransactionStatus": "Completed",
            "refundAmount": amount(self.minor), "currency": "BDT",
            // Here the zone is left out.
            "completedTime": done.split(" GMT").next(),
        })
    }
}

fn only(given: &Map<String, Value>, names: &[&str]) -> Result<(), Refused> {
    let known = given.keys().all(|name| names.contains(&name.as_str()));
    if known { Ok(()) } else { Err(("2025", "Invalid request body")) }
}

/// The payment that was completed with this transaction.
fn place(state: &State, (payment, transaction): (&str, &str)) -> Result<usize, Refused> {
    let found = state.bkash.payments.iter().position(|known| known.id == payment);
    let place = found.ok_or(("2002", "Invalid Payment ID"))?;
    match state.bkash.payments[place].transaction.as_deref() {
        None => Err(("2127", "The transaction is not completed")),
        Some(known) if known == transaction => Ok(place),
        Some(_) => Err(("2077", "Invalid Transaction ID")),
    }
}

fn made(
    state: &mut State,
    ids: (&str, &str),
    refund_amount: &str,
    given: &Map<String, Value>,
) -> Result<usize, Refused> {
    for (name, code) in [("sku", "2073"), ("reason", "2076")] {
        if !(1..=LONGEST).contains(&text(given, name).len()) {
            return Err((code, "SKU and reason are 1 to 255 characters"));
        }
    }
    let place = place(state, ids)?;
    let at_ms = state.clock.now_ms();
    let payment = &mut state.bkash.payments[place];
    let back: i64 = payment.refunds.iter().map(|refund| refund.minor).sum();
    let minor = minor(refund_amount).filter(|minor| back + minor <= payment.minor);
    let minor = minor.ok_or(("2072", "Invalid refund amount"))?;
    if payment.refunds.len() == MOST {
        return Err(("2074", "The transaction cannot be refunded any more"));
    }
    payment.refunds.push(Refund { transaction: random(10).to_uppercase(), minor, at_ms });
    Ok(place)
}

fn second_version((code, message): Refused) -> Reply {
    let body = json!({
        "internalCode": format!("refund_{code}"), "externalCode": code,
        "errorMessageEn": message, "errorMessageBn": "অনুরোধটি সম্পন্ন করা যায়নি",
    });
    Reply::new(400, body)
}
