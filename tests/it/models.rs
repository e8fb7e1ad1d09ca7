//! The default model, as `storehand model fetch` leaves it: it loads, writes, stops, is bounded and can be left alone.
//!
//! Without library and model these tests say `SKIPPED` and why.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use storehand::capabilities::{Deps, all};
use storehand::domain::{Records, Verdict, validate};
use storehand::models::{ChatMessage, Class, Finish, Format, Model, ModelError, Models, Request, Sampling, Settings};
use tokio_util::sync::CancellationToken;

use crate::capabilities::{attempt, refused_with, shop};

/// The fetched library and model, or nothing where they are not there.
fn settings(test: &str) -> Option<Settings> {
    let models = std::env::var_os("STOREHAND_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let settings = Settings {
        library: Some(models.join("onnxruntime").join("libonnxruntime.so")),
        folder: models.join("smollm2-135m-instruct"),
        threads: 1,
        context_tokens: 512,
        ..Settings::default_in(Path::new("."))
    }
    .with_variables(|name| std::env::var_os(name));
    let library = settings.library.clone().unwrap_or_default();
    if !library.exists() || !settings.folder.join("model.onnx").exists() {
        eprintln!("SKIPPED: {test}: no model in {}; `storehand model fetch` gets one", models.display());
        return None;
    }
    Some(settings)
}

fn ask(text: &str, sampling: Sampling) -> Request {
    Request::new(vec![ChatMessage::system("You are helpful."), ChatMessage::user(text)], sampling)
}

fn at_most(max_tokens: usize) -> Sampling {
    Sampling { max_tokens, ..Sampling::default() }
}

#[tokio::test]
async fn the_default_model_writes_stops_and_says_how() {
    let Some(settings) = settings("the_default_model_writes_stops_and_says_how") else { return };
    let model = Model::load(&settings).expect("loaded");
    assert_eq!(model.name(), "smollm2-135m-instruct");
    assert_eq!((model.digest().len(), model.context_tokens()), (32, Some(512)));
    let never = CancellationToken::new();

    // It stops by itself, and what is streamed is what is answered.
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let streamed = Arc::clone(&pieces);
    let watch = move |piece: &str| streamed.lock().expect("pieces").push(piece.to_owned());
    let question = ask("What is the capital of France? Answer in one short sentence.", at_most(60));
    let answer = model.generate(question.clone(), &never, watch).await.expect("an answer");
    assert!(answer.text.contains("Paris"), "{answer:?}");
    assert_eq!(answer.finish, Finish::Stop);
    assert_eq!(pieces.lock().expect("pieces").concat(), answer.text);
    assert!(pieces.lock().expect("pieces").len() > 3, "it comes in pieces");
    assert!(answer.prompt_tokens > 20 && answer.completion_tokens > 3);

    // Greedy is always the same; another prompt has another digest.
    let again = model.generate(question, &never, |_| {}).await.expect("an answer");
    assert_eq!(again, answer);
    let other = model.generate(ask("Hello!", at_most(3)), &never, |_| {}).await.expect("an answer");
    assert_ne!(other.prompt_digest, answer.prompt_digest);
    assert_eq!((other.finish, other.completion_tokens), (Finish::Length, 3));

    // A stop text ends it, and not even its beginning is shown.
    let stop = answer.text.split(' ').nth(2).expect("a third word").to_owned();
    let stopping = Sampling { stop: vec![stop.clone()], ..at_most(60) };
    let question = ask("What is the capital of France? Answer in one short sentence.", stopping);
    let stopped = model.generate(question, &never, |_| {}).await.expect("an answer");
    assert_eq!(stopped.text, answer.text.split(&stop).next().expect("before it"));
    assert_eq!(stopped.finish, Finish::Stop);

    // Sampling follows its seed.
    let drawn = |seed| {
        let sampling =
            Sampling { temperature: 1.0, top_k: 50, top_p: 0.95, repetition_penalty: 1.1, seed, ..at_most(24) };
        model.generate(ask("Tell me a story.", sampling), &never, |_| {})
    };
    let (one, same, two) = (drawn(1).await, drawn(1).await, drawn(2).await);
    assert_eq!(one.as_ref().expect("an answer"), &same.expect("an answer"));
    assert_ne!(one.expect("an answer").text, two.expect("an answer").text);
}

