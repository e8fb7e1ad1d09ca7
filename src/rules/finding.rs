//! What is wrong with a rule file, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::keys::{Key, Keys};

/// One mistake, or something worth a second look.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Finding {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// What kind of mistake it is; stable.
    pub code: Code,
    /// The rule file or its script, as it was named when it was read.
    pub file: String,
    /// 1 is the first.
    pub line: usize,
    /// In characters; 1 is the first.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line itself, for the rendering.
    #[serde(skip)]
    shown: String,
    /// How many of its characters are meant.
    #[serde(skip)]
    width: usize,
}

/// Whether a file with a finding can be used.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and may do what its author did not want.
    Warning,
}

macro_rules! finding_codes {
    ($($name:ident $text:literal $doc:literal)*) => {
        /// The kinds of finding. They print in kebab case: `unknown-key`.
        #[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $doc] #[serde(rename = $text)] $name,)*
        }

        /// Every kind of finding, with what it means.
        pub const FINDINGS: Keys = &[$(Key { name: $text, doc: $doc },)*];
    };
}

finding_codes! {
    Unreadable "unreadable" "The file, its script or a fixture cannot be read, or is too large."
    Syntax "syntax" "It is not YAML, or YAML of a kind that rules do not use."
    FullWidth "full-width" "Full-width punctuation where ASCII belongs."
    UnknownKey "unknown-key" "A key that nothing reads."
    DuplicateKey "duplicate-key" "The same key twice."
    MissingKey "missing-key" "A key that must be there."
    WrongType "wrong-type" "A list where a text belongs, a number where money belongs, and the like."
    UnknownWord "unknown-word" "None of the words that may stand here."
    BadId "bad-id" "An id that is not made as ids are, or is taken."
    UnknownEvent "unknown-event" "An event type that does not exist."
    Schedule "schedule" "Times that are none, or that never come, or a time zone that does not exist."
    UnknownCapability "unknown-capability" "A capability that does not exist."
    Input "input" "`with` does not fit the capability."
    Expression "expression" "An expression or template that does not parse, or names what is not there."
    LaterStep "later-step" "A step names the answer of a step that has not run by then."
    NotAllowed "not-allowed" "A write that `allow` does not list."
    UnusedAllow "unused-allow" "An `allow` that nothing needs."
    UnusedLimit "unused-limit" "A limit that nothing in the rule counts against."
    Test "test" "A rule's own test could not be run, or could not fail."
    NotYet "not-yet" "Part of the format, and not built yet."
    DuplicateRule "duplicate-rule" "Two rules with the same id."
    SameWrite "same-write" "Two rules that may make the same write for the same event."
    Loop "loop" "Rules that may trigger each other without end."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The one spelling is serde's.
        self.serialize(f)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Finding {
    /// Place and message in one line as editors and CI read it, then the line itself with a mark, then the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, code, file, line, column, message, hint, shown, width } = self;
        writeln!(f, "{file}:{line}:{column}: {severity}[{code}]: {message}")?;
        if !shown.is_empty() {
            let number = line.to_string();
            writeln!(f, " {number} | {shown}")?;
            let under: String = shown.chars().take(column - 1).map(blank).collect();
            let mark: String = shown.chars().skip(column - 1).take((*width).max(1)).map(caret).collect();
            let mark = if mark.is_empty() { "^" } else { &mark };
            writeln!(f, " {:>1$} | {under}{mark}", "", number.len())?;
        }
        if let Some(hint) = hint {
            writeln!(f, "hint: {hint}")?;
        }
        Ok(())
    }
}

/// Chinese characters and full-width punctuation take two columns on a terminal.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF | 0x20000..=0x3FFFD)
}

/// As wide as `c`, and blank.
fn blank(c: char) -> &'static str {
    match c {
        '\t' => "\t",
        c if is_wide(c) => "\u{3000}",
        _ => " ",
    }
}

/// As wide as `c`, and a mark.
fn caret(c: char) -> &'static str {
    if is_wide(c) { "^^" } else { "^" }
}

/// What users wrote, made fit to be shown: short, on one line, nothing that a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).map(harmless).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

