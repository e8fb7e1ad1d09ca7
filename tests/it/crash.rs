//! The crash test: the real program, killed again and again (`kill -9`) under load, loses nothing and does nothing
//! twice. What it cannot know it leaves to a person, and says how often.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::Digest;
use storehand::demo::{DemoCustomer, DemoOrder, DemoShop, Fault, Signed, Signer};
use storehand::domain::{Answer, CallState, End, EventId, Run, RunState, Secret};
use storehand::store::{self, RunFilter, Store};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::plugins;
use crate::support::{acme, order};

const ORDERS: u32 = 200;
const TIMES: usize = 5;
const CONNECTIONS: usize = 32;
const KILLS: usize = 6;

/// Steps: memory, tag (repeated with our key), mail (nobody can tell).
const STEPS: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { uses: memory.add, with: { key: steps, by: 1 } }
  - { id: tag, uses: order.tag, with: { tags: [seen] }, retry: { attempts: 20, first: 1s, max: 2s } }
  - { id: send, uses: message.send, with: { subject: Steps, text: \"Hello {{ order.name }}\" } }
";

/// A script: the same at once, after a wait.
const SCRIPTED: &str = "
id: scripted
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
script: scripted.rhai
";

const SCRIPT: &str = r#"
ask("wait", #{ for: "700ms" });
all([
    || ask("order.tag", #{ tags: ["scripted"] }, #{ retry: #{ attempts: 20, first: "1s", max: "2s" } }),
    || ask("message.send", #{ subject: "Script", text: `Hello ${order.name}` }),
]);
ask("memory.add", #{ key: "scripts", by: 1 });
"#;

/// A plugin: a tag, a wait, the memory, another tag.
const PLUGGED: &str = "
id: plugged
status: live
triggers: [{ event: order.created }]
allow: [the-zoo/zoo.ask]
steps:
  - { uses: the-zoo/zoo.ask, with: {} }
";

const ASKED: &[(&str, &str)] = &[
    ("order.tag", r#"{ "tags": ["plugged"] }"#),
    ("wait", r#"{ "for": "700ms" }"#),
    ("memory.add", r#"{ "key": "the-zoo/n", "by": 1 }"#),
    ("order.tag", r#"{ "tags": ["unplugged"] }"#),
];

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_nothing_and_does_nothing_twice() {
    // Another test of this binary may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let shop = DemoShop::new("shpat_test");
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let endpoint = shop.start(stop.clone()).await.expect("a port");
    let mails = Mails::default();
    let smtp = mails.clone().start().await;
    let port = free_port().await;
    write_files(folder.path(), &endpoint, smtp, port);
    let deliveries = deliveries(&shop);
    slow_and_broken(&shop);

    let posting = tokio::spawn(deliver_all(deliveries, port));
    let mut program = Program::start(folder.path()).await;
    for kill in 0..KILLS {
        // While deliveries come in, while runs are advanced, and once the waits are over.
        tokio::time::sleep(Duration::from_millis(random() % (300 + 250 * kill as u64))).await;
        program.kill();
        program = Program::start(folder.path()).await;
    }
    tokio::time::timeout(Duration::from_secs(60), posting).await.expect("all is delivered").expect("no panic");
    let (runs, store) = rest(folder.path()).await;
    program.stop();

    // Each event once.
    assert_eq!(store.count_events().await.expect("a count"), u64::from(ORDERS));
    assert_eq!(store.unmatched(&acme(), EventId(0), 10).await.expect("events"), []);
    let of: BTreeSet<(&str, EventId)> = runs.iter().map(|run| (&*run.rule, run.event.id)).collect();
    assert_eq!((runs.len(), of.len()), (3 * ORDERS as usize, 3 * ORDERS as usize), "one run a rule and event");

    // No run is left that is neither over nor waiting for a person.
    let unknown: Vec<(&Run, &str)> = runs
        .iter()
        .flat_map(|run| run.calls.iter().map(move |call| (run, call)))
        .filter(|(_, call)| call.state == CallState::Unknown)
        .map(|(run, call)| (run, call.capability.as_str()))
        .collect();
    assert!(unknown.iter().all(|(_, capability)| *capability == "message.send"), "{unknown:?}");
    let left: BTreeSet<_> = unknown.iter().map(|(run, _)| run.id).collect();
    for run in &runs {
        match &run.ended {
            Some((_, end)) => assert_eq!(*end, End::Done, "{run:#?}"),
            None => assert!(left.contains(&run.id) && run.state == RunState::Waiting, "{run:#?}"),
        }
    }

    // Each tag once.
    for order in shop.orders() {
        assert_eq!(order.tags.iter().collect::<BTreeSet<_>>().len(), 4, "#{}: {:?}", order.number, order.tags);
        assert_eq!(order.tags.len(), 4, "#{}: {:?}", order.number, order.tags);
    }

    // Each mail once, or its call unknown.
    let sent = mails.count();
    assert!(
        sent.values().all(|times| *times == 1),
        "{:?}",
        sent.iter().filter(|(_, times)| **times > 1).collect::<Vec<_>>()
    );
    let mut sent_and_unknown = 0;
    for run in runs.iter().filter(|run| &*run.rule != "plugged") {
        let call = run.calls.iter().find(|call| call.capability == "message.send").expect("asked for a mail");
        let arrived = sent.contains_key(&message_id(run, &call.path));
        match (&call.answer, call.state) {
            (Some(Answer::Done(_)), _) => assert!(arrived, "said to be sent: {run:#?}"),
            (None, CallState::Unknown) => sent_and_unknown += usize::from(arrived),
            _ => panic!("{run:#?}"),
        }
    }

    // What is remembered was added once a run.
    for (key, rule) in [("steps", "greet"), ("scripts", "scripted"), ("the-zoo/n", "plugged")] {
        let added = |run: &&Run| run.rule.as_ref() == rule && (rule == "greet" || run.ended.is_some());
        let expected = runs.iter().filter(added).count();
        assert_eq!(store.remembered(&acme(), key).await.expect("memory"), serde_json::json!(expected), "{key}");
    }
    store.close().await;
    eprintln!(
        "{} mails, {} of them left unknown ({sent_and_unknown} had arrived), after {KILLS} kills",
        2 * ORDERS,
        unknown.len(),
    );
}

/// Under which a call's mail goes out: the same for each of its attempts.
fn message_id(run: &Run, path: &str) -> String {
    hex::encode(&sha2::Sha256::digest(format!("{}/{path}", run.id))[..16])
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random numbers");
    u64::from_le_bytes(bytes)
}

async fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).await.and_then(|it| it.local_addr()).expect("a port").port()
}

fn write_files(folder: &Path, endpoint: &str, smtp: u16, port: u16) {
    let rules = folder.join("rules");
    std::fs::create_dir(&rules).expect("a folder for rules");
    let plugged = ("plugged.yaml", PLUGGED);
    for (name, text) in [("greet.yaml", STEPS), ("scripted.yaml", SCRIPTED), ("scripted.rhai", SCRIPT), plugged] {
        std::fs::write(rules.join(name), text).expect("a rule");
    }
    plugins::rules::install(folder, "1.0.0", plugins::rules::WANTS, &plugins::rules::asks(ASKED));
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:{port}"
        [store]
        url = "sqlite://storehand.db"
        [model]
        enabled = "off"
        [log]
        filter = "error"
        [shop.acme]
        currency = "EUR"
        rules = "rules"
        [shop.acme.sources.shopify]
        secrets = ["shopify-secret"]
        [shop.acme.shopify]
        domain = "acme.myshopify.com"
        access_token = "shpat_test"
        endpoint = "{endpoint}"
        [shop.acme.plugins.the-zoo]
        grant = ["order.tag", "memory.add"]
        [shop.acme.mail]
        url = "smtp://127.0.0.1:{smtp}"
        from = "Acme <help@acme.example>"
        security = "none"
        "#
    );
    std::fs::write(folder.join("shop.toml"), config).expect("a configuration");
}

fn deliveries(shop: &DemoShop) -> Vec<Signed> {
    let signer = Signer { shopify: Secret::new("shopify-secret"), standard: Secret::new("") };
    let mut all = Vec::new();
    for number in 1..=ORDERS {
        let base = order(number, 10);
        let email = format!("customer{number}@example.com");
        let order = DemoOrder { customer: DemoCustomer { number, email, ..base.customer.clone() }, ..base };
        shop.put(order.clone());
        all.push(signer.order("orders/create", &order, Timestamp::now()));
    }
    let mut all: Vec<Signed> = (0..TIMES).flat_map(|_| all.clone()).collect();
    for i in (1..all.len()).rev() {
        all.swap(i, (random() % (i as u64 + 1)) as usize);
    }
    all
}

/// The shop answers slowly now and then, or its answer is lost, or it wants to be left alone.
fn slow_and_broken(shop: &DemoShop) {
    let fault = |_| match random() % 8 {
        0 => Fault::LoseAnswer,
        1 => Fault::Throttle,
        2 => Fault::Status(502),
        _ => Fault::Slow(Duration::from_millis(random() % 40)),
    };
    shop.fail_next("tagsAdd", (0..300).map(fault));
}

/// Posts every delivery until it is taken, over so many connections.
async fn deliver_all(deliveries: Vec<Signed>, port: u16) {
    let deliveries = Arc::new(deliveries);
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (deliveries, next) = (deliveries.clone(), next.clone());
        connections.spawn(async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).timeout(Duration::from_secs(10));
            let client = client.build().expect("a client");
            let url = format!("http://127.0.0.1:{port}/hooks/acme/shopify");
            while let Some(delivery) = deliveries.get(next.fetch_add(1, Ordering::Relaxed)) {
                loop {
                    let mut request = client.post(&url).body(delivery.body.clone());
                    for (name, value) in &delivery.headers {
                        request = request.header(name, value);
                    }
                    match request.send().await {
                        Ok(answer) if answer.status().is_success() => break,
                        Ok(answer) if answer.status().is_client_error() => panic!("{}", answer.status()),
                        _ => tokio::time::sleep(Duration::from_millis(10 + random() % 20)).await,
                    }
                }
                // Spread over the kills.
                tokio::time::sleep(Duration::from_millis(random() % 150)).await;
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.expect("a connection");
    }
}

/// Waits until every run is over or waits for a person, and nothing is due any more.
async fn rest(folder: &Path) -> (Vec<Run>, Store) {
    let store = Store::open(&store::Settings::at(folder.join("storehand.db"))).await.expect("the store");
    let begun = Instant::now();
    loop {
        let filter = RunFilter { most: 10_000, ..RunFilter::default() };
        let runs = store.list_runs(&acme(), &filter).await.expect("runs");
        let settled = |run: &Run| {
            let waits = |call: &storehand::domain::Call| matches!(call.state, CallState::Answered | CallState::Unknown);
            run.ended.is_some() || (run.state == RunState::Waiting && run.calls.iter().all(waits))
        };
        let open: Vec<&Run> = runs.iter().filter(|run| !settled(run)).collect();
        let unmatched = store.unmatched(&acme(), EventId(0), 1).await.expect("events");
        if runs.len() == 3 * ORDERS as usize && open.is_empty() && unmatched.is_empty() {
            return (runs, store);
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{} runs, of which are open: {open:#?}", runs.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The real program.
struct Program(Child);

impl Program {
    /// Starts it and waits until it listens.
    async fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_storehand"))
            .args(["serve", "--config", "shop.toml"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program");
        let said = child.stdout.take().expect("what it says");
        let (told, listens) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut told = Some(told);
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                if line.contains("listens on")
                    && let Some(told) = told.take()
                {
                    let _ = told.send(());
                }
            }
        });
        let started = tokio::time::timeout(Duration::from_secs(60), listens).await;
        started.expect("it starts in time").expect("it says that it listens");
        Self(child)
    }

    /// SIGKILL: nothing of it runs any more.
    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }

    /// SIGTERM: it ends in good order.
    fn stop(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("kill");
        assert!(sent.success() && self.0.wait().expect("gone").success(), "it ends in good order");
    }
}

impl Drop for Program {
    /// A test that fails leaves no program behind.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A mail server that takes everything: how often each Message-ID came in, up to its `@`.
#[derive(Clone, Default)]
struct Mails(Arc<Mutex<BTreeMap<String, u32>>>);

impl Mails {
    async fn start(self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mails = self.clone();
                // A client that was killed breaks its connection: that ends this task alone.
                tokio::spawn(async move { mails.serve(stream).await });
            }
        });
        port
    }

    fn count(&self) -> BTreeMap<String, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = tokio::io::BufReader::new(stream);
        stream.write_all(b"220 sink\r\n").await?;
        let mut line = String::new();
        loop {
            line.clear();
            if (&mut stream).take(10_000).read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let answer: &[u8] = match line.get(..4).map(str::to_ascii_uppercase).as_deref() {
                Some("DATA") => {
                    stream.write_all(b"354 go on\r\n").await?;
                    self.take(&mut stream).await?;
                    b"250 taken\r\n"
                }
                Some("QUIT") => {
                    stream.write_all(b"221 goodbye\r\n").await?;
                    return Ok(());
                }
                _ => b"250 well\r\n",
            };
            stream.write_all(answer).await?;
        }
    }

    /// The mail counts once its last line is here, whether or not the client hears the answer.
    async fn take(&self, stream: &mut tokio::io::BufReader<TcpStream>) -> std::io::Result<()> {
        let (mut id, mut line) = (None, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(value) = line.strip_prefix("Message-ID: <") {
                id = value.split('@').next().map(str::to_owned);
            }
            if line == ".\r\n" {
                break;
            }
        }
        let id = id.ok_or(std::io::ErrorKind::InvalidData)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(random() % 20)).await;
        Ok(())
    }
}
