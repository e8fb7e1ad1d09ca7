//! Answers that are held to a form, and searches, on a small random model: the form always holds, and a search finds
//! what a plain one finds.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::convert::convert;
use super::decoder::Decoder;
use super::folder::Folder;
use super::gguf::Quant;
use super::prefix::BLOCK;
use super::rows::Rows;
use super::sampler::Chances;
use super::scheduler_tests::{Small, ask, runtime};
use super::tests::{random_llama, real};
use super::{Finish, Format, ModelError, Prompt, Request, Sampling};

/// Schemas as shops have them: enums, numbers, texts, lists, choices between forms, references.
fn schemas() -> Vec<Json> {
    vec![
        json!({ "type": "object", "required": ["code"], "additionalProperties": false,
                "properties": { "code": { "enum": ["MUG-BLUE", "MUG-RED", "TEA-100"] } } }),
        json!({ "type": "object", "required": ["stars", "why"], "additionalProperties": false, "properties": {
                "stars": { "type": "integer", "minimum": 1, "maximum": 5 },
                "why": { "type": "string", "maxLength": 12 } } }),
        json!({ "type": "array", "minItems": 1, "maxItems": 3, "items": { "type": "boolean" } }),
        json!({ "anyOf": [{ "type": "null" }, { "type": "object", "required": ["order"], "additionalProperties": false,
                "properties": { "order": { "type": "string", "pattern": "^#[0-9]{4}$" } } }] }),
        json!({ "type": "object", "required": ["a", "b"], "additionalProperties": false,
                "properties": { "a": { "$ref": "#/$defs/yes" }, "b": { "$ref": "#/$defs/yes" } },
                "$defs": { "yes": { "type": "string", "enum": ["yes", "no", "也许"] } } }),
    ]
}

