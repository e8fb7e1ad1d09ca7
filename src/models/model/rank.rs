//! Ranking: how likely given texts are to follow a prompt, in place of what the model would write.
//!
//! A candidate is read token by token right after the prompt, beside other rows, and the log-probability of each of its
//! tokens is kept: so a candidate costs what writing it would. The rest of the prompt's reading is shared.
//!
//! Models like some words better than others whatever is asked. What they like is seen after a prompt without content,
//! and is taken off, as *contextual calibration* does (Zhao et al., "Calibrate Before Use", 2021): with `p` the
//! probability after the prompt and `q` that after the prompt without content, a candidate's weight is `p / q`, and its
//! probability its share of all weights. Theirs is the mean of several inputs without content; this is one.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use super::super::adapter::AdapterId;
use super::super::error::ModelError;
use super::super::request::{ChatMessage, Class, Prompt, Role, Sampling};
use super::super::scheduler::{Job, Progress};
use super::InProcess;

/// Candidates of one request.
pub const MOST_CANDIDATES: usize = 100;

/// What stands for an input without content.
pub const CONTENT_FREE: &str = "N/A";

/// Texts to be ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct ToRank {
    /// What they would follow.
    pub prompt: Prompt,
    /// The texts: 2 to [`MOST_CANDIDATES`]. Each is made tokens by itself: where the prompt ends within a line, begin it
    /// with a space.
    pub candidates: Vec<String>,
    /// The prompt without content, by which likings are taken off; none to leave them in.
    pub content_free: Option<Prompt>,
    /// On whose account.
    pub class: Class,
    /// The shop on whose account, by its id; empty where it is none's.
    pub shop: String,
    /// How long it may take, waiting included.
    pub within: Option<Duration>,
    /// The model's adapter to judge with, by name.
    pub adapter: Option<String>,
}

/// A text that was ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Its place among the candidates.
    pub index: usize,
    /// The natural logarithm of each of its tokens' probability after the prompt and the tokens before it.
    pub token_logprobs: Vec<f32>,
    /// The same after the prompt without content, all tokens together.
    pub content_free_logprob: Option<f64>,
    /// Its share of the candidates' weights.
    pub probability: f64,
}

impl Ranked {
    /// How likely the whole text is after the prompt.
    pub fn logprob(&self) -> f64 {
        sum(&self.token_logprobs)
    }
}

/// The ranked texts and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// The likeliest first.
    pub candidates: Vec<Ranked>,
    /// Tokens of the prompts, with and without content.
    pub prompt_tokens: usize,
    /// Tokens of prompts that needed no reading, in all passes.
    pub cached_tokens: usize,
    /// Tokens of the candidates, after both prompts.
    pub candidate_tokens: usize,
    /// SHA-256 in hex, 32 digits kept, of the prompt as the model saw it.
    pub prompt_digest: String,
}

/// A prompt with nothing but `text` where its content is: in place of the last thing that a user said, or of a whole text.
pub fn without_content(prompt: &Prompt, text: &str) -> Prompt {
    match prompt {
        Prompt::Text(_) => Prompt::Text(text.to_owned()),
        Prompt::Chat(messages) => {
            let mut messages: Vec<ChatMessage> = messages.clone();
            if let Some(last) = messages.iter_mut().rev().find(|message| message.role == Role::User) {
                text.clone_into(&mut last.content);
            }
            Prompt::Chat(messages)
        }
        Prompt::WithTools { .. } => prompt.clone(),
    }
}

impl InProcess {
    /// Ranks texts by how likely they are to follow a prompt.
    ///
    /// # Errors
    /// [`ModelError::Request`], [`ModelError::PromptTooLong`] and [`ModelError::QueueFull`] at once;
    /// [`ModelError::TooLate`], [`ModelError::Failed`], [`ModelError::Stopped`].
    pub(crate) async fn rank(&self, asked: ToRank, cancelled: &CancellationToken) -> Result<Ranking, ModelError> {
        let (inner, arrived) = (&*self.0, Instant::now());
        if !(2..=MOST_CANDIDATES).contains(&asked.candidates.len()) {
            return Err(ModelError::Request(format!("2 to {MOST_CANDIDATES} candidates can be ranked")));
        }
        let adapter = self.adapter(asked.adapter.as_deref())?;
        let mut candidates = Vec::with_capacity(asked.candidates.len());
        for (at, text) in asked.candidates.iter().enumerate() {
            self.fits(text)?;
            let tokens = inner.tokens.encode(&inner.tokens.plain(text))?;
            if tokens.is_empty() {
                return Err(ModelError::Request(format!("candidate {at} is empty")));
            }
            candidates.push(tokens);
        }
        let longest = candidates.iter().map(Vec::len).max().unwrap_or(0);
        let (prompt, prompt_digest) = self.read(&asked.prompt)?;
        let content_free = match &asked.content_free {
            Some(prompt) => Some(self.read(prompt)?.0),
            None => None,
        };
        let prompts: Vec<Vec<u32>> = std::iter::once(prompt).chain(content_free).collect();
        for prompt in &prompts {
            let together = if inner.encodes { prompt.len().max(longest) } else { prompt.len() + longest };
            if together > inner.context {
                return Err(ModelError::PromptTooLong { tokens: together, context: inner.context });
            }
        }
        let prompt_tokens = prompts.iter().map(Vec::len).sum();
        let candidate_tokens = prompts.len() * candidates.iter().map(Vec::len).sum::<usize>();
        let _place = inner.gate.enter(asked.class, &asked.shop, prompt_tokens + candidate_tokens)?;
        let pass = Pass { asked: &asked, adapter, arrived, cancelled };
        let (mut passes, mut cached_tokens) = (Vec::new(), 0);
        for prompt in &prompts {
            let (logprobs, cached) = self.read_after(prompt, &candidates, &pass).await?;
            passes.push(logprobs);
            cached_tokens += cached;
        }
        let mut passes = passes.into_iter();
        let candidates = ranked(passes.next().unwrap_or_default(), passes.next().as_deref());
        Ok(Ranking { candidates, prompt_tokens, cached_tokens, candidate_tokens, prompt_digest })
    }

