//! XLM-R's way to cut texts into pieces (a unigram model after SentencePiece), in little memory.
//!
//! The `tokenizers` library keeps a vocabulary of 250,000 pieces three times over, in a list, in a map and in a trie of
//! small maps: some 280 MB. Here the pieces lie sorted in one string, and a piece that a text goes on with is found by
//! narrowing their range byte by byte: some 10 MB. What comes out is the same, token for token; a test with random texts
//! holds the two together.
//!
//! *Architecture Invariant*: a text cannot write a special token: those are no pieces here.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::super::error::ModelError;

/// What an unknown character costs more than the least likely piece; SentencePiece's number.
const UNKNOWN_COSTS: f64 = 10.0;

/// The sign that stands for a space in pieces.
const SPACE: char = '▁';

/// The tokenizer.
pub(super) struct Unigram {
    normalizer: Option<NormalizerWrapper>,
    cut_at_any_space: bool,
    begin: Vec<u32>,
    end: Vec<u32>,
    unknown: u32,
    unknown_score: f64,
    pieces: Pieces,
    /// By token, the logarithm of how likely its piece is; 0 for special ones.
    likelihoods: Vec<f32>,
}

/// All pieces, sorted by their bytes.
struct Pieces {
    text: String,
    /// Where each begins in `text`, and after the last, where it ends.
    begins: Vec<u32>,
    scores: Vec<f64>,
    tokens: Vec<u32>,
}

/// The parts of a `tokenizer.json` that say what it is.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: Option<PostProcessor>,
    #[serde(borrow)]
    model: &'a RawValue,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    special: bool,
}

#[derive(Deserialize)]
struct PreTokenizer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    pretokenizers: Vec<PreTokenizer>,
    replacement: Option<char>,
    add_prefix_space: Option<bool>,
    prepend_scheme: Option<String>,
    split: Option<bool>,
}

#[derive(Deserialize)]
struct PostProcessor {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    single: Vec<Part>,
    #[serde(default)]
    special_tokens: std::collections::BTreeMap<String, SpecialToken>,
}

#[derive(Deserialize)]
enum Part {
    SpecialToken { id: String },
    Sequence { id: String },
}

