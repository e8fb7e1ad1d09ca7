//! A graph with operators of our own in place of ONNX Runtime's: which of its nodes they stand for, and nothing of what they
//! compute.

use prost::Message;

use super::super::gguf::BLOCK;
use super::proto::{Attribute, Model, Node, OperatorSet, ValueInfo};
use super::{MICROSOFT, PRODUCER, Stored};

/// The domain of our own operators.
pub(crate) const DOMAIN: &str = "storehand";
/// Multiplies with a matrix that the operator holds: attribute `matrix`, its place among them.
pub(crate) const MULTIPLY: &str = "Multiply";
/// Attends and writes the cache: as `GroupQueryAttention` with its queries, keys and values in one tensor, without
/// the length of the longest row, which follows from the others. Its cache is half as wide: each of its numbers is two of
/// 16 bits, which whoever keeps it moves about unread.
pub(crate) const ATTEND: &str = "Attend";

/// A graph that was changed.
pub(crate) struct Owned {
    pub(crate) graph: Vec<u8>,
    /// The matrices that its `Multiply`s name.
    pub(crate) matrices: Vec<Matrix>,
}

/// Where the 8-bit weights of a matrix and their scales lie in the model's data file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) weights: Stored,
    pub(crate) scales: Stored,
}

/// Puts our operators in place of those that they stand for. Only in graphs that we wrote: of others the fields that we do
/// not know would be lost. Nothing where there are none. `suits` says whether heads (queries, cached, width) can be
/// attended to.
pub(crate) fn with_own_operators(graph: &[u8], suits: impl Fn(usize, usize, usize) -> bool) -> Option<Owned> {
    let mut model = Model::decode(graph).ok()?;
    if model.producer_name != PRODUCER || model.opset_import.iter().any(|set| set.domain == DOMAIN) {
        return None;
    }
    let graph = model.graph.as_mut()?;
    let mut matrices = Vec::new();
    for node in &mut graph.node {
        let stored = |name: &String| graph.initializer.iter().find(|it| it.name() == name)?.stored();
        let own = match (node.domain.as_str(), node.op_type.as_str()) {
            (MICROSOFT, "MatMulNBits") => multiply(node, &stored, &mut matrices),
            (MICROSOFT, "GroupQueryAttention") => {
                let width = node.input.get(3).and_then(|past| {
                    graph.input.iter().find(|input| input.name() == past)?.sizes().get(3).copied().flatten()
                });
                attend(node, width, &suits)
            }
            _ => None,
        };
        if let Some(own) = own {
            *node = own;
        }
    }
    for attention in graph.node.iter().filter(|node| node.domain == DOMAIN && node.op_type == ATTEND) {
        let caches: Vec<&String> = attention.input.get(1..3)?.iter().chain(attention.output.get(1..)?).collect();
        let infos = graph.input.iter_mut().chain(&mut graph.output);
        infos.filter(|info| caches.iter().any(|name| *name == info.name())).for_each(ValueInfo::halve);
    }
    // One whose products are not rounded is wanted exact: its attention stays, too.
    (!matrices.is_empty()).then_some(())?;
    let used = |name: &str| graph.node.iter().any(|node| node.input.iter().any(|input| input == name));
    graph.initializer = std::mem::take(&mut graph.initializer).into_iter().filter(|it| used(it.name())).collect();
    model.opset_import.push(OperatorSet { domain: DOMAIN.into(), version: 1 });
    Some(Owned { graph: model.encode_to_vec(), matrices })
}

/// The product with a matrix of 8 bits in blocks as ours, rounded as ours are; nothing for any other.
fn multiply(node: &Node, stored: &dyn Fn(&String) -> Option<Stored>, matrices: &mut Vec<Matrix>) -> Option<Node> {
    let [input, weights, scales] = node.input.as_slice() else { return None };
    let value = |name: &str| node.attribute.iter().find(|it| it.name() == name)?.whole();
    let same = value("bits") == Some(8) && value("block_size") == Some(BLOCK) && value("accuracy_level") == Some(4);
    let (rows, columns) = (value("N")?, value("K")?);
    let (weights, scales) = (stored(weights)?, stored(scales)?);
    if !same || node.attribute.len() != 5 || !columns.is_multiple_of(BLOCK) {
        return None;
    }
    matrices.push(Matrix { rows, columns, weights, scales });
    Some(Node {
        input: vec![input.clone()],
        op_type: MULTIPLY.into(),
        domain: DOMAIN.into(),
        attribute: vec![Attribute::int("matrix", matrices.len() - 1)],
        ..node.clone()
    })
}

fn attend(node: &Node, width: Option<usize>, suits: &dyn Fn(usize, usize, usize) -> bool) -> Option<Node> {
    let [packed, no_key, no_value, key, value, last, _, cosines, sines] = node.input.as_slice() else { return None };
    let number = |name: &str| node.attribute.iter().find(|it| it.name() == name)?.whole();
    let (queries, cached) = (number("num_heads")?, number("kv_num_heads")?);
    let same = no_key.is_empty()
        && no_value.is_empty()
        && number("do_rotary") == Some(1)
        && number("rotary_interleaved") == Some(0)
        && node.attribute.len() == 4;
    let own = || Node {
        input: [packed, key, value, last, cosines, sines].map(Clone::clone).into(),
        op_type: ATTEND.into(),
        domain: DOMAIN.into(),
        attribute: vec![Attribute::int("queries", queries), Attribute::int("cached", cached)],
        ..node.clone()
    };
    (same && suits(queries, cached, width?)).then(own)
}
