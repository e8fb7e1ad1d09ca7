//! The graph of a BERT-like encoder, for ONNX Runtime's fast CPU kernels.
//!
//! Weights stay at the 4 bits that they have: `MatMulNBits` takes 8 for zero where nothing else is said, as ggml's
//! Q4_0 does, so nothing is rounded anew. Normalisation, skip and bias are one kernel, as are bias and GELU, and all of
//! attention.

use super::super::super::convert::Activations;
use super::super::super::error::ModelError;
use super::super::super::gguf::{BLOCK, Matrix, half_at};
use super::super::super::onnx::{Attribute, Element, MICROSOFT, Size, Stored, Writer};
use super::file::{File, Layer, Norm};

/// Writes the graph into `writer`, which is then complete. `progress` hears how many layers are done.
pub(super) fn write(
    file: &File,
    activations: Activations,
    writer: Writer,
    progress: &mut dyn FnMut(usize),
) -> Result<(), ModelError> {
    let mut graph = Graph { file, activations, writer };
    graph.build(progress)?;
    graph.writer.finish()
}

struct Graph<'a> {
    file: &'a File,
    activations: Activations,
    writer: Writer,
}

impl Graph<'_> {
    fn build(&mut self, progress: &mut dyn FnMut(usize)) -> Result<(), ModelError> {
        let (hidden, vocabulary) = (self.file.hidden, self.file.vocabulary);
        let sizes = [Size::Free("batch"), Size::Free("sequence")];
        let tokens = self.writer.input("input_ids", Element::Int64, &sizes);
        let mask = self.writer.input("attention_mask", Element::Int64, &sizes);
        let to_int32 = vec![Attribute::int("to", Element::Int32 as usize)];
        let mask = self.writer.node("", "Cast", "mask", &[&mask], to_int32);

        let (data, scales) = self.nibbles(self.file.embedding()?)?;
        let data = self.writer.tensor("embedding", Element::Uint8, &[vocabulary, hidden / 2], data);
        let scales = self.writer.tensor("embedding_scales", Element::Float, &[vocabulary, hidden / BLOCK], scales);
        let embedded = self.writer.node(
            MICROSOFT,
            "GatherBlockQuantized",
            "embedded",
            &[&data, &tokens, &scales],
            vec![
                Attribute::int("bits", 4),
                Attribute::int("block_size", BLOCK),
                Attribute::int("gather_axis", 0),
                Attribute::int("quantize_axis", 1),
            ],
        );

        // The rows of as many positions as the longest text has tokens.
        let table = self.writer.floats("positions", &[self.file.positions, hidden], &self.file.positions()?)?;
        let (zero, one) = (self.writer.integers("zero", &[0]), self.writer.integers("one", &[1]));
        let shape = self.writer.node("", "Shape", "shape", &[&tokens], vec![]);
        let longest = self.writer.node("", "Gather", "longest", &[&shape, &one], vec![Attribute::int("axis", 0)]);
        let positions = self.writer.node("", "Slice", "positions_used", &[&table, &zero, &longest, &zero], vec![]);
        let norm = self.file.first_norm()?;
        let mut state = self.skip_norm("layer_0", [&embedded, &positions], &norm, None)?;

        for number in 0..self.file.layers {
            let last = number + 1 == self.file.layers;
            let name = if last { "last_hidden_state".to_owned() } else { format!("layer_{}", number + 1) };
            state = self.layer(number, &self.file.layer(number)?, &state, &mask, &name)?;
            progress(number + 1);
        }
        let sizes = [Size::Free("batch"), Size::Free("sequence"), Size::Fixed(hidden)];
        self.writer.output(&state, Element::Float, &sizes);
        Ok(())
    }

    /// One layer on top of `state`; its output is called `output`.
    fn layer(
        &mut self,
        number: usize,
        layer: &Layer<'_>,
        state: &str,
        mask: &str,
        output: &str,
    ) -> Result<String, ModelError> {
        let name = |what: &str| format!("layer_{number}_{what}");
        let (hidden, feed_forward) = (self.file.hidden, self.file.feed_forward);
        let query = self.multiply(&name("query"), state, layer.query.weights)?;
        let key = self.multiply(&name("key"), state, layer.key.weights)?;
        let value = self.multiply(&name("value"), state, layer.value.weights)?;
        let biases = [layer.query.bias.as_slice(), &layer.key.bias, &layer.value.bias].concat();
        let biases = self.writer.floats(&name("attention_bias"), &[3 * hidden], &biases)?;
        let heads = vec![Attribute::int("num_heads", self.file.heads)];
        let attended = [query.as_str(), &key, &value, &biases, mask];
        let attended = self.writer.node(MICROSOFT, "MultiHeadAttention", &name("attention"), &attended, heads);
        let attended = self.multiply(&name("attention_output"), &attended, layer.output.weights)?;
        let norm = &layer.attention_norm;
        let state = self.skip_norm(&name("attended"), [&attended, state], norm, Some(&layer.output.bias))?;

        let up = self.multiply(&name("up"), &state, layer.up.weights)?;
        let bias = self.writer.floats(&name("up_bias"), &[feed_forward], &layer.up.bias)?;
        let up = self.writer.node(MICROSOFT, "BiasGelu", &name("gelu"), &[&up, &bias], vec![]);
        let down = self.multiply(&name("down"), &up, layer.down.weights)?;
        self.skip_norm(output, [&down, &state], &layer.output_norm, Some(&layer.down.bias))
    }

    /// The sum of two, and perhaps a bias, normalised.
    fn skip_norm(
        &mut self,
        name: &str,
        [input, skip]: [&str; 2],
        norm: &Norm,
        bias: Option<&[f32]>,
    ) -> Result<String, ModelError> {
        let mut numbers =
            |what: &str, numbers: &[f32]| self.writer.floats(&format!("{name}_{what}"), &[numbers.len()], numbers);
        let (scale, shift) = (numbers("scale", &norm.scale)?, numbers("shift", &norm.shift)?);
        let bias = bias.map(|bias| numbers("bias", bias)).transpose()?;
        let mut inputs = vec![input, skip, &scale, &shift];
        inputs.extend(bias.as_deref());
        let epsilon = vec![Attribute::float("epsilon", self.file.epsilon)];
        Ok(self.writer.node(MICROSOFT, "SkipLayerNormalization", name, &inputs, epsilon))
    }

    fn multiply(&mut self, name: &str, input: &str, matrix: Matrix<'_>) -> Result<String, ModelError> {
        let blocks = matrix.columns / BLOCK;
        let (data, scales) = self.nibbles(matrix)?;
        let shape = [matrix.rows, blocks, BLOCK / 2];
        let data = self.writer.tensor(&format!("{name}_weights"), Element::Uint8, &shape, data);
        let scales = self.writer.tensor(&format!("{name}_scales"), Element::Float, &[matrix.rows * blocks], scales);
        let attributes = vec![
            Attribute::int("K", matrix.columns),
            Attribute::int("N", matrix.rows),
            Attribute::int("bits", 4),
            Attribute::int("block_size", BLOCK),
            Attribute::int("accuracy_level", self.activations.accuracy_level()),
        ];
        Ok(self.writer.node(MICROSOFT, "MatMulNBits", name, &[input, &data, &scales], attributes))
    }

    /// Writes a matrix as it is, in ONNX Runtime's order: two neighbours share a byte, where ggml has the first of a
    /// block's halves share one with the first of the other.
    fn nibbles(&mut self, matrix: Matrix<'_>) -> Result<(Stored, Stored), ModelError> {
        let mut scales: Vec<u8> = Vec::new();
        let mut rows = 0..matrix.rows;
        let data = self.writer.store_parts(|into| {
            for block in matrix.row_bytes(rows.next()?).chunks_exact(2 + BLOCK / 2) {
                scales.extend(half_at(block, 0).to_le_bytes());
                let pairs = block[2..].as_chunks::<2>().0;
                into.extend(pairs.iter().map(|[even, odd]| even & 0x0f | odd << 4));
                into.extend(pairs.iter().map(|[even, odd]| even >> 4 | odd & 0xf0));
            }
            Some(())
        })?;
        Ok((data, self.writer.store(&scales)?))
    }
}
