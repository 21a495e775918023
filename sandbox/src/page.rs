//! The look of the pages that a person pays on. They say on top that no money moves, and need nothing from elsewhere.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

const STYLE: &str = include_str!("page.css");

/// A page: its title, the brand of its head, and its body as HTML.
pub(crate) fn page(status: u16, brand: &str, title: &str, body: &str) -> HttpResponse {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} – sandbox</title><style>{STYLE}</style></head>\
         <body class=\"{brand}\"><p class=\"ribbon\" role=\"note\"><strong>Sandbox.</strong> \
         This is not {brand_name}. No money moves, and nothing you type leaves this machine.</p>\
         <main>{body}</main></body></html>\n",
        title = escaped(title),
        brand_name = if brand == "bkash" { "bKash" } else { "Stripe" },
    );
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK))
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"))
        .insert_header(("cache-control", "no-store"))
        .insert_header(("referrer-policy", "no-referrer"))
        .body(html)
}

/// Sends a browser elsewhere after a button.
pub(crate) fn see_other(url: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header(("location", url)).finish()
}

/// Text as HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// An amount for people.
pub(crate) fn money(minor: i64, currency: &str) -> String {
    let currency = currency.to_uppercase();
    if currency == "JPY" {
        return format!("{currency} {minor}");
    }
    format!("{currency} {}.{:02}", minor / 100, minor % 100)
}

/// A button that posts to an address below the page's own.
pub(crate) fn button(action: &str, class: &str, label: &str, hint: &str) -> String {
    format!(
        "<button class=\"{class}\" formaction=\"{}\">{}<small>{}</small></button>",
        escaped(action),
        escaped(label),
        escaped(hint)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escaped("<b>'\"&"), "&lt;b&gt;&#39;&quot;&amp;");
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        assert_eq!(money(1_999, "usd"), "USD 19.99");
        assert_eq!(money(5, "bdt"), "BDT 0.05");
        assert_eq!(money(500, "jpy"), "JPY 500");
    }
}
