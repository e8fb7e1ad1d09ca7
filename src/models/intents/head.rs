//! A head: what was learnt from a shop's examples, and what it says of a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storehand_kernel::{Points, scores};

use super::outcome::{Report, probability};

/// What a file of another kind or time would not have.
pub(super) const FORMAT: u32 = 1;

/// A trained head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub(super) format: u32,
    /// What rules call it.
    pub name: String,
    /// 1 for the first that was trained under this name.
    pub version: u32,
    /// When it was trained.
    pub made: jiff::Timestamp,
    /// The encoder that it answers for: its name and digest.
    pub encoder: (String, String),
    /// The digest of the examples that it was made of.
    pub examples: String,
    /// The share of wrong answers that was accepted.
    pub accept_errors: f64,
    /// The confidence from which on it answers; above 1 where it never does.
    pub threshold: f64,
    /// The intents, by place.
    pub intents: Vec<String>,
    /// How well it does on the messages that it was made of, each judged as if it had not been among them.
    pub report: Report,
    pub(super) knows_others: bool,
    pub(super) sharpness: f32,
    /// Makes a probability of a margin.
    pub(super) calibration: [f64; 2],
    /// What vectors are taken from, and divided by.
    pub(super) mean: Numbers,
    pub(super) spread: f32,
    pub(super) points: HalfNumbers,
    /// For each point, a number an intent, and one for what is none where `knows_others`.
    pub(super) weights: Numbers,
}

/// What a head says of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The intent, where it is sure enough.
    pub intent: Option<String>,
    /// The probability that the likeliest intent is the right one.
    pub confidence: f64,
    /// All intents, the likeliest first.
    pub ranking: Vec<Ranked>,
}

/// An intent and how much a message is like those of it: about 1 for the same, about 0 for nothing alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// The intent.
    pub intent: String,
    /// How much.
    pub score: f64,
}

/// The likeliest intent's place, and by how much it is that one and no other: what confidence is made of.
pub(super) fn margin(scores: &[f32], intents: usize) -> (usize, f64) {
    let (mut best, mut first, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for (place, score) in scores.iter().take(intents).enumerate() {
        let score = f64::from(*score);
        if score > first {
            (best, first, second) = (place, score, first);
        } else if score > second {
            second = score;
        }
    }
    let others = scores.get(intents).map_or(0.0, |score| f64::from(*score));
    // Likeness itself tells what is like nothing; the distance from the second what lies between two.
    (best, first - others + MARGIN * (first - second.max(others)))
}

/// What the distance from the second counts beside likeness.
const MARGIN: f64 = 0.5;

impl Head {
    /// What it says of a message with this vector.
    pub fn judge(&self, vector: &[f32]) -> Judged {
        let scores = self.scores(vector);
        let (_, margin) = margin(&scores, self.intents.len());
        let confidence = probability(self.calibration, margin);
        let mut ranking: Vec<Ranked> = self.intents.iter().zip(&scores).map(Ranked::new).collect();
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
        let intent = ranking.first().filter(|_| confidence >= self.threshold).map(|first| first.intent.clone());
        Judged { intent, confidence, ranking }
    }

    /// By intent, and by being none where it knows of such.
    fn scores(&self, vector: &[f32]) -> Vec<f32> {
        self.scores_of(&[vector]).pop().unwrap_or_default()
    }

    /// The same of several vectors.
    pub(super) fn scores_of(&self, vectors: &[&[f32]]) -> Vec<Vec<f32>> {
        let (columns, width) = (self.columns(), self.mean.0.len());
        let moved: Vec<f32> = vectors.iter().flat_map(|vector| centred(vector, &self.mean.0, self.spread)).collect();
        let all = || {
            let (points, others) = (Points::new(&self.points.0, width)?, Points::new(&moved, width)?);
            scores(points, &self.weights.0, columns, self.sharpness, others)
        };
        // Its parts fit each other; that was looked at when it was read.
        let all = all().unwrap_or_else(|| vec![0.0; columns * vectors.len()]);
        all.chunks_exact(columns).map(<[f32]>::to_vec).collect()
    }

    fn columns(&self) -> usize {
        self.intents.len() + usize::from(self.knows_others)
    }

    /// Whether its parts fit each other: it comes from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        let width = self.mean.0.len();
        let points = self.points.0.len().checked_div(width).unwrap_or(0);
        let fits = self.format == FORMAT
            && !self.intents.is_empty()
            && points * width == self.points.0.len()
            && points * self.columns() == self.weights.0.len()
            && self.spread > 0.0
            && self.mean.0.iter().chain(&self.points.0).chain(&self.weights.0).all(|number| number.is_finite());
        if fits { Ok(()) } else { Err("its parts do not fit each other; train it again".into()) }
    }
}

/// A vector as heads measure it.
pub(super) fn centred(vector: &[f32], mean: &[f32], spread: f32) -> Vec<f32> {
    vector.iter().zip(mean).map(|(number, mean)| (number - mean) / spread).collect()
}

impl Ranked {
    fn new((intent, score): (&String, &f32)) -> Self {
        Self { intent: intent.clone(), score: f64::from(*score) }
    }
}

/// Numbers, written as base64 of their 4 bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers(pub(super) Vec<f32>);

/// Numbers that fit 2 bytes, written so.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HalfNumbers(pub(super) Vec<f32>);

impl HalfNumbers {
    /// Rounds numbers to 2 bytes.
    pub(super) fn rounded(numbers: impl Iterator<Item = f32>) -> Self {
        Self(numbers.map(|number| f16::from_f32(number).to_f32()).collect())
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = bytes(deserializer)?;
        Ok(Self(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }
}

impl Serialize for HalfNumbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for HalfNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = bytes(deserializer)?;
        Ok(Self(bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()))
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(de::Error::custom)
}
