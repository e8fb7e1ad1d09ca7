//! The graph of a Llama model, for ONNX Runtime's fast CPU kernels.
//!
//! Weights are 8 bits in blocks of 32 with a scale each, as in ggml, so that Q8_0 is taken over exactly; 128 stands for
//! zero. Q, K and V are one multiplication, gate
//! and up another. `GroupQueryAttention` rotates the positions, masks and keeps the cache. Only the last position
//! goes through the head: nobody asks for the others, and the head is a fifth of a small model's work.
//!
//! `SwiGLU`, `MatMulNBitsQkv` and `MatMulNBitsMlp`, which the names would suggest, have no CPU kernel.

use super::super::error::ModelError;
use super::super::gguf::{BLOCK, Matrix, Quant, half_at};
use super::super::onnx::{Attribute, Element, MICROSOFT, Size, Stored, Writer};
use super::llama::{Layer, Llama};

/// What becomes of activations before they are multiplied with the 8-bit weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Activations {
    /// Rounded to 8 bits too: that is where the speed comes from.
    Rounded,
    /// Kept as they are: slow, and comparable with a plain forward to the last digits.
    Kept,
}

impl Activations {
    /// As ONNX Runtime counts: 1 computes with 32-bit floats, 4 with 8-bit integers.
    pub(in super::super) fn accuracy_level(self) -> usize {
        if self == Self::Kept { 1 } else { 4 }
    }
}

/// Writes the graph into `writer`, which is then complete. `progress` hears how many layers are done.
pub(super) fn write(
    llama: &Llama<'_>,
    activations: Activations,
    writer: Writer,
    progress: &mut dyn FnMut(usize),
) -> Result<(), ModelError> {
    let mut graph = Graph { llama: *llama, activations, writer };
    graph.build(progress)?;
    graph.writer.finish()
}

/// A graph under construction.
struct Graph<'a> {
    llama: Llama<'a>,
    activations: Activations,
    writer: Writer,
}

/// What every layer needs to know about positions.
struct Positions {
    last: String,
    total: String,
    cosines: String,
    sines: String,
}

/// Quantised weights on disk, to multiply with.
struct Weights<'a> {
    name: &'a str,
    rows: usize,
    columns: usize,
    data: Stored,
    scales: Stored,
}

