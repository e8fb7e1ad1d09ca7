//! The ONNX Runtime library: found, checked and loaded once a process.

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::ep;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::error::ModelError;
use super::settings::Operators;

/// The oldest minor version of ONNX Runtime 1.x that has the 8-bit kernels that [`convert`](super::convert) writes
/// for.
const OLDEST_MINOR: u32 = 23;

/// The library that this process has loaded, and its environment. `ort` keeps one library for the life of the
/// process and allows one environment, so we must too.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The environment of the library at `path`, which is loaded at the first call.
fn environment(path: &Path) -> Result<Environment, ModelError> {
    let path = path.canonicalize().map_err(|_| missing(path))?;
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((other, environment)) = &*loaded {
        if *other == path {
            return Ok(environment.clone());
        }
        let why = format!("this process has already loaded {}, and can load one only", other.display());
        return Err(ModelError::not_understood(&path, why));
    }
    // `ort` hangs or panics with a library that is too old, so it is asked first.
    let version = version(&path).map_err(|why| ModelError::not_understood(&path, why))?;
    if !is_new_enough(&version) {
        return Err(ModelError::TooOld { path, found: version, wanted: format!("1.{OLDEST_MINOR}") });
    }
    let not_loaded = |error: &dyn std::fmt::Display| ModelError::not_understood(&path, error.to_string());
    let environment = ort::init_from(&path)
        .map_err(|error| not_loaded(&error))?
        .with_name("storehand")
        .with_telemetry(false)
        .build()
        .map_err(|error| not_loaded(&error))?;
    environment.set_log_level(ort::logging::LogLevel::Error);
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

/// With what graphs are run.
#[derive(Clone, Copy)]
pub(crate) struct Runtime<'a> {
    pub(crate) library: &'a Path,
    /// At least one.
    pub(crate) threads: usize,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "ours are for this architecture alone"))]
    pub(crate) operators: Operators,
}

impl Runtime<'_> {
    /// A session over the graph of a decoder, with our operators where they are wanted and can be.
    pub(crate) fn decoder(self, graph: &Path) -> Result<Session, ModelError> {
        #[cfg(target_arch = "x86_64")]
        if self.operators == Operators::Own
            && let Some(session) = super::operators::session(self, graph)?
        {
            return Ok(session);
        }
        session(self.library, graph, self.threads)
    }
}

/// A session over `graph`, as it is.
pub(crate) fn session(library: &Path, graph: &Path, threads: usize) -> Result<Session, ModelError> {
    let not_understood = |error: ort::Error| ModelError::not_understood(graph, error.to_string());
    builder(library, threads)?.commit_from_file(graph).map_err(not_understood)
}

/// How every graph here is run.
pub(crate) fn builder(library: &Path, threads: usize) -> Result<SessionBuilder, ModelError> {
    // Without the arena: it grows with every new length of text and gives nothing back.
    let cpu = ep::CPU::default().with_arena_allocator(false).build();
    let builder = Session::builder(&environment(library)?)?
        .with_execution_providers([cpu])?
        .with_memory_pattern(false)?
        .with_intra_threads(threads)?
        // Threads that wait by spinning took 1.8 times the CPU time and, beside anything else, longer.
        .with_intra_op_spinning(false)?
        .with_inter_threads(1)?;
    Ok(builder)
}

/// The library's path, where the settings have one.
pub(crate) fn library(path: Option<&Path>) -> Result<&Path, ModelError> {
    path.ok_or_else(|| missing(Path::new("model.library")))
}

fn missing(path: &Path) -> ModelError {
    ModelError::Missing {
        what: "the ONNX Runtime library",
        path: path.to_owned(),
        hint: "run `storehand model fetch`, or set STOREHAND_MODEL_LIBRARY to where it is".into(),
    }
}

/// The number of threads in force where so many are asked for; 0 takes one a core, at most 4.
pub(crate) fn threads(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(4),
        given => given.min(64),
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (1, OLDEST_MINOR)
}

/// What `OrtGetApiBase` returns: two functions, unchanged since ONNX Runtime 1.0 (onnxruntime_c_api.h).
#[repr(C)]
struct ApiBase {
    get_api: unsafe extern "C" fn(u32) -> *const c_void,
    get_version_string: unsafe extern "C" fn() -> *const c_char,
}

/// What the library says it is, such as `1.32.0`.
#[expect(unsafe_code, reason = "only the library itself can say its version; `ort` asks it too late")]
fn version(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the library's initialisers: it is the file that the user named as ONNX Runtime and that
    // `ort` would load next anyway. The function and struct are ONNX Runtime's, and never changed.
    unsafe {
        let library = libloading::Library::new(path).map_err(|error| {
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("it does not load as a library: {why}")
        })?;
        let base: libloading::Symbol<unsafe extern "C" fn() -> *const ApiBase> =
            library.get(b"OrtGetApiBase").map_err(|_| "it is a library, but not ONNX Runtime".to_owned())?;
        let base = base();
        if base.is_null() {
            return Err("it does not say its version".into());
        }
        let text = ((*base).get_version_string)();
        if text.is_null() {
            return Err("it does not say its version".into());
        }
        Ok(CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_new_ones() {
        for (version, new_enough) in
            [("1.32.0", true), ("1.23.0", true), ("2.0.0", true), ("1.22.3", false), ("0.99", false), ("x", false)]
        {
            assert_eq!(is_new_enough(version), new_enough, "{version}");
        }
    }

    #[test]
    fn what_is_not_the_library_is_said_so() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        // With the system's own words for why.
        let why = version(&here).expect_err("no library");
        assert!(why.contains("does not load") && why.contains("Cargo.toml"), "{why}");
        let error = environment(Path::new("/nowhere/libonnxruntime.so")).expect_err("not there");
        assert!(error.to_string().contains("storehand model fetch"), "{error}");
    }
}
