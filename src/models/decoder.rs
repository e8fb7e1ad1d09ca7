//! One decoder graph: tokens and a cache in, logits and a longer cache out.

use std::borrow::Cow;
use std::path::Path;

use ort::session::{HasSelectedOutputs, RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, ValueType};

use super::adapter::{AdapterFile, AdapterId, Loaded};
use super::error::ModelError;
use super::folder::Shape;
use super::runtime::Runtime;

/// A graph with the usual inputs: `input_ids`, perhaps `attention_mask` and `position_ids`, and for each layer the
/// cache of keys and values. Exports that hold a branch without a cache are told which one to take, and those that ask
/// of how many tokens the logits are wanted are asked for the last one's.
pub(crate) struct Decoder {
    session: Session,
    ports: Ports,
    heads: usize,
    width: usize,
    vocabulary: usize,
    /// Whether on top of a cache it reads one token at a time only.
    one_by_one: bool,
    adapters: Vec<Loaded>,
}

/// What the graph is fed with.
#[derive(Default)]
struct Ports {
    takes_mask: bool,
    takes_positions: bool,
    takes_branch: bool,
    /// How the graph calls the number of logits wanted, and whether it is a list of one.
    logits_wanted: Option<(String, bool)>,
    layers: Vec<CacheNames>,
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
    /// With what it is read: as all in it was.
    adapter: Option<AdapterId>,
}

impl Decoder {
    /// Loads `graph` and finds out from its own inputs and outputs how it is fed.
    pub(crate) fn load(runtime: Runtime<'_>, graph: &Path, shape: &Shape) -> Result<Self, ModelError> {
        let foreign = |why: String| ModelError::not_understood(graph, why);
        let session = runtime.decoder(graph)?;
        let mut decoder = Self {
            ports: Ports::default(),
            heads: 0,
            width: 0,
            vocabulary: 0,
            one_by_one: false,
            adapters: Vec::new(),
            session,
        };
        let mut takes_tokens = false;
        for input in decoder.session.inputs() {
            let ValueType::Tensor { ty, shape: declared, .. } = input.dtype() else {
                return Err(foreign(format!("its input `{}` is not a tensor", input.name())));
            };
            let wanted = match input.name() {
                "input_ids" => {
                    takes_tokens = true;
                    TensorElementType::Int64
                }
                "attention_mask" => {
                    decoder.ports.takes_mask = true;
                    TensorElementType::Int64
                }
                "position_ids" => {
                    decoder.ports.takes_positions = true;
                    TensorElementType::Int64
                }
                "use_cache_branch" => {
                    decoder.ports.takes_branch = true;
                    TensorElementType::Bool
                }
                name @ ("num_logits_to_keep" | "logits_to_keep") => {
                    decoder.ports.logits_wanted = Some((name.to_owned(), !declared.is_empty()));
                    TensorElementType::Int64
                }
                name => {
                    let Some(rest) = name.strip_prefix("past_key_values.") else {
                        return Err(foreign(format!("nobody knows what its input `{name}` is for")));
                    };
                    let (heads, width) = cache_shape(declared, shape);
                    if (decoder.heads, decoder.width) != (heads, width) && !decoder.ports.layers.is_empty() {
                        return Err(foreign(format!("its input `{name}` has another shape than the others")));
                    }
                    (decoder.heads, decoder.width) = (heads, width);
                    decoder.ports.layers.push(CacheNames { past: name.to_owned(), present: format!("present.{rest}") });
                    TensorElementType::Float32
                }
            };
            if *ty != wanted {
                return Err(foreign(format!("its input `{}` is of {ty}, not of {wanted}", input.name())));
            }
        }
        if !takes_tokens || decoder.ports.layers.is_empty() {
            return Err(foreign("it has no `input_ids` or no `past_key_values` inputs: it is no decoder".into()));
        }
        let outputs = decoder.session.outputs();
        if let Some(missing) =
            decoder.ports.layers.iter().find(|it| !outputs.iter().any(|out| out.name() == it.present))
        {
            return Err(foreign(format!("it has no output `{}`", missing.present)));
        }
        decoder.vocabulary = vocabulary(graph, outputs)?;
        if decoder.heads == 0 || decoder.width == 0 {
            return Err(foreign("neither it nor its config.json says how many heads there are and how wide".into()));
        }
        Ok(decoder)
    }

