//! What an answer is made of.

use serde_json::{Value as Json, json};

use crate::models::{Choice, Finish, Generated, TokenBytes, TokenChance};

/// A name for an answer: `chatcmpl-…`.
pub(super) fn id(kind: &str) -> String {
    let mut random = [0; 12];
    // A name that comes twice harms nobody.
    let _ = getrandom::fill(&mut random);
    format!("{kind}-{}", hex::encode(random))
}

pub(super) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Cancelled => "stop",
        Finish::Length => "length",
    }
}

/// The answers, the first one first.
pub(super) fn choices(generated: &Generated) -> Vec<Choice> {
    let first = Choice {
        text: generated.text.clone(),
        finish: generated.finish,
        completion_tokens: generated.completion_tokens,
        logprobs: generated.logprobs.clone(),
    };
    std::iter::once(first).chain(generated.others.iter().cloned()).collect()
}

pub(super) fn usage(prompt: usize, cached: usize, written: usize) -> Json {
    json!({
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

/// The tokens of a chat's answer with their log-probabilities.
pub(super) fn chat_logprobs(tokens: &[TokenChance]) -> Json {
    let one = |token: &TokenBytes| json!({ "token": String::from_utf8_lossy(&token.bytes), "logprob": token.logprob, "bytes": token.bytes });
    let all = tokens.iter().map(|it| {
        let mut shown = one(&it.token);
        shown["top_logprobs"] = it.likeliest.iter().map(one).collect();
        shown
    });
    json!({ "content": all.collect::<Vec<_>>(), "refusal": null })
}

/// The same as text completions have it.
pub(super) fn text_logprobs(tokens: &[TokenChance]) -> Json {
    let text = |token: &TokenBytes| String::from_utf8_lossy(&token.bytes).into_owned();
    let mut offset = 0;
    let offsets: Vec<usize> = tokens
        .iter()
        .map(|it| {
            let at = offset;
            offset += text(&it.token).chars().count();
            at
        })
        .collect();
    let likeliest = tokens.iter().map(|it| {
        let all = it.likeliest.iter().map(|token| (text(token), json!(token.logprob)));
        Json::Object(all.collect())
    });
    json!({
        "tokens": tokens.iter().map(|it| text(&it.token)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|it| it.token.logprob).collect::<Vec<_>>(),
        "top_logprobs": likeliest.collect::<Vec<_>>(), "text_offset": offsets,
    })
}
