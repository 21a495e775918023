//! What can go wrong on purpose, and when.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A call of one of the providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `POST /v1/checkout/sessions`
    StripeCreate,
    /// `GET /v1/checkout/sessions/{id}`
    StripeRetrieve,
    /// `POST /v1/checkout/sessions/{id}/expire`
    StripeExpire,
    /// `GET /v1/payment_intents/{id}`
    StripeIntent,
    /// `POST /v1/refunds`
    StripeRefund,
    /// `GET /v1/refunds`, `GET /v1/refunds/{id}`
    StripeRefunds,
    /// `GET /v1/events`, `GET /v1/events/{id}`
    StripeEvents,
    /// `…/token/grant`
    BkashGrant,
    /// `…/token/refresh`
    BkashRefresh,
    /// `…/create`
    BkashCreate,
    /// `…/execute`
    BkashExecute,
    /// `…/payment/status`
    BkashQuery,
    /// `…/general/searchTransaction`
    BkashSearch,
    /// `/v2/tokenized-checkout/refund/payment/transaction`
    BkashRefund,
    /// `/v2/tokenized-checkout/refund/payment/status`
    BkashRefundStatus,
    /// `…/payment/refund`, the first version
    BkashRefundV1,
}

/// What goes wrong with a call. Unless it says otherwise, what was asked is done all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The answer comes so much later.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Nothing is done; this is answered.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        body: Value,
    },
    /// It is done; this is answered. Stripe keeps it under the idempotency key, as it keeps its own 500s.
    AnswerAfter {
        /// The status.
        status: u16,
        /// The body.
        body: Value,
    },
    /// Nothing is done; the connection breaks.
    Drop,
    /// The connection breaks when it is done.
    DropAfter,
    /// No answer ever comes.
    Hang,
    /// 200 without a body.
    Empty,
    /// A page of HTML.
    Garbage,
    /// The answer, ten megabytes long.
    Huge,
    /// Half of the answer, and then the connection breaks.
    Truncated,
    /// The answer is elsewhere.
    Redirect,
    /// bKash: `"500"` instead of `"500.00"`.
    WholeAmount,
    /// Stripe, creation: the buyer has paid and the event is delivered before the answer leaves.
    PaidBeforeAnswer,
}

impl Fault {
    /// Stripe's and bKash's answer to too many calls.
    #[must_use]
    pub fn too_many() -> Self {
        Self::Answer {
            status: 429,
            body: json!({
                "error": {
                    "type": "invalid_request_error", "code": "rate_limit",
                    "message": "Request rate limit exceeded.",
                },
                "message": "Too Many Requests",
            }),
        }
    }

    /// An error 500 although it was done.
    #[must_use]
    pub fn error_after_commit() -> Self {
        Self::AnswerAfter {
            status: 500,
            body: json!({ "error": { "type": "api_error", "message": "An error occurred." } }),
        }
    }

    /// bKash: nothing is done, and this is said.
    #[must_use]
    pub fn code(code: &str) -> Self {
        Self::Answer {
            status: 200,
            body: json!({ "statusCode": code, "statusMessage": "as it was switched" }),
        }
    }
}

/// The faults to come.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(Call, Fault, usize)>);

/// As good as for ever.
const ALWAYS: usize = usize::MAX;

impl Faults {
    /// For the next `times` calls; 0 is all.
    pub(crate) fn add(&mut self, call: Call, fault: Fault, times: usize) {
        self.0.push((call, fault, if times == 0 { ALWAYS } else { times }));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of this call, the earliest first.
    pub(crate) fn take(&mut self, call: Call) -> Option<Fault> {
        let place = self.0.iter().position(|(known, _, _)| *known == call)?;
        let (_, fault, left) = &mut self.0[place];
        let fault = fault.clone();
        if *left != ALWAYS {
            *left -= 1;
        }
        if *left == 0 {
            self.0.remove(place);
        }
        Some(fault)
    }

    pub(crate) fn shown(&self) -> Value {
        self.0
            .iter()
            .map(|(call, fault, left)| {
                let left = if *left == ALWAYS { Value::Null } else { (*left).into() };
                json!({ "call": call, "fault": fault, "left": left })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_as_often_as_they_were_asked_for() {
        let mut faults = Faults::default();
        faults.add(Call::BkashCreate, Fault::Empty, 2);
        faults.add(Call::BkashCreate, Fault::Drop, 0);
        faults.add(Call::BkashQuery, Fault::Hang, 1);
        let taken = std::array::from_fn(|_| faults.take(Call::BkashCreate));
        let expected = [Fault::Empty, Fault::Empty, Fault::Drop, Fault::Drop].map(Some);
        assert_eq!(taken, expected);
        assert_eq!(faults.take(Call::BkashExecute), None);
        faults.clear();
        assert_eq!(faults.take(Call::BkashQuery), None);
    }
}
