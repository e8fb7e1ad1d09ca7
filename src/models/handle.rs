//! The handle on a model, wherever it runs: in this process, or on a server that the operator has configured.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::error::ModelError;
use super::model::{InProcess, Ranking, ToRank};
use super::request::{Generated, Request};
use super::settings::Settings;
use super::stats::Stats;
use super::upstream::{Upstream, UpstreamSettings};

/// A model that can be asked: a cheap handle, to be cloned and shared.
#[derive(Clone, Debug)]
pub struct Model(Place);

#[derive(Clone, Debug)]
enum Place {
    Here(InProcess),
    There(Arc<Upstream>),
}

impl Model {
    /// Loads a model into this process and starts its thread, which ends when the last handle is dropped.
    ///
    /// # Errors
    /// At once, where the library or a file of the model is missing, too old, or not understood.
    pub fn load(settings: &Settings) -> Result<Self, ModelError> {
        InProcess::load(settings).map(|model| Self(Place::Here(model)))
    }

    /// A model on another server. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ModelError::Upstream`] where the address is none, or TLS cannot be set up.
    pub fn upstream(settings: UpstreamSettings) -> Result<Self, ModelError> {
        Upstream::new(settings).map(|upstream| Self(Place::There(Arc::new(upstream))))
    }

    /// Its folder's name, or what the configuration calls it.
    pub fn name(&self) -> &str {
        match &self.0 {
            Place::Here(model) => model.name(),
            Place::There(upstream) => upstream.name(),
        }
    }

    /// Names exactly these weights, tokenizer and template; of an upstream, which shows none of them, its address and
    /// the model that it is asked for. SHA-256 in hex, 32 digits kept.
    pub fn digest(&self) -> &str {
        match &self.0 {
            Place::Here(model) => model.digest(),
            Place::There(upstream) => upstream.digest(),
        }
    }

    /// Name and digest, as answers record them and rules may name it: `NAME@DIGEST`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name(), self.digest())
    }

    /// Whether what it is asked leaves this process.
    pub fn is_upstream(&self) -> bool {
        matches!(self.0, Place::There(_))
    }

    /// The adapters that a request may name, with what names exactly these weights: SHA-256 of its file in hex, 32
    /// digits kept. An upstream shows none.
    pub fn adapters(&self) -> Vec<(&str, &str)> {
        match &self.0 {
            Place::Here(model) => model.adapters().collect(),
            Place::There(_) => Vec::new(),
        }
    }

    /// Whether it can be told of tools: its chat template writes them. An upstream is not.
    pub fn knows_tools(&self) -> bool {
        match &self.0 {
            Place::Here(model) => model.knows_tools(),
            Place::There(_) => false,
        }
    }

    /// Tokens that prompt and answer may have together, where that is known: an upstream does not tell.
    pub fn context_tokens(&self) -> Option<usize> {
        match &self.0 {
            Place::Here(model) => Some(model.context_tokens()),
            Place::There(_) => None,
        }
    }

    /// How many tokens a text has.
    ///
    /// # Errors
    /// [`ModelError::PromptTooLong`] where it cannot fit, whatever its tokens; [`ModelError::Failed`];
    /// [`ModelError::Request`] of an upstream, whose tokens are not known here.
    pub fn count_tokens(&self, text: &str) -> Result<usize, ModelError> {
        match &self.0 {
            Place::Here(model) => model.count_tokens(text),
            Place::There(_) => Err(ModelError::Request("the tokens of an upstream are not known here".into())),
        }
    }

    /// What it has done, and how it stands; of an upstream only what is under way.
    pub fn stats(&self) -> Stats {
        match &self.0 {
            Place::Here(model) => model.stats(),
            Place::There(upstream) => Stats { requests: upstream.in_flight(), ..Stats::default() },
        }
    }

    /// Asks an upstream whether it lets us in; whether it says that it has the model. One in this process is there.
    ///
    /// # Errors
    /// [`ModelError::Upstream`].
    pub async fn look(&self) -> Result<bool, ModelError> {
        match &self.0 {
            Place::Here(_) => Ok(true),
            Place::There(upstream) => upstream.look().await,
        }
    }

    /// Ranks texts by how likely they are to follow a prompt.
    ///
    /// # Errors
    /// [`ModelError::Request`], [`ModelError::PromptTooLong`] and [`ModelError::QueueFull`] at once;
    /// [`ModelError::TooLate`], [`ModelError::Failed`], [`ModelError::Stopped`]; [`ModelError::Request`] of an upstream.
    pub async fn rank(&self, asked: ToRank, cancelled: &CancellationToken) -> Result<Ranking, ModelError> {
        match &self.0 {
            Place::Here(model) => model.rank(asked, cancelled).await,
            Place::There(_) => Err(ModelError::Request("an upstream tells no probabilities of given texts".into())),
        }
    }

    /// Answers a request. `on_text` gets the first answer as it is written, piece by piece, whole characters only,
    /// nothing of a stop text; the pieces together are [`Generated::text`].
    ///
    /// When `cancelled` is, or this future is dropped, a model in this process gives the request up before it has
    /// written two more tokens (or read one more block of the prompt); the connection to an upstream is closed.
    ///
    /// # Errors
    /// [`ModelError::Request`], [`ModelError::PromptTooLong`] and [`ModelError::QueueFull`] at once;
    /// [`ModelError::Unfinished`], [`ModelError::TooLate`], [`ModelError::Failed`], [`ModelError::Stopped`];
    /// [`ModelError::Upstream`] and [`ModelError::NotInForm`] of an upstream.
    pub async fn generate(
        &self,
        request: Request,
        cancelled: &CancellationToken,
        on_text: impl FnMut(&str) + Send,
    ) -> Result<Generated, ModelError> {
        match &self.0 {
            Place::Here(model) => model.generate(request, cancelled, on_text).await,
            Place::There(_) if request.adapter.is_some() => {
                Err(ModelError::Request("an upstream has no adapters here: leave `adapter` out".into()))
            }
            Place::There(upstream) => upstream.generate(request, cancelled, on_text).await,
        }
    }
}
