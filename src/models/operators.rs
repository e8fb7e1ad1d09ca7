//! Operators of our own, in place of ONNX Runtime's where this processor runs them faster: products with 8-bit matrices,
//! and attention. The file of the model stays as it is; its graph is changed as it is loaded. The arithmetic is in
//! `storehand-kernel`.
//!
//! Measured against ONNX Runtime 1.32 on one core with AVX-512 VNNI, they take half of the time or less; the weights are packed
//! once as they are loaded, and the library, which would keep a copy of its own, never sees them.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use ort::Error;
use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::session::Session;
use ort::value::{Shape, TensorElementType, ValueRef, ValueRefMut};
use storehand_kernel::{Attention, Heads, Matrices, Plain, Rounded, attend};

use super::error::ModelError;
use super::onnx::{ATTEND, DATA_FILE, DOMAIN, MULTIPLY, Matrix, Stored, with_own_operators};
use super::runtime::{self, Runtime};

/// Products that are worth another thread's waking: some 10 µs of work.
const PART: usize = 2_000_000;

/// A session over `graph` with our operators in it; nothing where it has none that they could stand for, or this processor
/// lacks the instructions.
pub(crate) fn session(runtime: Runtime<'_>, graph: &Path) -> Result<Option<Session>, ModelError> {
    if !storehand_kernel::suits() {
        return Ok(None);
    }
    let bytes = std::fs::read(graph).map_err(ModelError::io("reading", graph))?;
    let suits = |queries, cached, width| Heads { queries, cached, width }.suit();
    let Some(owned) = with_own_operators(&bytes, suits) else { return Ok(None) };
    // The library lets no file in from outside the folder that it is told: where there are links, to where they lead.
    let data = graph.with_file_name(DATA_FILE);
    let data = data.canonicalize().map_err(ModelError::io("reading", &data))?;
    let Some(folder) = data.parent().filter(|_| data.ends_with(DATA_FILE)).and_then(Path::to_str) else {
        return Ok(None);
    };
    let matrices = pack(&data, &owned.matrices)?;
    // The first of all: it loads the library.
    let builder = runtime::builder(runtime.library, runtime.threads)?;
    let domain = OperatorDomain::new(DOMAIN)?
        .add(Multiply { matrices: Arc::new(matrices), threads: runtime.threads })?
        .add(Attend { threads: runtime.threads })?;
    let session = builder
        .with_operators(domain)?
        // Where the weights lie that the graph still has: a graph in memory has no folder.
        .with_config_entry("session.model_external_initializers_file_folder_path", folder)?
        .commit_from_memory(&owned.graph)
        .map_err(|error| ModelError::not_understood(graph, error.to_string()))?;
    Ok(Some(session))
}

/// Packs matrices that lie in the data file.
#[expect(unsafe_code, reason = "mapping a file is unsafe because another process may cut it short meanwhile")]
fn pack(path: &Path, matrices: &[Matrix]) -> Result<Matrices, ModelError> {
    let file = File::open(path).map_err(ModelError::io("reading", path))?;
    // SAFETY: as for every model file, which ONNX Runtime maps as well: nobody writes it while it is in use.
    let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io("reading", path))?;
    let part = |stored: Stored| {
        let from = usize::try_from(stored.offset).ok()?;
        map.get(from..from.checked_add(usize::try_from(stored.length).ok()?)?)
    };
    let foreign = |why: String| ModelError::not_understood(path, why);
    let plain = matrices.iter().map(|it| {
        let plain = Plain { weights: part(it.weights)?, scales: part(it.scales)?, columns: it.columns };
        (Some(plain.weights.len()) == it.rows.checked_mul(it.columns)).then_some(plain)
    });
    let plain: Option<Vec<_>> = plain.collect();
    Matrices::pack(&plain.ok_or_else(|| foreign("its weights are not what the graph says".into()))?).map_err(foreign)
}

