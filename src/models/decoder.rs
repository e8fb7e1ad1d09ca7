//! One decoder graph: tokens and a cache in, logits and a longer cache out.

use std::borrow::Cow;
use std::path::Path;

use ort::ep;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType, ValueType};

use super::error::ModelError;
use super::folder::Shape;

/// A graph with the usual inputs: `input_ids`, perhaps `attention_mask` and `position_ids`, and for each layer the
/// cache of keys and values.
pub(crate) struct Decoder {
    session: Session,
    takes_mask: bool,
    takes_positions: bool,
    layers: Vec<CacheNames>,
    heads: usize,
    width: usize,
    vocabulary: usize,
}

/// One of a layer's two cache tensors.
struct CacheNames {
    past: String,
    present: String,
}

/// What the model has read so far.
pub(crate) struct Cache {
    tensors: Vec<DynValue>,
    length: usize,
}

impl Decoder {
    /// Loads `graph` and finds out from its own inputs and outputs how it is fed.
    pub(crate) fn load(library: &Path, graph: &Path, shape: &Shape, threads: usize) -> Result<Self, ModelError> {
        let environment = super::runtime::environment(library)?;
        let foreign = |why: String| ModelError::not_understood(graph, why);
        // Without the arena: it grows with every new length of prompt and gives nothing back.
        let cpu = ep::CPU::default().with_arena_allocator(false).build();
        let session = Session::builder(&environment)?
            .with_execution_providers([cpu])?
            .with_memory_pattern(false)?
            .with_intra_threads(threads)?
            // Threads that wait by spinning took 1.8 times the CPU time and, beside anything else, longer.
            .with_intra_op_spinning(false)?
            .with_inter_threads(1)?
            .commit_from_file(graph)
            .map_err(|error| foreign(error.to_string()))?;
        let mut decoder = Self {
            takes_mask: false,
            takes_positions: false,
            layers: Vec::new(),
            heads: shape.cache_heads(),
            width: shape.head_width(),
            vocabulary: 0,
            session,
        };
        let mut takes_tokens = false;
        for input in decoder.session.inputs() {
            let ValueType::Tensor { ty, .. } = input.dtype() else {
                return Err(foreign(format!("its input `{}` is not a tensor", input.name())));
            };
            let wanted = match input.name() {
                "input_ids" => {
                    takes_tokens = true;
                    TensorElementType::Int64
                }
                "attention_mask" => {
                    decoder.takes_mask = true;
                    TensorElementType::Int64
                }
                "position_ids" => {
                    decoder.takes_positions = true;
                    TensorElementType::Int64
                }
                name => {
                    let Some(rest) = name.strip_prefix("past_key_values.") else {
                        return Err(foreign(format!("nobody knows what its input `{name}` is for")));
                    };
                    decoder.layers.push(CacheNames { past: name.to_owned(), present: format!("present.{rest}") });
                    TensorElementType::Float32
                }
            };
            if *ty != wanted {
                return Err(foreign(format!("its input `{}` is of {ty}, not of {wanted}", input.name())));
            }
        }
        if !takes_tokens || decoder.layers.is_empty() {
            return Err(foreign("it has no `input_ids` or no `past_key_values` inputs: it is no decoder".into()));
        }
        let outputs = decoder.session.outputs();
        if let Some(missing) = decoder.layers.iter().find(|it| !outputs.iter().any(|out| out.name() == it.present)) {
            return Err(foreign(format!("it has no output `{}`", missing.present)));
        }
        let logits = outputs.iter().find(|output| output.name() == "logits").map(|output| output.dtype());
        match logits {
            Some(ValueType::Tensor { ty: TensorElementType::Float32, shape, .. }) => {
                decoder.vocabulary =
                    shape.last().and_then(|&last| usize::try_from(last).ok()).filter(|&last| last > 0).ok_or_else(
                        || foreign("its output `logits` does not say how large the vocabulary is".into()),
                    )?;
            }
            _ => return Err(foreign("it has no output `logits` of 32-bit floats".into())),
        }
        if decoder.heads == 0 || decoder.width == 0 {
            return Err(foreign("its config.json does not say how many heads there are and how wide".into()));
        }
        Ok(decoder)
    }

    /// Tokens that it knows.
    pub(crate) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The cache of a model that has read nothing.
    pub(crate) fn empty_cache(&self) -> Result<Cache, ModelError> {
        let empty = || Ok(Tensor::from_array(([1, self.heads, 0, self.width], Vec::<f32>::new()))?.into_dyn());
        let tensors = self.layers.iter().map(|_| empty()).collect::<Result<_, ModelError>>()?;
        Ok(Cache { tensors, length: 0 })
    }

    /// Reads `tokens` (at least one) on top of `cache`, and says how likely each token is to come next.
    pub(crate) fn read(&mut self, tokens: &[u32], cache: &mut Cache) -> Result<Vec<f32>, ModelError> {
        let row = |values: Vec<i64>| Ok::<_, ModelError>(Tensor::from_array(([1, values.len()], values))?.into_dyn());
        let after = cache.length + tokens.len();
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(self.layers.len() + 3);
        inputs.push(("input_ids".into(), row(tokens.iter().map(|&token| i64::from(token)).collect())?.into()));
        if self.takes_mask {
            inputs.push(("attention_mask".into(), row(vec![1; after])?.into()));
        }
        if self.takes_positions {
            inputs
                .push(("position_ids".into(), row((0_i64..).skip(cache.length).take(tokens.len()).collect())?.into()));
        }
        for (names, past) in self.layers.iter().zip(&cache.tensors) {
            inputs.push((names.past.as_str().into(), past.into()));
        }
        let mut outputs = self.session.run(inputs)?;
        let gone = |name: &str| ModelError::Failed(format!("the graph gave no `{name}`"));
        let present: Vec<DynValue> = self
            .layers
            .iter()
            .map(|names| outputs.remove(&names.present).ok_or_else(|| gone(&names.present)))
            .collect::<Result<_, _>>()?;
        let logits = outputs.remove("logits").ok_or_else(|| gone("logits"))?;
        let (_, logits) = logits.try_extract_tensor::<f32>()?;
        // Some graphs say it for every token read; the last one counts.
        let last = logits.len().checked_sub(self.vocabulary).ok_or_else(|| gone("logits"))?;
        let logits = logits[last..].to_vec();
        cache.tensors = present;
        cache.length = after;
        Ok(logits)
    }
}
