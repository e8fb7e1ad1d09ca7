//! The models' settings.

use std::path::PathBuf;

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
}

impl Model {
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
