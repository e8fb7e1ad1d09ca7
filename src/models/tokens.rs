//! Between text and tokens.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokenizers::Tokenizer;

use super::error::ModelError;
use super::form::{Form, Forms};
use super::request::Format;

/// A model's tokenizer.
pub(crate) struct Tokens {
    tokenizer: Tokenizer,
    /// The special tokens as they are written: `<|im_start|>`.
    special: Vec<String>,
    /// Bytes of text that one token stands for at most.
    longest: usize,
    path: PathBuf,
    /// Read when they are first needed: most models are never asked for them.
    words: OnceLock<Result<Vec<Vec<u8>>, String>>,
    forms: OnceLock<Result<Forms, String>>,
}

impl Tokens {
    /// Reads a `tokenizer.json`.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelError> {
        let tokenizer =
            Tokenizer::from_file(path).map_err(|error| ModelError::not_understood(path, error.to_string()))?;
        let added = tokenizer.get_added_tokens_decoder();
        let mut special: Vec<String> = added.values().filter(|it| it.special).map(|it| it.content.clone()).collect();
        special.retain(|text| text.len() > 1);
        special.sort();
        // A byte-level vocabulary writes a byte as one or two; this is an upper bound for it and exact for others.
        let longest = tokenizer.get_vocab(true).keys().map(String::len).max().unwrap_or(1).max(1);
        Ok(Self { tokenizer, special, longest, path: path.to_owned(), words: OnceLock::new(), forms: OnceLock::new() })
    }

    /// The tokens of `text`, special tokens in it included.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| ModelError::Failed(format!("the tokenizer failed: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of `text`, with those that begin and end a whole text.
    pub(crate) fn encode_whole(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let failed = |error| ModelError::Failed(format!("the tokenizer failed: {error}"));
        let encoding = self.tokenizer.encode_fast(text, true).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// How many tokens `text` has at least, without looking at it.
    pub(crate) fn at_least(&self, text: &str) -> usize {
        text.len() / self.longest
    }

    /// The text of tokens, special ones left out. Bytes that are no character become U+FFFD.
    pub(crate) fn decode(&self, tokens: &[u32]) -> String {
        // The error is that of a decoder that does not know a token; our tokens are within the vocabulary.
        self.tokenizer.decode(tokens, true).unwrap_or_default()
    }

    /// The number of a token that is written so.
    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.tokenizer.token_to_id(text)
    }

    /// The bytes that each token stands for. Takes a tenth of a second the first time.
    ///
    /// # Errors
    /// [`ModelError::Request`] where the tokenizer is of a kind that has no bytes of its own.
    pub(crate) fn words(&self) -> Result<&[Vec<u8>], ModelError> {
        let read = || {
            let file = File::open(&self.path).map_err(|error| error.to_string())?;
            let json = serde_json::from_reader(BufReader::new(file)).map_err(|error| error.to_string())?;
            llguidance::token_bytes_from_tokenizer_json(&json).map_err(|error| error.to_string())
        };
        self.words.get_or_init(read).as_deref().map_err(|why| no_bytes(why))
    }

    /// A form to hold an answer to; `end` ends it.
    ///
    /// # Errors
    /// [`ModelError::Request`] where the format is not understood or cannot be met.
    pub(crate) fn form(&self, format: &Format, end: u32) -> Result<Form, ModelError> {
        let words = self.words()?;
        let forms = self.forms.get_or_init(|| Forms::new(words, end).map_err(|error| error.to_string()));
        forms.as_ref().map_err(|why| no_bytes(why))?.make(format)
    }

    /// `text` with nothing in it that would be read as a special token: customers write texts, and must not be
    /// able to end their message and begin one of the system's.
    pub(crate) fn plain(&self, text: &str) -> String {
        let mut plain = text.to_owned();
        for special in &self.special {
            if plain.contains(special.as_str()) {
                let (first, rest) = special.split_at(special.chars().next().map_or(0, char::len_utf8));
                plain = plain.replace(special.as_str(), &format!("{first} {rest}"));
            }
        }
        plain
    }
}

fn no_bytes(why: &str) -> ModelError {
    ModelError::Request(format!("this model's tokens cannot be told byte by byte: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        text: String,
        tokens: Vec<u32>,
    }

    #[test]
    fn tokens_are_those_of_the_reference() {
        let Some(settings) = super::super::tests::real("tokens_are_those_of_the_reference") else { return };
        let tokens = Tokens::read(&settings.folder.join("tokenizer.json")).expect("tokenizer");
        let vectors = include_str!("../../tests/fixtures/models/tokens.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).expect("vectors");
        assert!(vectors.len() > 30);
        for Vector { text, tokens: expected } in vectors {
            assert_eq!(tokens.encode(&text).expect("tokens"), expected, "{text:?}");
            assert!(tokens.at_least(&text) <= expected.len());
            if !text.contains("<|") {
                assert_eq!(tokens.decode(&expected), text);
            }
        }
        assert_eq!(tokens.plain("a <|im_start|>b<|im_end|>"), "a < |im_start|>b< |im_end|>");
        assert_eq!(
            tokens.encode(&tokens.plain("<|im_end|>")).expect("tokens").iter().filter(|it| **it < 17).count(),
            0
        );
    }
}
