//! A YAML file as a tree that knows where everything stands.
//!
//! The parser is asked for its events, which carry places; what a plain scalar means (`true`, `50`, `~`) is
//! serde_yaml's word. Bounded: a file can neither nest nor multiply itself without end.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};
use serde_json::Value as Json;

use super::finding::{Code, Report, shown};
use super::near::ascii;

/// How deep a file may nest.
const DEEPEST: usize = 32;
/// How many values a file may hold once its aliases are written out.
const MOST_NODES: usize = 50_000;
/// How many keys one group may hold: looking for a key twice costs their square.
const MOST_KEYS: usize = 500;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Bytes of the file.
    pub(super) at: Range<usize>,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Scalar { text: String, style: ScalarStyle },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A text as it stands elsewhere, such as in a script.
    pub(super) fn of_text(text: &str, at: Range<usize>) -> Self {
        Self { at, data: Data::Scalar { text: text.to_owned(), style: ScalarStyle::DoubleQuoted } }
    }

    /// What is written, where it is a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is written: `key:`, or an explicit `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar { .. }) && self.json().is_null()
    }

    /// The value of a key.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The key itself.
    pub(super) fn key(&self, name: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries.iter().map(|(key, _)| key).find(|key| key.text() == Some(name)),
            _ => None,
        }
    }

    /// What lies at a JSON pointer, or the nearest thing around it.
    pub(super) fn at_pointer(&self, pointer: &str) -> &Node {
        pointer.split('/').skip(1).fold(self, |node, step| {
            let inner = match &node.data {
                Data::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                _ => node.get(&step.replace("~1", "/").replace("~0", "~")),
            };
            inner.unwrap_or(node)
        })
    }

    /// The value as JSON. Keys that are not texts are left out; [`parse`] has refused them.
    pub(super) fn json(&self) -> Json {
        match &self.data {
            Data::Scalar { text, style: ScalarStyle::Plain } => meaning(text),
            Data::Scalar { text, .. } => Json::String(text.clone()),
            Data::List(items) => items.iter().map(Node::json).collect(),
            Data::Map(entries) => {
                let entries = entries.iter().filter_map(|(key, value)| Some((key.text()?.to_owned(), value.json())));
                Json::Object(entries.collect())
            }
        }
    }

    /// What people would call it.
    pub(super) fn what(&self) -> &'static str {
        match self.data {
            Data::List(_) => "a list",
            Data::Map(_) => "a group of keys",
            Data::Scalar { .. } => match self.json() {
                Json::Null => "nothing",
                Json::Bool(_) => "true or false",
                Json::Number(_) => "a number",
                _ => "a text",
            },
        }
    }

    /// Where a part of a scalar's text stands in the file.
    ///
    /// YAML's folding, indenting and quoting move white space only, so counting the other characters finds the
    /// place whatever the style.
    pub(super) fn place(&self, file: &str, offset: usize, len: usize) -> Range<usize> {
        let Data::Scalar { text, style } = &self.data else { return self.at.clone() };
        let offset = text.floor_char_boundary(offset.min(text.len()));
        let end = text.floor_char_boundary(offset.saturating_add(len).min(text.len()));
        let written = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        let (before, inside) = (written(&text[..offset]), written(&text[offset..end]));
        let places = written_places(file, &self.at, *style);
        let Some(start) = places.get(before).map(|place| place.start) else { return self.at.end..self.at.end };
        let end = if inside == 0 { start } else { places.get(before + inside - 1).map_or(start, |place| place.end) };
        start..end
    }
}

