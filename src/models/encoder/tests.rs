//! What the tests of this room share, and the handle's own.

use super::super::tests::{models, real as real_model};
use super::*;

/// The default encoder and library, where they are; else says that `test` is skipped.
pub(super) fn real(test: &str) -> Option<Settings> {
    let library = real_model(test)?.library;
    let folder = models().join("multilingual-e5-small");
    if !folder.join("model.onnx").exists() {
        let mut stderr = std::io::stderr().lock();
        let _ = std::io::Write::write_fmt(
            &mut stderr,
            format_args!("SKIPPED: {test}: {} is not there; `storehand model fetch` gets it\n", folder.display()),
        );
        return None;
    }
    Some(Settings { library, folder, threads: 1, queue: 4 })
}

#[tokio::test]
async fn what_means_the_same_lies_close_in_any_language() {
    let Some(settings) = real("what_means_the_same_lies_close_in_any_language") else { return };
    let encoder = Encoder::load(&settings).expect("loaded");
    assert_eq!((encoder.name(), encoder.width(), encoder.longest()), ("multilingual-e5-small", 384, 512));
    let texts = ["Where is my parcel?", "我的快递到哪里了", "¿Dónde está mi paquete?", "Do you sell gift cards?"];
    let embedded = encoder.embed(&texts).await.expect("embedded");
    let close = |a: usize, b: usize| cosine(&embedded[a].vector, &embedded[b].vector);
    for other in [1, 2] {
        assert!(close(0, other) > close(0, 3) + 0.02, "{} {}", close(0, other), close(0, 3));
    }
    assert!(embedded.iter().all(|it| !it.truncated && (cosine(&it.vector, &it.vector) - 1.0).abs() < 1e-6));
}

/// Little words hardly count; a text of none has a direction, too.
#[tokio::test]
async fn rare_words_tell_the_most() {
    let Some(settings) = real("rare_words_tell_the_most") else { return };
    let encoder = Encoder::load(&settings).expect("loaded");
    let texts = ["Is the parcel with the mug that I have ordered on its way to me?", "parcel mug ordered", ""];
    let embedded = encoder.embed(&texts).await.expect("embedded");
    let (telling, whole) =
        (cosine(&embedded[0].telling, &embedded[1].telling), cosine(&embedded[0].vector, &embedded[1].vector));
    assert!(telling > whole, "{telling} {whole}");
    assert!(embedded.iter().all(|it| (it.telling.iter().map(|it| it * it).sum::<f32>() - 1.0).abs() < 1e-4));
}

/// Which texts come along in a batch changes nothing but the last digits.
#[tokio::test]
async fn a_text_in_a_batch_is_the_text_alone() {
    let Some(settings) = real("a_text_in_a_batch_is_the_text_alone") else { return };
    let encoder = Encoder::load(&settings).expect("loaded");
    let question = "Where is the order that I made last week? ";
    let texts: Vec<String> = (0..40).map(|at| format!("{}{at}", question.repeat(1 + at % 5))).collect();
    let together = encoder.embed(&texts).await.expect("embedded");
    for (text, together) in texts.iter().zip(&together) {
        let alone = encoder.embed(&[text]).await.expect("embedded");
        let cosine = cosine(&alone[0].vector, &together.vector);
        assert!(cosine > 0.9999, "{cosine}: {text}");
    }
}