    /// Loads adapters, and tries each: it must fit the graph.
    pub(crate) fn take_adapters(&mut self, files: &[AdapterFile]) -> Result<(), ModelError> {
        for (at, file) in files.iter().enumerate() {
            self.adapters.push(Loaded::new(file)?);
            let mut cache = self.empty_cache()?.with(Some(AdapterId(at)));
            self.read(&[1], &mut cache).map_err(|error| {
                let why = format!("it does not fit the model's graph: {error}");
                ModelError::not_understood(&file.path, why)
            })?;
        }
        Ok(())
    }

    /// The adapters that it can be run with.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = AdapterId> + use<> {
        (0..self.adapters.len()).map(AdapterId)
    }

    /// What it is run with.
    pub(crate) fn adapter(&self, id: AdapterId) -> &Loaded {
        &self.adapters[id.0]
    }

    /// Says whether several rows may be one run with it.
    pub(crate) fn set_together(&mut self, id: AdapterId, together: bool) {
        self.adapters[id.0].together = together;
    }

    /// Finds out whether it reads several tokens on top of a cache as it reads them one after another. Graphs that were
    /// traced with a single token do not: they know no mask among new ones.
    pub(crate) fn find_pace(&mut self) -> Result<(), ModelError> {
        let (mut apart, mut several) = (self.empty_cache()?, self.empty_cache()?);
        self.one_by_one = true;
        self.read(&[1, 2], &mut apart)?;
        let expected = self.read(&[3, 4, 5], &mut apart)?;
        self.one_by_one = false;
        // It may say no in so many words, too.
        let read = self.read(&[1, 2], &mut several).and_then(|_| self.read(&[3, 4, 5], &mut several));
        self.one_by_one = !read.is_ok_and(|logits| are_near(&logits, &expected));
        if self.one_by_one {
            tracing::info!("the model's graph reads one token at a time: prompts take their time");
        }
        Ok(())
    }

    /// How many cache tensors there are: keys and values of each layer.
    pub(crate) fn cache_tensors(&self) -> usize {
        self.ports.layers.len()
    }

    /// The cache of a model that has read nothing.
    pub(crate) fn empty_cache(&self) -> Result<Cache, ModelError> {
        let empty = || Ok(Tensor::from_array(([1, self.heads, 0, self.width], Vec::<f32>::new()))?.into_dyn());
        let tensors = self.ports.layers.iter().map(|_| empty()).collect::<Result<_, ModelError>>()?;
        Ok(Cache { tensors, length: 0, adapter: None })
    }

    /// Reads `tokens` (at least one) on top of `cache`, and says how likely each token is to come next.
    pub(crate) fn read(&mut self, tokens: &[u32], cache: &mut Cache) -> Result<Vec<f32>, ModelError> {
        // What has no cache yet is another branch, where there are two.
        if !self.one_by_one || (self.ports.takes_branch && cache.length == 0) {
            return self.read_at_once(tokens, cache);
        }
        let mut logits = Vec::new();
        for token in tokens.chunks(1) {
            logits = self.read_at_once(token, cache)?;
        }
        Ok(logits)
    }

    fn read_at_once(&mut self, tokens: &[u32], cache: &mut Cache) -> Result<Vec<f32>, ModelError> {
        let inputs = self.ports.feed(&[(tokens, cache.length)], &cache.tensors)?;
        let mut outputs = match cache.adapter {
            Some(id) => self.session.run_with_options(inputs, &self.adapters[id.0].options)?,
            None => self.session.run(inputs)?,
        };
        let gone = |name: &str| ModelError::Failed(format!("the graph gave no `{name}`"));
        let present: Vec<DynValue> = self
            .ports
            .layers
            .iter()
            .map(|names| outputs.remove(&names.present).ok_or_else(|| gone(&names.present)))
            .collect::<Result<_, _>>()?;
        let logits = last_logits(&outputs, 1, self.vocabulary)?.pop().unwrap_or_default();
        cache.tensors = present;
        cache.length += tokens.len();
        Ok(logits)
    }

    /// Reads as many tokens for each row, given with how many tokens the row has read before. The caches are read
    /// and written in place: `caches` and the outputs of `options` lie in the same memory.
    pub(crate) fn read_rows(
        &mut self,
        rows: &[(&[u32], usize)],
        caches: &[DynValue],
        options: &RunOptions<HasSelectedOutputs>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let inputs = self.ports.feed(rows, caches)?;
        let outputs = self.session.run_with_options(inputs, options)?;
        last_logits(&outputs, rows.len(), self.vocabulary)
    }

    /// The names of the outputs that are the longer caches, in the order of the caches.
    pub(crate) fn present_names(&self) -> impl Iterator<Item = &str> {
        self.ports.layers.iter().map(|names| names.present.as_str())
    }

    /// Heads of the cache, and 32-bit places in one head for one token: our own attention keeps two numbers in each.
    pub(crate) fn cache_shape(&self) -> (usize, usize) {
        (self.heads, self.width)
    }
}

