//! What the scheduler promises, shown on a small random model: what a request gets does not depend on what else is
//! answered, on what is cached, or on whether anybody watches; and whoever goes away leaves nothing behind.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio_util::sync::CancellationToken;

use super::convert::convert;
use super::gguf::Quant;
use super::tests::{random_llama, real};
use super::{Class, Finish, Generated, Model, ModelError, Prompt, Request, Sampling, Settings};

/// A small random model's settings; the folder goes when it is dropped.
pub(super) struct Small {
    settings: Settings,
    _folder: tempfile::TempDir,
}

impl Small {
    pub(super) fn new(test: &str) -> Option<Self> {
        let settings = real(test)?;
        let folder = tempfile::tempdir().expect("folder");
        let (gguf, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
        std::fs::write(&gguf, random_llama(11, Quant::Q8_0, true).bytes()).expect("written");
        convert(&gguf, &out, |_| {}).expect("converted");
        let settings = Settings {
            folder: out,
            rows: 4,
            context_tokens: 128,
            prefix_cache_bytes: 1 << 20,
            queue: 10_000,
            queue_tokens: 10_000_000,
            ..settings
        };
        Some(Self { settings, _folder: folder })
    }

    pub(super) fn load(&self, change: impl FnOnce(&mut Settings)) -> Model {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Model::load(&settings).expect("loaded")
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

pub(super) async fn ask(model: &Model, request: &Request) -> Generated {
    let never = CancellationToken::new();
    let pieces = Arc::new(Mutex::new(String::new()));
    let streamed = Arc::clone(&pieces);
    let watch = move |piece: &str| streamed.lock().expect("pieces").push_str(piece);
    let answer = model.generate(request.clone(), &never, watch).await.expect("an answer");
    assert_eq!(*pieces.lock().expect("pieces"), answer.text, "streamed is whole");
    answer
}

/// A request for any text after one of two beginnings, of which one is longer than two blocks.
fn requests() -> impl Strategy<Value = Request> {
    let text = (prop::bool::ANY, "[a-z ]{1,40}").prop_map(|(long, rest)| {
        let policy =
            if long { "be kind, be brief, state only facts that you are given, promise nothing. " } else { "" };
        format!("{policy}{rest}")
    });
    (text, 1_usize..30, prop::bool::ANY, 0_u64..100, 1_usize..4, prop::bool::ANY).prop_map(
        |(text, max_tokens, warm, seed, n, penalised)| {
            let sampling = Sampling {
                temperature: if warm { 0.8 } else { 0.0 },
                repetition_penalty: if penalised { 1.3 } else { 1.0 },
                min_p: 0.01,
                seed,
                n,
                max_tokens,
                stop: vec!["zq".into()],
                ..Sampling::default()
            };
            Request::new(Prompt::Text(text), sampling)
        },
    )
}

/// What counts of an answer: all but how much of the prompt was cached.
fn counts(answer: Generated) -> Generated {
    Generated { cached_tokens: 0, ..answer }
}

#[test]
fn together_is_as_alone_and_cached_as_read() {
    let Some(small) = Small::new("together_is_as_alone_and_cached_as_read") else { return };
    let alone = small.load(|settings| {
        settings.rows = 3;
        settings.prefix_cache_bytes = 0;
    });
    let together = small.load(|_| {});
    // So little that blocks are given up all the time.
    let short_of_room = small.load(|settings| settings.prefix_cache_bytes = 100_000);
    let runtime = runtime();
    let cached = std::cell::Cell::new(0);
    TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() })
        .run(&prop::collection::vec(requests(), 1..12), |requests| {
            runtime.block_on(async {
                let mut expected = Vec::new();
                for request in &requests {
                    expected.push(ask(&alone, request).await);
                }
                prop_assert!(expected.iter().all(|answer| answer.cached_tokens == 0));
                for model in [&together, &short_of_room, &together] {
                    for (answer, expected) in
                        join_all(requests.iter().map(|it| ask(model, it))).await.into_iter().zip(&expected)
                    {
                        cached.set(cached.get() + answer.cached_tokens);
                        prop_assert_eq!(&counts(answer), expected);
                    }
                }
                Ok(())
            })
        })
        .expect("the same");
    assert!(cached.get() > 1000, "the cache was of no use: {}", cached.get());
    assert!(short_of_room.stats().cache_bytes <= 100_000);
}

#[test]
fn several_answers_are_those_of_their_seeds() {
    let Some(small) = Small::new("several_answers_are_those_of_their_seeds") else { return };
    let model = small.load(|_| {});
    runtime().block_on(async {
        let sampling = Sampling { temperature: 1.0, n: 4, max_tokens: 20, seed: 5, ..Sampling::default() };
        let all = ask(&model, &Request::new(Prompt::Text("hello".into()), sampling.clone())).await;
        let texts: Vec<&str> =
            std::iter::once(&all.text).chain(all.others.iter().map(|it| &it.text)).map(String::as_str).collect();
        assert_eq!(texts.len(), 4);
        assert!(texts.iter().enumerate().all(|(at, text)| !texts[..at].contains(text)), "{texts:?}");
        // The first is the one that is written where one is wanted.
        let one = ask(&model, &Request::new(Prompt::Text("hello".into()), Sampling { n: 1, ..sampling.clone() })).await;
        assert_eq!((one.text, one.finish), (all.text.clone(), all.finish));
        assert_eq!(
            all.completion_tokens,
            one.completion_tokens + all.others.iter().map(|it| it.completion_tokens).sum::<usize>()
        );
        let many = Request::new(Prompt::Text("hello".into()), Sampling { n: 5, ..sampling });
        let error = model.generate(many, &CancellationToken::new(), |_| {}).await.expect_err("too many");
        assert!(error.to_string().contains("at most 4"), "{error}");
    });
}

#[test]
fn people_go_before_rules_and_rules_before_the_rest() {
    let Some(small) = Small::new("people_go_before_rules_and_rules_before_the_rest") else { return };
    let model = small.load(|settings| settings.rows = 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let answered = async |class, name: &'static str| {
        let sampling = Sampling { max_tokens: 60, ..Sampling::default() };
        let request = Request { class, ..Request::new(Prompt::Text(format!("{name} says")), sampling) };
        ask(&model, &request).await;
        order.lock().expect("order").push(name);
    };
    runtime().block_on(async {
        // The first ones are written for a while after the others have come, however busy the machine is.
        tokio::join!(
            join_all((0..40).map(|_| answered(Class::Batch, "first"))),
            answered(Class::Batch, "batch"),
            answered(Class::Rule, "rule"),
            answered(Class::Person, "person"),
        );
    });
    let order = order.lock().expect("order").clone();
    assert_eq!(
        order.iter().filter(|it| **it != "first").copied().collect::<Vec<_>>(),
        ["person", "rule", "batch"],
        "{order:?}"
    );
}

#[test]
fn late_answers_are_given_up() {
    let Some(small) = Small::new("late_answers_are_given_up") else { return };
    let model = small.load(|_| {});
    runtime().block_on(async {
        let request =
            Request { within: Some(Duration::ZERO), ..Request::new(Prompt::Text("hello".into()), Sampling::default()) };
        let error = model.generate(request, &CancellationToken::new(), |_| {}).await.expect_err("too late");
        assert!(matches!(error, ModelError::TooLate { .. }), "{error}");
    });
}

/// 2,000 requests of all lengths, a third of them cancelled, half of those by going away.
#[test]
fn nothing_is_left_of_two_thousand_requests() {
    let Some(small) = Small::new("nothing_is_left_of_two_thousand_requests") else { return };
    let model = small.load(|_| {});
    let first_page = resident_bytes();
    let mut after_some = 0;
    runtime().block_on(async {
        let mut cancelled_ones = 0;
        for round in 0..125_usize {
            let answers = join_all((0..16_usize).map(|number| {
                let (model, seed) = (&model, round * 16 + number);
                async move {
                    let sampling = Sampling {
                        max_tokens: 1 + seed * 7 % 50,
                        temperature: 1.0,
                        seed: seed as u64,
                        n: 1 + seed % 3,
                        ..Sampling::default()
                    };
                    let class = [Class::Person, Class::Rule, Class::Batch][seed % 3];
                    let text = "lorem ipsum dolor sit amet ".repeat(seed % 4) + seed.to_string().as_str();
                    let request = Request {
                        class,
                        shop: format!("shop{}", seed % 5),
                        ..Request::new(Prompt::Text(text), sampling)
                    };
                    let cancelled = CancellationToken::new();
                    let answer = model.generate(request, &cancelled, |_| {});
                    match seed % 6 {
                        0 => {
                            // Gone after a while, wherever it is then.
                            tokio::time::timeout(Duration::from_micros(seed as u64 * 37 % 5000), answer).await.is_ok()
                        }
                        3 => {
                            let cancel = async {
                                tokio::time::sleep(Duration::from_micros(seed as u64 * 53 % 5000)).await;
                                cancelled.cancel();
                            };
                            let (answer, ()) = tokio::join!(answer, cancel);
                            answer.expect("an answer").finish != Finish::Cancelled
                        }
                        _ => {
                            assert_ne!(answer.await.expect("an answer").finish, Finish::Cancelled);
                            true
                        }
                    }
                }
            }));
            cancelled_ones += answers.await.iter().filter(|whole| !**whole).count();
            if round == 24 {
                after_some = resident_bytes();
            }
        }
        assert!(cancelled_ones > 100, "only {cancelled_ones} were cancelled");
        // The thread lets go within a round of the last one.
        for _ in 0..500 {
            if model.stats().rows == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let stats = model.stats();
    assert_eq!((stats.requests, stats.queued_tokens, stats.rows, stats.failures), (0, 0, 0, 0), "{stats:?}");
    assert!(stats.cache_bytes <= 1 << 20);
    // What the last 1,600 requests have added; a row lost by each would be 100 MB. Zero where the system does not tell.
    let grown = resident_bytes().saturating_sub(after_some.max(first_page));
    assert!(grown < 32 << 20, "{grown} bytes more");
}

/// Memory of this process, where the system tells.
fn resident_bytes() -> usize {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
