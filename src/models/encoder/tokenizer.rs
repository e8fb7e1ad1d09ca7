//! From a text to the tokens that an encoder reads.

use std::path::Path;

use super::super::error::ModelError;
use super::super::tokens::Tokens;
use super::unigram::Unigram;

/// Bytes of a text that are looked at for each token that may be read. No piece of a vocabulary in use is longer, so
/// what is cut off here could not have been read; it bounds what a text of any length costs.
const BYTES_A_TOKEN: usize = 64;

/// An encoder's tokenizer.
pub(super) enum Tokenizer {
    /// XLM-R's kind, held in little memory.
    Unigram(Box<Unigram>),
    /// Any other.
    Other(Box<Tokens>),
}

/// A text, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) tokens: Vec<u32>,
    /// How much each token tells of what the text is about; none where the vocabulary does not say.
    pub(super) telling: Vec<f32>,
    /// Whether some of the text is left out.
    pub(super) truncated: bool,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(ModelError::io("reading", path))?;
        match Unigram::parse(&text).map_err(|why| ModelError::not_understood(path, why))? {
            Some(unigram) => Ok(Self::Unigram(Box::new(unigram))),
            None => Ok(Self::Other(Box::new(Tokens::read(path)?))),
        }
    }

    /// The tokens of a text after `prompt`, with those that begin and end it, `longest` in all.
    pub(super) fn read(&self, prompt: &str, text: &str, longest: usize) -> Result<Read, ModelError> {
        let text = &format!("{prompt}{text}");
        let head = &text[..text.floor_char_boundary(longest.saturating_mul(BYTES_A_TOKEN))];
        let mut tokens = match self {
            Self::Unigram(unigram) => unigram.encode(head)?,
            // Without special tokens in the text itself: it is data.
            Self::Other(tokens) => tokens.encode_whole(&tokens.plain(head))?,
        };
        let truncated = head.len() < text.len() || tokens.len() > longest;
        if tokens.len() > longest
            && let Some(last) = tokens.last().copied()
        {
            tokens.truncate(longest.saturating_sub(1));
            tokens.push(last);
        }
        let telling = match self {
            Self::Unigram(unigram) => {
                let mut telling = unigram.telling(&tokens);
                // What stands before every text tells nothing.
                let before = unigram.length_of_beginning(prompt.trim_end())?;
                telling.iter_mut().take(before).for_each(|weight| *weight = 0.0);
                telling
            }
            Self::Other(_) => Vec::new(),
        };
        Ok(Read { tokens, telling, truncated })
    }
}
