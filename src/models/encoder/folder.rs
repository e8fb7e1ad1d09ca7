//! An encoder's folder in the Hugging Face ONNX layout, with what Sentence Transformers keep beside it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::error::ModelError;
use super::super::folder::{digest, json};
use super::tokenizer::Tokenizer;

/// The files that make an encoder what it is, in the order in which they are digested.
const FILES: &[&str] = &[
    "config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "tokenizer.json",
    "model.onnx",
    "model.onnx.data",
    "model.onnx_data",
];

/// Tokens of a text that are read at the most, whatever the model says: time grows with them, and memory faster.
const LONGEST_TEXT: usize = 2048;

/// What the folder says, but for the weights.
pub(super) struct Folder {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) graph: PathBuf,
    pub(super) tokenizer: Tokenizer,
    pub(super) pooling: Pooling,
    /// What is written before a text that is compared with others.
    pub(super) prompt: String,
    /// Tokens that a text may have.
    pub(super) longest: usize,
    /// The token that short texts of a batch are filled up with.
    pub(super) padding: i64,
}

/// How the states of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The first one's.
    First,
}

#[derive(Deserialize)]
struct Config {
    max_position_embeddings: usize,
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    pad_token_id: Option<i64>,
}

#[derive(Default, Deserialize)]
struct SentenceTransformers {
    #[serde(default)]
    prompts: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

impl Folder {
    /// Reads a folder and digests its files.
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let graph = folder.join("model.onnx");
        if !graph.is_file() {
            let hint =
                "run `storehand model fetch`, or set `model.encoder` to a folder in the Hugging Face ONNX layout";
            return Err(ModelError::Missing { what: "the encoder", path: graph, hint: hint.into() });
        }
        let config: Config = json(&folder.join("config.json"))?;
        let prompts: SentenceTransformers = optional(&folder.join("config_sentence_transformers.json"))?;
        let pooling_file = folder.join("1_Pooling").join("config.json");
        let pooling = match optional(&pooling_file)? {
            None => Pooling::Mean,
            Some(PoolingConfig { pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }) => Pooling::Mean,
            Some(PoolingConfig { pooling_mode_mean_tokens: false, pooling_mode_cls_token: true }) => Pooling::First,
            Some(_) => {
                let why = "it pools in a way that is not understood; `mean_tokens` and `cls_token` are, one of them";
                return Err(ModelError::not_understood(&pooling_file, why));
            }
        };
        // RoBERTa's kind counts positions from the token after the padding, so two of its positions are nobody's.
        let spared = if config.model_type.contains("roberta") { 2 } else { 0 };
        let longest = config.max_position_embeddings.saturating_sub(spared).min(LONGEST_TEXT);
        if longest < 3 {
            let why = "its `max_position_embeddings` leaves no room for a text";
            return Err(ModelError::not_understood(&folder.join("config.json"), why));
        }
        let name = folder.canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            name: name.unwrap_or_else(|| "encoder".into()),
            digest: digest(folder, FILES)?,
            graph,
            tokenizer: Tokenizer::open(&folder.join("tokenizer.json"))?,
            pooling,
            prompt: prompts.prompts.get("query").cloned().unwrap_or_default(),
            longest,
            padding: config.pad_token_id.unwrap_or(0),
        })
    }
}

/// A file that may be missing.
fn optional<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ModelError> {
    if path.is_file() { json(path) } else { Ok(T::default()) }
}
