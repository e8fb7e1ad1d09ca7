//! The Llama block in plain 32-bit floats, over the weights as the GGUF file has them: what a converted model is
//! compared with. It shares nothing with the graph but the numbers of the model: rows stay in GGUF's order, and
//! positions are rotated the way that goes with it.
//!
//! Slow on purpose (no cache, no kernel), but in little memory: each row of weights is read once and used for all
//! positions of all texts.

use ndarray::{Array2, Axis};

use super::super::error::ModelError;
use super::super::gguf::Matrix;
use super::graph::frequency;
use super::llama::{Layer, Llama};

/// The logits after each of `texts`' tokens: by text, by position.
pub(crate) fn forward(llama: &Llama<'_>, texts: &[Vec<u32>]) -> Result<Vec<Vec<Vec<f32>>>, ModelError> {
    let embedding = llama.embedding()?;
    let mut hidden: Vec<Vec<f32>> = Vec::new();
    for &token in texts.iter().flatten() {
        let mut row = Vec::with_capacity(llama.hidden);
        embedding.add_row(token as usize % llama.vocabulary, &mut row);
        hidden.push(row);
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

/// Rows that are made plain and multiplied at a time.
const ROWS: usize = 128;

/// The matrix times each vector. Rows are shared out over the machine's cores: this is nearly all of the work.
pub(in super::super) fn times(matrix: Matrix<'_>, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let columns = Array2::from_shape_fn((matrix.columns, vectors.len()), |(at, vector)| vectors[vector][at]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = matrix.rows.div_ceil(threads).max(1);
    let mut products = Array2::zeros((matrix.rows, vectors.len()));
    std::thread::scope(|scope| {
        for (part, mut products) in products.axis_chunks_iter_mut(Axis(0), share).enumerate() {
            let columns = &columns;
            scope.spawn(move || {
                for (chunk, mut products) in products.axis_chunks_iter_mut(Axis(0), ROWS).enumerate() {
                    let first = part * share + chunk * ROWS;
                    let mut plain = Vec::with_capacity(ROWS * matrix.columns);
                    for row in first..first + products.nrows() {
                        matrix.add_row(row, &mut plain);
                    }
                    // The shape fits: as many rows as there are products.
                    if let Ok(rows) = Array2::from_shape_vec((products.nrows(), matrix.columns), plain) {
                        products.assign(&rows.dot(columns));
                    }
                }
            });
        }
    });
    products.columns().into_iter().map(|column| column.to_vec()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