#[derive(Deserialize)]
struct SpecialToken {
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Model {
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: bool,
    vocab: Vocabulary,
}

/// Pieces in the order of their tokens, read without an allocation each.
#[derive(Default)]
struct Vocabulary {
    text: String,
    begins: Vec<u32>,
    scores: Vec<f64>,
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Piece<'a>(#[serde(borrow)] Cow<'a, str>, f64);

        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of pieces with their scores")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary::default();
                while let Some(Piece(piece, score)) = list.next_element()? {
                    let begin = u32::try_from(vocabulary.text.len());
                    vocabulary.begins.push(begin.map_err(|_| serde::de::Error::custom("it is too large"))?);
                    vocabulary.text.push_str(&piece);
                    vocabulary.scores.push(score);
                }
                Ok(vocabulary)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl Vocabulary {
    fn piece(&self, at: usize) -> &str {
        let end = self.begins.get(at + 1).map_or(self.text.len(), |end| *end as usize);
        &self.text[self.begins[at] as usize..end]
    }
}

impl Unigram {
    /// Reads the text of a `tokenizer.json`; nothing where it is of another kind than this.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let model = |text| serde_json::from_str::<Kind<'_>>(text).ok()?.kind;
        #[derive(Deserialize)]
        struct OnlyModel<'a> {
            #[serde(borrow)]
            model: &'a RawValue,
        }
        let only: OnlyModel<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if model(only.model.get()).as_deref() != Some("Unigram") {
            return Ok(None);
        }
        // What does not read as these types is of another kind; the library says what is wrong with it, if anything.
        let Ok(file) = serde_json::from_str::<File<'_>>(text) else { return Ok(None) };
        let Some((begin, end)) = file.post_processor.as_ref().and_then(around) else { return Ok(None) };
        let Some(cut_at_any_space) = file.pre_tokenizer.as_ref().and_then(PreTokenizer::known) else {
            return Ok(None);
        };
        if file.added_tokens.iter().any(|added| !added.special) {
            return Ok(None);
        }
        let model: Model = serde_json::from_str(file.model.get()).map_err(|error| error.to_string())?;
        let unknown = model.unk_id.filter(|unknown| *unknown < model.vocab.scores.len() && !model.byte_fallback);
        let Some(unknown) = unknown.and_then(|unknown| u32::try_from(unknown).ok()) else { return Ok(None) };
        let normalizer = file.normalizer.map(|it| serde_json::from_str(it.get())).transpose();
        let special: Vec<u32> = file.added_tokens.iter().map(|added| added.id).collect();
        let least = model.vocab.scores.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Some(Self {
            normalizer: normalizer.map_err(|error| format!("its normalizer: {error}"))?,
            cut_at_any_space,
            begin,
            end,
            unknown,
            unknown_score: least - UNKNOWN_COSTS,
            pieces: Pieces::sort(&model.vocab, &special),
            likelihoods: model
                .vocab
                .scores
                .iter()
                .zip(0_u32..)
                .map(|(score, token)| if special.contains(&token) { 0.0 } else { *score as f32 })
                .collect(),
        }))
    }

    /// How much each token tells: the rarer its piece, the more, as the square of the logarithm of its likelihood.
    pub(super) fn telling(&self, tokens: &[u32]) -> Vec<f32> {
        let likelihood = |token: &u32| self.likelihoods.get(*token as usize).copied().unwrap_or_default();
        tokens.iter().map(|token| likelihood(token).powi(2)).collect()
    }

    /// Tokens of which a text that begins with `beginning` has no other, with those that begin every text.
    pub(super) fn length_of_beginning(&self, beginning: &str) -> Result<usize, ModelError> {
        Ok(self.encode(beginning)?.len() - self.end.len())
    }

    /// The tokens of a text, with those that begin and end it.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let mut normal = NormalizedString::from(text);
        if let Some(normalizer) = &self.normalizer {
            let failed = |error| ModelError::Failed(format!("the tokenizer failed: {error}"));
            normalizer.normalize(&mut normal).map_err(failed)?;
        }
        let mut tokens = self.begin.clone();
        if normal.get().is_empty() {
            tokens.extend(&self.end);
            return Ok(tokens);
        }
        if self.cut_at_any_space {
            let words = normal.get().split_whitespace().map(|word| word.replace(' ', "▁"));
            for word in words {
                let word = if word.starts_with(SPACE) { word } else { format!("{SPACE}{word}") };
                self.cut_word_by_word(&word, &mut tokens);
            }
        } else {
            let text = normal.get().replace(' ', "▁");
            let text = if text.starts_with(SPACE) { text } else { format!("{SPACE}{text}") };
            self.cut_word_by_word(&text, &mut tokens);
        }
        tokens.extend(&self.end);
        Ok(tokens)
    }

    /// A word begins at each sign for a space.
    fn cut_word_by_word(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut begin = 0;
        for (at, _) in text.match_indices(SPACE).skip_while(|(at, _)| *at == 0) {
            self.cut(&text[begin..at], tokens);
            begin = at;
        }
        self.cut(&text[begin..], tokens);
    }

    /// The likeliest way to cut a word.
    fn cut(&self, word: &str, tokens: &mut Vec<u32>) {
        /// How a part that ends here is best reached.
        #[derive(Clone, Copy)]
        struct Best {
            score: f64,
            from: usize,
            token: u32,
        }
        let mut best: Vec<Option<Best>> = vec![None; word.len() + 1];
        for (at, character) in word.char_indices() {
            let so_far = if at == 0 { 0.0 } else { best[at].map_or(f64::NEG_INFINITY, |best| best.score) };
            let mut take = |end: usize, score: f64, token: u32| {
                if best[end].is_none_or(|best| so_far + score > best.score) {
                    best[end] = Some(Best { score: so_far + score, from: at, token });
                }
            };
            let mut single = false;
            self.pieces.beginnings_of(&word.as_bytes()[at..], |length, score, token| {
                single |= length == character.len_utf8();
                take(at + length, score, token);
            });
            if !single {
                take(at + character.len_utf8(), self.unknown_score, self.unknown);
            }
        }
        let first = tokens.len();
        let mut end = word.len();
        while let Some(step) = best[end] {
            // Unknown characters in a row are one token.
            if step.token != self.unknown || tokens.len() == first || tokens.last() != Some(&self.unknown) {
                tokens.push(step.token);
            }
            end = step.from;
            if end == 0 {
                break;
            }
        }
        tokens[first..].reverse();
    }
}

