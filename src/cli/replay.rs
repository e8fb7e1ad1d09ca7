//! `storehand runs replay FILE`: offline, whether a run that was written out comes out the same.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::events::pretty;
use super::out::counted;
use super::{Global, Hinted, say};
use crate::engine::replay::{Exported, MOST_BYTES, ReplayError, Replayed, replay};

/// `storehand runs replay`
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// What `storehand runs export` has written
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Replays a run; 1 where it comes out otherwise.
pub(super) fn run(args: &ReplayArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
    let exported = Exported::read(&text).map_err(|error| hinted(&args.file, error))?;
    let replayed = replay(&exported, &global.registry()?).map_err(|error| hinted(&args.file, error))?;
    if args.json {
        say(pretty(&json!(replayed)));
    } else {
        say(told(&exported, &replayed));
    }
    Ok(if replayed.difference.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came of it, for people.
fn told(exported: &Exported, replayed: &Replayed) -> String {
    let run = &exported.run;
    let of = format!("{} of {} (version {})", run.id, run.rule, run.version);
    let ours = env!("CARGO_PKG_VERSION");
    let by = if exported.storehand == ours {
        String::new()
    } else {
        format!("\nIt was written by Storehand {} and replayed by {ours}.", exported.storehand)
    };
    let Some(difference) = &replayed.difference else {
        let (calls, steps) = (counted(replayed.calls as u64, "call"), counted(replayed.steps as u64, "step"));
        return format!("{of} comes out the same: {calls} in {steps}{by}");
    };
    let when = difference.after.as_ref().map_or_else(|| "at the beginning".into(), |path| format!("after `{path}`"));
    let (recorded, came) = (&difference.recorded, &difference.came);
    format!("{of} comes out otherwise, {when}:\n  on record  {recorded}\n  replayed   {came}{by}")
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    opened.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| {
        Hinted::new(format!("{}: {error}", file.display()), "`storehand runs export RUN --out FILE` writes such a file")
    })?;
    if text.len() as u64 > MOST_BYTES {
        let message = format!("{} is larger than {} MiB", file.display(), MOST_BYTES >> 20);
        return Err(Hinted::new(message, "no run is that large; is this the right file?").into());
    }
    Ok(text)
}

fn hinted(file: &Path, error: ReplayError) -> Hinted {
    let hint = match &error {
        ReplayError::Damaged(_) => "write it again: `storehand runs export RUN --out FILE`",
        ReplayError::Newer { .. } => "replay it with that release or a newer one",
        ReplayError::Rule(_) => "replay it with the build that ran it; what it lacks is named above",
        ReplayError::Redacted => "counts, money and times of it are left: `storehand runs show RUN`",
        ReplayError::Undo => "export the run that it took back",
    };
    Hinted::new(format!("{}: {error}", file.display()), hint)
}

/// Writes a run to a file that only its owner may read: customers' data is in it.
pub(super) fn write(file: &Path, run: &str) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let mut opened = opened.with_context(|| format!("cannot write {}", file.display()))?;
    opened.write_all(run.as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}
