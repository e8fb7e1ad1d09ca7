//! The engine: what happens to an event from its acceptance to the last call of the last run on it.
//!
//! ```text
//! accept ──▶ desk of the shop: enrich ─▶ match ─▶ advance ─▶ commit ─▶ perform ─┐
//!            (one turn, one commit)         ▲                                   │ verdicts
//!                                           └───────────────────────────────────┘
//! ```
//!
//! [`advance()`] is the heart, and pure. A `desk` is the one writer of its shop.
//!
//! *Architecture Invariant*: nothing reaches the outside before it is on disk; retries, lanes and timers are
//! decided here and nowhere else; no HTTP server, no platform's payload, no SQL.

mod advance;
pub mod backtest;
mod change;
mod command;
pub mod compare;
mod dead;
mod decide;
mod desk;
mod echo;
mod enrich;
mod forgetting;
mod happening;
mod holds;
mod intake;
mod known;
mod lanes;
mod matching;
mod memory;
mod migrate;
mod on_record;
mod perform;
mod programs;
mod progress;
mod reconcile;
mod redact;
mod registry;
mod rehearse;
pub mod replay;
pub mod reruns;
pub mod rule_tests;
mod schedules;
mod shadow;
mod spending;
mod undo;
mod waits;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use advance::{CALLS_A_RUN, Step, advance};
pub use change::{Foreseen, foresee};
pub use command::{Command, Touched};
pub use decide::Decision;
pub use happening::{Happening, Ran, What};
pub use intake::accept_as;
pub use migrate::{Fate, migrate};
pub use reconcile::{Reconciled, missed};
pub use registry::Registry;
pub use rehearse::Moment;
pub use undo::{Made, made};
pub use why::why_not;

use crate::domain::{Clock, IdMaker, NewEvent, Shop, ShopId};
use crate::rules::RuleSet;
use crate::store::{Accepted, RuleVersion, Store, StoreError};
use desk::{Desk, Note};
use intake::Intake;

/// What can go wrong here.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// Too many events wait for their commit: try again in a moment.
    #[error("too many events are waiting to be written")]
    Full,
    /// The engine is shutting down.
    #[error("Storehand is shutting down")]
    Closing,
    /// There is no such shop.
    #[error("there is no shop `{0}`")]
    NoShop(ShopId),
    /// There is no such thing in this shop.
    #[error("{0}")]
    NotFound(String),
    /// It does not stand as the command supposes (any more): somebody was quicker, or it was never so.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be done as asked, however it stands.
    #[error("{0}")]
    Invalid(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How much at once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts under way at the same time, a shop.
    pub attempts_at_once: usize,
    /// Events that may wait for their commit, a shop; past that, deliveries are answered 503.
    pub intake_queue: usize,
    /// Deliveries put into one commit at the most; 1 gives each its own (for benchmarks).
    pub intake_group: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts_at_once: 32, intake_queue: 20_000, intake_group: 512 }
    }
}

/// What an engine is built of.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<IdMaker>,
    /// The capabilities.
    pub registry: Arc<Registry>,
    /// The shops, each with its live rules.
    pub shops: Vec<(Arc<Shop>, Arc<RuleSet>)>,
    /// How much at once.
    pub settings: Settings,
}

struct ShopDesk {
    shop: Arc<Shop>,
    intake: Intake,
    notes: mpsc::Sender<Note>,
}

/// The running engine.
pub struct Engine {
    store: Store,
    clock: Arc<dyn Clock>,
    shops: BTreeMap<ShopId, ShopDesk>,
    happenings: broadcast::Sender<Happening>,
    desks: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Starts a desk for each shop. What a crash or a shutdown left unfinished goes on at once.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn start(parts: Parts) -> Result<Self, EngineError> {
        let (happenings, _) = broadcast::channel(4096);
        parts.ids.skip_past(parts.store.newest_id().await?);
        let (mut shops, mut desks) = (BTreeMap::new(), Vec::new());
        for (shop, rules) in parts.shops {
            keep_versions(&parts.store, &shop.id, &rules, &*parts.clock).await?;
            let (notes, inbox) = mpsc::channel(64);
            let (falls_behind, behind) = watch::channel(());
            let intake = Intake::start(
                parts.store.clone(),
                parts.ids.clone(),
                parts.clock.clone(),
                parts.settings.intake_queue,
                parts.settings.intake_group,
                notes.clone(),
                falls_behind,
            );
            let (id, of) = (shop.id.clone(), shop.clone());
            let desk = Desk::new(
                desk::Parts {
                    shop,
                    store: parts.store.clone(),
                    clock: parts.clock.clone(),
                    ids: parts.ids.clone(),
                    registry: parts.registry.clone(),
                    rules,
                    happenings: happenings.clone(),
                    settings: parts.settings.clone(),
                },
                behind,
                intake.waiting_count(),
            );
            desks.push(tokio::spawn(desk.work(inbox)));
            shops.insert(id, ShopDesk { shop: of, intake, notes });
        }
        let desks = tokio::sync::Mutex::new(desks);
        Ok(Self { store: parts.store, clock: parts.clock, shops, happenings, desks })
    }

