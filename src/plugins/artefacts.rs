//! Machine code, made at install and loaded by mapping the file.
//!
//! What is loaded runs with this process's rights, so only what this host has written is: each file has a seal beside it,
//! made with a key that stands in the plugins' folder and that only this user may read. A file is named by the digest of
//! the component, of wasmtime's version and of the settings, so that a new release makes its own and takes no other's.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::PluginError;
use super::component::compile;
use super::host::Host;

/// The key's file within the plugins' folder.
const KEY: &str = ".seal-key";

/// The component of `bytes`, out of `folder` where this host has compiled it before, else compiled and kept there.
pub(super) fn load(
    host: &Host,
    root: &Path,
    folder: &Path,
    file: &Path,
    bytes: &[u8],
) -> Result<Component, PluginError> {
    let kept = folder.join(format!("{}.cwasm", name(host, bytes)));
    let key = key(root)?;
    if let Some(component) = kept_one(host, &key, &kept) {
        return Ok(component);
    }
    let component = compile(host, file, bytes)?;
    let code = component.serialize().map_err(|error| PluginError::Host(format!("{error:#}")))?;
    write(&seal_of(&kept), &seal(&key, &code))?;
    write(&kept, &code)?;
    Ok(component)
}

/// One that was kept, where its seal is whole.
fn kept_one(host: &Host, key: &[u8], kept: &Path) -> Option<Component> {
    let (code, sealed) = (fs::read(kept).ok()?, fs::read(seal_of(kept)).ok()?);
    let mut mac = mac(key);
    mac.update(&code);
    if mac.verify_slice(&sealed).is_err() {
        tracing::warn!(file = %kept.display(), "compiled code that this Storehand has not written is not run; compiling anew");
        return None;
    }
    drop(code);
    // SAFETY: the file was written by this host and has not been changed since, as its seal shows; its folder belongs to
    // this user alone, as the key's own file does.
    #[expect(unsafe_code, reason = "running machine code from a file cannot be checked by the compiler")]
    let loaded = unsafe { Component::deserialize_file(&host.engine, kept) };
    loaded.inspect_err(|error| tracing::warn!(file = %kept.display(), %error, "compiling anew")).ok()
}

fn name(host: &Host, bytes: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    host.engine.precompile_compatibility_hash().hash(&mut settings);
    let digest = Sha256::new().chain_update(settings.finish().to_le_bytes()).chain_update(bytes).finalize();
    hex::encode(&digest[..16])
}

fn seal_of(kept: &Path) -> PathBuf {
    kept.with_extension("seal")
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key of any length will do"))
}

fn seal(key: &[u8], code: &[u8]) -> Vec<u8> {
    let mut mac = mac(key);
    mac.update(code);
    mac.finalize().into_bytes().to_vec()
}

/// The key, made where there is none.
fn key(root: &Path) -> Result<Vec<u8>, PluginError> {
    let file = root.join(KEY);
    match fs::read(&file) {
        Ok(key) if key.len() == 32 => return Ok(key),
        Ok(_) => return Err(PluginError::Refused(format!("{}: this is no key; remove it", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(PluginError::file(&file, error)),
    }
    let mut key = vec![0_u8; 32];
    getrandom::fill(&mut key).map_err(|error| PluginError::Host(format!("no random numbers: {error}")))?;
    write(&file, &key)?;
    Ok(key)
}

/// Writes a file whole or not at all, for this user alone.
pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<(), PluginError> {
    let failed = |error| PluginError::file(file, error);
    let new = file.with_file_name(format!(".{}.new", file.file_name().unwrap_or_default().to_string_lossy()));
    let mut to =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(failed)?;
    to.write_all(bytes).and_then(|()| to.sync_all()).map_err(failed)?;
    fs::rename(&new, file).map_err(failed)
}
