//! Mail to buyers, taken by a real SMTP server.

use serde_json::json;
use xtask::servers::Mail;

use crate::app::{TestApp, until};
use crate::process::blocking;
use crate::receiver::act;

const FROM: (&str, &str) = ("HOLDFAST__MAIL__FROM", "The Shop <orders@shop.example>");

fn server() -> Mail {
    blocking(|| Mail::start().unwrap())
}

async fn with(mail: &Mail, more: &[(&str, &str)]) -> TestApp {
    let url = mail.url();
    let mut settings = vec![FROM, ("HOLDFAST__MAIL__SMTP_URL", url.as_str())];
    settings.extend(more);
    TestApp::start_with(&settings).await
}

/// Waits until the server has so many mails.
async fn has(mail: &Mail, count: usize) -> Vec<Letter> {
    until("mail arrives", || async { blocking(|| mail.mails().unwrap().len() >= count) }).await;
    blocking(|| mail.mails().unwrap()).iter().map(|raw| Letter::parse(raw)).collect()
}

/// A mail, decoded.
#[derive(Debug)]
struct Letter {
    head: Vec<(String, String)>,
    text: String,
    html: String,
}

impl Letter {
    fn parse(raw: &str) -> Self {
        let (head, body) = raw.split_once("\n\n").unwrap();
        let head = unfold(head);
        let kind = value(&head, "Content-Type").unwrap();
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let boundary = kind.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
        let parts: Vec<(String, String)> = body
            .split(&format!("--{boundary}"))
            .skip(1)
            .filter(|part| !part.starts_with("--"))
            .map(|part| {
                let (head, body) = part.trim_start().split_once("\n\n").unwrap();
                let head = unfold(head);
                let encoding = value(&head, "Content-Transfer-Encoding").unwrap_or_default();
                (value(&head, "Content-Type").unwrap(), decode(body, &encoding))
            })
            .collect();
        let [(plain, text), (rich, html)] = parts.as_slice() else { panic!("{parts:?}") };
        assert!(plain.starts_with("text/plain; charset=utf-8"), "{plain}");
        assert!(rich.starts_with("text/html; charset=utf-8"), "{rich}");
        Self { head, text: text.clone(), html: html.clone() }
    }

    fn header(&self, name: &str) -> String {
        value(&self.head, name).unwrap_or_default()
    }
}

fn unfold(head: &str) -> Vec<(String, String)> {
    let lines = head.replace("\n ", " ").replace("\n\t", " ");
    let split = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_owned(), value.to_owned()))
    };
    lines.lines().filter_map(split).collect()
}

fn value(head: &[(String, String)], name: &str) -> Option<String> {
    let mut found = head.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} twice: {head:?}");
    first
}