/// Runs work in parts on the session's own threads.
fn spread<R>(context: &ComputeContext, run: impl FnOnce(storehand_kernel::Spread<'_>) -> R) -> ort::Result<R> {
    let failed = RefCell::new(Ok(()));
    let done = run(&|parts, work| {
        if let Err(error) = context.par_for(parts, 0, work) {
            *failed.borrow_mut() = Err(error);
        }
    });
    failed.into_inner().map(|()| done)
}

fn sizes(shape: &Shape) -> Vec<usize> {
    shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
}

fn missing() -> Error {
    Error::new("an operator has not all its inputs and outputs")
}

/// `Multiply`: rows of floats times a matrix.
struct Multiply {
    matrices: Arc<Matrices>,
    threads: usize,
}

impl Operator for Multiply {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        MULTIPLY
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let place = node.get::<i64>("matrix").and_then(|place| usize::try_from(place).ok());
        let found = place.and_then(|place| Some((place, self.matrices.size(place)?)));
        let (place, (rows, columns)) = found.ok_or_else(|| Error::new("a product names no matrix"))?;
        let matrices = Arc::clone(&self.matrices);
        let (mut rounded, threads) = (Rounded::default(), self.threads);
        Ok(Box::new(move |context: &ComputeContext| {
            let input = context.input(0)?.ok_or_else(missing)?;
            let (shape, numbers) = input.try_extract_tensor::<f32>()?;
            let mut shape = shape.to_vec();
            if shape.last().copied() != i64::try_from(columns).ok() {
                return Err(Error::new(format!("a product of {shape:?} with {columns} columns")));
            }
            if let Some(last) = shape.last_mut() {
                *last = i64::try_from(rows).unwrap_or(0);
            }
            let mut output = context.output(0, shape)?.ok_or_else(missing)?;
            let (_, out) = output.try_extract_tensor_mut::<f32>()?;
            if !rounded.take(numbers, columns) {
                return Err(Error::new("a product with a matrix of no columns"));
            }
            let parts = (numbers.len() * rows / PART).clamp(1, threads);
            spread(context, |spread| matrices.multiply(place, &rounded, out, parts, spread))
        }))
    }
}

/// `Attend`: what `GroupQueryAttention` does.
struct Attend {
    threads: usize,
}