#[test]
fn an_answer_has_its_form_or_is_an_error() {
    let Some(small) = Small::new("an_answer_has_its_form_or_is_an_error") else { return };
    let model = small.load(|_| {});
    let schemas = schemas();
    let never = CancellationToken::new();
    let (mut whole, mut cut) = (0, 0);
    runtime().block_on(async {
        for number in 0..500_usize {
            let schema = &schemas[number % schemas.len()];
            let sampling = Sampling {
                max_tokens: 1 + number * 13 % 64,
                temperature: [0.0, 1.5][number % 2],
                seed: number as u64,
                beams: if number % 20 == 0 { 2 } else { 1 },
                n: if number % 9 == 5 { 2 } else { 1 },
                ..Sampling::default()
            };
            let request = Request {
                format: Some(Format::Json(schema.clone())),
                ..Request::new(Prompt::Text(format!("Question {number}:")), sampling)
            };
            match model.generate(request, &never, |_| {}).await {
                Ok(answer) => {
                    whole += 1;
                    let others = answer.others.iter().map(|choice| (&choice.text, choice.finish));
                    for (text, finish) in std::iter::once((&answer.text, answer.finish)).chain(others) {
                        assert_eq!(finish, Finish::Stop);
                        let data: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
                        crate::domain::validate(schema, &data).unwrap_or_else(|why| panic!("{text}: {why}"));
                    }
                }
                Err(ModelError::Unfinished { tokens, .. }) => {
                    cut += 1;
                    assert!(tokens <= 64);
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert!(whole > 150 && cut > 50, "{whole} whole, {cut} cut");
    assert_eq!((model.stats().rows, model.stats().failures), (0, 0));
}

#[test]
fn choices_and_expressions_hold_too() {
    let Some(small) = Small::new("choices_and_expressions_hold_too") else { return };
    let model = small.load(|_| {});
    let never = CancellationToken::new();
    runtime().block_on(async {
        let texts = ["where is it?", "a+b (c)", "退货", "[x]/y", "~#&-"].map(str::to_owned);
        for seed in 0..40 {
            let sampling = Sampling { temperature: 2.0, seed, max_tokens: 40, ..Sampling::default() };
            let plain = Request::new(Prompt::Text("Say".into()), sampling);
            let request = Request { format: Some(Format::Choice(texts.to_vec())), ..plain.clone() };
            let answer = ask(&model, &request).await;
            assert!(texts.contains(&answer.text) && answer.finish == Finish::Stop, "{answer:?}");
            let request = Request { format: Some(Format::Regex("[a-f]{2,5}-[0-9]{3}".into())), ..plain };
            let text = ask(&model, &request).await.text;
            let (letters, digits) = text.split_once('-').expect("a hyphen");
            assert!((2..=5).contains(&letters.len()) && letters.chars().all(|it| ('a'..='f').contains(&it)), "{text}");
            assert!(digits.len() == 3 && digits.chars().all(|it| it.is_ascii_digit()), "{text}");
        }
        // What is longer than any answer may be is an error when its tokens are used up, and nothing hangs.
        let endless = Request {
            format: Some(Format::Regex("((a{1000}){1000}){1000}".into())),
            ..Request::new(Prompt::Text("x".into()), Sampling::default())
        };
        let error = model.generate(endless, &never, |_| {}).await.expect_err("too long");
        assert!(matches!(error, ModelError::Unfinished { .. }), "{error}");
        let deep = (0..70).fold(json!({ "type": "null" }), |inner, _| json!({ "type": "array", "items": inner }));
        let wide: Vec<String> = (0..3000).map(|number| format!("choice {number}")).collect();
        let large: Vec<String> = (0..6000).map(|number| format!("value number {number}")).collect();
        for (format, says) in [
            (Format::Json(json!({ "type": "string", "minLength": 5, "maxLength": 3 })), "cannot be followed"),
            (Format::Json(json!({ "enum": [] })), "cannot be followed"),
            (Format::Json(json!({ "type": "colour" })), "cannot be followed"),
            (
                Format::Json(json!({ "type": "array", "items": { "type": "number" }, "uniqueItems": true })),
                "cannot be followed",
            ),
            (Format::Json(json!({ "$ref": "https://example.com/schema.json" })), "cannot be followed"),
            (Format::Json(json!(7)), "no object"),
            (Format::Json(deep), "levels deep"),
            (Format::Json(json!({ "enum": large })), "more than 65536 bytes"),
            (Format::Regex("(unclosed".into()), "cannot be followed"),
            (Format::Regex("a".repeat(5000)), "more than 4096 bytes"),
            (Format::Choice(Vec::new()), "1 to 2000 texts"),
            (Format::Choice(wide), "1 to 2000 texts"),
            (Format::Choice(vec!["a".into(), "b\nc".into()]), "control character"),
        ] {
            let shown = format!("{format:?}").chars().take(80).collect::<String>();
            let request =
                Request { format: Some(format), ..Request::new(Prompt::Text("x".into()), Sampling::default()) };
            let error = model.generate(request, &never, |_| {}).await.expect_err(&shown);
            assert!(matches!(&error, ModelError::Request(_)) && error.to_string().contains(says), "{shown}: {error}");
        }
    });
}

#[test]
fn log_probabilities_are_told() {
    let Some(small) = Small::new("log_probabilities_are_told") else { return };
    let model = small.load(|_| {});
    runtime().block_on(async {
        let sampling = Sampling { max_tokens: 12, logprobs: Some(3), ..Sampling::default() };
        let answer = ask(&model, &Request::new(Prompt::Text("hello".into()), sampling.clone())).await;
        assert!(!answer.logprobs.is_empty());
        let bytes: Vec<u8> = answer.logprobs.iter().flat_map(|it| it.token.bytes.clone()).collect();
        assert!(String::from_utf8_lossy(&bytes).starts_with(answer.text.trim_end_matches('\u{FFFD}')), "{answer:?}");
        for chance in &answer.logprobs {
            // Greedy takes the likeliest.
            assert_eq!((chance.likeliest.len(), &chance.likeliest[0]), (3, &chance.token));
            assert!(chance.likeliest.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob));
            assert!(chance.likeliest.iter().map(|it| it.logprob.exp()).sum::<f32>() <= 1.0001);
        }
        let plain =
            ask(&model, &Request::new(Prompt::Text("hello".into()), Sampling { logprobs: None, ..sampling })).await;
        assert_eq!((plain.text, plain.logprobs.len()), (answer.text, 0));
    });
}

/// A search as plain as can be: every beginning is read again from the start, token by token.
fn plain_search(rows: &mut Rows, prompt: &[u32], end: u32, beams: usize, steps: usize) -> Vec<Vec<u32>> {
    let (mut live, mut ended) = (vec![(0.0_f32, Vec::<u32>::new())], Vec::<(f32, Vec<u32>)>::new());
    for step in 1..=steps {
        let mut ways = Vec::new();
        for (score, tokens) in &live {
            let row = rows.open(None).expect("opened").expect("free");
            let mut logits = Vec::new();
            for block in prompt.chunks(BLOCK) {
                logits = rows.read(row, block).expect("read");
            }
            for token in tokens {
                logits = rows.write(&[(row, *token)]).expect("written").remove(0);
            }
            rows.close(row);
            let chances = Chances::new(&logits);
            for token in 0..logits.len() as u32 {
                let mut longer = tokens.clone();
                longer.push(token);
                ways.push((score + chances.of(token), longer));
            }
        }
        ways.sort_by(|a, b| b.0.total_cmp(&a.0));
        live.clear();
        for (rank, (score, tokens)) in ways.into_iter().enumerate() {
            if live.len() == beams {
                break;
            }
            let ends = tokens.last() == Some(&end);
            if ends && rank >= beams {
                continue;
            }
            if ends || step == steps {
                ended.push((score / tokens.len() as f32, tokens));
            } else {
                live.push((score, tokens));
            }
            if step == steps && ended.len() >= 4 * beams {
                break;
            }
        }
        ended.sort_by(|a, b| b.0.total_cmp(&a.0));
        ended.truncate(beams);
        let best = live.first().map(|(score, tokens)| score / tokens.len() as f32);
        if ended.len() == beams && best.is_none_or(|best| best <= ended[beams - 1].0) {
            break;
        }
    }
    ended.into_iter().map(|(_, tokens)| tokens).collect()
}

#[test]
fn a_search_finds_what_a_plain_search_finds() {
    let test = "a_search_finds_what_a_plain_search_finds";
    let (Some(small), Some(settings)) = (Small::new(test), real(test)) else { return };
    let model = small.load(|_| {});
    let folder = tempfile::tempdir().expect("folder");
    let (gguf, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
    std::fs::write(&gguf, random_llama(11, Quant::Q8_0, true).bytes()).expect("written");
    convert(&gguf, &out, |_| {}).expect("converted");
    let read = Folder::read(&out).expect("folder");
    let decoder = Decoder::load(settings.runtime().expect("library"), &read.graph, &read.shape).expect("decoder");
    let mut rows = Rows::new(decoder, 1, 128).expect("rows");
    runtime().block_on(async {
        for (text, beams, steps) in
            [("hello", 3, 6), ("a much longer beginning than that, of more than one block", 4, 5), ("x", 2, 9)]
        {
            let prompt = read.tokens.encode(text).expect("tokens");
            let expected = plain_search(&mut rows, &prompt, read.end[0], beams, steps);
            let sampling = Sampling { beams, n: beams, max_tokens: steps, ..Sampling::default() };
            let answer = ask(&model, &Request::new(Prompt::Text(text.into()), sampling)).await;
            let found: Vec<(String, usize)> = std::iter::once((answer.text, 0))
                .chain(answer.others.into_iter().map(|choice| (choice.text, choice.completion_tokens)))
                .collect();
            assert_eq!(found.len(), beams);
            for ((text, tokens), expected) in found.iter().zip(&expected) {
                let whole = expected.strip_suffix(&read.end[..1]).unwrap_or(expected);
                assert_eq!(text, read.tokens.decode(whole).trim_end_matches('\u{FFFD}'));
                assert!(*tokens == 0 || *tokens == expected.len());
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    /// Any JSON as a schema is a form or an error, never a panic.
    #[test]
    fn any_schema_is_a_form_or_an_error(keys in prop::collection::vec(0_usize..12, 1..5), number in 0_i64..9) {
        let parts = ["type", "enum", "const", "properties", "required", "items", "minLength", "maximum", "anyOf", "pattern",
                     "format", "x-guidance"];
        let values = [json!("string"), json!(["a", 1]), json!(number), json!({ "a": { "type": "integer" } }), json!(["a"]),
                      json!({ "type": "null" }), json!(number), json!(number), json!([true, false]), json!("^[a-c]+$"),
                      json!("date"), json!({ "whitespace_flexible": "?" })];
        let schema: serde_json::Map<String, Json> =
            keys.iter().map(|&key| (parts[key].to_owned(), values[(key + number as usize % 2) % 12].clone())).collect();
        let words: Vec<Vec<u8>> = (0..255_u8).map(|byte| vec![byte]).chain([vec![0xFF, b'e', b'n', b'd']]).collect();
        let forms = super::form::Forms::new(&words, 255).expect("forms");
        let _ = forms.make(&Format::Json(Json::Object(schema)));
    }
}
