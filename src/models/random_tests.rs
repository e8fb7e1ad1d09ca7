//! Other architectures: small random models, in the layouts in which Optimum exports them, write token by token what
//! Python's ONNX Runtime writes with them in the plainest way (`tests/fixtures/models/random_models.py`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::scheduler_tests::{ask, runtime};
use super::tests::real;
use super::{ChatMessage, Finish, Format, Generated, Model, ModelError, Prompt, Request, Sampling, Settings};

/// What Python wrote after some prompts.
#[derive(Deserialize)]
pub(super) struct Goldens {
    prompts: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    prompt: String,
    greedy: Vec<u32>,
    searches: Vec<Search>,
}

#[derive(Deserialize)]
struct Search {
    beams: usize,
    length_penalty: f32,
    answers: Vec<Vec<u32>>,
}

/// Tokens that Python's loops write at most.
const MOST: usize = 32;
/// The token that ends an answer, the first of the special ones.
const END: u32 = 96;

pub(super) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/random").join(name)
}

pub(super) fn settings(test: &str, name: &str) -> Option<Settings> {
    let found = real(test)?;
    Some(Settings { folder: folder(name), rows: 4, context_tokens: 128, prefix_cache_bytes: 1 << 20, ..found })
}

pub(super) fn goldens(name: &str, file: &str) -> Goldens {
    let text = std::fs::read_to_string(folder(name).join(file)).expect("goldens");
    serde_json::from_str(&text).expect("goldens")
}

/// The text of tokens: printable ASCII and the line's end, without special ones.
fn text(tokens: &[u32]) -> String {
    let letter = |token: u32| if token == 95 { '\n' } else { char::from_u32(32 + token).expect("a letter") };
    tokens.iter().filter(|token| **token < END).map(|token| letter(*token)).collect()
}

pub(super) fn greedy(prompt: &str) -> Request {
    Request::new(Prompt::Text(prompt.into()), Sampling { max_tokens: MOST, logprobs: Some(0), ..Sampling::default() })
}

/// All prompts at once, greedily and by beams, twice: the second time their beginnings are cached.
pub(super) fn check(model: &Model, goldens: &Goldens, change: impl Fn(Request) -> Request) {
    runtime().block_on(async {
        for _ in 0..2 {
            let asked: Vec<Request> = goldens.prompts.iter().map(|it| change(greedy(&it.prompt))).collect();
            let answers = join_all(asked.iter().map(|request| ask(model, request))).await;
            for (answer, golden) in answers.iter().zip(&goldens.prompts) {
                let written: Vec<u32> = answer.logprobs.iter().map(|it| it.token.id).collect();
                let expected = golden.greedy.strip_suffix(&[END]).unwrap_or(&golden.greedy);
                assert_eq!(written, expected, "{}: {:?}", model.name(), golden.prompt);
                assert_eq!(counts(answer), (text(&golden.greedy), golden.greedy.len()));
            }
            for golden in &goldens.prompts {
                for search in &golden.searches {
                    let sampling = Sampling {
                        max_tokens: MOST,
                        beams: search.beams,
                        n: search.beams,
                        length_penalty: search.length_penalty,
                        ..Sampling::default()
                    };
                    let asked = change(Request::new(Prompt::Text(golden.prompt.clone()), sampling));
                    let answer = ask(model, &asked).await;
                    let others = answer.others.iter().map(|it| (it.text.clone(), it.completion_tokens));
                    let first = search.answers.first().expect("an answer").len();
                    let found: Vec<_> = std::iter::once((answer.text.clone(), first)).chain(others).collect();
                    let expected: Vec<_> = search.answers.iter().map(|it| (text(it), it.len())).collect();
                    assert_eq!(found, expected, "{}: {:?} with {} beams", model.name(), golden.prompt, search.beams);
                }
            }
        }
    });
}

fn counts(answer: &Generated) -> (String, usize) {
    (answer.text.clone(), answer.completion_tokens)
}

fn as_python_writes(test: &str, name: &str) {
    let Some(settings) = settings(test, name) else { return };
    let model = Model::load(&settings).expect("loaded");
    check(&model, &goldens(name, "goldens.json"), |request| request);
}

#[test]
fn gpt2_writes_what_python_writes() {
    as_python_writes("gpt2_writes_what_python_writes", "gpt2");
}

/// With a branch for what has no cache, and another that reads one token at a time only: which is found out.
#[test]
fn a_merged_gpt2_writes_what_python_writes() {
    as_python_writes("a_merged_gpt2_writes_what_python_writes", "gpt2-merged");
}

#[test]
fn gemma_writes_what_python_writes() {
    as_python_writes("gemma_writes_what_python_writes", "gemma");
}

#[test]
fn qwen2_writes_what_python_writes() {
    as_python_writes("qwen2_writes_what_python_writes", "qwen2");
}

