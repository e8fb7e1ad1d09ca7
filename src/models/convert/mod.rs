//! From a GGUF file to a model folder that ONNX Runtime runs fast, and a check that it is still the same model.
//!
//! *Architecture Invariant*: a folder is written whole or not at all: everything goes into a folder beside it that is
//! renamed at the end.

mod check;
mod graph;
mod llama;
mod reference;
mod tokenizer;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::gguf::Gguf;
use super::onnx::Writer;
pub use check::{Agreement, check};
use llama::Llama;

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Layers written.
    pub done: usize,
    /// Layers in all.
    pub of: usize,
}

/// Converts `gguf` into the new folder `out`.
///
/// # Errors
/// Where the file is broken or not understood, where `out` is there already, and where the disk says no.
pub fn convert(gguf: &Path, out: &Path, mut progress: impl FnMut(Progress)) -> Result<(), ModelError> {
    if out.exists() {
        let why = "it is there already; remove it, or name another folder";
        return Err(ModelError::not_understood(out, why));
    }
    let gguf = Gguf::open(gguf)?;
    let llama = Llama::new(&gguf)?;
    let partial = Partial::new(out)?;
    for (name, content) in tokenizer::files(&gguf, &llama)? {
        let path = partial.0.join(name);
        let mut file = File::create(&path).map_err(ModelError::io("writing", &path))?;
        file.write_all(content.to_string().as_bytes()).map_err(ModelError::io("writing", &path))?;
        file.sync_all().map_err(ModelError::io("writing", &path))?;
    }
    let writer = Writer::new(&partial.0, "decoder")?;
    graph::write(&llama, writer, &mut |done| progress(Progress { done, of: llama.layers }))?;
    partial.rename(out)
}

/// A folder being written. It is removed unless it is renamed.
struct Partial(PathBuf);

impl Partial {
    fn new(out: &Path) -> Result<Self, ModelError> {
        let name = out.file_name().ok_or_else(|| ModelError::Request("the folder to write has no name".into()))?;
        let parent = out.parent().unwrap_or(Path::new("."));
        let path = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(ModelError::io("making", &path))?;
        Ok(Self(path))
    }

    fn rename(self, out: &Path) -> Result<(), ModelError> {
        fs::rename(&self.0, out).map_err(ModelError::io("renaming to", out))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}
