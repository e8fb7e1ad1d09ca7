//! Shopify's own library on the other side of the signature. `STOREHAND_TEST_SHOPIFY_API` names the folder whose
//! `node_modules` hold it; `make test` puts it there.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;
use storehand::domain::{Delivery, Refused, Secret, Secrets};
use storehand::shops;
use storehand::shops::signature::sign_shopify;

use super::{SHOPIFY_SECRET, headers, received};

#[derive(Deserialize)]
struct Said {
    valid: bool,
    hmac: String,
}

#[test]
fn shopifys_own_library_signs_as_we_do() {
    let Some(folder) = std::env::var_os("STOREHAND_TEST_SHOPIFY_API") else {
        eprintln!("SKIPPED: Shopify's own library: STOREHAND_TEST_SHOPIFY_API does not say where it is");
        return;
    };
    let secret = Secret::new(SHOPIFY_SECRET);
    let order = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deliveries/shopify/orders.create.json"),
    );
    let long = "x".repeat(1 << 20);
    let bodies = ["{\"foo\": \"bar\"}", "", "{\"名\": \"杯子\", \"é\": \"🫖\"}", &order.expect("a delivery"), &long];
    let deliveries = bodies.iter().map(|body| json!({ "body": body, "hmac": sign_shopify(&secret, body.as_bytes()) }));
    let mut all: Vec<_> = deliveries.collect();
    // Somebody else's signature.
    all.push(json!({ "body": bodies[0], "hmac": sign_shopify(&Secret::new("another"), bodies[0].as_bytes()) }));

    let mut peer = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shopify_api/peer.mjs"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let asked = json!({ "secret": SHOPIFY_SECRET, "deliveries": all }).to_string();
    peer.stdin.take().expect("a pipe").write_all(asked.as_bytes()).expect("asked");
    let output = peer.wait_with_output().expect("an answer");
    let said: Vec<Said> = serde_json::from_slice(&output.stdout).expect("an answer");

    let (other, said) = said.split_last().expect("answers");
    assert!(!other.valid, "it refuses what another secret signed");
    for (body, said) in bodies.iter().zip(said) {
        // A body of nothing has no signature to its library.
        assert!(said.valid || body.is_empty(), "it accepts what we sign: {} bytes", body.len());
        assert_eq!(said.hmac, sign_shopify(&secret, body.as_bytes()), "both sign alike: {} bytes", body.len());
        let headers = headers(&[
            ("x-shopify-topic", "orders/create"),
            ("x-shopify-webhook-id", "w-1"),
            ("x-shopify-shop-domain", "acme.myshopify.com"),
            ("x-shopify-hmac-sha256", &said.hmac),
        ]);
        let delivery =
            Delivery { headers: &headers, query: &[], method: "POST", body: body.as_bytes(), received: received() };
        let source = shops::ALL.iter().find(|source| source.name() == "shopify").expect("a source");
        let taken = source.receive(delivery, &Secrets::new([secret.clone()]));
        assert!(!matches!(taken, Err(Refused::Signature { .. })), "we accept what it signs: {} bytes", body.len());
    }
}
