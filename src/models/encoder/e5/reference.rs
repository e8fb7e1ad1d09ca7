//! The encoder in plain 32-bit floats, over the weights as the file has them: what the graph is compared with. It
//! shares nothing with the graph but the numbers of the model. Slow on purpose, a text at a time.

use super::super::super::convert::reference::times;
use super::super::super::error::ModelError;
use super::file::{File, Layer, Linear, Norm};

/// The last layer's state of each of a text's tokens.
pub(super) fn forward(file: &File, text: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
    let (embedding, positions) = (file.embedding()?, file.positions()?);
    let mut states: Vec<Vec<f32>> = Vec::with_capacity(text.len());
    for (&token, position) in text.iter().zip(positions.chunks_exact(file.hidden)) {
        let mut row = Vec::with_capacity(file.hidden);
        embedding.add_row(token as usize % file.vocabulary, &mut row);
        row.iter_mut().zip(position).for_each(|(number, position)| *number += position);
        states.push(row);
    }
    norm(file, &file.first_norm()?, &mut states);
    for number in 0..file.layers {
        layer(file, &file.layer(number)?, &mut states);
    }
    Ok(states)
}

fn layer(file: &File, layer: &Layer<'_>, states: &mut [Vec<f32>]) {
    let (queries, keys, values) =
        (linear(&layer.query, states), linear(&layer.key, states), linear(&layer.value, states));
    let attended: Vec<Vec<f32>> = queries.iter().map(|query| attend(file, query, &keys, &values)).collect();
    add(states, &linear(&layer.output, &attended));
    norm(file, &layer.attention_norm, states);

    let mut up = linear(&layer.up, states);
    for number in up.iter_mut().flatten() {
        *number = 0.5 * *number * (1.0 + error_function(f64::from(*number) / std::f64::consts::SQRT_2) as f32);
    }
    add(states, &linear(&layer.down, &up));
    norm(file, &layer.output_norm, states);
}

fn linear(linear: &Linear<'_>, states: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut products = times(linear.weights, states);
    for row in &mut products {
        row.iter_mut().zip(&linear.bias).for_each(|(number, bias)| *number += bias);
    }
    products
}

/// One token's attention to all of its text.
fn attend(file: &File, query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f32> {
    let width = file.hidden / file.heads;
    let mut out = vec![0.0; query.len()];
    for head in 0..file.heads {
        let at = head * width..(head + 1) * width;
        let score = |key: &Vec<f32>| {
            let product: f32 = query[at.clone()].iter().zip(&key[at.clone()]).map(|(query, key)| query * key).sum();
            product / (width as f32).sqrt()
        };
        let scores: Vec<f32> = keys.iter().map(score).collect();
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f32 = weights.iter().sum();
        for (weight, value) in weights.iter().zip(values) {
            let parts = out[at.clone()].iter_mut().zip(&value[at.clone()]);
            parts.for_each(|(out, value)| *out += weight / total * value);
        }
    }
    out
}

fn norm(file: &File, norm: &Norm, states: &mut [Vec<f32>]) {
    for state in states {
        let count = state.len() as f32;
        let mean = state.iter().sum::<f32>() / count;
        let variance = state.iter().map(|number| (number - mean).powi(2)).sum::<f32>() / count;
        let scale = 1.0 / (variance + file.epsilon).sqrt();
        for ((number, by), shift) in state.iter_mut().zip(&norm.scale).zip(&norm.shift) {
            *number = (*number - mean) * scale * by + shift;
        }
    }
}

fn add(to: &mut [Vec<f32>], what: &[Vec<f32>]) {
    for (to, what) in to.iter_mut().zip(what) {
        to.iter_mut().zip(what).for_each(|(to, what)| *to += what);
    }
}

/// The Gauss error function, to 1.2e-7 (Numerical Recipes' `erfcc`, a Chebyshev fit).
fn error_function(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let fit = FIT.iter().rev().fold(0.0, |sum, factor| sum * t + factor);
    let rest = t * (-x * x + fit).exp();
    if x < 0.0 { rest - 1.0 } else { 1.0 - rest }
}
