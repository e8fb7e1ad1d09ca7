//! The folder of installed plugins: `NAME/VERSION/` holds a version's manifest, component, compiled code and the rules that
//! it carries, `NAME/current` names the version that new runs use. Older ones stay: a run that waits goes on with the one that it began with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::artefacts::{self, write};
use super::carried::{self, carried};
use super::component;
use super::host::Host;
use super::manifest::{self, Manifest};
use super::provided::Plugin;
use super::{PluginError, World};

const CURRENT: &str = "current";

/// The folder of installed plugins.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// An installed version.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its manifest.
    pub manifest: Manifest,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// Whether new runs use it.
    pub is_current: bool,
}

impl Folder {
    /// That of this data folder.
    pub fn within(data: &Path) -> Self {
        Self(data.join("plugins"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Installs the plugin whose manifest stands in `from`: checked, compiled, and from now on the version that new runs
    /// use. The same version with another content is refused: runs may be under way on it.
    ///
    /// # Errors
    /// [`PluginError`], and then what was installed stays in force.
    pub fn install(&self, host: &Host, from: &Path) -> Result<Installed, PluginError> {
        let (manifest, text) = read_manifest(from)?;
        let file = from.join(&manifest.component);
        let bytes = component::read(&file)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        let rules = carried(from)?;
        let to = self.folder_of(&manifest.name, &manifest.version);
        if let Ok((_, old)) = read_manifest(&to)
            && (old != text
                || fs::read(to.join(&manifest.component)).is_ok_and(|old| old != bytes)
                || carried(&to).is_ok_and(|old| old != rules))
        {
            return Err(PluginError::Refused(format!(
                "{} {} is installed already, with another content\n  hint: runs may be under way on it; raise `version` in {}",
                manifest.name,
                manifest.version,
                from.join(manifest::FILE).display()
            )));
        }
        fs::create_dir_all(&to).map_err(|error| PluginError::file(&to, error))?;
        let compiled = artefacts::load(host, &self.0, &to, &file, &bytes)?;
        let loaded = component::link(host, &file, &compiled)?;
        Plugin::fits(&manifest, loaded.world)?;
        write(&to.join(&manifest.component), &bytes)?;
        carried::keep(&to, &rules)?;
        write(&to.join(manifest::FILE), text.as_bytes())?;
        write(&self.0.join(&manifest.name).join(CURRENT), manifest.version.as_bytes())?;
        Ok(Installed { manifest, digest, is_current: true })
    }

    /// Where the rules lie that a version carries.
    pub fn rules_of(&self, manifest: &Manifest) -> PathBuf {
        self.folder_of(&manifest.name, &manifest.version).join(carried::RULES)
    }

    /// Every installed version, by name and version. What cannot be read is left out, with a warning.
    pub fn list(&self) -> Vec<Installed> {
        let mut all = Vec::new();
        for name in names_in(&self.0) {
            let current = self.current(&name);
            for version in self.versions(&name) {
                match self.read(&name, &version, current.as_deref()) {
                    Ok(installed) => all.push(installed),
                    Err(error) => tracing::warn!(%error, name, version, "an installed plugin cannot be read"),
                }
            }
        }
        all.sort_by_key(|it| (it.manifest.name.clone(), number(&it.manifest.version)));
        all
    }

    fn read(&self, name: &str, version: &str, current: Option<&str>) -> Result<Installed, PluginError> {
        let folder = self.folder_of(name, version);
        let (manifest, _) = read_manifest(&folder)?;
        let file = folder.join(&manifest.component);
        let bytes = component::read(&file)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Ok(Installed { manifest, digest, is_current: current == Some(version) })
    }

    /// The names of the plugins that have a version in use.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.0).into_iter().filter(|name| self.current(name).is_some()).collect()
    }

    /// The versions of a plugin that are installed.
    pub fn versions(&self, name: &str) -> Vec<String> {
        names_in(&self.0.join(name))
    }

    /// The version of a plugin that new runs use.
    pub fn current(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(name).join(CURRENT)).ok()?;
        Some(text.trim().to_owned()).filter(|version| !version.is_empty())
    }

    /// A version, ready to run.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn load(&self, host: &Host, name: &str, version: &str) -> Result<Arc<Plugin>, PluginError> {
        let folder = self.folder_of(name, version);
        let (manifest, _) = read_manifest(&folder)?;
        let file = folder.join(&manifest.component);
        let bytes = component::read(&file)?;
        let compiled = artefacts::load(host, &self.0, &folder, &file, &bytes)?;
        let loaded = component::link(host, &file, &compiled)?;
        Plugin::new(manifest, loaded).map(Arc::new)
    }

    /// `name` and `version` come from manifests and calls: neither may lead out of the folder.
    fn folder_of(&self, name: &str, version: &str) -> PathBuf {
        let plain = |text: &str| text.replace(['/', '\\', '\0'], "_").trim_start_matches('.').to_owned();
        self.0.join(plain(name)).join(plain(version))
    }
}

/// A plugin out of a folder of its own, compiled and not installed: for trying it.
///
/// # Errors
/// [`PluginError`].
pub(super) fn read_folder(host: &Host, from: &Path) -> Result<(Manifest, component::Loaded, usize), PluginError> {
    let (manifest, _) = read_manifest(from)?;
    let file = from.join(&manifest.component);
    let bytes = component::read(&file)?;
    let compiled = component::compile(host, &file, &bytes)?;
    let loaded = component::link(host, &file, &compiled)?;
    Ok((manifest, loaded, bytes.len()))
}

fn read_manifest(folder: &Path) -> Result<(Manifest, String), PluginError> {
    let file = folder.join(manifest::FILE);
    let failed = |error| PluginError::file(&file, error);
    let size = fs::metadata(&file).map_err(failed)?.len();
    if size > manifest::LARGEST {
        let problem = format!("a manifest has at most {} KiB, and this has {}", manifest::LARGEST >> 10, size >> 10);
        return Err(PluginError::Manifest { file: file.display().to_string(), problem });
    }
    let text = fs::read_to_string(&file).map_err(failed)?;
    Manifest::read(&file, &text).map(|manifest| (manifest, text))
}

/// Names of the folders in a folder, sorted; those that begin with a dot are no plugins.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn number(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// What a world is called in a message.
pub(super) fn world(world: World) -> &'static str {
    match world {
        World::Capability => "capabilities",
        World::Source => "a source",
    }
}
