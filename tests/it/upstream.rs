//! A model on another server: what it is asked, what it may answer, and everything that it may do wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all};
use storehand::domain::{Records, Secret, Verdict};
use storehand::models::{
    Again, ChatMessage, Finish, Format, Known, Model, ModelError, Models, Prompt, Request, Sampling, UpstreamSettings,
};
use tokio_util::sync::CancellationToken;

use crate::capabilities::{attempt, refused_with, shop};
use crate::support::{TestApp, order};

pub(crate) const KEY: &str = "sk-very-secret";

/// What the server has seen: the bodies, and how many answers are being written.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    bodies: Arc<Mutex<Vec<Json>>>,
    writing: Arc<AtomicUsize>,
}

/// Counts an answer that is being written until somebody lets go of it.
struct Writing(Arc<AtomicUsize>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stream(pieces: Vec<Result<Bytes, std::io::Error>>) -> Response {
    let pieces = tokio_stream::iter(pieces);
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

fn chunk(content: &str, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "delta": { "content": content }, "finish_reason": finish });
    format!("data: {}\n\n", json!({ "object": "chat.completion.chunk", "choices": [choice] }))
}

fn whole(content: &str, finish: &str) -> Json {
    let choice = json!({ "index": 0, "message": { "role": "assistant", "content": content }, "finish_reason": finish });
    json!({ "choices": [choice], "usage": { "prompt_tokens": 21, "completion_tokens": 5 } })
}

/// Answers as the first part of the path says.
async fn answer(State(seen): State<Seen>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Json = serde_json::from_slice(&body).unwrap_or_default();
    seen.bodies.lock().expect("bodies").push(asked.clone());
    if uri.path().ends_with("/models") {
        return axum::Json(json!({ "data": [{ "id": "big-model" }] })).into_response();
    }
    let kind = uri.path().split('/').nth(1).unwrap_or_default();
    let failing =
        |status: u16, said: Json| (StatusCode::from_u16(status).expect("a status"), axum::Json(said)).into_response();
    match kind {
        "good" | "rude" | "form" | "facts" => {
            assert_eq!(headers["authorization"], format!("Bearer {KEY}"));
            assert_eq!(uri.path(), format!("/{kind}/v1/chat/completions"));
            let text = match kind {
                "good" => "Thank you, Ana. 谢谢! ",
                "facts" => "Order #1042 over 30.00 EUR is here, and a gift of up to 50 EUR.",
                "rude" => "Order #9999 is free. All the same we will refund you.",
                _ => r#"{"order": 5}"#,
            };
            if asked["stream"] != true {
                return axum::Json(whole(text, "stop")).into_response();
            }
            let mut bytes = b": hello\n\n".to_vec();
            let letters: Vec<char> = text.chars().collect();
            letters.chunks(3).for_each(|some| bytes.extend(chunk(&some.iter().collect::<String>(), None).bytes()));
            bytes.extend(chunk("", Some("stop")).bytes());
            bytes.extend(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":5}}\n\n");
            bytes.extend(b"data: [DONE]\n\n");
            // In the middle of characters too.
            stream(bytes.chunks(7).map(|some| Ok(Bytes::copy_from_slice(some))).collect())
        }
        "fitting" => axum::Json(whole(r##"{"order": "#1042", "problem": "broken"}"##, "stop")).into_response(),
        "cut" => axum::Json(whole(r#"{"order": "#, "length")).into_response(),
        "chatty" => axum::Json(whole(" return\n", "stop")).into_response(),
        "busy" => {
            let mut busy = failing(429, json!({ "error": { "message": "slow down" } }));
            busy.headers_mut().insert(header::RETRY_AFTER, "7".parse().expect("a number"));
            busy
        }
        "locked" => failing(401, json!({ "error": { "message": format!("Incorrect API key provided: {KEY}") } })),
        "picky" => failing(400, json!({ "error": { "message": format!("no such\nparameter, {KEY}") } })),
        "broken" => failing(500, json!({ "error": "out of memory" })),
        "elsewhere" => (StatusCode::FOUND, [(header::LOCATION, "/good/v1/chat/completions")]).into_response(),
        "garbage" => "<html>It works!</html>".into_response(),
        "empty" => axum::Json(json!({ "object": "list", "data": [] })).into_response(),
        "huge" => axum::Json(whole(&"x".repeat(5 << 20), "stop")).into_response(),
        "torrent" => {
            let piece = Bytes::from(chunk(&"x".repeat(1 << 16), None));
            stream((0..40).map(|_| Ok(piece.clone())).collect())
        }
        "line" => stream((0..40).map(|_| Ok(Bytes::from(vec![b'x'; 1 << 16]))).collect()),
        "filtered" => stream(vec![Ok(chunk("No", None).into()), Ok(chunk("", Some("content_filter")).into())]),
        "mangled" => stream(vec![Ok(chunk("Hel", None).into()), Ok("data: {\"choices\": [\n\n".into())]),
        "lost" => {
            stream(vec![Ok(chunk("Hel", None).into()), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))])
        }
        "ends" => stream(vec![Ok(chunk("Hel", None).into())]),
        // Writes for as long as somebody listens.
        "endless" => {
            seen.writing.fetch_add(1, Ordering::SeqCst);
            let writing = Writing(seen.writing.clone());
            let words = tokio_stream::iter(std::iter::from_fn(move || {
                let _ = &writing;
                Some(chunk("word ", None))
            }));
            let paced = tokio_stream::StreamExt::then(words, |word| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, std::io::Error>(Bytes::from(word))
            });
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(paced)).into_response()
        }
        _ => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "late".into_response()
        }
    }
}