impl Ports {
    /// The inputs for rows of as many tokens each. Shorter rows are padded on the right of the mask, as
    /// `GroupQueryAttention` wants it.
    fn feed<'a>(&'a self, rows: &[(&[u32], usize)], caches: &'a [DynValue]) -> Result<Inputs<'a>, ModelError> {
        let width = rows.first().map_or(0, |(tokens, _)| tokens.len());
        let table = |values: Vec<i64>| {
            Ok::<_, ModelError>(
                Tensor::from_array(([rows.len(), values.len() / rows.len().max(1)], values))?.into_dyn(),
            )
        };
        let mut inputs: Inputs<'_> = Vec::with_capacity(self.layers.len() + 5);
        let tokens = rows.iter().flat_map(|(tokens, _)| tokens.iter().map(|&token| i64::from(token)));
        inputs.push(("input_ids".into(), table(tokens.collect())?.into()));
        if self.takes_mask {
            let total = rows.iter().map(|(_, before)| before + width).max().unwrap_or(0);
            let mask = rows.iter().flat_map(|(_, before)| (0..total).map(move |at| i64::from(at < before + width)));
            inputs.push(("attention_mask".into(), table(mask.collect())?.into()));
        }
        if self.takes_positions {
            let positions = rows.iter().flat_map(|(_, before)| (0_i64..).skip(*before).take(width));
            inputs.push(("position_ids".into(), table(positions.collect())?.into()));
        }
        if self.takes_branch {
            let goes_on = rows.iter().any(|(_, before)| *before > 0);
            inputs.push(("use_cache_branch".into(), Tensor::from_array(([1], vec![goes_on]))?.into_dyn().into()));
        }
        if let Some((name, is_list)) = &self.logits_wanted {
            let one = vec![1_i64];
            let wanted = if *is_list { Tensor::from_array(([1], one))? } else { Tensor::from_array(((), one))? };
            inputs.push((name.as_str().into(), wanted.into_dyn().into()));
        }
        for (names, past) in self.layers.iter().zip(caches) {
            inputs.push((names.past.as_str().into(), past.into()));
        }
        Ok(inputs)
    }
}

/// How many tokens the `logits` among a graph's outputs are about.
pub(crate) fn vocabulary(graph: &Path, outputs: &[Outlet]) -> Result<usize, ModelError> {
    let logits = outputs.iter().find(|output| output.name() == "logits").map(|output| output.dtype());
    let Some(ValueType::Tensor { ty: TensorElementType::Float32, shape, .. }) = logits else {
        return Err(ModelError::not_understood(graph, "it has no output `logits` of 32-bit floats"));
    };
    let last = shape.last().and_then(|&last| usize::try_from(last).ok()).filter(|&last| last > 0);
    last.ok_or_else(|| {
        ModelError::not_understood(graph, "its output `logits` does not say how large the vocabulary is")
    })
}

