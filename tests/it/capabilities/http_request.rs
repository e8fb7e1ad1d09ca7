//! `http.request`: what it must not reach, and what comes of what it may.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use storehand::domain::{Records, Shop, Verdict};

use super::{attempt, capability, refused_with, shop};

/// A request: method, path, headers, body.
type Request = (Method, String, HeaderMap, String);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Request>>>);

impl Seen {
    fn all(&self) -> Vec<Request> {
        self.0.lock().expect("not poisoned").clone()
    }
}

async fn answer(State(seen): State<Seen>, method: Method, uri: Uri, headers: HeaderMap, body: String) -> Response {
    seen.0.lock().expect("not poisoned").push((method, uri.path().to_owned(), headers, body));
    match uri.path() {
        "/json" => ([("content-type", "application/json")], r#"{"queued":true}"#).into_response(),
        "/moved" => (StatusCode::FOUND, [("location", "/json")]).into_response(),
        "/missing" => (StatusCode::NOT_FOUND, "no such thing").into_response(),
        "/busy" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response(),
        "/broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "/long" => "x".repeat(300 << 10).into_response(),
        // Long, and without saying so beforehand.
        "/endless" => {
            let chunks = (0..1000).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 << 10])));
            Body::from_stream(tokio_stream::iter(chunks)).into_response()
        }
        // It begins to answer and breaks off.
        "/lost" => {
            let (send, chunks) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                let _ = send.send(Ok(Bytes::from_static(b"x"))).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
                let _ = send.send(Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))).await;
            });
            Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(chunks)).into_response()
        }
        _ => "hello".into_response(),
    }
}

/// A server on this machine, and a shop that may reach it.
async fn server() -> (Seen, String, Shop) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("it").to_string();
    let router = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (seen, host.clone(), Shop { private_hosts: vec![host], ..shop() })
}

async fn perform(shop: Shop, input: Json) -> Verdict {
    let attempt = attempt(shop, "order.created", Records::default(), vec![]);
    capability("http.request").perform(&attempt, &input).await
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_reached() {
    let (seen, host, _) = server().await;
    let port = host.rsplit(':').next().expect("a port");
    for address in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::1]",
        "0.0.0.0",
        "0",
        "[::]",
        "10.0.0.1",
        "172.16.5.5",
        "192.168.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.0.192",
        "240.0.0.1",
        "255.255.255.255",
        "１２７.0.0.1",
        "%31%32%37.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ip6-localhost",
    ] {
        for scheme in ["http", "https"] {
            let verdict = perform(shop(), json!({ "url": format!("{scheme}://{address}:{port}/json") })).await;
            // A name that this machine does not know leads nowhere, which is as good.
            if ["ip6-localhost", "localhost."].contains(&address) && matches!(verdict, Verdict::RetryAfter(..)) {
                continue;
            }
            let said = refused_with(&verdict, "address_refused");
            assert!(said.contains("private_hosts"), "{address}: {said}");
        }
    }
    assert!(seen.all().is_empty(), "nothing was reached");
}

#[tokio::test]
async fn an_allowed_host_is_allowed_with_its_port_alone() {
    let (seen, host, mut shop) = server().await;
    shop.private_hosts = vec!["127.0.0.1:1".into()];
    refused_with(&perform(shop, json!({ "url": format!("http://{host}/json") })).await, "address_refused");
    assert!(seen.all().is_empty());
}

