//! The models by OpenAI's API, asked by its own clients for Python and Node.
//!
//! Needs the fetched models, and the clients: `STOREHAND_TEST_OPENAI_PYTHON` names a Python that has `openai`,
//! `STOREHAND_TEST_OPENAI_NODE` a folder that has it in `node_modules`. What is missing is said as `SKIPPED`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::TestApp;

const MODEL: &str = "smollm2-135m-instruct";
const ENCODER: &str = "multilingual-e5-small";

/// A server with the fetched models, or nothing where they are not there.
async fn with_models(test: &str) -> Option<TestApp> {
    let models = fetched(test)?;
    let folder = models.display().to_string();
    let settings = [("STOREHAND_MODEL__ENABLED", "on"), ("STOREHAND_MODEL__FOLDER", folder.as_str())];
    Some(TestApp::start_with(&[], &settings).await)
}

/// The folder of the fetched models.
fn fetched(test: &str) -> Option<PathBuf> {
    let models = std::env::var_os("STOREHAND_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    if !models.join(MODEL).join("model.onnx").exists() {
        eprintln!("SKIPPED: {test}: no model in {}; `storehand model fetch` gets one", models.display());
        return None;
    }
    Some(models)
}

/// A server with the fetched model under a template that has tools, as Qwen2.5's.
#[cfg(unix)]
async fn with_tools(test: &str) -> Option<(TestApp, tempfile::TempDir)> {
    let models = fetched(test)?.canonicalize().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join(MODEL);
    std::fs::create_dir(&model).expect("a folder");
    for entry in std::fs::read_dir(models.join(MODEL)).expect("the model") {
        let file = entry.expect("a file");
        std::os::unix::fs::symlink(file.path(), model.join(file.file_name())).expect("a link");
    }
    let template = model.join("chat_template.jinja");
    let _ = std::fs::remove_file(&template);
    std::fs::write(&template, include_str!("../fixtures/models/tools.jinja")).expect("a template");
    let library = models.join("onnxruntime").join("libonnxruntime.so").display().to_string();
    let named = folder.path().display().to_string();
    let settings = [
        ("STOREHAND_MODEL__ENABLED", "on"),
        ("STOREHAND_MODEL__FOLDER", named.as_str()),
        ("STOREHAND_MODEL__LIBRARY", library.as_str()),
        ("STOREHAND_MODEL__ENCODER", ""),
    ];
    Some((TestApp::start_with(&[], &settings).await, folder))
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn tools_are_called_where_the_template_has_them() {
    let test = "tools_are_called_where_the_template_has_them";
    let Some((it, _folder)) = with_tools(test).await else { return };
    // Without the client too.
    let tool = json!({ "type": "function", "function": { "name": "stock", "parameters": { "type": "object",
        "properties": { "sku": { "enum": ["CUP-1", "POT-2"] } }, "required": ["sku"], "additionalProperties": false } } });
    let asked = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Is CUP-1 there?" }], "tools": [tool],
        "tool_choice": "required", "max_tokens": 40 });
    let (status, answer) = it.post("/v1/chat/completions", &asked).await;
    assert_eq!((status, &answer["choices"][0]["finish_reason"]), (200, &json!("tool_calls")), "{answer}");
    let arguments = answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().expect("a text");
    let arguments: Json = serde_json::from_str(arguments).expect("JSON");
    assert!(["CUP-1", "POT-2"].contains(&arguments["sku"].as_str().expect("a text")), "{answer}");
    let Some(python) = std::env::var_os("STOREHAND_TEST_OPENAI_PYTHON") else {
        eprintln!("SKIPPED: {test}, asked by OpenAI's client: STOREHAND_TEST_OPENAI_PYTHON names no Python");
        return;
    };
    client(&it, Command::new(python), &["tests/fixtures/openai/tools.py"]).await;
}

