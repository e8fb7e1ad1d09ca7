//! A model of the Llama family as GGUF has it: its numbers, and its weights by their names.

use super::super::error::ModelError;
use super::super::gguf::{BLOCK, Gguf, Matrix, Meta};

/// Positions beyond this are left out: the tables of rotations would be larger than small models.
const LONGEST_CONTEXT: usize = 131_072;

/// The numbers of a Llama model, checked.
#[derive(Clone, Copy)]
pub(crate) struct Llama<'a> {
    gguf: &'a Gguf,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) feed_forward: usize,
    pub(crate) heads: usize,
    pub(crate) cache_heads: usize,
    pub(crate) head_width: usize,
    pub(crate) vocabulary: usize,
    pub(crate) context: usize,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f32,
    /// Whether the embedding is the head too.
    pub(crate) tied: bool,
}

/// The weights of one layer.
pub(crate) struct Layer<'a> {
    pub(crate) attention_norm: Vec<f32>,
    /// Rows in GGUF's order: the two numbers that are rotated together stand side by side.
    pub(crate) query: Matrix<'a>,
    pub(crate) key: Matrix<'a>,
    pub(crate) value: Matrix<'a>,
    pub(crate) output: Matrix<'a>,
    pub(crate) feed_forward_norm: Vec<f32>,
    pub(crate) gate: Matrix<'a>,
    pub(crate) up: Matrix<'a>,
    pub(crate) down: Matrix<'a>,
}

impl<'a> Llama<'a> {
    /// Reads the numbers and makes sure that we know all that the file asks for.
    pub(crate) fn new(gguf: &'a Gguf) -> Result<Self, ModelError> {
        let architecture = gguf.text("general.architecture")?;
        if architecture != "llama" {
            return Err(gguf.wrong(format!("it is a model of the kind `{architecture}`; `llama` is understood")));
        }
        let heads = gguf.count("llama.attention.head_count")?;
        let hidden = gguf.count("llama.embedding_length")?;
        let optional = |key: &str, default: usize| gguf.meta(key).map_or(Ok(default), |_| gguf.count(key));
        let head_width = optional("llama.attention.key_length", hidden.checked_div(heads).unwrap_or(0))?;
        let llama = Self {
            gguf,
            layers: gguf.count("llama.block_count")?,
            hidden,
            feed_forward: gguf.count("llama.feed_forward_length")?,
            heads,
            cache_heads: optional("llama.attention.head_count_kv", heads)?,
            head_width,
            vocabulary: gguf.texts("tokenizer.ggml.tokens")?.len(),
            context: gguf.count("llama.context_length")?.min(LONGEST_CONTEXT),
            epsilon: gguf.float("llama.attention.layer_norm_rms_epsilon")? as f32,
            rope_base: gguf.meta("llama.rope.freq_base").map_or(Ok(10_000.0), |_| gguf.float("llama.rope.freq_base"))?
                as f32,
            tied: !gguf.has_tensor("output.weight"),
        };
        if llama.heads == 0 || llama.cache_heads == 0 || !llama.heads.is_multiple_of(llama.cache_heads) {
            return Err(gguf.wrong("its numbers of attention heads do not fit each other"));
        }
        let sizes = [llama.layers, llama.hidden, llama.feed_forward, llama.head_width, llama.context];
        if sizes.iter().any(|&size| size == 0 || size > 1 << 20) || !llama.head_width.is_multiple_of(2) {
            return Err(gguf.wrong("one of its sizes is not one that a model has"));
        }
        let in_rows = [llama.hidden, llama.feed_forward, llama.query_width()];
        if let Some(size) = in_rows.iter().find(|size| !size.is_multiple_of(BLOCK)) {
            return Err(gguf.wrong(format!("its rows of {size} numbers are not whole blocks of {BLOCK}")));
        }
        // The other ways to turn positions into angles are not written yet; to leave them out would be to write
        // another model.
        if llama.gguf.has_tensor("rope_freqs.weight")
            || matches!(gguf.meta("llama.rope.scaling.type"), Some(Meta::Text(kind)) if kind != "none")
        {
            return Err(gguf.wrong("it scales its positions (rope scaling), which is not understood yet"));
        }
        if optional("llama.rope.dimension_count", llama.head_width)? != llama.head_width {
            return Err(gguf.wrong("it rotates only a part of each head, which is not understood yet"));
        }
        if llama.gguf.has_tensor("blk.0.ffn_gate_inp.weight") {
            return Err(gguf.wrong("it is a mixture of experts, which is not understood yet"));
        }
        if llama.gguf.has_tensor("blk.0.attn_q.bias") {
            return Err(gguf.wrong("its attention has biases, which is not understood yet"));
        }
        Ok(llama)
    }

    /// Numbers in one position's query.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// Numbers in one position's key, and in its value.
    pub(crate) fn cache_width(&self) -> usize {
        self.cache_heads * self.head_width
    }

    /// One row a token.
    pub(crate) fn embedding(&self) -> Result<Matrix<'a>, ModelError> {
        self.gguf.matrix("token_embd.weight", self.vocabulary, self.hidden)
    }

    /// From the last layer to the vocabulary.
    pub(crate) fn head(&self) -> Result<Matrix<'a>, ModelError> {
        let name = if self.tied { "token_embd.weight" } else { "output.weight" };
        self.gguf.matrix(name, self.vocabulary, self.hidden)
    }

    /// Before the head.
    pub(crate) fn final_norm(&self) -> Result<Vec<f32>, ModelError> {
        self.norm("output_norm.weight")
    }

    /// The weights of a layer.
    pub(crate) fn layer(&self, number: usize) -> Result<Layer<'a>, ModelError> {
        let matrix =
            |name: &str, rows, columns| self.gguf.matrix(&format!("blk.{number}.{name}.weight"), rows, columns);
        Ok(Layer {
            attention_norm: self.norm(&format!("blk.{number}.attn_norm.weight"))?,
            query: matrix("attn_q", self.query_width(), self.hidden)?,
            key: matrix("attn_k", self.cache_width(), self.hidden)?,
            value: matrix("attn_v", self.cache_width(), self.hidden)?,
            output: matrix("attn_output", self.hidden, self.query_width())?,
            feed_forward_norm: self.norm(&format!("blk.{number}.ffn_norm.weight"))?,
            gate: matrix("ffn_gate", self.feed_forward, self.hidden)?,
            up: matrix("ffn_up", self.feed_forward, self.hidden)?,
            down: matrix("ffn_down", self.hidden, self.feed_forward)?,
        })
    }

    fn norm(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        Ok(self.gguf.matrix(name, 1, self.hidden)?.all())
    }
}
