//! The crash test over the rule library: each shipped rule that writes, killed right before and right after each of its
//! commits, started again and led to its end, leaves the shop as one clean run does. What nobody can tell is left
//! `unknown`, a person looks, and it is counted here.
//!
//! A life is this very program, started anew (`life`); the shop and its mail box are held here (`outside`). By default
//! every [`EVERY`]th commit is looked at; `STOREHAND_CRASH_EVERY=1` looks at all of them.

mod life;
mod outside;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{Customer, Order, Product, Records, Text};
use storehand::rules::{Rule, RuleTest, Tuning, load_folder};
use storehand::store::{self, Store};

use crate::support::start_of_time;
use life::{Life, Person, TOLD};
use outside::{Outside, State};

/// The rule library.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");

/// Of so many commits one is looked at, so that it takes a minute or two on two busy cores.
const EVERY: usize = 8;

/// What happens to some rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scene {
    name: String,
    /// Those that are switched on, each with what the shop has tuned.
    rules: BTreeMap<String, Tuning>,
    /// By the time at which they come.
    events: Vec<(Timestamp, Json)>,
    person: Person,
    /// Moments at which something happens by itself, beside those for which calls wait.
    stops: Vec<Timestamp>,
    /// Nothing is left of it outside: what comes in between stops the rule, or what a person says does.
    is_stopped: bool,
}

/// What there is in the end, as far as it can be compared: what is named after a run is named otherwise in another.
#[derive(Debug, PartialEq)]
struct Left {
    orders: Vec<Order>,
    products: Vec<Product>,
    /// By customer: their tags, and what is noted about them.
    customers: Vec<[String; 3]>,
    /// Which order is held, and why.
    holds: Vec<[String; 2]>,
    /// For which order how much was given back.
    refunds: Vec<[String; 2]>,
    mails: Vec<[String; 3]>,
    ends: String,
}