/// A copy of a tensor of floats.
pub(crate) fn copy_of(tensor: &DynValue) -> Result<DynValue, ModelError> {
    let (shape, numbers) = tensor.try_extract_tensor::<f32>()?;
    Ok(Tensor::from_array((shape.clone(), numbers.to_vec()))?.into_dyn())
}

/// Heads and width of one cache tensor `[batch, heads, time, width]`: as the graph declares them, else as the
/// configuration has them, else 0.
pub(crate) fn cache_shape(declared: &[i64], shape: &Shape) -> (usize, usize) {
    let fixed = |at: usize| declared.get(at).and_then(|&size| usize::try_from(size).ok()).filter(|&size| size > 0);
    (fixed(1).or(shape.cache_heads()).unwrap_or(0), fixed(3).or(shape.head_width()).unwrap_or(0))
}

/// Whether two ways to the same logits differ by no more than rounding does, that of 8-bit activations included.
fn are_near(these: &[f32], those: &[f32]) -> bool {
    let mean = those.iter().sum::<f32>() / those.len().max(1) as f32;
    let apart: f32 = these.iter().zip(those).map(|(a, b)| (a - b).powi(2)).sum();
    let spread: f32 = those.iter().map(|it| (it - mean).powi(2)).sum();
    these.len() == those.len() && apart <= 0.01 * spread
}

/// A graph's inputs by name.
pub(crate) type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

/// By row, the logits after its last token. Some graphs say them for every token read.
pub(crate) fn last_logits(
    outputs: &SessionOutputs<'_>,
    rows: usize,
    vocabulary: usize,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let gone = || ModelError::Failed("the graph gave no `logits`".into());
    let (_, logits) = outputs.get("logits").ok_or_else(gone)?.try_extract_tensor::<f32>()?;
    let row = logits.len() / rows.max(1);
    if row < vocabulary {
        return Err(gone());
    }
    Ok(logits.chunks_exact(row).map(|logits| logits[row - vocabulary..].to_vec()).collect())
}

impl Cache {
    /// The same, read with an adapter or none.
    pub(crate) fn with(self, adapter: Option<AdapterId>) -> Self {
        Self { adapter, ..self }
    }

    /// The keys and values from `from` to `to` (tokens): by tensor, by head, by token.
    pub(crate) fn take(&self, from: usize, to: usize) -> Result<Box<[f32]>, ModelError> {
        let mut taken = Vec::new();
        for tensor in &self.tensors {
            let (shape, numbers) = tensor.try_extract_tensor::<f32>()?;
            let width = shape.last().map_or(0, |&width| usize::try_from(width).unwrap_or(0));
            for head in numbers.chunks_exact((self.length * width).max(1)) {
                taken.extend_from_slice(&head[from * width..to * width]);
            }
        }
        Ok(taken.into())
    }

    /// A cache of what [`take`](Self::take) gave, pieces of `tokens` tokens each, one after another.
    pub(crate) fn of(
        pieces: &[&[f32]],
        tokens: usize,
        (heads, width): (usize, usize),
        tensors: usize,
    ) -> Result<Self, ModelError> {
        let (length, run) = (pieces.len() * tokens, tokens * width);
        let tensors = (0..tensors).map(|tensor| {
            let heads = (0..heads).map(|head| (tensor * heads + head) * run);
            let numbers: Vec<f32> = heads
                .clone()
                .flat_map(|at| pieces.iter().flat_map(move |piece| piece[at..at + run].iter().copied()))
                .collect();
            Ok(Tensor::from_array(([1, heads.len(), length, width], numbers))?.into_dyn())
        });
        Ok(Self { tensors: tensors.collect::<Result<_, ModelError>>()?, length, adapter: None })
    }

    /// A copy of it.
    pub(crate) fn copy(&self) -> Result<Self, ModelError> {
        let tensors = self.tensors.iter().map(copy_of).collect::<Result<_, _>>()?;
        Ok(Self { tensors, length: self.length, adapter: self.adapter })
    }
}