    fn shop(&self, shop: &ShopId) -> Result<&ShopDesk, EngineError> {
        self.shops.get(shop).ok_or_else(|| EngineError::NoShop(shop.clone()))
    }

    /// T1: accepts a delivery's events, each once. Returns when they are on disk.
    ///
    /// # Errors
    /// [`EngineError`], and then none of them is accepted.
    pub async fn accept(
        &self,
        shop: &ShopId,
        source: &str,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Accepted>, EngineError> {
        self.shop(shop)?.intake.accept(shop, source, events).await
    }

    /// Events of all shops that wait for their commit.
    pub fn waiting(&self) -> usize {
        self.shops.values().map(|shop| shop.intake.waiting()).sum()
    }

    /// Replaces a shop's rules, all at once. Runs that wait on other versions follow what the store has on record of
    /// the change ([`Store::put_in_force`]); else they stay on theirs.
    ///
    /// # Errors
    /// [`EngineError`], and then the old rules stay in force.
    pub async fn set_rules(&self, shop: &ShopId, rules: Arc<RuleSet>) -> Result<(), EngineError> {
        let desk = self.shop(shop)?;
        keep_versions(&self.store, shop, &rules, &*self.clock).await?;
        desk.notes.send(Note::Rules(rules)).await.map_err(|_| EngineError::Closing)
    }

    /// Has a person's command carried out; returns when what it did is on disk.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Conflict`] and [`EngineError::Invalid`], and then nothing was done.
    pub async fn command(&self, shop: &ShopId, command: Command) -> Result<Touched, EngineError> {
        let (reply, answer) = oneshot::channel();
        let note = Note::Command(command, reply);
        self.shop(shop)?.notes.send(note).await.map_err(|_| EngineError::Closing)?;
        answer.await.map_err(|_| EngineError::Closing)?
    }

    /// What happens from now on, as it happens. Who is slower than 4,096 happenings misses some.
    pub fn watch(&self) -> broadcast::Receiver<Happening> {
        self.happenings.subscribe()
    }

    /// Returns when nothing is left to be done now: only what waits for the clock or a person.
    pub async fn idle(&self) {
        for shop in self.shops.values() {
            let (reply, idle) = oneshot::channel();
            if shop.notes.send(Note::WhenIdle(reply)).await.is_ok() {
                let _ = idle.await;
            }
        }
    }

    /// Finishes what is under way, at most for `grace`, and starts nothing new. What is not finished by then is
    /// taken up at the next start.
    pub async fn shutdown(&self, grace: Duration) {
        let mut desks = self.desks.lock().await;
        let all = async {
            // A desk that cannot read the store takes no note: telling it counts towards the grace, too.
            for shop in self.shops.values() {
                let _ = shop.notes.send(Note::Close).await;
            }
            for desk in desks.iter_mut() {
                let _ = desk.await;
            }
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("not everything ended in time; it is taken up at the next start");
            desks.iter().for_each(JoinHandle::abort);
        }
        desks.clear();
        self.store.close().await;
    }
}

async fn keep_versions(store: &Store, shop: &ShopId, rules: &RuleSet, clock: &dyn Clock) -> Result<(), StoreError> {
    let version = |rule: &Arc<crate::rules::Rule>| RuleVersion {
        rule: rule.id.clone(),
        version: rule.version.clone(),
        bundle: rule.bundle(),
        since: clock.now(),
    };
    store.keep_versions(shop, rules.in_force().map(|(rule, _)| version(rule)).collect()).await
}
