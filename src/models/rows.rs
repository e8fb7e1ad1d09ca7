//! Rows: texts that are read and written at the same time, each with its cache.
//!
//! A row is opened, read into, written token by token together with others, and closed. Which place it has in the
//! memory is nobody else's business: rows that are written together are moved next to each other when needed, and a
//! row that ends is replaced by the last one. A graph that cannot be run over several rows has a cache of its own for
//! each, and writes them one after another: slower, and the same answers. So do those with an encoder, which read a prompt
//! as a whole.
//!
//! *Architecture Invariant*: what a row reads and writes does not depend on the other rows, bit by bit.

use std::collections::BTreeMap;

use super::adapter::AdapterId;
use super::decoder::{Cache, Decoder};
use super::error::ModelError;
use super::seq2seq::{EncoderDecoder, Memory};
use super::shared::Shared;

/// Names an open row. Not to be used after it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowId(usize);

/// A model with the caches of several rows.
pub(crate) struct Rows {
    caches: Caches,
    rows: Vec<Option<Row>>,
}

enum Caches {
    /// In one piece of memory; the row in each place.
    Together(Box<Decoder>, Shared, Vec<Option<RowId>>),
    /// By row.
    Apart(Box<Decoder>, Vec<Option<Cache>>),
    /// By row, once its prompt was read.
    Encoded(Box<EncoderDecoder>, Vec<Option<Memory>>),
}

struct Row {
    /// Tokens read and written.
    length: usize,
    /// Its place in the shared memory.
    place: usize,
    adapter: Option<AdapterId>,
}

impl Rows {
    /// Up to `rows` rows of up to `positions` tokens.
    pub(crate) fn new(mut decoder: Decoder, rows: usize, positions: usize) -> Result<Self, ModelError> {
        let caches = if Shared::suits(&mut decoder, None) {
            for adapter in decoder.adapters() {
                let together = Shared::suits(&mut decoder, Some(adapter));
                decoder.set_together(adapter, together);
            }
            let shared = Shared::new(&decoder, rows, positions)?;
            Caches::Together(Box::new(decoder), shared, vec![None; rows])
        } else {
            tracing::info!("the model's graph cannot run several rows at once: they are run one after another");
            decoder.find_pace()?;
            Caches::Apart(Box::new(decoder), (0..rows).map(|_| None).collect())
        };
        Ok(Self { caches, rows: (0..rows).map(|_| None).collect() })
    }

    /// Up to `rows` rows of a model with an encoder.
    pub(crate) fn encoded(model: EncoderDecoder, rows: usize) -> Self {
        let caches = Caches::Encoded(Box::new(model), (0..rows).map(|_| None).collect());
        Self { caches, rows: (0..rows).map(|_| None).collect() }
    }

    /// Whether a prompt must be read in one piece.
    pub(crate) fn reads_whole(&self) -> bool {
        matches!(self.caches, Caches::Encoded(..))
    }

    /// How many more can be opened.
    pub(crate) fn free(&self) -> usize {
        self.rows.iter().filter(|row| row.is_none()).count()
    }

    /// Opens an empty row to be read and written with an adapter or none, where there is a free one.
    pub(crate) fn open(&mut self, adapter: Option<AdapterId>) -> Result<Option<RowId>, ModelError> {
        let Some(at) = self.rows.iter().position(Option::is_none) else { return Ok(None) };
        let id = RowId(at);
        let place = match &mut self.caches {
            Caches::Together(_, _, places) => {
                let place = places.iter().position(Option::is_none).unwrap_or(0);
                places[place] = Some(id);
                place
            }
            Caches::Apart(decoder, caches) => {
                caches[at] = Some(decoder.empty_cache()?.with(adapter));
                0
            }
            Caches::Encoded(..) => 0,
        };
        self.rows[at] = Some(Row { length: 0, place, adapter });
        Ok(Some(id))
    }

    /// Ends a row.
    pub(crate) fn close(&mut self, id: RowId) {
        let Some(row) = self.rows[id.0].take() else { return };
        match &mut self.caches {
            Caches::Together(_, shared, places) => {
                places[row.place] = None;
                if places.iter().all(Option::is_none) {
                    shared.forget();
                }
            }
            Caches::Apart(_, caches) => caches[id.0] = None,
            Caches::Encoded(_, memories) => memories[id.0] = None,
        }
    }

    fn at(&self, id: RowId) -> (usize, usize) {
        self.rows[id.0].as_ref().map_or((0, 0), |row| (row.place, row.length))
    }

    fn adapter(&self, id: RowId) -> Option<AdapterId> {
        self.rows[id.0].as_ref().and_then(|row| row.adapter)
    }

