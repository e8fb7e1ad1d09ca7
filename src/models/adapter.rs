//! LoRA adapters in ONNX Runtime's format: small changes of a model, chosen request by request.
//!
//! A graph that can be changed has inputs for the matrices of a change, which are zero where none is chosen. The files are
//! `adapters/NAME.onnx_adapter` in the model's folder, made by `onnxruntime.AdapterFormat` or Olive.

use std::path::{Path, PathBuf};

use ort::session::{Adapter, NoSelectedOutputs, RunOptions};

use super::error::ModelError;
use super::folder::sha256_of;

/// Adapters of one model: each is tried when it is loaded, and stays in memory.
const MOST: usize = 64;
/// What its file's name ends with.
const EXTENSION: &str = "onnx_adapter";

/// A file that was found.
pub(crate) struct AdapterFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// SHA-256 of it in hex, 32 digits kept.
    pub(crate) digest: String,
}

/// Names an adapter of a loaded model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AdapterId(pub(crate) usize);

/// An adapter, ready to be chosen.
pub(crate) struct Loaded {
    pub(crate) adapter: Adapter,
    /// Whether rows of one run with it are as if each ran alone. Matrices that are given are not packed beforehand, and a
    /// single row is then multiplied in another way than several: the last digits differ.
    pub(crate) together: bool,
    /// For a run that gives new tensors.
    pub(crate) options: RunOptions<NoSelectedOutputs>,
}

// SAFETY: an adapter is tensors in memory that nobody changes, and ONNX Runtime ties it to no thread. All that points to
// it, its options and what `Shared` makes of it, belongs to the one session that it is loaded for, and moves with it.
#[expect(unsafe_code, reason = "`ort` has not said of adapters what it says of sessions: that they may be moved")]
unsafe impl Send for Loaded {}

/// The adapters of a model's folder, by name.
pub(crate) fn find(model: &Path) -> Result<Vec<AdapterFile>, ModelError> {
    let folder = model.join("adapters");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(ModelError::io("reading", &folder))?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_name || name.len() > 64 {
            let why = "an adapter's name is at most 64 letters, digits, `.`, `_` and `-`: rename it";
            return Err(ModelError::not_understood(&path, why));
        }
        let digest = hex::encode(&sha256_of(&path)?[..16]);
        found.push(AdapterFile { name, path, digest });
    }
    if found.len() > MOST {
        let why = format!("there are {} adapters, and a model takes {MOST} at most", found.len());
        return Err(ModelError::not_understood(&folder, why));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

impl Loaded {
    pub(crate) fn new(file: &AdapterFile) -> Result<Self, ModelError> {
        let foreign = |error: ort::Error| ModelError::not_understood(&file.path, error.to_string());
        let adapter = Adapter::from_file(&file.path, None).map_err(foreign)?;
        let mut options = RunOptions::new()?;
        options.add_adapter(&adapter)?;
        Ok(Self { adapter, together: false, options })
    }
}