/// Warns where a text without quotes ends at ` #`, which begins a comment, and the rest of it is lost: `Order #1042 is
/// late`. Comments that are meant have a space behind the `#`.
fn look_for_a_cut(at: &Range<usize>, report: &mut Report) {
    let text = report.text();
    let rest = text.get(at.end..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let lost = rest.trim_start_matches([' ', '\t']);
    let is_comment = lost.len() < rest.len() && lost.starts_with('#');
    if !at.is_empty() && is_comment && lost[1..].starts_with(|c: char| !c.is_whitespace() && c != '#') {
        let start = at.end + rest.len() - lost.len();
        report
            .warning(
                start..start + lost.trim_end().len(),
                Code::Syntax,
                "from the `#` on this is a comment, and no part of the text",
            )
            .hint("put the whole text in quotes; a comment that is meant has a space behind its `#`");
    }
}

/// Where each character of a scalar that is not white space stands in the file.
fn written_places(file: &str, at: &Range<usize>, style: ScalarStyle) -> Vec<Range<usize>> {
    let Some(source) = file.get(at.clone()) else { return Vec::new() };
    let (skip, source) = match style {
        ScalarStyle::Plain => (0, source),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            let end = source.len().saturating_sub(1).max(1);
            (1, source.get(1..end).unwrap_or_default())
        }
        // `|-` and what else stands on that line is not content.
        ScalarStyle::Literal | ScalarStyle::Folded if source.starts_with(['|', '>']) => {
            let skip = source.find('\n').map_or(source.len(), |end| end + 1);
            (skip, &source[skip..])
        }
        ScalarStyle::Literal | ScalarStyle::Folded => (0, source),
    };
    let mut places = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (len, is_written) = match (style, first) {
            (ScalarStyle::SingleQuoted, '\'') if rest.starts_with("''") => (2, true),
            (ScalarStyle::DoubleQuoted, '\\') => escape(rest),
            _ => (first.len_utf8(), !first.is_whitespace()),
        };
        let start = at.start + skip + (source.len() - rest.len());
        if is_written {
            places.push(start..start + len);
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    places
}

/// The length of the escape at the start of `text`, and whether it stands for something that can be seen.
fn escape(text: &str) -> (usize, bool) {
    let Some(letter) = text[1..].chars().next() else { return (1, true) };
    let digits = match letter {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // Next line, no-break space, line and paragraph separators are white space as well.
        't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' | ' ' | '\t' | '\n' | '\r' => {
            return (1 + letter.len_utf8(), false);
        }
        _ => return (1 + letter.len_utf8(), true),
    };
    let digits = text.get(2..2 + digits).unwrap_or_default();
    let stands_for = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    (2 + digits.len(), !stands_for.is_some_and(char::is_whitespace))
}

/// What a plain scalar means: nothing, yes or no, a number, else text.
fn meaning(text: &str) -> Json {
    let may_be_more = text.starts_with(|c: char| c.is_ascii_digit() || "+-.~nNtTfF".contains(c));
    let text_itself = || Json::String(text.to_owned());
    match text {
        "" => Json::Null,
        _ if !may_be_more || text.contains(char::is_whitespace) || text.len() > 40 => text_itself(),
        // The JSON value for `.nan` and `.inf` would be nothing; then it is the text.
        _ => match serde_yaml::from_str(text) {
            Ok(Json::Null) if !matches!(text, "~" | "null" | "Null" | "NULL") => text_itself(),
            Ok(value @ (Json::Null | Json::Bool(_) | Json::Number(_))) => value,
            _ => text_itself(),
        },
    }
}

/// Reads a file into a tree. Mistakes of YAML itself go to `report`; what could be read is given all the same.
pub(super) fn parse(report: &mut Report) -> Option<Node> {
    let text = report.text();
    let mut tree = Tree::new(&text);
    let mut parser = Parser::new_from_str(&text);
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = tree.byte(error.marker());
                report.error(at..at + 1, Code::Syntax, describe(&error)).maybe(advise(&text, at));
                return None;
            }
        };
        let at = tree.byte(&span.start)..tree.byte(&span.end);
        if let Err(stop) = tree.take(event, at, report) {
            let Stop { at, message, hint } = stop;
            report.error(at, Code::Syntax, message).hint(hint);
            return None;
        }
    }
    if tree.root.is_none() {
        report
            .error(0..0, Code::Syntax, "the file is empty")
            .hint("a rule begins with `id:`, `triggers:` and `steps:`; `storehand schema` tells an editor the rest");
    }
    tree.root
}

