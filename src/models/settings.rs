//! Which model, where, and how much of the machine it may use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::runtime::{self, Runtime};

/// Which model, where, and how much of the machine it may use. The configuration fills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ONNX Runtime library: a file, such as `models/onnxruntime/libonnxruntime.so`. A process loads one
    /// library, the first; a later model with another one is refused.
    pub library: Option<PathBuf>,
    /// The model: a folder in the Hugging Face ONNX layout. Its name is the model's name.
    pub folder: PathBuf,
    /// Threads for one step of the model; 0 takes one a core, at most 4.
    pub threads: usize,
    /// Requests that may wait while others are answered, 1 to 10,000.
    pub queue: usize,
    /// Tokens that all requests together may have, of prompts and of answers as long as they may be.
    pub queue_tokens: usize,
    /// Answers that are written at the same time, 1 to 64. More are faster together and slower each.
    pub rows: usize,
    /// Bytes that beginnings of prompts may take which are kept, so that the next prompt with the same beginning
    /// need not be read from there; 0 keeps none.
    pub prefix_cache_bytes: usize,
    /// Tokens that one request may write at most.
    pub max_new_tokens: usize,
    /// Tokens that prompt and answer may have together, where the model itself reads more: its cache grows with
    /// them (46 KB a token for the default model, half of that with our operators).
    pub context_tokens: usize,
    /// Whose operators run it.
    pub operators: Operators,
}

/// Whose operators run a model: where the work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operators {
    /// Ours, where this processor has AVX-512 VNNI and the model was converted by us; else the library's.
    #[default]
    Own,
    /// ONNX Runtime's.
    Library,
}

impl Settings {
    /// Where [`fetch`](super::fetch) puts library and model, below `data_dir`.
    pub fn default_in(data_dir: &Path) -> Self {
        let models = data_dir.join("models");
        Self {
            library: Some(models.join("onnxruntime").join("libonnxruntime.so")),
            folder: models.join("smollm2-135m-instruct"),
            threads: 0,
            queue: 256,
            queue_tokens: 131_072,
            rows: 8,
            prefix_cache_bytes: 256 << 20,
            max_new_tokens: 512,
            context_tokens: 2048,
            operators: Operators::default(),
        }
    }

    /// These settings with what `STOREHAND_MODEL_LIBRARY` and `STOREHAND_MODEL_FOLDER` say in their place, where they
    /// are set. `variable` is asked for their values: `std::env::var_os` in the program.
    #[must_use]
    pub fn with_variables(mut self, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(library) = given("STOREHAND_MODEL_LIBRARY") {
            self.library = Some(library);
        }
        if let Some(folder) = given("STOREHAND_MODEL_FOLDER") {
            self.folder = folder;
        }
        self
    }

    /// The library's path.
    pub(crate) fn library(&self) -> Result<&Path, ModelError> {
        runtime::library(self.library.as_deref())
    }

    /// The number of threads in force.
    pub(crate) fn threads(&self) -> usize {
        runtime::threads(self.threads)
    }

    /// With what it is run.
    pub(crate) fn runtime(&self) -> Result<Runtime<'_>, ModelError> {
        Ok(Runtime { library: self.library()?, threads: self.threads(), operators: self.operators })
    }
}
