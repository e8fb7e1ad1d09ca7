//! Making a head of examples, and looking how it does on messages that it was not made of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use storehand_kernel::{Points, Settings, learn};

use super::super::encoder::Encoder;
use super::super::error::ModelError;
use super::examples::{Examples, Message};
use super::head::{FORMAT, HalfNumbers, Head, Middles, Numbers, margin};
use super::outcome::{Outcome, Report, calibrate, probability, threshold};

/// How fast likeness falls off with distance, of directions that are 1.4 apart where they have nothing in common. Found on
/// the validation parts of two public sets, where anything from 0.6 to 1 does nearly as well.
const SHARPNESS: f32 = 0.8;

/// How much a single message is mistrusted.
const RIDGE: f32 = 0.05;

/// Messages that are embedded in one request.
const AT_ONCE: usize = 56;

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Messages are embedded.
    Embedding {
        /// So many are.
        done: usize,
        /// Of so many.
        of: usize,
    },
    /// What they have in common is being learnt.
    Learning,
}

/// Makes a head of examples. It has no version yet: [`Heads`](super::Heads) gives it one.
///
/// # Errors
/// [`ModelError::Request`] where there is too little to learn from; what the encoder says.
pub async fn train(
    encoder: &Encoder,
    examples: &Examples,
    made: Timestamp,
    threads: usize,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Head, ModelError> {
    examples.check_enough().map_err(ModelError::Request)?;
    let hints = hints(examples);
    let messages: Vec<(&Message, Option<usize>)> = examples.messages().collect();
    let texts: Vec<&str> = messages.iter().map(|(message, _)| message.text.as_str()).collect();
    let hint_texts = hints.iter().map(|(text, _)| text.as_str());
    let all: Vec<&str> = texts.iter().copied().chain(hint_texts).collect();
    let vectors = embed(encoder, &all, &mut progress).await?;
    progress(Progress::Learning);
    let labels: Vec<Option<usize>> =
        messages.iter().map(|(_, intent)| *intent).chain(hints.iter().map(|(_, intent)| Some(*intent))).collect();
    let intents = examples.intents.len();
    let knows_others = !examples.out_of_scope.is_empty();
    let seen: Vec<(&str, &[f32])> = all.iter().copied().zip(vectors.iter().map(Vec::as_slice)).collect();
    let middles = Middles::of(&seen);
    let points = HalfNumbers::rounded(seen.iter().flat_map(|(text, vector)| middles.seen(text, vector)));
    let learnt = tokio::task::spawn_blocking(move || learn_from(points, &labels, intents, knows_others, threads));
    let learnt = learnt.await.map_err(|error| ModelError::Failed(format!("learning broke off: {error}")))?;
    let Learnt { points, weights, left_out } = learnt
        .ok_or_else(|| ModelError::Failed("the examples' vectors are no numbers that can be learnt from".into()))?;

    // A hint is no message: what becomes of it says nothing about messages.
    let judged: Vec<(usize, f64)> = left_out.iter().take(messages.len()).map(|it| margin(it, intents)).collect();
    let others = examples.weight_of_others();
    let margins: Vec<(f64, bool, f64)> = std::iter::zip(&judged, &messages)
        .map(|((best, margin), (_, intent))| {
            (*margin, *intent == Some(*best), if intent.is_some() { 1.0 } else { others })
        })
        .collect();
    let calibration = calibrate(&margins);
    let outcomes: Vec<Outcome<'_>> = std::iter::zip(&judged, &messages)
        .map(|((best, margin), (message, intent))| outcome(message, *intent, *best, probability(calibration, *margin)))
        .collect();
    let threshold = threshold(&outcomes, examples.accept_errors, others);
    let names: Vec<String> = examples.intents.iter().map(|intent| intent.name.clone()).collect();
    let report = Report::new(&outcomes, threshold, &names);
    Ok(Head {
        format: FORMAT,
        name: examples.name.clone(),
        version: 0,
        made,
        encoder: (encoder.name().to_owned(), encoder.digest().to_owned()),
        examples: examples.digest.clone(),
        accept_errors: examples.accept_errors,
        threshold,
        intents: names,
        report,
        knows_others,
        sharpness: SHARPNESS,
        calibration,
        middles,
        points,
        weights: Numbers(weights),
    })
}

/// How a head does on other messages than those that it was made of.
///
/// # Errors
/// [`ModelError::Request`] where `examples` names an intent that the head does not know; what the encoder says.
pub async fn test(
    encoder: &Encoder,
    head: &Head,
    examples: &Examples,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Report, ModelError> {
    let places: BTreeMap<&str, usize> =
        head.intents.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let own: Vec<usize> = examples
        .intents
        .iter()
        .map(|intent| {
            let unknown = || ModelError::Request(format!("the head does not know the intent `{}`", intent.name));
            places.get(intent.name.as_str()).copied().ok_or_else(unknown)
        })
        .collect::<Result<_, _>>()?;
    let messages: Vec<(&Message, Option<usize>)> = examples.messages().collect();
    let texts: Vec<&str> = messages.iter().map(|(message, _)| message.text.as_str()).collect();
    let vectors = embed(encoder, &texts, &mut progress).await?;
    let vectors: Vec<(&str, &[f32])> = texts.iter().copied().zip(vectors.iter().map(Vec::as_slice)).collect();
    let outcomes: Vec<Outcome<'_>> = messages
        .iter()
        .zip(head.scores_of(&vectors))
        .map(|((message, intent), scores)| {
            let (best, margin) = margin(&scores, head.intents.len());
            outcome(message, intent.map(|place| own[place]), best, probability(head.calibration, margin))
        })
        .collect();
    Ok(Report::new(&outcomes, head.threshold, &head.intents))
}

fn outcome(message: &Message, intent: Option<usize>, best: usize, confidence: f64) -> Outcome<'_> {
    Outcome { language: &message.language, text: &message.text, intent, best, confidence }
}

/// What an intent is called and said to mean, as if a customer had written it.
fn hints(examples: &Examples) -> Vec<(String, usize)> {
    let mut hints = Vec::new();
    for (place, intent) in examples.intents.iter().enumerate() {
        hints.push((intent.name.replace(['-', '_'], " "), place));
        hints.extend(intent.descriptions.iter().map(|description| (description.text.clone(), place)));
    }
    hints
}

async fn embed(
    encoder: &Encoder,
    texts: &[&str],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut vectors = Vec::with_capacity(texts.len());
    for part in texts.chunks(AT_ONCE) {
        progress(Progress::Embedding { done: vectors.len(), of: texts.len() });
        vectors.extend(encoder.embed(part).await?.into_iter().map(|embedding| embedding.telling));
    }
    Ok(vectors)
}

struct Learnt {
    points: HalfNumbers,
    weights: Vec<f32>,
    /// What each would score had it not been learnt from.
    left_out: Vec<Vec<f32>>,
}

fn learn_from(
    points: HalfNumbers,
    labels: &[Option<usize>],
    intents: usize,
    knows_others: bool,
    threads: usize,
) -> Option<Learnt> {
    let width = points.0.len().checked_div(labels.len())?;
    // What is no intent is a kind of its own: that tells more than leaving it out would.
    let labels: Vec<Option<usize>> = labels.iter().map(|label| label.or(knows_others.then_some(intents))).collect();
    let settings = Settings { sharpness: SHARPNESS, ridge: RIDGE, threads };
    let count = intents + usize::from(knows_others);
    let learnt = learn(Points::new(&points.0, width)?, &labels, count, settings)?;
    let left_out = learnt.left_out.chunks_exact(count).map(<[f32]>::to_vec).collect();
    Some(Learnt { points, weights: learnt.weights, left_out })
}