    fn grow(&mut self, id: RowId, tokens: usize) {
        if let Some(row) = &mut self.rows[id.0] {
            row.length += tokens;
        }
    }

    /// Reads a part of a prompt into a row; the logits after it.
    pub(crate) fn read(&mut self, id: RowId, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let ((place, length), adapter) = (self.at(id), self.adapter(id));
        let logits = match &mut self.caches {
            Caches::Together(decoder, shared, _) => {
                shared.read(decoder, place, &[(tokens, length)], adapter)?.pop().unwrap_or_default()
            }
            Caches::Apart(decoder, caches) => match &mut caches[id.0] {
                Some(cache) => decoder.read(tokens, cache)?,
                None => Vec::new(),
            },
            Caches::Encoded(model, memories) => match &mut memories[id.0] {
                none @ None => {
                    let (memory, logits) = model.begin(tokens)?;
                    *none = Some(memory);
                    logits
                }
                Some(memory) => {
                    let mut logits = Vec::new();
                    for token in tokens {
                        logits = model.write(*token, memory)?;
                    }
                    logits
                }
            },
        };
        self.grow(id, tokens.len());
        Ok(logits)
    }

    /// Writes one token to each of the rows; the logits after it, by row.
    pub(crate) fn write(&mut self, tokens: &[(RowId, u32)]) -> Result<Vec<Vec<f32>>, ModelError> {
        if !matches!(self.caches, Caches::Together(..)) {
            return tokens.iter().map(|(id, token)| self.read(*id, &[*token])).collect();
        }
        // What is written with different adapters cannot be one run, nor, with most, what is written with the same. Those
        // of one run have neighbouring places.
        let mut groups: BTreeMap<Option<AdapterId>, Vec<usize>> = BTreeMap::new();
        for (at, (id, _)) in tokens.iter().enumerate() {
            groups.entry(self.adapter(*id)).or_default().push(at);
        }
        let mut logits = vec![Vec::new(); tokens.len()];
        let mut first = 0;
        for (adapter, mut group) in groups {
            if self.runs_alone(adapter) {
                for at in group {
                    let (id, token) = &tokens[at];
                    let (place, length) = self.at(*id);
                    if let Caches::Together(decoder, shared, _) = &mut self.caches {
                        let feed = [(std::slice::from_ref(token), length)];
                        logits[at] = shared.read(decoder, place, &feed, adapter)?.pop().unwrap_or_default();
                    }
                }
                continue;
            }
            let ids: Vec<RowId> = group.iter().map(|&at| tokens[at].0).collect();
            self.gather(&ids, first);
            group.sort_unstable_by_key(|&at| self.at(tokens[at].0).0);
            let feed: Vec<(&[u32], usize)> =
                group.iter().map(|&at| (std::slice::from_ref(&tokens[at].1), self.at(tokens[at].0).1)).collect();
            if let Caches::Together(decoder, shared, _) = &mut self.caches {
                for (at, row) in group.iter().zip(shared.read(decoder, first, &feed, adapter)?) {
                    logits[*at] = row;
                }
            }
            first += group.len();
        }
        tokens.iter().for_each(|(id, _)| self.grow(*id, 1));
        Ok(logits)
    }

    /// Whether rows with this adapter must be runs of their own.
    fn runs_alone(&self, adapter: Option<AdapterId>) -> bool {
        let Caches::Together(decoder, ..) = &self.caches else { return true };
        adapter.is_some_and(|id| !decoder.adapter(id).together)
    }

    /// Moves rows so that these have the places from `first` on. The places before stay as they are.
    fn gather(&mut self, ids: &[RowId], first: usize) {
        let wanted = |id: Option<RowId>| id.is_some_and(|id| ids.contains(&id));
        let places_of = first..first + ids.len();
        for &id in ids {
            let (from, length) = self.at(id);
            if places_of.contains(&from) {
                continue;
            }
            let Caches::Together(_, shared, places) = &mut self.caches else { return };
            // There is one: as many places as rows, and this row is in none of them.
            let Some(to) = places_of.clone().find(|&place| !wanted(places[place])) else { return };
            let other = places[to];
            let other_length = other.map_or(0, |other| self.rows[other.0].as_ref().map_or(0, |row| row.length));
            let kept = other.map(|_| shared.take(to, 0, other_length));
            shared.copy(from, to, 0, length);
            if let Some(kept) = kept {
                shared.put(from, 0, other_length, &kept);
            }
            places.swap(from, to);
            for (id, place) in [(Some(id), to), (other, from)] {
                if let Some(row) = id.and_then(|id| self.rows[id.0].as_mut()) {
                    row.place = place;
                }
            }
        }
    }

