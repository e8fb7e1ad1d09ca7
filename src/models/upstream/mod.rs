//! A model on another server, asked by OpenAI's API: a bounded number of requests under way, each bounded in time and
//! size, one attempt each.
//!
//! Its address is the operator's own setting and no rule's, so unlike those that rules name it may be on this machine
//! or a private network. What comes back is no more trusted than what a model in this process writes: it is held to its
//! form here again, and whoever asks looks at it as at any text.
//!
//! *Architecture Invariant*: the key goes into one header and nowhere else; no error holds it.

mod answer;
mod events;
mod refused;
mod wire;

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Response, Url};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::error::{Again, ModelError};
use super::request::{Format, Generated, Prompt, Request};
use crate::domain::Secret;
use crate::outgoing;
use answer::Answer;
use events::Events;
use wire::Part;

/// A whole answer, and all of a stream, in bytes: the words of a stream have some hundreds each around them.
const LARGEST_ANSWER: usize = 4 << 20;
const LARGEST_STREAM: usize = 64 << 20;

/// A model on another server.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// What it is called here.
    pub name: String,
    /// Where its API is: what `/chat/completions` is put behind.
    pub url: String,
    /// What the server calls it.
    pub model: String,
    /// What the server is shown, where it wants to see something.
    pub api_key: Option<Secret>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Answers under way at the same time.
    pub max_in_flight: usize,
    /// Tokens that one answer may have.
    pub max_new_tokens: usize,
}

