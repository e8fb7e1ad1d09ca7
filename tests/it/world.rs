//! An outside world for the journal's property test: writes of each kind whose effects are counted, and which fail
//! in every way that there is. What becomes of an attempt depends on a seed alone, never on the time.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use storehand::capabilities;
use storehand::domain::{
    Attempt, Capability, Delivery, Example, Failure, Kind, Lookup, NewEvent, Repeat, RunId, Shape, Shop, Spec, Verdict,
};
use storehand::engine::Registry;
use tokio::sync::Notify;

use crate::support::{acme, start_of_time};

/// What is left of an attempt that took effect, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each key took effect.
    pub(crate) effects: BTreeMap<String, u32>,
    /// The keys under which a call of a rule on an event was made: there must be one.
    pub(crate) identities: BTreeMap<(String, String, String), BTreeSet<String>>,
    /// What must never be.
    pub(crate) faults: Vec<String>,
    /// Attempts that a person ordered: they do not wait for a lane.
    pub(crate) ordered: HashSet<String>,
    /// Rules that are paused, or `*`, each with the attempts that had begun by then.
    pub(crate) held: BTreeMap<String, HashSet<(String, u32)>>,
    tries: HashMap<String, u32>,
    looks: HashMap<String, u32>,
    under_way: HashMap<String, Vec<RunId>>,
}

/// The world. Clones share it.
#[derive(Clone)]
pub(crate) struct World {
    seed: u64,
    seen: Arc<Mutex<Seen>>,
    points: Arc<AtomicUsize>,
    crash_at: Arc<AtomicUsize>,
    /// Told when the point was reached at which the process is to end.
    pub(crate) crash: Arc<Notify>,
    /// Rules of which one run a lane may be at work, and whether all their runs share a lane.
    queues: Arc<BTreeMap<String, bool>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Done,
    TooFast,
    Refused,
    LostAfter,
    LostBefore,
    BreaksAfter,
    BreaksBefore,
}

impl World {
    pub(crate) fn new(seed: u64, queues: BTreeMap<String, bool>) -> Self {
        Self {
            seed,
            seen: Arc::default(),
            points: Arc::default(),
            crash_at: Arc::new(AtomicUsize::new(usize::MAX)),
            crash: Arc::default(),
            queues: Arc::new(queues),
        }
    }