    /// Makes `to` what `from` is. Of what `to` has read, the first `same` tokens are those of `from`, and are not copied.
    pub(crate) fn copy(&mut self, from: RowId, to: RowId, same: usize) -> Result<(), ModelError> {
        let ((source, length), (target, there)) = (self.at(from), self.at(to));
        match &mut self.caches {
            Caches::Together(_, shared, _) => shared.copy(source, target, same.min(there), length),
            Caches::Apart(_, caches) => caches[to.0] = caches[from.0].as_ref().map(Cache::copy).transpose()?,
            Caches::Encoded(_, memories) => memories[to.0] = memories[from.0].as_ref().map(Memory::copy).transpose()?,
        }
        if let Some(row) = &mut self.rows[to.0] {
            row.length = length;
        }
        Ok(())
    }

    /// The keys and values of a row's last `tokens` tokens.
    pub(crate) fn take_last(&self, id: RowId, tokens: usize) -> Result<Box<[f32]>, ModelError> {
        let (place, length) = self.at(id);
        let from = length - tokens.min(length);
        match &self.caches {
            Caches::Together(_, shared, _) => Ok(shared.take(place, from, length)),
            Caches::Encoded(..) => Ok(Box::default()),
            Caches::Apart(_, caches) => {
                caches[id.0].as_ref().map_or(Ok(Box::default()), |cache| cache.take(from, length))
            }
        }
    }

