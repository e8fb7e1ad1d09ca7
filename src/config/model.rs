//! The models' settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::layers::Node;
use super::reader::{Notes, Section};
use super::values::UpstreamUrl;
use crate::domain::Secret;

/// Whether the model is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Where it is there.
    Auto,
    /// It must be there.
    On,
    /// Never.
    Off,
}

/// Whose code does the model's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// Ours, where it can.
    Own,
    /// ONNX Runtime's.
    Library,
}

/// `[model]`
#[derive(Clone, Debug)]
pub struct Model {
    /// Whether it is used.
    pub enabled: Enabled,
    /// What `storehand model fetch` fills: models and the library.
    pub folder: PathBuf,
    /// The model's folder within it.
    pub name: String,
    /// The encoder's folder within it; nothing where there is to be none.
    pub encoder: Option<PathBuf>,
    /// The ONNX Runtime library, where it is not the fetched one.
    pub library: Option<PathBuf>,
    /// Threads that compute; 0: one a core, at most 4.
    pub threads: usize,
    /// Whose code does the arithmetic.
    pub operators: Operators,
    /// Requests that may wait.
    pub queue: usize,
    /// Tokens that all requests together may have.
    pub queue_tokens: usize,
    /// Answers that are written at the same time.
    pub rows: usize,
    /// Bytes for beginnings of prompts that are kept.
    pub prefix_cache_bytes: usize,
    /// Tokens that one answer may have.
    pub max_new_tokens: usize,
    /// Languages that the model writes (BCP 47); empty: any.
    pub languages: Vec<String>,
    /// Tokens that prompt and answer may have together.
    pub context_tokens: usize,
    /// Models on other servers, by name.
    pub upstreams: BTreeMap<String, Upstream>,
}

/// `[model.upstreams.NAME]`
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where its API is.
    pub url: String,
    /// What the server calls the model.
    pub model: String,
    /// What the server is shown.
    pub api_key: Option<Secret>,
    /// Languages that it writes (BCP 47); empty: any.
    pub languages: Vec<String>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Answers under way at the same time.
    pub max_in_flight: usize,
}

impl Upstream {
    pub(super) fn read(name: &str, node: Node, path: &str, notes: &mut Notes<'_>) -> Option<Self> {
        let fits = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_.".contains(&letter);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            let hint = "an upstream's name is 1 to 64 of a-z, 0-9, -, _ and .".to_owned();
            notes.mistake(&node.origin, path, format!("`{name}` cannot be an upstream's name"), Some(hint));
            return None;
        }
        Some(Section::read(path.to_owned(), node, notes, |upstream| Self {
            url: upstream.get::<UpstreamUrl>("url").0,
            model: upstream.get("model"),
            api_key: upstream.optional("api_key"),
            languages: upstream.optional("languages").unwrap_or_default(),
            timeout: upstream.optional("timeout").unwrap_or(Duration::from_secs(60)),
            max_in_flight: upstream.whole_or("max_in_flight", 4, 1..=256),
        }))
    }
}

impl Model {
    /// What models may be called, whether they are there or not, the one in this process first.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(self.upstreams.keys()).cloned().collect()
    }

    /// The model's own folder.
    pub fn model_folder(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// The encoder's own folder.
    pub fn encoder_folder(&self) -> Option<PathBuf> {
        self.encoder.as_ref().map(|encoder| self.folder.join(encoder))
    }

    /// The library that is used.
    pub fn library_file(&self) -> PathBuf {
        self.library.clone().unwrap_or_else(|| self.folder.join("onnxruntime").join("libonnxruntime.so"))
    }
}
