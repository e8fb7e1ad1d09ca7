//! A head: what was learnt from a shop's examples, and what it says of a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storehand_kernel::{Points, scores};

use super::outcome::{Report, probability};

/// What a file of another kind or time would not have.
pub(super) const FORMAT: u32 = 2;

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
    pub(super) middles: Middles,
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
    /// What it says of a message with this vector ([`Embedding::telling`](super::super::encoder::Embedding::telling)).
    pub fn judge(&self, text: &str, telling: &[f32]) -> Judged {
        let scores = self.scores_of(&[(text, telling)]).pop().unwrap_or_default();
        let (_, margin) = margin(&scores, self.intents.len());
        let confidence = probability(self.calibration, margin);
        let mut ranking: Vec<Ranked> = self.intents.iter().zip(&scores).map(Ranked::new).collect();
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
        let intent = ranking.first().filter(|_| confidence >= self.threshold).map(|first| first.intent.clone());
        Judged { intent, confidence, ranking }
    }

    /// By intent, and by being none where it knows of such: of several messages.
    pub(super) fn scores_of(&self, messages: &[(&str, &[f32])]) -> Vec<Vec<f32>> {
        let (columns, width) = (self.columns(), self.middles.width());
        let seen: Vec<f32> = messages.iter().flat_map(|(text, vector)| self.middles.seen(text, vector)).collect();
        let all = || {
            let (points, others) = (Points::new(&self.points.0, width)?, Points::new(&seen, width)?);
            scores(points, &self.weights.0, columns, self.sharpness, others)
        };
        // Its parts fit each other; that was looked at when it was read.
        let all = all().unwrap_or_else(|| vec![0.0; columns * messages.len()]);
        all.chunks_exact(columns).map(<[f32]>::to_vec).collect()
    }

    fn columns(&self) -> usize {
        self.intents.len() + usize::from(self.knows_others)
    }

    /// Whether its parts fit each other: it comes from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        let width = self.middles.width();
        let points = self.points.0.len().checked_div(width).unwrap_or(0);
        let fits = self.format == FORMAT
            && !self.intents.is_empty()
            && points * width == self.points.0.len()
            && points * self.columns() == self.weights.0.len()
            && self.middles.fit()
            && self.points.0.iter().chain(&self.weights.0).all(|number| number.is_finite());
        if fits { Ok(()) } else { Err("its parts do not fit each other; train it again".into()) }
    }
}

/// From where a head looks at vectors: what all that it was made of have in common says nothing. Messages in Chinese
/// characters have something else in common than others do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Middles {
    usual: Numbers,
    of_chinese: Option<Numbers>,
}

/// Messages in a script from which on it has a middle of its own.
const ENOUGH: usize = 20;

impl Middles {
    /// The middles of messages with their vectors, all of the same width.
    pub(super) fn of(messages: &[(&str, &[f32])]) -> Self {
        let mean = |of: &dyn Fn(&str) -> bool| {
            let vectors = || messages.iter().filter(|(text, _)| of(text)).map(|(_, vector)| *vector);
            let count = vectors().count();
            let mut sum = vec![0.0_f64; messages.first().map_or(0, |(_, vector)| vector.len())];
            vectors()
                .for_each(|vector| sum.iter_mut().zip(vector).for_each(|(sum, number)| *sum += f64::from(*number)));
            (count, Numbers(sum.iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()))
        };
        let ((chinese, of_chinese), (others, usual)) = (mean(&is_chinese), mean(&|text| !is_chinese(text)));
        if chinese >= ENOUGH && others >= ENOUGH {
            return Self { usual, of_chinese: Some(of_chinese) };
        }
        Self { usual: mean(&|_| true).1, of_chinese: None }
    }

    /// The direction of a message's vector, seen from the middle.
    pub(super) fn seen(&self, text: &str, vector: &[f32]) -> Vec<f32> {
        let middle = self.of_chinese.as_ref().filter(|_| is_chinese(text)).unwrap_or(&self.usual);
        let moved: Vec<f32> = vector.iter().zip(&middle.0).map(|(number, middle)| number - middle).collect();
        let length = moved.iter().map(|number| number * number).sum::<f32>().sqrt();
        if length > 0.0 { moved.iter().map(|number| number / length).collect() } else { moved }
    }

    fn width(&self) -> usize {
        self.usual.0.len()
    }

    fn fit(&self) -> bool {
        let mut middles = [Some(&self.usual), self.of_chinese.as_ref()].into_iter().flatten();
        middles.all(|middle| middle.0.len() == self.width() && middle.0.iter().all(|number| number.is_finite()))
    }
}

/// Whether a text has Chinese characters in it.
fn is_chinese(text: &str) -> bool {
    text.chars().any(|letter| matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'))
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
