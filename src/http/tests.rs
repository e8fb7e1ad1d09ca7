//! The server over rooms that are played: what comes in, what is answered.

mod asked;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;
use crate::domain::{Delivery, EventId, ManualClock, NewEvent, Received, Refused, Reply, RunId, Secret};

/// Signs by saying its secret, and speaks one line an event.
struct Plain;

impl Source for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused> {
        let verified = delivery.verify(|it| match it.header("x-secret") {
            Some("old") => Err(Refused::Stale { seconds: 400, allowed: 300 }),
            Some(given) if secrets.iter().any(|secret| secret.reveal() == given) => Ok(()),
            _ => Err(Refused::Signature { header: "x-secret" }),
        })?;
        let text = verified.text()?;
        assert!(text != "panic", "told to");
        let lines = text.lines().map(|line| verified.event(None, "t", line, line.to_owned(), line.into()));
        Ok(Received {
            events: lines.collect(),
            reply: Reply { status: 202, content_type: "text/plain", body: b"taken".to_vec() },
        })
    }
}

/// Keeps what it is given; says what it was told to say.
#[derive(Default)]
struct World {
    kept: Mutex<Vec<(String, String, String)>>,
    says: Mutex<Option<IntakeError>>,
    tokens: Mutex<Vec<Token>>,
    next: AtomicI64,
}

#[async_trait]
impl Accept for World {
    async fn accept(&self, shop: &ShopId, source: &str, events: Vec<NewEvent>) -> Result<Vec<Accepted>, IntakeError> {
        if let Some(error) = self.says.lock().expect("lock").clone() {
            return Err(error);
        }
        let mut kept = self.kept.lock().expect("lock");
        Ok(events
            .into_iter()
            .map(|event| {
                let it = (shop.to_string(), source.to_owned(), event.delivery_key);
                let fresh = !kept.contains(&it);
                kept.push(it);
                Accepted { id: EventId(self.next.fetch_add(1, Ordering::Relaxed)), fresh }
            })
            .collect())
    }

    fn waiting(&self) -> usize {
        7
    }
}

#[async_trait]
impl Reading for World {
    async fn events(&self, shop: &ShopId, kind: Option<&str>, page: Page<EventId>) -> Result<Vec<Json>, ReadingError> {
        Ok(vec![json!([shop, kind, page.before, page.limit])])
    }

    async fn event(&self, shop: &ShopId, id: EventId) -> Result<Option<Json>, ReadingError> {
        Ok((id.0 == 1).then(|| json!({ "id": id, "shop": shop })))
    }

    async fn runs(&self, _: &ShopId, _: Option<&str>, _: Page<RunId>) -> Result<Vec<Json>, ReadingError> {
        Err(ReadingError("the disk is on fire at /secret/place".to_owned()))
    }

    async fn dead(&self, shop: &ShopId, which: DeadOnes, page: Page<RunId>) -> Result<(Vec<Json>, u64), ReadingError> {
        Ok((vec![json!([shop, which.rule, which.code, page.limit])], 3))
    }

    async fn run(&self, _: &ShopId, _: RunId) -> Result<Option<Json>, ReadingError> {
        std::future::pending().await
    }

    async fn why(&self, _: &ShopId, _: EventId) -> Result<Option<Json>, ReadingError> {
        Ok(None)
    }

    async fn export(&self, _: &ShopId, _: RunId) -> Result<Option<Json>, ReadingError> {
        Ok(None)
    }

    async fn approvals(&self, shop: &ShopId, page: Page<RunId>) -> Result<Vec<Json>, ReadingError> {
        Ok(vec![json!([shop, page.before, page.limit])])
    }

    async fn checks(&self) -> Vec<Check> {
        let ok = self.says.lock().expect("lock").is_none();
        vec![Check { name: "store", ok, detail: "open".to_owned() }]
    }
}

#[async_trait]
impl Steering for World {
    async fn steer(&self, shop: &ShopId, who: &str, what: Steer) -> Result<Json, SteerError> {
        match what {
            Steer::Decide { says: Says::Accept { text }, .. } => Ok(json!([shop, who, text])),
            Steer::Decide { .. } => Err(SteerError::Conflict("ana was quicker".to_owned())),
            Steer::Activate(asked) => Ok(json!([shop, who, format!("{asked:?}")])),
            Steer::Pause { rule, because } => Ok(json!([shop, who, rule, because])),
            Steer::Resume { rule } if shop.as_str() == "acme" => Ok(json!([shop, who, rule])),
            Steer::Resume { .. } => Err(SteerError::Conflict("nothing is paused".to_owned())),
            Steer::Retry(Dead::One(run)) => Ok(json!([shop, who, run])),
            Steer::Retry(Dead::All(which)) => Ok(json!([shop, which.rule, which.code])),
            Steer::Undo { rule, time, what } => Ok(json!([rule, time.since, time.until, format!("{what:?}")])),
            Steer::Drop(_) => Err(SteerError::Failed("the disk is full".to_owned())),
        }
    }
}