pub(crate) async fn server() -> (Seen, String) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("it").to_string();
    let router = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (seen, host)
}

fn upstream(host: &str, kind: &str) -> Model {
    Model::upstream(UpstreamSettings {
        name: "large".into(),
        url: format!("http://{host}/{kind}/v1"),
        model: "big-model".into(),
        api_key: Some(Secret::new(KEY)),
        timeout: Duration::from_secs(10),
        max_in_flight: 2,
        max_new_tokens: 300,
    })
    .expect("an upstream")
}

fn ask() -> Request {
    Request::new(vec![ChatMessage::system("Be kind."), ChatMessage::user("Thank Ana.")], Sampling::default())
}

async fn answered(model: &Model, request: Request) -> (Result<storehand::models::Generated, ModelError>, Vec<String>) {
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let told = pieces.clone();
    let never = CancellationToken::new();
    let watch = move |piece: &str| told.lock().expect("pieces").push(piece.to_owned());
    let answer = model.generate(request, &never, watch).await;
    let pieces = pieces.lock().expect("pieces").clone();
    (answer, pieces)
}

#[tokio::test]
async fn an_upstream_is_asked_and_what_it_writes_comes_as_it_is_written() {
    let (seen, host) = server().await;
    let model = upstream(&host, "good");
    assert!(model.is_upstream() && model.look().await.expect("it is there"));
    seen.bodies.lock().expect("bodies").clear();

    let (answer, pieces) = answered(&model, ask()).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.finish), ("Thank you, Ana. 谢谢! ", Finish::Stop));
    assert_eq!((answer.prompt_tokens, answer.completion_tokens), (21, 5));
    assert!(pieces.len() > 3 && pieces.concat() == answer.text, "{pieces:?}");
    let sent = seen.bodies.lock().expect("bodies").remove(0);
    let messages = json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "Thank Ana." }]);
    assert_eq!(
        sent,
        json!({ "model": "big-model", "messages": messages, "max_tokens": 256, "temperature": 0.0, "stream": true,
                "stream_options": { "include_usage": true } })
    );

    // Every option has its word, the server's own bound holds, and no stop text gets through though this server cares
    // nothing for it.
    let sampling = Sampling {
        temperature: 0.7,
        top_p: 0.9,
        top_k: 40,
        seed: 7,
        max_tokens: 9000,
        stop: vec!["Ana.".into()],
        ..Sampling::default()
    };
    let (answer, pieces) = answered(&model, Request { sampling, ..ask() }).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.text.as_str(), pieces.concat().as_str()), ("Thank you, ", "Thank you, "));
    let sent = seen.bodies.lock().expect("bodies").remove(0);
    for (name, value) in [
        ("temperature", json!(0.7)),
        ("top_p", json!(0.9)),
        ("top_k", json!(40)),
        ("seed", json!(7)),
        ("max_tokens", json!(300)),
        ("stop", json!(["Ana."])),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    for sampling in [
        Sampling { beams: 3, ..Sampling::default() },
        Sampling { logprobs: Some(2), ..Sampling::default() },
        Sampling { n: 3, temperature: 1.0, ..Sampling::default() },
        Sampling { top_p: 0.0, ..Sampling::default() },
    ] {
        let (answer, _) = answered(&model, Request { sampling, ..ask() }).await;
        assert!(matches!(answer, Err(ModelError::Request(_))), "{answer:?}");
    }
    assert_eq!(seen.bodies.lock().expect("bodies").len(), 0, "nothing was sent for these");
}

