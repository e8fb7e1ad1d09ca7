//! Components: compiled, looked at, and linked.

use std::fs;
use std::path::Path;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Result, StoreContextMut};

use super::border::{CAPABILITIES, DELIVERIES, DOOR, DOORS_FUNCTIONS, TYPES};
use super::host::Host;
use super::passes;
use super::state::State;
use super::{INTERFACE, PluginError, wasi};

/// The largest component, in bytes: Python's interpreter has 18 MB.
const LARGEST: u64 = 64 << 20;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// It adds capabilities.
    Capability,
    /// It adds a source.
    Source,
}

/// A component that is ready to be run.
#[derive(Clone)]
pub struct Loaded {
    /// What it is for.
    pub world: World,
    pub(super) pre: InstancePre<State>,
    pub(super) function: ComponentExportIndex,
}

/// Reads a component's file.
///
/// # Errors
/// [`PluginError`], for one that is too large too: before it is read.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |error| PluginError::file(file, error);
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > LARGEST {
        let problem = format!("it has {} MiB, and a component has at most {}", size >> 20, LARGEST >> 20);
        let hint = "leave out what the plugin does not use";
        return Err(PluginError::Component { file: file.display().to_string(), problem, hint });
    }
    fs::read(file).map_err(failed)
}

/// Compiles a component; `file` is for messages.
///
/// # Errors
/// [`PluginError::Component`]: what is wrong with it.
pub(super) fn compile(host: &Host, file: &Path, bytes: &[u8]) -> Result<Component, PluginError> {
    let error = |problem: String, hint| PluginError::Component { file: file.display().to_string(), problem, hint };
    if !bytes.starts_with(b"\0asm") {
        return Err(error("this is no WebAssembly".into(), "name the `.wasm` file that your build makes"));
    }
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        let hint = "build for `wasm32-wasip2`, or make a component of it with `wasm-tools component new`";
        return Err(error("this is a core module, and a plugin is a component".into(), hint));
    }
    Component::from_binary(&host.engine, bytes).map_err(|problem| {
        let text = format!("{problem:#}");
        let is_cut = text.contains("unexpected end") || text.contains("unexpected-end");
        if is_cut {
            error(format!("the file is cut off: {text}"), "copy or build it again")
        } else {
            error(format!("it cannot be compiled: {text}"), "build it with current tools")
        }
    })
}

/// Looks whether a component is one for this host, and links it.
///
/// # Errors
/// [`PluginError::Component`]: what it imports that is not here, what it does not export, which version it is for.
pub(super) fn link(host: &Host, file: &Path, component: &Component) -> Result<Loaded, PluginError> {
    let error = |problem: String, hint| PluginError::Component { file: file.display().to_string(), problem, hint };
    let ty = component.component_type();
    let mut version = None;
    for (name, import) in ty.imports(&host.engine) {
        let (interface, its) = name.split_once('@').unwrap_or((name, ""));
        if interface.starts_with("wasi:") {
            continue;
        }
        if ![DOOR, TYPES].contains(&interface) {
            let problem = format!("it imports `{name}`, which is not here");
            return Err(error(problem, "a plugin may import `storehand:plugin/door` and WASI 0.2, and nothing else"));
        }
        version = Some(its.to_owned());
        check_version(its).map_err(|problem| error(problem, OTHER_VERSION))?;
        if let ComponentItem::ComponentInstance(instance) = import.ty
            && interface == DOOR
        {
            let mut functions = instance.exports(&host.engine);
            let unknown = functions.find(|(function, item)| {
                matches!(item.ty, ComponentItem::ComponentFunc(_)) && !DOORS_FUNCTIONS.contains(function)
            });
            if let Some((unknown, _)) = unknown {
                let problem = format!("it imports `{unknown}` of `{name}`, and there is no such function");
                return Err(error(problem, "build it against `plugins/wit/storehand.wit` of this release"));
            }
        }
    }
    let mut world = None;
    for (name, _) in ty.exports(&host.engine) {
        let (interface, its) = name.split_once('@').unwrap_or((name, ""));
        if [CAPABILITIES, DELIVERIES].contains(&interface) {
            check_version(its).map_err(|problem| error(problem, OTHER_VERSION))?;
            let is = if interface == CAPABILITIES { World::Capability } else { World::Source };
            if world.replace(is).is_some() {
                return Err(error("it adds both capabilities and a source".into(), "make two plugins of it"));
            }
        }
    }
    let Some(world) = world else {
        let problem = format!("it exports neither `{CAPABILITIES}` nor `{DELIVERIES}`");
        return Err(error(problem, "build it for the world `capability` or `source` of `plugins/wit/storehand.wit`"));
    };
    if world == World::Source && version.is_some() && ty.imports(&host.engine).any(|(name, _)| name.starts_with(DOOR)) {
        return Err(error("a source has no door, and it imports one".into(), "build it for the world `source`"));
    }
    let linked = linker(host, component).and_then(|linker| linker.instantiate_pre(component));
    let pre = linked.map_err(|problem| {
        error(format!("it does not fit this host: {problem:#}"), "build it against this release's `storehand.wit`")
    })?;
    let (interface, function) = match world {
        World::Capability => (CAPABILITIES, "answer"),
        World::Source => (DELIVERIES, "receive"),
    };
    let instance = component.get_export_index(None, format!("{interface}@{INTERFACE}"));
    let function = instance.and_then(|instance| component.get_export_index(Some(&instance), function));
    let function = function.ok_or_else(|| {
        error(format!("`{interface}` does not hold its function"), "build it against this release's `storehand.wit`")
    })?;
    Ok(Loaded { world, pre, function })
}

const OTHER_VERSION: &str = "install a release of Storehand that speaks it, or a version of the plugin for this one";

fn check_version(version: &str) -> Result<(), String> {
    if version == INTERFACE {
        return Ok(());
    }
    let version = if version.is_empty() { "without a number" } else { version };
    Err(format!("it was built for version {version} of the plugin interface; this Storehand speaks {INTERFACE}"))
}

/// A linker that holds what this component imports.
fn linker(host: &Host, component: &Component) -> Result<Linker<State>> {
    let mut linker = Linker::new(&host.engine);
    linker.allow_shadowing(true);
    // What is called without being here ends the pass; what is here is put over it.
    linker.define_unknown_imports_as_traps(component)?;
    wasi::link(&mut linker, component)?;
    let mut door = linker.instance(&format!("{DOOR}@{INTERFACE}"))?;
    door.func_wrap("ask", passes::ask)?;
    door.func_wrap("now", |store: StoreContextMut<'_, State>, (): ()| Ok((store.data().seconds(),)))?;
    door.func_wrap("log", passes::log)?;
    Ok(linker)
}