#[async_trait]
impl RuleBook for World {
    async fn rules(&self, shop: &ShopId) -> Result<Vec<Json>, SteerError> {
        Ok(vec![json!({ "id": "tag", "shop": shop })])
    }

    async fn rule(&self, _: &ShopId, id: &str) -> Result<Json, SteerError> {
        Err(SteerError::NotFound(format!("there is no rule `{id}`; there are: tag")))
    }

    async fn version(&self, _: &ShopId, id: &str, version: &str) -> Result<Json, SteerError> {
        Ok(json!([id, version]))
    }

    async fn shadow(&self, _: &ShopId, _: &str) -> Result<Json, SteerError> {
        Err(SteerError::Conflict("it has no shadow".to_owned()))
    }
}

#[async_trait]
impl Tokens for World {
    async fn list(&self) -> Result<Vec<Token>, TokenError> {
        Ok(self.tokens.lock().expect("lock").clone())
    }

    async fn add(&self, token: Token) -> Result<(), TokenError> {
        self.tokens.lock().expect("lock").push(token);
        Ok(())
    }

    async fn revoke(&self, name: &str) -> Result<bool, TokenError> {
        let mut tokens = self.tokens.lock().expect("lock");
        let before = tokens.len();
        tokens.retain(|token| token.name != name);
        Ok(tokens.len() < before)
    }
}

struct Door {
    world: Arc<World>,
    router: Router,
    token: String,
}

/// A server of these shops, each with its name and `new` as the secrets of its sources.
async fn door(shops: &[&str]) -> Door {
    let world = Arc::new(World::default());
    let made = NewToken::make("test", Timestamp::UNIX_EPOCH).expect("token");
    world.add(made.kept).await.expect("kept");
    let inlets = |name: &str| {
        let inlet = Inlet { source: &Plain, secrets: Secrets::new([Secret::new(name), Secret::new("new")]) };
        BTreeMap::from([("plain", inlet.clone()), (EVENTS_SOURCE, inlet)])
    };
    let router = router(Http {
        shops: shops.iter().map(|name| (name.parse().expect("shop"), inlets(name))).collect(),
        accept: Arc::<World>::clone(&world),
        reading: Arc::<World>::clone(&world),
        steering: Arc::<World>::clone(&world),
        rules: Arc::<World>::clone(&world),
        tokens: Arc::<World>::clone(&world),
        clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
        models: Models::default(),
        metrics: Metrics::default(),
        body_limit: 1000,
        read_timeout: Duration::from_millis(200),
        answer_timeout: Duration::from_millis(200),
    });
    Door { world, router, token: made.secret.reveal().to_owned() }
}

impl Door {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("request");
        self.router.clone().oneshot(request).await.expect("infallible")
    }

    /// Asks, and expects a problem of this status and code, complete.
    async fn problem(
        &self,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: impl Into<Body>,
        (status, code): (u16, &str),
    ) -> Response<Body> {
        let response = self.ask(method, path, headers, body).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 10_000).await.expect("body");
        let told: Json = serde_json::from_slice(&bytes).expect("json");
        assert_eq!((parts.status.as_u16(), told["code"].as_str()), (status, Some(code)), "{told}");
        assert_eq!((&told["status"], &told["type"]), (&json!(status), &json!(format!("urn:storehand:problem:{code}"))));
        for name in ["title", "detail", "hint"] {
            assert!(told[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {told}");
        }
        Response::from_parts(parts, bytes.into())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.ask("GET", path, &[("authorization", &format!("Bearer {}", self.token))], "").await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 100_000).await.expect("body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    fn kept(&self) -> usize {
        self.world.kept.lock().expect("lock").len()
    }
}

