//! From tokens to text that may be shown: whole characters only, and nothing of a stop text.

use super::tokens::Tokens;

/// Turns tokens into text as they come. A character that is spread over several tokens comes when it is whole.
#[derive(Default)]
pub(crate) struct Detokenizer {
    tokens: Vec<u32>,
    /// Before this, tokens only give context: some decoders write a token differently at the start of a text.
    context: usize,
    /// Before this, the text of tokens has been given out.
    given: usize,
}

impl Detokenizer {
    /// The text that is complete now that `token` has come.
    pub(crate) fn push(&mut self, token: u32, by: &Tokens) -> String {
        self.tokens.push(token);
        let (before, now) = self.decode(by);
        // U+FFFD stands for bytes that do not make a character yet.
        if now.len() <= before.len() || now.ends_with('\u{FFFD}') {
            return String::new();
        }
        self.context = self.given;
        self.given = self.tokens.len();
        now.get(before.len()..).unwrap_or_default().to_owned()
    }

    /// What is left at the end; bytes that never became a character are dropped.
    pub(crate) fn finish(&mut self, by: &Tokens) -> String {
        let (before, now) = self.decode(by);
        self.given = self.tokens.len();
        now.get(before.len()..).unwrap_or_default().trim_end_matches('\u{FFFD}').to_owned()
    }

    fn decode(&self, by: &Tokens) -> (String, String) {
        (by.decode(&self.tokens[self.context..self.given]), by.decode(&self.tokens[self.context..]))
    }
}

/// Looks for stop texts in what is written, and holds back what may become one.
pub(crate) struct StopTexts {
    stops: Vec<String>,
    held: String,
}

impl StopTexts {
    pub(crate) fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new() }
    }

    /// What may be shown now that `text` has come, and whether a stop text was found: then nothing follows.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, now that nothing more comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Length in bytes of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    (1..stop.len())
        .rev()
        .filter(|&length| stop.is_char_boundary(length))
        .find(|&length| text.ends_with(&stop[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(pieces: &[&str], stops: &[&str]) -> (Vec<String>, bool) {
        let mut texts = StopTexts::new(&stops.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>());
        let mut shown = Vec::new();
        for piece in pieces {
            let (text, stopped) = texts.push(piece);
            shown.push(text);
            if stopped {
                return (shown, true);
            }
        }
        shown.push(texts.finish());
        (shown, false)
    }

    #[test]
    fn a_stop_text_never_shows_not_even_its_beginning() {
        assert_eq!(
            run(&["Hello ", "EN", "D now"], &["END"]),
            (vec!["Hello ".into(), String::new(), String::new()], true)
        );
        assert_eq!(run(&["Hello EN", "ough"], &["END"]).0, ["Hello ", "ENough", ""]);
        assert_eq!(run(&["ab"], &["abc"]).0, ["", "ab"]);
        // The earliest one counts, whichever it is.
        assert_eq!(run(&["one two three"], &["three", "two"]), (vec!["one ".into()], true));
        assert_eq!(run(&["到此", "为", "止了"], &["为止"]), (vec!["到此".into(), String::new(), String::new()], true));
    }

    proptest! {
        /// However the text is cut, the same is shown, and it is the text up to the first stop.
        #[test]
        fn cutting_changes_nothing(text in "[ab的]{0,24}", stop in "[ab的]{1,4}", cuts in prop::collection::vec(0_usize..25, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| {
                text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len())
            }).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (shown, stopped) = run(&pieces, &[&stop]);
            prop_assert_eq!(stopped, text.contains(&stop));
            prop_assert_eq!(shown.concat(), text.split(&stop).next().unwrap_or_default());
        }
    }
}