#[tokio::test]
async fn what_it_answers_is_held_to_its_form_here() {
    let (seen, host) = server().await;
    let schema = json!({ "type": "object", "properties": { "order": { "type": "string" } }, "required": ["order"] });
    let held = |format: Format| Request { format: Some(format), ..ask() };
    let (answer, pieces) = answered(&upstream(&host, "fitting"), held(Format::Json(schema.clone()))).await;
    assert_eq!(pieces, [answer.expect("it fits").text]);
    let sent = seen.bodies.lock().expect("bodies").remove(0);
    assert_eq!(sent["response_format"]["json_schema"]["schema"], schema);
    assert_eq!(sent["response_format"]["type"], "json_schema");

    for (kind, format, says) in [
        ("form", Format::Json(schema.clone()), "order"),
        ("good", Format::Json(schema.clone()), "no JSON"),
        ("good", Format::Regex("[a-z]+".into()), "[a-z]+"),
        ("good", Format::Choice(vec!["return".into()]), "none of the texts"),
    ] {
        let (answer, pieces) = answered(&upstream(&host, kind), held(format)).await;
        let error = answer.expect_err("not in its form");
        assert!(matches!(&error, ModelError::NotInForm { name, .. } if name == "large"), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(pieces.is_empty(), "nothing of it is told: {pieces:?}");
    }
    let choices = Format::Choice(vec!["delivery".into(), "return".into()]);
    assert_eq!(answered(&upstream(&host, "chatty"), held(choices)).await.0.expect("a choice").text, "return");
    let (cut, _) = answered(&upstream(&host, "cut"), held(Format::Json(schema))).await;
    assert!(matches!(cut, Err(ModelError::Unfinished { tokens: 5, .. })), "{cut:?}");
    let endless = (0..200).fold(json!({ "type": "string" }), |inner, _| json!({ "type": "array", "items": inner }));
    let (deep, _) = answered(&upstream(&host, "fitting"), held(Format::Json(endless))).await;
    assert!(matches!(deep, Err(ModelError::Request(_))), "{deep:?}");
}

#[tokio::test]
async fn whatever_it_does_wrong_is_told_with_its_name_and_never_with_the_key() {
    let (_, host) = server().await;
    for (kind, says, again) in [
        ("busy", "429", Again::After(Duration::from_secs(7))),
        ("locked", "model.upstreams.large.api_key", Again::Never),
        ("picky", "no such parameter, •••", Again::Never),
        ("broken", "out of memory", Again::Later),
        ("elsewhere", "redirects are not followed", Again::Never),
        ("garbage", "not understood", Again::Later),
        ("empty", "broke off", Again::Later),
        ("huge", "longer than", Again::Never),
        ("torrent", "more than", Again::Never),
        ("line", "a line of more than", Again::Later),
        ("filtered", "content_filter", Again::Never),
        ("mangled", "not understood", Again::Later),
        ("lost", "did not answer", Again::Later),
        ("ends", "broke off", Again::Later),
    ] {
        let (answer, _) = answered(&upstream(&host, kind), ask()).await;
        let error = answer.expect_err(kind);
        let said = error.to_string();
        assert!(matches!(error, ModelError::Upstream { again: it, .. } if it == again), "{kind}: {error:?}");
        assert!(said.contains("`large`") && said.contains(says), "{kind}: {said}");
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
    // Slow: by the request's own time, before the upstream's.
    let slow = Request { within: Some(Duration::from_millis(200)), ..ask() };
    let (answer, _) = answered(&upstream(&host, "slow"), slow).await;
    let error = answer.expect_err("slow").to_string();
    assert!(error.contains("`large` had no answer within 0.2 s"), "{error}");
    // Nobody is there.
    let nobody = upstream("127.0.0.1:9", "good");
    assert!(matches!(answered(&nobody, ask()).await.0, Err(ModelError::Upstream { again: Again::Later, .. })));
    assert!(!format!("{nobody:?}").contains(KEY));
}

#[tokio::test]
async fn who_goes_away_closes_the_connection_and_no_more_are_asked_than_may_be() {
    let (seen, host) = server().await;
    let model = upstream(&host, "endless");
    let cancelled = CancellationToken::new();
    let writing = |model: Model, cancelled: CancellationToken| {
        tokio::spawn(async move { model.generate(ask(), &cancelled, |_| {}).await })
    };
    let both = [writing(model.clone(), cancelled.clone()), writing(model.clone(), cancelled.clone())];
    let until = async |wanted: usize| {
        for _ in 0..400 {
            if seen.writing.load(Ordering::SeqCst) == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} answers are written, not {wanted}", seen.writing.load(Ordering::SeqCst));
    };
    until(2).await;
    let third = model.generate(ask(), &CancellationToken::new(), |_| {}).await.expect_err("full");
    assert!(matches!(third, ModelError::Upstream { again: Again::After(_), .. }), "{third:?}");
    assert!(third.to_string().contains("max_in_flight"), "{third}");
    cancelled.cancel();
    for one in both {
        let answer = one.await.expect("a task").expect("cut short");
        assert_eq!(answer.finish, Finish::Cancelled);
    }
    until(0).await;
    assert_eq!(model.stats().requests, 0);
    // So does one that is let go of.
    let begun = writing(model.clone(), CancellationToken::new());
    until(1).await;
    begun.abort();
    until(0).await;
}

fn capability(name: &str, models: Models) -> Arc<dyn storehand::domain::Capability> {
    let deps = Deps { models, ..Deps::default() };
    all(deps).into_iter().find(|it| it.spec().name == name).expect(name)
}

#[tokio::test]
async fn its_texts_are_held_to_the_same_policies() {
    let (_, host) = server().await;
    let models = |kind: &str, languages: &[&str]| {
        let languages = languages.iter().map(|it| (*it).to_owned()).collect();
        Models::new("small", None, vec![Known { model: upstream(&host, kind), languages }])
    };
    let attempt = attempt(shop(), "order.created", Records::default(), Vec::new());
    let input = json!({ "prompt": "Thank Ana.", "policy": ["given_facts_only", "no_refund_promise"], "model": "large",
                        "language": "en" });
    let good = models("good", &[]);
    let Verdict::Done(written) = capability("model.write", good.clone()).perform(&attempt, &input).await else {
        panic!("no answer")
    };
    let full_name = good.find(Some("large")).expect("it").model.full_name();
    assert_eq!((&written["text"], &written["model"]), (&json!("Thank you, Ana. 谢谢!"), &json!(full_name)));
    assert_eq!(written["prompt_digest"].as_str().map(str::len), Some(32));
    assert!(written["seed"].is_u64(), "{written}");

    let held_back = capability("model.write", models("rude", &[])).perform(&attempt, &input).await;
    let said = refused_with(&held_back, "policy_violation");
    assert!(said.contains("9999") && said.contains("refund"), "{said}");
    // The first ends where it went wrong; of the second a person may be asked, and sees all of it.
    let Verdict::Refused(failure) = &held_back else { panic!("{held_back:?}") };
    assert_eq!(failure.detail["text"], "Order #9999 is free. All the same we will refund you.");
    let first = failure.detail["first"]["text"].as_str().expect("the first text");
    assert!(first.starts_with("Order #9999 is free.") && !first.contains("refund"), "{first}");
    let not_its_language = capability("model.write", models("good", &["zh"])).perform(&attempt, &input).await;
    assert!(refused_with(&not_its_language, "policy_violation").contains("model.upstreams.large.languages"));
    let busy = capability("model.write", models("busy", &[])).perform(&attempt, &input).await;
    assert!(matches!(busy, Verdict::RetryAfter(Some(wait), _) if wait == Duration::from_secs(7)), "{busy:?}");
    let broken = capability("model.write", models("broken", &[])).perform(&attempt, &input).await;
    assert!(matches!(broken, Verdict::RetryAfter(None, _)), "{broken:?}");

    // Who names nobody does not ask it, and a name that is none says which there are.
    let mut other = input.clone();
    other.as_object_mut().expect("an object").remove("model");
    assert!(
        refused_with(&capability("model.write", good.clone()).perform(&attempt, &other).await, "no_model")
            .contains("model fetch")
    );
    other["model"] = json!("larg");
    let unknown = refused_with(&capability("model.write", good.clone()).perform(&attempt, &other).await, "no_model");
    assert!(unknown.contains("`small`, `large`"), "{unknown}");
    // Pinned: to this one, and to another.
    other["model"] = json!(full_name[..full_name.find('@').expect("@") + 9]);
    assert!(matches!(capability("model.write", good.clone()).perform(&attempt, &other).await, Verdict::Done(_)));
    other["model"] = json!("large@0123abcd");
    let pinned = refused_with(&capability("model.write", good).perform(&attempt, &other).await, "other_model");
    let digest = full_name.split_once('@').expect("@").1;
    assert!(pinned.contains("0123abcd") && pinned.contains(digest), "{pinned}");

    let extract = |kind: &str| capability("model.extract", models(kind, &[]));
    let mut input = extract("fitting").spec().example.input.clone();
    input["model"] = json!("large");
    let Verdict::Done(found) = extract("fitting").perform(&attempt, &input).await else { panic!("no answer") };
    assert_eq!((&found["data"]["order"], &found["model"]), (&json!("#1042"), &json!(full_name_of(&host, "fitting"))));
    refused_with(&extract("form").perform(&attempt, &input).await, "invalid_answer");
    refused_with(&extract("cut").perform(&attempt, &input).await, "length");
}

fn full_name_of(host: &str, kind: &str) -> String {
    upstream(host, kind).full_name()
}

/// `storehand doctor` asks whether it is there, and says what it means.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_that_what_it_is_asked_leaves_the_building() {
    let (_, host) = server().await;
    let told = |host: &str| {
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[model]\nenabled = \"off\"\n[model.upstreams.large]\n\
             url = \"http://{host}/good/v1\"\nmodel = \"big-model\"\napi_key = \"{KEY}\"\n[shop.acme]\n\
             currency = \"EUR\"\n[shop.acme.sources.standard]\nsecrets = [\"whsec_eA==\"]\n"
        );
        tokio::task::block_in_place(|| crate::cli::storehand(&["doctor"], &[("storehand.toml", &config)], &[]))
    };
    let (code, said, err) = told(&host);
    assert!(
        code == 0 && said.contains("note  model.upstreams.large: it is there; what it is asked leaves"),
        "{said}{err}"
    );
    let (code, said, err) = told("127.0.0.1:9");
    assert!(
        code == 1 && said.contains("WRONG model.upstreams.large: the upstream `large` did not answer"),
        "{said}{err}"
    );
    assert!(!format!("{said}{err}").contains(KEY));
}

