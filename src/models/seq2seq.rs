//! An encoder and a decoder with cross attention, as T5 has them and Optimum exports them: `encoder_model.onnx` reads the
//! prompt once and as a whole, the decoder writes on top of what it has read and of what it has written itself.
//!
//! The decoder is one graph with two branches (`decoder_model_merged.onnx`: the first token, and the others), or two graphs
//! (`decoder_model.onnx` and `decoder_with_past_model.onnx`). Keys and values of the prompt come with the first token and
//! stay; those of the answer grow. Rows are run one after another.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Tensor, TensorElementType, ValueType};

use super::decoder::{Inputs, cache_shape, copy_of, last_logits, vocabulary};
use super::error::ModelError;
use super::folder::{Encoder, Folder, Shape};

/// The two of them.
pub(crate) struct EncoderDecoder {
    encoder: Session,
    /// Writes the first token; the others too, where it has a branch for them.
    first: Graph,
    next: Option<Graph>,
    /// The cache tensors by what follows `present.`: of the answer, and of the prompt.
    own: Vec<String>,
    cross: Vec<String>,
    heads: usize,
    width: usize,
    vocabulary: usize,
    /// The token that an answer begins with, unseen.
    start: u32,
}

/// A decoder's graph with what it is fed with.
struct Graph {
    session: Session,
    ports: Vec<(String, Port)>,
}

/// What an input is for.
enum Port {
    Tokens,
    PromptMask,
    PromptStates,
    /// Whether there is a cache.
    Branch,
    /// A cache tensor of the answer, or of the prompt, by its place.
    Own(usize),
    Cross(usize),
}

/// What was read and written in one row.
pub(crate) struct Memory {
    prompt: Arc<Prompt>,
    own: Vec<DynValue>,
}

/// What the encoder has made of a prompt, and the decoder's keys and values of it. Rows with the same prompt share it.
struct Prompt {
    mask: DynValue,
    states: DynValue,
    cross: Vec<DynValue>,
}

impl EncoderDecoder {
    /// Loads the graphs of a folder that has an encoder.
    pub(crate) fn load(library: &Path, folder: &Folder, encoder: &Encoder, threads: usize) -> Result<Self, ModelError> {
        let session = |path: &Path| super::runtime::session(library, path, threads);
        let reader = session(&encoder.graph)?;
        check_encoder(&encoder.graph, &reader)?;
        let first = session(&folder.graph)?;
        let presents = |part: &str| -> Vec<String> {
            let names = first.outputs().iter().filter_map(|output| output.name().strip_prefix("present."));
            names.filter(|rest| rest.contains(part)).map(str::to_owned).collect()
        };
        let (own, cross) = (presents(".decoder."), presents(".encoder."));
        let foreign = |why: &str| ModelError::not_understood(&folder.graph, why);
        if own.is_empty() || own.len() != cross.len() {
            return Err(foreign(
                "it has no outputs `present.N.decoder.key` and `present.N.encoder.key`: it was exported without its cache",
            ));
        }
        let vocabulary = vocabulary(&folder.graph, first.outputs())?;
        let first = Graph::new(&folder.graph, first, &own, &cross)?;
        let next = match &encoder.next {
            Some(path) => Some(Graph::new(path, session(path)?, &own, &cross)?),
            None => None,
        };
        if next.is_none() && !first.ports.iter().any(|(_, port)| matches!(port, Port::Branch)) {
            return Err(foreign("it has no input `use_cache_branch`, and there is no `decoder_with_past_model.onnx`"));
        }
        let (heads, width) = next.as_ref().unwrap_or(&first).cache_shape(&folder.shape);
        if heads == 0 || width == 0 {
            return Err(foreign("neither it nor its config.json says how many heads there are and how wide"));
        }
        Ok(Self { encoder: reader, first, next, own, cross, heads, width, vocabulary, start: encoder.start })
    }

    /// Reads a prompt, and says how likely each token is to be the answer's first.
    pub(crate) fn begin(&mut self, prompt: &[u32]) -> Result<(Memory, Vec<f32>), ModelError> {
        let length = prompt.len();
        let row = |values: Vec<i64>| Ok::<_, ModelError>(Tensor::from_array(([1, length], values))?.into_dyn());
        let tokens = row(prompt.iter().map(|&token| i64::from(token)).collect())?;
        let mut outputs = self.encoder.run(vec![("input_ids", tokens), ("attention_mask", row(vec![1; length])?)])?;
        let states = taken(&mut outputs, "last_hidden_state")?;
        drop(outputs);
        // A merged decoder has inputs for caches, and does not look at them here.
        let empty = || Ok(Tensor::from_array(([1, self.heads, 0, self.width], Vec::<f32>::new()))?.into_dyn());
        let nothing = |count: usize| (0..count).map(|_| empty()).collect::<Result<Vec<_>, ModelError>>();
        let (own, cross) = (nothing(self.own.len())?, nothing(self.cross.len())?);
        let mut prompt = Prompt { mask: row(vec![1; length])?, states, cross };
        let mut outputs = {
            let inputs = feed(&self.first.ports, self.start, false, &prompt, &own)?;
            self.first.session.run(inputs)?
        };
        let logits = last_logits(&outputs, 1, self.vocabulary)?.pop().unwrap_or_default();
        let own = presents(&mut outputs, &self.own)?;
        let cross = presents(&mut outputs, &self.cross)?;
        drop(outputs);
        prompt.cross = cross;
        Ok((Memory { prompt: Arc::new(prompt), own }, logits))
    }

