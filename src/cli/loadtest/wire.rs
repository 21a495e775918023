//! Requests as they go out.

use std::io::Write;
use std::rc::Rc;

use super::desk::{Action, Stays};
use super::skus::Skus;
use super::target::Target;

/// How long an abandoned hold is made for, in seconds.
const MOMENT_S: u32 = 2;

/// Below which the stock of a SKU is.
const STOCK: &str = "/inventory/";
/// Where the first page of all products is.
const LIST: &str = "/products";

/// What requests are made of; the heads are written once.
#[derive(Debug)]
pub(super) struct Wire {
    reserve: String,
    confirm: String,
    cancel: String,
    target: Target,
    token: String,
    skus: Rc<Skus>,
    buyers: String,
    /// What an order of a product without a price is to cost.
    pub(super) total_amount: Option<&'static str>,
}

impl Wire {
    pub(super) fn new(target: &Target, token: &str, skus: &Rc<Skus>, buyers: &str) -> Self {
        let Target { authority, prefix, .. } = target;
        let post = |path: &str| {
            format!(
                "POST {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\n\
                 Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Content-Length: "
            )
        };
        Self {
            reserve: post("/inventory/reserve"),
            confirm: post("/checkout/confirm"),
            cancel: post("/checkout/cancel"),
            target: target.clone(),
            token: token.to_owned(),
            skus: Rc::clone(skus),
            buyers: buyers.to_owned(),
            total_amount: None,
        }
    }

    /// Where requests go.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A GET of a path below the API.
    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_get(path, "", &mut out);
        out
    }

    /// A GET of the stock of a SKU.
    pub(super) fn get_stock(&self, sku: &str) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_get(STOCK, sku, &mut out);
        out
    }

    fn write_get(&self, folder: &str, name: &str, out: &mut Vec<u8>) {
        let Self { target: Target { authority, prefix, .. }, token, .. } = self;
        push(
            out,
            format_args!(
                "GET {prefix}{folder}{name} HTTP/1.1\r\nHost: {authority}\r\n\
                 Authorization: Bearer {token}\r\n\r\n"
            ),
        );
    }

    /// Writes a request over whatever `out` held; `body` is room to work in.
    pub(super) fn write(&self, action: &Action, out: &mut Vec<u8>, body: &mut Vec<u8>) {
        out.clear();
        body.clear();
        let head = match action {
            Action::Look(number) => return self.write_get(STOCK, self.skus.of(*number), out),
            Action::List => return self.write_get(LIST, "", out),
            Action::Reserve { buyer, stays, .. } => {
                let (sku, buyers) = (self.skus.of(*buyer), &self.buyers);
                push(
                    body,
                    format_args!(
                        "{{\"sku\":\"{sku}\",\"quantity\":1,\"user_id\":\"{buyers}{buyer}\""
                    ),
                );
                if *stays == Stays::AMoment {
                    push(body, format_args!(",\"ttl_seconds\":{MOMENT_S}"));
                }
                &self.reserve
            }
            Action::Confirm(hold) => {
                push(body, format_args!("{{\"reservation_id\":\"{}\"", hold.id));
                if let Some(total) = self.total_amount {
                    push(body, format_args!(",\"total_amount\":\"{total}\""));
                }
                &self.confirm
            }
            Action::Cancel(hold) => {
                push(body, format_args!("{{\"reservation_id\":\"{}\"", hold.id));
                &self.cancel
            }
        };
        body.push(b'}');
        out.extend_from_slice(head.as_bytes());
        push(out, format_args!("{}\r\n\r\n", body.len()));
        out.extend_from_slice(body);
    }
}

fn push(bytes: &mut Vec<u8>, more: std::fmt::Arguments<'_>) {
    // Writing to a vector cannot fail.
    let _ = bytes.write_fmt(more);
}

#[cfg(test)]
mod tests {
    use super::super::target::Owned;
    use super::*;

    #[test]
    fn a_request_is_whole() {
        let target = Target::find("http://127.0.0.1:80", Owned::ThisMachineOnly).unwrap();
        let skus = Rc::new(Skus::new(&"A-1".parse().unwrap(), None).unwrap());
        let wire = Wire::new(&target, "t", &skus, "lt-");
        let (mut out, mut body) = (Vec::new(), Vec::new());
        let stays = Stays::AMoment;
        wire.write(&Action::Reserve { buyer: 3, stays, standing: None }, &mut out, &mut body);
        let text = String::from_utf8(out.clone()).unwrap();
        let expected = "POST /api/inventory/reserve HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\
             Authorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\r\n\
             {\"sku\":\"A-1\",\"quantity\":1,\"user_id\":\"lt-3\",\"ttl_seconds\":2}";
        assert_eq!(text, expected);
        wire.write(&Action::Look(1), &mut out, &mut body);
        assert_eq!(out, wire.get_stock("A-1"));
    }
}
