//! Which token comes next.

use super::request::Sampling;

/// Chooses tokens for one answer. Deterministic: the same numbers, seed and history give the same token.
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    penalty: f32,
    random: u64,
    /// By token: whether it is in prompt or answer already. Empty where nothing is penalised.
    seen: Vec<bool>,
}

impl Sampler {
    /// A sampler for the `number`th answer to `prompt`, over a vocabulary of `vocabulary` tokens.
    pub(crate) fn new(sampling: &Sampling, number: u64, vocabulary: usize, prompt: &[u32]) -> Self {
        let penalises = sampling.repetition_penalty != 1.0;
        let mut sampler = Self {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            penalty: sampling.repetition_penalty,
            // The first is the one that would be drawn alone. SplitMix64's states are spread over all numbers.
            random: sampling.seed.wrapping_add(number.wrapping_mul(0xD1B5_4A32_D192_ED03)),
            seen: vec![false; if penalises { vocabulary } else { 0 }],
        };
        for &token in prompt {
            sampler.see(token);
        }
        sampler
    }

    fn see(&mut self, token: u32) {
        if let Some(seen) = self.seen.get_mut(token as usize) {
            *seen = true;
        }
    }

    /// The next token, given the model's logits, which are used up.
    pub(crate) fn next(&mut self, logits: &mut [f32]) -> u32 {
        for (logit, _) in logits.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen) {
            *logit = if *logit > 0.0 { *logit / self.penalty } else { *logit * self.penalty };
        }
        let token = if self.temperature == 0.0 { likeliest(logits) } else { self.draw(logits) };
        self.see(token);
        token
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let most = logits[likeliest(logits) as usize];
        let weights: Vec<f64> = logits.iter().map(|logit| f64::from((logit - most) / self.temperature).exp()).collect();
        let mut candidates: Vec<u32> = (0..).take(weights.len()).collect();
        let by_weight = |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
        if self.top_k > 0 && self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k - 1, by_weight);
            candidates.truncate(self.top_k);
        }
        let weight = |token: &u32| weights[*token as usize];
        if self.min_p > 0.0 {
            // The likeliest weighs 1.
            candidates.retain(|token| weight(token) >= f64::from(self.min_p));
        }
        let mut total: f64 = candidates.iter().map(weight).sum();
        if self.top_p < 1.0 {
            let spared = f64::from(1.0 - self.top_p) * total;
            // All that are lighter than an even share of what is spared cannot weigh more than it together, so none
            // of them is wanted, and they need not be sorted.
            let share = spared / candidates.len() as f64;
            candidates.retain(|token| weight(token) >= share);
            candidates.sort_unstable_by(by_weight);
            let (wanted, mut kept) = (total - spared, 0.0);
            let count = candidates.iter().take_while(|token| {
                let more = kept < wanted;
                kept += if more { weight(token) } else { 0.0 };
                more
            });
            let count = count.count().max(1);
            candidates.truncate(count);
            total = candidates.iter().map(weight).sum();
        }
        let mut target = self.uniform() * total;
        for token in &candidates {
            target -= weight(token);
            if target < 0.0 {
                return *token;
            }
        }
        // Rounding has left a crumb.
        candidates.last().copied().unwrap_or(0)
    }

    /// From 0 up to, not including, 1. SplitMix64 (Steele, Lea, Flood 2014): small, and enough to draw tokens with.
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // 53 bits: what an f64 holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The token with the highest logit, the first where several have it.
pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if logit.total_cmp(&logits[best]).is_gt() {
            best = token;
        }
    }
    u32::try_from(best).unwrap_or(0)
}

/// How likely each token is, as log-probabilities.
pub(crate) struct Chances {
    logits: Vec<f32>,
    /// The logarithm of what all weigh together.
    total: f64,
}

impl Chances {
    /// By the model's logits.
    pub(crate) fn new(logits: &[f32]) -> Self {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
        Self { logits: logits.to_vec(), total: f64::from(most) + weights.ln() }
    }

