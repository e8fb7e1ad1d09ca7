//! Rules that come with a plugin: looked at, and copied to where a shop has its own.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::{Hinted, say};
use crate::domain::Catalog;
use crate::rules::{self, Loaded, Severity, Status};

/// Says which rules lie there, or copies them into a shop's folder.
pub(super) fn bring(from: &Path, to: Option<&Path>, catalog: &Catalog) -> anyhow::Result<()> {
    let loaded = rules::load_folder(from, catalog);
    let names: Vec<&str> = loaded.rules.iter().map(|rule| rule.id.as_str()).collect();
    let Some(to) = to else {
        say(format_args!("  it brings rules: {}, in {}", names.join(", "), from.display()));
        say("  `storehand plugin install … --rules FOLDER` copies them into a shop's rules folder");
        return Ok(());
    };
    if loaded.count(Severity::Error) > 0 {
        loaded.findings.iter().filter(|finding| finding.severity == Severity::Error).for_each(say);
        return Err(Hinted::new(
            "the rules that come with it are not in order",
            "tell its maker; the plugin itself is installed",
        )
        .into());
    }
    are_drafts(&loaded, from)?;
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let file = to.join(entry.file_name());
        if file.exists() {
            say(format_args!("  {} is there already and stays as it is", file.display()));
            continue;
        }
        // Read and written, so that the shop's own permissions hold.
        let text = fs::read(entry.path()).with_context(|| format!("cannot read {}", entry.path().display()))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        say(format_args!("  {}: a draft, until you set `status: live`", file.display()));
    }
    Ok(())
}

/// What comes with a plugin must not run before somebody has thought of it.
pub(super) fn are_drafts(loaded: &Loaded, within: &Path) -> anyhow::Result<()> {
    let begins = |rule: &&std::sync::Arc<rules::Rule>| rule.file.starts_with(within) && rule.status != Status::Draft;
    match loaded.rules.iter().find(begins) {
        None => Ok(()),
        Some(rule) => {
            let message = format!("{}: a rule that comes with a plugin is a draft", rule.file.display());
            Err(Hinted::new(message, "write `status: draft`; whoever installs it switches it on").into())
        }
    }
}