fn harmless(c: char) -> char {
    match c {
        '\t' => '\t',
        '\n' => ' ',
        // Marks that turn the direction of writing could make a line read as what it is not.
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// A file's findings as they are gathered.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    text: std::sync::Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
    findings: Vec<Finding>,
}

impl Report {
    /// More of them help nobody.
    pub(super) const MOST: usize = 100;

    pub(super) fn new(file: &Path, text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.display().to_string(), text: text.into(), lines, findings: Vec::new() }
    }

    pub(super) fn text(&self) -> std::sync::Arc<str> {
        self.text.clone()
    }

    /// The line on which a byte stands (1 is the first).
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// The bytes of a line, without its indentation and what ends it.
    pub(super) fn line_at(&self, line: usize) -> Option<Range<usize>> {
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let text = self.text[start..].lines().next().unwrap_or_default();
        let content = text.trim_start();
        let start = start + text.len() - content.len();
        Some(start..start + content.trim_end().len())
    }

    pub(super) fn error(&mut self, at: Range<usize>, code: Code, message: impl Into<String>) -> Hint<'_> {
        self.add(Severity::Error, at, code, message.into())
    }

    pub(super) fn warning(&mut self, at: Range<usize>, code: Code, message: impl Into<String>) -> Hint<'_> {
        self.add(Severity::Warning, at, code, message.into())
    }

    fn add(&mut self, severity: Severity, at: Range<usize>, code: Code, message: String) -> Hint<'_> {
        if self.findings.len() >= Self::MOST {
            return Hint(None);
        }
        let start = floor(&self.text, at.start);
        let end = floor(&self.text, at.end.max(start));
        let line = self.line(start);
        let line_start = self.lines[line - 1];
        let rest = &self.text[line_start..];
        let whole_line = rest.find('\n').map_or(rest, |end| &rest[..end]).trim_end();
        let column = self.text[line_start..start].chars().count() + 1;
        let here = &self.text[start..end];
        let width = here.find('\n').map_or(here, |end| &here[..end]).trim_end().chars().count();
        // A line that is too long to be shown is left out.
        let shown = if whole_line.len() <= 400 { whole_line.chars().map(harmless).collect() } else { String::new() };
        let message = message.chars().map(harmless).collect();
        let file = self.file.clone();
        self.findings.push(Finding { severity, code, file, line, column, message, hint: None, shown, width });
        Hint(self.findings.last_mut())
    }

    /// What was found, in the order of the file, each once.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|it| (it.line, it.column, it.code));
        self.findings.dedup();
        self.findings
    }
}

/// The nearest start of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// Adds the way out to the finding just made.
pub(super) struct Hint<'a>(Option<&'a mut Finding>);

impl Hint<'_> {
    pub(super) fn hint(self, hint: impl Into<String>) {
        self.maybe(Some(hint.into()));
    }

    pub(super) fn maybe(self, hint: Option<String>) {
        if let Some(finding) = self.0 {
            finding.hint = hint.map(|hint| hint.chars().map(harmless).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_character_even_in_chinese() {
        let text = "id: x\nname: 自动 ：回复\n";
        let mut report = Report::new(Path::new("a.yaml"), text);
        let at = text.find('：').expect("there");
        report.error(at..at + 3, Code::FullWidth, "a full-width colon").hint("write `:`");
        let shown = report.finish()[0].to_string();
        assert_eq!(
            shown,
            "a.yaml:2:10: error[full-width]: a full-width colon\n 2 | name: 自动 ：回复\n   |       \u{3000}\u{3000} ^^\nhint: write `:`\n"
        );
    }

    #[test]
    fn cannot_drive_a_terminal() {
        let mut report = Report::new(Path::new("a.yaml"), "id: \u{1b}[2Jx\n");
        report.error(4..9, Code::BadId, format!("`{}` is no id", "\u{1b}[2Jx"));
        assert!(!report.finish()[0].to_string().contains('\u{1b}'));
    }

    #[test]
    fn stays_within_the_text_and_the_bound() {
        let mut report = Report::new(Path::new("a.yaml"), "é");
        for _ in 0..1_000 {
            report.error(1..900, Code::Syntax, "x").hint("y");
        }
        assert_eq!(report.findings.len(), Report::MOST);
        assert_eq!((report.findings[0].line, report.findings[0].column), (1, 1));
    }
}
