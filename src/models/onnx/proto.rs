//! The messages of ONNX that we write, and read again. Names and numbers of the fields are those of `onnx/onnx.proto` in the ONNX
//! repository, of IR version 9; the fields that we never set are left out.

use super::Size;
#[cfg(target_arch = "x86_64")]
use super::{DATA_FILE, Stored};

/// `ModelProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    #[prost(string, tag = "3")]
    pub(super) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OperatorSet>,
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfo>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// `AttributeProto`. The fields are optional here so that a zero is written.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

impl Attribute {
    /// A whole number.
    pub(crate) fn int(name: &str, value: usize) -> Self {
        Self { name: name.into(), i: i64::try_from(value).ok(), f: None, kind: 2 }
    }

    /// -1: the last dimension.
    pub(crate) fn last(name: &str) -> Self {
        Self { name: name.into(), i: Some(-1), f: None, kind: 2 }
    }

    /// A number.
    pub(crate) fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), i: None, kind: 1 }
    }
}

#[cfg(target_arch = "x86_64")]
impl Attribute {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The whole number that it is, from 0 on.
    pub(super) fn whole(&self) -> Option<usize> {
        self.i.and_then(|number| usize::try_from(number).ok())
    }
}

/// What a tensor holds: `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float = 1,
    Uint8 = 2,
    Int32 = 6,
    Int64 = 7,
}

/// `TensorProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", optional, tag = "9")]
    raw_data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
    /// 1: in a file of its own.
    #[prost(int32, optional, tag = "14")]
    data_location: Option<i32>,
}

#[cfg(target_arch = "x86_64")]
impl Tensor {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where in the data file it lies, if it does.
    pub(super) fn stored(&self) -> Option<Stored> {
        let entry = |key: &str| self.external_data.iter().find(|it| it.key == key).map(|it| it.value.as_str());
        let number = |key: &str| entry(key)?.parse().ok();
        (entry("location") == Some(DATA_FILE)).then_some(())?;
        Some(Stored { offset: number("offset")?, length: number("length")? })
    }
}

impl Tensor {
    pub(super) fn inline(name: &str, element: Element, shape: &[usize], bytes: Vec<u8>) -> Self {
        Self {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: element as i32,
            name: name.into(),
            raw_data: Some(bytes),
            external_data: Vec::new(),
            data_location: None,
        }
    }

    pub(super) fn external(
        name: &str,
        element: Element,
        shape: &[usize],
        file: &str,
        offset: u64,
        length: u64,
    ) -> Self {
        let entry = |key: &str, value: String| Entry { key: key.into(), value };
        let external_data = vec![
            entry("location", file.into()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ];
        Self { raw_data: None, external_data, data_location: Some(1), ..Self::inline(name, element, shape, Vec::new()) }
    }
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[cfg(target_arch = "x86_64")]
impl ValueInfo {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Halves its last dimension, where that is fixed.
    pub(super) fn halve(&mut self) {
        let shape = self.kind.as_mut().and_then(|kind| kind.tensor.as_mut()?.shape.as_mut());
        if let Some(size) = shape.and_then(|shape| shape.dim.last_mut()?.value.as_mut()) {
            *size /= 2;
        }
    }

    /// By dimension, its size where it is fixed.
    pub(super) fn sizes(&self) -> Vec<Option<usize>> {
        let shape = self.kind.as_ref().and_then(|kind| kind.tensor.as_ref()?.shape.as_ref());
        let size = |it: &Dimension| it.value.and_then(|size| usize::try_from(size).ok());
        shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(size).collect())
    }
}

impl ValueInfo {
    pub(super) fn new(name: &str, tensor: TensorType) -> Self {
        Self { name: name.into(), kind: Some(Type { tensor: Some(tensor) }) }
    }
}

/// `TypeProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

impl TensorType {
    pub(super) fn new(element: Element, sizes: &[Size]) -> Self {
        let dim = sizes
            .iter()
            .map(|size| match size {
                Size::Fixed(size) => Dimension { value: Some(*size as i64), parameter: None },
                Size::Free(name) => Dimension { value: None, parameter: Some((*name).into()) },
            })
            .collect();
        Self { elem_type: element as i32, shape: Some(Shape { dim }) }
    }
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`, a choice of the two.
#[derive(Clone, PartialEq, prost::Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    parameter: Option<String>,
}
