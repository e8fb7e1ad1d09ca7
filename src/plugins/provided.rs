//! What plugins provide: capabilities, as programs, and sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::Value as Json;

use super::border::{self, MOST_JSON};
use super::broken::{self, Broken};
use super::component::Loaded;
use super::grants::Grants;
use super::host::{Host, Metering, Pooling};
use super::installed::{self, Folder};
use super::manifest::{Manifest, Provides, RECORDS, Want};
use super::source::PluginSource;
use super::state::{State, Used};
use super::suspension::Suspension;
use super::{PluginError, World, passes};
use crate::domain::{
    Answer, Awaits, Capability, Example, Facts, Failure, Kind, Program, ProgramDoor, Ran, Source, Spec, Task,
    Validator, Verdict,
};

/// How long a call of which this host had no room waits.
const NO_ROOM: Duration = Duration::from_secs(1);

/// One version of a plugin, ready to run.
pub struct Plugin {
    /// Its manifest.
    pub manifest: Manifest,
    pub(super) loaded: Loaded,
    /// By capability.
    outputs: BTreeMap<String, Validator>,
}

impl Plugin {
    /// A version.
    ///
    /// # Errors
    /// [`PluginError::Refused`] where manifest and component do not go together.
    pub fn new(manifest: Manifest, loaded: Loaded) -> Result<Self, PluginError> {
        Self::fits(&manifest, loaded.world)?;
        let output = |it: &Provides| Ok((it.name.clone(), Validator::new(&it.output).map_err(PluginError::Refused)?));
        let outputs = manifest.capabilities.iter().map(output).collect::<Result<_, PluginError>>()?;
        Ok(Self { manifest, loaded, outputs })
    }

    /// A plugin out of its own folder, compiled and not installed; and its size in bytes.
    ///
    /// # Errors
    /// [`PluginError`].
    pub fn from_folder(host: &Host, folder: &Path) -> Result<(Self, usize), PluginError> {
        let (manifest, loaded, size) = installed::read_folder(host, folder)?;
        Ok((Self::new(manifest, loaded)?, size))
    }

    /// How long an instance takes to start, the quickest of ten.
    ///
    /// # Errors
    /// [`PluginError::Refused`] where it breaks off at its start.
    pub fn starts_in(&self, host: &Host) -> Result<Duration, PluginError> {
        let start = |_| {
            let state = State::new(self.manifest.limits, [0; 32], 0, None);
            let began = Instant::now();
            passes::start(host, &self.loaded, state).map(|()| began.elapsed())
        };
        let all = (0..10).map(start).collect::<Result<Vec<_>, _>>();
        let all =
            all.map_err(|why| PluginError::Refused(format!("an instance of it breaks off at its start: {why}")))?;
        Ok(all.into_iter().min().unwrap_or_default())
    }

    /// Whether a manifest says of a component what it is.
    pub(super) fn fits(manifest: &Manifest, world: World) -> Result<(), PluginError> {
        let said = if manifest.source.is_some() { World::Source } else { World::Capability };
        if said == world {
            return Ok(());
        }
        let (said, is) = (installed::world(said), installed::world(world));
        Err(PluginError::Refused(format!("the manifest of `{}` adds {said}, and its component {is}", manifest.name)))
    }

    /// Reads what its component answered.
    pub(super) fn answer(&self, name: &str, text: &str) -> Result<Json, String> {
        if text.len() > MOST_JSON {
            return Err(format!("its answer has more than {} KiB", MOST_JSON >> 10));
        }
        let answer: Json = serde_json::from_str(text).map_err(|error| format!("its answer is no JSON: {error}"))?;
        let schema = self.outputs.get(name);
        schema
            .map_or(Ok(()), |schema| schema.check(&answer))
            .map_err(|mistakes| format!("its answer is not as its manifest says: {mistakes}"))?;
        Ok(answer)
    }

    fn label(&self) -> String {
        format!("{} {}", self.manifest.name, self.manifest.version)
    }
}

/// What a pass used, told to whoever measures.
pub(super) type Measure = Arc<dyn Fn(Used) + Send + Sync>;

/// All plugins of this process, each with the version that new runs use.
pub struct Plugins {
    host: Option<Host>,
    folder: Option<Folder>,
    current: RwLock<BTreeMap<String, Arc<Plugin>>>,
    /// Versions that wait for the next start, each said once.
    awaited: Mutex<BTreeSet<(String, String)>>,
    /// Versions that runs are still on, by name and version.
    older: Mutex<BTreeMap<(String, String), Arc<Plugin>>>,
    grants: Grants,
    suspension: Suspension,
    measure: Option<Measure>,
}