#[tokio::test]
async fn an_answer_comes_back_as_text_and_json() {
    let (seen, host, shop) = server().await;
    let input = json!({
        "method": "POST", "url": format!("http://{host}/json"), "body": { "order": "1042" }, "secret": "warehouse",
        "headers": { "X-Shop": "acme" },
    });
    let answer = json!({ "status": 200, "body": "{\"queued\":true}", "json": { "queued": true } });
    assert_eq!(perform(shop, input).await, Verdict::Done(answer));
    let (method, _, headers, body) = seen.all().remove(0);
    assert_eq!((method, body.as_str()), (Method::POST, r#"{"order":"1042"}"#));
    for (name, value) in [
        ("authorization", "Bearer s3cret"),
        ("content-type", "application/json"),
        ("idempotency-key", "run_0000000000002/send"),
        ("x-shop", "acme"),
    ] {
        assert_eq!(headers.get(name).map(|value| value.to_str().expect("text")), Some(value), "{name}");
    }
}

#[tokio::test]
async fn what_came_of_it_depends_on_whether_it_writes() {
    let (seen, host, shop) = server().await;
    let shop = || Shop { private_hosts: shop.private_hosts.clone(), ..super::shop() };
    let ask = async |method: &str, path: &str| {
        perform(shop(), json!({ "method": method, "url": format!("http://{host}{path}") })).await
    };
    for method in ["GET", "POST"] {
        refused_with(&ask(method, "/missing").await, "http_status");
        let said = refused_with(&ask(method, "/moved").await, "http_status");
        assert!(said.contains("redirects are not followed"), "{said}");
        let busy = ask(method, "/busy").await;
        assert!(matches!(busy, Verdict::RetryAfter(Some(wait), _) if wait == Duration::from_secs(7)), "{busy:?}");
    }
    assert!(!seen.all().iter().any(|(_, path, ..)| path == "/json"), "the redirect was not followed");
    assert!(matches!(ask("GET", "/broken").await, Verdict::RetryAfter(..)));
    assert!(matches!(ask("POST", "/broken").await, Verdict::Unknown(_)));
    assert!(matches!(ask("GET", "/lost").await, Verdict::RetryAfter(..)));
    for path in ["/long", "/endless"] {
        refused_with(&ask("GET", path).await, "answer_unreadable");
        assert_eq!(ask("POST", path).await, Verdict::Done(json!({ "status": 200, "cut": true })), "it was done");
    }
    assert_eq!(ask("POST", "/lost").await, Verdict::Done(json!({ "status": 200, "cut": true })));

    // Nobody there: nothing can have happened. Somebody there who hangs up unheard: who knows.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").to_string();
    let nobody = Shop { private_hosts: vec![free.clone()], ..super::shop() };
    let verdict = perform(nobody, json!({ "method": "POST", "url": format!("http://{free}/") })).await;
    assert!(matches!(verdict, Verdict::RetryAfter(..)), "{verdict:?}");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let rude = listener.local_addr().expect("it").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.readable().await;
            drop(stream);
        }
    });
    let shop = Shop { private_hosts: vec![rude.clone()], ..super::shop() };
    let verdict = perform(shop, json!({ "method": "POST", "url": format!("http://{rude}/") })).await;
    assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
}

#[tokio::test]
async fn nothing_is_smuggled_and_nothing_leaks() {
    let (seen, host, shop) = server().await;
    let shop = || Shop { private_hosts: shop.private_hosts.clone(), ..super::shop() };
    let url = format!("http://{host}/json");
    for (input, said) in [
        (json!({ "url": "file:///etc/passwd" }), "https://"),
        (json!({ "url": "gopher://127.0.0.1/" }), "https://"),
        (json!({ "url": "not an address" }), "not an address"),
        (json!({ "url": format!("http://user:pass@{host}/") }), "secret"),
        (json!({ "url": url, "method": "TRACE" }), "method"),
        (json!({ "url": url, "headers": { "x\r\ny": "1" } }), "not the name"),
        (json!({ "url": url, "headers": { "x": "1\r\nHost: evil" } }), "may not stand"),
        (json!({ "url": url, "headers": { "Host": "evil" } }), "`host`"),
        (json!({ "url": url, "headers": { "Authorization": "Bearer x" } }), "`secret`"),
        (json!({ "url": url, "headers": { "Transfer-Encoding": "chunked" } }), "transfer-encoding"),
        (json!({ "url": url, "body": "x".repeat(70_000) }), "64 KiB"),
        (json!({ "url": "http://example.com/", "secret": "warehouse" }), "https://"),
    ] {
        let message = refused_with(&perform(shop(), input.clone()).await, "invalid_input");
        assert!(message.contains(said) && !message.contains("s3cret"), "{input}: {message}");
    }
    refused_with(&perform(shop(), json!({ "url": url, "secret": "other" })).await, "no_secret");
    assert!(seen.all().is_empty());
}
