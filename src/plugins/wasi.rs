//! WASI 0.2, there and empty: what the runtimes of languages ask for when they start.
//!
//! No files, no sockets, no environment, no arguments. Clocks stand still between answers and chance comes from the
//! call's seed, so that a pass is the same each time. What is written to standard output and error is read and dropped.
//! Everything else that a component imports of WASI is there and ends the pass when it is called.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Resource};
use wasmtime::{Result, StoreContextMut};

use super::state::{State, Stop};

type Store<'a> = StoreContextMut<'a, State>;

/// Bytes that may be written to a stream at once.
const ROOM: u64 = 64 << 10;

/// Defines what `component` imports of WASI.
pub(super) fn link(linker: &mut Linker<State>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    let ty = component.component_type();
    for (name, import) in ty.imports(&engine) {
        let Some(interface) = name.strip_prefix("wasi:") else { continue };
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let interface = interface.split('@').next().unwrap_or(interface);
        for (function, item) in instance.exports(&engine) {
            if let ComponentItem::ComponentFunc(_) = item.ty {
                define(linker, name, interface, function)?;
            }
        }
    }
    Ok(())
}

fn define(linker: &mut Linker<State>, name: &str, interface: &str, function: &str) -> Result<()> {
    let mut to = linker.instance(name)?;
    match (interface, function) {
        ("cli/environment", "get-environment") => {
            to.func_wrap(function, |_: Store<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))
        }
        ("cli/environment", "get-arguments") => {
            to.func_wrap(function, |_: Store<'_>, (): ()| Ok((Vec::<String>::new(),)))
        }
        ("cli/environment", "initial-cwd") => to.func_wrap(function, |_: Store<'_>, (): ()| Ok((None::<String>,))),
        ("cli/exit", "exit") => to
            .func_wrap(function, |mut store: Store<'_>, (status,): (Result<(), ()>,)| exit(&mut store, status.is_ok())),
        ("cli/stdin", "get-stdin")
        | ("cli/stdout", "get-stdout")
        | ("cli/stderr", "get-stderr")
        | ("clocks/monotonic-clock", "subscribe-instant" | "subscribe-duration")
        | ("io/streams", "[method]output-stream.subscribe" | "[method]input-stream.subscribe") => {
            resource(&mut to, interface, function)
        }
        ("cli/terminal-stdin", "get-terminal-stdin")
        | ("cli/terminal-stdout", "get-terminal-stdout")
        | ("cli/terminal-stderr", "get-terminal-stderr") => {
            to.func_wrap(function, |_: Store<'_>, (): ()| Ok((None::<Resource<()>>,)))
        }
        ("clocks/wall-clock", "now") => {
            to.func_wrap(function, |store: Store<'_>, (): ()| Ok((Moment::at(store.data().seconds()),)))
        }
        ("clocks/wall-clock", "resolution") => to.func_wrap(function, |_: Store<'_>, (): ()| Ok((Moment::at(1),))),
        ("clocks/monotonic-clock", "now") => to.func_wrap(function, |store: Store<'_>, (): ()| {
            Ok((store.data().seconds().saturating_mul(1_000_000_000),))
        }),
        ("clocks/monotonic-clock", "resolution") => {
            to.func_wrap(function, |_: Store<'_>, (): ()| Ok((1_000_000_000_u64,)))
        }
        ("random/random", "get-random-bytes") | ("random/insecure", "get-insecure-random-bytes") => {
            to.func_wrap(function, |mut store: Store<'_>, (many,): (u64,)| Ok((bytes(&mut store, many)?,)))
        }
        ("random/random", "get-random-u64") | ("random/insecure", "get-insecure-random-u64") => {
            to.func_wrap(function, |mut store: Store<'_>, (): ()| Ok((store.data_mut().chance.next(),)))
        }
        ("random/insecure-seed", "insecure-seed") => to.func_wrap(function, |mut store: Store<'_>, (): ()| {
            let chance = &mut store.data_mut().chance;
            Ok(((chance.next(), chance.next()),))
        }),
        ("filesystem/preopens", "get-directories") => {
            to.func_wrap(function, |_: Store<'_>, (): ()| Ok((Vec::<(Resource<()>, String)>::new(),)))
        }
        ("io/streams", "[method]output-stream.check-write") => {
            to.func_wrap(function, |_: Store<'_>, (_,): (Resource<()>,)| Ok((Ok::<u64, StreamError>(ROOM),)))
        }
        ("io/streams", "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush") => {
            to.func_wrap(function, |_: Store<'_>, (_, _): (Resource<()>, Vec<u8>)| Ok((Ok::<(), StreamError>(()),)))
        }
        ("io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            to.func_wrap(function, |_: Store<'_>, (_,): (Resource<()>,)| Ok((Ok::<(), StreamError>(()),)))
        }
        ("io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => to
            .func_wrap(function, |_: Store<'_>, (_, _): (Resource<()>, u64)| {
                Ok((Err::<Vec<u8>, StreamError>(StreamError::Closed),))
            }),
        ("io/poll", "[method]pollable.ready") => {
            to.func_wrap(function, |_: Store<'_>, (_,): (Resource<()>,)| Ok((true,)))
        }
        ("io/poll", "[method]pollable.block") => to.func_wrap(function, |_: Store<'_>, (_,): (Resource<()>,)| Ok(())),
        ("io/poll", "poll") => to.func_wrap(function, |_: Store<'_>, (all,): (Vec<Resource<()>>,)| {
            let all = u32::try_from(all.len()).unwrap_or(u32::MAX);
            Ok(((0..all).collect::<Vec<u32>>(),))
        }),
        // Defined as one that ends the pass.
        _ => Ok(()),
    }
}

fn resource(to: &mut wasmtime::component::LinkerInstance<'_, State>, interface: &str, function: &str) -> Result<()> {
    let new = || Ok((Resource::<()>::new_own(0),));
    match (interface, function) {
        ("clocks/monotonic-clock", _) => to.func_wrap(function, move |_: Store<'_>, (_,): (u64,)| new()),
        ("io/streams", _) => to.func_wrap(function, move |_: Store<'_>, (_,): (Resource<()>,)| new()),
        _ => to.func_wrap(function, move |_: Store<'_>, (): ()| new()),
    }
}

fn exit(store: &mut Store<'_>, well: bool) -> Result<()> {
    let how = if well { "well" } else { "with an error" };
    Err(store.data_mut().end(Stop::Exit(format!("it ended itself {how}, and a plugin must return"))))
}

fn bytes(store: &mut Store<'_>, many: u64) -> Result<Vec<u8>> {
    if many > ROOM {
        return Err(store.data_mut().end(Stop::Over(format!("it wants more than {ROOM} random bytes at once"))));
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < many {
        bytes.extend(store.data_mut().chance.next().to_le_bytes());
    }
    bytes.truncate(usize::try_from(many).unwrap_or(0));
    Ok(bytes)
}

#[derive(Clone, Copy, wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct Moment {
    seconds: u64,
    nanoseconds: u32,
}

impl Moment {
    fn at(seconds: u64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }
}

#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "part of the type; nothing fails that does nothing")]
    Failed(Resource<()>),
    #[component(name = "closed")]
    Closed,
}