impl Plugins {
    /// Those of a folder, older versions included: a run may wait on one, and no event is to wait for its code to be made.
    /// One that cannot be used is left out, with an error in the log: the others go on.
    ///
    /// # Errors
    /// [`PluginError::Host`] where there are some and this machine cannot run them.
    pub fn open(folder: Folder, grants: Grants) -> Result<Arc<Self>, PluginError> {
        let names = folder.names();
        let host = if names.is_empty() { None } else { Some(Host::new(Metering::Off, Pooling::Probe)?) };
        let (mut current, mut older) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            let Some(host) = &host else { continue };
            let newest = folder.current(&name);
            for version in folder.versions(&name) {
                match folder.load(host, &name, &version) {
                    Ok(plugin) if newest.as_ref() == Some(&version) => drop(current.insert(name.clone(), plugin)),
                    Ok(plugin) => drop(older.insert((name.clone(), version), plugin)),
                    Err(error) => tracing::error!(%error, plugin = name, version, "a plugin cannot be used"),
                }
            }
        }
        let plugins = Self::with(host, Some(folder), current, grants, None);
        Ok(Arc::new(Self { older: Mutex::new(older), ..plugins }))
    }

    /// These, of which no older version is anywhere. `measure` is told what each pass used.
    pub fn of(
        host: Host,
        plugins: Vec<Plugin>,
        grants: Grants,
        measure: Option<Arc<dyn Fn(Used) + Send + Sync>>,
    ) -> Arc<Self> {
        let named = plugins.into_iter().map(|plugin| (plugin.manifest.name.clone(), Arc::new(plugin)));
        Arc::new(Self::with(Some(host), None, named.collect(), grants, measure))
    }

    /// These, which others have too.
    pub fn of_shared(host: Host, plugins: Vec<Arc<Plugin>>, grants: Grants) -> Arc<Self> {
        let named = plugins.into_iter().map(|plugin| (plugin.manifest.name.clone(), plugin));
        Arc::new(Self::with(Some(host), None, named.collect(), grants, None))
    }

    /// None at all.
    pub fn none() -> Arc<Self> {
        Arc::new(Self::with(None, None, BTreeMap::new(), Grants::default(), None))
    }

    fn with(
        host: Option<Host>,
        folder: Option<Folder>,
        current: BTreeMap<String, Arc<Plugin>>,
        grants: Grants,
        measure: Option<Measure>,
    ) -> Self {
        let (older, awaited, suspension) = (Mutex::default(), Mutex::default(), Suspension::default());
        let current = RwLock::new(current);
        Self { host, folder, current, awaited, older, grants, suspension, measure }
    }

    /// The versions that new runs use.
    fn current(&self) -> Vec<Arc<Plugin>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    /// The version of a plugin that a new run uses.
    pub(super) fn newest(&self, plugin: &Arc<Plugin>) -> Arc<Plugin> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.get(&plugin.manifest.name).unwrap_or(plugin).clone()
    }

    /// Takes up versions that were installed meanwhile. One that provides or wants something else waits for the next
    /// start, at which rules are checked against it. Reads and maps files.
    pub fn take_up_installed(&self) {
        let (Some(host), Some(folder)) = (&self.host, &self.folder) else { return };
        for plugin in self.current() {
            let old = &plugin.manifest;
            let Some(version) = folder.current(&old.name).filter(|version| *version != old.version) else { continue };
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            if !awaited.insert((old.name.clone(), version.clone())) {
                continue;
            }
            match folder.load(host, &old.name, &version) {
                Ok(new) if new.manifest.looks_like(old) => {
                    tracing::info!(plugin = old.name, from = old.version, to = version, "new runs use a new version");
                    let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
                    older.insert((old.name.clone(), old.version.clone()), plugin.clone());
                    drop(older);
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    current.insert(old.name.clone(), new);
                    // It may be put back.
                    awaited.retain(|(name, _)| *name != old.name);
                }
                Ok(_) => tracing::warn!(
                    plugin = old.name,
                    version,
                    "the new version provides or wants something else: it is used from the next start on"
                ),
                Err(error) => tracing::error!(%error, plugin = old.name, version, "a plugin cannot be used"),
            }
        }
    }

    /// Their capabilities. `is_write` says which of Storehand's own are writes, so that a rule's `allow` names what may
    /// lead to one.
    pub fn capabilities(self: &Arc<Self>, is_write: &dyn Fn(&str) -> bool) -> Vec<Arc<dyn Capability>> {
        let mut all: Vec<Arc<dyn Capability>> = Vec::new();
        for plugin in self.current() {
            for provides in &plugin.manifest.capabilities {
                let spec = spec(&plugin.manifest, provides, is_write);
                all.push(Arc::new(Provided { spec, plugin: plugin.clone(), plugins: self.clone() }));
            }
        }
        all
    }

    /// Their sources.
    pub fn sources(self: &Arc<Self>) -> Vec<&'static dyn Source> {
        let sources = self.current().into_iter().filter(|plugin| plugin.manifest.source.is_some());
        let source = |plugin: Arc<Plugin>| -> &'static dyn Source {
            // As Storehand's own: there for as long as the process.
            Box::leak(Box::new(PluginSource::new(plugin, self.clone())))
        };
        sources.map(source).collect()
    }

    fn version(&self, name: &str, version: &str) -> Result<Arc<Plugin>, Failure> {
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), version.to_owned());
        if let Some(plugin) = older.get(&key) {
            return Ok(plugin.clone());
        }
        let missing = |why: String| {
            let message =
                format!("the call began with version {version} of the plugin `{name}`, which cannot be run: {why}");
            Failure::new("plugin_missing", message)
        };
        let (Some(host), Some(folder)) = (&self.host, &self.folder) else {
            return Err(missing("it is not installed".to_owned()));
        };
        let plugin = folder.load(host, name, version).map_err(|error| missing(error.to_string()))?;
        older.insert(key, plugin.clone());
        Ok(plugin)
    }

    /// Runs one pass of a plugin, unless it is suspended.
    pub(super) fn pass<P, R>(&self, plugin: &Plugin, state: State, params: P) -> Result<R, Broken>
    where
        P: wasmtime::component::ComponentNamedList + wasmtime::component::Lower + Send + Sync,
        R: wasmtime::component::Lift + Send + Sync + 'static,
        (R,): wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
    {
        let Some(host) = &self.host else { return Err(Broken::NoRoom("plugins are off".to_owned())) };
        let (result, used) = passes::run(host, &plugin.loaded, state, params);
        if let Some(measure) = &self.measure {
            measure(used);
        }
        match &result {
            Err(Broken::Off(why)) => self.broke(plugin, why),
            Ok(_) => self.suspension.went_well(&plugin.label()),
            Err(Broken::NotYet | Broken::NoRoom(_)) => {}
        }
        result
    }

    /// A plugin broke off, or answered what it must not.
    pub(super) fn broke(&self, plugin: &Plugin, why: &str) {
        let label = plugin.label();
        let suspended = self.suspension.broke(&label, why, Instant::now());
        match suspended {
            Some(pause) => tracing::error!(plugin = label, why, seconds = pause.as_secs(), "a plugin is suspended"),
            None => tracing::warn!(plugin = label, why, "a plugin broke off"),
        }
    }

    /// For how long a plugin is still suspended, and why.
    pub(super) fn suspended(&self, plugin: &Plugin) -> Option<(Duration, String)> {
        self.suspension.left(&plugin.label(), Instant::now())
    }
}

