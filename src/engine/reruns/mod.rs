//! Prompts on record, asked once more: what another model makes of what a shop's rules have asked theirs.
//!
//! ```text
//! the store, or a file ─▶ prompts ─▶ the capability itself, over the other model ─▶ what came of each, then and now
//! ```
//!
//! A prompt is made and its answer is judged by the capability that did so then, over the event and the context of then,
//! so that nothing is said here a second time of how a text is asked for or what it may say.

mod compared;
mod prompt;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value as Json;

use crate::capabilities;
use crate::domain::{Capability, Failure, Verdict};
use crate::models::Models;
pub use compared::{Came, Change, Compared, Report, State};
pub use prompt::{Corpus, Prompt, Selection, recorded};

/// The capabilities whose prompts can be asked again.
pub const CAPABILITIES: [&str; 2] = ["model.write", "model.extract"];

/// Tries at one prompt, and how long is waited between two at the most.
const TRIES: u64 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Asks a model these prompts, so many at a time; `told` hears how many are done.
///
/// What cannot be asked, and what has no answer after some tries, is a result like any other.
pub async fn rerun(
    prompts: Vec<Prompt>,
    models: &Models,
    at_once: usize,
    told: &mut (dyn FnMut(usize) + Send),
) -> Report {
    let deps = capabilities::Deps { models: models.clone(), ..capabilities::Deps::default() };
    let capabilities: BTreeMap<&str, Arc<dyn Capability>> =
        capabilities::all(deps).into_iter().map(|it| (it.spec().name, it)).collect();
    let began = Instant::now();
    let capabilities = &capabilities;
    let asking = prompts.into_iter().map(|prompt| async move {
        let began = Instant::now();
        let verdict = match capabilities.get(prompt.uses.as_str()) {
            Some(capability) if CAPABILITIES.contains(&prompt.uses.as_str()) => ask(&**capability, &prompt).await,
            _ => Verdict::refused("unknown_capability", format!("`{}` cannot be asked again", prompt.uses)),
        };
        Compared::new(prompt, verdict, began.elapsed())
    });
    let mut answers = stream::iter(asking).buffered(at_once.max(1));
    let mut all = Vec::new();
    while let Some(compared) = answers.next().await {
        all.push(compared);
        told(all.len());
    }
    let model = models.usual().map(|known| known.model.full_name()).unwrap_or_default();
    Report::new(model, all, began.elapsed())
}

/// Asks once, and again where that may help: an engine would, too.
async fn ask(capability: &dyn Capability, prompt: &Prompt) -> Verdict {
    let attempt = match prompt.attempt() {
        Ok(attempt) => attempt,
        Err(why) => return Verdict::Refused(Failure::new("invalid_input", why)),
    };
    let input: Json = prompt.input();
    let mut tries = 0;
    loop {
        tries += 1;
        let performing = tokio::time::timeout(capability.spec().deadline, capability.perform(&attempt, &input));
        let verdict = performing.await.unwrap_or_else(|_| Verdict::RetryAfter(None, "no answer in time".into()));
        match verdict {
            Verdict::RetryAfter(wait, _) if tries < TRIES => {
                let wait = wait.unwrap_or_else(|| Duration::from_secs(tries));
                tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
            }
            verdict => return verdict,
        }
    }
}