/// A model on another server.
#[derive(Debug)]
pub(crate) struct Upstream {
    settings: UpstreamSettings,
    url: Url,
    digest: String,
    http: Client,
    places: Semaphore,
}

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Result<Self, ModelError> {
        let wrong = |why: String| ModelError::Upstream { name: settings.name.clone(), why, again: Again::Never };
        let url = format!("{}/", settings.url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| wrong(format!("has no address (`url`): {error}")))?;
        let http = outgoing::builder(settings.timeout + Duration::from_secs(1)).build();
        let http = http.map_err(|error| wrong(format!("cannot be reached over TLS: {}", outgoing::plain(&error))))?;
        let digest = hex::encode(&Sha256::digest(format!("{url}\n{}", settings.model))[..16]);
        let places = Semaphore::new(settings.max_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Self { settings, url, digest, http, places })
    }

    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Answers under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.settings.max_in_flight.saturating_sub(self.places.available_permits())
    }

    pub(crate) async fn generate(
        &self,
        request: Request,
        cancelled: &CancellationToken,
        mut on_text: impl FnMut(&str) + Send,
    ) -> Result<Generated, ModelError> {
        let Request { prompt, sampling, format, within, .. } = request;
        sampling.check()?;
        if format.is_some() && !sampling.stop.is_empty() {
            return Err(ModelError::Request("`stop` would cut an answer that has a `format`: leave it out".into()));
        }
        let most = self.settings.max_in_flight;
        let places = u32::try_from(sampling.n).ok().filter(|_| sampling.n <= most).ok_or_else(|| {
            let name = self.name();
            ModelError::Request(format!("`{name}` writes at most {most} answers at a time (`max_in_flight`)"))
        })?;
        let (path, body) =
            wire::body(&self.settings.model, &prompt, &sampling, format.as_ref(), self.settings.max_new_tokens)?;
        let _places = self.places.try_acquire_many(places).map_err(|_| {
            self.error(
                "has as many requests under way as it may (`max_in_flight`)",
                Again::After(Duration::from_secs(1)),
            )
        })?;
        let prompt_digest = digest(&prompt);
        let within = within.map_or(self.settings.timeout, |within| within.min(self.settings.timeout));
        let mut answer = Answer::new(&sampling);
        // What must have a form is told when it was looked at.
        let holds = format.is_some();
        let mut told = |text: &str| {
            if !holds && !text.is_empty() {
                on_text(text);
            }
        };
        let asked = tokio::select! {
            biased;
            () = cancelled.cancelled() => None,
            asked = tokio::time::timeout(within, self.ask(path, &body, &mut answer, &mut told)) => Some(asked),
        };
        match asked {
            // Nobody has looked at what there is of it.
            None if holds => answer = Answer::new(&sampling),
            None => {}
            Some(Ok(answered)) => {
                answered?;
                if let Some(format) = &format {
                    self.hold(&mut answer, format)?;
                }
            }
            Some(Err(_)) => {
                let why = format!("had no answer within {} s", within.as_secs_f32());
                return Err(self.error(why, Again::Later));
            }
        }
        let generated = answer.generated(prompt_digest);
        if holds && !generated.text.is_empty() {
            on_text(&generated.text);
        }
        Ok(generated)
    }

    /// Asks for the list of the server's models; whether the one that is asked is among them.
    pub(crate) async fn look(&self) -> Result<bool, ModelError> {
        let response = self.send(Method::GET, "models", None).await?;
        let body = outgoing::read(response, LARGEST_ANSWER).await;
        let body = body.map_err(|error| self.error(format!("was not understood: {error}"), Again::Later))?;
        let list: Json = serde_json::from_slice(&body)
            .map_err(|error| self.error(format!("answered what is not understood: {error}"), Again::Later))?;
        let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(models.iter().any(|model| model["id"] == self.settings.model.as_str()))
    }

    /// Sends a request; the answer where it is a good one.
    async fn send(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Response, ModelError> {
        let url = self.url.join(path).map_err(|error| self.error(format!("has no address: {error}"), Again::Never))?;
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = &self.settings.api_key {
            request = request.bearer_auth(key.reveal());
        }
        let response = request.send().await.map_err(|error| self.broke(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Looks whether an answer has its form.
    fn hold(&self, answer: &mut Answer, format: &Format) -> Result<(), ModelError> {
        if answer.is_cut() {
            let usage = answer.usage();
            return Err(ModelError::Unfinished { prompt_tokens: usage.prompt_tokens, tokens: usage.completion_tokens });
        }
        let name = self.name().to_owned();
        answer.hold_to(format).map_err(|why| ModelError::NotInForm { name, why })
    }

    /// Sends the request and takes the answer in.
    async fn ask(
        &self,
        path: &str,
        body: &Json,
        answer: &mut Answer,
        told: &mut (impl FnMut(&str) + Send),
    ) -> Result<(), ModelError> {
        let mut response = self.send(Method::POST, path, Some(body)).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let body = outgoing::read(response, LARGEST_ANSWER).await.map_err(|error| match error {
                outgoing::ReadError::TooLong(_) => self.error(format!("was not read: {error}"), Again::Never),
                outgoing::ReadError::Broken(_) => self.error(format!("was not understood: {error}"), Again::Later),
            })?;
            self.take(&String::from_utf8_lossy(&body), answer, told)?;
        } else {
            let (mut events, mut read) = (Events::default(), 0);
            loop {
                let bytes = match response.chunk().await {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    // The answer itself is there.
                    Err(_) if answer.is_over() => break,
                    Err(error) => return Err(self.broke(&error)),
                };
                read += bytes.len();
                if read > LARGEST_STREAM {
                    return Err(self.error(format!("wrote more than {LARGEST_STREAM} bytes"), Again::Never));
                }
                let mut done = false;
                for event in events.push(&bytes).map_err(|why| self.error(why, Again::Later))? {
                    done |= event == "[DONE]";
                    if !done {
                        self.take(&event, answer, told)?;
                    }
                }
                if done {
                    break;
                }
            }
        }
        if answer.is_over() { Ok(()) } else { Err(self.error("broke off in the middle of its answer", Again::Later)) }
    }

    /// Takes in a whole answer or a piece of one.
    fn take(&self, text: &str, answer: &mut Answer, told: &mut impl FnMut(&str)) -> Result<(), ModelError> {
        let part: Part = serde_json::from_str(text)
            .map_err(|error| self.error(format!("answered what is not understood: {error}"), Again::Later))?;
        if let Some(error) = part.error.as_ref().filter(|error| !error.is_null()) {
            return Err(self.error(format!("broke its answer off: {}", self.said(error)), Again::Later));
        }
        let text = answer.take(&part).map_err(|why| self.error(why, Again::Never))?;
        told(&text);
        Ok(())
    }
}

/// SHA-256 in hex, 32 digits kept, of what is sent: how the server turns it into a prompt is its own.
fn digest(prompt: &Prompt) -> String {
    let text = match prompt {
        Prompt::Chat(messages) | Prompt::WithTools { messages, .. } => {
            serde_json::to_string(messages).unwrap_or_default()
        }
        Prompt::Text(text) => text.clone(),
    };
    hex::encode(&Sha256::digest(text)[..16])
}
