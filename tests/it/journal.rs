//! The journal's promise, over the real engine and store: whatever fails and whenever the process ends, every run
//! ends once, every write is made once or left `unknown`, every wait is ended by what was to end it, no write begins
//! while its rule is paused, what failed goes on where it is retried, and replaying the journal gives the run that was.
//!
//! A crash is the end of the runtime that the engine runs in, at a random moment; the next life begins on the same
//! file. `STOREHAND_CASES=2000` looks at more cases than the default run's 20 s allow.

mod steering;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use storehand::domain::{
    Answer, Awaits, Call, CallState, Clock, End, IdMaker, ManualClock, Run, RunId, RunState, Says,
};
use storehand::engine::{Command, Decision, Engine, EngineError, Parts, Registry, Settings, What};
use storehand::rules::{Rule, RuleSet};
use storehand::store::{self, RunFilter, Store};

use crate::random_rules::{RandomRule, random_rule};
use crate::support::{acme, start_of_time};
use crate::world::{KINDS, World, event_of, shop};
use steering::Steered;

/// What becomes of one store over a few lives.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    rules: Vec<RandomRule>,
    /// What each event is about, and its type.
    events: Vec<(u8, usize)>,
    crashes: Vec<Crash>,
    has_threads: bool,
    /// Whether people pause and resume rules, and retry and drop what failed.
    is_steered: bool,
}

/// When a life ends.
#[derive(Clone, Debug)]
enum Crash {
    /// When so many things have happened.
    Happenings(usize),
    /// Before or after an effect.
    Point(usize),
    /// At any time.
    Micros(u64),
}

fn case() -> impl Strategy<Value = Case> {
    let crash = prop_oneof![
        (0_usize..60).prop_map(Crash::Happenings),
        (0_usize..20).prop_map(Crash::Point),
        (0_u64..60_000).prop_map(Crash::Micros),
    ];
    let rules = proptest::collection::vec(random_rule(), 1..4);
    let kind = prop_oneof![3 => Just(0), 2 => 1..KINDS.len()];
    let events = proptest::collection::vec((0_u8..3, kind), 1..12);
    let crashes = proptest::collection::vec(crash, 0..5);
    (any::<u64>(), rules, events, crashes, any::<bool>(), proptest::bool::weighted(0.7)).prop_map(
        |(seed, rules, events, crashes, has_threads, is_steered)| Case {
            seed,
            rules,
            events,
            crashes,
            has_threads,
            is_steered,
        },
    )
}

#[test]
fn every_run_ends_once_and_every_write_is_made_once_or_left_unknown() {
    let wanted = std::env::var("STOREHAND_CASES").ok().and_then(|cases| cases.parse().ok());
    let (begun, looked_at) = (Instant::now(), AtomicUsize::new(0));
    let (lives, writes, steered) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new([0; 4]));
    let config =
        Config { cases: wanted.unwrap_or(60), max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&case(), |case| {
        if wanted.is_none() && begun.elapsed() > Duration::from_secs(20) {
            return Ok(());
        }
        looked_at.fetch_add(1, Ordering::Relaxed);
        let (more_lives, more_writes, more_steered) = look_at(&case).map_err(TestCaseError::fail)?;
        lives.fetch_add(more_lives, Ordering::Relaxed);
        writes.fetch_add(more_writes, Ordering::Relaxed);
        let mut steered = steered.lock().unwrap_or_else(PoisonError::into_inner);
        steered.iter_mut().zip(more_steered).for_each(|(all, more)| *all += more);
        Ok(())
    });
    let [pauses, resumed, retried, dropped] = steered.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!(
        "{looked_at:?} cases, {lives:?} lives, {writes:?} writes, {pauses} pauses, {resumed} resumed, {retried} retried, \
         {dropped} dropped in {:.1?}",
        begun.elapsed()
    );
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// What a case is looked at with, over all its lives.
struct Scene {
    case: Case,
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    world: World,
    registry: Arc<Registry>,
    rules: Vec<Arc<Rule>>,
    delivered: Mutex<Vec<bool>>,
    /// What was told to have ended, in all lives.
    told: Mutex<Vec<RunId>>,
    /// What was on disk when a life began, and must stay so.
    known: Mutex<Known>,
    draws: AtomicUsize,
    /// Who has said something of an approval, and who was told that it counts.
    people: Mutex<BTreeMap<(RunId, String), Vec<String>>>,
    decided: Mutex<BTreeMap<(RunId, String), String>>,
    steered: Mutex<Steered>,
}

