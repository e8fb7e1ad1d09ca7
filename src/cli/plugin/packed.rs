//! A plugin as one file: a zip archive with its manifest, its component and the rules that it carries, and a signature
//! where its maker has signed it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{Hinted, host, say, say_it_takes_long};
use crate::plugins::{MOST_FILES, Metering, Plugin, RULES, carried, is_carried};

/// The manifest's name within.
const MANIFEST: &str = "plugin.toml";
/// The signature's: the public key and the signature, in hex.
const SIGNATURE: &str = "signature";
/// The largest archive, and the most that is unpacked of it, in bytes.
const LARGEST: u64 = 80 << 20;

/// Packs a plugin that is in order.
pub(super) fn pack(folder: &Path, output: Option<PathBuf>, sign: Option<&Path>) -> anyhow::Result<ExitCode> {
    say_it_takes_long(folder);
    let (plugin, _) = Plugin::from_folder(&host(Metering::Off)?, folder)?;
    let manifest = &plugin.manifest;
    let output = output.unwrap_or_else(|| format!("{}-{}.plugin", manifest.name, manifest.version).into());
    let mut files = BTreeMap::new();
    for name in [MANIFEST, &manifest.component] {
        let file = folder.join(name);
        files.insert(name.to_owned(), fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    files.extend(carried(folder)?.into_iter().map(|(name, content)| (format!("{RULES}/{name}"), content)));
    if let Some(sign) = sign {
        let key = key(sign)?;
        let public = hex::encode(key.public_key());
        let signature = hex::encode(key.sign(&what_is_signed(&files)));
        say(format_args!("signed by {public}"));
        files.insert(SIGNATURE.to_owned(), format!("{public} {signature}\n").into_bytes());
    }
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    // Without times, so that the same plugin always makes the same file.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in &files {
        archive.start_file(name.as_str(), options)?;
        archive.write_all(content)?;
    }
    let bytes = archive.finish()?.into_inner();
    fs::write(&output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    let digest = hex::encode(Sha256::digest(&bytes));
    say(format_args!("{}: {} KiB, SHA-256 {digest}", output.display(), bytes.len() >> 10));
    Ok(ExitCode::SUCCESS)
}

/// The key in a file, made where there is none.
fn key(file: &Path) -> anyhow::Result<Ed25519KeyPair> {
    let broken = || anyhow::anyhow!("{}: this is no key that `storehand plugin pack --sign` has made", file.display());
    if file.exists() {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Ed25519KeyPair::from_pkcs8(&bytes).map_err(|_| broken());
    }
    let made =
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    let written = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file);
    written
        .and_then(|mut to| to.write_all(made.as_ref()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    say(format_args!("{}: a new key; keep it to yourself, and keep it", file.display()));
    Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(|_| broken())
}

/// The digests of all files but the signature, by name.
fn what_is_signed(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let signed = files.iter().filter(|(name, _)| *name != SIGNATURE);
    let lines = signed.map(|(name, content)| format!("{} {name}\n", hex::encode(Sha256::digest(content))));
    format!("storehand plugin\n{}", lines.collect::<String>()).into_bytes()
}

/// What a plugin is installed from.
pub(super) enum Unpacked {
    /// Its own folder.
    Folder(PathBuf),
    /// A folder that goes when it is done with, and whose signature was good, if it had one.
    Packed(PathBuf, Option<String>),
}

impl Unpacked {
    /// The folder with the manifest.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) | Self::Packed(folder, _) => folder,
        }
    }

    /// The public key that it was signed with.
    pub(super) fn signed_by(&self) -> Option<&str> {
        match self {
            Self::Folder(_) => None,
            Self::Packed(_, key) => key.as_deref(),
        }
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if let Self::Packed(folder, _) = self {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The folder that a plugin is installed from. `digest` is what the packed file must have; of `keys`, where there are
/// some, one must have signed it.
pub(super) fn unpacked(from: &Path, digest: Option<&str>, keys: &[String]) -> anyhow::Result<Unpacked> {
    if from.is_dir() {
        if digest.is_some() {
            return Err(Hinted::new("a folder has no digest", "name the packed file instead").into());
        }
        if !keys.is_empty() {
            let hint = "name a packed plugin that was signed with one of them, or take them out";
            return Err(Hinted::new("`plugins.keys` demands a signature, and a folder has none", hint).into());
        }
        return Ok(Unpacked::Folder(from.to_owned()));
    }
    let mut bytes = Vec::new();
    let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= LARGEST,
        "{}: a packed plugin has at most {} MiB",
        from.display(),
        LARGEST >> 20
    );
    let is = hex::encode(Sha256::digest(&bytes));
    if let Some(digest) = digest.filter(|digest| !digest.eq_ignore_ascii_case(&is)) {
        let message = format!("{}: its digest is {is}, and not {digest}", from.display());
        return Err(Hinted::new(message, "this is not the file that was meant; do not install it").into());
    }
    let files = read(bytes).with_context(|| format!("{}: this is no packed plugin", from.display()))?;
    let signed_by = signed_by(&files).with_context(|| format!("{}", from.display()))?;
    if !keys.is_empty()
        && !signed_by.as_ref().is_some_and(|key| keys.iter().any(|known| known.eq_ignore_ascii_case(key)))
    {
        let message = match &signed_by {
            Some(key) => format!("{}: it was signed by {key}, whom `plugins.keys` does not name", from.display()),
            None => format!("{}: it was not signed, and `plugins.keys` demands it", from.display()),
        };
        return Err(Hinted::new(message, "add the key of somebody whom you trust, as they tell you themselves").into());
    }
    let folder = new_folder()?;
    let unpacked = Unpacked::Packed(folder, signed_by);
    for (name, content) in files.iter().filter(|(name, _)| *name != SIGNATURE) {
        let file = unpacked.folder().join(name);
        fs::create_dir_all(file.parent().unwrap_or(unpacked.folder()))?;
        fs::write(file, content)?;
    }
    Ok(unpacked)
}

/// The files of an archive: manifest and component, the rules that it carries, and its signature where it is signed.
fn read(bytes: Vec<u8>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    anyhow::ensure!((2..=3 + MOST_FILES).contains(&archive.len()), "it holds {} files", archive.len());
    let (mut files, mut left) = (BTreeMap::new(), LARGEST);
    for at in 0..archive.len() {
        let entry = archive.by_index(at)?;
        let name = entry.name()?.into_owned();
        let is_plain = !name.contains(['/', '\\', '\0']) && !name.starts_with('.');
        let is_rule = name.split_once('/').is_some_and(|(folder, file)| folder == RULES && is_carried(file));
        anyhow::ensure!(is_plain || is_rule, "the name `{name}` in it leads elsewhere");
        let mut content = Vec::new();
        entry.take(left + 1).read_to_end(&mut content)?;
        left = left.checked_sub(content.len() as u64).context("what it holds is too large")?;
        files.insert(name, content);
    }
    Ok(files)
}

/// Who has signed these files; an error where the signature is not good.
fn signed_by(files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Option<String>> {
    let Some(text) = files.get(SIGNATURE) else { return Ok(None) };
    let read = || {
        let (public, signature) = std::str::from_utf8(text).ok()?.trim().split_once(' ')?;
        let key = UnparsedPublicKey::new(&ED25519, hex::decode(public).ok()?);
        key.verify(&what_is_signed(files), &hex::decode(signature).ok()?).ok()?;
        Some(public.to_owned())
    };
    let bad = || Hinted::new("its signature is not good", "it was changed after it was signed; do not install it");
    read().map(Some).ok_or_else(|| bad().into())
}

fn new_folder() -> anyhow::Result<PathBuf> {
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let folder = std::env::temp_dir().join(format!("storehand-plugin-{}", hex::encode(name)));
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
