//! An engine that is told to end does, whatever is under way and however much is left to do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use storehand::domain::{EventId, IdMaker, ManualClock};
use storehand::engine::{Engine, Parts, Settings};
use storehand::rules::{self, RuleSet};
use storehand::store::{self, Store};

use crate::support::{acme, start_of_time};
use crate::world::{World, event, shop};

const RULE: &str = "
id: r0
status: live
triggers: [{ event: order.created }]
overlap: parallel
allow: [world.key]
steps:
  - { uses: world.key, with: { n: 1, by: r0 } }
";

async fn start(file: &Path, world: &World, attempts_at_once: usize) -> (Engine, Store) {
    let store = Store::open(&store::Settings::at(file)).await.expect("a store");
    let registry = world.registry();
    let nothing_beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = rules::read(Path::new("r0.yaml"), RULE, &nothing_beside, registry.catalog());
    let rules = RuleSet::new(read.rule.map(Arc::new), registry.catalog());
    let engine = Engine::start(Parts {
        store: store.clone(),
        clock: Arc::new(ManualClock::new(start_of_time())),
        ids: Arc::new(IdMaker::new(7)),
        registry,
        shops: vec![(Arc::new(shop()), Arc::new(rules))],
        settings: Settings { attempts_at_once, intake_queue: 100_000, ..Settings::default() },
    });
    (engine.await.expect("an engine"), store)
}

/// Runs it on one thread, where a task that spins would keep all others from running, and even a time limit from
/// being noticed: so the limit is kept from outside.
fn on_one_thread<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let (told, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work());
        let _ = told.send(());
    });
    ended.recv_timeout(Duration::from_secs(40)).expect("it comes to its end");
}

#[test]
fn with_an_attempt_that_never_ends_and_events_left_over() {
    on_one_thread(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("storehand.db");
        let world = World::new(1, BTreeMap::new());
        // The first attempt stops before its effect and stays there.
        world.crash_at(Some(0));
        let (engine, _) = start(&file, &world, 1).await;
        engine.accept(&acme(), "shopify", vec![event(0, 0)]).await.expect("accepted");
        world.crash.notified().await;
        // More than a turn takes.
        engine.accept(&acme(), "shopify", (1..2000).map(|i| event(i, 0)).collect()).await.expect("accepted");
        engine.shutdown(Duration::from_millis(300)).await;

        // The next life finds all of it.
        world.crash_at(None);
        let (engine, store) = start(&file, &world, 64).await;
        engine.idle().await;
        assert_eq!(store.unmatched(&acme(), EventId(0), 10).await.expect("events"), []);
        assert_eq!(world.seen().identities.len(), 2000);
        engine.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn with_a_store_that_cannot_be_read() {
    on_one_thread(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("storehand.db");
        let world = World::new(1, BTreeMap::new());
        let (engine, _) = start(&file, &world, 1).await;
        let broken = "CREATE TRIGGER broken BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'no'); END";
        let beside = sea_orm::Database::connect(format!("sqlite://{}", file.display())).await.expect("the file");
        sea_orm::ConnectionTrait::execute_unprepared(&beside, broken).await.expect("a trigger");
        // Each is a note of its own: more than the desk has room for.
        for i in 0..400 {
            engine.accept(&acme(), "shopify", vec![event(i, 0)]).await.expect("accepted");
        }
        engine.shutdown(Duration::from_secs(2)).await;

        sea_orm::ConnectionTrait::execute_unprepared(&beside, "DROP TRIGGER broken").await.expect("mended");
        let (engine, store) = start(&file, &world, 64).await;
        engine.idle().await;
        assert_eq!(store.unmatched(&acme(), EventId(0), 10).await.expect("events"), []);
        assert_eq!(world.seen().identities.len(), 400);
        engine.shutdown(Duration::from_secs(10)).await;
    });
}
