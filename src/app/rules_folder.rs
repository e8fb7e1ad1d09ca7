//! Files are the wanted state: a shop's rules folder is read, checked and tested, and read again when it changes.
//!
//! File by file: one that has a mistake or a failing test is not taken, and keeps no other from being taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::rule_book::Book;
use crate::domain::ShopId;
use crate::engine::{Engine, Registry, rule_tests};
use crate::rules::{self, Rule, Severity, Status, Tuning};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What came of a shop's rules folder.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The rules that are good, tuned to the shop.
    pub(super) rules: Vec<Arc<Rule>>,
    /// The files that are not taken.
    pub(super) refused: Vec<Refused>,
    /// Tests that fail, of drafts by their ids: a draft may be read all the same, and must not go live.
    pub(super) failing: BTreeMap<String, Vec<String>>,
    /// All that is wrong, each with its place and the way out.
    problems: Vec<String>,
    /// What may be wrong.
    warnings: Vec<String>,
}

/// A file that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The file; a folder where that cannot be read.
    pub(super) file: PathBuf,
    /// Whose it is, where that can be told.
    pub(super) id: Option<String>,
    /// Why, in a line.
    pub(super) why: String,
}

/// Reads a shop's rules, tunes them, and runs their own tests.
pub(super) fn check_folder(
    folder: &Path,
    inputs: &BTreeMap<String, BTreeMap<String, Json>>,
    registry: &Arc<Registry>,
) -> Checked {
    let loaded = rules::load_folder(folder, registry.catalog());
    let mut checked = Checked::default();
    for finding in &loaded.findings {
        let list = if finding.severity == Severity::Error { &mut checked.problems } else { &mut checked.warnings };
        list.push(finding.to_string());
    }
    for it in loaded.unusable {
        let name = it.file.display().to_string();
        let own = loaded.findings.iter().find(|found| found.severity == Severity::Error && found.file == name);
        let why = own.map(|found| format!("line {}: {}", found.line, found.message));
        let why = why.unwrap_or_else(|| "what lies beside it has mistakes".into());
        checked.refused.push(Refused { file: it.file, id: it.id, why });
    }
    for name in inputs.keys().filter(|name| !loaded.rules.iter().any(|rule| rule.id == **name)) {
        checked.warnings.push(format!("the configuration tunes a rule `{name}`, which is not in {}", folder.display()));
    }
    for rule in loaded.rules {
        checked.take(rule, inputs, registry);
    }
    checked
}

impl Checked {
    /// A rule whose file is good is taken where its tests pass and its tuning fits.
    fn take(&mut self, rule: Arc<Rule>, inputs: &BTreeMap<String, BTreeMap<String, Json>>, registry: &Arc<Registry>) {
        let (file, id) = (rule.file.clone(), rule.id.clone());
        let failed = rule_tests::run(&rule, registry).into_iter().filter(|report| !report.passed);
        let failed: Vec<String> = failed
            .map(|report| format!("line {}: test `{}` fails: {}", report.line, report.name, report.messages.join("; ")))
            .collect();
        let placed = failed.iter().map(|failed| format!("{}: {failed}", file.display()));
        let refuse = |why: String| Refused { file: file.clone(), id: Some(id.clone()), why };
        if let Some(first) = failed.first() {
            if rule.status != Status::Draft {
                let more = failed.len() - 1;
                let why = if more == 0 { first.clone() } else { format!("{first} (and {more} more)") };
                self.refused.push(refuse(why));
                self.problems.extend(placed);
                return;
            }
            self.warnings.extend(placed);
            self.failing.insert(id.clone(), failed);
        }
        let none = Tuning::new();
        let tuning = inputs.get(&id).unwrap_or(&none);
        // The folder holds the only copy: it is not shared yet.
        let Some(rule) = Arc::into_inner(rule) else { return };
        match rule.tuned(tuning) {
            Ok(rule) => self.rules.push(Arc::new(rule)),
            Err(mistakes) => {
                self.refused.push(refuse(format!("the shop's own values do not fit: {}", mistakes.join("; "))));
                self.problems.extend(mistakes);
            }
        }
    }

    /// Says in the log what was found.
    pub(super) fn log(&self, shop: &ShopId) {
        for warning in &self.warnings {
            tracing::warn!(%shop, "{warning}");
        }
        for problem in &self.problems {
            tracing::error!(%shop, "{problem}");
        }
        tracing::info!(%shop, rules = self.rules.len(), refused = self.refused.len(), "rules read");
    }
}

/// Watches a shop's folder and puts changed rules in force, until told to stop.
///
/// By looking, once a second, rather than by the system's notices: those differ between systems, do not work on
/// network folders, and tell of half-written files.
pub(super) async fn watch(book: Arc<Book>, engine: Arc<Engine>, stop: CancellationToken) {
    let look = |book: &Arc<Book>| {
        let folder = book.folder.clone();
        tokio::task::spawn_blocking(move || fingerprint(&folder))
    };
    // What was saved since the first reading, while everything else was starting, is a change too.
    let mut in_force = book.first_read.clone();
    let mut last = in_force.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let Ok(now) = look(&book).await else { continue };
        // Only what has stood still for a moment is read: an editor may be writing.
        let still = now == last;
        last = now;
        if !still || last == in_force {
            continue;
        }
        match book.look_again(&engine).await {
            Ok(()) => in_force.clone_from(&last),
            Err(error) => {
                tracing::error!(shop = %book.shop, %error, "the changed rules are not in force; trying again");
            }
        }
    }
}

/// What tells whether a folder has changed: each file's path, length and time.
pub(super) type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// How a folder is at the moment.
pub(super) fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
            if meta.is_dir() && depth < 16 {
                folders.push((entry.path(), depth + 1));
            } else if meta.is_file() && found.len() < 50_000 {
                found.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
    }
    found.sort();
    found
}
