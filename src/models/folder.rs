//! A model's folder in the Hugging Face ONNX layout.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::adapter::{self, AdapterFile};
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
    "encoder_model.onnx",
    "encoder_model.onnx_data",
    "decoder_model_merged.onnx",
    "decoder_model_merged.onnx_data",
    "decoder_model.onnx",
    "decoder_model.onnx_data",
    "decoder_with_past_model.onnx",
    "decoder_with_past_model.onnx_data",
];

/// Configurations are small; what is larger is something else.
const LARGEST_JSON_BYTES: u64 = 16 << 20;

/// What the folder says, but for the weights.
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) digest: String,
    /// The decoder, or the one that has read nothing but what the encoder says.
    pub(crate) graph: PathBuf,
    pub(crate) encoder: Option<Encoder>,
    pub(crate) shape: Shape,
    pub(crate) tokens: Tokens,
    /// How a conversation is written. Models that only go on with texts have none.
    pub(crate) template: Option<ChatTemplate>,
    /// Tokens that end an answer.
    pub(crate) end: Vec<u32>,
    pub(crate) adapters: Vec<AdapterFile>,
}

/// What a model with an encoder has beside its decoder.
pub(crate) struct Encoder {
    pub(crate) graph: PathBuf,
    /// The decoder that goes on with a cache, where it is not merged with the one that begins.
    pub(crate) next: Option<PathBuf>,
    /// The token that an answer begins with, unseen.
    pub(crate) start: u32,
}

/// The numbers of the model's build that we need, as `config.json` has them: architectures have names of their own for
/// them. What the graph declares comes first.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Shape {
    max_position_embeddings: Option<usize>,
    n_positions: Option<usize>,
    num_attention_heads: Option<usize>,
    n_head: Option<usize>,
    num_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    hidden_size: Option<usize>,
    n_embd: Option<usize>,
    d_model: Option<usize>,
    head_dim: Option<usize>,
    d_kv: Option<usize>,
    eos_token_id: Option<OneOrMore>,
    decoder_start_token_id: Option<u32>,
}

impl Shape {
    /// Tokens that it reads at most, where it says so: distances in place of positions have no end.
    pub(crate) fn positions(&self) -> Option<usize> {
        self.max_position_embeddings.or(self.n_positions)
    }

    fn heads(&self) -> Option<usize> {
        self.num_attention_heads.or(self.n_head).or(self.num_heads)
    }

    /// Heads of the cache.
    pub(crate) fn cache_heads(&self) -> Option<usize> {
        self.num_key_value_heads.or_else(|| self.heads())
    }

    /// Numbers in one head of the cache for one token.
    pub(crate) fn head_width(&self) -> Option<usize> {
        let hidden = self.hidden_size.or(self.n_embd).or(self.d_model);
        self.head_dim.or(self.d_kv).or_else(|| hidden?.checked_div(self.heads()?))
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
    #[serde(default)]
    decoder_start_token_id: Option<u32>,
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
        let graphs = graphs(folder)?;
        let shape: Shape = json(&folder.join("config.json"))?;
        let generation: Generation = match folder.join("generation_config.json") {
            path if path.is_file() => json(&path)?,
            _ => Generation::default(),
        };
        let start = generation.decoder_start_token_id.or(shape.decoder_start_token_id);
        let encoder = match graphs.encoder {
            Some(graph) => {
                let without =
                    || ModelError::not_understood(&folder.join("config.json"), "it has no `decoder_start_token_id`");
                Some(Encoder { graph, next: graphs.next, start: start.ok_or_else(without)? })
            }
            None => None,
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
            (path, _) if path.is_file() => {
                Some(std::fs::read_to_string(&path).map_err(ModelError::io("reading", &path))?)
            }
            (_, Some(ChatTemplates::One(source))) => Some(source),
            (_, Some(ChatTemplates::Named(all))) => {
                let default = all.into_iter().find(|named| named.name == "default").map(|named| named.template);
                let none = "none of its chat templates is called `default`";
                Some(default.ok_or_else(|| ModelError::not_understood(folder, none))?)
            }
            (_, None) => None,
        };
        let begin_text = TokenText::text(config.bos_token);
        let template = source
            .map(|source| ChatTemplate::new(source, begin_text, end_text))
            .transpose()
            .map_err(|why| ModelError::not_understood(folder, why))?;
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "model".into());
        let (digest, adapters) = (digest(folder, FILES)?, adapter::find(folder)?);
        if let (Some(_), Some(adapter)) = (&encoder, adapters.first()) {
            let why = "adapters change a decoder that is alone; this model has an encoder";
            return Err(ModelError::not_understood(&adapter.path, why));
        }
        Ok(Self { name, digest, graph: graphs.decoder, encoder, shape, tokens, template, end, adapters })
    }
}

/// The file by which a folder is seen to hold a language model: the one that is there, else the one that is usual.
pub fn main_graph(folder: &Path) -> PathBuf {
    let usual = folder.join("model.onnx");
    let others = ["decoder_model_merged.onnx", "encoder_model.onnx"].map(|name| folder.join(name));
    match others.into_iter().find(|path| !usual.is_file() && path.is_file()) {
        Some(other) => other,
        None => usual,
    }
}

/// The graphs of a folder.
struct Graphs {
    decoder: PathBuf,
    encoder: Option<PathBuf>,
    /// The decoder that goes on, where there are two.
    next: Option<PathBuf>,
}

/// The graphs of a folder, as Optimum names them.
fn graphs(folder: &Path) -> Result<Graphs, ModelError> {
    let (alone, merged) = (folder.join("model.onnx"), folder.join("decoder_model_merged.onnx"));
    let encoder = folder.join("encoder_model.onnx");
    if encoder.is_file() {
        let (first, next) = (folder.join("decoder_model.onnx"), folder.join("decoder_with_past_model.onnx"));
        let (decoder, next) = if merged.is_file() { (merged, None) } else { (first, Some(next)) };
        for path in std::iter::once(&decoder).chain(&next) {
            if !path.is_file() {
                return Err(ModelError::Missing {
                    what: "the decoder that belongs to `encoder_model.onnx`",
                    path: path.clone(),
                    hint: "export the model with its cache (Optimum's task `text2text-generation-with-past`)".into(),
                });
            }
        }
        return Ok(Graphs { decoder, encoder: Some(encoder), next });
    }
    let found = [&alone, &merged].into_iter().find(|path| path.is_file()).cloned();
    match found {
        Some(decoder) => Ok(Graphs { decoder, encoder: None, next: None }),
        None => Err(ModelError::Missing {
            what: "the language model",
            path: alone,
            hint: "run `storehand model fetch`, or set STOREHAND_MODEL_FOLDER to a folder in the Hugging Face ONNX \
                   layout"
                .into(),
        }),
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