impl Graph<'_> {
    fn build(&mut self, progress: &mut dyn FnMut(usize)) -> Result<(), ModelError> {
        let tokens = self.writer.input("input_ids", Element::Int64, &[Size::Free("batch"), Size::Free("sequence")]);
        let mask = self.writer.input("attention_mask", Element::Int64, &[Size::Free("batch"), Size::Free("total")]);

        // What GroupQueryAttention wants to know of the mask: the last position of each row, and the longest row.
        let (axis, one) = (self.writer.integers("axis_1", &[1]), self.writer.integer("one", 1));
        let counted =
            self.writer.node("", "ReduceSum", "row_lengths", &[&mask, &axis], vec![Attribute::int("keepdims", 0)]);
        let last = self.writer.node("", "Sub", "last_positions_64", &[&counted, &one], vec![]);
        let to_int32 = || vec![Attribute::int("to", Element::Int32 as usize)];
        let last = self.writer.node("", "Cast", "last_positions", &[&last], to_int32());
        let shape = self.writer.node("", "Shape", "mask_shape", &[&mask], vec![]);
        let total = self.writer.node("", "Gather", "total_64", &[&shape, &one], vec![Attribute::int("axis", 0)]);
        let total = self.writer.node("", "Cast", "total", &[&total], to_int32());
        let (cosines, sines) = self.rotations()?;
        let positions = Positions { last, total, cosines, sines };

        let (embedding, scales) = self.quantised(&[self.llama.embedding()?], &|_, row| row)?;
        let rows = [self.llama.vocabulary, self.llama.hidden];
        let blocks = [self.llama.vocabulary, self.llama.hidden / BLOCK];
        let embedding_data = self.writer.tensor("embedding", Element::Uint8, &rows, embedding);
        let embedding_scales = self.writer.tensor("embedding_scales", Element::Float, &blocks, scales);
        let mut hidden = self.writer.node(
            MICROSOFT,
            "GatherBlockQuantized",
            "embedded",
            &[&embedding_data, &tokens, &embedding_scales],
            vec![
                Attribute::int("bits", 8),
                Attribute::int("block_size", BLOCK),
                Attribute::int("gather_axis", 0),
                Attribute::int("quantize_axis", 1),
            ],
        );
        for number in 0..self.llama.layers {
            hidden = self.layer(number, &self.llama.layer(number)?, &hidden, &positions)?;
            progress(number + 1);
        }

        let newest = self.writer.integers("newest", &[-1]);
        let hidden =
            self.writer.node("", "Gather", "last_hidden", &[&hidden, &newest], vec![Attribute::int("axis", 1)]);
        let hidden = self.norm("final_norm", &hidden, &self.llama.final_norm()?)?;
        let (head, scales) =
            if self.llama.tied { (embedding, scales) } else { self.quantised(&[self.llama.head()?], &|_, row| row)? };
        let head =
            Weights { name: "head", rows: self.llama.vocabulary, columns: self.llama.hidden, data: head, scales };
        self.multiply("logits", &hidden, &head);
        self.writer.output(
            "logits",
            Element::Float,
            &[Size::Free("batch"), Size::Fixed(1), Size::Fixed(self.llama.vocabulary)],
        );
        Ok(())
    }

    /// The tables by which positions are rotated: a row a position, a column a pair of numbers.
    fn rotations(&mut self) -> Result<(String, String), ModelError> {
        let pairs = self.llama.head_width / 2;
        let angles = |turn: fn(f64) -> f64| -> Vec<f32> {
            (0..self.llama.context * pairs)
                .map(|at| turn((at / pairs) as f64 * frequency(&self.llama, at % pairs)) as f32)
                .collect()
        };
        let shape = [self.llama.context, pairs];
        Ok((
            self.writer.floats("cosines", &shape, &angles(f64::cos))?,
            self.writer.floats("sines", &shape, &angles(f64::sin))?,
        ))
    }

    /// One layer on top of `hidden`; its output's name.
    fn layer(
        &mut self,
        number: usize,
        layer: &Layer<'_>,
        hidden: &str,
        positions: &Positions,
    ) -> Result<String, ModelError> {
        let name = |what: &str| format!("layer_{number}_{what}");
        let normed = self.norm(&name("attention_norm"), hidden, &layer.attention_norm)?;

        // GGUF writes the rows of Q and K so that numbers that are rotated together are neighbours; the kernel takes the
        // first half of a head with the second.
        let (width, half) = (self.llama.head_width, self.llama.head_width / 2);
        let order = |part: usize, row: usize| {
            let (head, within) = (row / width, row % width);
            if part < 2 { head * width + 2 * (within % half) + within / half } else { row }
        };
        let (data, scales) = self.quantised(&[layer.query, layer.key, layer.value], &order)?;
        let rows = self.llama.query_width() + 2 * self.llama.cache_width();
        let packed = Weights { name: &name("qkv"), rows, columns: self.llama.hidden, data, scales };
        let packed = self.multiply(&name("qkv_output"), &normed, &packed);

        let cache = |time| {
            [
                Size::Free("batch"),
                Size::Fixed(self.llama.cache_heads),
                Size::Free(time),
                Size::Fixed(self.llama.head_width),
            ]
        };
        let past_key = self.writer.input(&format!("past_key_values.{number}.key"), Element::Float, &cache("past"));
        let past_value = self.writer.input(&format!("past_key_values.{number}.value"), Element::Float, &cache("past"));
        let (present_key, present_value) = (format!("present.{number}.key"), format!("present.{number}.value"));
        let attended = name("attention");
        self.writer.nodes(
            MICROSOFT,
            "GroupQueryAttention",
            &attended,
            &[
                &packed,
                "",
                "",
                &past_key,
                &past_value,
                &positions.last,
                &positions.total,
                &positions.cosines,
                &positions.sines,
            ],
            &[&attended, &present_key, &present_value],
            vec![
                Attribute::int("num_heads", self.llama.heads),
                Attribute::int("kv_num_heads", self.llama.cache_heads),
                Attribute::int("do_rotary", 1),
                Attribute::int("rotary_interleaved", 0),
            ],
        );
        self.writer.output(&present_key, Element::Float, &cache("total"));
        self.writer.output(&present_value, Element::Float, &cache("total"));
        let output = self.single(&name("attention_output"), &attended, layer.output)?;
        let hidden = self.writer.node("", "Add", &name("attended"), &[hidden, &output], vec![]);

        let normed = self.norm(&name("feed_forward_norm"), &hidden, &layer.feed_forward_norm)?;
        let (data, scales) = self.quantised(&[layer.gate, layer.up], &|_, row| row)?;
        let rows = 2 * self.llama.feed_forward;
        let both = Weights { name: &name("gate_up"), rows, columns: self.llama.hidden, data, scales };
        let both = self.multiply(&name("gate_up_output"), &normed, &both);
        let (gate, up) = (name("gate"), name("up"));
        let split = vec![Attribute::last("axis"), Attribute::int("num_outputs", 2)];
        self.writer.nodes("", "Split", &name("gate_up_split"), &[&both], &[&gate, &up], split);
        // SiLU is QuickGelu with alpha 1.
        let gate =
            self.writer.node(MICROSOFT, "QuickGelu", &name("silu"), &[&gate], vec![Attribute::float("alpha", 1.0)]);
        let gated = self.writer.node("", "Mul", &name("gated"), &[&gate, &up], vec![]);
        let down = self.single(&name("down"), &gated, layer.down)?;
        Ok(self.writer.node("", "Add", &name("output"), &[&hidden, &down], vec![]))
    }

    fn norm(&mut self, name: &str, input: &str, weights: &[f32]) -> Result<String, ModelError> {
        let scale = self.writer.floats(&format!("{name}_weight"), &[self.llama.hidden], weights)?;
        let attributes = vec![Attribute::last("axis"), Attribute::float("epsilon", self.llama.epsilon)];
        Ok(self.writer.node("", "SimplifiedLayerNormalization", name, &[input, &scale], attributes))
    }

    /// Multiplies with a single matrix.
    fn single(&mut self, name: &str, input: &str, matrix: Matrix<'_>) -> Result<String, ModelError> {
        let (data, scales) = self.quantised(&[matrix], &|_, row| row)?;
        let weights = Weights { name, rows: matrix.rows, columns: matrix.columns, data, scales };
        Ok(self.multiply(&format!("{name}_output"), input, &weights))
    }

    fn multiply(&mut self, name: &str, input: &str, weights: &Weights<'_>) -> String {
        let blocks = weights.columns / BLOCK;
        let data = self.writer.tensor(
            &format!("{}_weight", weights.name),
            Element::Uint8,
            &[weights.rows, blocks, BLOCK],
            weights.data,
        );
        let scales = self.writer.tensor(
            &format!("{}_scales", weights.name),
            Element::Float,
            &[weights.rows * blocks],
            weights.scales,
        );
        let attributes = vec![
            Attribute::int("K", weights.columns),
            Attribute::int("N", weights.rows),
            Attribute::int("bits", 8),
            Attribute::int("block_size", BLOCK),
            Attribute::int("accuracy_level", self.activations.accuracy_level()),
        ];
        self.writer.node(MICROSOFT, "MatMulNBits", name, &[input, &data, &scales], attributes)
    }

    /// Writes the rows of `matrices`, one matrix below the other, at 8 bits; `order` says which row of a matrix goes
    /// where.
    fn quantised(
        &mut self,
        matrices: &[Matrix<'_>],
        order: &dyn Fn(usize, usize) -> usize,
    ) -> Result<(Stored, Stored), ModelError> {
        let columns = matrices.first().map_or(0, |matrix| matrix.columns);
        let mut scales: Vec<u8> = Vec::new();
        let mut rows =
            matrices.iter().enumerate().flat_map(|(part, matrix)| (0..matrix.rows).map(move |row| (part, row)));
        let mut plain = Vec::with_capacity(columns);
        let data = self.writer.store_parts(|into| {
            let (part, row) = rows.next()?;
            let (matrix, row) = (matrices[part], order(part, row));
            if matrix.quant == Quant::Q8_0 {
                for block in matrix.row_bytes(row).chunks_exact(BLOCK + 2) {
                    scales.extend(half_at(block, 0).to_le_bytes());
                    into.extend(block[2..].iter().map(|byte| byte ^ 0x80));
                }
            } else {
                plain.clear();
                matrix.add_row(row, &mut plain);
                plain.chunks_exact(BLOCK).for_each(|block| round_block(block, &mut scales, into));
            }
            Some(())
        })?;
        Ok((data, self.writer.store(&scales)?))
    }
}

/// Rounds a block to 8 bits: its scale, and its numbers from 1 to 255, where 128 stands for zero.
///
/// With plain indices: this runs a hundred million times for a small model, in unoptimised builds too.
fn round_block(block: &[f32], scales: &mut Vec<u8>, into: &mut Vec<u8>) {
    let (mut largest, mut at) = (0.0_f32, 0);
    while at < BLOCK {
        let size = block[at].abs();
        if size > largest {
            largest = size;
        }
        at += 1;
    }
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    scales.extend_from_slice(&(largest / 127.0).to_le_bytes());
    let mut rounded = [128; BLOCK];
    at = 0;
    while at < BLOCK {
        // `as` cuts off, so that the half makes it round; it saturates, were a number not finite.
        rounded[at] = (block[at] * inverse + 128.5) as u8;
        at += 1;
    }
    into.extend_from_slice(&rounded);
}

/// By how much the `pair`th pair of numbers is turned from one position to the next, in radians.
pub(super) fn frequency(llama: &Llama<'_>, pair: usize) -> f64 {
    f64::from(llama.rope_base).powf(-2.0 * pair as f64 / llama.head_width as f64)
}
