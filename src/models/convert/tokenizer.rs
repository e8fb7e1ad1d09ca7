//! The tokenizer and the small files beside the graph, from the metadata of a GGUF file.

use serde_json::{Map, Value as Json, json};

use super::super::error::ModelError;
use super::super::gguf::{Gguf, Meta};
use super::llama::Llama;

/// A token of this type is special: ggml's `LLAMA_TOKEN_TYPE_CONTROL`.
const CONTROL: i128 = 3;

/// A token of this type is found in texts whole, and is no special one: `LLAMA_TOKEN_TYPE_USER_DEFINED`.
const USER_DEFINED: i128 = 4;

/// The names and contents of the files beside the graph.
pub(super) fn files(gguf: &Gguf, llama: &Llama<'_>) -> Result<Vec<(&'static str, Json)>, ModelError> {
    let token = |key: &str| -> Result<Option<usize>, ModelError> {
        let key = format!("tokenizer.ggml.{key}_token_id");
        gguf.meta(&key).map(|_| gguf.count(&key)).transpose()
    };
    let (begin, end, pad, unknown) = (token("bos")?, token("eos")?, token("padding")?, token("unknown")?);
    let mut ends: Vec<usize> = [end, token("eot")?].into_iter().flatten().collect();
    ends.dedup();
    if ends.is_empty() {
        return Err(gguf.wrong("its metadata does not say which token ends an answer"));
    }
    let texts = gguf.texts("tokenizer.ggml.tokens")?;
    let text = |token: Option<usize>| token.and_then(|token| texts.get(token));
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": llama.hidden,
        "intermediate_size": llama.feed_forward,
        "num_hidden_layers": llama.layers,
        "num_attention_heads": llama.heads,
        "num_key_value_heads": llama.cache_heads,
        "head_dim": llama.head_width,
        "max_position_embeddings": llama.context,
        "rms_norm_eps": llama.epsilon,
        "rope_theta": llama.rope_base,
        "vocab_size": llama.vocabulary,
        "tie_word_embeddings": llama.tied,
        "bos_token_id": begin,
        "eos_token_id": ends,
        "pad_token_id": pad,
    });
    let generation = json!({ "bos_token_id": begin, "eos_token_id": ends, "pad_token_id": pad });
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": llama.context,
        "clean_up_tokenization_spaces": false,
        "bos_token": text(begin),
        "eos_token": text(end),
        "pad_token": text(pad),
        "unk_token": text(unknown),
        "chat_template": gguf.text("tokenizer.chat_template")?,
    });
    Ok(vec![
        ("config.json", config),
        ("generation_config.json", generation),
        ("tokenizer_config.json", tokenizer_config),
        ("tokenizer.json", tokenizer(gguf, texts)?),
    ])
}

/// A byte-level BPE tokenizer in the format of the `tokenizers` library.
fn tokenizer(gguf: &Gguf, texts: &[String]) -> Result<Json, ModelError> {
    let kind = gguf.text("tokenizer.ggml.model")?;
    if kind != "gpt2" {
        return Err(gguf.wrong(format!("its tokenizer is of the kind `{kind}`; `gpt2` (byte-level BPE) is understood")));
    }
    if matches!(gguf.meta("tokenizer.ggml.add_bos_token"), Some(Meta::Bool(true))) {
        return Err(gguf.wrong("its tokenizer begins every text with a token, which is not understood yet"));
    }
    let types = match gguf.meta("tokenizer.ggml.token_type") {
        Some(Meta::Integers(types)) if types.len() == texts.len() => types.as_slice(),
        _ => return Err(gguf.wrong("its metadata does not say of what type each token is")),
    };
    let vocabulary: Map<String, Json> = texts.iter().zip(0_u32..).map(|(text, id)| (text.clone(), id.into())).collect();
    if vocabulary.len() != texts.len() {
        return Err(gguf.wrong("two of its tokens are the same"));
    }
    let added: Vec<Json> = texts
        .iter()
        .zip(types)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(id, (text, kind))| {
            json!({
                "id": id, "content": text, "special": *kind == CONTROL,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer(gguf)?,
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocabulary,
            "merges": gguf.texts("tokenizer.ggml.merges")?,
        },
    }))
}

/// How a text is cut before the merges: llama.cpp's names for it (`llm_tokenizer_bpe` in `src/llama-vocab.cpp`).
fn pre_tokenizer(gguf: &Gguf) -> Result<Json, ModelError> {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    match gguf.text("tokenizer.ggml.pre")? {
        // GPT-2's, after every digit was cut off by itself.
        "smollm" => Ok(json!({
            "type": "Sequence",
            "pretokenizers": [{ "type": "Digits", "individual_digits": true }, byte_level],
        })),
        "gpt-2" => Ok(byte_level),
        other => Err(gguf.wrong(format!("it cuts texts in the way `{other}`; `smollm` and `gpt-2` are understood"))),
    }
}