fn spec(manifest: &Manifest, provides: &Provides, is_write: &dyn Fn(&str) -> bool) -> Spec {
    let wants = manifest.wants.iter().filter_map(|want| match want {
        Want::Capability { capability, .. } => Some(capability),
        Want::Host { .. } => None,
    });
    // What another plugin may lead to, its own declaration says; to a rule it is a write.
    let implies = wants.filter(|want| want.contains('/') || is_write(want)).cloned().collect();
    Spec {
        doc: kept(&provides.about),
        input: provides.input.clone(),
        output: provides.output.clone(),
        example: Example { input: provides.example.input.clone(), answer: provides.example.answer.clone() },
        implies,
        awaits: manifest.awaits.clone(),
        ..Spec::of(kept(&format!("{}/{}", manifest.name, provides.name)), Kind::Control)
    }
}

/// A text that stays for as long as the process: declarations are read once, at its start.
pub(super) fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// A capability of a plugin.
struct Provided {
    spec: Spec,
    plugin: Arc<Plugin>,
    plugins: Arc<Plugins>,
}

#[async_trait]
impl Capability for Provided {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, _input: &Json) -> Verdict {
        Verdict::Await(Awaits::Calls, Timestamp::MAX)
    }

    fn program(&self, version: Option<&str>) -> Option<Result<Arc<dyn Program>, Failure>> {
        let newest = self.plugins.newest(&self.plugin);
        let manifest = &newest.manifest;
        let plugin = match version {
            Some(version) if version != manifest.version => self.plugins.version(&manifest.name, version),
            _ => Ok(newest),
        };
        let program = |plugin| -> Arc<dyn Program> { Arc::new(Running { plugin, plugins: self.plugins.clone() }) };
        Some(plugin.map(program))
    }
}