#[derive(Default)]
struct Known {
    ends: BTreeMap<RunId, (Timestamp, End)>,
    answers: BTreeMap<(RunId, String), Answer>,
}

/// Lives, writes, and what people did.
fn look_at(case: &Case) -> Result<(usize, usize, [usize; 4]), String> {
    let queues = case.rules.iter().enumerate().filter(|(_, rule)| rule.overlap == "queue");
    let world = World::new(case.seed, queues.map(|(i, rule)| (format!("r{i}"), rule.is_one_lane)).collect());
    let registry = world.registry();
    let named = case.rules.iter().enumerate();
    let rules = named.map(|(i, rule)| rule.rule(&format!("r{i}"), registry.catalog())).collect();
    let scene = Arc::new(Scene {
        delivered: Mutex::new(vec![false; case.events.len()]),
        case: case.clone(),
        folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        clock: Arc::new(ManualClock::new(start_of_time())),
        world,
        registry,
        rules,
        told: Mutex::default(),
        known: Mutex::default(),
        draws: AtomicUsize::new(0),
        people: Mutex::default(),
        decided: Mutex::default(),
        steered: Mutex::default(),
    });
    let mut lives = 0;
    for crash in case.crashes.iter().map(Some).chain([None]) {
        scene.live(crash).map_err(|problem| format!("life {lives}, which ends {crash:?}: {problem}"))?;
        lives += 1;
    }
    let writes = runtime(false).block_on(scene.verify())?;
    let steered = scene.steered().done;
    Ok((lives, writes, steered))
}