    /// Appends what [`take_last`](Self::take_last) gave of other rows, pieces of `tokens` tokens each: as if the row
    /// had read them.
    pub(crate) fn put(&mut self, id: RowId, pieces: &[&[f32]], tokens: usize) -> Result<(), ModelError> {
        let ((place, length), adapter) = (self.at(id), self.adapter(id));
        match &mut self.caches {
            // What an encoder reads depends on all of the prompt: there are no pieces of it.
            Caches::Encoded(..) => return Ok(()),
            Caches::Together(_, shared, _) => {
                for (at, piece) in pieces.iter().enumerate() {
                    let from = length + at * tokens;
                    shared.put(place, from, from + tokens, piece);
                }
            }
            Caches::Apart(decoder, caches) => {
                let before = match &caches[id.0] {
                    Some(cache) => (0..length / tokens.max(1))
                        .map(|at| cache.take(at * tokens, (at + 1) * tokens))
                        .collect::<Result<Vec<_>, _>>()?,
                    None => Vec::new(),
                };
                let all: Vec<&[f32]> = before.iter().map(AsRef::as_ref).chain(pieces.iter().copied()).collect();
                let (shape, tensors) = (decoder.cache_shape(), decoder.cache_tensors());
                caches[id.0] = Some(Cache::of(&all, tokens, shape, tensors)?.with(adapter));
            }
        }
        self.grow(id, pieces.len() * tokens);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::convert::convert;
    use super::super::folder::Folder;
    use super::super::gguf::Quant;
    use super::super::random_tests::folder;
    use super::super::settings::{Operators, Settings};
    use super::super::tests::{random_llama, real};
    use super::*;

    /// Rows in one memory and rows apart: the same numbers, whatever is opened, closed, moved, copied and put in.
    #[test]
    fn rows_together_are_as_rows_apart() {
        let Some(settings) = real("rows_together_are_as_rows_apart") else { return };
        let folder = tempfile::tempdir().expect("folder");
        let (gguf, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
        std::fs::write(&gguf, random_llama(5, Quant::Q8_0, true).bytes()).expect("written");
        convert(&gguf, &out, |_| {}).expect("converted");
        let read = Folder::read(&out).expect("folder");
        for operators in [Operators::Own, Operators::Library] {
            let settings = Settings { operators, ..settings.clone() };
            let decoder =
                || Decoder::load(settings.runtime().expect("library"), &read.graph, &read.shape).expect("decoder");
            let together = Rows::new(decoder(), 4, 64).expect("rows");
            assert!(matches!(together.caches, Caches::Together(..)));
            let apart = Rows {
                caches: Caches::Apart(Box::new(decoder()), vec![None, None, None, None]),
                rows: together.rows.iter().map(|_| None).collect(),
            };
            let done: Vec<Vec<Vec<f32>>> = [together, apart].map(play).into();
            assert!(done[0].len() > 8 && done[0] == done[1]);
        }
    }

    /// Rows with different adapters beside each other, and rows that come and go: the same numbers as apart where each is a
    /// run of its own, and but for rounding where those with the same adapter are one.
    #[test]
    fn rows_with_adapters_are_as_rows_apart() {
        let Some(settings) = real("rows_with_adapters_are_as_rows_apart") else { return };
        let read = Folder::read(&folder("lora")).expect("folder");
        let decoder = || {
            let mut decoder =
                Decoder::load(settings.runtime().expect("library"), &read.graph, &read.shape).expect("decoder");
            decoder.take_adapters(&read.adapters).expect("adapters");
            decoder
        };
        let (exact, mut fast) =
            (Rows::new(decoder(), 6, 64).expect("rows"), Rows::new(decoder(), 6, 64).expect("rows"));
        assert!(matches!(exact.caches, Caches::Together(..)));
        if let Caches::Together(decoder, ..) = &mut fast.caches {
            decoder.adapters().for_each(|id| decoder.set_together(id, true));
        }
        let apart = Rows {
            caches: Caches::Apart(Box::new(decoder()), (0..6).map(|_| None).collect()),
            rows: (0..6).map(|_| None).collect(),
        };
        let [exact, fast, apart] = [exact, fast, apart].map(play_with_adapters);
        assert!(exact.len() > 20 && exact == apart);
        assert_eq!(fast.len(), apart.len());
        for (fast, apart) in fast.iter().flatten().zip(apart.iter().flatten()) {
            assert!((fast - apart).abs() < 1e-3, "{fast} is {apart}");
        }
    }

    fn play_with_adapters(mut rows: Rows) -> Vec<Vec<f32>> {
        let [one, two] = [Some(AdapterId(0)), Some(AdapterId(1))];
        let (mut said, mut open) = (Vec::new(), Vec::new());
        for (adapter, text) in [
            (two, &[7_u32, 8, 9][..]),
            (None, &[20, 21]),
            (one, &[7, 8, 9]),
            (two, &[30]),
            (None, &[7, 8, 9]),
            (one, &[40, 41]),
        ] {
            let row = rows.open(adapter).expect("opened").expect("a free row");
            said.push(rows.read(row, text).expect("read"));
            open.push(row);
        }
        // The same text is read in another way by each.
        assert!(said[0] != said[2] && said[0] != said[4] && said[2] != said[4]);
        let mut write = |rows: &mut Rows, which: &[usize], token: u32| {
            let tokens: Vec<(RowId, u32)> = which.iter().map(|&at| (open[at], token + at as u32)).collect();
            said.extend(rows.write(&tokens).expect("written"));
        };
        write(&mut rows, &[0, 1, 2, 3, 4, 5], 50);
        write(&mut rows, &[5, 3, 1], 60);
        rows.close(open[1]);
        write(&mut rows, &[4, 2, 0, 5], 70);
        rows.copy(open[0], open[3], 0).expect("copied");
        write(&mut rows, &[3, 0, 4], 80);
        said
    }

    fn play(mut rows: Rows) -> Vec<Vec<f32>> {
        let mut said = Vec::new();
        let open = |rows: &mut Rows| rows.open(None).expect("opened").expect("a free row");
        let (a, b, c) = (open(&mut rows), open(&mut rows), open(&mut rows));
        for (row, text) in [(a, &[7_u32, 8, 9, 10][..]), (b, &[20, 21]), (c, &[30, 31, 32])] {
            said.push(rows.read(row, text).expect("read"));
        }
        said.extend(rows.write(&[(a, 40), (b, 41), (c, 42)]).expect("written"));
        let kept = rows.take_last(a, 5).expect("taken");
        // What stands before the last one goes: it moves.
        rows.close(a);
        said.extend(rows.write(&[(c, 50), (b, 51)]).expect("written"));
        // A row that is not written changes places with one that is.
        said.extend(rows.write(&[(c, 52)]).expect("written"));
        let d = open(&mut rows);
        rows.put(d, &[&kept], 5).expect("put");
        said.extend(rows.write(&[(b, 60), (d, 61)]).expect("written"));
        let e = open(&mut rows);
        rows.copy(d, e, 0).expect("copied");
        said.extend(rows.write(&[(e, 70), (d, 71), (c, 72)]).expect("written"));
        rows.copy(e, d, 5).expect("copied");
        said.extend(rows.write(&[(d, 80), (e, 80)]).expect("written"));
        assert_eq!(said[said.len() - 1], said[said.len() - 2]);
        let f = rows.open(None).expect("asked");
        assert!(f.is_none() && rows.free() == 0);
        [b, c, d, e].into_iter().for_each(|row| rows.close(row));
        assert_eq!(rows.free(), 4);
        // The memory was given back, and works again.
        let again = open(&mut rows);
        said.push(rows.read(again, &[7, 8, 9, 10]).expect("read"));
        assert_eq!(said[said.len() - 1], said[0]);
        said
    }
}
