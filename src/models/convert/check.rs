//! Whether a converted model is still the same: its logits beside those of a full-precision forward.

use std::path::Path;

use super::super::decoder::Decoder;
use super::super::error::ModelError;
use super::super::folder::Folder;
use super::super::gguf::Gguf;
use super::super::sampler::likeliest;
use super::super::settings::Settings;
use super::llama::Llama;
use super::reference;

/// What the model reads in a check: short, and of several kinds.
const TEXTS: &[&str] = &[
    "<|im_start|>user\nWhere is my order #42?<|im_end|>\n",
    "The parcel should arrive by",
    "Total: 3 x 19.90 EUR. 您好！",
];

/// How well a converted model agrees with the full-precision one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Positions compared.
    pub positions: usize,
    /// At how many of them both hold the same token the likeliest.
    pub same_likeliest: usize,
    /// Mean Kullback-Leibler divergence of the converted model's next-token distribution from the full one's, in
    /// nats: 0 is the same.
    pub mean_divergence: f64,
}

impl Agreement {
    /// Whether this can be called the same model. 8-bit weights and activations give a divergence of about 0.005; a
    /// mistake in the graph, one of several.
    pub fn is_close(&self) -> bool {
        self.mean_divergence < 0.05 && self.same_likeliest * 10 >= self.positions * 8
    }
}

/// Compares the converted model that `settings` name with `gguf`, from which it was made: the same short texts, token
/// by token, through the graph as it is used and through a plain forward in 32-bit floats.
///
/// # Errors
/// As [`Model::load`](super::super::Model::load) and [`convert`](super::convert).
pub fn check(gguf: &Path, settings: &Settings) -> Result<Agreement, ModelError> {
    let gguf = Gguf::open(gguf)?;
    let llama = Llama::new(&gguf)?;
    let folder = Folder::read(&settings.folder)?;
    let mut decoder = Decoder::load(settings.runtime()?, &folder.graph, &folder.shape)?;
    let texts: Vec<Vec<u32>> = TEXTS.iter().map(|text| folder.tokens.encode(text)).collect::<Result<_, _>>()?;
    compare(&llama, &mut decoder, &texts)
}

/// Compares the two on texts given as tokens.
pub(super) fn compare(llama: &Llama<'_>, decoder: &mut Decoder, texts: &[Vec<u32>]) -> Result<Agreement, ModelError> {
    let full = reference::forward(llama, texts)?;
    let mut agreement = Agreement { positions: 0, same_likeliest: 0, mean_divergence: 0.0 };
    for (text, full) in texts.iter().zip(&full) {
        let mut cache = decoder.empty_cache()?;
        // The first half in one step, as prompts are read, the rest one by one, as answers are written.
        let (prompt, answer) = text.split_at(text.len() / 2);
        let steps = std::iter::once(prompt).chain(answer.chunks(1)).filter(|step| !step.is_empty());
        let mut at = 0;
        for step in steps {
            let logits = decoder.read(step, &mut cache)?;
            at += step.len();
            let wanted = full.get(at - 1).map_or(&[][..], Vec::as_slice);
            agreement.positions += 1;
            agreement.same_likeliest += usize::from(likeliest(&logits) == likeliest(wanted));
            agreement.mean_divergence += divergence(wanted, &logits);
        }
    }
    agreement.mean_divergence /= agreement.positions.max(1) as f64;
    Ok(agreement)
}

/// Kullback-Leibler divergence of the distribution of `other` from that of `full`, both given as logits, in nats.
fn divergence(full: &[f32], other: &[f32]) -> f64 {
    let normal = |logits: &[f32]| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
        f64::from(largest) + total.ln()
    };
    let (of_full, of_other) = (normal(full), normal(other));
    full.iter()
        .zip(other)
        .map(|(full, other)| {
            let (full, other) = (f64::from(*full) - of_full, f64::from(*other) - of_other);
            full.exp() * (full - other)
        })
        .sum()
}
