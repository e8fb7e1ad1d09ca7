//! What can go wrong with the model, for people: what, where and what to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the model did not load, write, convert or arrive.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file or setting that is needed is not there.
    #[error("{what} is not there: {}; {hint}", .path.display())]
    Missing {
        /// `the ONNX Runtime library`.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
        /// What to do.
        hint: String,
    },
    /// The ONNX Runtime library is older than what this program was written against.
    #[error(
        "the ONNX Runtime library {} is version {found}; {wanted} or newer is needed: run `storehand model fetch`, \
         or set STOREHAND_MODEL_LIBRARY to a newer one", .path.display()
    )]
    TooOld {
        /// The library.
        path: PathBuf,
        /// What it says it is.
        found: String,
        /// The oldest that will do.
        wanted: String,
    },
    /// A file is there and is not what it should be.
    #[error("{} is not understood: {why}", .path.display())]
    NotUnderstood {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// As much waits as may wait.
    #[error("the model is busy with {waiting} requests already; try again in {} s", .retry_after.as_secs().max(1))]
    QueueFull {
        /// How many wait or are answered.
        waiting: usize,
        /// When it is likely to be worth another try.
        retry_after: Duration,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has at least {tokens} tokens and the model reads {context}: shorten it")]
    PromptTooLong {
        /// What it has, or a number that it has at least.
        tokens: usize,
        /// What the model reads, prompt and answer together.
        context: usize,
    },
    /// It took longer than it might.
    #[error("the model had no answer within {} s", .within.as_secs_f32())]
    TooLate {
        /// How long it might take.
        within: Duration,
    },
    /// What the answer must be was not complete when its tokens were used up. Nothing of it is given out.
    #[error("the answer was not complete after {tokens} tokens, which is its `length`: allow more `max_tokens`")]
    Unfinished {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens written.
        tokens: usize,
    },
    /// What was asked makes no sense: a sampling number out of its range, messages that the chat template refuses.
    #[error("the model cannot be asked this: {0}")]
    Request(String),
    /// An upstream gave no answer that can be used.
    #[error("the upstream `{name}` {why}")]
    Upstream {
        /// What the configuration calls it.
        name: String,
        /// What happened, and what to do; never its key.
        why: String,
        /// Whether another try may go better.
        again: Again,
    },
    /// An upstream's answer is not what it was to look like. Nothing of it is given out.
    #[error("what the upstream `{name}` answered is not in the form that was asked for: {why}")]
    NotInForm {
        /// What the configuration calls it.
        name: String,
        /// Where it is not.
        why: String,
    },
    /// ONNX Runtime failed while it ran.
    #[error("the model failed: {0}")]
    Failed(String),
    /// The model's thread has ended.
    #[error("the model has stopped; restart the program, and look for an earlier error in its log")]
    Stopped,
    /// A package could not be fetched.
    #[error("{package} could not be fetched: {why}")]
    Fetch {
        /// Its name and version.
        package: String,
        /// What went wrong, and what to do.
        why: String,
    },
    /// The file system said no.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// `reading`, `writing`.
        action: &'static str,
        /// What.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Whether another try may go better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Not before so long.
    After(Duration),
    /// Whenever.
    Later,
    /// Not as things are.
    Never,
}

impl ModelError {
    /// `path` is there and is not what it should be.
    pub(crate) fn not_understood(path: &Path, why: impl Into<String>) -> Self {
        Self::NotUnderstood { path: path.to_owned(), why: why.into() }
    }

    /// For `map_err`: what was being done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl<T> From<ort::Error<T>> for ModelError {
    fn from(error: ort::Error<T>) -> Self {
        Self::Failed(error.to_string())
    }
}
