//! One answer while it is written: from logits to the next token, and to the text that may be shown.

use super::error::ModelError;
use super::form::Form;
use super::request::{Choice, Finish, Sampling};
use super::rows::RowId;
use super::sampler::{Chances, Sampler};
use super::stream::{Detokenizer, StopTexts};
use super::tokens::Tokens;

/// An answer under way.
pub(crate) struct Answer {
    /// Where it is written.
    pub(crate) row: RowId,
    /// The token that was chosen last, which the row has not read yet.
    pub(crate) token: u32,
    sampler: Sampler,
    form: Option<Form>,
    /// What it must be, where only its likelihood is wanted.
    told: Option<Vec<u32>>,
    /// How many of the likeliest tokens are told beside each that was chosen.
    logprobs: Option<usize>,
    chosen: Vec<Chosen>,
    detokenizer: Detokenizer,
    stops: StopTexts,
    /// Tokens of what it answers.
    prompt_tokens: usize,
    /// Tokens to write at most.
    most: usize,
    written: usize,
    text: String,
    finish: Option<Finish>,
}

/// A token with its log-probability, and the likeliest ones in its place with theirs.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) token: (u32, f32),
    pub(crate) likeliest: Vec<(u32, f32)>,
}

/// What every answer of a model needs to know of it.
#[derive(Clone, Copy)]
pub(crate) struct Voice<'a> {
    pub(crate) tokens: &'a Tokens,
    /// Tokens that end an answer.
    pub(crate) end: &'a [u32],
}

/// The text of an answer's tokens, as it would have been shown.
pub(crate) fn text_of(tokens: &[u32], voice: &Voice<'_>) -> String {
    let end = tokens.len() - usize::from(tokens.last().is_some_and(|token| voice.end.contains(token)));
    voice.tokens.decode(&tokens[..end]).trim_end_matches('\u{FFFD}').to_owned()
}

impl Answer {
    /// The answer to `prompt` that is written into `row`; `number` tells the answers to one request apart.
    pub(crate) fn new(
        sampling: &Sampling,
        number: u64,
        prompt: &[u32],
        vocabulary: usize,
        most: usize,
        row: RowId,
    ) -> Self {
        Self {
            row,
            token: 0,
            sampler: Sampler::new(sampling, number, vocabulary, prompt),
            form: None,
            told: None,
            logprobs: sampling.logprobs,
            chosen: Vec::new(),
            detokenizer: Detokenizer::default(),
            stops: StopTexts::new(&sampling.stop),
            prompt_tokens: prompt.len(),
            most,
            written: 0,
            text: String::new(),
            finish: None,
        }
    }

    /// The same, held to a form.
    pub(crate) fn held_to(self, form: Option<Form>) -> Self {
        Self { form, ..self }
    }

    /// The same, with nothing to choose: it is `told`, and how likely that is.
    pub(crate) fn told(self, told: Vec<u32>) -> Self {
        Self { most: told.len(), logprobs: Some(0), told: Some(told), ..self }
    }

    /// Chooses the next token by its logits, which are used up; the text that may now be shown.
    pub(crate) fn choose(&mut self, logits: &mut [f32], voice: &Voice<'_>) -> Result<String, ModelError> {
        // What is told is what the model thinks, before anybody forbids or penalises.
        let told = self.logprobs.map(|most| (Chances::new(logits), most));
        if let Some(form) = &mut self.form {
            form.mask(logits)?;
        }
        let given = self.told.as_ref().and_then(|told| told.get(self.written)).copied();
        self.token = given.unwrap_or_else(|| self.sampler.next(logits));
        self.written += 1;
        let ends = given.is_none() && voice.end.contains(&self.token);
        if let Some((chances, most)) = told.filter(|_| !ends) {
            self.chosen
                .push(Chosen { token: (self.token, chances.of(self.token)), likeliest: chances.likeliest(most) });
        }
        let complete = match &mut self.form {
            Some(form) if !ends => form.take(self.token)?,
            _ => false,
        };
        if self.form.is_some() && !ends && !complete && self.written == self.most {
            return Err(ModelError::Unfinished { prompt_tokens: self.prompt_tokens, tokens: self.written });
        }
        let text = self.show(ends, complete, voice);
        self.text.push_str(&text);
        Ok(text)
    }

    /// What may be shown now that the token was chosen. Settles whether it was the last.
    fn show(&mut self, ends: bool, complete: bool, voice: &Voice<'_>) -> String {
        let piece = if ends { String::new() } else { self.detokenizer.push(self.token, voice.tokens) };
        let (mut text, stopped) = self.stops.push(&piece);
        if stopped {
            self.finish = Some(Finish::Stop);
        } else if ends || complete || self.written == self.most {
            let (rest, stopped) = self.stops.push(&self.detokenizer.finish(voice.tokens));
            text.push_str(&rest);
            if !stopped {
                text.push_str(&self.stops.finish());
            }
            self.finish = Some(if ends || complete || stopped { Finish::Stop } else { Finish::Length });
        }
        text
    }

    /// Whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.finish.is_some()
    }

    /// What it has come to. An answer that has not ended was given up.
    pub(crate) fn choice(&self) -> Choice {
        Choice {
            text: self.text.clone(),
            finish: self.finish.unwrap_or(Finish::Cancelled),
            completion_tokens: self.written,
            logprobs: Vec::new(),
        }
    }

    /// The log-probabilities of its tokens, where they are wanted.
    pub(crate) fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }
}
