//! The caches of several rows in one piece of memory, which the graph reads and writes in place.
//!
//! Keys and values of all rows lie in a tensor `[rows, heads, positions, width]` each. A run over `count` rows from
//! `first` on gets that part of it as its past *and* as its present: nothing is copied from token to token, and a row
//! that comes or goes copies only itself. The memory is as large as it can ever be needed, but only addresses: the
//! system gives pages as they are written, and takes them back when no row is open.
//!
//! Only graphs that write their cache in place can do this (`GroupQueryAttention`, our own `Attend`); [`Shared::suits`] finds
//! out. What the numbers in it mean is the graph's business.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use memmap2::{MmapMut, MmapOptions};
use ort::AsPointer as _;
use ort::logging::LogLevel;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions};
use ort::value::{DynValue, Shape, TensorRefMut};

use super::adapter::AdapterId;
use super::decoder::Decoder;
use super::error::ModelError;

/// The caches of a fixed number of rows.
pub(crate) struct Shared {
    /// By adapter, first row and number of rows: what a run over them gets. Before `memory`, so that it is dropped
    /// first.
    parts: BTreeMap<(Option<AdapterId>, usize, usize), Part>,
    /// One a cache tensor.
    memory: Vec<MmapMut>,
    rows: usize,
    positions: usize,
    heads: usize,
    width: usize,
}

/// What a run over some neighbouring rows gets.
struct Part {
    past: Vec<DynValue>,
    present: RunOptions<HasSelectedOutputs>,
}

impl Shared {
    /// Memory for `rows` rows of `positions` tokens each.
    pub(crate) fn new(decoder: &Decoder, rows: usize, positions: usize) -> Result<Self, ModelError> {
        let (heads, width) = decoder.cache_shape();
        let bytes = [rows, heads, positions, width, size_of::<f32>()]
            .into_iter()
            .try_fold(1_usize, |product, size| product.checked_mul(size))
            .ok_or_else(|| ModelError::Failed("its cache would be larger than memory".into()))?;
        let map = |_| {
            MmapOptions::new().len(bytes).no_reserve_swap().map_anon().map_err(|error| {
                ModelError::Failed(format!("there is no memory for its cache ({error}): lower `model.context_tokens`"))
            })
        };
        let memory = (0..decoder.cache_tensors()).map(map).collect::<Result<_, _>>()?;
        Ok(Self { parts: BTreeMap::new(), memory, rows, positions, heads, width })
    }

    /// Whether the graph, with this adapter or none, writes its cache in place, and rows of one run are as if each ran
    /// alone. Found out by doing it: the same tokens alone and together, bit by bit.
    pub(crate) fn suits(decoder: &mut Decoder, adapter: Option<AdapterId>) -> bool {
        let mut try_it = || {
            let mut shared = Self::new(decoder, 2, 8)?;
            // The first row is read in two parts; what lies about in unused places must not count.
            shared.memory.iter_mut().for_each(|memory| memory.fill(0x3F));
            let prompts: [&[&[u32]]; 2] = [&[&[1, 2, 3], &[4, 5]], &[&[6, 7]]];
            let (mut alone, mut lengths) = (Vec::new(), Vec::new());
            for (row, prompt) in prompts.iter().enumerate() {
                let (mut cache, mut length) = (decoder.empty_cache()?.with(adapter), 0);
                for tokens in *prompt {
                    let plain = decoder.read(tokens, &mut cache)?;
                    if shared.read(decoder, row, &[(tokens, length)], adapter)? != [plain] {
                        return Ok(false);
                    }
                    length += tokens.len();
                }
                alone.push(decoder.read(&[8], &mut cache)?);
                lengths.push(length);
            }
            let together = shared.read(decoder, 0, &[(&[8], lengths[0]), (&[8], lengths[1])], adapter)?;
            Ok::<_, ModelError>(together == alone)
        };
        // An error is the usual way in which a graph says that its present must not be its past.
        try_it().unwrap_or(false)
    }

    /// Reads as many tokens for each of the rows from `first` on, given with the tokens they have read before; their
    /// logits. All with the same adapter.
    pub(crate) fn read(
        &mut self,
        decoder: &mut Decoder,
        first: usize,
        rows: &[(&[u32], usize)],
        adapter: Option<AdapterId>,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let fits = rows.iter().all(|(tokens, before)| before + tokens.len() <= self.positions);
        if !fits || first + rows.len() > self.rows {
            return Err(ModelError::Failed("a row does not fit into its memory".into()));
        }
        let key = (adapter, first, rows.len());
        if !self.parts.contains_key(&key) {
            let part = self.part(decoder, first, rows.len(), adapter)?;
            self.parts.insert(key, part);
        }
        match self.parts.get(&key) {
            Some(part) => decoder.read_rows(rows, &part.past, &part.present),
            None => Ok(Vec::new()),
        }
    }

