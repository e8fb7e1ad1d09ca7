//! What a hundred thousand waiting runs cost: the memory and the start of the real program, beside those of one with
//! nothing to do. It reports, and asserts only what does not hang on the machine. By hand, since it takes minutes:
//!
//! `STOREHAND_WAITING=100000 cargo test --release --test it -- --ignored --nocapture many_waiting`

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{
    Answer, AskOptions, Awaits, Call, CallState, Context, Event, IdMaker, Mode, Records, Run, RunState, digest,
};
use storehand::rules::{self, Rule};
use storehand::store::{self, Accept, Changes, Matched, RuleVersion, Store};

use crate::support::acme;

/// Its runs wait for the clock, for an event and for a person.
const RULE: &str = "
id: patient
status: live
triggers: [{ event: order.created }]
allow: [order.tag]
steps:
  - { id: log, uses: log, with: { message: begun } }
  - { id: paid, uses: wait_for, with: { event: order.paid, within: 30d } }
  - { id: ok, uses: approval.request, with: { to: support, show: \"Tag {{ order.name }}?\", timeout: 30d } }
  - { id: later, uses: wait, with: { for: 30d } }
";

const AT_ONCE: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures the real program with STOREHAND_WAITING runs (100,000), which takes minutes"]
async fn a_hundred_thousand_waiting_runs_are_rows_and_not_memory() {
    let wanted = std::env::var("STOREHAND_WAITING").ok().and_then(|many| many.parse().ok());
    let many: usize = wanted.unwrap_or(100_000);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (empty, full) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let ports = [write_files(empty.path()), write_files(full.path())];

    let begun = Instant::now();
    seed(full.path(), many).await;
    let size = std::fs::metadata(full.path().join("storehand.db")).expect("the file").len();
    eprintln!("{many} waiting runs seeded in {:.1?}; {} MB of file", begun.elapsed(), size >> 20);

    for (name, folder, port) in [("nothing", empty.path(), ports[0]), ("all of them", full.path(), ports[1])] {
        let mut program = Program::start(folder, port).await;
        eprintln!("{name}: ready after {:?}, resident {:.1} MB", program.ready_after, program.resident_mb());
        tokio::time::sleep(Duration::from_secs(5)).await;
        eprintln!("{name}: resident {:.1} MB after 5 s", program.resident_mb());
        if name == "all of them" {
            assert_eq!(waiting(folder).await, many, "each still waits");
        }
        program.stop();
    }
}

/// How many calls are due within two months, at last.
async fn waiting(folder: &Path) -> usize {
    let store = Store::open(&store::Settings::at(folder.join("storehand.db"))).await.expect("the store");
    let by_then = Timestamp::now() + Duration::from_secs(60 * 24 * 3600);
    let due = store.due(&acme(), by_then, store::Due::All, 10_000_000).await.expect("calls").len();
    store.close().await;
    due
}

fn rule() -> Arc<Rule> {
    let nothing_beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = rules::read(Path::new("patient.yaml"), RULE, &nothing_beside, &catalog(&all(Deps::default())));
    Arc::new(read.rule.unwrap_or_else(|| panic!("{:#?}", read.findings)))
}

/// Writes runs as the engine would have left them.
async fn seed(folder: &Path, many: usize) {
    let store = Store::open(&store::Settings::at(folder.join("storehand.db"))).await.expect("a store");
    let (rule, ids, now) = (rule(), IdMaker::new(1), Timestamp::now());
    let version =
        RuleVersion { rule: rule.id.clone(), version: rule.version.clone(), bundle: rule.bundle(), since: now };
    store.keep_versions(&acme(), vec![version]).await.expect("kept");
    for first in (0..many).step_by(AT_ONCE) {
        let events: Vec<Arc<Event>> =
            (first..many.min(first + AT_ONCE)).map(|i| Arc::new(event(&ids, now, i))).collect();
        let accepts = events.iter().enumerate().map(|(i, event)| {
            let payload = json!({ "order": event.records.order }).to_string();
            Accept::new(event.clone(), format!("delivery {}", first + i), payload)
        });
        store.accept(accepts.collect()).await.expect("accepted");
        let mut changes = Changes::default();
        for (i, event) in events.iter().enumerate() {
            let run = run(&ids, now, &rule, event);
            changes.calls.extend(calls(first + i, now).into_iter().map(|call| (run.id, call)));
            changes.runs.push(run);
            changes.matched.push(Matched {
                event: event.clone(),
                context: Arc::new(Context { records: event.records.clone(), missing: Vec::new() }),
                listeners: Arc::default(),
                heard: Vec::new(),
                at: now,
            });
        }
        store.commit(&acme(), changes).await.expect("committed");
    }
    store.close().await;
}

fn event(ids: &IdMaker, now: Timestamp, i: usize) -> Event {
    let line = |n: usize| {
        json!({ "id": format!("{i}{n}"), "sku": format!("CUP-{n}"), "name": "Stoneware cup, blue", "quantity": 2,
                "unit_price": "19.90 EUR", "total": "39.80 EUR" })
    };
    let records: Records = serde_json::from_value(json!({
        "order": {
            "id": i.to_string(), "name": format!("#{i}"), "financial_status": "pending", "currency": "EUR",
            "total": "119.40 EUR", "customer": { "id": (i % 10_000).to_string(), "email": "ana@example.com" },
            "lines": [line(1), line(2), line(3)], "created_at": now, "updated_at": now,
        }
    }))
    .expect("records");
    Event {
        id: ids.event(now),
        shop: acme(),
        source: "/shopify/acme".into(),
        kind: "order.created".into(),
        topic: "orders/create".into(),
        subject: format!("order/{i}").into(),
        time: now,
        received: now,
        records: Arc::new(records),
        mentions: Vec::new(),
        late: false,
        echo: None,
    }
}

fn run(ids: &IdMaker, now: Timestamp, rule: &Rule, event: &Arc<Event>) -> Run {
    Run {
        id: ids.run(now),
        rule: rule.id.as_str().into(),
        version: rule.version.as_str().into(),
        mode: Mode::Live,
        event: event.clone(),
        context: Arc::new(Context { records: event.records.clone(), missing: Vec::new() }),
        lane: event.subject.clone(),
        state: RunState::Waiting,
        started: now,
        ended: None,
        calls: Vec::new(),
    }
}

/// A third waits for the event, a third for a person, a third for the clock.
fn calls(i: usize, now: Timestamp) -> Vec<Call> {
    let asked = [
        ("log", "log", json!({ "message": "begun" }), json!({})),
        ("paid", "wait_for", json!({ "event": "order.paid", "within": "30d" }), json!({ "timed_out": true })),
        (
            "ok",
            "approval.request",
            json!({ "to": "support", "show": format!("Tag #{i}?"), "timeout": "30d" }),
            json!({ "decision": "approved", "text": format!("Tag #{i}?") }),
        ),
        ("later", "wait", json!({ "for": "30d" }), Json::Null),
    ];
    let open = 1 + i % 3;
    let awaits = [
        None,
        Some(Awaits::Event { kind: "order.paid".into(), about: format!("order/{i}") }),
        Some(Awaits::Person),
        None,
    ];
    let call = |(at, (path, capability, input, answer)): (usize, (&str, &str, Json, Json))| Call {
        path: path.to_owned(),
        position: at as u32,
        capability: capability.to_owned(),
        digest: digest(capability, &input),
        input,
        options: AskOptions { label: Some(path.to_owned()), ..AskOptions::default() },
        state: if at == open { CallState::Pending } else { CallState::Answered },
        attempts: 0,
        due: if at == open { now + Duration::from_secs(30 * 24 * 3600 + i as u64) } else { now },
        awaits: if at == open { awaits[at].clone() } else { None },
        asked: now,
        answered: (at != open).then_some(now),
        log: Vec::new(),
        answer: (at != open).then_some(Answer::Done(answer)),
        trouble: None,
    };
    asked.into_iter().enumerate().take(open + 1).map(call).collect()
}

fn write_files(folder: &Path) -> u16 {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a port").port();
    std::fs::create_dir(folder.join("rules")).expect("a folder for rules");
    std::fs::write(folder.join("rules/patient.yaml"), RULE).expect("a rule");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\nurl = \"sqlite://storehand.db\"\n[model]\nenabled = \
         \"off\"\n[log]\nfilter = \"error\"\n[shop.acme]\ncurrency = \"EUR\"\nrules = \"rules\"\n\
         [shop.acme.sources.shopify]\nsecrets = [\"shopify-secret\"]\n"
    );
    std::fs::write(folder.join("shop.toml"), config).expect("a configuration");
    port
}

/// The real program, once it says that it is ready.
struct Program {
    child: Child,
    ready_after: Duration,
}

impl Program {
    async fn start(folder: &Path, port: u16) -> Self {
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_storehand"))
            .args(["serve", "--config", "shop.toml"])
            .current_dir(folder)
            .env_clear()
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let mut program = Self { child, ready_after: Duration::MAX };
        let client = reqwest::Client::new();
        let ready = format!("http://127.0.0.1:{port}/ready");
        while !client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
            let ended = program.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && begun.elapsed() < Duration::from_secs(60),
                "it does not become ready: {ended:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        program.ready_after = begun.elapsed();
        program
    }

    /// Memory that it holds, by the system's count: pages of 4 KiB.
    fn resident_mb(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("Linux");
        let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * 4096.0 / f64::from(1 << 20)
    }

    fn stop(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success() && self.child.wait().expect("gone").success(), "it ends in good order");
    }
}

impl Drop for Program {
    /// A test that fails leaves no program behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