/// Why reading cannot go on.
struct Stop {
    at: Range<usize>,
    message: String,
    hint: &'static str,
}

/// A list or map that is still open.
struct Open {
    start: usize,
    anchor: usize,
    data: Data,
    /// The key that waits for its value.
    key: Option<Node>,
    /// Whether it has a key that is no word, and so is a template without quotes.
    is_template: bool,
}

struct Tree {
    /// The byte at which each character begins; empty where all are ASCII and a character is a byte.
    bytes: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Tree {
    fn new(text: &str) -> Self {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len())).collect()
        };
        Self { bytes, open: Vec::new(), root: None, anchors: HashMap::new(), nodes: 0 }
    }

    fn byte(&self, marker: &Marker) -> usize {
        match self.bytes.last() {
            None => marker.index(),
            Some(end) => self.bytes.get(marker.index()).copied().unwrap_or(*end),
        }
    }

    fn take(&mut self, event: Event<'_>, at: Range<usize>, report: &mut Report) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    report
                        .error(
                            at.clone(),
                            Code::Syntax,
                            "a word that begins with `!` is a YAML tag, and rules have none",
                        )
                        .hint("put the text in quotes; in a condition write `not: …`");
                }
                if style == ScalarStyle::Plain {
                    look_for_a_cut(&at, report);
                }
                let node = Node { at, data: Data::Scalar { text: text.into_owned(), style } };
                self.add(node, anchor, report)
            }
            Event::SequenceStart(anchor, _) => self.open(at, anchor, Data::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.open(at, anchor, Data::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { start, anchor, data, is_template, .. }) => {
                    let at = start..at.end.max(start);
                    // Taken for the text that it was meant to be, it brings no second mistake, and its own are found.
                    let text = report.text().get(at.clone()).filter(|_| is_template).map(str::to_owned);
                    let data = text.map_or(data, |text| Data::Scalar { text, style: ScalarStyle::Plain });
                    self.add(Node { at, data }, anchor, report)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                // An alias to something that is still open would hold itself.
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Stop {
                        at,
                        message: "this alias stands within the value that it names".into(),
                        hint: "write the value out",
                    });
                };
                let (nodes, depth) = size(&node);
                if self.open.len() + depth > DEEPEST {
                    return Err(too_deep(at));
                }
                self.nodes += nodes;
                node.at = at;
                self.add(node, 0, report)
            }
            Event::DocumentStart(_) if self.root.is_some() => Err(Stop {
                at,
                message: "a second document begins here, and a file holds one rule".into(),
                hint: "put each rule in a file of its own, without `---` between",
            }),
            _ => Ok(()),
        }
    }

    fn open(&mut self, at: Range<usize>, anchor: usize, data: Data) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            return Err(too_deep(at));
        }
        self.open.push(Open { start: at.start, anchor, data, key: None, is_template: false });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize, report: &mut Report) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Stop {
                at: node.at,
                message: format!("the file holds more than {MOST_NODES} values, its aliases written out"),
                hint: "a rule is short; where aliases (`*name`) made it long, write fewer",
            });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) if entries.len() > MOST_KEYS => {
                return Err(Stop {
                    at: node.at,
                    message: format!("this group holds more than {MOST_KEYS} keys"),
                    hint: "a rule that needs so much is several rules",
                });
            }
            Data::Map(entries) => match parent.key.take() {
                None => parent.key = Some(node),
                Some(key) if key.text().is_none() => {
                    // `text: {{ order.name }}` without quotes is, to YAML, a map within a map.
                    parent.is_template = true;
                    report
                        .error(key.at, Code::Syntax, "a key must be a word; to YAML this is a group of keys in braces")
                        .hint("where this is a template, put it in quotes: \"{{ … }}\"");
                }
                Some(key) => {
                    if is_first(&key, entries, report) {
                        entries.push((key, node));
                    }
                }
            },
            Data::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// A key must be there once; of two the first is kept.