#[test]
fn the_checker_knows_which_models_there_are() {
    let config = "[model.upstreams.large]\nurl = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n";
    let checked = |model: &str| {
        let rule = RULE.replace("MODEL", model);
        let files = [("storehand.toml", config), ("thanks.yaml", rule.as_str())];
        let (code, out, err) = crate::cli::storehand(&["rules", "check", "thanks.yaml"], &files, &[]);
        (code, format!("{out}{err}"))
    };
    for good in ["large", "large@0123abcd", "smollm2-135m-instruct", "'{{ order.name }}'"] {
        let (code, told) = checked(good);
        assert!(code == 0 && !told.contains("configured"), "{good}: {told}");
    }
    let (code, told) = checked("larje");
    assert!(told.contains("no such model is configured") && told.contains("write `large`"), "{told}");
    assert_eq!(code, 0, "a warning: {told}");
}

const RULE: &str = "
id: thanks
name: { en: Thanks, zh: 致谢 }
status: live
triggers:
  - event: order.created
steps:
  - id: draft
    uses: model.write
    with: { prompt: Thank Ana., policy: [given_facts_only], model: MODEL }
    on_violation: { fallback: Thank you. }
  - uses: log
    with: { message: '{{ steps.draft.text }}' }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_names_it_and_the_api_serves_it() {
    let (_, host) = server().await;
    let configured = format!(
        "[model.upstreams.large]\nurl = \"http://{host}/good/v1\"\nmodel = \"big-model\"\napi_key = \"{KEY}\"\n\
         languages = [\"en\"]\n"
    );
    let rules = [
        ("thanks.yaml", RULE.replace("MODEL", "large")),
        ("pinned.yaml", RULE.replace("MODEL", "large@0123abcd").replace("id: thanks", "id: pinned")),
        ("slip.yaml", RULE.replace("MODEL", "larje").replace("id: thanks", "id: slip")),
    ];
    let rules: Vec<(&str, &str)> = rules.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let prepare = |folder: &std::path::Path| std::fs::write(folder.join("more.toml"), &configured).expect("settings");
    let it = TestApp::start_prepared(&rules, &[], prepare).await;
    it.order(&order(1042, 30)).await;
    it.settle().await;
    let texts: std::collections::BTreeMap<String, String> = it
        .runs()
        .await
        .iter()
        .map(|run| {
            (run.rule.to_string(), run.call("draft").map(|call| format!("{:?}", call.answer)).unwrap_or_default())
        })
        .collect();
    assert!(texts["thanks"].contains("Thank you, Ana."), "{texts:#?}");
    assert!(texts["pinned"].contains("other_model") && texts["slip"].contains("no_model"), "{texts:#?}");
    assert_eq!(it.ends().await, ["done", "done", "done"], "the fallbacks went out");

    let (status, listed) = it.get("/v1/models").await;
    assert_eq!(
        (status, &listed["data"][0]["id"], &listed["data"][0]["owned_by"]),
        (200, &json!("large"), &json!("upstream"))
    );
    let asked = json!({ "model": "large", "messages": [{ "role": "user", "content": "Hello" }] });
    let (status, answer) = it.post("/v1/chat/completions", &asked).await;
    assert_eq!(
        (status, &answer["choices"][0]["message"]["content"]),
        (200, &json!("Thank you, Ana. 谢谢! ")),
        "{answer}"
    );
    let (status, answer) =
        it.post("/v1/completions", &json!({ "model": "large", "prompt": "Hello", "logprobs": 1 })).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (400, Some("invalid_request_error")), "{answer}");
}

#[tokio::test]
async fn a_text_to_go_on_with_goes_to_the_other_address() {
    let (seen, host) = server().await;
    let model = upstream(&host, "fitting");
    let request = Request::new(Prompt::Text("One, two,".into()), Sampling::default());
    let (answer, _) = answered(&model, request).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(seen.bodies.lock().expect("bodies").remove(0)["prompt"], "One, two,");
}
