//! What is asked: reading a body, and the options that chat and text completions share.

use axum::extract::Request as HttpRequest;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::super::{Http, body};
use super::refused::Refusal;
use crate::models::Sampling;

/// Reads a body as JSON; what it says that is not known is refused by its name.
pub(super) async fn read<T: DeserializeOwned>(http: &Http, request: HttpRequest) -> Result<T, Refusal> {
    understood(fields(http, request).await?)
}

/// The same of a completion: its own options, and those that both kinds share.
pub(super) async fn read_completion<T: DeserializeOwned>(
    http: &Http,
    request: HttpRequest,
) -> Result<(T, Shared), Refusal> {
    let (shared, own) = fields(http, request).await?.into_iter().partition(|(name, _)| SHARED.contains(&name.as_str()));
    Ok((understood(own)?, understood(shared)?))
}

async fn fields(http: &Http, request: HttpRequest) -> Result<Map<String, Json>, Refusal> {
    let body = body::read(request.into_body(), http.body_limit, http.read_timeout).await;
    let body = body.map_err(|problem| Refusal::unread(problem.status(), problem.to_string()))?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::unread(StatusCode::BAD_REQUEST, format!("the body is not a JSON object: {error}")))
}

fn understood<T: DeserializeOwned>(fields: Map<String, Json>) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(Json::Object(fields)).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        let param = Some(path.as_str()).filter(|path| *path != ".");
        Refusal::invalid(param, format!("the request cannot be read: {why}"))
    })
}

/// One or more texts.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    pub(super) fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// What may be said of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    /// Padding against eavesdroppers, which a client may switch off: there is none.
    #[serde(default)]
    #[expect(dead_code, reason = "it is known, and makes no difference")]
    include_obfuscation: bool,
}

/// The names of the options that both kinds of completion have: serde's `flatten` cannot refuse what is not known, so
/// they are parted from the others by name.
const SHARED: &[&str] = &[
    "beams",
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "min_p",
    "model",
    "n",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_k",
    "top_p",
    "user",
];

/// The options that both kinds of completion have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shared {
    pub(super) model: String,
    pub(super) max_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    beams: Option<usize>,
    pub(super) n: Option<usize>,
    stop: Option<Texts>,
    seed: Option<i64>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    logit_bias: Option<Json>,
    /// Who the client's own user is.
    #[expect(dead_code, reason = "it is known, and makes no difference")]
    user: Option<String>,
}

/// How an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// When it is complete.
    Whole,
    /// As it is written.
    Streamed {
        /// Whether what it took is told at the end.
        with_usage: bool,
    },
}

impl Shared {
    /// How the answer is to be given.
    pub(super) fn delivered(&self) -> Delivered {
        match self.stream {
            Some(true) => Delivered::Streamed {
                with_usage: self.stream_options.as_ref().is_some_and(|options| options.include_usage),
            },
            _ => Delivered::Whole,
        }
    }

    /// How to answer, with `most` tokens at the most and the log-probabilities of so many of the likeliest.
    pub(super) fn sampling(&mut self, most: usize, logprobs: Option<usize>) -> Result<Sampling, Refusal> {
        let penalties = [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)];
        for (name, penalty) in penalties {
            if penalty.is_some_and(|penalty| penalty != 0.0) {
                return Err(Refusal::unsupported(name, "`repetition_penalty` is known"));
            }
        }
        if self.logit_bias.as_ref().is_some_and(|bias| bias.as_object().is_none_or(|bias| !bias.is_empty())) {
            return Err(Refusal::unsupported("logit_bias", "`response_format` can hold an answer to a schema"));
        }
        let beams = self.beams.unwrap_or(1);
        let sampling = Sampling {
            // As in that API; a search draws nothing.
            temperature: self.temperature.unwrap_or(if beams > 1 { 0.0 } else { 1.0 }),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            beams,
            n: self.n.unwrap_or(1),
            stop: self.stop.take().map(Texts::list).unwrap_or_default(),
            seed: self.seed.map_or_else(any_seed, i64::cast_unsigned),
            max_tokens: most,
            logprobs,
            ..Sampling::default()
        };
        sampling.check()?;
        Ok(sampling)
    }
}

/// Who names no seed wants another answer each time.
fn any_seed() -> u64 {
    let mut seed = [0; 8];
    // Without random numbers the answers are the same each time, which is no harm.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shared_option_is_parted_from_the_others() {
        let error = serde_json::from_str::<Shared>(r#"{ "no such option": 1 }"#).expect_err("unknown").to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known.len(), SHARED.len(), "{error}");
        assert!(known.iter().all(|name| SHARED.contains(name)), "{error}");
    }
}
