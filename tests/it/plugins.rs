//! Plugins: components made from text, through the real host.

mod examples;
pub(crate) mod rules;
mod sdk;
mod trying;
mod zoo;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use storehand::domain::{
    Answer, AskOptions, Asked, Door, Event, EventId, Facts, Failure, Program, ProgramDoor, Ran, Records, Task,
};
use storehand::plugins::{Grants, Host, Manifest, Metering, Plugin, PluginError, Plugins, Pooling};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// The interface, as it ships.
pub(crate) const WIT: &str = include_str!("../../plugins/wit/storehand.wit");

/// A manifest with one capability, `zoo.ask`, that answers anything, and these wants.
pub(crate) fn manifest(wants: &str, limits: &str) -> String {
    format!(
        r#"
        name = "the-zoo"
        version = "1.0.0"
        licence = "MIT"
        about = "Misbehaves."
        wants = [{wants}]
        limits = {{ {limits} }}
        [[capability]]
        name = "zoo.ask"
        about = "Misbehaves."
        input = {{ type = "object" }}
        output = {{}}
        example = {{ input = {{}}, answer = "x" }}
        "#
    )
}

/// A component of the world `capability` whose `answer` has this body (it leaves the address of its result on the
/// stack), with further definitions beside it.
pub(crate) fn component(body: &str, beside: &str) -> Vec<u8> {
    encode(WIT, &core("0.1.0", body, beside))
}

/// The core module: memory, a heap that grows, the door, texts.
pub(crate) fn core(version: &str, body: &str, beside: &str) -> String {
    format!(
        r#"(module
        (import "storehand:plugin/door@{version}" "ask"
            (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "storehand:plugin/door@{version}" "log" (func $log (param i32 i32)))
        (import "storehand:plugin/door@{version}" "now" (func $now (result i64)))
        (memory (export "memory") 2)
        (global $heap (mut i32) (i32.const 65536))
        (func $grow_to (param $end i32)
            (block $enough
                (br_if $enough (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
                (br_if $enough (i32.ne (i32.const -1) (memory.grow
                    (i32.add (i32.const 1) (i32.shr_u (i32.sub (local.get $end) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16))))))
                unreachable))
        (func $realloc (export "cabi_realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
            (global.set $heap (i32.add (local.get $at) (local.get $size)))
            (call $grow_to (global.get $heap))
            (local.get $at))
        ;; A good answer: this text.
        (func $good (param $at i32) (param $len i32) (result i32)
            (i32.store8 (i32.const 16) (i32.const 0))
            (i32.store (i32.const 20) (local.get $at))
            (i32.store (i32.const 24) (local.get $len))
            (i32.const 16))
        ;; Asks `name` with `{{}}`; the answer is at 64: 0 or 1, then its texts from 68 on.
        (func $ask_plainly (param $name i32) (param $len i32)
            (call $ask (local.get $name) (local.get $len) (i32.const 1024) (i32.const 2)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64)))
        (data (i32.const 1024) "{{}}")
        (data (i32.const 1032) "\"fine\"")
        (data (i32.const 1040) "order.get")
        (data (i32.const 1056) "order.tag")
        (data (i32.const 1072) "\ff\fe\fd")
        (data (i32.const 1088) "a line")
        (data (i32.const 1104) "not json")
        {beside}
        (func (export "storehand:plugin/capabilities@{version}#answer") (param $args i32) (result i32)
            {body}))"#
    )
}

/// A component of the world `capability` of this interface.
pub(crate) fn encode(wit: &str, core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("storehand.wit", wit).expect("the interface");
    let world = resolve.select_world(&[package], Some("capability")).expect("the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let mut encoder = ComponentEncoder::default().validate(true);
    encoder = encoder.module(&module).expect("a module");
    encoder.encode().unwrap_or_else(|error| panic!("{error:?}"))
}

/// A folder that holds this manifest and component.
pub(crate) fn folder(manifest: &str, component: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("plugin.toml"), manifest).expect("written");
    std::fs::write(folder.path().join("plugin.wasm"), component).expect("written");
    folder
}

/// A plugin of this manifest and component, compiled.
pub(crate) fn plugin(host: &Host, text: &str, component: &[u8]) -> Result<Plugin, PluginError> {
    Manifest::read(Path::new("plugin.toml"), text)?;
    Plugin::from_folder(host, folder(text, component).path()).map(|(plugin, _)| plugin)
}

/// A host with a pool of instances, as a server has one.
pub(crate) fn host() -> Host {
    Host::new(Metering::Off, Pooling::Probe).expect("a host")
}

/// The program of a plugin's first capability, with all that it wants granted.
pub(crate) fn program(host: Host, plugin: Plugin) -> Arc<dyn Program> {
    let plugins = Plugins::of(host, vec![plugin], Grants::default(), None);
    let capability = plugins.capabilities(&|_| true).remove(0);
    capability.program(None).expect("a program").expect("its version")
}

/// A door that answers `order.get` and log lines, has no answer to anything else, and remembers what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Doorkeeper(pub(crate) Arc<Mutex<Vec<(String, String, Json)>>>);

impl Door for Doorkeeper {
    fn ask(&mut self, path: &str, capability: &str, input: Json, _options: AskOptions) -> Asked {
        self.0.lock().expect("asked").push((path.to_owned(), capability.to_owned(), input));
        match capability {
            "order.get" => Asked::Answered(Answer::Done(json!({ "order": { "id": "1042" } }))),
            "log" => Asked::Answered(Answer::Done(json!({}))),
            "memory.get" => Asked::Answered(Answer::Failed(Failure::new("refused", "not today"))),
            _ => Asked::NotYet,
        }
    }
}

impl ProgramDoor for Doorkeeper {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_258_000).expect("a time")
    }
}

pub(crate) fn facts() -> Facts {
    let now = Timestamp::from_second(1_767_258_000).expect("a time");
    let records = Arc::new(Records::default());
    let event = Event {
        id: EventId(7),
        shop: "acme".parse().expect("a shop"),
        source: "/test".into(),
        kind: "order.created".into(),
        topic: "orders/create".into(),
        subject: "order/1042".into(),
        time: now,
        received: now,
        records: records.clone(),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    let inputs = Arc::new(BTreeMap::new());
    Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs, now }
}

/// One pass of a program.
pub(crate) fn pass(program: &dyn Program, door: &Doorkeeper) -> Ran {
    let (input, facts) = (json!({}), facts());
    let task = Task { capability: "the-zoo/zoo.ask", input: &input, facts: &facts, seed: [7; 32] };
    program.run(&task, Box::new(door.clone()))
}
