//! One encoder graph: tokens in, one vector a text out.

use std::borrow::Cow;
use std::path::Path;

use ort::session::{Session as Graph, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::super::error::ModelError;
use super::folder::{Folder, Pooling};
use super::tokenizer::Read;
use super::{Vectors, normalised, pooled};

/// What the graph may call the states of a text's tokens.
const STATES: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// A graph with the usual inputs: `input_ids`, `attention_mask`, perhaps `token_type_ids`.
pub(super) struct Session {
    graph: Graph,
    takes_types: bool,
    states: &'static str,
    pooling: Pooling,
    padding: i64,
    width: usize,
}

impl Session {
    /// Loads the folder's graph and finds out from its own inputs and outputs how it is fed.
    pub(super) fn load(library: &Path, folder: &Folder, threads: usize) -> Result<Self, ModelError> {
        let foreign = |why: String| ModelError::not_understood(&folder.graph, why);
        let graph = super::super::runtime::session(library, &folder.graph, threads)?;
        for input in graph.inputs() {
            let name = input.name();
            if !["input_ids", "attention_mask", "token_type_ids"].contains(&name) {
                return Err(foreign(format!("nobody knows what its input `{name}` is for")));
            }
            if !matches!(input.dtype(), ValueType::Tensor { ty: TensorElementType::Int64, .. }) {
                return Err(foreign(format!("its input `{name}` is no tensor of 64-bit integers")));
            }
        }
        let takes = |name: &str| graph.inputs().iter().any(|input| input.name() == name);
        if !takes("input_ids") || !takes("attention_mask") {
            return Err(foreign("it has no `input_ids` or no `attention_mask`: it is no encoder".into()));
        }
        let output = STATES.iter().find_map(|wanted| {
            let found = graph.outputs().iter().find(|output| output.name() == *wanted)?;
            Some((*wanted, found.dtype()))
        });
        let (states, width) = match output {
            Some((name, ValueType::Tensor { ty: TensorElementType::Float32, shape, .. })) => {
                let width = shape.last().and_then(|&last| usize::try_from(last).ok()).filter(|&last| last > 0);
                (name, width.ok_or_else(|| foreign(format!("its output `{name}` does not say how wide it is")))?)
            }
            _ => return Err(foreign(format!("it has no output {} of 32-bit floats", STATES.join(" or ")))),
        };
        let takes_types = takes("token_type_ids");
        Ok(Self { takes_types, states, pooling: folder.pooling, padding: folder.padding, width, graph })
    }

    /// Numbers in an embedding.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The embeddings of texts, in one run: vectors of length 1. Texts of much the same length cost the least.
    pub(super) fn embed(&mut self, texts: &[&Read]) -> Result<Vec<Vectors>, ModelError> {
        let longest = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0);
        if longest == 0 {
            let nothing = || vec![0.0; self.width];
            return Ok(texts.iter().map(|_| Vectors { whole: nothing(), telling: nothing() }).collect());
        }
        let mut tokens = Vec::with_capacity(texts.len() * longest);
        let mut mask = Vec::with_capacity(texts.len() * longest);
        for text in texts {
            tokens.extend(text.tokens.iter().map(|token| i64::from(*token)));
            mask.extend(std::iter::repeat_n(1, text.tokens.len()));
            tokens.resize(tokens.len() + longest - text.tokens.len(), self.padding);
            mask.resize(tokens.len(), 0);
        }
        let shape = [texts.len(), longest];
        let tensor = |values: Vec<i64>| Ok::<_, ModelError>(Tensor::from_array((shape, values))?.into_dyn());
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(3);
        inputs.push(("input_ids".into(), tensor(tokens)?.into()));
        inputs.push(("attention_mask".into(), tensor(mask)?.into()));
        if self.takes_types {
            inputs.push(("token_type_ids".into(), tensor(vec![0; texts.len() * longest])?.into()));
        }
        let outputs = self.graph.run(inputs)?;
        let gone = || ModelError::Failed(format!("the graph gave no `{}` of the size it should have", self.states));
        let (_, states) = outputs.get(self.states).ok_or_else(gone)?.try_extract_tensor::<f32>()?;
        if states.len() != texts.len() * longest * self.width {
            return Err(gone());
        }
        let rows = states.chunks_exact(longest * self.width);
        let embedded = texts.iter().zip(rows).map(|(text, row)| {
            let states = || row.chunks_exact(self.width).take(text.tokens.len());
            let whole = match self.pooling {
                Pooling::Mean => pooled(states().zip(std::iter::repeat(1.0)), self.width),
                Pooling::First => normalised(states().next().map(<[f32]>::to_vec).unwrap_or_default()),
            };
            let tells = text.telling.iter().any(|weight| *weight > 0.0);
            let telling = tells.then(|| pooled(states().zip(text.telling.iter().copied()), self.width));
            Vectors { telling: telling.unwrap_or_else(|| whole.clone()), whole }
        });
        let embedded: Vec<Vectors> = embedded.collect();
        if embedded.iter().flat_map(|it| it.whole.iter().chain(&it.telling)).any(|number| !number.is_finite()) {
            return Err(ModelError::Failed("the encoder gave what is no number".into()));
        }
        Ok(embedded)
    }
}