/// One version of a plugin, as the engine runs it.
struct Running {
    plugin: Arc<Plugin>,
    plugins: Arc<Plugins>,
}

impl Program for Running {
    fn version(&self) -> &str {
        &self.plugin.manifest.version
    }

    fn may_ask(&self, facts: &Facts, capability: &str, input: &Json) -> Result<(), Failure> {
        let (manifest, shop) = (&self.plugin.manifest, &facts.event.shop);
        self.plugins.grants.has(shop, manifest, capability)?;
        if let Some(url) = input["url"].as_str() {
            let host = host_of(url).map_err(|problem| Failure::new("denied", problem))?;
            self.plugins.grants.has(shop, manifest, &format!("host:{host}"))?;
        }
        let name = &manifest.name;
        if let Some(event) = input["event"].as_str().filter(|_| capability == "wait_for")
            && !manifest.awaits.iter().any(|it| it == event)
        {
            let message = format!("the manifest of `{name}` does not list `{event}` under `awaits`");
            return Err(Failure::new("denied", message));
        }
        if let Some(key) = input["key"].as_str().filter(|_| capability.starts_with("memory.")) {
            // One plugin reads and writes no other's, and no rule's.
            let is_own = key.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if !is_own {
                let message = format!("`{name}` may use keys that begin with `{name}/`, and `{key}` does not");
                return Err(Failure::new("denied", message));
            }
        }
        Ok(())
    }

    fn run(&self, task: &Task<'_>, door: Box<dyn ProgramDoor>) -> Ran {
        let (plugin, facts) = (&*self.plugin, task.facts);
        let manifest = &plugin.manifest;
        if let Err(failure) = self.plugins.grants.may_run(&facts.event.shop, manifest) {
            return Ran::Answered(Answer::Failed(failure));
        }
        if let Some((left, why)) = self.plugins.suspended(plugin) {
            return Ran::Later(left, why);
        }
        let name = task.capability.rsplit('/').next().unwrap_or(task.capability);
        let event = event(facts, self.plugins.grants.has(&facts.event.shop, manifest, RECORDS).is_ok());
        let now = u64::try_from(door.now().as_second()).unwrap_or(0);
        let state = State::new(manifest.limits, task.seed, now, Some(door));
        let params = (name.to_owned(), task.input.to_string(), event);
        match self.plugins.pass::<_, Result<String, border::Error>>(plugin, state, params) {
            Ok(Ok(answer)) => Ran::Answered(match plugin.answer(name, &answer) {
                Ok(answer) => Answer::Done(answer),
                Err(problem) => {
                    self.plugins.broke(plugin, &problem);
                    Answer::Failed(broken::failure(&manifest.name, &problem))
                }
            }),
            Ok(Err(border::Error::Invalid(message))) => failed("invalid_input", &message),
            Ok(Err(border::Error::Fatal(message))) => failed("plugin_failed", &message),
            Ok(Err(border::Error::RetryAfter(later))) => {
                Ran::Again(passes::pause(later.seconds), shortened(&later.reason))
            }
            Err(Broken::NotYet) => Ran::Waiting,
            Err(Broken::NoRoom(why)) => Ran::Later(NO_ROOM, why),
            Err(Broken::Off(what)) => Ran::Answered(Answer::Failed(broken::failure(&manifest.name, &what))),
        }
    }
}

fn failed(code: &str, message: &str) -> Ran {
    Ran::Answered(Answer::Failed(Failure::new(code, shortened(message))))
}

/// What a plugin says for people.
fn shortened(text: &str) -> String {
    text.chars().take(1_000).collect()
}

/// The host of an address that a plugin may be granted: HTTPS, at its usual port.
fn host_of(url: &str) -> Result<String, String> {
    let read = Url::parse(url).map_err(|error| format!("`{}` is no address: {error}", shortened(url)))?;
    match (read.scheme(), read.port(), read.domain()) {
        ("https", None, Some(host)) => Ok(host.to_ascii_lowercase()),
        _ => Err(format!(
            "a plugin speaks to hosts by name, over HTTPS and its usual port, and not to `{}`",
            shortened(url)
        )),
    }
}

pub(super) fn event(facts: &Facts, with_records: bool) -> border::Event {
    let event = &facts.event;
    let records = with_records.then(|| serde_json::to_string(&*facts.context).unwrap_or_else(|_| "{}".to_owned()));
    border::Event {
        id: event.id.to_string(),
        kind: event.kind.to_string(),
        source: event.source.to_string(),
        subject: event.subject.to_string(),
        topic: event.topic.to_string(),
        time: event.time.to_string(),
        shop: event.shop.to_string(),
        records: records.filter(|text| text.len() <= MOST_JSON),
    }
}