impl Operator for Attend {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        ATTEND
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = || OperatorInput::required(TensorElementType::Float32);
        [float(), float(), float(), OperatorInput::required(TensorElementType::Int32), float(), float()]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [(); 3].map(|()| OperatorOutput::required(TensorElementType::Float32))
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let number = |name| node.get::<i64>(name).and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
        let (queries, cached, threads) = (number("queries"), number("cached"), self.threads);
        if !(Heads { queries, cached, width: 32 }.suit()) {
            return Err(Error::new(format!("attention with {queries} heads over {cached}")));
        }
        Ok(Box::new(move |context: &ComputeContext| {
            let input = |at| context.input(at)?.ok_or_else(missing);
            let (packed, lengths, cosines, sines) = (input(0)?, input(3)?, input(4)?, input(5)?);
            let (shape, packed) = packed.try_extract_tensor::<f32>()?;
            let (_, last) = lengths.try_extract_tensor::<i32>()?;
            let shape = sizes(shape);
            let (past, values) = (sizes(input(1)?.shape()), sizes(input(2)?.shape()));
            let (&[rows, tokens, _], &[_, _, places, cache_width]) = (shape.as_slice(), past.as_slice()) else {
                return Err(Error::new(format!("attention of {shape:?} over {past:?}")));
            };
            if past != [rows, cached, places, cache_width] || past != values || cache_width == 0 {
                return Err(Error::new(format!("attention of {shape:?} over {past:?} and {values:?}")));
            }
            // Two 16-bit numbers in the place of one.
            let width = 2 * cache_width;
            // A row's last position is that of its last new token.
            let ends: Vec<usize> = last.iter().map(|&last| usize::try_from(last).map_or(0, |last| last + 1)).collect();
            let before: Option<Vec<usize>> = ends.iter().map(|end| end.checked_sub(tokens)).collect();
            let before = before.filter(|before| before.len() == rows && before.iter().all(|it| *it <= places));
            let before = before.ok_or_else(|| Error::new(format!("attention of {shape:?} up to {ends:?}")))?;
            let enough = ends.iter().fold(places, |most, end| most.max(*end));
            let whole = |size: usize| i64::try_from(size).unwrap_or(0);
            let mut attended = context.output(0, [rows, tokens, queries * width].map(whole))?.ok_or_else(missing)?;
            let cache = [rows, cached, enough, cache_width].map(whole);
            let mut present =
                [context.output(1, cache)?.ok_or_else(missing)?, context.output(2, cache)?.ok_or_else(missing)?];
            for (at, present) in present.iter_mut().enumerate() {
                carry_over(&input(1 + at)?, present, (places, enough), &before, cache_width)?;
            }
            let [keys, values] = &mut present;
            let (_, keys) = keys.try_extract_tensor_mut::<f32>()?;
            let (_, values) = values.try_extract_tensor_mut::<f32>()?;
            let (_, out) = attended.try_extract_tensor_mut::<f32>()?;
            let what = Attention {
                heads: Heads { queries, cached, width },
                packed,
                before: &before,
                places: enough,
                cosines: cosines.try_extract_tensor::<f32>()?.1,
                sines: sines.try_extract_tensor::<f32>()?.1,
            };
            let products = 2 * ends.iter().sum::<usize>() * tokens * queries * width;
            let parts = (products / PART).clamp(1, threads);
            let fits = spread(context, |spread| attend(what, keys, values, out, parts, spread))?;
            if fits { Ok(()) } else { Err(Error::new(format!("attention of {shape:?} over {past:?} up to {ends:?}"))) }
        }))
    }
}

