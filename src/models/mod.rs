//! The language model, in the process: what it is asked, how it is run, and what its text may say.
//!
//! - [`Model`] answers [`Request`]s: a decoder in the Hugging Face ONNX layout, alone or with an encoder, run by ONNX
//!   Runtime on the CPU, which ranks given texts as well; or an upstream, asked by OpenAI's API. [`Models`] are those that
//!   may be asked, by name.
//! - [`encoder`] makes vectors of texts; what customers want is told by them.
//! - [`intents`] learns from a shop's examples what its customers want.
//! - [`fetch`] gets the library and the default model; [`convert`] makes models of GGUF files.
//! - [`policy`] says whether a text may be sent: one pure function, whoever wrote the text.
//!
//! *Architecture Invariant*: one thread owns a session; everybody else has a handle with a bounded queue in front.
//! *Architecture Invariant*: what is streamed is final: whole characters, nothing of a stop text, never taken back.
//! *Architecture Invariant*: text in messages is data; it cannot write a special token into the prompt.
//!
//! *Architecture Invariant*: what an answer says does not depend on what else is answered or kept.
//!
//! This room alone knows `ort`, `tokenizers`, `llguidance` and `minijinja`, and reads a shop's file of examples itself. It
//! must not know of rules, runs, calls or shops.

mod adapter;
mod admission;
mod answer;
mod beam;
pub mod convert;
mod decoder;
pub mod encoder;
mod error;
pub mod fetch;
mod folder;
mod form;
#[cfg(test)]
mod form_tests;
mod gguf;
mod handle;
pub mod intents;
mod known;
mod model;
mod onnx;
#[cfg(target_arch = "x86_64")]
mod operators;
pub mod policy;
mod prefix;
mod queue;
#[cfg(test)]
mod random_tests;
mod request;
mod rows;
mod runtime;
mod sampler;
mod scheduler;
#[cfg(test)]
mod scheduler_tests;
mod seq2seq;
mod settings;
mod shared;
mod stats;
mod stream;
mod template;
#[cfg(test)]
mod tests;
mod tokens;
pub mod tools;
mod upstream;
mod writing;

pub use error::{Again, ModelError};
pub use folder::main_graph;
pub use handle::Model;
pub use known::{Known, Models, NoModel};
pub use model::{CONTENT_FREE, MOST_CANDIDATES, Ranked, Ranking, ToRank, without_content};
pub use request::{
    ChatMessage, Choice, Class, Finish, Format, Generated, Prompt, Request, Role, Sampling, TokenBytes, TokenChance,
};
pub use settings::{Operators, Settings};
pub use stats::{FIRST_TOKEN_EDGES_MS, Stats};
pub use storehand_kernel::read_speed as memory_speed;
pub use upstream::UpstreamSettings;
