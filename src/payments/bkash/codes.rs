//! What bKash's codes mean. They are strings; one that is not known here is kept as it came.

use crate::payments::gateway::Cause;

/// What to make of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A no.
    No(Cause),
    /// Paid perhaps, perhaps by somebody else who asked: only a query tells.
    MaybePaid,
    /// Not now.
    Transient,
}

use Meaning::{MaybePaid, No, Transient};

const SETUP: Meaning = No(Cause::Setup);
const ORDER: Meaning = No(Cause::Order);
const CUSTOMER: Meaning = No(Cause::Customer);
const REPEAT: Meaning = No(Cause::Repeat);

const TABLE: [(&str, Meaning); 57] = [
    ("2001", SETUP),     // app key
    ("2002", SETUP),     // payment id
    ("2003", Transient), // process failed
    ("2006", ORDER),     // amount
    ("2007", ORDER),     // currency
    ("2008", SETUP),     // intent
    ("2010", CUSTOMER),  // OTP or PIN, up to 2019
    ("2011", CUSTOMER),
    ("2012", CUSTOMER),
    ("2013", CUSTOMER),
    ("2014", CUSTOMER),
    ("2015", CUSTOMER),
    ("2016", CUSTOMER),
    ("2017", CUSTOMER),
    ("2018", CUSTOMER),
    ("2019", CUSTOMER),
    ("2020", Transient), // system error
    ("2023", CUSTOMER),  // balance; of the merchant where a refund is asked for
    ("2024", Transient), // system error
    ("2025", SETUP),     // body
    ("2029", REPEAT),    // same wallet and amount a moment ago
    ("2031", SETUP),     // invoice
    ("2037", CUSTOMER),  // state of the account, up to 2041
    ("2038", CUSTOMER),
    ("2039", CUSTOMER),
    ("2040", CUSTOMER),
    ("2041", CUSTOMER),
    ("2048", SETUP),     // payer reference
    ("2049", SETUP),     // callback URL
    ("2056", MaybePaid), // state
    ("2057", CUSTOMER),  // wallet
    ("2058", CUSTOMER),
    ("2060", MaybePaid), // prerequisite
    ("2062", MaybePaid), // completed already
    ("2063", SETUP),     // mode
    ("2065", SETUP),     // missing field
    ("2068", MaybePaid), // completed already
    ("2071", SETUP),     // too old for a refund
    ("2072", SETUP),     // amount of a refund
    ("2073", SETUP),     // sku
    ("2074", SETUP),     // not reversible
    ("2075", SETUP),     // sku
    ("2076", SETUP),     // reason
    ("2077", SETUP),     // transaction
    ("2078", SETUP),     // reason
    ("2079", Transient), // token
    ("2080", SETUP),     // refund not permitted, up to 2082
    ("2081", SETUP),
    ("2082", SETUP),
    ("2116", MaybePaid), // completed already
    ("2117", MaybePaid),
    ("2119", MaybePaid),
    ("2127", SETUP),    // not completed, so nothing to refund
    ("503", Transient), // maintenance
    ("500", Transient),
    ("502", Transient),
    ("504", Transient),
];

/// The meaning of a code; none if nobody told us.
pub(super) fn meaning(code: &str) -> Option<Meaning> {
    TABLE.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once() {
        let codes: std::collections::BTreeSet<_> = TABLE.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), TABLE.len());
    }

    #[test]
    fn codes_mean_what_the_contract_says() {
        for (code, expected) in [
            ("2001", Some(SETUP)),
            ("2006", Some(ORDER)),
            ("2015", Some(CUSTOMER)),
            ("2023", Some(CUSTOMER)),
            ("2029", Some(REPEAT)),
            ("2056", Some(MaybePaid)),
            ("2117", Some(MaybePaid)),
            ("2024", Some(Transient)),
            ("9999", None),
            ("", None),
        ] {
            assert_eq!(meaning(code), expected, "{code}");
        }
    }
}