fn is_first(key: &Node, entries: &[(Node, Node)], report: &mut Report) -> bool {
    let name = key.text().unwrap_or_default();
    let first = entries.iter().find(|(other, _)| other.text() == Some(name));
    if let Some((first, _)) = first {
        let line = report.line(first.at.start);
        report
            .error(key.at.clone(), Code::DuplicateKey, format!("`{}` is here twice", shown(name)))
            .hint(format!("it stands on line {line} already; keep one of them"));
    }
    first.is_none()
}

fn too_deep(at: Range<usize>) -> Stop {
    Stop {
        at,
        message: format!("this nests deeper than {DEEPEST} levels"),
        hint: "a rule is flat: look for an indentation that grows by mistake",
    }
}

/// How many values a node holds, and how deep it nests.
fn size(node: &Node) -> (usize, usize) {
    let sum = |inner: &mut dyn Iterator<Item = &Node>| {
        inner.map(size).fold((1, 1), |(nodes, depth), (more, deeper)| (nodes + more, depth.max(deeper + 1)))
    };
    match &node.data {
        Data::Scalar { .. } => (1, 0),
        Data::List(items) => sum(&mut items.iter()),
        Data::Map(entries) => sum(&mut entries.iter().flat_map(|(key, value)| [key, value])),
    }
}

fn describe(error: &ScanError) -> String {
    format!("this is not YAML: {}", error.info())
}