#[tokio::test]
async fn what_is_too_much_is_said() {
    let Some(settings) = real("what_is_too_much_is_said") else { return };
    let encoder = Encoder::load(&Settings { queue: 1, ..settings }).expect("loaded");
    let long = "order ".repeat(400_000);
    let embedded = encoder.embed(&[long.as_str(), "order", ""]).await.expect("embedded");
    assert_eq!(embedded.iter().map(|it| it.truncated).collect::<Vec<_>>(), [true, false, false]);
    let error = encoder.embed(&vec!["a"; MOST_TEXTS + 1]).await.expect_err("too many");
    assert!(matches!(error, ModelError::Request(_)), "{error}");

    // One request is in the queue: the next is sent away, until the first is given up.
    let many = vec!["Where is my order?"; MOST_TEXTS];
    let mut first = Box::pin(encoder.embed(&many));
    assert!(futures_util::poll!(&mut first).is_pending());
    let error = encoder.embed(&["b"]).await.expect_err("full");
    assert!(matches!(error, ModelError::QueueFull { waiting: 1, .. }), "{error}");
    drop(first);
    let answered = async {
        loop {
            if let Ok(embedded) = encoder.embed(&["b"]).await {
                return embedded;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(60), answered).await.expect("there is room again");
    assert_eq!(answered.len(), 1);
}

#[test]
fn a_missing_or_foreign_folder_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    let settings = Settings { library: None, folder: folder.path().to_owned(), threads: 1, queue: 1 };
    let error = Encoder::load(&settings).expect_err("nothing there");
    assert!(error.to_string().contains("storehand model fetch"), "{error}");
    std::fs::write(at("model.onnx"), "x").expect("written");
    std::fs::write(at("config.json"), r#"{"max_position_embeddings":512}"#).expect("written");
    std::fs::create_dir(at("1_Pooling")).expect("folder");
    std::fs::write(at("1_Pooling/config.json"), r#"{"pooling_mode_max_tokens":true}"#).expect("written");
    let error = Encoder::load(&settings).expect_err("max pooling");
    assert!(error.to_string().contains("pools in a way"), "{error}");
    std::fs::write(at("1_Pooling/config.json"), r#"{"pooling_mode_cls_token":true}"#).expect("written");
    std::fs::write(at("tokenizer.json"), "{").expect("written");
    let error = Encoder::load(&settings).expect_err("half a tokenizer");
    assert!(error.to_string().contains("tokenizer.json is not understood"), "{error}");
}

/// A folder of another kind: token types, words for tokens; what is pooled as the folder says.
#[tokio::test]
async fn another_encoder_is_read_as_its_folder_says() {
    use super::super::onnx::{Attribute, Element, Size, Writer};

    let Some(model) = real_model("another_encoder_is_read_as_its_folder_says") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    let mut graph = Writer::new(folder.path(), "encoder").expect("a graph");
    let sizes = [Size::Free("batch"), Size::Free("sequence")];
    let [tokens, _mask, types] =
        ["input_ids", "attention_mask", "token_type_ids"].map(|name| graph.input(name, Element::Int64, &sizes));
    let rows: Vec<f32> = (0..24).map(|at| (at * at % 11) as f32 - 4.0).collect();
    let words = graph.floats("words", &[6, 4], &rows).expect("weights");
    let kinds = graph.floats("kinds", &[2, 4], &[0.5, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0]).expect("weights");
    let first = || vec![Attribute::int("axis", 0)];
    let words = graph.node("", "Gather", "words_used", &[&words, &tokens], first());
    let kinds = graph.node("", "Gather", "kinds_used", &[&kinds, &types], first());
    let states = graph.node("", "Add", "last_hidden_state", &[&words, &kinds], vec![]);
    graph.output(&states, Element::Float, &[Size::Free("batch"), Size::Free("sequence"), Size::Fixed(4)]);
    graph.finish().expect("written");
    let config = r#"{"model_type":"bert","max_position_embeddings":6,"pad_token_id":0}"#;
    std::fs::write(at("config.json"), config).expect("written");
    let special = |id: u32, text: &str| {
        serde_json::json!({ "id": id, "content": text, "special": true, "single_word": false, "lstrip": false,
                            "rstrip": false, "normalized": false })
    };
    let token = |text: &str, id: u32| serde_json::json!({ "id": text, "ids": [id], "tokens": [text] });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[CLS]"), special(2, "[SEP]"), special(3, "[UNK]")],
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                       { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }],
            "pair": [],
            "special_tokens": { "[CLS]": token("[CLS]", 1), "[SEP]": token("[SEP]", 2) },
        },
        "model": { "type": "WordLevel", "unk_token": "[UNK]",
                   "vocab": { "[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "order": 4, "where": 5 } },
    });
    std::fs::write(at("tokenizer.json"), tokenizer.to_string()).expect("written");

    let row = |token: usize| -> Vec<f32> {
        let mut row = rows[token * 4..token * 4 + 4].to_vec();
        row[0] += 0.5;
        row
    };
    let settings = Settings { library: model.library, folder: folder.path().to_owned(), threads: 1, queue: 2 };
    let mean = Encoder::load(&settings).expect("loaded");
    let embedded = mean.embed(&["where order", "where where where where where"]).await.expect("embedded");
    let expected = [1, 5, 4, 2].map(row);
    let expected = pooled(expected.iter().map(|state| (state.as_slice(), 1.0)), 4);
    assert!(cosine(&embedded[0].vector, &expected) > 0.99999, "{embedded:?} {expected:?}");
    assert_eq!((embedded[0].truncated, embedded[1].truncated), (false, true));

    std::fs::create_dir(at("1_Pooling")).expect("folder");
    std::fs::write(at("1_Pooling/config.json"), r#"{"pooling_mode_cls_token":true}"#).expect("written");
    let of_first = Encoder::load(&settings).expect("loaded");
    assert_ne!(of_first.digest(), mean.digest());
    let embedded = of_first.embed(&["where order [SEP] where"]).await.expect("embedded");
    assert!(cosine(&embedded[0].vector, &row(1)) > 0.99999, "{embedded:?}");
}