/// Runs a client's program to its end.
async fn client(it: &TestApp, mut program: Command, arguments: &[&str]) {
    let (status, listed) = it.get("/v1/models").await;
    assert_eq!(status, 200, "{listed}");
    let has_encoder = listed["data"].as_array().expect("a list").iter().any(|model| model["id"] == ENCODER);
    let url = format!("http://{}/v1", it.app.address);
    program.args(arguments).args([url.as_str(), &it.token, MODEL, if has_encoder { ENCODER } else { "-" }]);
    let ran = tokio::task::spawn_blocking(move || program.output()).await.expect("a thread").expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.trim_end().ends_with("ok"), "{out}\n{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_for_python_is_served() {
    let Some(python) = std::env::var_os("STOREHAND_TEST_OPENAI_PYTHON") else {
        eprintln!("SKIPPED: openais_client_for_python_is_served: STOREHAND_TEST_OPENAI_PYTHON names no Python");
        return;
    };
    let Some(it) = with_models("openais_client_for_python_is_served").await else { return };
    client(&it, Command::new(python), &["tests/fixtures/openai/client.py"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_client_for_node_is_served() {
    let Some(folder) = std::env::var_os("STOREHAND_TEST_OPENAI_NODE") else {
        eprintln!("SKIPPED: openais_client_for_node_is_served: STOREHAND_TEST_OPENAI_NODE names no folder");
        return;
    };
    let Some(it) = with_models("openais_client_for_node_is_served").await else { return };
    let mut node = Command::new("node");
    node.current_dir(folder);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openai/client.mjs");
    client(&it, node, &[&script.display().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused_in_the_apis_own_form_and_the_server_goes_on() {
    let Some(it) = with_models("what_cannot_be_asked_is_refused_in_the_apis_own_form").await else { return };
    let messages = json!([{ "role": "user", "content": "Hello" }]);
    let chat = |more: Json| {
        let mut asked = json!({ "model": MODEL, "messages": messages, "max_tokens": 4 });
        asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        asked
    };
    let endless = (0..200).fold(json!({ "type": "string" }), |inner, _| json!({ "type": "array", "items": inner }));
    for (asked, param, says) in [
        (chat(json!({ "max_tokens": "many" })), Some("max_tokens"), "cannot be read"),
        (chat(json!({ "messages": [] })), Some("messages"), "`messages` must be"),
        (
            chat(json!({ "messages": [{ "role": "wizard", "content": "x" }] })),
            Some("messages[0].role"),
            "no role `wizard`",
        ),
        (chat(json!({ "n": 100_000 })), None, "at a time"),
        (chat(json!({ "top_logprobs": 2 })), Some("top_logprobs"), "goes with"),
        (chat(json!({ "logit_bias": { "5": 3 } })), Some("logit_bias"), "not supported"),
        (chat(json!({ "response_format": { "type": "yaml" } })), Some("response_format.type"), "yaml"),
        (
            chat(json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x",
                "schema": { "type": "string", "pattern": "(" } } } })),
            None,
            "unclosed group",
        ),
        (
            chat(
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": false } } }),
            ),
            None,
            "Unsatisfiable schema",
        ),
    ] {
        let (status, answer) = it.post("/v1/chat/completions", &asked).await;
        let error = &answer["error"];
        assert_eq!((status, error["type"].as_str()), (400, Some("invalid_request_error")), "{asked}: {answer}");
        if param.is_some() {
            assert_eq!(error["param"].as_str(), param, "{answer}");
        }
        assert!(error["message"].as_str().expect("a message").contains(says), "{asked}: {answer}");
    }
    let (status, answer) = it
        .post(
            "/v1/chat/completions",
            &chat(json!({ "response_format": { "type": "json_schema",
            "json_schema": { "name": "x", "schema": endless } } })),
        )
        .await;
    assert!(status == 400 || status == 413, "{status}: {answer}");
    // Where it is to be streamed, too, the status says what went wrong before anything was written.
    let (status, answer) = it.post("/v1/chat/completions", &chat(json!({ "stream": true, "temperature": 9 }))).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("invalid_value")), "{answer}");
    let long = json!([{ "role": "user", "content": "long ".repeat(5000) }]);
    let (status, answer) = it.post("/v1/chat/completions", &chat(json!({ "stream": true, "messages": long }))).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("context_length_exceeded")), "{answer}");
    let (status, answer) = it.post("/v1/chat/completions", &chat(json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion");
    // Of what is not complete there is nothing but what it took.
    let held = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object",
        "properties": { "a": { "type": "string" } }, "required": ["a"] } } });
    let (_, cut) = it.post("/v1/chat/completions", &chat(json!({ "max_tokens": 2, "response_format": held }))).await;
    assert_eq!(
        (&cut["choices"][0]["finish_reason"], &cut["choices"][0]["message"]["content"]),
        (&json!("length"), &json!(""))
    );
    assert_eq!(
        (&cut["usage"]["completion_tokens"], cut["usage"]["prompt_tokens"].as_u64() > Some(10)),
        (&json!(2), true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_frees_the_row() {
    let Some(it) = with_models("who_hangs_up_frees_the_row").await else { return };
    let asked = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Count to a thousand." }],
        "max_tokens": 500, "stream": true });
    let url = format!("http://{}/v1/chat/completions", it.app.address);
    for _ in 0..12 {
        let asking = reqwest::Client::new().post(&url).bearer_auth(&it.token).json(&asked).send().await.expect("begun");
        assert_eq!(asking.status(), 200);
        drop(asking);
    }
    // More than there are rows: were they kept, this would wait for all of them.
    let model = it.app.model.clone().expect("a model");
    for _ in 0..600 {
        if model.stats().requests == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((model.stats().requests, model.stats().rows), (0, 0));
}

#[tokio::test]
async fn without_a_model_it_says_so() {
    let it = TestApp::start_with(&[], &[("STOREHAND_MODEL__ENABLED", "off")]).await;
    let (status, listed) = it.get("/v1/models").await;
    assert_eq!((status, &listed["data"]), (200, &json!([])));
    for (page, asked) in [
        ("/v1/chat/completions", json!({ "model": "x", "messages": [{ "role": "user", "content": "Hello" }] })),
        ("/v1/completions", json!({ "model": "x", "prompt": "Hello" })),
        ("/v1/embeddings", json!({ "model": "x", "input": "Hello" })),
        ("/v1/score", json!({ "model": "x", "prompt": "Hello", "candidates": ["a", "b"] })),
    ] {
        let (status, answer) = it.post(page, &asked).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("model_not_found")), "{answer}");
        assert!(answer["error"]["message"].as_str().expect("a message").contains("storehand model fetch"), "{answer}");
    }
}