    /// The process is to end at the `n`th point from now; `None`: at none. A point is before or after an effect.
    pub(crate) fn crash_at(&self, n: Option<usize>) {
        self.points.store(0, Ordering::SeqCst);
        self.crash_at.store(n.unwrap_or(usize::MAX), Ordering::SeqCst);
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call of this key is answered, whenever it is.
    pub(crate) fn answer(&self, key: &str) -> Json {
        json!({ "value": self.draw(key, 0) % 100 })
    }

    /// The same number for the same arguments.
    pub(crate) fn draw(&self, key: &str, which: u32) -> u64 {
        let mut hasher = DefaultHasher::new();
        // Run ids hold the time of the test's clock and are the same in every repetition; so is this.
        (self.seed, key, which).hash(&mut hasher);
        hasher.finish()
    }

    /// Where the process may end: what comes after is then never reached.
    async fn point(&self) {
        if self.points.fetch_add(1, Ordering::SeqCst) == self.crash_at.load(Ordering::SeqCst) {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn perform(&self, attempt: &Attempt, input: &Json, repeat: Option<Repeat>) -> Verdict {
        let key = attempt.key.as_str();
        let rule = input["by"].as_str().unwrap_or_default().to_owned();
        let number = {
            let mut seen = self.seen();
            let identity = (attempt.facts.event.id.to_string(), rule.clone(), attempt.path.clone());
            seen.identities.entry(identity).or_default().insert(key.to_owned());
            if key != format!("{}/{}", attempt.run, attempt.path) {
                seen.faults.push(format!("the key of {} {} is {key}", attempt.run, attempt.path));
            }
            let holds = |(name, begun): (&String, &HashSet<(String, u32)>)| {
                (*name == rule || name == "*") && !begun.contains(&(key.to_owned(), attempt.number))
            };
            if repeat.is_some() && !seen.ordered.contains(key) && seen.held.iter().any(holds) {
                let fault = format!("attempt {} at {key} began while {rule} was paused", attempt.number);
                seen.faults.push(fault);
            }
            let tries = seen.tries.entry(key.to_owned()).or_default();
            *tries += 1;
            *tries
        };
        let _at_work = self.begin(attempt, &rule);
        self.point().await;
        match self.draw(key, 1000 + number) % 4 {
            0 => tokio::task::yield_now().await,
            1 => tokio::time::sleep(Duration::from_micros(self.draw(key, 2000 + number) % 3000)).await,
            _ => {}
        }
        let Some(repeat) = repeat else {
            return match self.fate(key, number) {
                Fate::TooFast | Fate::LostAfter => Verdict::RetryAfter(None, "not now".into()),
                Fate::LostBefore => Verdict::Unknown("lost".into()),
                Fate::Refused => Verdict::Refused(Failure::new("refused", "no such thing")),
                Fate::BreaksBefore | Fate::BreaksAfter => break_off(),
                Fate::Done => Verdict::Done(self.answer(key)),
            };
        };
        // The other side takes our key: what it has done is done.
        if repeat == Repeat::Key && self.seen().effects.contains_key(key) {
            return Verdict::Done(self.answer(key));
        }
        let fate = self.fate(key, number);
        match fate {
            Fate::TooFast => return Verdict::RetryAfter(Some(Duration::from_secs(2)), "too fast".into()),
            Fate::Refused => return Verdict::Refused(Failure::new("refused", "it will not")),
            Fate::LostBefore => return Verdict::Unknown("the line broke".into()),
            Fate::BreaksBefore => break_off(),
            Fate::Done | Fate::LostAfter | Fate::BreaksAfter => {}
        }
        *self.seen().effects.entry(key.to_owned()).or_default() += 1;
        self.point().await;
        match fate {
            Fate::LostAfter => Verdict::Unknown("the line broke".into()),
            Fate::BreaksAfter => break_off(),
            _ => Verdict::Done(self.answer(key)),
        }
    }

    /// What becomes of the `number`th attempt; from the fourth on all is well.
    fn fate(&self, key: &str, number: u32) -> Fate {
        match self.draw(key, number) % 16 {
            _ if number > 3 => Fate::Done,
            0 => Fate::TooFast,
            1 => Fate::Refused,
            2 | 3 => Fate::LostAfter,
            4 => Fate::LostBefore,
            5 => Fate::BreaksAfter,
            6 => Fate::BreaksBefore,
            _ => Fate::Done,
        }
    }

    async fn lookup(&self, attempt: &Attempt) -> Lookup {
        let key = attempt.key.as_str();
        let number = {
            let mut seen = self.seen();
            let looks = seen.looks.entry(key.to_owned()).or_default();
            *looks += 1;
            *looks
        };
        self.point().await;
        match self.draw(key, 3000 + number) % 8 {
            0 if number < 4 => Lookup::Later("busy".into()),
            1 if number < 4 => break_off(),
            _ if self.seen().effects.contains_key(key) => Lookup::Happened(self.answer(key)),
            _ => Lookup::DidNot,
        }
    }

    /// Notes that a run is at work in its lane, until the guard is dropped.
    fn begin(&self, attempt: &Attempt, rule: &str) -> Option<AtWork> {
        let is_one_lane = self.queues.get(rule)?;
        let lane = if *is_one_lane { rule.to_owned() } else { format!("{rule} {}", attempt.facts.event.subject) };
        let mut seen = self.seen();
        if seen.ordered.contains(&attempt.key) {
            return None;
        }
        let runs = seen.under_way.entry(lane.clone()).or_default();
        runs.push(attempt.run);
        if runs.iter().any(|run| *run != attempt.run) {
            let fault = format!("in lane {lane} these are at work at the same time: {runs:?}");
            seen.faults.push(fault);
        }
        Some(AtWork { world: self.clone(), lane, run: attempt.run })
    }

    /// These capabilities and the real ones that stay within the process.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        let real = capabilities::all(capabilities::Deps::default()).into_iter();
        let mut all: Vec<Arc<dyn Capability>> =
            real.filter(|it| matches!(it.spec().kind, Kind::Control | Kind::Memory | Kind::Instant)).collect();
        all.push(Arc::new(Part::new(self.clone(), "world.read", None)));
        all.push(Arc::new(Part::new(self.clone(), "world.key", Some(Repeat::Key))));
        all.push(Arc::new(Part::new(self.clone(), "world.look", Some(Repeat::Lookup))));
        all.push(Arc::new(Part::new(self.clone(), "world.once", Some(Repeat::None))));
        Arc::new(Registry::new(all).expect("capabilities"))
    }
}

struct AtWork {
    world: World,
    lane: String,
    run: RunId,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(runs) = self.world.seen().under_way.get_mut(&self.lane)
            && let Some(at) = runs.iter().position(|run| *run == self.run)
        {
            runs.swap_remove(at);
        }
    }
}

/// Panics without a word on the terminal.
fn break_off() -> ! {
    std::panic::resume_unwind(Box::new("a capability's bug"))
}

/// One capability of the world; `None`: it only looks.
struct Part {
    world: World,
    spec: Spec,
    repeat: Option<Repeat>,
}

impl Part {
    fn new(world: World, name: &'static str, repeat: Option<Repeat>) -> Self {
        let input =
            Shape::object(&["n", "by"], &[("n", Shape::any("Anything.")), ("by", Shape::text(40, "The rule."))]);
        let spec = Spec {
            doc: "Of the world.",
            repeat: repeat.unwrap_or(Repeat::Key),
            input,
            output: Shape::object(&["value"], &[("value", Shape::whole(0, 99, "A number."))]),
            example: Example { input: json!({ "n": 1, "by": "r0" }), answer: json!({ "value": 1 }) },
            deadline: Duration::from_secs(20),
            ..Spec::of(name, if repeat.is_some() { Kind::Write } else { Kind::Read })
        };
        Self { world, spec, repeat }
    }
}

#[async_trait]
impl Capability for Part {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.world.perform(attempt, input, self.repeat).await
    }

