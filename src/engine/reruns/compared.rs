//! What came of a prompt then and now, and all of them together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;

use super::prompt::Prompt;
use crate::domain::{Answer, Failure, Verdict};

/// What came of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Came {
    /// Whether it went out.
    pub state: State,
    /// The text, or the data; of what was held back too.
    pub said: Json,
    /// Why it did not go out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The model: `NAME@DIGEST`; nothing where that was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The digest of the prompt as the model saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_digest: Option<String>,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// Whether an answer went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It did.
    Out,
    /// The policy, or the form that was asked for, held it back.
    HeldBack,
    /// There was none: the model could not be asked, or failed.
    NoAnswer,
}

/// How two answers to a prompt differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Not at all.
    Same,
    /// Other words went out.
    Reworded,
    /// It was held back and goes out now.
    LetOut,
    /// It was held back and still is, or has no answer.
    StillHeldBack,
    /// It went out and is held back now.
    HeldBack,
    /// It went out and has no answer now.
    NoAnswer,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Same, Self::Reworded, Self::LetOut, Self::StillHeldBack, Self::HeldBack, Self::NoAnswer];

    /// Whether what went out before does not any more.
    pub fn is_worse(self) -> bool {
        matches!(self, Self::HeldBack | Self::NoAnswer)
    }

    fn between(then: &Came, now: &Came) -> Self {
        match (then.state, now.state) {
            (State::Out, State::Out) if then.said == now.said => Self::Same,
            (State::Out, State::Out) => Self::Reworded,
            (State::Out, State::HeldBack) => Self::HeldBack,
            (State::Out, State::NoAnswer) => Self::NoAnswer,
            (_, State::Out) => Self::LetOut,
            (State::HeldBack, State::HeldBack) if then.said == now.said => Self::Same,
            (_, _) => Self::StillHeldBack,
        }
    }
}

/// A prompt with what came of it then and now.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The call: `run_…/path`.
    pub call: String,
    /// Its rule.
    pub rule: String,
    /// The capability.
    pub uses: String,
    /// How the two differ.
    pub change: Change,
    /// Whether both models read the very same text; nothing where that was not recorded.
    pub same_prompt: Option<bool>,
    /// What is on record.
    pub then: Came,
    /// What came of it now.
    pub now: Came,
    /// How long it took now, waiting included.
    pub seconds: f64,
}

impl Compared {
    pub(super) fn new(prompt: Prompt, verdict: Verdict, took: Duration) -> Self {
        let now = match verdict {
            Verdict::Done(answer) => Came::done(&answer),
            Verdict::Refused(failure) => Came::failed(&failure),
            Verdict::RetryAfter(_, why) | Verdict::Unknown(why) => Came::failed(&Failure::new("retries_used_up", why)),
            Verdict::Until(_) | Verdict::Await(..) | Verdict::Memory(_) => {
                Came::failed(&Failure::new("internal", "a model's answer does not wait (a bug in Storehand)"))
            }
        };
        let then = match &prompt.answer {
            Answer::Done(answer) => Came::done(answer),
            Answer::Failed(failure) => Came::failed(failure),
        };
        let both = then.prompt_digest.as_ref().zip(now.prompt_digest.as_ref());
        Self {
            change: Change::between(&then, &now),
            same_prompt: both.map(|(then, now)| then == now),
            call: prompt.call,
            rule: prompt.rule,
            uses: prompt.uses,
            then,
            now,
            seconds: took.as_secs_f64(),
        }
    }
}

impl Came {
    fn done(answer: &Json) -> Self {
        Self::of(State::Out, answer, None)
    }

    fn failed(failure: &Failure) -> Self {
        let held_back = matches!(failure.code.as_str(), "policy_violation" | "invalid_answer" | "length");
        let state = if held_back { State::HeldBack } else { State::NoAnswer };
        Self::of(state, &failure.detail, Some(failure.to_string()))
    }

    /// An answer and what was held back are recorded alike.
    fn of(state: State, record: &Json, why: Option<String>) -> Self {
        let text = |name: &str| record[name].as_str().map(str::to_owned);
        let number = |name: &str| record[name].as_u64().unwrap_or_default();
        Self {
            state,
            said: record.get("text").or(record.get("data")).cloned().unwrap_or_default(),
            why,
            model: text("model"),
            prompt_digest: text("prompt_digest"),
            prompt_tokens: number("prompt_tokens"),
            completion_tokens: number("completion_tokens"),
        }
    }
}

/// All that came of a rerun.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model that was asked: `NAME@DIGEST`.
    pub model: String,
    /// How many prompts changed in which way.
    pub changes: BTreeMap<Change, usize>,
    /// Answers that went out, then and now.
    pub out: [usize; 2],
    /// Tokens that those took to write, then and now, as far as they were recorded.
    pub completion_tokens: [u64; 2],
    /// Prompts that both models read as the very same text, and those of which that is known.
    pub same_prompt: [usize; 2],
    /// How long all of it took.
    pub seconds: f64,
    /// Each prompt, in the order in which they were asked.
    pub prompts: Vec<Compared>,
}

impl Report {
    pub(super) fn new(model: String, prompts: Vec<Compared>, took: Duration) -> Self {
        let mut changes: BTreeMap<Change, usize> = Change::ALL.into_iter().map(|change| (change, 0)).collect();
        for prompt in &prompts {
            *changes.entry(prompt.change).or_default() += 1;
        }
        let out = |side: fn(&Compared) -> &Came| prompts.iter().filter(|it| side(it).state == State::Out).count();
        let tokens = |side: fn(&Compared) -> &Came| prompts.iter().map(|it| side(it).completion_tokens).sum();
        let same = prompts.iter().filter(|it| it.same_prompt == Some(true)).count();
        let known = prompts.iter().filter(|it| it.same_prompt.is_some()).count();
        Self {
            model,
            changes,
            out: [out(|it| &it.then), out(|it| &it.now)],
            completion_tokens: [tokens(|it| &it.then), tokens(|it| &it.now)],
            same_prompt: [same, known],
            seconds: took.as_secs_f64(),
            prompts,
        }
    }

    /// Whether something that went out before does not any more.
    pub fn is_worse(&self) -> bool {
        self.prompts.iter().any(|prompt| prompt.change.is_worse())
    }
}
