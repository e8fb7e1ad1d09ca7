//! Beam search: several beginnings of an answer are followed at once, and the likeliest whole ones are given.
//!
//! A step takes the likeliest ways to go on from all beams together. Ways that end are set aside; the others become
//! the beams. It is over when no beam can become likelier than what was set aside. Likelihoods are those of the model,
//! per token to the power of the length penalty: 0 prefers short answers, 1 the mean per token, more long ones.

use super::answer::{Voice, text_of};
use super::error::ModelError;
use super::form::Form;
use super::request::{Choice, Finish, Sampling};
use super::rows::{RowId, Rows};
use super::sampler::Chances;

/// A search under way.
pub(crate) struct Beam {
    /// Beams at most, and answers wanted of them.
    width: usize,
    wanted: usize,
    length_penalty: f32,
    stop: Vec<String>,
    /// Tokens to write at most.
    most: usize,
    prompt_tokens: usize,
    rows: Vec<RowId>,
    live: Vec<Live>,
    /// The best first.
    ended: Vec<Ended>,
    written: usize,
}

/// A beam.
struct Live {
    row: RowId,
    tokens: Vec<u32>,
    score: f32,
    form: Option<Form>,
}

struct Ended {
    tokens: Vec<u32>,
    /// Per token, with the length penalty.
    score: f32,
    finish: Finish,
}

/// A way to go on.
struct Way {
    from: usize,
    token: u32,
    score: f32,
}

impl Beam {
    /// A search for the answers to a prompt of so many tokens, which the first of `rows` has read.
    pub(crate) fn new(
        sampling: &Sampling,
        prompt_tokens: usize,
        most: usize,
        rows: Vec<RowId>,
        form: Option<Form>,
    ) -> Self {
        let live = rows.first().map(|&row| Live { row, tokens: Vec::new(), score: 0.0, form });
        Self {
            width: sampling.beams,
            wanted: sampling.n,
            length_penalty: sampling.length_penalty,
            stop: sampling.stop.clone(),
            most,
            prompt_tokens,
            rows,
            live: live.into_iter().collect(),
            ended: Vec::new(),
            written: 0,
        }
    }

    /// What each beam's row reads next.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (RowId, u32)> {
        self.live.iter().filter_map(|live| Some((live.row, *live.tokens.last()?)))
    }

    /// Goes on, given the logits of each beam.
    pub(crate) fn take(
        &mut self,
        rows: &mut Rows,
        logits: &mut dyn Iterator<Item = Vec<f32>>,
        voice: &Voice<'_>,
    ) -> Result<(), ModelError> {
        let mut ways = Vec::new();
        for (from, live) in self.live.iter_mut().enumerate() {
            let mut logits = logits.next().unwrap_or_default();
            if let Some(form) = &mut live.form {
                form.mask(&mut logits)?;
            }
            // Of one beam, no more than these can be among the best of all.
            let best = Chances::new(&logits).likeliest(2 * self.width);
            let likely = best.into_iter().filter(|(_, chance)| chance.is_finite());
            ways.extend(likely.map(|(token, chance)| Way { from, token, score: live.score + chance }));
        }
        ways.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.from.cmp(&b.from)).then(a.token.cmp(&b.token)));
        self.written += 1;
        let mut next: Vec<(usize, Live)> = Vec::new();
        for (rank, way) in ways.into_iter().enumerate() {
            if next.len() == self.width {
                break;
            }
            let before = &self.live[way.from];
            let mut tokens = before.tokens.clone();
            tokens.push(way.token);
            let mut form = before.form.as_ref().map(Form::copy);
            let ends = voice.end.contains(&way.token);
            let complete = match &mut form {
                Some(form) if !ends => form.take(way.token)?,
                _ => false,
            };
            if ends || complete || self.stops(&tokens, voice) {
                // An end counts only among as many ways as there are beams: it must be as likely as they are.
                if rank < self.width {
                    self.end(tokens, way.score, Finish::Stop);
                }
            } else if self.written == self.most {
                if form.is_none() {
                    self.end(tokens, way.score, Finish::Length);
                }
            } else {
                next.push((way.from, Live { row: before.row, tokens, score: way.score, form }));
            }
        }
        let best = next.first().map(|(_, live)| self.normal(live.score, live.tokens.len()));
        let worst = self.ended.get(self.wanted.max(self.width) - 1).map(|ended| ended.score);
        if matches!((best, worst), (Some(best), Some(worst)) if best <= worst) {
            next.clear();
        }
        self.place(rows, next)
    }

    fn stops(&self, tokens: &[u32], voice: &Voice<'_>) -> bool {
        if self.stop.is_empty() {
            return false;
        }
        let text = text_of(tokens, voice);
        self.stop.iter().any(|stop| text.contains(stop.as_str()))
    }

    fn normal(&self, score: f32, tokens: usize) -> f32 {
        score / (tokens as f32).powf(self.length_penalty)
    }

    fn end(&mut self, tokens: Vec<u32>, score: f32, finish: Finish) {
        let score = self.normal(score, tokens.len());
        let at = self.ended.partition_point(|ended| ended.score >= score);
        self.ended.insert(at, Ended { tokens, score, finish });
        self.ended.truncate(self.width);
    }

    /// Gives each new beam a row: that of the beam that it goes on from, or a copy of it where several do.
    fn place(&mut self, rows: &mut Rows, next: Vec<(usize, Live)>) -> Result<(), ModelError> {
        let parents: Vec<RowId> = next.iter().map(|(from, _)| self.live[*from].row).collect();
        let mut free: Vec<RowId> = self.rows.iter().filter(|row| !parents.contains(row)).copied().collect();
        let mut taken: Vec<RowId> = Vec::new();
        let mut live = Vec::new();
        for ((_, mut beam), parent) in next.into_iter().zip(parents) {
            if taken.contains(&parent) {
                let Some(row) = free.pop() else { continue };
                rows.copy(parent, row, self.prompt_tokens)?;
                beam.row = row;
            } else {
                taken.push(parent);
            }
            live.push(beam);
        }
        self.live = live;
        Ok(())
    }

    /// Whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.written > 0 && self.live.is_empty()
    }

    /// The best answers, or the best beginnings where it was given up.
    pub(crate) fn choices(&self, voice: &Voice<'_>) -> Result<Vec<Choice>, ModelError> {
        let choice = |tokens: &[u32], finish| {
            let mut text = text_of(tokens, voice);
            if let Some(at) = self.stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
                text.truncate(at);
            }
            Choice { text, finish, completion_tokens: tokens.len(), logprobs: Vec::new() }
        };
        if !self.has_ended() {
            let best = self.live.first().map_or(&[][..], |live| &live.tokens);
            return Ok(vec![choice(best, Finish::Cancelled)]);
        }
        if self.ended.is_empty() {
            return Err(ModelError::Unfinished { prompt_tokens: self.prompt_tokens, tokens: self.written });
        }
        Ok(self.ended.iter().take(self.wanted).map(|ended| choice(&ended.tokens, ended.finish)).collect())
    }
}
