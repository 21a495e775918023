//! What bKash says: five shapes of an answer, of which HTTP 200 says nothing, and the members of a good one.

use serde_json::{Map, Value};

use crate::kernel::Money;
use crate::kernel::money::Amount;
use crate::payments::gateway::{Receipt, RefundStatus, Refunded, Standing};

/// An answer by its shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// Yes, and what goes with it.
    Yes(Map<String, Value>),
    /// No, by a code.
    No {
        /// As it came.
        code: String,
        /// In English.
        message: String,
    },
    /// The gateway before bKash speaks, not bKash: the call was not carried out, or nobody knows.
    Gateway(String),
}

/// Sorts an answer.
pub(super) fn sorted(body: Map<String, Value>) -> Said {
    let shapes = [
        ("errorCode", "errorMessage"),
        ("externalCode", "errorMessageEn"),
        ("internalCode", "errorMessageEn"),
    ];
    for (code, message) in shapes {
        if let Some(code) = code_of(&body, code) {
            let message = text(&body, message).unwrap_or_default().to_owned();
            return Said::No { code, message };
        }
    }
    match code_of(&body, "statusCode") {
        Some(code) if code == "0000" => Said::Yes(body),
        Some(code) => {
            let message = text(&body, "statusMessage").unwrap_or_default().to_owned();
            Said::No { code, message }
        }
        // Refunds of version 2 carry no code where they went well.
        None if body.contains_key("refundTrxId") || body.contains_key("refundTransactions") => {
            Said::Yes(body)
        }
        None => Said::Gateway(text(&body, "message").unwrap_or_default().to_owned()),
    }
}

/// How a payment stands; none if the answer cannot be read.
pub(super) fn standing(payment: &Map<String, Value>) -> Option<Standing> {
    match text(payment, "transactionStatus")? {
        "Completed" => receipt(payment).map(Standing::Paid),
        "Initiated" => Some(Standing::Open),
        _ => None,
    }
}

fn receipt(payment: &Map<String, Value>) -> Option<Receipt> {
    Some(Receipt {
        amount: amount(payment)?,
        // Execute and query name it differently.
        reference: text(payment, "merchantInvoiceNumber")
            .or_else(|| text(payment, "merchantInvoice"))
            .map(str::to_owned),
        intent: None,
        transaction: Some(text(payment, "trxID")?.to_owned()),
        mode_fits: true,
    })
}

/// `amount` beside `currency`: "500" and "500.00" are the same.
pub(super) fn amount(payment: &Map<String, Value>) -> Option<Money> {
    let amount: Amount = serde_json::from_value(payment.get("amount")?.clone()).ok()?;
    amount.in_currency(text(payment, "currency")?.parse().ok()?).ok()
}

/// A refund; none if the answer cannot be read.
pub(super) fn refunded(refund: &Map<String, Value>) -> Option<Refunded> {
    let status = match text(refund, "refundTransactionStatus")? {
        "Completed" => RefundStatus::Succeeded,
        "Failed" | "Declined" | "Cancelled" => RefundStatus::Failed,
        _ => RefundStatus::Pending,
    };
    Some(Refunded { id: text(refund, "refundTrxId")?.to_owned(), status })
}

/// The `signature` that callbacks of this payment carry: it stands in each of their URLs.
pub(super) fn callback_signature(created: &Map<String, Value>) -> Option<String> {
    let url = text(created, "successCallbackURL")?;
    let (_, query) = url.split_once('?')?;
    let given = query.split('&').find_map(|pair| pair.strip_prefix("signature="))?;
    (!given.is_empty() && given.len() <= 255).then(|| given.to_owned())
}

