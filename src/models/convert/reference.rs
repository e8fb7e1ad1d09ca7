//! The Llama block in plain 32-bit floats, over the weights as the GGUF file has them: what a converted model is
//! compared with. It shares nothing with the graph but the numbers of the model: rows stay in GGUF's order, and
//! positions are rotated the way that goes with it.
//!
//! Slow on purpose (no cache, no kernel), but in little memory: each row of weights is read once and used for all
//! positions of all texts.

use super::super::error::ModelError;
use super::super::gguf::Matrix;
use super::graph::frequency;
use super::llama::{Layer, Llama};

/// The logits after each of `texts`' tokens: by text, by position.
pub(crate) fn forward(llama: &Llama<'_>, texts: &[Vec<u32>]) -> Result<Vec<Vec<Vec<f32>>>, ModelError> {
    let embedding = llama.embedding()?;
    let mut row = Vec::new();
    let mut hidden: Vec<Vec<f32>> = Vec::new();
    for &token in texts.iter().flatten() {
        embedding.row(token as usize % llama.vocabulary, &mut row);
        hidden.push(row.clone());
    }
    for number in 0..llama.layers {
        add_layer(llama, &llama.layer(number)?, texts, &mut hidden);
    }
    let normed = norms(llama, &llama.final_norm()?, &hidden);
    let mut logits = times(llama.head()?, &normed).into_iter();
    Ok(texts.iter().map(|text| logits.by_ref().take(text.len()).collect()).collect())
}

fn add_layer(llama: &Llama<'_>, layer: &Layer<'_>, texts: &[Vec<u32>], hidden: &mut [Vec<f32>]) {
    let normed = norms(llama, &layer.attention_norm, hidden);
    let mut queries = times(layer.query, &normed);
    let mut keys = times(layer.key, &normed);
    let values = times(layer.value, &normed);
    let mut attended = Vec::with_capacity(hidden.len());
    let mut start = 0;
    for text in texts {
        let range = start..start + text.len();
        for (position, at) in range.clone().enumerate() {
            rotate(llama, position, &mut queries[at]);
            rotate(llama, position, &mut keys[at]);
            attended.push(attend(llama, &queries[at], &keys[start..=at], &values[start..=at]));
        }
        start = range.end;
    }
    add(hidden, times(layer.output, &attended));

    let normed = norms(llama, &layer.feed_forward_norm, hidden);
    let mut gates = times(layer.gate, &normed);
    for (gate, up) in gates.iter_mut().zip(times(layer.up, &normed)) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + (-*gate).exp()) * up;
        }
    }
    add(hidden, times(layer.down, &gates));
}

/// One position's attention to itself and all before it.
fn attend(llama: &Llama<'_>, query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f32> {
    let width = llama.head_width;
    let mut out = Vec::with_capacity(query.len());
    for (head, query) in query.chunks_exact(width).enumerate() {
        let shared = head / (llama.heads / llama.cache_heads) * width;
        let scores: Vec<f32> =
            keys.iter().map(|key| dot(query, &key[shared..shared + width]) / (width as f32).sqrt()).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f32 = weights.iter().sum();
        for at in shared..shared + width {
            let mixed: f32 = weights.iter().zip(values).map(|(weight, value)| weight * value[at]).sum();
            out.push(mixed / total);
        }
    }
    out
}

/// Turns neighbouring numbers of each head by the angle of this position.
fn rotate(llama: &Llama<'_>, position: usize, vector: &mut [f32]) {
    for head in vector.chunks_exact_mut(llama.head_width) {
        for (pair, numbers) in head.chunks_exact_mut(2).enumerate() {
            let (sine, cosine) = (position as f64 * frequency(llama, pair)).sin_cos();
            let (sine, cosine) = (sine as f32, cosine as f32);
            (numbers[0], numbers[1]) =
                (numbers[0] * cosine - numbers[1] * sine, numbers[0] * sine + numbers[1] * cosine);
        }
    }
}

fn norms(llama: &Llama<'_>, weights: &[f32], vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    vectors
        .iter()
        .map(|vector| {
            let mean = dot(vector, vector) / vector.len() as f32;
            let scale = 1.0 / (mean + llama.epsilon).sqrt();
            vector.iter().zip(weights).map(|(number, weight)| number * scale * weight).collect()
        })
        .collect()
}

fn add(to: &mut [Vec<f32>], what: Vec<Vec<f32>>) {
    for (to, what) in to.iter_mut().zip(what) {
        for (to, what) in to.iter_mut().zip(what) {
            *to += what;
        }
    }
}

/// The matrix times each vector. Rows are shared out over the machine's cores: this is nearly all of the work.
fn times(matrix: Matrix<'_>, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = matrix.rows.div_ceil(threads).max(1);
    let mut by_row: Vec<Vec<f32>> = vec![Vec::new(); matrix.rows];
    std::thread::scope(|scope| {
        for (part, rows) in by_row.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                let mut weights = Vec::with_capacity(matrix.columns);
                for (at, products) in rows.iter_mut().enumerate() {
                    matrix.row(part * share + at, &mut weights);
                    *products = vectors.iter().map(|vector| dot(&weights, vector)).collect();
                }
            });
        }
    });
    (0..vectors.len()).map(|at| by_row.iter().map(|products| products[at]).collect()).collect()
}

/// Eight sums side by side, so that the compiler may use vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}
