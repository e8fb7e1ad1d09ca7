//! From a GGUF file to a model folder that ONNX Runtime runs fast, and a check that it is still the same model.
//!
//! *Architecture Invariant*: a folder is written whole or not at all: everything goes into a folder beside it that is
//! renamed at the end.

mod check;
mod graph;
mod llama;
pub(super) mod reference;
mod tokenizer;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::ModelError;
use super::gguf::Gguf;
use super::onnx::Writer;
pub use check::{Agreement, check};
pub(super) use graph::Activations;
use llama::Llama;

/// Goes up when the same GGUF file is converted into something else.
pub(crate) const VERSION: u32 = 1;

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Layers written.
    pub done: usize,
    /// Layers in all.
    pub of: usize,
}

/// Converts `gguf` into the new folder `out`.
///
/// # Errors
/// Where the file is broken or not understood, where `out` is there already, and where the disk says no.
pub fn convert(gguf: &Path, out: &Path, progress: impl FnMut(Progress)) -> Result<(), ModelError> {
    convert_with(gguf, out, Activations::Rounded, progress)
}

fn convert_with(
    gguf: &Path,
    out: &Path,
    activations: Activations,
    mut progress: impl FnMut(Progress),
) -> Result<(), ModelError> {
    if out.exists() {
        let why = "it is there already; remove it, or name another folder";
        return Err(ModelError::not_understood(out, why));
    }
    let gguf = Gguf::open(gguf)?;
    let llama = Llama::new(&gguf)?;
    let partial = Partial::new(out)?;
    for (name, content) in tokenizer::files(&gguf, &llama)? {
        let path = partial.0.join(name);
        let mut file = File::create(&path).map_err(ModelError::io("writing", &path))?;
        file.write_all(content.to_string().as_bytes()).map_err(ModelError::io("writing", &path))?;
        file.sync_all().map_err(ModelError::io("writing", &path))?;
    }
    let writer = Writer::new(&partial.0, "decoder")?;
    graph::write(&llama, activations, writer, &mut |done| progress(Progress { done, of: llama.layers }))?;
    partial.rename(out)
}

/// A folder being written. It is removed unless it is renamed.
pub(super) struct Partial(PathBuf);

impl Partial {
    pub(super) fn new(out: &Path) -> Result<Self, ModelError> {
        let name = out.file_name().ok_or_else(|| ModelError::Request("the folder to write has no name".into()))?;
        let parent = out.parent().unwrap_or(Path::new("."));
        let path = parent.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(ModelError::io("making", &path))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn rename(self, out: &Path) -> Result<(), ModelError> {
        fs::rename(&self.0, out).map_err(ModelError::io("renaming to", out))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::decoder::Decoder;
    use super::super::folder::Folder;
    use super::super::gguf::Quant;
    use super::super::sampler::likeliest;
    use super::super::settings::{Operators, Settings};
    use super::super::tests::{random_llama, real};
    use super::*;

    /// A random model, converted and loaded, beside its plain forward: greedy, token by token.
    #[test]
    fn a_random_model_writes_what_its_plain_forward_writes() {
        let test = "a_random_model_writes_what_its_plain_forward_writes";
        let Some(settings) = real(test) else { return };
        for (quant, tied, activations, allowed) in [
            // 8-bit weights are taken over exactly: only the order of additions differs.
            (Quant::Q8_0, true, Activations::Kept, 1e-4),
            (Quant::Q8_0, false, Activations::Kept, 1e-4),
            // Weights that were not at 8 bits are rounded to them,
            (Quant::F32, true, Activations::Kept, 0.1),
            // And activations are. Random weights suffer more from this than trained ones; a mistake makes it 1.
            (Quant::Q8_0, true, Activations::Rounded, 0.1),
        ] {
            for operators in [Operators::Own, Operators::Library] {
                let settings = Settings { operators, ..settings.clone() };
                let (differs, tokens) = compare_random(&settings, quant, tied, activations);
                assert!(
                    differs < allowed,
                    "{quant:?} tied {tied}, {activations:?}, {operators:?}: logits differ by {differs} of the largest"
                );
                if activations == Activations::Kept && quant == Quant::Q8_0 {
                    assert!(tokens.iter().all(|(ours, full)| ours == full), "{tokens:?}");
                }
            }
        }
    }

    /// By how much logits differ at most, and each token written, by the graph and by the plain forward.
    fn compare_random(
        settings: &Settings,
        quant: Quant,
        tied: bool,
        activations: Activations,
    ) -> (f32, Vec<(u32, u32)>) {
        let folder = tempfile::tempdir().expect("folder");
        let (path, out) = (folder.path().join("model.gguf"), folder.path().join("model"));
        fs::write(&path, random_llama(3, quant, tied).bytes()).expect("written");
        let mut steps = Vec::new();
        convert_with(&path, &out, activations, |progress| steps.push(progress.done)).expect("converted");
        assert_eq!(steps, [1, 2]);

        let gguf = Gguf::open(&path).expect("gguf");
        let llama = Llama::new(&gguf).expect("llama");
        let read = Folder::read(&out).expect("folder");
        let mut decoder =
            Decoder::load(settings.runtime().expect("library"), &read.graph, &read.shape).expect("decoder");
        assert_eq!(read.end, [260]);
        let (mut differs, mut tokens) = (0.0_f32, Vec::new());
        for prompt in [vec![259], vec![259, 104, 101, 108, 108, 111], (40..90).collect()] {
            let mut text = prompt.clone();
            let mut cache = decoder.empty_cache().expect("cache");
            let mut logits = decoder.read(&prompt, &mut cache).expect("logits");
            assert_eq!(logits.len(), 261);
            for _ in 0..12 {
                let full = reference::forward(&llama, std::slice::from_ref(&text)).expect("forward");
                let full = &full[0][text.len() - 1];
                let largest = full.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
                for (ours, theirs) in logits.iter().zip(full) {
                    differs = differs.max((ours - theirs).abs() / largest);
                }
                tokens.push((likeliest(&logits), likeliest(full)));
                text.push(likeliest(full));
                logits = decoder.read(&[likeliest(full)], &mut cache).expect("logits");
            }
        }
        (differs, tokens)
    }

    #[test]
    fn nothing_is_left_behind_when_it_fails() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model.gguf");
        let mut bytes = random_llama(3, Quant::Q8_0, true).bytes();
        // Another architecture, of the same length.
        let at = bytes.windows(5).position(|it| it == b"llama").expect("its name");
        let key = bytes[at + 5..].windows(5).position(|it| it == b"llama").map(|next| at + 5 + next);
        assert!(key.is_some());
        bytes[at..at + 5].copy_from_slice(b"mamba");
        fs::write(&path, bytes).expect("written");
        let error = convert(&path, &folder.path().join("out"), |_| {}).expect_err("mamba");
        assert!(error.to_string().contains("`mamba`"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);

        fs::write(&path, random_llama(3, Quant::Q8_0, true).bytes()).expect("written");
        fs::create_dir(folder.path().join("out")).expect("out");
        let error = convert(&path, &folder.path().join("out"), |_| {}).expect_err("there already");
        assert!(error.to_string().contains("there already"), "{error}");
    }

    /// The default model, as `fetch` left it, against its original: all of the file's kinds of tensors.
    #[test]
    fn the_default_model_agrees_with_its_original() {
        let test = "the_default_model_agrees_with_its_original";
        let Some(settings) = real(test) else { return };
        let original = super::super::fetch::original(&super::super::tests::models());
        let agreement = check(&original, &settings).expect("compared");
        assert!(agreement.is_close() && agreement.mean_divergence > 0.0, "{agreement:?}");
    }
}