fn runtime(has_threads: bool) -> tokio::runtime::Runtime {
    let mut builder = match has_threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

impl Scene {
    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("storehand.db")
    }

    /// One life: until everything has come to rest, or the crash.
    fn live(self: &Arc<Self>, crash: Option<&Crash>) -> Result<(), String> {
        let point = if let Some(Crash::Point(point)) = crash { Some(*point) } else { None };
        self.world.crash_at(point);
        let happenings = if let Some(Crash::Happenings(happenings)) = crash { *happenings } else { usize::MAX };
        let runtime = runtime(self.case.has_threads);
        let result = runtime.block_on(async {
            let time = async {
                match crash {
                    Some(Crash::Micros(micros)) => tokio::time::sleep(Duration::from_micros(*micros)).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.world.crash.notified(), if crash.is_some() => Ok(()),
                () = time => Ok(()),
                result = self.work(happenings) => result,
            }
        });
        drop(runtime);
        closed(&self.file());
        result
    }

    async fn store(&self) -> Result<Store, String> {
        Store::open(&store::Settings { readers: 2, ..store::Settings::at(self.file()) })
            .await
            .map_err(|e| e.to_string())
    }

    async fn runs(&self, store: &Store) -> Result<Vec<Run>, String> {
        let filter = RunFilter { most: 1000, ..RunFilter::default() };
        store.list_runs(&acme(), &filter).await.map_err(|error| error.to_string())
    }

    /// A number that nobody can foresee and every repetition of the case draws again.
    fn draw(&self) -> u64 {
        self.world.draw("drive", self.draws.fetch_add(1, Ordering::Relaxed) as u32)
    }

    async fn work(self: &Arc<Self>, happenings: usize) -> Result<(), String> {
        let store = self.store().await?;
        self.unchanged(&self.runs(&store).await?)?;
        self.remember_pauses(&store).await?;
        let shop = Arc::new(shop());
        let set = Arc::new(RuleSet::new(self.rules.clone(), self.registry.catalog()));
        let engine = Engine::start(Parts {
            store: store.clone(),
            clock: self.clock.clone(),
            ids: Arc::new(IdMaker::new(self.draw() as u16)),
            registry: self.registry.clone(),
            shops: vec![(shop, set)],
            settings: Settings {
                attempts_at_once: 1 + (self.draw() % 6) as usize,
                intake_queue: 100,
                ..Settings::default()
            },
        });
        let engine = engine.await.map_err(|error| error.to_string())?;
        self.watch(&engine, happenings);
        for _ in 0..1000 {
            let (steered, delivered) = tokio::join!(self.steer(&engine, &store), self.deliver(&engine));
            steered.and(delivered)?;
            let idle = tokio::time::timeout(PATIENCE, engine.idle()).await;
            idle.map_err(|_| format!("it does not come to rest within {PATIENCE:?}"))?;
            let unknown = self.decide(&engine, &store).await?;
            let approved = self.approve(&engine, &store).await?;
            let due = store.next_due(&acme()).await.map_err(|error| error.to_string())?;
            let all = self.delivered.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|it| *it);
            match due {
                None if unknown == 0 && approved == 0 && all => {
                    if self.put_in_order(&engine, &store).await? > 0 {
                        continue;
                    }
                    let end = tokio::time::timeout(PATIENCE, engine.shutdown(Duration::from_secs(10)));
                    return end.await.map_err(|_| "it does not shut down".to_owned());
                }
                None => {}
                Some(due) => {
                    let gap = due.as_millisecond() - self.clock.now().as_millisecond();
                    let more = [0, 1, 700, 30_000][(self.draw() % 4) as usize];
                    self.clock.advance(Duration::from_millis(u64::try_from(gap).unwrap_or(0) + more));
                }
            }
        }
        Err(format!("it is not over after 1000 rounds: {:#?}", open(&self.runs(&store).await?)))
    }

    /// Ends are told once in all lives; at the given number of happenings the process ends.
    fn watch(self: &Arc<Self>, engine: &Engine, happenings: usize) {
        let (mut watch, scene) = (engine.watch(), self.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok(happening) = watch.recv().await {
                if let What::Ended { run, .. } = happening.what {
                    scene.told.lock().unwrap_or_else(PoisonError::into_inner).push(run);
                }
                if count == happenings {
                    scene.world.crash.notify_one();
                }
                count += 1;
            }
        });
    }

    /// Delivers some of what is not known to be on disk, and some of what is.
    async fn deliver(&self, engine: &Engine) -> Result<(), String> {
        for (i, (about, kind)) in self.case.events.iter().enumerate() {
            let known = self.delivered.lock().unwrap_or_else(PoisonError::into_inner)[i];
            if self.draw() % 4 < if known { 3 } else { 1 } {
                continue;
            }
            let event = event_of(KINDS[*kind], i, *about, self.clock.now());
            let accepted = engine.accept(&acme(), "shopify", vec![event]).await.map_err(|e| e.to_string())?;
            if known && accepted[0].fresh {
                return Err(format!("event {i} was accepted twice"));
            }
            self.delivered.lock().unwrap_or_else(PoisonError::into_inner)[i] = true;
        }
        Ok(())
    }

    /// A person looks at some of the calls that are unknown, and says what is true. Returns how many there were.
    async fn decide(&self, engine: &Engine, store: &Store) -> Result<usize, String> {
        let unknown = store.unknown(&acme()).await.map_err(|error| error.to_string())?;
        let many = unknown.len();
        for (run, path) in unknown {
            let key = format!("{run}/{path}");
            let happened = self.world.seen().effects.contains_key(&key);
            let says = match self.draw() % 3 {
                0 => continue,
                _ if happened => Says::Happened { answer: self.world.answer(&key) },
                1 => Says::Reject { because: None },
                _ => {
                    self.world.seen().ordered.insert(key);
                    Says::Accept { text: None }
                }
            };
            let decided = engine
                .command(&acme(), Command::Decide(Decision { run, path: path.clone(), by: "ana".into(), says }))
                .await;
            decided.map_err(|error| format!("{run} {path}: {error}"))?;
        }
        Ok(many)
    }

    /// People look at some of the approvals that wait, sometimes two at once, and say what they like. Returns how many
    /// they have decided: their runs go on.
    async fn approve(&self, engine: &Engine, store: &Store) -> Result<usize, String> {
        let mut many = 0;
        let ids = store.for_people(&acme(), None, 1000).await.map_err(|error| error.to_string())?;
        let runs = store.runs(&acme(), &ids).await.map_err(|error| error.to_string())?;
        let asked = |run: &Run| -> Vec<(RunId, String)> {
            let waits = |call: &&Call| call.state == CallState::Pending && call.awaits == Some(Awaits::Person);
            run.calls.iter().filter(waits).map(|call| (run.id, call.path.clone())).collect()
        };
        for (run, path) in runs.iter().flat_map(asked) {
            let decide = async |by: String| {
                let says = match self.draw() % 3 {
                    0 => Says::Accept { text: None },
                    1 => Says::Accept { text: Some("other words".into()) },
                    _ => Says::Reject { because: Some("no".into()) },
                };
                let name = (run, path.clone());
                self.people.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().push(by.clone());
                let decision = Decision { run, path: path.clone(), by: by.clone(), says };
                match engine.command(&acme(), Command::Decide(decision)).await {
                    Ok(_) => Ok(Some(by)),
                    // Somebody was quicker, or its time was over.
                    Err(EngineError::Conflict(_)) => Ok(None),
                    Err(error) => Err(format!("{run} {path}: {error}")),
                }
            };
            let by = || format!("p{}", self.draw());
            let decided = match self.draw() % 4 {
                0 => continue,
                1 => {
                    let (one, other) = tokio::join!(decide(by()), decide(by()));
                    vec![one?, other?]
                }
                _ => vec![decide(by()).await?],
            };
            let decided: Vec<String> = decided.into_iter().flatten().collect();
            if decided.len() > 1 {
                return Err(format!("{run} {path} was decided twice, by {decided:?}"));
            }
            many += decided.len();
            let name = (run, path);
            self.decided
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(decided.into_iter().map(|by| (name.clone(), by)));
        }
        Ok(many)
    }

    /// A run is retried: it may live again, and what failed may be answered otherwise.
    fn forget_failures(&self, run: RunId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.ends.remove(&run);
        known.answers.retain(|(of, _), answer| *of != run || matches!(answer, Answer::Done(_)));
    }
}

/// How long something may take before it is taken for something that never comes: for a machine that has more to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is not over, in short.
fn open(runs: &[Run]) -> Vec<String> {
    let calls = |run: &Run| -> Vec<String> {
        run.calls
            .iter()
            .map(|call| format!("{} {} {:?} {:?}", call.path, call.capability, call.state, call.due))
            .collect()
    };
    let left = runs.iter().filter(|run| run.state != RunState::Ended);
    left.map(|run| format!("{} {} {:?} {:?}", run.id, run.rule, run.state, calls(run))).collect()
}

/// Waits until nobody in this process has the file open: a commit that was under way at the crash has got through
/// by then, or never will.
fn closed(file: &Path) {
    let is_ours = |link: &Path| link.to_string_lossy().starts_with(&*file.to_string_lossy());
    for _ in 0..60_000 {
        let open = std::fs::read_dir("/proc/self/fd").expect("Linux").flatten();
        if !open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|link| is_ours(&link)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{} is still open", file.display());
}