    async fn lookup(&self, attempt: &Attempt, _input: &Json) -> Lookup {
        self.world.lookup(attempt).await
    }
}

/// The one shop, connected to nothing.
pub(crate) fn shop() -> Shop {
    Shop {
        id: acme(),
        display_name: "Acme".into(),
        platform: None,
        mailer: None,
        languages: vec!["en".into()],
        currency: "EUR".parse().expect("a currency"),
        time_zone: "UTC".into(),
        fuses: storehand::domain::Fuses::default(),
        keep: None,
        low_stock: BTreeMap::new(),
        low_stock_default: None,
        secrets: BTreeMap::new(),
        private_hosts: Vec::new(),
    }
}

/// The types of the events that there are; rules are triggered by the first.
pub(crate) const KINDS: [&str; 3] = ["order.created", "order.paid", "order.fulfilled"];

/// The `number`th event; each is another one.
pub(crate) fn event(number: usize, about: u8) -> NewEvent {
    event_of(KINDS[0], number, about, start_of_time())
}

/// The `number`th event, of this type.
pub(crate) fn event_of(kind: &str, number: usize, about: u8, now: Timestamp) -> NewEvent {
    let delivery = Delivery { headers: &[], query: &[], method: "POST", body: b"{}", received: now };
    let verified = delivery.verify(|_| Ok(())).expect("genuine");
    let payload: Json = json!({ "number": number });
    let subject = format!("order/{about}");
    let (key, payload) = (format!("delivery {number}"), payload.to_string());
    let mut event = verified.event(Some(kind), kind, &subject, key, payload);
    event.records = serde_json::from_value(json!({ "order": { "id": about.to_string() } })).expect("records");
    event
}