fn decode(body: &str, encoding: &str) -> String {
    if encoding != "quoted-printable" {
        assert!(["7bit", "8bit", ""].contains(&encoding), "{encoding}");
        return body.to_owned();
    }
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'=' {
            let digits = std::str::from_utf8(&behind[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_gets_a_confirmation_and_a_refund_notice() {
    let mail = server();
    let app = with(&mail, &[]).await;
    app.product("PHONE", 5, json!({ "name": "Phone <15> & Ünïcode", "price": "19.99" })).await;
    let hold = json!({ "sku": "PHONE", "quantity": 2, "email": "alice@buyer.example" });
    let held = app.post("/api/reserve", &app.customer("alice"), hold).await.expect(201);
    let order = app.checkout("alice", held["reservation_id"].as_str().unwrap()).await.expect(201);
    let id = order["id"].as_str().unwrap();
    let letters = has(&mail, 1).await;
    let letter = &letters[0];
    assert_eq!(letter.header("Subject"), format!("Your order {id}"));
    assert_eq!(letter.header("From"), "\"The Shop\" <orders@shop.example>");
    assert_eq!(letter.header("To"), "alice@buyer.example");
    assert_eq!(letter.header("X-RcptTo"), "alice@buyer.example");
    assert_eq!(letter.header("Auto-Submitted"), "auto-generated");
    assert!(letter.header("Message-ID").ends_with("@shop.example>"));
    assert!(!letter.header("Date").is_empty());
    assert!(letter.text.contains("2 x Phone <15> & Ünïcode (PHONE)  39.98 USD"), "{letter:#?}");
    assert!(letter.html.contains("Phone &lt;15&gt; &amp; Ünïcode (PHONE)"), "{letter:#?}");
    assert!(letter.text.contains("Total: 39.98 USD") && letter.html.contains("39.98 USD"));
    assert!(letter.text.contains(id) && letter.html.contains(id));

    // Once more, for a buyer who lost it.
    let path = format!("/api/admin/orders/{id}/resend");
    let mailed = json!({ "what": "mail" });
    let queued = app.post(&path, &app.admin(), mailed).await.expect(200);
    assert_eq!(queued["queued"], "order.paid");
    let letters = has(&mail, 2).await;
    assert_eq!(letters[1].text, letter.text);
    let nobody = app.post(&path, &app.admin(), json!({ "what": "webhook" })).await;
    nobody.expect_problem(409, "nothing_to_send");

    act(&app, &order, "refund").await;
    let letters = has(&mail, 3).await;
    let refund = format!("Refund of your order {id}");
    let refund = letters.iter().find(|letter| letter.header("Subject") == refund).unwrap();
    assert!(refund.text.contains("Refunded: 39.98 USD"), "{refund:#?}");
    assert_ne!(refund.header("Message-ID"), letter.header("Message-ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_buyer_is_written_to_at_the_address_of_the_account() {
    let mail = server();
    let app = with(&mail, &[]).await;
    app.product("PHONE", 5, json!({})).await;
    let account =
        json!({ "username": "bob", "email": "bob@buyer.example", "password": "a long password" });
    let session = app.post("/api/auth/register", "", account).await.expect(201);
    let bob = session["user"]["id"].as_str().unwrap();
    // The storefront names the buyer and no address.
    let hold = json!({ "sku": "PHONE", "user_id": bob });
    let held = app.post("/api/reserve", &app.service(), hold).await.expect(201);
    let checkout = json!({ "reservation_id": held["reservation_id"] });
    app.post("/api/checkout", &app.service(), checkout).await.expect(201);
    // One who has no address gets no mail, and holds up nobody.
    let held = app.held("nobody", "PHONE", 1).await;
    app.checkout("nobody", &held).await.expect(201);
    assert_eq!(has(&mail, 1).await[0].header("To"), "bob@buyer.example");
    until("nothing is left to send", || async {
        let left = "select (select count(*) from outbox) + (select count(*) from deliveries)";
        let postgres = app.stores.postgres().await;
        postgres.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert_eq!(blocking(|| mail.mails().unwrap().len()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_for_a_server_that_is_away() {
    let mut mail = server();
    let patient = [("HOLDFAST__OUTBOX__ATTEMPTS", "100"), ("HOLDFAST__MAIL__TIMEOUT", "1s")];
    let app = with(&mail, &patient).await;
    app.product("PHONE", 5, json!({})).await;
    blocking(|| mail.stop().unwrap());
    let hold = json!({ "sku": "PHONE", "email": "alice@buyer.example" });
    let held = app.post("/api/reserve", &app.customer("alice"), hold).await.expect(201);
    // The request does not wait for mail.
    app.checkout("alice", held["reservation_id"].as_str().unwrap()).await.expect(201);
    until("an attempt has failed", || async {
        let tried =
            "select count(*) from deliveries where last_error = 'the mail server did not take it'";
        let postgres = app.stores.postgres().await;
        postgres.query_one(tried, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    blocking(|| mail.restart().unwrap());
    assert_eq!(has(&mail, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_says_nothing_holds_no_mail_for_ever() {
    // The system takes the connection, and nobody speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let settings = [
        FROM,
        ("HOLDFAST__MAIL__SMTP_URL", url.as_str()),
        ("HOLDFAST__MAIL__TIMEOUT", "1s"),
        ("HOLDFAST__OUTBOX__ATTEMPTS", "1"),
    ];
    let app = TestApp::start_with(&settings).await;
    app.product("PHONE", 5, json!({})).await;
    let hold = json!({ "sku": "PHONE", "email": "alice@buyer.example" });
    let held = app.post("/api/reserve", &app.customer("alice"), hold).await.expect(201);
    app.checkout("alice", held["reservation_id"].as_str().unwrap()).await.expect(201);
    until("it is given up", || async {
        let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
        list["items"][0]["last_error"] == "the mail server did not answer in time"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_shop_or_a_buyer_writes_becomes_a_header() {
    let mail = server();
    let app = with(&mail, &[]).await;
    let evil = "Phone\r\nBcc: all@shop.example\r\n\r\n<script>alert(1)</script>";
    let product = json!({ "sku": "PHONE", "name": evil, "price": "1.00", "total_stock": 5 });
    let named = app.post("/api/products", &app.admin(), product).await;
    // Whether or not a name may have line breaks, the mail has none of them.
    if named.status != 201 {
        named.expect_problem(422, "invalid_field");
        app.product("PHONE", 5, json!({ "name": "Phone <script>alert(1)</script>" })).await;
        let spoilt = "update products set name = $1";
        app.stores.postgres().await.execute(spoilt, &[&evil]).await.unwrap();
    }
    for address in ["a@b\r\nBcc: c@d", "a@b\nBcc: c@d", "a@b>, <c@d", "a@b c@d"] {
        let hold = json!({ "sku": "PHONE", "email": address });
        let refused = app.post("/api/reserve", &app.customer("alice"), hold).await;
        refused.expect_problem(422, "invalid_field");
    }
    let hold = json!({ "sku": "PHONE", "email": "alice@buyer.example" });
    let held = app.post("/api/reserve", &app.customer("alice"), hold).await.expect(201);
    app.checkout("alice", held["reservation_id"].as_str().unwrap()).await.expect(201);
    let letters = has(&mail, 1).await;
    let letter = &letters[0];
    assert_eq!(
        (letter.header("Bcc"), letter.header("X-RcptTo")),
        ("".into(), "alice@buyer.example".into())
    );
    assert!(!letter.html.contains("<script>") && !letter.text.contains("\nBcc"), "{letter:#?}");
    assert!(letter.html.contains("&lt;script&gt;"), "{letter:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_nobody_takes_is_given_up_without_its_address() {
    // Nobody listens there.
    let nowhere = format!("smtp://127.0.0.1:{}", xtask::servers::free_port().unwrap());
    let settings = [FROM, ("HOLDFAST__MAIL__SMTP_URL", nowhere.as_str())];
    let app = TestApp::start_with(&settings).await;
    app.product("PHONE", 5, json!({})).await;
    let hold = json!({ "sku": "PHONE", "email": "alice@buyer.example" });
    let held = app.post("/api/reserve", &app.customer("alice"), hold).await.expect(201);
    app.checkout("alice", held["reservation_id"].as_str().unwrap()).await.expect(201);
    until("it is given up", || async {
        let list = app.get("/api/admin/dead-letters", &app.admin()).await.expect(200);
        let letter = &list["items"][0];
        assert!(!list.to_string().contains("alice"), "{list}");
        letter["kind"] == "mail" && letter["event"] == "order.paid" && letter["attempts"] == 4
    })
    .await;
}