/// Who has no chat template reads what is said, a message after the other.
#[test]
fn a_model_without_a_template_goes_on_with_the_messages() {
    let Some(settings) = settings("a_model_without_a_template_goes_on_with_the_messages", "gpt2") else { return };
    let model = Model::load(&settings).expect("loaded");
    runtime().block_on(async {
        let sampling = Sampling { max_tokens: 8, ..Sampling::default() };
        let messages = vec![ChatMessage::system("Be kind."), ChatMessage::user("Where is it?")];
        let chat = ask(&model, &Request::new(messages, sampling.clone())).await;
        let text = ask(&model, &Request::new(Prompt::Text("Be kind.\n\nWhere is it?".into()), sampling)).await;
        assert_eq!(Generated { cached_tokens: 0, ..chat }, Generated { cached_tokens: 0, ..text });
        let nothing = Request::new(Prompt::Text(String::new()), Sampling::default());
        let refused = model.generate(nothing, &CancellationToken::new(), |_| {}).await.expect_err("nothing to read");
        assert!(matches!(refused, ModelError::Request(_)), "{refused}");
    });
}

#[test]
fn t5_writes_what_python_writes() {
    as_python_writes("t5_writes_what_python_writes", "t5");
}

/// Its decoder in two files in place of one.
#[test]
fn a_split_t5_writes_what_python_writes() {
    as_python_writes("a_split_t5_writes_what_python_writes", "t5-split");
}

/// What the scheduler does for others it does for a model with an encoder.
#[test]
fn t5_is_sampled_held_to_forms_stopped_and_cancelled() {
    let Some(settings) = settings("t5_is_sampled_held_to_forms_stopped_and_cancelled", "t5") else { return };
    let model = Model::load(&settings).expect("loaded");
    let written = |sampling: Sampling| Request::new(Prompt::Text("return it\nplease".into()), sampling);
    runtime().block_on(async {
        // Two that are drawn together are drawn as each alone.
        let warm = Sampling { temperature: 1.0, seed: 7, max_tokens: 24, ..Sampling::default() };
        let one = ask(&model, &written(warm.clone())).await;
        let both = ask(&model, &written(Sampling { n: 3, ..warm })).await;
        assert_eq!((&both.text, both.others.len()), (&one.text, 2));
        assert_ne!(both.others[0].text, both.text);
        // Held to a form.
        let schema = serde_json::json!({ "type": "object", "properties": { "n": { "enum": [1, 22] } },
            "required": ["n"], "additionalProperties": false });
        let held = Request { format: Some(Format::Json(schema)), ..written(Sampling::default()) };
        let json: serde_json::Value = serde_json::from_str(&ask(&model, &held).await.text).expect("JSON");
        assert!(json == serde_json::json!({ "n": 1 }) || json == serde_json::json!({ "n": 22 }), "{json}");
        let choice = Format::Choice(vec!["refund".into(), "exchange".into()]);
        let held = Request { format: Some(choice), ..written(Sampling { beams: 2, ..Sampling::default() }) };
        assert!(["refund", "exchange"].contains(&ask(&model, &held).await.text.as_str()));
        // Stopped.
        let whole = ask(&model, &written(Sampling { max_tokens: 12, ..Sampling::default() })).await.text;
        let stop = whole.chars().nth(5).expect("a sixth letter").to_string();
        let stopped = Sampling { max_tokens: 12, stop: vec![stop.clone()], ..Sampling::default() };
        let stopped = ask(&model, &written(stopped)).await;
        assert_eq!((stopped.text.as_str(), stopped.finish), (whole.split(&stop).next().expect("before"), Finish::Stop));
        // Its answer has a context of its own beside the prompt's; a prompt that does not fit is refused.
        let full = Request::new(Prompt::Text("a".repeat(127)), Sampling { max_tokens: 100, ..Sampling::default() });
        assert!(matches!(ask(&model, &full).await.finish, Finish::Length | Finish::Stop));
        let long = Request::new(Prompt::Text("a".repeat(128)), Sampling::default());
        let refused = model.generate(long, &CancellationToken::new(), |_| {}).await.expect_err("too long");
        assert!(matches!(refused, ModelError::PromptTooLong { tokens: 129, context: 128 }), "{refused}");
        // Cancelled in the midst, it keeps no row.
        let cancelled = CancellationToken::new();
        let stopper = cancelled.clone();
        let warm = Sampling { temperature: 5.0, n: 4, max_tokens: 120, ..Sampling::default() };
        let asked = model.generate(written(warm), &cancelled, move |_| stopper.cancel());
        assert_eq!(asked.await.expect("what there was").finish, Finish::Cancelled);
        for _ in 0..200 {
            if model.stats().rows == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(model.stats().rows, 0);
    });
}