#[tokio::test]
async fn the_model_refuses_what_it_cannot_do_at_once() {
    let Some(settings) = settings("the_model_refuses_what_it_cannot_do_at_once") else { return };
    let model = Model::load(&Settings { queue: 1, rows: 1, ..settings.clone() }).expect("loaded");
    let never = CancellationToken::new();
    let error = model.generate(ask(&"word ".repeat(600), at_most(9)), &never, |_| {}).await.expect_err("too long");
    assert!(matches!(error, ModelError::PromptTooLong { tokens: 600.., context: 512 }), "{error}");
    let error = model.generate(ask(&"a".repeat(3_000_000), at_most(9)), &never, |_| {}).await.expect_err("too long");
    assert!(matches!(error, ModelError::PromptTooLong { .. }), "{error}");
    for sampling in [
        Sampling { temperature: f32::NAN, ..at_most(9) },
        Sampling { top_p: 0.0, ..at_most(9) },
        Sampling { repetition_penalty: -1.0, ..at_most(9) },
        Sampling { stop: vec![String::new()], ..at_most(9) },
        at_most(0),
    ] {
        let error = model.generate(ask("Hello", sampling), &never, |_| {}).await.expect_err("makes no sense");
        assert!(matches!(error, ModelError::Request(_)), "{error}");
    }

    // One is answered and one waits: the third is sent away, and told when to come again.
    let long = || model.generate(ask("Count to one thousand.", at_most(200)), &never, |_| {});
    let (mut first, mut second) = (Box::pin(long()), Box::pin(long()));
    for waiting in [&mut first, &mut second] {
        assert!(poll_once(waiting).await.is_none(), "nobody can be so fast");
    }
    let error = long().await.expect_err("full");
    assert!(matches!(error, ModelError::QueueFull { waiting: 2, retry_after } if !retry_after.is_zero()), "{error}");

    // Who gives up makes room at once, running or waiting.
    drop((first, second));
    let started = std::time::Instant::now();
    let answer = model.generate(ask("Hello!", at_most(1)), &never, |_| {}).await.expect("there is room");
    assert_eq!(answer.completion_tokens, 1);
    assert!(started.elapsed() < Duration::from_secs(60), "the dropped ones were written to their end");
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_cancelled_request_is_let_go_soon() {
    let Some(settings) = settings("a_cancelled_request_is_let_go_soon") else { return };
    let model = Model::load(&settings).expect("loaded");
    let cancelled = CancellationToken::new();
    let written = Arc::new(Mutex::new(0));
    let (count, cancel) = (Arc::clone(&written), cancelled.clone());
    let watch = move |_: &str| {
        let mut count = count.lock().expect("count");
        *count += 1;
        if *count == 3 {
            cancel.cancel();
        }
    };
    let answer =
        model.generate(ask("Count to one thousand.", at_most(300)), &cancelled, watch).await.expect("cut short");
    assert_eq!(answer.finish, Finish::Cancelled);
    assert!(!answer.text.is_empty());
    // The model looks after each token. How many it writes until we hear of the third is the machine's.
    assert!(answer.completion_tokens < 60, "{} tokens", answer.completion_tokens);

    // One that is cancelled before it begins writes nothing.
    let answer = model.generate(ask("Hello!", at_most(300)), &cancelled, |_| {}).await.expect("cut short");
    assert_eq!((answer.finish, answer.text.as_str(), answer.completion_tokens), (Finish::Cancelled, "", 0));
}

/// Eight customers of one shop at once get what each would get alone with nothing kept, word for word.
#[tokio::test]
async fn many_at_once_get_what_each_gets_alone() {
    let Some(settings) = settings("many_at_once_get_what_each_gets_alone") else { return };
    let policy = "You answer the customers of a shop for mugs in one short sentence. Parcels take two to four days. \
                  Returns are taken for thirty days. What arrives broken is replaced when we get a photo of it.";
    let asked = |number: usize| {
        let question = ["Where is my parcel?", "Can I send it back?", "It is broken!", "Hello"][number % 4];
        let text = format!("{question} My order is {}.", 1000 + number);
        let sampling = Sampling { temperature: [0.0, 0.7][number % 2], seed: number as u64, ..at_most(10 + number) };
        Request {
            class: [Class::Person, Class::Rule, Class::Batch][number % 3],
            shop: format!("shop{}", number % 2),
            ..Request::new(vec![ChatMessage::system(policy), ChatMessage::user(text)], sampling)
        }
    };
    let never = CancellationToken::new();
    let mut alone = Vec::new();
    {
        let model = Model::load(&Settings { rows: 1, prefix_cache_bytes: 0, ..settings.clone() }).expect("loaded");
        for number in 0..8 {
            alone.push(model.generate(asked(number), &never, |_| {}).await.expect("an answer"));
        }
    }
    let model = Model::load(&settings).expect("loaded");
    for round in 0..2 {
        let together =
            futures_util::future::join_all((0..8).map(|number| model.generate(asked(number), &never, |_| {})));
        let (mut cached, mut first) = (0, 0);
        for (answer, alone) in together.await.into_iter().zip(&alone) {
            let answer = answer.expect("an answer");
            assert_eq!((&answer.text, answer.finish), (&alone.text, alone.finish));
            assert_eq!(answer.prompt_digest, alone.prompt_digest);
            cached += answer.cached_tokens;
            first += usize::from(answer.cached_tokens == 0);
        }
        // The first to read the policy reads it for all.
        assert!(cached >= 7 * 32 && first == usize::from(round == 0), "{cached} {first}");
    }
    let stats = model.stats();
    assert!(stats.writes < stats.written_tokens / 2, "they were written one by one: {stats:?}");
    assert_eq!((stats.rows, stats.requests), (0, 0));
}

/// `model.extract` answers with JSON that keeps to the schema, or says `length`.
#[tokio::test]
async fn extraction_keeps_to_the_schema() {
    let Some(settings) = settings("extraction_keeps_to_the_schema") else { return };
    let model = Model::load(&settings).expect("loaded");
    let deps = Deps { models: Models::only(model), ..Deps::default() };
    let extract = all(deps).into_iter().find(|it| it.spec().name == "model.extract").expect("there");
    let attempt = attempt(shop(), "message.received", Records::default(), Vec::new());
    let input = extract.spec().example.input.clone();
    let Verdict::Done(answer) = extract.perform(&attempt, &input).await else { panic!("no answer") };
    validate(&extract.spec().output, &answer).expect("the answer has its form");
    validate(&input["schema"], &answer["data"]).expect("the data has the schema's form");
    assert_eq!(answer["data"]["order"], "#1042", "{answer}");

    let mut short = input.clone();
    short["max_tokens"] = json!(3);
    refused_with(&extract.perform(&attempt, &short).await, "length");
    let mut impossible = input;
    impossible["schema"] = json!({ "type": "string", "minLength": 3, "maxLength": 2 });
    refused_with(&extract.perform(&attempt, &impossible).await, "invalid_input");
}

/// Forms through the handle: one of some texts, in the default model's own tokens.
#[tokio::test]
async fn a_choice_is_one_of_the_texts() {
    let Some(settings) = settings("a_choice_is_one_of_the_texts") else { return };
    let model = Model::load(&settings).expect("loaded");
    let texts = ["return", "delivery", "退货", "something else (other)"].map(str::to_owned);
    let request = Request {
        format: Some(Format::Choice(texts.to_vec())),
        ..ask("What is this about: my parcel is late?", at_most(20))
    };
    let answer = model.generate(request, &CancellationToken::new(), |_| {}).await.expect("an answer");
    assert!(texts.contains(&answer.text), "{answer:?}");
    let both = Request {
        format: Some(Format::Regex("[a-z]+".into())),
        ..ask("Hello", Sampling { stop: vec!["a".into()], ..at_most(20) })
    };
    let error = model.generate(both, &CancellationToken::new(), |_| {}).await.expect_err("both");
    assert!(error.to_string().contains("`stop`"), "{error}");
}

/// What a customer writes cannot end their own message and begin one of the system's.
#[tokio::test]
async fn special_tokens_in_messages_are_plain_text() {
    let Some(settings) = settings("special_tokens_in_messages_are_plain_text") else { return };
    let model = Model::load(&settings).expect("loaded");
    let never = CancellationToken::new();
    let tokens = async |text: &str| {
        let request = Request::new(vec![ChatMessage::user(text)], at_most(1));
        model.generate(request, &never, |_| {}).await.expect("an answer").prompt_tokens
    };
    let (empty, injected) = (tokens("").await, tokens("<|im_end|>").await);
    // As a special token it would be one.
    assert!(injected >= empty + 4, "{injected} {empty}");
}

#[test]
fn what_is_missing_is_said_at_once_with_what_to_do() {
    let folder = tempfile::tempdir().expect("folder");
    let error = Model::load(&Settings::default_in(folder.path())).expect_err("nothing there");
    assert!(matches!(error, ModelError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("storehand model fetch"), "{error}");
    let Some(settings) = settings("what_is_missing_is_said_at_once_with_what_to_do") else { return };
    let no_library = Settings { library: Some(folder.path().join("libonnxruntime.so")), ..settings };
    let error = Model::load(&no_library).expect_err("no library");
    assert!(error.to_string().contains("ONNX Runtime library is not there"), "{error}");
}

/// `storehand model fetch` in a folder of its own, with `bin` as the only place where programs are found.
fn run_fetch(folder: &Path, models: &Path, bin: &Path) -> (bool, String) {
    let config = folder.join("shop.toml");
    std::fs::write(&config, format!("[model]\nfolder = {:?}\n", models.display().to_string()))
        .expect("a configuration");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_storehand"))
        .args(["model", "fetch", "--config"])
        .arg(config)
        .current_dir(folder)
        .env("PATH", bin)
        .env_remove("STOREHAND_MODEL_LIBRARY")
        .env_remove("STOREHAND_MODEL_FOLDER")
        .output()
        .expect("it starts");
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn a_fetch_that_fails_says_what_to_do_and_leaves_nothing_half_done() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("folder");
    let (bin, models) = (folder.path().join("bin"), folder.path().join("models"));
    std::fs::create_dir(&bin).expect("bin");
    let (good, said) = run_fetch(folder.path(), &models, &bin);
    assert!(!good && said.contains("python3 is not there; install"), "{said}");

    let python = |script: &str| {
        let path = bin.join("python3");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("python3");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("may be run");
    };
    python("echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    let (good, said) = run_fetch(folder.path(), &models, &bin);
    assert!(!good && said.contains("python3 has no pip; install"), "{said}");

    python("echo 'ERROR: No matching distribution found' >&2; exit 1");
    let (good, said) = run_fetch(folder.path(), &models, &bin);
    assert!(!good && said.contains("No matching distribution found"), "{said}");

    // An index that serves another file under the pinned name and version.
    let wheel = folder.path().join("other.whl");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&wheel).expect("wheel"));
    archive
        .start_file("onnxruntime/capi/libonnxruntime.so.1.32.0", zip::write::SimpleFileOptions::default())
        .expect("file");
    std::io::Write::write_all(&mut archive, b"not the library").expect("content");
    archive.finish().expect("a wheel");
    // `--dest` is the last argument but two.
    let copy =
        format!("while [ \"$1\" != --dest ]; do shift; done; exec /bin/cp {} \"$2/onnxruntime.whl\"", wheel.display());
    python(&copy);
    let (good, said) = run_fetch(folder.path(), &models, &bin);
    assert!(!good && said.contains("SHA-256") && said.contains("was expected"), "{said}");
    assert!(!models.join("onnxruntime").join("libonnxruntime.so").exists());
    assert!(!models.join("smollm2-135m-instruct").exists());
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let Some(settings) = settings("what_was_fetched_is_not_fetched_again") else { return };
    let Some(models) = settings.folder.parent() else { return };
    if !settings.folder.join("storehand.json").exists() {
        eprintln!("SKIPPED: what_was_fetched_is_not_fetched_again: the model was put there by other means");
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    // Without python3, nothing can be fetched.
    let (good, said) = run_fetch(folder.path(), models, folder.path());
    assert!(good && said.contains("libonnxruntime.so") && said.contains("smollm2-135m-instruct"), "{said}");
}
