//! HTML made plain: what a mail says to somebody who sees no formatting.
//!
//! One pass over the text and no tree, so that no nesting costs anything. Nothing is fetched and nothing is run: what
//! is in scripts, styles and comments is passed over. What somebody else wrote (`<blockquote>`) gets `> ` before its
//! lines, as it has in plain text.

use super::cut;

/// The longest HTML that is read, in bytes.
const MOST_HTML: usize = 1 << 20;
/// Quotes within quotes that are marked.
const MOST_DEPTH: usize = 8;
/// The longest name of a character, `&hellip;` for one.
const LONGEST_NAME: usize = 10;

/// Elements whose text nobody sees.
const UNSEEN: &[&str] = &["head", "script", "style", "title", "template", "noscript"];
/// Elements that begin and end a line.
const LINES: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

const CHARACTERS: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ensp", " "),
    ("emsp", " "),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bull", "•"),
    ("middot", "·"),
    ("times", "×"),
    ("auml", "ä"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("Auml", "Ä"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("szlig", "ß"),
    ("eacute", "é"),
    ("egrave", "è"),
    ("agrave", "à"),
    ("ccedil", "ç"),
    ("ntilde", "ñ"),
    ("zwnj", ""),
    ("zwj", ""),
    ("shy", ""),
];

/// The text of some HTML, of at most so many bytes.
pub(super) fn plain(html: &str, most: usize) -> String {
    let mut rest = cut(html, MOST_HTML);
    let mut page = Page::default();
    while !rest.is_empty() && page.text.len() < most {
        let Some(at) = rest.find('<') else {
            page.words(rest);
            break;
        };
        page.words(&rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        // `<` before anything but a letter, `/`, `!` or `?` is a sign that somebody typed.
        if !rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
            page.words("<");
            rest = &rest[1..];
            continue;
        }
        let Some(end) = tag_end(rest) else { break };
        let (tag, after) = (&rest[1..end], &rest[end + 1..]);
        rest = after;
        let (closing, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if !closing && !tag.ends_with('/') && UNSEEN.contains(&name.as_str()) {
            rest = past(rest, &name);
            continue;
        }
        match (name.as_str(), closing) {
            ("br", _) => page.line(),
            ("blockquote", false) => page.deeper(1),
            ("blockquote", true) => page.deeper(-1),
            ("p", _) => page.paragraph(),
            ("li", false) => {
                page.begin_line();
                page.words("- ");
            }
            ("td" | "th", true) => page.words(" "),
            (line, _) if LINES.contains(&line) => page.begin_line(),
            _ => {}
        }
    }
    cut(page.text.trim(), most).to_owned()
}

/// Where a tag ends: a `>` within quotes does not end it.
fn tag_end(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if rest[..at].trim_end().ends_with('=') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        // A quote that is never closed must not swallow the mail.
        if at > 16 << 10 {
            break;
        }
    }
    rest.find('>')
}

/// What follows the end of an element; nothing where it does not end.
fn past<'t>(rest: &'t str, name: &str) -> &'t str {
    let mut from = 0;
    while let Some(at) = rest[from..].find("</").map(|at| from + at) {
        let ends = rest[at + 2..].get(..name.len()).is_some_and(|it| it.eq_ignore_ascii_case(name));
        if ends {
            return rest[at..].find('>').map_or("", |end| &rest[at + end + 1..]);
        }
        from = at + 2;
    }
    ""
}

#[derive(Default)]
struct Page {
    text: String,
    depth: usize,
    /// Blockquotes beyond those that are marked.
    beyond: usize,
}

impl Page {
    fn at_line_begin(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    fn words(&mut self, html: &str) {
        let mut rest = html;
        while let Some(c) = rest.chars().next() {
            if c.is_whitespace() {
                rest = rest.trim_start();
                if !self.at_line_begin() && !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
                continue;
            }
            if self.at_line_begin() && self.depth > 0 {
                self.text.extend(std::iter::repeat_n('>', self.depth));
                self.text.push(' ');
            }
            match (c == '&').then(|| character(&rest[1..])).flatten() {
                Some((text, length)) => {
                    self.text.push_str(&text);
                    rest = &rest[1 + length..];
                }
                None => {
                    if !c.is_control() {
                        self.text.push(c);
                    }
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
    }

    fn line(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        // No more than two empty lines follow each other.
        if !self.text.ends_with("\n\n\n") {
            self.text.push('\n');
        }
    }

    fn begin_line(&mut self) {
        if !self.at_line_begin() {
            self.line();
        }
    }

    fn paragraph(&mut self) {
        self.begin_line();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.line();
        }
    }

    fn deeper(&mut self, by: i8) {
        self.begin_line();
        match by {
            1 if self.depth == MOST_DEPTH => self.beyond += 1,
            1 => self.depth += 1,
            _ if self.beyond > 0 => self.beyond -= 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
    }
}

/// The character that `&` begins, and how long its name is with the `;`.
fn character(rest: &str) -> Option<(String, usize)> {
    let end = rest.bytes().take(LONGEST_NAME + 1).position(|byte| byte == b';')?;
    let name = rest.get(..end)?;
    let text = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            let c = char::from_u32(code)?;
            if c == '\u{a0}' {
                " ".to_owned()
            } else if c.is_control() {
                String::new()
            } else {
                c.to_string()
            }
        }
        None => CHARACTERS.iter().find(|(known, _)| *known == name)?.1.to_owned(),
    };
    Some((text, end + 1))
}