#[tokio::test]
async fn a_signed_delivery_is_kept_and_then_answered_as_its_source_says() {
    let door = door(&["acme"]).await;
    for secret in ["acme", "new"] {
        let response = door.ask("POST", "/hooks/acme/plain", &[("X-Secret", secret)], "one\ntwo").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (202, &"text/plain".parse().expect("value"))
        );
        let ids = response.headers()["storehand-event-ids"].to_str().expect("ids").to_owned();
        assert!(ids.split(", ").all(|id| id.parse::<EventId>().is_ok()) && ids.contains(", "), "{ids}");
        assert_eq!(to_bytes(response.into_body(), 100).await.expect("body"), "taken");
    }
    assert_eq!(door.world.kept.lock().expect("lock")[1], ("acme".into(), "plain".into(), "two".into()));
    let (_, metrics) = door.get("/metrics").await;
    for line in [
        "storehand_deliveries_total{shop=\"acme\",source=\"plain\",outcome=\"accepted\"} 1",
        "storehand_deliveries_total{shop=\"acme\",source=\"plain\",outcome=\"repeated\"} 1",
        "storehand_intake_waiting 7",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_delivery_that_is_not_good_is_refused_and_nothing_is_kept() {
    let door = door(&["acme", "other"]).await;
    let hook = ("POST", "/hooks/acme/plain");
    door.problem(hook, &[], "x", (401, "bad_signature")).await;
    door.problem(hook, &[("x-secret", "other")], "x", (401, "bad_signature")).await;
    door.problem(hook, &[("x-secret", "old")], "x", (401, "stale_signature")).await;
    door.problem(hook, &[("x-secret", "acme")], vec![b'a', 0xff], (400, "malformed")).await;
    door.problem(hook, &[("x-secret", "acme")], vec![b'a'; 1001], (413, "body_too_large")).await;
    door.problem(("POST", "/hooks/nobody/plain"), &[], "x", (404, "no_such_shop")).await;
    door.problem(("POST", "/hooks/acme/nothing"), &[], "x", (404, "no_such_source")).await;
    assert_eq!(door.kept(), 0);
}

#[tokio::test]
async fn a_body_is_bounded_while_it_is_read() {
    let door = door(&["acme"]).await;
    // Its length is not known beforehand, and it never ends.
    let endless = tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, std::io::Error>(vec![b'a'; 100])));
    let hook = ("POST", "/hooks/acme/plain");
    door.problem(hook, &[("x-secret", "acme")], Body::from_stream(endless), (413, "body_too_large")).await;
    let stuck = tokio_stream::iter([Ok::<_, std::io::Error>("a")]).chain(tokio_stream::pending());
    door.problem(hook, &[("x-secret", "acme")], Body::from_stream(stuck), (408, "body_timeout")).await;
    let broken = tokio_stream::iter([Ok("a"), Err(std::io::Error::other("gone"))]);
    door.problem(hook, &[("x-secret", "acme")], Body::from_stream(broken), (400, "body_broken_off")).await;
}

#[tokio::test]
async fn what_cannot_be_kept_now_is_asked_for_again() {
    let door = door(&["acme"]).await;
    for (error, code) in [
        (IntakeError::Full, "intake_full"),
        (IntakeError::Closing, "closing"),
        (IntakeError::Failed("no space left on /secret".into()), "store_failed"),
    ] {
        *door.world.says.lock().expect("lock") = Some(error);
        let response = door.problem(("POST", "/hooks/acme/plain"), &[("x-secret", "acme")], "x", (503, code)).await;
        assert_eq!(response.headers()["retry-after"], "2");
        let bytes = to_bytes(response.into_body(), 10_000).await.expect("body");
        assert!(!String::from_utf8_lossy(&bytes).contains("/secret"));
    }
    let response = door.ask("GET", "/ready", &[], "").await;
    assert_eq!(response.status().as_u16(), 503);
}

