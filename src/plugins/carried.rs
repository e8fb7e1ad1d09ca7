//! Rules that come with a plugin: files in `rules/` beside its manifest. They are carried and kept, and nothing here reads
//! them; a merchant copies what they want into a shop's rules folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::PluginError;
use super::artefacts::write;

/// The folder beside the manifest.
pub const RULES: &str = "rules";
/// The most files of rules, with their scripts and the events of their tests.
pub const MOST_FILES: usize = 50;
/// The largest of them, in bytes.
const LARGEST: u64 = 256 << 10;

/// The files that a plugin's folder carries, by name.
///
/// # Errors
/// [`PluginError`], where one has no place there.
pub fn carried(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, PluginError> {
    let folder = folder.join(RULES);
    if !folder.is_dir() {
        return Ok(BTreeMap::new());
    }
    let mut files = BTreeMap::new();
    let refused = |path: &Path, why: &str| PluginError::Refused(format!("{}: {why}", path.display()));
    for entry in fs::read_dir(&folder).map_err(|error| PluginError::file(&folder, error))? {
        let path = entry.map_err(|error| PluginError::file(&folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !is_carried(&name) {
            return Err(refused(
                &path,
                "here lie rules, their scripts and their tests' events: `.yaml`, `.rhai`, `.json`",
            ));
        }
        let size = fs::metadata(&path).map_err(|error| PluginError::file(&path, error))?.len();
        if size > LARGEST {
            return Err(refused(&path, &format!("a file of rules has at most {} KiB", LARGEST >> 10)));
        }
        files.insert(name, fs::read(&path).map_err(|error| PluginError::file(&path, error))?);
        if files.len() > MOST_FILES {
            return Err(refused(&folder, &format!("a plugin carries at most {MOST_FILES} files of rules")));
        }
    }
    Ok(files)
}

/// Whether a file of this name may be carried: no path, and nothing that is hidden.
pub fn is_carried(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = [".yaml", ".rhai", ".json"].iter().any(|end| name.ends_with(end));
    (6..=80).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') && ends
}

/// Writes them into another folder.
pub(super) fn keep(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), PluginError> {
    let folder = folder.join(RULES);
    if !files.is_empty() {
        fs::create_dir_all(&folder).map_err(|error| PluginError::file(&folder, error))?;
    }
    files.iter().try_for_each(|(name, content)| write(&folder.join(name), content))
}