/// Copies what the rows had before, where the new cache is not the old one's memory.
fn carry_over(
    past: &ValueRef<'_>,
    present: &mut ValueRefMut<'_>,
    (places, enough): (usize, usize),
    before: &[usize],
    width: usize,
) -> ort::Result<()> {
    let address = |numbers: &[f32]| numbers.as_ptr();
    if places == 0 || address(past.try_extract_tensor()?.1) == address(present.try_extract_tensor_mut()?.1) {
        return Ok(());
    }
    let (past, present) = (past.try_extract_tensor::<f32>()?.1, present.try_extract_tensor_mut::<f32>()?.1);
    let heads = past.len() / (places * width) / before.len().max(1);
    let runs = past.chunks_exact(places * width).zip(present.chunks_exact_mut(enough * width));
    for (at, (past, present)) in runs.enumerate() {
        let had = before[at / heads] * width;
        present[..had].copy_from_slice(&past[..had]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::convert::convert;
    use super::super::decoder::Decoder;
    use super::super::folder::Folder;
    use super::super::gguf::Quant;
    use super::super::settings::{Operators, Settings};
    use super::super::tests::{random_llama, real};
    use super::*;

    fn suited(queries: usize, cached: usize, width: usize) -> bool {
        (queries, cached, width) == (4, 2, 32)
    }

    /// Of a model of two layers, nine products and two attentions are ours; the rest of the graph stays.
    #[test]
    fn graphs_that_we_wrote_get_our_operators_and_others_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("folder");
        let (gguf, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
        std::fs::write(&gguf, random_llama(5, Quant::Q8_0, true).bytes()).expect("written");
        convert(&gguf, &out, |_| {}).expect("converted");
        let graph = std::fs::read(out.join("model.onnx")).expect("a graph");
        let owned = with_own_operators(&graph, suited).expect("our operators");
        let count =
            |graph: &[u8], name: &str| graph.windows(name.len()).filter(|window| *window == name.as_bytes()).count();
        assert_eq!((owned.matrices.len(), count(&owned.graph, MULTIPLY), count(&owned.graph, ATTEND)), (9, 9, 2));
        assert_eq!((count(&owned.graph, "MatMulNBits"), count(&owned.graph, "GroupQueryAttention")), (0, 0));
        // The head has the embedding's weights, which stay in the graph.
        assert_eq!((count(&graph, "head_weight"), count(&owned.graph, "head_weight")), (2, 0));
        assert!(count(&owned.graph, "embedding") > 0);
        let none = with_own_operators(&graph, |_, _, _| false).expect("products only");
        assert_eq!((none.matrices.len(), count(&none.graph, "GroupQueryAttention")), (9, 2));

        let mut foreign = graph.clone();
        let at = graph.windows(9).position(|window| window == b"storehand").expect("its maker");
        foreign[at] = b'x';
        assert!(with_own_operators(&foreign, suited).is_none());
        assert!(with_own_operators(&graph[..graph.len() / 2], suited).is_none());
        assert!(with_own_operators(b"", suited).is_none());
    }

    /// Ours and the library's differ by what rounding to 8 bits makes of small differences, several threads and one not at
    /// all; the cache takes half as much.
    #[test]
    fn our_operators_say_what_the_librarys_say() {
        let Some(settings) = real("our_operators_say_what_the_librarys_say") else { return };
        if !storehand_kernel::suits() {
            return eprintln!("SKIPPED: our_operators_say_what_the_librarys_say: this processor has no AVX-512 VNNI");
        }
        let folder = Folder::read(&settings.folder).expect("the default model");
        let mut decoders = [(Operators::Own, 1), (Operators::Own, 3), (Operators::Library, 1)].map(|how| {
            let settings = Settings { operators: how.0, threads: how.1, ..settings.clone() };
            Decoder::load(settings.runtime().expect("runtime"), &folder.graph, &folder.shape).expect("decoder")
        });
        assert_eq!(decoders.each_ref().map(Decoder::cache_shape), [(3, 32), (3, 32), (3, 64)]);
        let text = "The mug of order 1042 left the house this morning, and the parcel will be with you on Friday.";
        let tokens = folder.tokens.encode(text).expect("tokens");
        let mut caches = decoders.each_ref().map(|decoder| decoder.empty_cache().expect("cache"));
        let (mut same, mut apart, mut size) = (0, 0.0, 0.0);
        for (step, token) in tokens.chunks(1).enumerate() {
            let mut logits =
                decoders.iter_mut().zip(&mut caches).map(|(it, cache)| it.read(token, cache).expect("read"));
            let (own, threads, library) =
                (logits.next().expect("own"), logits.next().expect("threads"), logits.next().expect("library"));
            assert_eq!(own, threads, "step {step}");
            apart += own.iter().zip(&library).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            size += library.iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
            let likeliest =
                |logits: &[f32]| logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
            same += usize::from(likeliest(&own) == likeliest(&library));
        }
        assert!(apart < 0.02 * size, "{}", apart / size);
        assert!(same * 10 >= tokens.len() * 8, "{same} of {}", tokens.len());
    }

    #[test]
    fn weights_that_end_early_are_not_understood() {
        let Some(settings) = real("weights_that_end_early_are_not_understood") else { return };
        if !storehand_kernel::suits() {
            return eprintln!("SKIPPED: weights_that_end_early_are_not_understood: this processor has no AVX-512 VNNI");
        }
        let folder = tempfile::tempdir().expect("folder");
        let (gguf, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
        std::fs::write(&gguf, random_llama(5, Quant::Q8_0, true).bytes()).expect("written");
        convert(&gguf, &out, |_| {}).expect("converted");
        let data = out.join(DATA_FILE);
        let length = std::fs::metadata(&data).expect("weights").len();
        File::options().write(true).open(&data).and_then(|file| file.set_len(length - 5000)).expect("cut");
        let runtime = settings.runtime().expect("runtime");
        let error = session(runtime, &out.join("model.onnx")).expect_err("an error").to_string();
        assert!(error.contains("model.onnx.data") && error.contains("weights"), "{error}");
    }
}
