//! A shop's rule book: which version of each rule is in force, and what decides it. The one place where that changes:
//! when the folder has changed, and when a person asks.
//!
//! One change at a time, each on disk before the engine hears of it: after a crash the same files, pins and history
//! give the same rules.

mod asked;
mod told;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};

use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::rules_folder::{Checked, Fingerprint, Refused, check_folder, fingerprint};
use crate::domain::{Clock, OnChange, Origin, Pin, Role, RoleChange, Roles, ShopId};
use crate::engine::{Engine, Registry};
use crate::rules::{self, Because, Rule, RuleSet, Standing, Wanted, in_force};
use crate::store::{InForce, RuleVersion, Store};

/// What a rule book is made of.
pub(super) struct Parts {
    pub(super) shop: ShopId,
    pub(super) folder: PathBuf,
    pub(super) inputs: BTreeMap<String, BTreeMap<String, Json>>,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
}

/// See the head of this file.
pub(super) struct Book {
    pub(super) shop: ShopId,
    pub(super) folder: PathBuf,
    /// How the folder was just before it was read for the first time.
    pub(super) first_read: Fingerprint,
    inputs: BTreeMap<String, BTreeMap<String, Json>>,
    registry: Arc<Registry>,
    store: Store,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// For whoever asks whether all is well, without waiting.
    in_short: SyncMutex<String>,
}

/// How things stand.
struct Held {
    /// What the folder held when it was last read.
    checked: Arc<Checked>,
    rules: BTreeMap<String, Entry>,
    set: Arc<RuleSet>,
}

/// How a rule stands.
#[derive(Clone, Debug)]
struct Entry {
    /// The versions in force, with when and from where.
    roles: Roles,
    /// What decides it.
    because: Because,
    pin: Option<Pin>,
    /// What its file says, where that is good.
    file: Option<Arc<Rule>>,
    /// Why its file is not taken, where it is not.
    refused: Option<Refused>,
    /// Why a version that is in force cannot be run.
    unreadable: Vec<String>,
    /// Whether any version of it was ever in force.
    known: bool,
}

/// What a person asks for.
struct Wish {
    rule: String,
    /// None: the file is to decide.
    pin: Option<Pin>,
    origin: Origin,
    on_change: OnChange,
}

impl Entry {
    /// A rule that has left nothing but its history.
    fn gone(roles: Roles, known: bool) -> Self {
        let (because, unreadable) = (Because::Gone, Vec::new());
        Self { roles, because, pin: None, file: None, refused: None, unreadable, known }
    }
}

impl Book {
    /// Reads the folder, and works out what is in force out of that and of what was before. Where a file cannot be
    /// used now, what ran when the last process ended goes on.
    pub(super) async fn open(parts: Parts) -> anyhow::Result<(Arc<Self>, Arc<RuleSet>)> {
        let Parts { shop, folder, inputs, registry, store, clock } = parts;
        let mut history: BTreeMap<String, Roles> = BTreeMap::new();
        for change in store.role_changes(&shop, None).await? {
            history.entry(change.rule.clone()).or_default().take(&change);
        }
        let mut rules: BTreeMap<String, Entry> =
            history.into_iter().map(|(id, roles)| (id, Entry::gone(roles, true))).collect();
        for (rule, pin) in store.pins(&shop).await? {
            rules.entry(rule).or_insert_with(|| Entry::gone(Roles::default(), false)).pin = Some(pin);
        }
        let first_read = fingerprint(&folder);
        let checked = Arc::new(check_folder(&folder, &inputs, &registry));
        let held = Held { checked: checked.clone(), rules, set: Arc::default() };
        let (held, in_short) = (Mutex::new(held), SyncMutex::default());
        let book = Self { shop, folder, first_read, inputs, registry, store, clock, held, in_short };
        let set = book.settle(&mut *book.held.lock().await, checked, None).await?;
        Ok((Arc::new(book), set))
    }

