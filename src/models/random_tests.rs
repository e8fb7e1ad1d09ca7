//! Other architectures: small random models, in the layouts in which Optimum exports them, write token by token what
//! Python's ONNX Runtime writes with them in the plainest way (`tests/fixtures/models/random_models.py`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::scheduler_tests::{ask, runtime};
use super::tests::real;
use super::{
    ChatMessage, Class, Finish, Format, Generated, Model, ModelError, Prompt, Request, Sampling, Settings, ToRank,
    main_graph,
};

/// What Python wrote after some prompts.
#[derive(Deserialize)]
pub(super) struct Goldens {
    candidates: Vec<String>,
    prompts: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    prompt: String,
    greedy: Vec<u32>,
    searches: Vec<Search>,
    /// By candidate, the log-probabilities of its tokens.
    scores: Vec<Vec<f32>>,
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

/// Texts that are told, in place of written, are as likely as Python finds them.
fn check_scores(model: &Model, goldens: &Goldens, adapter: Option<&str>) {
    runtime().block_on(async {
        for golden in &goldens.prompts {
            let ranking =
                model.rank(to_rank(golden, goldens, adapter), &CancellationToken::new()).await.expect("ranked");
            assert_eq!(ranking.candidates.len(), goldens.candidates.len());
            for ranked in &ranking.candidates {
                let expected = &golden.scores[ranked.index];
                assert_eq!(ranked.token_logprobs.len(), expected.len());
                for (found, expected) in ranked.token_logprobs.iter().zip(expected) {
                    assert!(
                        (found - expected).abs() < 1e-3,
                        "{}: {:?}: {found} is {expected}",
                        model.name(),
                        golden.prompt
                    );
                }
            }
            assert!(ranking.candidates.is_sorted_by(|a, b| a.logprob() >= b.logprob()));
        }
    });
}

fn to_rank(golden: &Golden, goldens: &Goldens, adapter: Option<&str>) -> ToRank {
    ToRank {
        prompt: Prompt::Text(golden.prompt.clone()),
        candidates: goldens.candidates.clone(),
        content_free: None,
        class: Class::Person,
        shop: String::new(),
        within: None,
        adapter: adapter.map(str::to_owned),
    }
}

fn counts(answer: &Generated) -> (String, usize) {
    (answer.text.clone(), answer.completion_tokens)
}

fn as_python_writes(test: &str, name: &str) {
    let Some(settings) = settings(test, name) else { return };
    let model = Model::load(&settings).expect("loaded");
    let goldens = goldens(name, "goldens.json");
    check(&model, &goldens, |request| request);
    check_scores(&model, &goldens, None);
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

/// With each adapter the tokens are those that Python writes with its matrices, also where requests with different ones
/// are answered at the same time; and what was written without one is written again, bit by bit.
#[test]
fn an_adapter_is_chosen_by_request_and_leaves_nothing_behind() {
    let Some(settings) = settings("an_adapter_is_chosen_by_request_and_leaves_nothing_behind", "lora") else { return };
    let model = Model::load(&settings).expect("loaded");
    let names: Vec<&str> = model.adapters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["brief", "formal"]);
    let with = |name: Option<&str>| {
        let name = name.map(str::to_owned);
        move |request: Request| Request { adapter: name.clone(), ..request }
    };
    let base = goldens("lora", "goldens.json");
    let all = || {
        base.prompts
            .iter()
            .flat_map(|it| [None, Some("brief"), Some("formal")].map(|name| with(name)(greedy(&it.prompt))))
    };
    let before = runtime().block_on(async {
        let mut alone = Vec::new();
        for request in all() {
            alone.push(ask(&model, &request).await);
        }
        alone
    });
    for (name, file) in
        [(None, "goldens.json"), (Some("brief"), "goldens-brief.json"), (Some("formal"), "goldens-formal.json")]
    {
        let goldens = goldens("lora", file);
        check(&model, &goldens, with(name));
        check_scores(&model, &goldens, name);
    }
    // All at once, in rows beside each other; log-probabilities and all are the same numbers as alone.
    let requests: Vec<Request> = all().collect();
    let together = runtime().block_on(join_all(requests.iter().map(|request| ask(&model, request))));
    for (answer, before) in together.iter().zip(&before) {
        assert_eq!(Generated { cached_tokens: 0, ..answer.clone() }, Generated { cached_tokens: 0, ..before.clone() });
    }
    let unknown = with(Some("rude"))(greedy("a"));
    let refused = runtime().block_on(model.generate(unknown, &CancellationToken::new(), |_| {})).expect_err("unknown");
    let said = refused.to_string();
    assert!(said.contains("no adapter `rude`; there is `brief`, `formal`"), "{said}");
}

/// An adapter that is none, or another model's, is refused when the model is loaded, by its file's name.
#[test]
fn a_foreign_adapter_is_refused_when_the_model_is_loaded() {
    let test = "a_foreign_adapter_is_refused_when_the_model_is_loaded";
    let Some(found) = settings(test, "gpt2") else { return };
    let place = tempfile::tempdir().expect("folder");
    for entry in std::fs::read_dir(&found.folder).expect("the model") {
        let path = entry.expect("a file").path();
        std::fs::copy(&path, place.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    let settings = Settings { folder: place.path().to_owned(), ..found };
    Model::load(&settings).expect("without adapters it loads");
    std::fs::create_dir(place.path().join("adapters")).expect("folder");
    let file = place.path().join("adapters/brief.onnx_adapter");
    std::fs::copy(folder("lora").join("adapters/brief.onnx_adapter"), &file).expect("copied");
    let refused = Model::load(&settings).expect_err("another model's").to_string();
    assert!(refused.contains("brief.onnx_adapter") && refused.contains("does not fit"), "{refused}");
    std::fs::write(&file, vec![7; 4096]).expect("written");
    let refused = Model::load(&settings).expect_err("none at all").to_string();
    assert!(refused.contains("brief.onnx_adapter"), "{refused}");
    std::fs::rename(&file, place.path().join("adapters/a b.onnx_adapter")).expect("renamed");
    let refused = Model::load(&settings).expect_err("a name of its own").to_string();
    assert!(refused.contains("rename it"), "{refused}");
}

/// What a folder with an encoder is seen by.
#[test]
fn a_model_is_seen_by_the_graph_that_it_has() {
    let found = |name: &str| main_graph(&folder(name)).strip_prefix(folder(name)).expect("in it").to_owned();
    assert_eq!(found("gpt2"), Path::new("model.onnx"));
    assert_eq!(found("gpt2-merged"), Path::new("decoder_model_merged.onnx"));
    assert_eq!(found("t5-split"), Path::new("encoder_model.onnx"));
    assert_eq!(found("none"), Path::new("model.onnx"));
}

/// A ranking beside others changes nothing for them, and its calibrated probabilities are what the two passes say.
#[test]
fn texts_are_ranked_beside_others_by_calibrated_probability() {
    let Some(settings) = settings("texts_are_ranked_beside_others_by_calibrated_probability", "lora") else { return };
    let model = Model::load(&settings).expect("loaded");
    let goldens = goldens("lora", "goldens.json");
    runtime().block_on(async {
        let never = CancellationToken::new();
        let alone = ask(&model, &greedy("Where is my order?")).await;
        let many: Vec<String> = (0..100).map(|at| format!("text {at}")).collect();
        let content_free = Some(Prompt::Text("N/A".into()));
        let ranking = ToRank { candidates: many, content_free, ..to_rank(&goldens.prompts[2], &goldens, None) };
        let mut under_way = std::pin::pin!(model.rank(ranking.clone(), &never));
        let beside = tokio::select! {
            biased;
            _ = &mut under_way => panic!("who came after it waited until it was over"),
            beside = ask_after(&model) => beside,
        };
        assert_eq!(Generated { cached_tokens: 0, ..beside }, Generated { cached_tokens: 0, ..alone });
        let ranked = under_way.await.expect("ranked");
        // The prompt is read once, but for what is no whole block of it.
        assert!(ranked.cached_tokens >= 19 * 64, "{}", ranked.cached_tokens);
        let total: f64 = ranked.candidates.iter().map(|it| it.probability).sum();
        assert!((total - 1.0).abs() < 1e-9 && ranked.candidates.is_sorted_by(|a, b| a.probability >= b.probability));
        let free = ToRank { prompt: Prompt::Text("N/A".into()), content_free: None, ..ranking.clone() };
        let free = model.rank(free, &never).await.expect("ranked");
        let (first, second) = (&ranked.candidates[0], &ranked.candidates[1]);
        let weight = |index: usize| {
            let it = ranked.candidates.iter().find(|it| it.index == index).expect("it");
            it.logprob() - free.candidates.iter().find(|it| it.index == index).expect("it").logprob()
        };
        let ratio = (weight(first.index) - weight(second.index)).exp();
        assert!((first.probability / second.probability - ratio).abs() < 1e-6 * ratio);
        let few = ToRank { candidates: vec!["one".into()], ..ranking.clone() };
        assert!(matches!(model.rank(few, &never).await, Err(ModelError::Request(_))));
        let empty = ToRank { candidates: vec!["one".into(), String::new()], ..ranking.clone() };
        assert!(matches!(model.rank(empty, &never).await, Err(ModelError::Request(_))));
        let long = ToRank { candidates: vec!["one".into(), "x".repeat(100)], ..ranking };
        assert!(matches!(model.rank(long, &never).await, Err(ModelError::PromptTooLong { .. })));
        assert_eq!((model.stats().rows, model.stats().requests), (0, 0));
    });
}

/// Asks once the ranking is under way.
async fn ask_after(model: &Model) -> Generated {
    tokio::time::sleep(Duration::from_millis(2)).await;
    ask(model, &greedy("Where is my order?")).await
}