    /// Writes a token, and says how likely each is to come next.
    pub(crate) fn write(&mut self, token: u32, memory: &mut Memory) -> Result<Vec<f32>, ModelError> {
        let graph = self.next.as_mut().unwrap_or(&mut self.first);
        let mut outputs = {
            let inputs = feed(&graph.ports, token, true, &memory.prompt, &memory.own)?;
            graph.session.run(inputs)?
        };
        let logits = last_logits(&outputs, 1, self.vocabulary)?.pop().unwrap_or_default();
        memory.own = presents(&mut outputs, &self.own)?;
        Ok(logits)
    }
}

impl Memory {
    /// A copy of it, to go on from in another way.
    pub(crate) fn copy(&self) -> Result<Self, ModelError> {
        let own = self.own.iter().map(copy_of).collect::<Result<_, _>>()?;
        Ok(Self { prompt: Arc::clone(&self.prompt), own })
    }
}

impl Graph {
    fn new(path: &Path, session: Session, own: &[String], cross: &[String]) -> Result<Self, ModelError> {
        let port = |name: &str| match name {
            "input_ids" => Some((Port::Tokens, TensorElementType::Int64)),
            "encoder_attention_mask" => Some((Port::PromptMask, TensorElementType::Int64)),
            "encoder_hidden_states" => Some((Port::PromptStates, TensorElementType::Float32)),
            "use_cache_branch" => Some((Port::Branch, TensorElementType::Bool)),
            name => {
                let rest = name.strip_prefix("past_key_values.")?;
                let place = |names: &[String]| names.iter().position(|it| it == rest);
                let port = place(own).map(Port::Own).or_else(|| place(cross).map(Port::Cross))?;
                Some((port, TensorElementType::Float32))
            }
        };
        let mut ports = Vec::new();
        for input in session.inputs() {
            let (name, foreign) = (input.name(), |why: String| ModelError::not_understood(path, why));
            let (port, wanted) =
                port(name).ok_or_else(|| foreign(format!("nobody knows what its input `{name}` is for")))?;
            if !matches!(input.dtype(), ValueType::Tensor { ty, .. } if *ty == wanted) {
                return Err(foreign(format!("its input `{name}` is no tensor of {wanted}")));
            }
            ports.push((name.to_owned(), port));
        }
        Ok(Self { session, ports })
    }

    fn cache_shape(&self, shape: &Shape) -> (usize, usize) {
        let declared =
            self.session.inputs().iter().zip(&self.ports).find_map(|(input, (_, port))| match input.dtype() {
                ValueType::Tensor { shape, .. } if matches!(port, Port::Own(_)) => Some(shape.to_vec()),
                _ => None,
            });
        cache_shape(&declared.unwrap_or_default(), shape)
    }
}

/// Whether it is an encoder that we know how to feed.
fn check_encoder(path: &Path, session: &Session) -> Result<(), ModelError> {
    for input in session.inputs() {
        let known = matches!(input.name(), "input_ids" | "attention_mask");
        if !known || !matches!(input.dtype(), ValueType::Tensor { ty: TensorElementType::Int64, .. }) {
            let why = format!("nobody knows what its input `{}` is for", input.name());
            return Err(ModelError::not_understood(path, why));
        }
    }
    if session.inputs().len() != 2 || !session.outputs().iter().any(|it| it.name() == "last_hidden_state") {
        let why =
            "it has no inputs `input_ids` and `attention_mask` or no output `last_hidden_state`: it is no encoder";
        return Err(ModelError::not_understood(path, why));
    }
    Ok(())
}

/// The inputs for one token.
fn feed<'a>(
    ports: &'a [(String, Port)],
    token: u32,
    goes_on: bool,
    prompt: &'a Prompt,
    own: &'a [DynValue],
) -> Result<Inputs<'a>, ModelError> {
    let input = |port: &Port| -> Result<SessionInputValue<'a>, ModelError> {
        Ok(match port {
            Port::Tokens => Tensor::from_array(([1, 1], vec![i64::from(token)]))?.into_dyn().into(),
            Port::Branch => Tensor::from_array(([1], vec![goes_on]))?.into_dyn().into(),
            Port::PromptMask => (&prompt.mask).into(),
            Port::PromptStates => (&prompt.states).into(),
            Port::Own(at) => (&own[*at]).into(),
            Port::Cross(at) => (&prompt.cross[*at]).into(),
        })
    };
    ports.iter().map(|(name, port)| Ok((Cow::Borrowed(name.as_str()), input(port)?))).collect()
}

fn presents(outputs: &mut SessionOutputs<'_>, names: &[String]) -> Result<Vec<DynValue>, ModelError> {
    names.iter().map(|rest| taken(outputs, &format!("present.{rest}"))).collect()
}

fn taken(outputs: &mut SessionOutputs<'_>, name: &str) -> Result<DynValue, ModelError> {
    outputs.remove(name).ok_or_else(|| ModelError::Failed(format!("the graph gave no `{name}`")))
}