    /// The log-probabilities of the candidates' tokens after a prompt, and how many tokens of it needed no reading. They
    /// take up to half of the rows at a time, and between two groups of them others have their turn.
    async fn read_after(
        &self,
        prompt: &[u32],
        candidates: &[Vec<u32>],
        pass: &Pass<'_>,
    ) -> Result<(Vec<Vec<f32>>, usize), ModelError> {
        let inner = &*self.0;
        let (mut logprobs, mut cached_tokens) = (Vec::with_capacity(candidates.len()), 0);
        for group in candidates.chunks((inner.rows / 2).max(1)) {
            let (watcher, mut progress) = unbounded_channel();
            let job = Job {
                names: self.blocks(pass.asked.adapter.as_deref(), prompt),
                prompt: prompt.to_vec(),
                adapter: pass.adapter,
                sampling: Sampling::default(),
                form: None,
                told: group.to_vec(),
                most: group.iter().map(Vec::len).max().unwrap_or(0),
                class: pass.asked.class,
                shop: pass.asked.shop.clone(),
                arrived: pass.arrived,
                within: pass.asked.within,
                cancelled: pass.cancelled.clone(),
                watcher,
            };
            inner.inbox.send(job).map_err(|_| ModelError::Stopped)?;
            let (answers, cached) = loop {
                match progress.recv().await.ok_or(ModelError::Stopped)? {
                    Progress::Text(_) => {}
                    Progress::Done(answers, cached) => break (answers, cached),
                    Progress::Failed(error) => return Err(error),
                }
            };
            cached_tokens += cached;
            for (at, told) in group.iter().enumerate() {
                let chosen = answers.get(at).map_or(&[][..], |(_, chosen)| chosen.as_slice());
                if chosen.len() != told.len() {
                    return Err(ModelError::Failed("the ranking was given up".into()));
                }
                logprobs.push(chosen.iter().map(|it| it.token.1).collect());
            }
        }
        Ok((logprobs, cached_tokens))
    }
}

/// What all groups of a ranking have in common.
struct Pass<'a> {
    asked: &'a ToRank,
    adapter: Option<AdapterId>,
    arrived: Instant,
    cancelled: &'a CancellationToken,
}

fn sum(logprobs: &[f32]) -> f64 {
    logprobs.iter().map(|it| f64::from(*it)).sum()
}

/// The likeliest first, given the tokens' log-probabilities after the prompt and, perhaps, after that without content.
fn ranked(after: Vec<Vec<f32>>, content_free: Option<&[Vec<f32>]>) -> Vec<Ranked> {
    let likings: Option<Vec<f64>> = content_free.map(|all| all.iter().map(|it| sum(it)).collect());
    let mut ranked: Vec<Ranked> = after
        .into_iter()
        .enumerate()
        .map(|(index, token_logprobs)| {
            let content_free_logprob = likings.as_ref().and_then(|all| all.get(index)).copied();
            Ranked { index, token_logprobs, content_free_logprob, probability: 0.0 }
        })
        .collect();
    let weight = |it: &Ranked| it.logprob() - it.content_free_logprob.unwrap_or(0.0);
    let most = ranked.iter().map(weight).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = ranked.iter().map(|it| (weight(it) - most).exp()).sum();
    for it in &mut ranked {
        it.probability = (weight(it) - most).exp() / total;
    }
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.index.cmp(&b.index)));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_liked_anyway_is_taken_off() {
        let logs = |probabilities: [f32; 2]| probabilities.map(|it| vec![it.ln()]).to_vec();
        let plain = ranked(logs([0.6, 0.3]), None);
        assert_eq!(plain.iter().map(|it| it.index).collect::<Vec<_>>(), [0, 1]);
        assert!((plain[0].probability - 2.0 / 3.0).abs() < 1e-6);
        // The first is said three times as often whatever is asked: the second has the larger weight, 0.3 / 0.2.
        let calibrated = ranked(logs([0.6, 0.3]), Some(&logs([0.6, 0.2])));
        assert_eq!(calibrated.iter().map(|it| it.index).collect::<Vec<_>>(), [1, 0]);
        assert!((calibrated[0].probability - 0.6).abs() < 1e-6);
        // As far below zero as long texts go.
        let far = ranked(vec![vec![-500.0; 10], vec![-501.0; 10]], None);
        assert!((far[0].probability - 1.0).abs() < 1e-4 && far[0].index == 0);
    }

    #[test]
    fn the_content_is_what_the_user_said_last() {
        let chat = Prompt::Chat(vec![
            ChatMessage::system("Sort."),
            ChatMessage::user("one"),
            ChatMessage::assistant("1"),
            ChatMessage::user("two"),
        ]);
        let Prompt::Chat(messages) = without_content(&chat, "N/A") else { panic!("a chat stays one") };
        let said: Vec<&str> = messages.iter().map(|it| it.content.as_str()).collect();
        assert_eq!(said, ["Sort.", "one", "1", "N/A"]);
        assert_eq!(without_content(&Prompt::Text("x".into()), "N/A"), Prompt::Text("N/A".into()));
    }
}
