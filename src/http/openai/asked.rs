//! What is asked: reading a body, and the options that chat and text completions share.

use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::super::{Http, body};
use super::refused::Refusal;
use crate::models::Sampling;

/// Reads a body as JSON; what it says that is not known is refused by its name.
pub(super) async fn read<T: DeserializeOwned>(http: &Arc<Http>, request: HttpRequest) -> Result<T, Refusal> {
    let body = body::read(request.into_body(), http.body_limit, http.read_timeout).await;
    let body = body.map_err(|problem| Refusal::unread(problem.status(), problem.to_string()))?;
    let mut json = serde_json::Deserializer::from_slice(&body);
    let asked = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        let param = Some(path.as_str()).filter(|path| *path != ".");
        Refusal::invalid(param, format!("the request cannot be read: {why}"))
    })?;
    json.end()
        .map_err(|error| Refusal::unread(StatusCode::BAD_REQUEST, format!("the body is not one JSON: {error}")))?;
    Ok(asked)
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
    pub(super) include_usage: bool,
    /// Padding against eavesdroppers, which a client may switch off: there is none.
    #[serde(default)]
    #[expect(dead_code, reason = "it is known, and makes no difference")]
    include_obfuscation: bool,
}

// A macro, since serde's `flatten` cannot refuse what is not known.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_doc])* pub(super) $field: $type,)*
            pub(super) model: String,
            pub(super) temperature: Option<f32>,
            pub(super) top_p: Option<f32>,
            pub(super) top_k: Option<usize>,
            pub(super) min_p: Option<f32>,
            pub(super) repetition_penalty: Option<f32>,
            pub(super) beams: Option<usize>,
            pub(super) n: Option<usize>,
            pub(super) stop: Option<super::asked::Texts>,
            pub(super) seed: Option<i64>,
            pub(super) max_tokens: Option<usize>,
            #[serde(default)]
            pub(super) stream: Option<bool>,
            pub(super) stream_options: Option<super::asked::StreamOptions>,
            pub(super) frequency_penalty: Option<f32>,
            pub(super) presence_penalty: Option<f32>,
            pub(super) logit_bias: Option<serde_json::Value>,
            /// Who the client's own user is; nothing is made of it.
            #[expect(dead_code, reason = "it is known, and makes no difference")]
            user: Option<String>,
        }

        impl $name {
            /// How to answer, as the shared options say.
            pub(super) fn sampling(&mut self, most: usize) -> Result<crate::models::Sampling, super::refused::Refusal> {
                super::asked::sampling(super::asked::Shared {
                    temperature: self.temperature,
                    top_p: self.top_p,
                    top_k: self.top_k,
                    min_p: self.min_p,
                    repetition_penalty: self.repetition_penalty,
                    beams: self.beams,
                    n: self.n,
                    stop: self.stop.take(),
                    seed: self.seed,
                    most,
                    penalties: [self.frequency_penalty, self.presence_penalty],
                    logit_bias: self.logit_bias.take(),
                })
            }
        }
    };
}
pub(super) use options;

/// The options that both kinds of completion have.
pub(super) struct Shared {
    pub(super) temperature: Option<f32>,
    pub(super) top_p: Option<f32>,
    pub(super) top_k: Option<usize>,
    pub(super) min_p: Option<f32>,
    pub(super) repetition_penalty: Option<f32>,
    pub(super) beams: Option<usize>,
    pub(super) n: Option<usize>,
    pub(super) stop: Option<Texts>,
    pub(super) seed: Option<i64>,
    pub(super) most: usize,
    pub(super) penalties: [Option<f32>; 2],
    pub(super) logit_bias: Option<Json>,
}

pub(super) fn sampling(asked: Shared) -> Result<Sampling, Refusal> {
    for (name, penalty) in ["frequency_penalty", "presence_penalty"].into_iter().zip(asked.penalties) {
        if penalty.is_some_and(|penalty| penalty != 0.0) {
            return Err(Refusal::unsupported(name, "`repetition_penalty` is known"));
        }
    }
    if asked.logit_bias.is_some_and(|bias| bias.as_object().is_none_or(|bias| !bias.is_empty())) {
        return Err(Refusal::unsupported("logit_bias", "`response_format` can hold an answer to a schema"));
    }
    let beams = asked.beams.unwrap_or(1);
    let sampling = Sampling {
        // As in that API; a search draws nothing.
        temperature: asked.temperature.unwrap_or(if beams > 1 { 0.0 } else { 1.0 }),
        top_p: asked.top_p.unwrap_or(1.0),
        top_k: asked.top_k.unwrap_or(0),
        min_p: asked.min_p.unwrap_or(0.0),
        repetition_penalty: asked.repetition_penalty.unwrap_or(1.0),
        beams,
        n: asked.n.unwrap_or(1),
        stop: asked.stop.map(Texts::list).unwrap_or_default(),
        seed: asked.seed.map_or_else(any_seed, i64::cast_unsigned),
        max_tokens: asked.most,
        ..Sampling::default()
    };
    sampling.check()?;
    Ok(sampling)
}

/// Who names no seed wants another answer each time.
fn any_seed() -> u64 {
    let mut seed = [0; 8];
    // Without random numbers the answers are the same each time, which is no harm.
    let _ = getrandom::fill(&mut seed);
    u64::from_le_bytes(seed)
}