impl PreTokenizer {
    /// Whether it is one of the two that are known: cut before each sign for a space (false), or at white space of any
    /// kind first (true).
    fn known(&self) -> Option<bool> {
        match self.kind.as_str() {
            "Metaspace" => {
                let prepends = match self.prepend_scheme.as_deref() {
                    None => self.add_prefix_space != Some(false),
                    Some(scheme) => scheme == "always",
                };
                let known = prepends && self.replacement == Some(SPACE) && self.split.unwrap_or(true);
                known.then_some(false)
            }
            "Sequence" => match self.pretokenizers.as_slice() {
                [one] => one.known(),
                [first, second] if first.kind == "WhitespaceSplit" => second.known().map(|_| true),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What stands before and after a text's own tokens.
fn around(post_processor: &PostProcessor) -> Option<(Vec<u32>, Vec<u32>)> {
    if post_processor.kind != "TemplateProcessing" {
        return None;
    }
    let (mut begin, mut end, mut seen) = (Vec::new(), Vec::new(), false);
    for part in &post_processor.single {
        match part {
            Part::Sequence { id } if id == "A" && !seen => seen = true,
            Part::Sequence { .. } => return None,
            Part::SpecialToken { id } => {
                let ids = &post_processor.special_tokens.get(id)?.ids;
                if seen { end.extend(ids) } else { begin.extend(ids) }
            }
        }
    }
    seen.then_some((begin, end))
}

impl Pieces {
    fn sort(vocabulary: &Vocabulary, special: &[u32]) -> Self {
        let count = u32::try_from(vocabulary.scores.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).filter(|token| !special.contains(token)).collect();
        let piece = |token: u32| vocabulary.piece(token as usize);
        // Of a piece that is there twice, the last counts, as in the library.
        order.sort_unstable_by(|a, b| piece(*a).cmp(piece(*b)).then(b.cmp(a)));
        order.dedup_by(|b, a| piece(*a) == piece(*b));
        order.retain(|token| !piece(*token).is_empty());
        let mut sorted = Self {
            text: String::with_capacity(vocabulary.text.len()),
            begins: Vec::with_capacity(order.len() + 1),
            scores: order.iter().map(|token| vocabulary.scores[*token as usize]).collect(),
            tokens: Vec::new(),
        };
        for token in &order {
            sorted.begins.push(sorted.text.len() as u32);
            sorted.text.push_str(piece(*token));
        }
        sorted.begins.push(sorted.text.len() as u32);
        sorted.tokens = order;
        sorted
    }

    fn bytes(&self, at: usize) -> &[u8] {
        &self.text.as_bytes()[self.begins[at] as usize..self.begins[at + 1] as usize]
    }

    /// Tells of each piece that `text` begins with, the shortest first: its length in bytes, its score, its token.
    fn beginnings_of(&self, text: &[u8], mut found: impl FnMut(usize, f64, u32)) {
        let (mut low, mut high) = (0, self.tokens.len());
        for (depth, byte) in text.iter().enumerate() {
            // All pieces from `low` to `high` begin with the first `depth` bytes; those that are no longer come first.
            let order = |at: usize| self.bytes(at).get(depth).map_or(Ordering::Less, |other| other.cmp(byte));
            low = first(low, high, |at| order(at) != Ordering::Less);
            high = first(low, high, |at| order(at) == Ordering::Greater);
            if low == high {
                return;
            }
            if self.bytes(low).len() == depth + 1 {
                found(depth + 1, self.scores[low], self.tokens[low]);
            }
        }
    }
}

/// The first number from `low` to below `high` for which `holds`, which goes on to hold; else `high`.
fn first(mut low: usize, mut high: usize, holds: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::Tokenizer;

    use super::*;

    /// A small vocabulary with ties, nested pieces and pieces of several bytes.
    fn small() -> String {
        let mut pieces = vec![("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)];
        pieces.extend([("▁", -2.0), ("a", -3.0), ("b", -3.0), ("ab", -5.5), ("▁a", -4.0), ("▁ab", -6.0), ("ba", -5.5)]);
        pieces.extend([("的", -3.5), ("快递", -6.0), ("快", -4.0), ("递", -4.5), ("▁快", -4.2), ("aba", -8.0)]);
        pieces.extend([("é", -4.0), ("<", -6.0), ("s", -3.2), (">", -6.5), ("1", -3.0), ("12", -5.0), ("#", -7.0)]);
        let special = |id: u32, text: &str| {
            serde_json::json!({ "id": id, "content": text, "special": true, "single_word": false, "lstrip": false,
                                "rstrip": false, "normalized": false })
        };
        let metaspace =
            serde_json::json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true });
        serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [special(0, "<s>"), special(1, "<pad>"), special(2, "</s>"), special(3, "<unk>")],
            "normalizer": { "type": "Sequence", "normalizers": [
                { "type": "NFKC" }, { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " } ] },
            "pre_tokenizer": metaspace,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } },
                           { "Sequence": { "id": "A", "type_id": 0 } },
                           { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
                "pair": [],
                "special_tokens": { "<s>": { "id": "<s>", "ids": [0], "tokens": ["<s>"] },
                                    "</s>": { "id": "</s>", "ids": [2], "tokens": ["</s>"] } },
            },
            "decoder": metaspace,
            "model": { "type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": false },
        })
        .to_string()
    }

    fn both(text: &str) -> (Unigram, Tokenizer) {
        let ours = Unigram::parse(text).expect("it reads").expect("it is of this kind");
        (ours, text.parse().expect("the library reads it"))
    }

    fn same(ours: &Unigram, library: &Tokenizer, text: &str) {
        let expected = library.encode_fast(text, true).expect("encoded").get_ids().to_vec();
        assert_eq!(ours.encode(text).expect("encoded"), expected, "{text:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

        #[test]
        fn a_small_vocabulary_cuts_as_the_library_does(text in "[ab的快递é12# xｱ…▁]{0,40}") {
            let (ours, library) = both(&small());
            same(&ours, &library, &text);
        }
    }

    /// With the default encoder's vocabulary, where it is there.
    #[test]
    fn the_real_vocabulary_cuts_as_the_library_does() {
        use proptest::strategy::ValueTree as _;
        let Some(settings) = super::super::tests::real("the_real_vocabulary_cuts_as_the_library_does") else { return };
        let text = std::fs::read_to_string(settings.folder.join("tokenizer.json")).expect("tokenizer");
        let (ours, library) = both(&text);
        for text in [
            "",
            " ",
            "\u{1}",
            "Where is my order #1042?",
            "  two  spaces ",
            "我的快递到哪里了？？  急！！",
            "ﬁne ½ ①②③ ＡＢＣ １２３ ㎏",
            "e\u{301} ñ ö \u{200b}zero\u{feff}width\u{2028}line",
            "👩‍👩‍👧 🇩🇪 🤷🏽‍♀️",
            "a\tb\r\nc\u{1}d\u{7f}",
            "ქართული ภาษาไทย العربية हिन्दी 한국어 日本語 ไม่",
            "𒀀𒀁𒀂 𐍈 unknown",
            "▁▁▁ ▁a",
        ] {
            same(&ours, &library, text);
        }
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let strategies =
            ["[a-zA-Z0-9 .,!?#€$'-]{0,80}", "[一-龥，。？！ 0-9a-z]{0,40}", "\\PC{0,60}", "(\\w{1,12} ?){0,9}"];
        for strategy in strategies {
            let strategy = proptest::string::string_regex(strategy).expect("a pattern");
            for _ in 0..400 {
                let text = strategy.new_tree(&mut runner).expect("a text").current();
                same(&ours, &library, &text);
            }
        }
    }

    #[test]
    fn special_tokens_cannot_be_written() {
        let (ours, _) = both(&small());
        let tokens = ours.encode("a</s><s>b").expect("encoded");
        let inside = &tokens[1..tokens.len() - 1];
        assert!(inside.iter().all(|token| *token > 2), "{tokens:?}");
    }

    #[test]
    fn rare_pieces_tell_more_than_frequent_ones_and_special_tokens_nothing() {
        let Some(settings) =
            super::super::tests::real("rare_pieces_tell_more_than_frequent_ones_and_special_tokens_nothing")
        else {
            return;
        };
        let text = std::fs::read_to_string(settings.folder.join("tokenizer.json")).expect("tokenizer");
        let ours = Unigram::parse(&text).expect("read").expect("of this kind");
        let tokens = ours.encode("query: the parcel").expect("encoded");
        let telling = ours.telling(&tokens);
        assert_eq!((telling[0], telling[telling.len() - 1]), (0.0, 0.0));
        let begins = ours.length_of_beginning("query:").expect("encoded");
        assert!(begins < tokens.len() - 2 && tokens[..begins] == ours.encode("query: a").expect("encoded")[..begins]);
        assert!(telling[begins + 1] > 1.5 * telling[begins] && telling[begins] > 0.0, "{telling:?}");
    }

    #[test]
    fn other_kinds_are_left_to_the_library() {
        for (from, to) in [
            ("\"Unigram\"", "\"WordLevel\""),
            ("\"TemplateProcessing\"", "\"RobertaProcessing\""),
            ("\"prepend_scheme\":\"always\"", "\"prepend_scheme\":\"never\""),
            ("\"special\":true", "\"special\":false"),
        ] {
            let text = small().replace(from, to);
            assert_ne!(text, small());
            assert!(Unigram::parse(&text).expect("JSON").is_none(), "{to}");
        }
        assert!(Unigram::parse("{").is_err());
    }
}
