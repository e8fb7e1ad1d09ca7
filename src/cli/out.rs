//! Writing to people: results to stdout, errors to stderr.

use std::fmt;
use std::io::Write as _;

/// Writes a line to stdout. Whoever closed it, as `head` does, has read enough: that is no error.
pub(crate) fn say(text: impl fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// An error with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Hinted {
    message: String,
    hint: String,
}

impl Hinted {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Writes an error, its causes and what to do about it to stderr.
pub(crate) fn report(error: &anyhow::Error) {
    let _ = write!(std::io::stderr().lock(), "{}", Report(error));
}

struct Report<'e>(&'e anyhow::Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.0)?;
        let mut said = self.0.to_string();
        for cause in self.0.chain().skip(1) {
            let text = cause.to_string();
            // Some errors repeat their cause in their own text.
            if !said.contains(&text) {
                writeln!(f, "  because: {text}")?;
            }
            said = text;
        }
        // Asked of anyhow's error, not of its chain, whose members hide what was given as context.
        self.0.downcast_ref::<Hinted>().map_or(Ok(()), |hinted| writeln!(f, "hint: {}", hinted.hint))
    }
}

/// `1 rule`, `2 rules`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A text of at most so many characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Rows as text, in columns as wide as they must be.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(at, name)| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).fold(width(name), usize::max)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded =
            cells.zip(&widths).map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell).min(*wide))));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Columns on a terminal: Chinese, Japanese and Korean letters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_says_why_and_what_to_do() {
        let error =
            Err::<(), _>(Hinted::new("port 1 is taken", "take another")).context("cannot start").expect_err("it");
        assert_eq!(Report(&error).to_string(), "error: cannot start\n  because: port 1 is taken\nhint: take another\n");
        let error = anyhow::anyhow!("refused").context(Hinted::new("no answer", "start it")).context("cannot list");
        let told = "error: cannot list\n  because: no answer\n  because: refused\nhint: start it\n";
        assert_eq!(Report(&error).to_string(), told);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["自动".to_owned(), "1".to_owned()], vec!["ab".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name  n\n自动  1\nab    22");
    }
}
