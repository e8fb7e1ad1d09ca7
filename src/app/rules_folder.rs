//! Files are the wanted state: a shop's rules folder is read, checked and tested, and read again when it changes.
//!
//! All or nothing: where one file of the folder has a mistake or a failing test, the rules that run stay as they
//! are, and the log says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use crate::domain::{Catalog, ShopId};
use crate::engine::{Engine, Registry, rule_tests};
use crate::rules::{self, Rule, RuleSet, Severity, Status, Tuning};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What came of a shop's rules folder.
pub struct Checked {
    /// The rules that are good, tuned to the shop.
    pub rules: Vec<Arc<Rule>>,
    /// What is wrong with the others, each with its place and the way out.
    pub problems: Vec<String>,
    /// What may be wrong.
    pub warnings: Vec<String>,
}

/// Reads a shop's rules, tunes them, and runs their own tests.
pub fn check_folder(
    folder: &Path,
    inputs: &BTreeMap<String, BTreeMap<String, Json>>,
    registry: &Arc<Registry>,
) -> Checked {
    let loaded = rules::load_folder(folder, registry.catalog());
    let mut checked = Checked { rules: Vec::new(), problems: Vec::new(), warnings: Vec::new() };
    for finding in &loaded.findings {
        let list = if finding.severity == Severity::Error { &mut checked.problems } else { &mut checked.warnings };
        list.push(finding.to_string());
    }
    for name in inputs.keys().filter(|name| !loaded.rules.iter().any(|rule| rule.id == **name)) {
        checked.warnings.push(format!("the configuration tunes a rule `{name}`, which is not in {}", folder.display()));
    }
    let none = Tuning::new();
    for rule in loaded.rules {
        let failed = rule_tests::run(&rule, registry).into_iter().filter(|report| !report.passed);
        let failed: Vec<String> = failed
            .map(|report| {
                let (file, line) = (rule.file.display(), report.line);
                format!("{file}:{line}: test `{}` fails: {}", report.name, report.messages.join("; "))
            })
            .collect();
        if !failed.is_empty() && rule.status != Status::Draft {
            checked.problems.extend(failed);
            continue;
        }
        checked.warnings.extend(failed);
        // A rule of which the folder holds the only copy is not shared yet.
        let tuning = inputs.get(&rule.id).unwrap_or(&none);
        let tuned = match Arc::try_unwrap(rule) {
            Ok(rule) => rule.tuned(tuning),
            Err(_) => continue,
        };
        match tuned {
            Ok(rule) => checked.rules.push(Arc::new(rule)),
            Err(mistakes) => checked.problems.extend(mistakes),
        }
    }
    checked
}

impl Checked {
    /// Says in the log what was found.
    pub fn log(&self, shop: &ShopId) {
        for warning in &self.warnings {
            tracing::warn!(%shop, "{warning}");
        }
        for problem in &self.problems {
            tracing::error!(%shop, "{problem}");
        }
        let live = self.rules.iter().filter(|rule| rule.status == Status::Live).count();
        tracing::info!(%shop, rules = self.rules.len(), live, "rules read");
    }

    /// The good rules, ready to run.
    pub fn into_set(self, catalog: &Catalog) -> RuleSet {
        RuleSet::new(self.rules, catalog)
    }
}

/// How a shop's rules stand, for whoever asks whether all is well.
#[derive(Debug)]
pub(super) struct State(Mutex<(bool, String)>);

impl State {
    pub(super) fn of(checked: &Checked) -> Self {
        Self(Mutex::new(Self::sentence(checked)))
    }

    fn sentence(checked: &Checked) -> (bool, String) {
        let live = checked.rules.iter().filter(|rule| rule.status == Status::Live).count();
        match checked.problems.len() {
            0 => (true, format!("{live} rules live")),
            count => (false, format!("{count} mistakes in the rules folder; see the log")),
        }
    }

    /// Whether all is well, in a sentence.
    pub(super) fn get(&self) -> (bool, String) {
        self.0.lock().map_or_else(|_| (false, "not known".into()), |state| state.clone())
    }

    fn set(&self, checked: &Checked) {
        if let Ok(mut state) = self.0.lock() {
            *state = Self::sentence(checked);
        }
    }
}

/// A folder that is watched.
pub(super) struct Watched {
    pub(super) shop: ShopId,
    pub(super) folder: PathBuf,
    pub(super) inputs: BTreeMap<String, BTreeMap<String, Json>>,
    pub(super) registry: Arc<Registry>,
    pub(super) engine: Arc<Engine>,
    pub(super) state: Arc<State>,
}

/// Watches a shop's folder and puts changed rules in force, until told to stop.
///
/// By looking, once a second, rather than by the system's notices: those differ between systems, do not work on
/// network folders, and tell of half-written files.
pub(super) async fn watch(watched: Watched, stop: CancellationToken) {
    let watched = Arc::new(watched);
    let look = |watched: &Arc<Watched>| {
        let folder = watched.folder.clone();
        tokio::task::spawn_blocking(move || fingerprint(&folder))
    };
    let mut in_force = look(&watched).await.unwrap_or_default();
    let mut last = in_force.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let Ok(now) = look(&watched).await else { continue };
        // Only what has stood still for a moment is read: an editor may be writing.
        let still = now == last;
        last = now;
        if !still || last == in_force {
            continue;
        }
        in_force.clone_from(&last);
        let for_check = watched.clone();
        let checked = tokio::task::spawn_blocking(move || {
            check_folder(&for_check.folder, &for_check.inputs, &for_check.registry)
        });
        let Ok(checked) = checked.await else { continue };
        checked.log(&watched.shop);
        watched.state.set(&checked);
        if !checked.problems.is_empty() {
            tracing::error!(shop = %watched.shop, "the rules folder has mistakes: the rules that run stay as they are");
            continue;
        }
        let rules = Arc::new(checked.into_set(watched.registry.catalog()));
        match watched.engine.set_rules(&watched.shop, rules).await {
            Ok(()) => tracing::info!(shop = %watched.shop, "the changed rules are in force"),
            Err(error) => tracing::error!(shop = %watched.shop, %error, "the changed rules are not in force"),
        }
    }
}

/// What tells whether a folder has changed: each file's path, length and time.
fn fingerprint(folder: &Path) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
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
