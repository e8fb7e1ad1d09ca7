//! What the tests of this room share: where the real model is, and small made-up ones.

use std::path::{Path, PathBuf};

use super::Settings;
use super::gguf::Quant;

/// The folder with library and model that `storehand model fetch` fills.
pub(super) fn models() -> PathBuf {
    std::env::var_os("STOREHAND_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from)
}

/// The default model and library, where they are; else says that `test` is skipped.
pub(super) fn real(test: &str) -> Option<Settings> {
    let models = models();
    let mut settings = Settings::default_in(Path::new("")).with_variables(|name| std::env::var_os(name));
    settings.library = settings.library.map(|library| match library.strip_prefix("models") {
        Ok(rest) => models.join(rest),
        Err(_) => library,
    });
    settings.folder = models.join("smollm2-135m-instruct");
    settings.threads = 1;
    let missing = [settings.library.clone().unwrap_or_default(), settings.folder.join("model.onnx")]
        .into_iter()
        .find(|path| !path.exists());
    if let Some(path) = missing {
        let mut stderr = std::io::stderr().lock();
        let _ = std::io::Write::write_fmt(
            &mut stderr,
            format_args!("SKIPPED: {test}: {} is not there; `storehand model fetch` gets it\n", path.display()),
        );
        return None;
    }
    Some(settings)
}

/// Numbers that look random and are always the same, from -1 to 1.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A GGUF file under construction.
#[derive(Default)]
pub(super) struct GgufFile {
    meta: Vec<u8>,
    meta_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl GgufFile {
    fn key(&mut self, key: &str, kind: u32) {
        self.meta_count += 1;
        text(&mut self.meta, key);
        self.meta.extend(kind.to_le_bytes());
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        text(&mut self.meta, value);
    }

    pub(super) fn count(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.meta.extend(value.to_le_bytes());
    }

    pub(super) fn float(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.meta.extend(value.to_le_bytes());
    }

    pub(super) fn texts(&mut self, key: &str, values: &[String]) {
        self.key(key, 9);
        self.meta.extend(8_u32.to_le_bytes());
        self.meta.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| text(&mut self.meta, value));
    }

    pub(super) fn integers(&mut self, key: &str, values: &[i32]) {
        self.key(key, 9);
        self.meta.extend(5_u32.to_le_bytes());
        self.meta.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| self.meta.extend(value.to_le_bytes()));
    }

    /// A tensor of plain floats (`Quant::F32`) or 8-bit blocks (`Quant::Q8_0`).
    pub(super) fn tensor(&mut self, name: &str, rows: Option<usize>, columns: usize, quant: Quant, values: &[f32]) {
        self.tensor_count += 1;
        text(&mut self.tensors, name);
        let dimensions: Vec<usize> = std::iter::once(columns).chain(rows).collect();
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|&size| self.tensors.extend((size as u64).to_le_bytes()));
        self.tensors.extend(if quant == Quant::Q8_0 { 8_u32 } else { 0 }.to_le_bytes());
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        if quant == Quant::Q8_0 {
            for block in values.chunks(32) {
                let scale =
                    half::f16::from_f32(block.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0);
                self.data.extend(scale.to_le_bytes());
                self.data.extend(block.iter().map(|value| (value / scale.to_f32()).round() as i8 as u8));
            }
        } else {
            values.iter().for_each(|value| self.data.extend(value.to_le_bytes()));
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut all = b"GGUF".to_vec();
        all.extend(3_u32.to_le_bytes());
        all.extend(self.tensor_count.to_le_bytes());
        all.extend(self.meta_count.to_le_bytes());
        all.extend(&self.meta);
        all.extend(&self.tensors);
        all.resize(all.len().next_multiple_of(32), 0);
        all.extend(&self.data);
        all
    }
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u64).to_le_bytes());
    into.extend(text.as_bytes());
}

/// A small Llama model with random weights: 2 layers, 4 heads of 16 with 2 in the cache. `quant` is how its weights
/// are written; its tokens are the 256 bytes, some merges, and an end token.
pub(super) fn random_llama(seed: u64, quant: Quant, tied: bool) -> GgufFile {
    let mut numbers = Numbers(seed);
    let mut file = GgufFile::default();
    file.text("general.architecture", "llama");
    for (key, value) in [
        ("llama.block_count", 2),
        ("llama.context_length", 128),
        ("llama.embedding_length", 128),
        ("llama.feed_forward_length", 96),
        ("llama.attention.head_count", 4),
        ("llama.attention.head_count_kv", 2),
        ("tokenizer.ggml.bos_token_id", 259),
        ("tokenizer.ggml.eos_token_id", 260),
    ] {
        file.count(key, value);
    }
    file.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
    file.float("llama.rope.freq_base", 500.0);
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", "smollm");
    let mut tokens: Vec<String> = byte_letters().map(String::from).collect();
    tokens.extend(["he", "ll", "hell", "<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let vocabulary = tokens.len();
    file.texts("tokenizer.ggml.tokens", &tokens);
    let mut types = vec![1; vocabulary];
    types[259..].fill(3);
    file.integers("tokenizer.ggml.token_type", &types);
    file.texts("tokenizer.ggml.merges", &["h e", "l l", "he ll"].map(str::to_owned));
    file.text(
        "tokenizer.chat_template",
        "{% for message in messages %}<|im_start|>{{ message.role }}: {{ message.content }}<|im_end|>{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>{% endif %}",
    );
    let mut tensor = |name: &str, rows: Option<usize>, columns: usize, spread: f32, about: f32| {
        let values: Vec<f32> = (0..rows.unwrap_or(1) * columns).map(|_| about + spread * numbers.next()).collect();
        let quant = if rows.is_some() { quant } else { Quant::F32 };
        file.tensor(name, rows, columns, quant, &values);
    };
    tensor("token_embd.weight", Some(vocabulary), 128, 1.0, 0.0);
    if !tied {
        tensor("output.weight", Some(vocabulary), 128, 1.0, 0.0);
    }
    tensor("output_norm.weight", None, 128, 0.2, 1.0);
    for layer in 0..2 {
        let mut weight = |name: &str, rows: Option<usize>, columns: usize, spread, about| {
            tensor(&format!("blk.{layer}.{name}.weight"), rows, columns, spread, about);
        };
        weight("attn_norm", None, 128, 0.2, 1.0);
        weight("attn_q", Some(128), 128, 0.3, 0.0);
        weight("attn_k", Some(64), 128, 0.3, 0.0);
        weight("attn_v", Some(64), 128, 0.3, 0.0);
        weight("attn_output", Some(128), 128, 0.3, 0.0);
        weight("ffn_norm", None, 128, 0.2, 1.0);
        weight("ffn_gate", Some(96), 128, 0.2, 0.0);
        weight("ffn_up", Some(96), 128, 0.2, 0.0);
        weight("ffn_down", Some(128), 96, 0.3, 0.0);
    }
    file
}

/// The letters that stand for the 256 bytes in byte-level vocabularies, in order (`bytes_to_unicode` of GPT-2).
fn byte_letters() -> impl Iterator<Item = char> {
    let shown = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..256_u32).filter(move |byte| !shown(byte)).collect::<Vec<_>>();
    (0..256_u32).map(move |byte| {
        let moved = hidden.iter().position(|it| *it == byte).map(|at| 256 + at as u32);
        char::from_u32(moved.unwrap_or(byte)).unwrap_or('?')
    })
}