#[tokio::test]
async fn events_find_their_shop_and_never_two() {
    let door = door(&["acme", "other"]).await;
    let json = ("content-type", "application/cloudevents+json; charset=utf-8");
    let batch = ("content-type", "application/cloudevents-batch+json");
    let secret = ("x-secret", "acme");
    let send = ("POST", "/v1/events");
    for (path, headers, body) in [
        ("/v1/events?shop=acme", vec![secret], ""),
        ("/v1/events", vec![secret, ("ce-shop", "acme")], "x"),
        ("/v1/events", vec![secret, json], r#"{"shop":"acme"}"#),
        ("/v1/events", vec![secret, batch], r#"[{"shop":"acme"},{"id":1}]"#),
    ] {
        assert_eq!(door.ask("POST", path, &headers, body).await.status().as_u16(), 202, "{path} {headers:?}");
    }
    door.problem(send, &[secret], "x", (400, "shop_needed")).await;
    door.problem(send, &[secret, json], r#"{"shop":"else"}"#, (404, "no_such_shop")).await;
    let two = r#"[{"shop":"acme"},{"shop":"other"}]"#;
    door.problem(send, &[secret, batch], two, (400, "several_shops")).await;
    let other = ("POST", "/v1/events?shop=other");
    door.problem(other, &[secret, json], r#"{"shop":"acme"}"#, (400, "several_shops")).await;
    door.problem(other, &[secret], "x", (401, "bad_signature")).await;
}

#[tokio::test]
async fn who_decides_is_the_token_and_what_went_wrong_is_said() {
    let door = door(&["acme"]).await;
    let token = format!("Bearer {}", door.token);
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let page = format!("/v1/approvals/{}/all/1/2", RunId(1));
    let response = door.ask("POST", &page, &headers, r#"{"decision":"accept","text":"hi"}"#).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), 1000).await.expect("body");
    assert_eq!(&body[..], br#"["acme","test","hi"]"#);
    for (body, problem) in [
        (r#"{"decision":"reject"}"#, (409, "conflict")),
        (r#"{"decision":"perhaps"}"#, (400, "malformed_request")),
        (r#"{"decision":"accept","texts":"hi"}"#, (400, "malformed_request")),
        ("", (400, "malformed_request")),
    ] {
        door.problem(("POST", &page), &headers, body, problem).await;
    }
    door.problem(("POST", &page), &headers[1..], "{}", (401, "token_needed")).await;
    door.problem(("POST", "/v1/approvals/run_1/a"), &headers, r#"{"decision":"reject"}"#, (400, "malformed_request"))
        .await;
}

#[tokio::test]
async fn rules_are_shown_and_put_live_by_whoever_has_a_token() {
    let door = door(&["acme"]).await;
    let bearer = format!("Bearer {}", door.token);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    assert_eq!(door.get("/v1/rules").await.1, r#"{"rules":[{"id":"tag","shop":"acme"}]}"#);
    assert_eq!(door.get("/v1/rules/tag/versions/live").await.1, r#"["tag","live"]"#);
    for (path, problem) in [
        ("/v1/rules/gone", (404, "not_found")),
        ("/v1/rules/tag/shadow", (409, "conflict")),
        ("/v1/rules?shops=acme", (400, "malformed_query")),
        ("/v1/rules/tag?shop=other", (404, "no_such_shop")),
    ] {
        door.problem(("GET", path), &headers, "", problem).await;
    }
    let told = async |path: &str, body: &str| {
        let response = door.ask("POST", path, &headers, body.to_owned()).await;
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), 10_000).await.expect("body");
        let told: Vec<String> = serde_json::from_slice(&body).expect("json");
        assert_eq!(told[..2], ["acme", "test"], "which shop, and who");
        told[2].clone()
    };
    let file = told("/v1/rules/tag/activate", "{}").await;
    assert!(file.contains("File") && file.contains("only_look: false"), "{file}");
    let body = r#"{"version":"ab","on_change":"migrate","instead_of":"cd","only_look":true}"#;
    let version = told("/v1/rules/tag/activate", body).await;
    for part in ["Version(\"ab\")", "Some(Migrate)", "Some(\"cd\")", "only_look: true"] {
        assert!(version.contains(part), "{version}");
    }
    assert!(told("/v1/rules/tag/rollback", r#"{"on_change":"cancel"}"#).await.contains("Previous"));
    for body in ["", r#"{"on_change":"perhaps"}"#, r#"{"versions":"ab"}"#] {
        door.problem(("POST", "/v1/rules/tag/activate"), &headers, body, (400, "malformed_request")).await;
    }
    door.problem(("POST", "/v1/rules/tag/rollback"), &headers[..1], "{}", (401, "token_needed")).await;
}

#[tokio::test]
async fn a_sender_may_ask_whether_it_may_send() {
    let door = door(&["acme"]).await;
    for path in ["/v1/events", "/hooks/acme/plain"] {
        let response = door.ask("OPTIONS", path, &[("WebHook-Request-Origin", "shop.example")], "").await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["webhook-allowed-origin"], "shop.example");
        assert_eq!(response.headers()["webhook-allowed-rate"], "*");
        assert_eq!(door.ask("OPTIONS", path, &[], "").await.status().as_u16(), 204);
    }
}

#[tokio::test]
async fn questions_need_a_live_token() {
    let door = door(&["acme"]).await;
    for path in ["/metrics", "/v1/events", "/v1/events/ev_0000000000001", "/v1/runs", "/v1/runs/run_0000000000001"] {
        for headers in [vec![], vec![("authorization", "Bearer storehand_wrong")], vec![("authorization", "Basic x")]] {
            let response = door.problem(("GET", path), &headers, "", (401, "token_needed")).await;
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
        }
    }
    assert_eq!(door.get("/v1/events/ev_0000000000001").await.0, 200);
    assert!(door.world.revoke("test").await.expect("revoked"));
    assert_eq!(door.get("/v1/events/ev_0000000000001").await.0, 401);
    for open in ["/health", "/ready"] {
        assert_eq!(door.ask("GET", open, &[], "").await.status().as_u16(), 200);
    }
}

#[tokio::test]
async fn answers_are_of_one_shop_and_paged() {
    let door = door(&["acme", "other"]).await;
    assert_eq!(door.get("/v1/events").await.0, 400);
    let asked = "/v1/events?shop=other&type=order.paid&limit=9000&before=ev_0000000000005";
    let wanted = json!({ "events": [["other", "order.paid", "ev_0000000000005", 500]] });
    assert_eq!(door.get(asked).await, (StatusCode::OK, wanted.to_string()));
    assert_eq!(door.get("/v1/events/ev_0000000000002?shop=acme").await.0, 404);
    for wrong in ["limit=x", "before=run_0000000000001", "lmit=3", "shop=acme&shop=other"] {
        assert_eq!(door.get(&format!("/v1/events?shop=acme&{wrong}")).await.0, 400, "{wrong}");
    }
    assert_eq!(door.get("/v1/events/1042?shop=acme").await.0, 400);
}

#[tokio::test]
async fn what_fails_in_here_is_a_problem_without_the_inside() {
    let door = door(&["acme"]).await;
    let token = format!("bearer {}", door.token);
    let asking = [("authorization", token.as_str())];
    let response = door.problem(("GET", "/v1/runs"), &asking, "", (500, "internal")).await;
    assert!(!format!("{:?}", to_bytes(response.into_body(), 10_000).await).contains("secret"));
    door.problem(("GET", "/v1/runs/run_0000000000001"), &asking, "", (504, "answer_timeout")).await;
    door.problem(("GET", "/nowhere"), &[], "", (404, "no_such_page")).await;
    door.problem(("DELETE", "/health"), &[], "", (405, "no_such_method")).await;
    door.problem(("PUT", "/v1/events"), &[], "", (405, "no_such_method")).await;
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_server_goes_on() {
    let door = door(&["acme"]).await;
    let hook = ("POST", "/hooks/acme/plain");
    door.problem(hook, &[("x-secret", "acme")], "panic", (500, "panic")).await;
    assert_eq!(door.ask("POST", "/hooks/acme/plain", &[("x-secret", "acme")], "x").await.status().as_u16(), 202);
}

/// A server on a free port.
async fn listening(
    door: &Door,
    limits: Limits,
) -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, door.router.clone(), limits, stop.clone()));
    (address, stop, serving)
}

const LIMITS: Limits =
    Limits { connections: 2, head_timeout: Duration::from_millis(300), grace: Duration::from_secs(5) };

async fn all_of(mut stream: TcpStream, send: &str) -> String {
    stream.write_all(send.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // The other side may close with our bytes unread.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_and_large_requests_do_not_hold_the_door() {
    let door = door(&["acme"]).await;
    let (address, stop, serving) = listening(&door, LIMITS).await;
    // As many as may be served at once, and none of them ever finishes its head.
    let slow: Vec<TcpStream> = [TcpStream::connect(address).await, TcpStream::connect(address).await]
        .into_iter()
        .map(|stream| stream.expect("connected"))
        .collect();
    let third = TcpStream::connect(address).await.expect("connected");
    let answer = all_of(third, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "served once a slow one was cut off: {answer}");
    drop(slow);

    let slow_body = TcpStream::connect(address).await.expect("connected");
    let head = "POST /hooks/acme/plain HTTP/1.1\r\nhost: x\r\nx-secret: acme\r\ncontent-length: 10\r\n\r\n12345";
    let answer = all_of(slow_body, head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");

    let many: String = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(40_000));
    for headers in [many, long] {
        let stream = TcpStream::connect(address).await.expect("connected");
        let answer = all_of(stream, &format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    stop.cancel();
    serving.await.expect("joined").expect("ended in time");
}

#[tokio::test]
async fn the_end_waits_for_what_is_under_way_and_lets_nobody_in() {
    let door = door(&["acme"]).await;
    let (address, stop, serving) = listening(&door, LIMITS).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = "POST /hooks/acme/plain HTTP/1.1\r\nhost: x\r\nx-secret: acme\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody new");
    let answer = all_of(stream, "one").await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    serving.await.expect("joined").expect("ended in time");
    assert_eq!(door.kept(), 1);
}