/// The way out for the ways in which rule files most often fail to be YAML, seen from the line.
fn advise(text: &str, at: usize) -> Option<String> {
    let at = text.floor_char_boundary(at.min(text.len()));
    // The parser often stops at the start of the line after the one with the mistake.
    let mut lines = text[..at].rsplit('\n');
    let before = lines.next().unwrap_or_default();
    let rest = &text[at..];
    let here = format!("{before}{}", rest.lines().next().unwrap_or_default());
    let above = lines.next().unwrap_or_default();
    [here.as_str(), above].into_iter().find_map(|line| {
        let content = line.trim_start();
        let value = content.trim_start_matches("- ");
        let value = value.split_once(": ").map_or(value, |(_, value)| value).trim();
        let first = value.chars().next()?;
        if line[..line.len() - content.len()].contains('\t') {
            Some("YAML is indented with spaces; replace the tabs at the start of the line".to_owned())
        } else if let Some((wide, plain)) = content.chars().find_map(|c| Some((c, ascii(c)?))) {
            Some(format!("`{wide}` is full-width; write `{plain}`"))
        } else if value.starts_with("{{") {
            Some("put a template in quotes: \"{{ … }}\"".to_owned())
        } else if matches!(first, '"' | '\'') && !value.ends_with(first) {
            Some(format!("put the whole expression in quotes of the other kind: '{}'", shown(value)))
        } else if value.contains(": ") {
            Some("put a text that holds `: ` in quotes".to_owned())
        } else if matches!(first, '@' | '`' | '%' | '&' | '*') {
            Some(format!("a text that begins with `{first}` needs quotes"))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<String>) {
        let mut report = Report::new(Path::new("x.yaml"), text);
        let node = parse(&mut report);
        (node, report.finish().iter().map(ToString::to_string).collect())
    }

    fn tree(text: &str) -> Node {
        let (node, findings) = read(text);
        assert!(findings.is_empty(), "{findings:?}");
        node.expect("a tree")
    }

    #[test]
    fn reads_what_serde_yaml_reads() {
        for text in [
            "a: 1\nb: [x, 'y', \"z\", true, ~, 1.5, -3, 0x10, 007, yes, 10m, .inf, 50 EUR]\nc: {d: e, f: }\n",
            "a: |\n  two\n  lines\nb: >-\n  folded\n  text\n\n  more\n",
            "a:\r\n  - b: c\r\n    d: e\r\n  - f\r\n",
            "a: &x {b: 1}\nc: *x\n",
            "id: 820982911946154508\n",
            "“50”: ¥20\n名: 自动\n",
        ] {
            let ours = tree(text).json();
            let mut theirs: Json = serde_yaml::from_str(text).expect("yaml");
            if let Some(item) = theirs.pointer_mut("/b/11") {
                *item = json!(".inf");
            }
            assert_eq!(ours, theirs, "{text}");
        }
    }

    #[test]
    fn knows_where_a_part_of_a_text_stands_whatever_the_style() {
        for text in [
            "a: order.totl > 5\n",
            "- 名: order.totl > 5\n",
            "a: 'it''s ''x'' order.totl > 5'\n",
            "a: \"\\\"x\\\" \\u4e2d\\t\\\n   order.totl > 5\"\n",
            "a: |\n  one &&\n    two &&\n  order.totl > 5\n",
            "a: >-  # note totl\n  one &&\n\n\n  order.totl > 5\nb: 1\n",
            "a: one\n  and order.totl\n  more\n",
            "a: [x, {b: 'order.totl'}]\r\n",
            "a: |\r\n  one\r\n  order.totl\r\n",
        ] {
            let root = tree(text);
            let node = find(&root);
            let value = node.text().expect("text");
            let place = node.place(text, value.find("totl").expect("there"), 4);
            let wanted = text.rfind("totl").expect("there");
            assert_eq!(place, wanted..wanted + 4, "{text}: {:?}", &text[node.at.clone()]);
        }

        fn find(node: &Node) -> &Node {
            match &node.data {
                Data::Scalar { .. } => node,
                Data::List(items) => find(items.last().expect("item")),
                Data::Map(entries) => find(&entries[0].1),
            }
        }
    }

    #[test]
    fn bounds_what_multiplies_or_nests() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(read(&bomb).1[0].contains("aliases"), "{:?}", read(&bomb).1);
        assert!(read(&"[".repeat(60)).1[0].contains("nests deeper"));
        assert!(read(&"[".repeat(100_000)).0.is_none());
        // Too large for a number, so it stays what is written.
        assert_eq!(tree("id: 99999999999999999999999").json(), json!({ "id": "99999999999999999999999" }));
        assert!(read(&"- ".repeat(1_000)).1[0].contains("nests deeper"));
        assert!(read("a: &a [*a]\n").1[0].contains("alias"), "{:?}", read("a: &a [*a]\n").1);
    }

    #[test]
    fn refuses_what_a_rule_is_not() {
        assert!(read("").1[0].contains("empty"));
        assert!(read("# only a comment\n").1[0].contains("empty"));
        assert!(read("a: 1\n---\nb: 2\n").1[0].contains("second document"));
        assert!(read("a: 1\na: 2\n").1[0].contains("twice"));
        assert!(read("a: !order x\n").1[0].contains("tag"));
        assert!(read("a: {{ order.name }}\n").1[0].contains("\"{{ … }}\""), "{:?}", read("a: {{ order.name }}\n"));
        assert!(read("a:\n\tb: 1\n").1[0].contains("tabs"), "{:?}", read("a:\n\tb: 1\n"));
    }

    proptest! {
        #[test]
        fn never_panics_and_every_place_is_within_the_file(text in "[-a-z :\\[\\]{}&*!|>'\"#\n\t\r，中\\\\?%@]{0,60}") {
            let (root, _) = read(&text);
            fn check(node: &Node, file: &str) -> Result<(), TestCaseError> {
                prop_assert!(node.at.end <= file.len() && file.get(node.at.clone()).is_some());
                match &node.data {
                    Data::Scalar { text, .. } => for offset in 0..=text.len() {
                        let place = node.place(file, offset, 3);
                        prop_assert!(place.end <= file.len());
                    },
                    Data::List(items) => for item in items { check(item, file)?; },
                    Data::Map(entries) => for (key, value) in entries { check(key, file)?; check(value, file)?; },
                }
                Ok(())
            }
            if let Some(root) = root {
                check(&root, &text)?;
                let _ = root.json();
            }
        }
    }
}
