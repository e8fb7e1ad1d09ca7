//! One life of the process: it goes on where the last one ended, until its time comes or all is done.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::Digest;
use storehand::capabilities::{Deps, all};
use storehand::domain::{CallState, Clock, Delivery, IdMaker, ManualClock, NewEvent, Run, RunId, Says, Shop};
use storehand::engine::{Command, Decision, Engine, Parts, Registry, Settings};
use storehand::rules::{RuleSet, Status, load_folder};
use storehand::store::{self, CommitMoment, CommitWatch, RunFilter, Store};

use super::outside::Line;
use super::{RULES, Scene};
use crate::support::{acme, start_of_time};
use crate::world;

/// What a life is told, in a variable of its environment.
pub(super) const TOLD: &str = "STOREHAND_TEST_LIFE";

/// How a life is led.
#[derive(Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) scene: Scene,
    /// It is killed at this commit (1 is the first of this life), before or after it.
    pub(super) killed_at: Option<(usize, bool)>,
}

/// What people say when they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Person {
    Yes,
    No,
    Nobody,
}

/// The moments that a scene may have at the most.
const MOMENTS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a part of the crash test, which runs it as processes of their own"]
async fn a_life() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let life: Life = serde_json::from_str(&told).expect("how it is led");
    let clock_file = life.folder.join("clock");
    let shown = std::fs::read_to_string(&clock_file).ok();
    let begins = shown.map_or_else(start_of_time, |shown| shown.parse().expect("a time"));
    let clock = Arc::new(ManualClock::new(begins));
    let mut settings = store::Settings::at(life.folder.join("storehand.db"));
    let commits = Arc::new(AtomicUsize::new(0));
    settings.commits = Some(watch(commits.clone(), life.killed_at));
    let store = Store::open(&settings).await.expect("the store");
    let engine = start(&life, &store, clock.clone()).await;
    let told = Told { engine: &engine, store: &store, life: &life };

    // Who sends deliveries sends them until they are taken: this life sends again what the last one was sent.
    let mut coming: VecDeque<(usize, &(Timestamp, Json))> = life.scene.events.iter().enumerate().collect();
    told.deliver(&mut coming, clock.now()).await;
    let mut stops = life.scene.stops.clone();
    for _ in 0..MOMENTS {
        let due = store.next_due(&acme()).await.expect("what is due");
        stops.retain(|stop| *stop > clock.now());
        let (stop, comes) = (stops.first().copied(), coming.front().map(|(_, (at, _))| *at));
        let Some(next) = due.into_iter().chain(stop).chain(comes).min() else { break };
        // First written down, so that no life sees an earlier time than the one before.
        std::fs::write(&clock_file, next.to_string()).expect("the clock");
        let by = Duration::try_from(next.duration_since(clock.now())).unwrap_or_default();
        clock.advance(by);
        told.settle().await;
        told.deliver(&mut coming, clock.now()).await;
    }
    assert_eq!(store.next_due(&acme()).await.expect("what is due"), None, "it has come to its end");
    let mut ends: Vec<String> = told.runs().await.iter().map(ended).collect();
    ends.sort();
    engine.shutdown(Duration::from_secs(10)).await;
    std::fs::write(life.folder.join("commits"), commits.load(Ordering::SeqCst).to_string()).expect("a count");
    std::fs::write(life.folder.join("ends"), ends.join("\n")).expect("how all ended");
}

/// Counts commits; at the one that was said, the process ends without a word.
fn watch(commits: Arc<AtomicUsize>, killed_at: Option<(usize, bool)>) -> CommitWatch {
    CommitWatch::new(move |at| {
        let is_before = at == CommitMoment::Before;
        // Before it is made a commit is the next one.
        let n = if is_before { commits.fetch_add(1, Ordering::SeqCst) + 1 } else { commits.load(Ordering::SeqCst) };
        if killed_at == Some((n, !is_before)) {
            std::process::abort();
        }
    })
}

