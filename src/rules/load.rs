//! Rules from files and folders: the only place of this room that reads a disk.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::between;
use super::file::{self, Read};
use super::finding::{Code, Finding, Report, Severity};
use super::rule::Rule;
use crate::domain::Catalog;

/// The largest rule file, script or fixture.
const LARGEST: u64 = 1024 * 1024;
/// How many rule files are read.
const MOST_FILES: usize = 10_000;
/// How deep folders are entered.
const DEEPEST: usize = 16;

/// What came of files and folders.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The good ones, in the order of their files.
    pub rules: Vec<Arc<Rule>>,
    /// All that was found, in the files and between them.
    pub findings: Vec<Finding>,
    /// How many rule files were read.
    pub files: usize,
    /// What was not taken: files with a mistake, and what could not be read at all.
    pub unusable: Vec<Unusable>,
}

/// A file that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The file, or the folder that could not be read.
    pub file: PathBuf,
    /// The rule that it is about, where that can be told.
    pub id: Option<String>,
}

impl Loaded {
    /// How many findings there are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Says that something cannot be read, and so that nobody knows of which rules.
    fn give_up(&mut self, path: &Path, error: &io::Error, hint: &str) {
        let mut report = Report::new(path, "");
        report.error(0..0, Code::Unreadable, format!("this cannot be read: {error}")).hint(hint);
        self.findings.extend(report.finish());
        self.unusable.push(Unusable { file: path.to_owned(), id: None });
    }
}

/// Loads a folder of rules and the folders in it. See [`load`].
pub fn load_folder(folder: &Path, catalog: &Catalog) -> Loaded {
    load(&[folder.to_owned()], catalog)
}

/// Loads rule files and folders of them (`*.yaml`, `*.yml`; without hidden files and folders named `fixtures`), and
/// looks at the rules together.
pub fn load(paths: &[PathBuf], catalog: &Catalog) -> Loaded {
    let mut loaded = Loaded::default();
    let mut files = Vec::new();
    for path in paths {
        // A file that is named is read whatever it is called.
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => gather(path, 0, &mut files, &mut loaded),
            Ok(_) => files.push(path.clone()),
            Err(error) => loaded.give_up(path, &error, "name a rule file or a folder of them"),
        }
    }
    files.sort();
    files.dedup();
    if files.len() > MOST_FILES {
        let what = io::Error::other(format!("there are more than {MOST_FILES} rule files; the rest was not read"));
        loaded.give_up(&files[MOST_FILES], &what, "keep the rules of a shop in a folder of its own");
        files.truncate(MOST_FILES);
    }
    loaded.files = files.len();
    let mut rules = Vec::new();
    for path in files {
        let text = match bounded(&path) {
            Ok(text) => text,
            Err(error) => {
                loaded.give_up(&path, &error, "save it as UTF-8 text of at most 1 MiB");
                continue;
            }
        };
        let Read { rule, findings } = file::read(&path, &text, &|name| bounded(&path.with_file_name(name)), catalog);
        loaded.findings.extend(findings);
        match rule {
            Some(rule) => rules.push(rule),
            None => loaded.unusable.push(Unusable { id: id_in(&text), file: path }),
        }
    }
    let all: Vec<Unusable> =
        rules.iter().map(|rule| Unusable { file: rule.file.clone(), id: Some(rule.id.clone()) }).collect();
    loaded.rules = between::unique(rules, &mut loaded.findings);
    let taken: BTreeSet<&Path> = loaded.rules.iter().map(|rule| rule.file.as_path()).collect();
    loaded.unusable.extend(all.into_iter().filter(|it| !taken.contains(it.file.as_path())));
    loaded.findings.extend(between::warnings(&loaded.rules, catalog));
    loaded
}

/// The id that a file gives its rule, as far as it can be told of a file that is not even YAML.
fn id_in(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let value = text.lines().find_map(|line| line.strip_prefix("id:"))?;
    let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// The rule files in a folder.
fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, loaded: &mut Loaded) {
    if depth > DEEPEST {
        let what = io::Error::other(format!("folders nest deeper than {DEEPEST} levels here"));
        loaded.give_up(folder, &what, "move the rules further up");
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return loaded.give_up(folder, &error, "make the folder readable"),
    };
    for entry in entries {
        let (path, kind) = match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok(entry) => entry,
            Err(error) => {
                loaded.give_up(folder, &error, "make the folder readable");
                continue;
            }
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || files.len() > MOST_FILES {
            continue;
        }
        let is_rule = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        // A link to a file is one; a link to a folder may lead back up, and is not followed.
        if kind.is_dir() {
            if name != "fixtures" {
                gather(&path, depth + 1, files, loaded);
            }
        } else if is_rule && path.is_file() {
            files.push(path);
        }
    }
}

/// A file's text, unless it is too large or not UTF-8.
fn bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // Read, not asked for its size: a pipe has none.
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("it is not UTF-8: line {line} holds other bytes"))
    })
}
