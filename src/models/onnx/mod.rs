//! Writing ONNX models: a graph, and its weights in a file beside it. What was written can be changed again
//! ([`with_own_operators`]).
//!
//! The weights go to disk one by one as they are added, so that a model of any size is written in little memory.

#[cfg(target_arch = "x86_64")]
mod own;
mod proto;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::error::ModelError;
#[cfg(target_arch = "x86_64")]
pub(crate) use own::{ATTEND, DOMAIN, MULTIPLY, Matrix, with_own_operators};
pub(crate) use proto::{Attribute, Element};
use proto::{Graph, Model, Node, OperatorSet, Tensor, TensorType, ValueInfo};

/// The version of the ONNX format, from 2023: every ONNX Runtime that we load reads it.
const IR_VERSION: i64 = 9;

/// The version of ONNX's own operators.
const OPSET: i64 = 18;

/// The domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// Who our graphs say has made them.
const PRODUCER: &str = "storehand";

/// The file of the weights, beside the graph.
pub(crate) const DATA_FILE: &str = "model.onnx.data";

/// Weights begin at multiples of this many bytes, so that they can be mapped into memory.
const ALIGNMENT: u64 = 4096;

/// A graph under construction.
pub(crate) struct Writer {
    graph: Graph,
    data_path: PathBuf,
    data: BufWriter<File>,
    written: u64,
}

/// Weights that lie in the data file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The size of a dimension.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    Fixed(usize),
    /// Any, by name.
    Free(&'static str),
}

impl Writer {
    /// Begins a model `model.onnx` with its weights in `model.onnx.data`, both in `folder`.
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let data_path = folder.join(DATA_FILE);
        let file = File::create(&data_path).map_err(ModelError::io("writing", &data_path))?;
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Ok(Self { graph, data_path, data: BufWriter::with_capacity(1 << 20, file), written: 0 })
    }

    /// Writes weights. They belong to no tensor yet.
    pub(crate) fn store(&mut self, bytes: &[u8]) -> Result<Stored, ModelError> {
        self.begin_store()?;
        self.store_more(bytes)?;
        Ok(Stored { offset: self.written - bytes.len() as u64, length: bytes.len() as u64 })
    }

    /// Writes weights that come in parts.
    pub(crate) fn store_parts(
        &mut self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<()>,
    ) -> Result<Stored, ModelError> {
        self.begin_store()?;
        let offset = self.written;
        let mut part = Vec::new();
        while next(&mut part).is_some() {
            self.store_more(&part)?;
            part.clear();
        }
        Ok(Stored { offset, length: self.written - offset })
    }

    fn begin_store(&mut self) -> Result<(), ModelError> {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.store_more(&vec![0; usize::try_from(padding).unwrap_or(0)])
    }

    fn store_more(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        self.data.write_all(bytes).map_err(ModelError::io("writing", &self.data_path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes stored weights a tensor of the graph. Several tensors may share the same weights, in other shapes.
    pub(crate) fn tensor(&mut self, name: &str, element: Element, shape: &[usize], stored: Stored) -> String {
        self.graph.initializer.push(Tensor::external(name, element, shape, DATA_FILE, stored.offset, stored.length));
        name.to_owned()
    }

    /// Writes 32-bit floats as a tensor of the graph.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<String, ModelError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let stored = self.store(&bytes)?;
        Ok(self.tensor(name, Element::Float, shape, stored))
    }

    /// A small list of whole numbers, kept in the graph itself.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph.initializer.push(Tensor::inline(name, Element::Int64, &[values.len()], bytes));
        name.to_owned()
    }

    /// A single whole number, kept in the graph itself.
    pub(crate) fn integer(&mut self, name: &str, value: i64) -> String {
        self.graph.initializer.push(Tensor::inline(name, Element::Int64, &[], value.to_le_bytes().to_vec()));
        name.to_owned()
    }

    /// An input of the graph.
    pub(crate) fn input(&mut self, name: &str, element: Element, shape: &[Size]) -> String {
        self.graph.input.push(ValueInfo::new(name, TensorType::new(element, shape)));
        name.to_owned()
    }

    /// An output of the graph: what some node calls so.
    pub(crate) fn output(&mut self, name: &str, element: Element, shape: &[Size]) {
        self.graph.output.push(ValueInfo::new(name, TensorType::new(element, shape)));
    }

    /// An operation with one output, which gets the operation's name. An empty input is one left out.
    pub(crate) fn node(
        &mut self,
        domain: &str,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.nodes(domain, operator, name, inputs, &[name], attributes);
        name.to_owned()
    }

    /// An operation with several outputs.
    pub(crate) fn nodes(
        &mut self,
        domain: &str,
        operator: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<Attribute>,
    ) {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        self.graph.node.push(Node {
            input: texts(inputs),
            output: texts(outputs),
            name: name.to_owned(),
            op_type: operator.to_owned(),
            domain: domain.to_owned(),
            attribute: attributes,
        });
    }

    /// Writes the graph and makes sure that everything is on disk.
    pub(crate) fn finish(mut self) -> Result<(), ModelError> {
        let failed = || ModelError::io("writing", &self.data_path);
        self.data.flush().map_err(failed())?;
        self.data.get_ref().sync_all().map_err(failed())?;
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: PRODUCER.into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            opset_import: vec![
                OperatorSet { domain: String::new(), version: OPSET },
                OperatorSet { domain: MICROSOFT.into(), version: 1 },
            ],
        };
        let path = self.data_path.with_extension("");
        let mut file = File::create(&path).map_err(ModelError::io("writing", &path))?;
        file.write_all(&model.encode_to_vec()).map_err(ModelError::io("writing", &path))?;
        file.sync_all().map_err(ModelError::io("writing", &path))
    }
}