    /// Reads the folder again and puts what it says in force.
    pub(super) async fn look_again(self: &Arc<Self>, engine: &Engine) -> anyhow::Result<()> {
        let book = self.clone();
        let check = move || check_folder(&book.folder, &book.inputs, &book.registry);
        let checked = tokio::task::spawn_blocking(check).await?;
        let mut held = self.held.lock().await;
        let set = self.settle(&mut held, Arc::new(checked), None).await?;
        engine.set_rules(&self.shop, set).await?;
        Ok(())
    }

    /// The rules in force.
    pub(super) async fn set(&self) -> Arc<RuleSet> {
        self.held.lock().await.set.clone()
    }

    /// How things stand, in a few words.
    pub(super) fn in_short(&self) -> String {
        self.in_short.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Works out what is in force, puts it on record, and says in the log what has changed. Where that fails all is as
    /// it was before.
    async fn settle(
        &self,
        held: &mut Held,
        checked: Arc<Checked>,
        wish: Option<&Wish>,
    ) -> anyhow::Result<Arc<RuleSet>> {
        if !Arc::ptr_eq(&checked, &held.checked) || held.set.iter().len() == 0 {
            checked.log(&self.shop);
        }
        let (mut put, mut standing, mut next) = (InForce::default(), BTreeMap::new(), BTreeMap::new());
        for id in ids(held, &checked) {
            let before = held.rules.get(&id).cloned().unwrap_or_else(|| Entry::gone(Roles::default(), false));
            let wish = wish.filter(|wish| wish.rule == id);
            let (entry, stands) = self.decide(held, &checked, (&id, &before), wish, &mut put).await?;
            standing.insert(id.clone(), stands);
            next.insert(id, entry);
        }
        for change in self.store.put_in_force(&self.shop, put).await? {
            if let Some(entry) = next.get_mut(&change.rule) {
                entry.roles.take(&change);
                entry.known = true;
            }
        }
        for (id, entry) in &next {
            let before = held.rules.get(id);
            let was = before.map(|it| (it.roles.versions(), &it.pin, &it.refused));
            if was != Some((entry.roles.versions(), &entry.pin, &entry.refused)) {
                let lifted = before.and_then(|it| it.pin.as_ref()).filter(|pin| entry.pin.as_ref() != Some(pin));
                self.log(id, entry, lifted);
            }
        }
        let set = Arc::new(RuleSet::standing(standing, self.registry.catalog()));
        *self.in_short.lock().unwrap_or_else(PoisonError::into_inner) = words::in_short(&next);
        *held = Held { checked, rules: next, set: set.clone() };
        Ok(set)
    }

    /// Decides about one rule. What is to be written goes into `put`.
    async fn decide(
        &self,
        held: &Held,
        checked: &Checked,
        (id, before): (&str, &Entry),
        wish: Option<&Wish>,
        put: &mut InForce,
    ) -> anyhow::Result<(Entry, Standing)> {
        let (wanted, refused) = wanted(checked, id);
        let file = match &wanted {
            Wanted::File(rule) => Some(rule.clone()),
            Wanted::Unusable | Wanted::Gone => None,
        };
        let pin = wish.map_or_else(|| before.pin.clone(), |wish| wish.pin.clone());
        let (versions, because) = in_force(&wanted, pin.as_ref(), &before.roles.versions());
        let pin = pin.filter(|_| because == Because::Pin);
        let mut unreadable = Vec::new();
        let (mut live, mut shadow) = (None, None);
        for (role, version) in [(&mut live, &versions.live), (&mut shadow, &versions.shadow)] {
            let Some(version) = version else { continue };
            match self.version(held, id, version, file.as_ref()).await? {
                Ok(rule) => *role = Some(rule),
                Err(why) => unreadable.push(format!("version {} cannot be run: {why}", words::short(version))),
            }
        }
        if pin != before.pin {
            put.pins.push((id.to_owned(), pin.clone()));
        }
        for (version, role) in before.roles.versions().changes_to(&versions) {
            let rule = live.iter().chain(&shadow).find(|rule| rule.version == version);
            put.versions.extend(rule.map(|rule| self.kept(rule)));
            let becomes = wish.map(|wish| wish.on_change).or(rule.map(|rule| rule.on_change));
            put.changes.push(RoleChange {
                id: 0,
                rule: id.to_owned(),
                version,
                role,
                at: self.clock.now(),
                origin: origin(wish, file.as_ref()),
                // Nothing waits for a rule that never was in force.
                on_change: becomes.filter(|_| role == Role::Live && before.known),
            });
        }
        let entry = Entry {
            roles: before.roles.clone(),
            because,
            pin,
            file: file.clone(),
            refused,
            unreadable,
            known: before.known,
        };
        Ok((entry, Standing { file, live, shadow }))
    }

    fn kept(&self, rule: &Rule) -> RuleVersion {
        let (rule, version, bundle) = (rule.id.clone(), rule.version.clone(), rule.bundle());
        RuleVersion { rule, version, bundle, since: self.clock.now() }
    }

    /// A version of a rule, out of the file, what is in force, or the store; else why it cannot be had.
    async fn version(
        &self,
        held: &Held,
        id: &str,
        version: &str,
        file: Option<&Arc<Rule>>,
    ) -> anyhow::Result<Result<Arc<Rule>, String>> {
        let stands = held.set.get(id);
        let in_force = stands.into_iter().flat_map(|it| it.live.iter().chain(&it.shadow));
        if let Some(rule) = file.into_iter().chain(in_force).find(|rule| rule.version == version) {
            return Ok(Ok(rule.clone()));
        }
        let bundle = self.store.version(&self.shop, id, version).await?;
        let bundle = bundle.ok_or_else(|| "it is not kept any more".to_owned());
        Ok(bundle.and_then(|bundle| rules::from_bundle(&bundle, self.registry.catalog()).map(Arc::new)))
    }

    fn log(&self, id: &str, entry: &Entry, lifted: Option<&Pin>) {
        let shop = &self.shop;
        if let Some(pin) = lifted {
            tracing::info!(%shop, rule = id, "the pin on version {} is lifted", words::short(&pin.version));
        }
        for sentence in words::stands(id, entry) {
            if entry.refused.is_some() || !entry.unreadable.is_empty() {
                tracing::error!(%shop, rule = id, "{sentence}");
            } else {
                tracing::info!(%shop, rule = id, "{sentence}");
            }
        }
    }
}

/// Every rule that there is, or was.
fn ids(held: &Held, checked: &Checked) -> BTreeSet<String> {
    let files = checked.rules.iter().map(|rule| rule.id.clone());
    let refused = checked.refused.iter().filter_map(|it| it.id.clone());
    held.rules.keys().cloned().chain(files).chain(refused).collect()
}

/// What a rule's file wants, and where it is not taken, why.
fn wanted(checked: &Checked, id: &str) -> (Wanted, Option<Refused>) {
    if let Some(refused) = checked.refused.iter().find(|it| it.id.as_deref() == Some(id)) {
        return (Wanted::Unusable, Some(refused.clone()));
    }
    if let Some(rule) = checked.rules.iter().find(|rule| rule.id == id) {
        return (Wanted::File(rule.clone()), None);
    }
    // Where something cannot be read at all, nobody can tell whether this rule's file is gone.
    match checked.refused.iter().find(|it| it.id.is_none()) {
        Some(refused) => (Wanted::Unusable, Some(refused.clone())),
        None => (Wanted::Gone, None),
    }
}

fn origin(wish: Option<&Wish>, file: Option<&Arc<Rule>>) -> Origin {
    match (wish, file) {
        (Some(wish), _) => wish.origin.clone(),
        (None, Some(rule)) => Origin::File(rule.file.display().to_string()),
        (None, None) => Origin::Removed,
    }
}