    fn part(
        &mut self,
        decoder: &Decoder,
        first: usize,
        count: usize,
        adapter: Option<AdapterId>,
    ) -> Result<Part, ModelError> {
        let shape = [count, self.heads, self.positions, self.width];
        let from = first * self.row_numbers();
        let mut past = Vec::with_capacity(self.memory.len());
        let mut present = OutputSelector::default();
        for (memory, name) in self.memory.iter_mut().zip(decoder.present_names()) {
            past.push(tensor_in(memory, from, shape)?);
            present = present.preallocate(name, tensor_in(memory, from, shape)?);
        }
        let mut options = RunOptions::new()?.with_outputs(present);
        // What fails is reported by us, where it is known what it means.
        options.set_log_level(LogLevel::Fatal)?;
        if let Some(id) = adapter {
            options.add_adapter(&decoder.adapter(id).adapter)?;
        }
        Ok(Part { past, present: options })
    }

    /// Numbers of one row in one tensor.
    fn row_numbers(&self) -> usize {
        self.heads * self.positions * self.width
    }

    /// Where in a tensor's bytes a head's keys or values of the tokens `from` to `to` lie.
    fn bytes_of(&self, row: usize, head: usize, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = (row * self.heads + head) * self.positions;
        let token = self.width * size_of::<f32>();
        (start + from) * token..(start + to) * token
    }

    /// The keys and values of `row`'s tokens `from` to `to`: by tensor, by head, by token.
    pub(crate) fn take(&self, row: usize, from: usize, to: usize) -> Box<[f32]> {
        let mut taken = Vec::with_capacity(self.memory.len() * self.heads * (to - from) * self.width);
        for memory in &self.memory {
            for head in 0..self.heads {
                let bytes = &memory[self.bytes_of(row, head, from, to)];
                taken.extend(bytes.as_chunks().0.iter().map(|number| f32::from_ne_bytes(*number)));
            }
        }
        taken.into()
    }

    /// Puts in place what [`take`](Self::take) gave.
    pub(crate) fn put(&mut self, row: usize, from: usize, to: usize, taken: &[f32]) {
        let ranges: Vec<_> = (0..self.heads).map(|head| self.bytes_of(row, head, from, to)).collect();
        let mut pieces = taken.chunks_exact(((to - from) * self.width).max(1));
        for memory in &mut self.memory {
            for (range, piece) in ranges.iter().zip(&mut pieces) {
                let places = memory[range.clone()].as_chunks_mut().0;
                places.iter_mut().zip(piece).for_each(|(place, number)| *place = number.to_ne_bytes());
            }
        }
    }

    /// Copies the keys and values of the tokens `from` to `to` from one row to another.
    pub(crate) fn copy(&mut self, row: usize, other: usize, from: usize, to: usize) {
        for head in 0..self.heads {
            let (source, target) = (self.bytes_of(row, head, from, to), self.bytes_of(other, head, from, to));
            self.memory.iter_mut().for_each(|memory| memory.copy_within(source.clone(), target.start));
        }
    }

    /// Gives the pages back. What the rows had read is lost.
    pub(crate) fn forget(&mut self) {
        #[cfg(target_os = "linux")]
        for memory in &mut self.memory {
            forget(memory);
        }
    }
}

/// A tensor in a part of `memory`, `from` numbers after its beginning.
#[expect(unsafe_code, reason = "`ort` has no safe way to make an owned tensor in a part of somebody's memory")]
fn tensor_in(memory: &mut MmapMut, from: usize, shape: [usize; 4]) -> Result<DynValue, ModelError> {
    let numbers: usize = shape.iter().product();
    let place = memory
        .get_mut(from * size_of::<f32>()..(from + numbers) * size_of::<f32>())
        .ok_or_else(|| ModelError::Failed("a part of its cache is out of bounds".into()))?;
    let shape = Shape::new(shape.map(|size| i64::try_from(size).unwrap_or(0)));
    // SAFETY: the memory is mapped, as large as the shape says, aligned to a page plus whole numbers, and any bits are
    // an f32. It lives as long as the tensor: `Shared` drops its parts before its memory, and never moves a mapping.
    // While a run reads and writes it, `Shared` is borrowed mutably.
    let tensor = unsafe { TensorRefMut::<f32>::from_raw(MemoryInfo::default(), place.as_mut_ptr().cast(), shape) }?;
    // The borrowed tensor is never dropped, so that the owned one is the only one to release it. Its few bytes on our
    // side are not given back: there is a fixed number of parts.
    let tensor = ManuallyDrop::new(tensor);
    let pointer = NonNull::new(tensor.ptr().cast_mut())
        .ok_or_else(|| ModelError::Failed("a part of its cache could not be made a tensor".into()))?;
    // SAFETY: the pointer is that of a living tensor that nobody else releases.
    Ok(unsafe { DynValue::from_ptr(pointer, Some(&Allocator::default())) })
}

/// Gives the pages of `memory` back to the system; it then reads as zeros.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the memory's content is given up, which memmap2 cannot know to be meant")]
fn forget(memory: &mut MmapMut) {
    // SAFETY: the mapping is private and anonymous, borrowed mutably, and no bits in it are wrong.
    if let Err(error) = unsafe { memory.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) } {
        tracing::debug!(%error, "the model's memory could not be given back");
    }
}