    /// Of one token.
    pub(crate) fn of(&self, token: u32) -> f32 {
        let logit = self.logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        (f64::from(logit) - self.total) as f32
    }

    /// The `most` likeliest tokens, the likeliest first.
    pub(crate) fn likeliest(&self, most: usize) -> Vec<(u32, f32)> {
        let by_logit = |a: &u32, b: &u32| self.logits[*b as usize].total_cmp(&self.logits[*a as usize]).then(a.cmp(b));
        let mut tokens: Vec<u32> = (0..).take(self.logits.len()).collect();
        if most < tokens.len() {
            tokens.select_nth_unstable_by(most, by_logit);
            tokens.truncate(most);
        }
        tokens.sort_unstable_by(by_logit);
        tokens.into_iter().map(|token| (token, self.of(token))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sampling: &Sampling, logits: &[f32]) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling, 0, logits.len(), &[]);
        let mut counts = vec![0; logits.len()];
        for _ in 0..4000 {
            counts[sampler.next(&mut logits.to_vec()) as usize] += 1;
        }
        counts
    }

    #[test]
    fn draws_as_often_as_the_model_says() {
        let probabilities = [0.5_f32, 0.3, 0.15, 0.05];
        let logits = probabilities.map(f32::ln);
        let warm = Sampling { temperature: 1.0, ..Sampling::default() };
        for (count, probability) in counts(&warm, &logits).iter().zip(probabilities) {
            // 4000 draws: three standard deviations are below 0.025.
            assert!((*count as f32 / 4000.0 - probability).abs() < 0.025, "{count} of {probability}");
        }
        let two = counts(&Sampling { top_k: 2, ..warm.clone() }, &logits);
        assert!(two[0] > two[1] && two[1] > 0 && two[2] + two[3] == 0, "{two:?}");
        let most = counts(&Sampling { top_p: 0.79, ..warm.clone() }, &logits);
        assert!(most[1] > 0 && most[2] + most[3] == 0, "{most:?}");
        let one = counts(&Sampling { top_p: 0.001, ..warm.clone() }, &logits);
        assert_eq!(one[0], 4000);
        let near = counts(&Sampling { min_p: 0.55, ..warm.clone() }, &logits);
        assert!(near[1] > 0 && near[2] + near[3] == 0, "{near:?}");
        let both = counts(&Sampling { top_k: 3, top_p: 0.6, ..warm }, &logits);
        assert!(both[0] > both[1] && both[1] > 0 && both[2] == 0, "{both:?}");
    }

    #[test]
    fn chances_are_log_probabilities() {
        let chances = Chances::new(&[0.5_f32, 0.3, 0.15, 0.05].map(|probability| probability.ln() + 7.0));
        assert!((chances.of(1).exp() - 0.3).abs() < 1e-5 && chances.of(9) == f32::NEG_INFINITY);
        let tokens = |most| chances.likeliest(most).iter().map(|(token, _)| *token).collect::<Vec<_>>();
        assert_eq!((tokens(2), tokens(9), tokens(0)), (vec![0, 1], vec![0, 1, 2, 3], vec![]));
    }

    #[test]
    fn the_seed_decides() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let draw = |seed| {
            let sampling = Sampling { temperature: 0.8, seed, ..Sampling::default() };
            let mut sampler = Sampler::new(&sampling, 0, logits.len(), &[]);
            (0..20).map(|_| sampler.next(&mut logits.clone())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_penalty_moves_on_from_what_was_said() {
        let sampling = Sampling { repetition_penalty: 1.5, ..Sampling::default() };
        let mut sampler = Sampler::new(&sampling, 0, 3, &[1]);
        // 1 is in the prompt: 2.0 counts as 1.33. Then 0 is used up too, 1.5 counts as 1.0.
        assert_eq!(sampler.next(&mut [1.5, 2.0, -1.0]), 0);
        assert_eq!(sampler.next(&mut [1.5, 2.0, -1.0]), 1);
        assert_eq!(likeliest(&[f32::NEG_INFINITY, 1.0, 1.0]), 1);
    }
}