/// A server with one of the small random models of `tests/fixtures/models/random`, and no encoder.
async fn with_random_model(test: &str, name: &str) -> Option<TestApp> {
    let models = std::env::var_os("STOREHAND_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let library = models.join("onnxruntime").join("libonnxruntime.so");
    if !library.exists() {
        eprintln!("SKIPPED: {test}: no library in {}; `storehand model fetch` gets it", models.display());
        return None;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/random");
    let (library, folder) = (library.display().to_string(), folder.display().to_string());
    let settings = [
        ("STOREHAND_MODEL__ENABLED", "on"),
        ("STOREHAND_MODEL__LIBRARY", library.as_str()),
        ("STOREHAND_MODEL__FOLDER", folder.as_str()),
        ("STOREHAND_MODEL__NAME", name),
        ("STOREHAND_MODEL__ENCODER", ""),
    ];
    Some(TestApp::start_with(&[], &settings).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_an_adapter_is_a_model_of_its_own_name() {
    let Some(it) = with_random_model("a_model_with_an_adapter_is_a_model_of_its_own_name", "lora").await else {
        return;
    };
    let (_, listed) = it.get("/v1/models").await;
    let names: Vec<&str> =
        listed["data"].as_array().expect("a list").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(names, ["lora", "lora:brief", "lora:formal"]);
    assert_ne!(listed["data"][1]["digest"], listed["data"][2]["digest"]);
    assert_eq!(it.get("/v1/models/lora:formal").await.1["id"], "lora:formal");
    let asked = |model: &str| json!({ "model": model, "prompt": "a", "max_tokens": 20, "temperature": 0 });
    let mut said = Vec::new();
    for model in ["lora", "lora:brief", "lora:formal", "lora"] {
        let (status, answer) = it.post("/v1/completions", &asked(model)).await;
        assert_eq!((status, answer["model"].as_str()), (200, Some(model)), "{answer}");
        said.push(answer["choices"][0]["text"].as_str().expect("a text").to_owned());
        let chat = json!({ "model": model, "messages": [{ "role": "user", "content": "a" }], "max_tokens": 20,
            "temperature": 0 });
        let (_, chat) = it.post("/v1/chat/completions", &chat).await;
        assert_eq!(chat["choices"][0]["message"]["content"].as_str(), said.last().map(String::as_str), "{chat}");
    }
    assert!(said[0] == said[3] && said[0] != said[1] && said[0] != said[2] && said[1] != said[2], "{said:?}");
    let (status, answer) = it.post("/v1/completions", &asked("lora:rude")).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (404, Some("model_not_found")), "{answer}");
    assert!(answer["error"]["message"].as_str().expect("a message").contains("`lora:brief`"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_scored_and_what_cannot_be_is_refused() {
    let Some(it) = with_random_model("texts_are_scored_and_what_cannot_be_is_refused", "gpt2").await else { return };
    let score = |more: Json| {
        let mut asked =
            json!({ "model": "gpt2", "prompt": "Where is my order?", "candidates": ["yes", "no", "perhaps"] });
        asked.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        asked
    };
    let number = |value: &Json| value.as_f64().expect("a number");
    let (status, plain) = it.post("/v1/score", &score(json!({ "calibrate": false }))).await;
    assert_eq!((status, plain["object"].as_str()), (200, Some("score")), "{plain}");
    let (status, free) = it.post("/v1/score", &score(json!({ "calibrate": false, "prompt": "N/A" }))).await;
    assert_eq!(status, 200, "{free}");
    let (status, ranked) = it.post("/v1/score", &score(json!({}))).await;
    assert_eq!(status, 200, "{ranked}");
    let of = |answer: &Json, index: usize| {
        let data = answer["data"].as_array().expect("a list");
        data.iter().find(|it| it["index"] == index).cloned().expect("the candidate")
    };
    let mut weights = Vec::new();
    for (index, text) in ["yes", "no", "perhaps"].into_iter().enumerate() {
        let (plain, free, it) = (of(&plain, index), of(&free, index), of(&ranked, index));
        assert_eq!((&it["text"], &plain["content_free_logprob"]), (&json!(text), &Json::Null));
        let tokens = it["token_logprobs"].as_array().expect("tokens");
        assert_eq!(tokens.len(), text.len(), "a token a letter");
        let sum: f64 = tokens.iter().map(number).sum();
        assert!((sum - number(&it["logprob"])).abs() < 1e-4 && it["logprob"] == plain["logprob"], "{it} {plain}");
        assert!((sum / tokens.len() as f64 - number(&it["logprob_per_token"])).abs() < 1e-4, "{it}");
        assert_eq!(it["content_free_logprob"], free["logprob"]);
        weights.push((number(&it["logprob"]) - number(&free["logprob"])).exp());
    }
    for (index, weight) in weights.iter().enumerate() {
        let expected = weight / weights.iter().sum::<f64>();
        assert!((number(&of(&ranked, index)["probability"]) - expected).abs() < 1e-6, "{ranked}");
    }
    let likely: Vec<f64> =
        ranked["data"].as_array().expect("a list").iter().map(|it| number(&it["probability"])).collect();
    assert!(likely.is_sorted_by(|a, b| a >= b), "{likely:?}");
    assert_eq!(ranked["usage"]["completion_tokens"], 2 * "yesnoperhaps".len());
    // A conversation, whose content is what was said last.
    let chat = json!({ "model": "gpt2", "messages": [{ "role": "user", "content": "Where is my order?" }],
        "candidates": ["yes", "no", "perhaps"] });
    let (status, chat) = it.post("/v1/score", &chat).await;
    assert_eq!((status, &chat["data"]), (200, &ranked["data"]), "{chat}");
    for (more, param, says) in [
        (json!({ "candidates": ["one"] }), Some("candidates"), "2 to 100"),
        (json!({ "candidates": vec!["x"; 101] }), Some("candidates"), "2 to 100"),
        (json!({ "candidates": ["one", ""] }), None, "candidate 1 is empty"),
        (json!({ "candidates": ["one", "x".repeat(120)] }), None, "shorten"),
        (json!({ "messages": [] }), Some("prompt"), "either"),
        (json!({ "calibrate": false, "content_free": "x" }), Some("content_free"), "goes with"),
        (json!({ "best_of": 2 }), Some("best_of"), "unknown field"),
    ] {
        let (status, answer) = it.post("/v1/score", &score(more)).await;
        assert_eq!((status, answer["error"]["type"].as_str()), (400, Some("invalid_request_error")), "{answer}");
        if param.is_some() {
            assert_eq!(answer["error"]["param"].as_str(), param, "{answer}");
        }
        assert!(answer["error"]["message"].as_str().expect("a message").contains(says), "{answer}");
    }
}