#[test]
fn killed_at_any_commit_each_shipped_rule_leaves_the_shop_as_a_clean_run_does() {
    let every = std::env::var("STOREHAND_CRASH_EVERY").ok().and_then(|every| every.parse().ok()).unwrap_or(EVERY);
    let (begun, template) = (Instant::now(), tempfile::tempdir().expect("a folder"));
    make_store(template.path());
    let scenes = scenes();
    let waiting: VecDeque<(usize, Scene)> = scenes.into_iter().enumerate().collect();
    let (waiting, found) = (Mutex::new(waiting), Mutex::new(BTreeMap::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((number, scene)) = next else { return };
                    let came = look_at(&scene, template.path(), every, number % every.max(1));
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(scene.name, came);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let kills: usize = found.values().map(|came| came.kills).sum();
    let unknown: Vec<&(String, bool)> = found.values().flat_map(|came| &came.unknown).collect();
    let arrived = unknown.iter().filter(|(_, arrived)| *arrived).count();
    eprintln!(
        "{} scenes, {kills} kills, {} mails left unknown of which {arrived} had arrived, in {:.1?}",
        found.len(),
        unknown.len(),
        begun.elapsed()
    );
    for (name, Came { kills, unknown, .. }) in &found {
        let unknown: BTreeSet<&str> = unknown.iter().map(|(call, _)| call.as_str()).collect();
        eprintln!("  {name}: {kills} kills; unknown: {unknown:?}");
    }
    assert!(kills >= found.len(), "each scene was killed at least once");
    // Both ways of not knowing were met: a mail that had arrived, and one that had not.
    assert!(arrived > 0 && arrived < unknown.len(), "{unknown:?}");
}

/// What came of a scene.
#[derive(Default)]
struct Came {
    kills: usize,
    unknown: Vec<(String, bool)>,
}

/// Kills a scene at every `every`th commit, beginning with another one for each scene; and once again and again, each
/// life at a later commit than the one before, so that going on is cut off too.
fn look_at(scene: &Scene, template: &Path, every: usize, offset: usize) -> Came {
    let Led { left: clean, killed, unknown, commits } = lead(scene, template, |_| None);
    assert!(killed == 0 && unknown.is_empty(), "{}: a clean run", scene.name);
    let before = Left { ends: clean.ends.clone(), ..left(&outside_of(scene).state(), String::new()) };
    let changes = if scene.is_stopped { "nothing" } else { "something" };
    assert!((clean == before) == scene.is_stopped, "{}: the scene changes {changes}: {clean:#?}", scene.name);
    let mut came = Came::default();
    let mut compare = |led: Led, how: &str| {
        // Commits that fell together may have made them fewer this time.
        assert_eq!(led.left, clean, "{} killed {how}", scene.name);
        came.kills += led.killed;
        came.unknown.extend(led.unknown);
    };
    for after in [false, true] {
        for n in (1 + offset..=commits).step_by(every.max(1)) {
            let led = lead(scene, template, |life| (life == 0).then_some((n, after)));
            compare(led, &format!("{} commit {n} of {commits}", if after { "after" } else { "before" }));
        }
    }
    let led = lead(scene, template, |life| Some((1 + life, life % 2 == 0)));
    compare(led, "again and again");
    came
}

/// What came of a scene that was led to its end.
struct Led {
    left: Left,
    /// How many lives were killed.
    killed: usize,
    unknown: Vec<(String, bool)>,
    /// Of the last life.
    commits: usize,
}

/// Leads a scene to its end, over as many lives as it takes; each is killed as it is said.
fn lead(scene: &Scene, template: &Path, kill: impl Fn(usize) -> Option<(usize, bool)>) -> Led {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(template.join("storehand.db"), folder.path().join("storehand.db")).expect("a store");
    let outside = outside_of(scene);
    let port = outside.serve();
    let mut life = Life { folder: folder.path().to_owned(), port, scene: scene.clone(), killed_at: kill(0) };
    let mut killed = 0;
    while live(&life) {
        killed += 1;
        life.killed_at = kill(killed);
        // What it has asked for is done before it wakes again.
        Outside::catch_up(port);
    }
    Outside::end(port);
    let state = outside.state();
    let ids: BTreeSet<&str> = state.mails.iter().map(|mail| mail.message_id.as_str()).collect();
    assert_eq!(ids.len(), state.mails.len(), "{}: a mail went out twice: {:#?}", scene.name, state.mails);
    let ends = std::fs::read_to_string(folder.path().join("ends")).expect("how all ended");
    let commits = std::fs::read_to_string(folder.path().join("commits")).expect("a count").parse().expect("a number");
    Led { left: left(&state, ends), killed, unknown: state.unknown.clone(), commits }
}

/// Starts a life and waits for its end; whether it was killed.
fn live(life: &Life) -> bool {
    let told = serde_json::to_string(life).expect("json");
    let ended = Command::new(std::env::current_exe().expect("this program"))
        .args(["library_crash::life::a_life", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TOLD, told)
        .stdin(Stdio::null())
        .output()
        .expect("a life");
    // SIGABRT, by its own hand.
    let killed = std::os::unix::process::ExitStatusExt::signal(&ended.status) == Some(6);
    assert!(
        killed && life.killed_at.is_some() || ended.status.success(),
        "{} {:?}: {}\n{}{}",
        life.scene.name,
        life.killed_at,
        ended.status,
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
    killed
}

/// A store with its tables: making them takes longer than a life.
fn make_store(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&store::Settings::at(folder.join("storehand.db"))).await.expect("the store");
        store.close().await;
    });
}

fn outside_of(scene: &Scene) -> Outside {
    let (mut orders, mut customers, mut products) = (Vec::new(), Vec::new(), Vec::new());
    // Records as the first event has them: of those with the same id the last counts.
    for (_, event) in scene.events.iter().rev() {
        let records: Records = serde_json::from_value(event["data"].clone()).expect("records");
        // An order that is named and not told of is there too.
        let named = [
            records.returned.as_ref().and_then(|it| it.order_id.clone()),
            records.dispute.as_ref().and_then(|it| it.order_id.clone()),
        ];
        let named = named.into_iter().flatten().filter(|_| records.order.is_none());
        orders.extend(named.map(|id| Order { id: Some(id), status: Some("open".into()), ..Order::default() }));
        let buyer = records.order.as_ref().and_then(|order| order.customer.clone());
        customers.extend(records.customer.into_iter().chain(buyer).map(Arc::unwrap_or_clone));
        orders.extend(records.order.map(Arc::unwrap_or_clone));
        products.extend(records.product.map(Arc::unwrap_or_clone));
    }
    Outside::of(orders, customers, products)
}

fn left(state: &State, ends: String) -> Left {
    let sorted = |tags: &[Text]| {
        let mut tags = tags.to_vec();
        tags.sort();
        tags
    };
    let order = |order: &Order| {
        let note = order.note.as_deref().map(|note| unnamed(note).into());
        Order { note, tags: sorted(&order.tags), ..order.clone() }
    };
    let customer = |(id, customer): (&String, &Customer)| {
        let note = state.notes.get(id).map(|note| unnamed(note)).unwrap_or_default();
        [id.clone(), sorted(&customer.tags).join(", "), note]
    };
    let holds = state.holds.iter().flat_map(|(id, holds)| holds.values().map(|why| [id.clone(), why.clone()]));
    let mut refunds: Vec<[String; 2]> = state.refunds.values().cloned().collect();
    refunds.sort();
    let mut mails: Vec<[String; 3]> =
        state.mails.iter().map(|mail| [mail.to.clone(), mail.subject.clone(), unnamed(&mail.text)]).collect();
    mails.sort();
    Left {
        orders: state.orders.values().map(order).collect(),
        products: state.products.values().map(|it| Product { tags: sorted(&it.tags), ..it.clone() }).collect(),
        customers: state.customers.iter().map(customer).collect(),
        holds: holds.collect(),
        refunds,
        mails,
        ends: unnamed(&ends),
    }
}

/// Without what is named after a run: its id, and the mark in a note.
fn unnamed(text: &str) -> String {
    let mut text = text.to_owned();
    for (mark, most) in [("run_", 13), ("[storehand ", 12)] {
        let mut from = 0;
        while let Some(at) = text[from..].find(mark).map(|at| from + at + mark.len()) {
            let end = text[at..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(text.len(), |end| at + end);
            text.replace_range(at..end.min(at + most), "");
            from = at;
        }
    }
    text
}

/// One for each shipped rule that writes, with the events of those of its own tests in which it does.
fn scenes() -> Vec<Scene> {
    let loaded = load_folder(Path::new(RULES), &catalog(&all(Deps::default())));
    assert!(loaded.unusable.is_empty(), "{:?}", loaded.unusable);
    let mut scenes = Vec::new();
    for rule in loaded.rules.iter().filter(|rule| !rule.allow.is_empty() && rule.schedules().next().is_none()) {
        let says: &[Person] = match rule.text.contains("approval.request") {
            true => &[Person::Yes, Person::No, Person::Nobody],
            false => &[Person::Nobody],
        };
        scenes.extend(says.iter().map(|&person| scene(rule, person)));
    }
    // The digest tells of what waits: an order that nobody has looked at the next morning.
    let waits = loaded.rules.iter().find(|rule| rule.id == "check-first-order").expect("the rule");
    let mut digest = scene(waits, Person::Nobody);
    let patient = Tuning::from([("within".to_owned(), json!("40h"))]);
    digest.rules = BTreeMap::from([("check-first-order".into(), patient), ("daily-digest".into(), Tuning::new())]);
    digest.stops = vec!["2026-11-24T09:00:00Z".parse().expect("a time")];
    "daily-digest".clone_into(&mut digest.name);
    scenes.push(digest);
    // The report tells of what others have put into it that day, one after another: runs of two orders at once may come
    // in either order.
    let notes = loaded.rules.iter().find(|rule| rule.id == "discount-check").expect("the rule");
    let mut report = scene(notes, Person::Nobody);
    report.rules.insert("daily-report".into(), Tuning::new());
    for (hours, (at, _)) in (0..).zip(&mut report.events) {
        *at = start_of_time() + SignedDuration::from_hours(hours);
    }
    report.stops = vec!["2026-11-23T18:00:00Z".parse().expect("a time")];
    "daily-report".clone_into(&mut report.name);
    scenes.push(report);
    scenes.extend(in_between(&loaded.rules).into_iter().map(|(scene, _)| scene));
    scenes
}

/// What is left where something comes while a rule waits: the tags of the order, and how many mails.
struct Expected {
    tags: &'static [&'static str],
    mails: usize,
    /// In the last of them.
    says: &'static str,
}

/// Scenes in which something comes while a rule waits.
fn in_between(rules: &[Arc<Rule>]) -> Vec<(Scene, Expected)> {
    let later = |hours: i64, name: &str, kind: &str, event: &Json| {
        let at = start_of_time() + SignedDuration::from_hours(hours);
        let mut event = event.clone();
        event["type"] = json!(kind);
        if kind == "return.requested" {
            event["subject"] = json!("return/1");
            let order = &event["data"]["order"]["id"];
            event["data"]["returned"] = json!({ "id": "1", "order_id": order });
        }
        if name == "low-stock-roundup" || name == "win-back" {
            event = another(&event);
        }
        if name == "ask-address" {
            event["data"]["order"]["shipping_address"]["address1"] = json!("Lindenstraße 5");
            event["data"]["order"]["shipping_address"]["zip"] = json!("10115");
            event["data"]["order"]["tags"] = json!(["check-address"]);
        }
        (at, event)
    };
    let cases = [
        ("ask-address", 20, "order.updated", Expected { tags: &[], mails: 1, says: "house number, postal code" }),
        ("ask-review", 70, "return.requested", Expected { tags: &[], mails: 0, says: "" }),
        ("chase-unpaid", 40, "order.paid", Expected { tags: &[], mails: 1, says: "#1045 is not paid yet" }),
        ("late-apology", 120, "order.fulfilled", Expected { tags: &[], mails: 1, says: "#1045 takes longer" }),
        ("win-back", 2000, "order.created", Expected { tags: &[], mails: 1, says: "for a while" }),
        ("low-stock-roundup", 2, "inventory.low", Expected { tags: &[], mails: 1, says: "Another: 3 left" }),
    ];
    let scenes = cases.into_iter().map(|(id, hours, kind, expected)| {
        let rule = rules.iter().find(|rule| rule.id == id).expect(id);
        let mut scene = scene(rule, Person::Nobody);
        scene.events.truncate(1);
        let event = later(hours, id, kind, &scene.events[0].1);
        scene.events.push(event);
        scene.name = format!("{id}, {kind} in between");
        scene.is_stopped = expected.mails == 0;
        (scene, expected)
    });
    scenes.collect()
}

#[test]
fn what_comes_while_a_rule_waits_counts() {
    let template = tempfile::tempdir().expect("a folder");
    make_store(template.path());
    let loaded = load_folder(Path::new(RULES), &catalog(&all(Deps::default())));
    for (scene, Expected { tags, mails, says }) in in_between(&loaded.rules) {
        let left = lead(&scene, template.path(), |_| None).left;
        let found: Vec<&str> = left.orders.iter().flat_map(|order| order.tags.iter().map(|tag| &**tag)).collect();
        assert_eq!((found.as_slice(), left.mails.len()), (tags, mails), "{}: {left:#?}", scene.name);
        assert!(left.mails.iter().all(|[.., text]| text.contains(says)), "{}: {left:#?}", scene.name);
        assert!(left.orders.iter().all(|order| order.status.as_deref() != Some("cancelled")), "{}", scene.name);
        assert!(left.holds.is_empty(), "{}: {left:#?}", scene.name);
    }
}

fn scene(rule: &Rule, person: Person) -> Scene {
    let tuning = match rule.id.as_str() {
        "many-returns" => Tuning::from([("from".to_owned(), json!(1))]),
        "tag-vip" => Tuning::from([("from_order".to_owned(), json!(1))]),
        "vip-by-total" => Tuning::from([("from".to_owned(), json!("300 EUR"))]),
        _ => Tuning::new(),
    };
    // What was never sold out is not back.
    let sells_out = |test: &&RuleTest| rule.id == "back-in-stock" && test.event["type"] == "inventory.out";
    let first = rule.tests.iter().find(sells_out);
    let writes = rule.tests.iter().filter(|test| !test.expect.calls.is_empty());
    let mut events: Vec<(Timestamp, Json)> = Vec::new();
    for event in first.into_iter().chain(writes).map(|test| &test.event) {
        let is_same = |known: &Json| known["type"] == event["type"] && known["subject"] == event["subject"];
        if !events.iter().any(|(_, known)| is_same(known)) {
            events.push((start_of_time(), event.clone()));
        }
    }
    // A rule that counts wants two of a kind.
    if rule.id == "vip-by-total" {
        events.extend(events.first().map(|(at, event)| (*at, another(event))));
    }
    let name = if person == Person::Nobody { rule.id.clone() } else { format!("{} {person:?}", rule.id) };
    Scene {
        name,
        rules: BTreeMap::from([(rule.id.clone(), tuning)]),
        events,
        person,
        stops: Vec::new(),
        is_stopped: writes_nothing(rule, person),
    }
}

/// Whether the rule's own tests say that it writes nothing where a person says this, as a text that is declined goes
/// nowhere.
fn writes_nothing(rule: &Rule, person: Person) -> bool {
    let is_such = |test: &&RuleTest| match (person, test.mocks.get("ok")) {
        (Person::No, Some(said)) => said == "rejected" || said["error"]["code"] == "declined",
        (Person::Nobody, Some(said)) => said == "timed_out",
        _ => false,
    };
    let mut such = rule.tests.iter().filter(is_such).peekable();
    such.peek().is_some() && such.all(|test| test.expect.calls.is_empty())
}

/// The same event about another order, or another article.
fn another(event: &Json) -> Json {
    let mut event = event.clone();
    event["subject"] = json!(format!("{}0", event["subject"].as_str().unwrap_or_default()));
    for record in ["order", "inventory", "product"] {
        if let Some(id) = event["data"][record]["id"].as_str().map(|id| format!("{id}0")) {
            event["data"][record]["id"] = json!(id);
        }
    }
    if event["data"]["product"].is_object() {
        event["data"]["product"]["title"] = json!("Another");
    }
    event
}
