//! A model's folder in the Hugging Face ONNX layout.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::ModelError;
use super::template::ChatTemplate;
use super::tokens::Tokens;

/// The files that make a model what it is, in the order in which they are digested.
const FILES: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.onnx",
    "model.onnx.data",
    "model.onnx_data",
];

/// Configurations are small; what is larger is something else.
const LARGEST_JSON_BYTES: u64 = 16 << 20;

/// What the folder says, but for the weights.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) graph: PathBuf,
    pub(crate) shape: Shape,
    pub(crate) tokens: Tokens,
    pub(crate) template: ChatTemplate,
    /// Tokens that end an answer.
    pub(crate) end: Vec<u32>,
}

/// The numbers of the model's build that we need, as `config.json` has them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Shape {
    pub(crate) max_position_embeddings: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: Option<usize>,
    pub(crate) hidden_size: usize,
    pub(crate) head_dim: Option<usize>,
    #[serde(default)]
    eos_token_id: Option<OneOrMore>,
}

impl Shape {
    /// Heads of the cache.
    pub(crate) fn cache_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Numbers in one head of the cache for one token.
    pub(crate) fn head_width(&self) -> usize {
        self.head_dim.unwrap_or_else(|| self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u32),
    More(Vec<u32>),
}

#[derive(Default, Deserialize)]
struct Generation {
    #[serde(default)]
    eos_token_id: Option<OneOrMore>,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<ChatTemplates>,
    #[serde(default)]
    bos_token: Option<TokenText>,
    #[serde(default)]
    eos_token: Option<TokenText>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ChatTemplates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Full { content: String },
}

impl TokenText {
    fn text(token: Option<Self>) -> String {
        match token {
            Some(Self::Plain(text) | Self::Full { content: text }) => text,
            None => String::new(),
        }
    }
}

impl Folder {
    /// Reads a folder and digests its files.
    pub(crate) fn read(folder: &Path) -> Result<Self, ModelError> {
        let graph = folder.join("model.onnx");
        if !graph.is_file() {
            return Err(ModelError::Missing {
                what: "the language model",
                path: graph,
                hint: "run `storehand model fetch`, or set STOREHAND_MODEL_FOLDER to a folder in the Hugging Face \
                       ONNX layout"
                    .into(),
            });
        }
        let shape: Shape = json(&folder.join("config.json"))?;
        let generation: Generation = match folder.join("generation_config.json") {
            path if path.is_file() => json(&path)?,
            _ => Generation::default(),
        };
        let config: TokenizerConfig = json(&folder.join("tokenizer_config.json"))?;
        let tokens = Tokens::read(&folder.join("tokenizer.json"))?;
        let end_text = TokenText::text(config.eos_token);
        let mut end = match generation.eos_token_id.or(shape.eos_token_id.clone()) {
            Some(OneOrMore::One(token)) => vec![token],
            Some(OneOrMore::More(tokens)) => tokens,
            None => Vec::new(),
        };
        end.extend(tokens.id(&end_text));
        end.sort_unstable();
        end.dedup();
        let source = match (folder.join("chat_template.jinja"), config.chat_template) {
            (path, _) if path.is_file() => std::fs::read_to_string(&path).map_err(ModelError::io("reading", &path))?,
            (_, Some(ChatTemplates::One(source))) => source,
            (_, Some(ChatTemplates::Named(all))) => {
                all.into_iter().find(|named| named.name == "default").map(|named| named.template).ok_or_else(|| {
                    ModelError::not_understood(folder, "none of its chat templates is called `default`")
                })?
            }
            (_, None) => return Err(ModelError::not_understood(folder, "it has no chat template")),
        };
        let template = ChatTemplate::new(source, TokenText::text(config.bos_token), end_text)
            .map_err(|why| ModelError::not_understood(folder, why))?;
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "model".into());
        Ok(Self { name, digest: digest(folder, FILES)?, graph, shape, tokens, template, end })
    }
}

pub(crate) fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ModelError> {
    let file = File::open(path).map_err(|_| ModelError::Missing {
        what: "a file of the model",
        path: path.to_owned(),
        hint: "the folder must be in the Hugging Face ONNX layout; `storehand model fetch` makes one".into(),
    })?;
    let mut text = String::new();
    file.take(LARGEST_JSON_BYTES).read_to_string(&mut text).map_err(ModelError::io("reading", path))?;
    serde_json::from_str(&text).map_err(|error| ModelError::not_understood(path, error.to_string()))
}

/// SHA-256 over the names and contents of the files that make the model, in hex, 32 digits kept.
pub(crate) fn digest(folder: &Path, files: &[&str]) -> Result<String, ModelError> {
    let mut whole = Sha256::new();
    for name in files {
        let path = folder.join(name);
        if path.is_file() {
            whole.update(name);
            whole.update(sha256_of(&path)?);
        }
    }
    Ok(hex::encode(&whole.finalize()[..16]))
}

/// SHA-256 of a file.
pub(crate) fn sha256_of(path: &Path) -> Result<[u8; 32], ModelError> {
    let mut file = File::open(path).map_err(ModelError::io("reading", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(ModelError::io("reading", path))?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
    }
}