/// A member that is text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Codes are strings; a number is read as one all the same.
fn code_of(body: &Map<String, Value>, name: &str) -> Option<String> {
    match body.get(name)? {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn no(code: &str, message: &str) -> Said {
        Said::No { code: code.into(), message: message.into() }
    }

    #[test]
    fn errors_come_in_four_shapes() {
        for (body, said) in [
            (
                json!({ "statusCode": "2029", "statusMessage": "Duplicate" }),
                no("2029", "Duplicate"),
            ),
            (json!({ "errorCode": "2002", "errorMessage": "Invalid" }), no("2002", "Invalid")),
            (json!({ "errorCode": 503, "errorMessage": "Later" }), no("503", "Later")),
            (
                json!({ "internalCode": "refund_a", "externalCode": "2072",
                    "errorMessageEn": "Amount", "errorMessageBn": "…" }),
                no("2072", "Amount"),
            ),
            (
                json!({ "internalCode": "refund_a", "externalCode": null,
                    "errorMessageEn": "Amount" }),
                no("refund_a", "Amount"),
            ),
            (json!({ "message": "Unauthorized" }), Said::Gateway("Unauthorized".into())),
            (json!({}), Said::Gateway(String::new())),
        ] {
            assert_eq!(sorted(members(body.clone())), said, "{body}");
        }
    }

    #[test]
    fn a_yes_is_told_by_its_code_or_by_its_refund() {
        for body in [
            json!({ "statusCode": "0000", "paymentID": "TR0011" }),
            json!({ "refundTrxId": "X", "refundTransactionStatus": "Completed" }),
            json!({ "refundTransactions": [] }),
        ] {
            assert_eq!(sorted(members(body.clone())), Said::Yes(members(body)));
        }
        let both = json!({ "statusCode": "0000", "errorCode": "2062", "errorMessage": "done" });
        assert_eq!(sorted(members(both)), no("2062", "done"));
    }

    fn payment(more: Value) -> Map<String, Value> {
        let mut payment = members(json!({
            "statusCode": "0000", "transactionStatus": "Completed", "trxID": "BFD90JRLST",
            "amount": "500", "currency": "BDT", "merchantInvoiceNumber": "ours",
        }));
        payment.extend(members(more));
        payment
    }

    #[test]
    fn money_is_read_as_whole_minor_units() {
        for (amount, minor) in [
            (json!("500"), 50_000),
            (json!("500.00"), 50_000),
            (json!("500.5"), 50_050),
            (json!(500), 50_000),
            (json!("0.01"), 1),
        ] {
            let payment = payment(json!({ "amount": amount }));
            let Some(Standing::Paid(receipt)) = standing(&payment) else { panic!("{amount}") };
            assert_eq!(
                (receipt.amount.minor, receipt.transaction.as_deref()),
                (minor, Some("BFD90JRLST"))
            );
        }
        for odd in [json!("500.001"), json!("-1"), json!(""), json!("5e2"), json!(null), json!([])]
        {
            assert_eq!(standing(&payment(json!({ "amount": odd }))), None, "{odd}");
        }
    }

    #[test]
    fn both_names_of_the_invoice_are_read() {
        let queried = json!({ "merchantInvoiceNumber": null, "merchantInvoice": "theirs" });
        for (payment, reference) in [(payment(json!({})), "ours"), (payment(queried), "theirs")] {
            let Some(Standing::Paid(receipt)) = standing(&payment) else { panic!("not paid") };
            assert_eq!(receipt.reference.as_deref(), Some(reference));
        }
    }

    #[test]
    fn only_completed_with_a_transaction_is_paid() {
        let initiated = json!({ "transactionStatus": "Initiated" });
        assert_eq!(standing(&payment(initiated)), Some(Standing::Open));
        for odd in [
            json!({ "transactionStatus": "completed" }),
            json!({ "transactionStatus": null }),
            json!({ "trxID": null }),
            json!({ "currency": "Taka" }),
        ] {
            assert_eq!(standing(&payment(odd.clone())), None, "{odd}");
        }
    }

    #[test]
    fn refunds_and_callbacks_are_read() {
        let refund = json!({ "refundTrxId": "R1", "refundTransactionStatus": "Completed" });
        let done = Refunded { id: "R1".into(), status: RefundStatus::Succeeded };
        assert_eq!(refunded(&members(refund)), Some(done));
        assert_eq!(refunded(&members(json!({ "refundTrxId": "R1" }))), None);
        let url = "https://shop.example.org/back?paymentID=TR1&status=success&signature=aB3x&apiVersion=1.2.0-beta/";
        let created = members(json!({ "successCallbackURL": url }));
        assert_eq!(callback_signature(&created).as_deref(), Some("aB3x"));
        assert_eq!(callback_signature(&members(json!({}))), None);
    }
}
