//! The pages that a person pays on.

use holdfast_sandbox::Act;

use crate::{World, answer};

impl World {
    async fn page(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Presses a button; where the browser goes, or nowhere.
    async fn press(&self, path: &str) -> (u16, String) {
        let response = self.client.post(self.url(path)).send().await.unwrap();
        let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        (response.status().as_u16(), to.unwrap_or_default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_pay_by_stripe_in_every_way() {
    let world = World::new().await;
    let make = async || {
        let request = world.client.post(world.url("/v1/checkout/sessions")).form(&[
            ("mode", "payment"),
            ("success_url", "https://shop.example.org/ok?id={CHECKOUT_SESSION_ID}"),
            ("cancel_url", "https://shop.example.org/back?a=1&b=2"),
            ("line_items[0][quantity]", "2"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", "1999"),
            ("line_items[0][price_data][product_data][name]", "<script>alert(1)</script>"),
        ]);
        let request = request.bearer_auth(world.sandbox.keys().stripe_secret_key);
        let (_, session) = answer(request).await;
        let url = session["url"].as_str().unwrap().to_owned();
        (session["id"].as_str().unwrap().to_owned(), url.replace(&world.sandbox.url, ""))
    };
    let (id, path) = make().await;
    let (status, html) = world.page(&path).await;
    assert_eq!(status, 200);
    for part in [
        "<strong>Sandbox.</strong>",
        "USD 39.98",
        "2 × USD 19.99",
        "&lt;script&gt;",
        "href=\"https://shop.example.org/back?a=1&amp;b=2\"",
        &format!("formaction=\"{path}/pay\""),
        &format!("formaction=\"{path}/decline\""),
        &format!("formaction=\"{path}/pay-later\""),
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    assert!(!html.contains("<script>") && !html.contains("src="), "{html}");

    assert_eq!(world.press(&format!("{path}/decline")).await, (303, path.clone()));
    assert!(world.page(&path).await.1.contains("The card was declined"));
    let success = format!("https://shop.example.org/ok?id={id}");
    assert_eq!(world.press(&format!("{path}/pay")).await, (303, success));
    assert_eq!(world.sandbox.session(&id).unwrap()["payment_status"], "paid");
    assert!(world.page(&path).await.1.contains("Paid."));
    assert_eq!(world.press(&format!("{path}/pay")).await.0, 409);

    let (later, path) = make().await;
    assert_eq!(world.press(&format!("{path}/pay-later")).await.0, 303);
    assert!(world.page(&path).await.1.contains("on its way"));
    assert_eq!(world.press(&format!("{path}/fail")).await.0, 303);
    assert!(world.page(&path).await.1.contains("did not come"));
    assert!(world.sandbox.act(&later, Act::Succeed).is_err());
    assert_eq!(world.page("/stripe/pay/cs_test_x").await.0, 404);
    assert_eq!(world.press(&format!("{path}/steal")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_release_refuse_or_give_up_a_payment_of_bkash() {
    let world = World::new().await;
    let keys = world.sandbox.keys();
    let v1 = world.url("/v1.2.0-beta/tokenized/checkout");
    let grant = world.client.post(format!("{v1}/token/grant"));
    let grant =
        grant.header("username", keys.bkash_username).header("password", keys.bkash_password);
    let app =
        serde_json::json!({ "app_key": keys.bkash_app_key, "app_secret": keys.bkash_app_secret });
    let (_, granted) = answer(grant.json(&app)).await;
    let create = world.client.post(format!("{v1}/create")).header("x-app-key", keys.bkash_app_key);
    let create = create.header("authorization", granted["id_token"].as_str().unwrap());
    let body = serde_json::json!({
        "mode": "0011", "payerReference": "buyer-1", "amount": "500", "currency": "BDT",
        "callbackURL": "https://shop.example.org/back?x=1", "intent": "sale",
        "merchantInvoiceNumber": "i-1",
    });
    let (_, made) = answer(create.json(&body)).await;
    let id = made["paymentID"].as_str().unwrap();
    let path = made["bkashURL"].as_str().unwrap().replace(&world.sandbox.url, "");
    let (_, html) = world.page(&path).await;
    assert!(html.contains("BDT 500.00") && html.contains("This is not bKash"), "{html}");
    for (button, callback) in [
        ("failure", "failureCallbackURL"),
        ("cancel", "cancelledCallbackURL"),
        ("success", "successCallbackURL"),
    ] {
        let to = made[callback].as_str().unwrap().to_owned();
        assert!(to.starts_with("https://shop.example.org/back?x=1&paymentID="), "{to}");
        assert_eq!(world.press(&format!("{path}/{button}")).await, (303, to));
    }
    let shown = world.sandbox.bkash_payment(id).unwrap();
    assert_eq!(shown["transactionStatus"], "Initiated");
    assert_eq!(shown["verificationStatus"], "Complete");
    assert_eq!(world.page("/bkash/pay/x").await.0, 404);
    assert_eq!(world.press(&format!("{path}/steal")).await.0, 404);
    assert!(world.page("/shop/paid").await.1.contains("Back in the shop"));
    assert_eq!(world.page("/shop/cancelled").await.0, 200);
    assert_eq!(world.page("/shop/elsewhere").await.0, 404);
    let (status, html) = world.page("/").await;
    assert!(status == 200 && html.contains("/control/state"), "{html}");
}
