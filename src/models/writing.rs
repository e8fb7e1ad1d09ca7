//! What is written for one request: one answer, several that are drawn, or the best that a search finds.

use super::answer::{Answer, Chosen, Voice};
use super::beam::Beam;
use super::error::ModelError;
use super::form::Form;
use super::request::{Choice, Sampling};
use super::rows::{RowId, Rows};

/// The answers to one request.
pub(crate) enum Writing {
    /// Each for itself.
    Drawn(Vec<Answer>),
    /// Together. Boxed: it is rare, and larger.
    Beam(Box<Beam>),
}

/// Tells whoever watches the first answer what was written.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(String);

impl Writing {
    /// Begins to answer a prompt that the first of `rows` has read, with these logits at its end; with what the answers
    /// must be, where that is told.
    pub(crate) fn begin(
        (sampling, prompt, most, told): (&Sampling, &[u32], usize, &[Vec<u32>]),
        form: Option<Form>,
        task_rows: &[RowId],
        rows: &mut Rows,
        logits: Vec<f32>,
        voice: &Voice<'_>,
        watch: Watch<'_>,
    ) -> Result<Self, ModelError> {
        if sampling.beams > 1 {
            let mut beam = Beam::new(sampling, prompt.len(), most, task_rows.to_vec(), form);
            beam.take(rows, &mut std::iter::once(logits), voice)?;
            return Ok(Self::Beam(Box::new(beam)));
        }
        let vocabulary = logits.len();
        let mut answers: Vec<Answer> = (0..)
            .zip(task_rows)
            .map(|(number, row)| {
                let own = form.as_ref().map(Form::copy);
                let answer = Answer::new(sampling, number, prompt, vocabulary, most, *row).held_to(own);
                match usize::try_from(number).ok().and_then(|at| told.get(at)) {
                    Some(told) => answer.told(told.clone()),
                    None => answer,
                }
            })
            .collect();
        for (number, answer) in answers.iter_mut().enumerate() {
            let text = answer.choose(&mut logits.clone(), voice)?;
            if number == 0 {
                watch(text);
            } else if !answer.has_ended() {
                rows.copy(task_rows[0], answer.row, 0)?;
            }
        }
        Ok(Self::Drawn(answers))
    }

    /// What is read next, by row.
    pub(crate) fn pending(&self) -> Vec<(RowId, u32)> {
        match self {
            Self::Drawn(answers) => going(answers).map(|answer| (answer.row, answer.token)).collect(),
            Self::Beam(beam) => beam.pending().collect(),
        }
    }

    /// Goes on, with the logits of each row that was pending.
    pub(crate) fn take(
        &mut self,
        rows: &mut Rows,
        logits: &mut dyn Iterator<Item = Vec<f32>>,
        voice: &Voice<'_>,
        watch: Watch<'_>,
    ) -> Result<(), ModelError> {
        match self {
            Self::Beam(beam) => beam.take(rows, logits, voice),
            Self::Drawn(answers) => {
                for (number, answer) in answers.iter_mut().enumerate().filter(|(_, answer)| !answer.has_ended()) {
                    let text = answer.choose(&mut logits.next().unwrap_or_default(), voice)?;
                    if number == 0 {
                        watch(text);
                    }
                }
                Ok(())
            }
        }
    }

    /// Whether nothing is written any more.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Drawn(answers) => answers.iter().all(Answer::has_ended),
            Self::Beam(beam) => beam.has_ended(),
        }
    }

    /// Whether it still needs a row.
    pub(crate) fn needs(&self, row: RowId) -> bool {
        match self {
            Self::Drawn(answers) => going(answers).any(|answer| answer.row == row),
            Self::Beam(beam) => !beam.has_ended(),
        }
    }

    /// What it has come to: answers with what is known of their tokens.
    pub(crate) fn choices(&self, voice: &Voice<'_>) -> Result<Vec<(Choice, Vec<Chosen>)>, ModelError> {
        match self {
            Self::Drawn(answers) => {
                Ok(answers.iter().map(|answer| (answer.choice(), answer.chosen().to_vec())).collect())
            }
            Self::Beam(beam) => Ok(beam.choices(voice)?.into_iter().map(|choice| (choice, Vec::new())).collect()),
        }
    }
}

fn going(answers: &[Answer]) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(|answer| !answer.has_ended())
}