async fn start(life: &Life, store: &Store, clock: Arc<ManualClock>) -> Engine {
    let registry = Arc::new(Registry::new(all(Deps::default())).expect("capabilities"));
    let loaded = load_folder(Path::new(RULES), registry.catalog());
    let rules = loaded.rules.into_iter().filter_map(|rule| {
        let tuning = life.scene.rules.get(&rule.id)?;
        // A draft that a merchant has switched on.
        let mut rule = Arc::into_inner(rule).expect("nobody else has it").tuned(tuning).expect("tuned");
        rule.status = Status::Live;
        Some(Arc::new(rule))
    });
    let rules = Arc::new(RuleSet::new(rules, registry.catalog()));
    let line = |port| Arc::new(Line(port));
    let shop = Shop { platform: Some(line(life.port)), mailer: Some(line(life.port)), ..world::shop() };
    let shops = vec![(Arc::new(shop), rules)];
    let ids = Arc::new(IdMaker::new(1));
    let parts = Parts { store: store.clone(), clock, ids, registry, shops, settings: Settings::default() };
    Engine::start(parts).await.expect("it starts")
}

fn new_event(event: &Json, number: usize, now: Timestamp) -> NewEvent {
    let delivery = Delivery { headers: &[], query: &[], method: "POST", body: b"{}", received: now };
    let verified = delivery.verify(|_| Ok(())).expect("genuine");
    let kind = event["type"].as_str().expect("a type");
    let subject = event["subject"].as_str().expect("a subject");
    let mut new = verified.event(Some(kind), kind, subject, format!("delivery {number}"), event.to_string());
    new.records = serde_json::from_value(event["data"].clone()).expect("records");
    new
}

fn ended(run: &Run) -> String {
    let end = run.ended.as_ref().map_or_else(|| format!("{:?}", run.state), |(_, end)| format!("{end:?}"));
    format!("{} {} {end}", run.rule, run.event.subject)
}

struct Told<'a> {
    engine: &'a Engine,
    store: &'a Store,
    life: &'a Life,
}

impl Told<'_> {
    async fn runs(&self) -> Vec<Run> {
        let filter = RunFilter { most: 1000, ..RunFilter::default() };
        self.store.list_runs(&acme(), &filter).await.expect("runs")
    }

    /// Events whose time has come.
    async fn deliver(&self, coming: &mut VecDeque<(usize, &(Timestamp, Json))>, now: Timestamp) {
        while let Some((number, (_, event))) = coming.pop_front_if(|(_, (at, _))| *at <= now) {
            let event = new_event(event, number, now);
            self.engine.accept(&acme(), "outside", vec![event]).await.expect("taken");
            self.settle().await;
        }
    }

    /// Until nothing is left to be done now: people answer what they are asked, and look what became of what is unknown.
    async fn settle(&self) {
        loop {
            tokio::time::timeout(Duration::from_secs(20), self.engine.idle()).await.expect("it comes to rest");
            let asked = self.store.for_people(&acme(), None, 100).await.expect("what waits for people");
            let runs = self.store.runs(&acme(), &asked).await.expect("runs");
            let mut said = false;
            for (run, call) in runs.iter().flat_map(|run| run.calls.iter().map(move |call| (run, call))) {
                let says = match call.state {
                    CallState::Unknown => Some(self.look(run, &call.path, &call.capability).await),
                    _ if call.waits_for_person() => match self.life.scene.person {
                        Person::Yes => Some(Says::Accept { text: None }),
                        Person::No => Some(Says::Reject { because: Some("no".into()) }),
                        Person::Nobody => None,
                    },
                    _ => None,
                };
                let Some(says) = says else { continue };
                let decision = Decision { run: run.id, path: call.path.clone(), by: "ana".into(), says };
                self.engine.command(&acme(), Command::Decide(decision)).await.expect("decided");
                said = true;
            }
            if !said {
                return;
            }
        }
    }

    /// A person looks whether a mail has arrived of which nobody else can tell.
    async fn look(&self, run: &Run, path: &str, capability: &str) -> Says {
        let is_mail = matches!(capability, "message.send" | "email.send");
        assert!(is_mail, "all else can be looked up or repeated: {capability} of {} {path}", run.rule);
        let asked =
            json!({ "op": "arrived", "message_id": message_id(run.id, path), "call": format!("{} {path}", run.rule) });
        let arrived = Line(self.life.port).ask(&asked).await.expect("the mail box");
        if arrived == true {
            Says::Happened { answer: json!({ "message_id": "seen" }) }
        } else {
            Says::Accept { text: None }
        }
    }
}

/// Under which a call's mail goes out: the same for each of its attempts.
fn message_id(run: RunId, path: &str) -> String {
    hex::encode(&sha2::Sha256::digest(format!("{run}/{path}"))[..16])
}
