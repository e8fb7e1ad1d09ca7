//! What a backtest came to: totals of each version, and the events on which two versions differ.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use super::Question;
use super::answers::Source;
use super::looking::{Arrival, Heard};
use super::side::Side;
use crate::domain::{Answer, Call, End, EventId, Kind, Money};
use crate::engine::compare::{Written, alike, writes};
use crate::engine::registry::Registry;
use crate::engine::rehearse::Rehearsal;
use crate::rules::{Overlap, WhyNot};

/// What a rule would have done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The rule's id.
    pub rule: String,
    /// Events received from then on,
    pub since: Timestamp,
    /// and before then.
    pub until: Timestamp,
    /// Events of the types that the rule listens to.
    pub looked_at: u64,
    /// Events of any type that were accepted in this time and not matched yet: they have no context to look at.
    pub never_matched: u64,
    /// Events that cannot be read.
    pub unread: Option<Unread>,
    /// The rule's totals, then those of the version that it was held against.
    pub sides: Vec<Totals>,
    /// On which events the two differ.
    pub differing: Option<Differing>,
    /// What was not as it would have been, in sentences.
    pub notes: Vec<String>,
}

/// Events that cannot be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unread {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub event: EventId,
    /// Why it cannot be read.
    pub why: String,
}

/// What one version would have done in all.
#[derive(Clone, Debug, Serialize)]
pub struct Totals {
    /// The version's name.
    pub version: String,
    /// Events that it ran on.
    pub matched: u64,
    /// Why it did not run on the others, the commonest reason first.
    pub why_not: Vec<WhyNotTotals>,
    /// How many runs ended which way; `waiting` are those not over.
    pub ends: BTreeMap<&'static str, u64>,
    /// By capability.
    pub calls: BTreeMap<String, CallTotals>,
    /// Money that would have been moved, by capability and currency.
    pub money: Vec<MoneyTotals>,
    /// What customers would have got.
    pub messages: Messages,
    /// Why runs failed, the commonest first.
    pub failures: Vec<FailureTotals>,
}

/// A condition that did not hold.
#[derive(Clone, Debug, Serialize)]
pub struct WhyNotTotals {
    /// For so many events.
    pub count: u64,
    /// The first of them,
    pub event: EventId,
    /// and what it saw there.
    #[serde(flatten)]
    pub why: WhyNot,
}

/// The calls of a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallTotals {
    /// In all.
    pub count: u64,
    /// Answered as they were in the past.
    pub on_record: u64,
    /// Answered by the model, now.
    pub performed: u64,
    /// Answered by the capability's example or by what the rule assumes.
    pub stand_ins: u64,
    /// Not made at all: refused at the door (not allowed, or not as its schema wants it).
    pub refused: u64,
}

/// Money moved by a capability in a currency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MoneyTotals {
    /// The capability.
    pub uses: String,
    /// So many times,
    pub count: u64,
    /// so much in all,
    pub total: Money,
    /// so much at most at once.
    pub most: Money,
}

/// Messages to customers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// In all.
    pub count: u64,
    /// To so many customers,
    pub customers: u64,
    /// so many to the one who got the most.
    pub most: u64,
    /// By a digest of the customer: whose they are is nobody's business here.
    #[serde(skip)]
    by_customer: HashMap<u64, u64>,
}

/// Runs that failed for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureTotals {
    /// How many.
    pub count: u64,
    /// The first of them was on this event.
    pub event: EventId,
    /// The failure's code.
    pub code: String,
    /// What went wrong.
    pub message: String,
}

/// Reasons for failures that are told apart; what is past them counts as `others`.
const MOST_FAILURES: usize = 100;

/// The capability whose use a customer sees.
const MESSAGE: &str = "message.send";

impl Totals {
    pub(super) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            matched: 0,
            why_not: Vec::new(),
            ends: BTreeMap::new(),
            calls: BTreeMap::new(),
            money: Vec::new(),
            messages: Messages::default(),
            failures: Vec::new(),
        }
    }

    pub(super) fn add_why_nots(&mut self, more: Vec<WhyNotTotals>) {
        for one in more {
            let is_same =
                |known: &&mut WhyNotTotals| (known.why.line, &known.why.clause) == (one.why.line, &one.why.clause);
            match self.why_not.iter_mut().find(is_same) {
                Some(known) => known.count += one.count,
                None => self.why_not.push(one),
            }
        }
        self.why_not.sort_by_key(|one| (std::cmp::Reverse(one.count), one.why.line));
    }

    pub(super) fn add_run(&mut self, run: &Rehearsal, sources: &BTreeMap<String, Source>, registry: &Registry) {
        *self.ends.entry(word(run.end.as_ref())).or_default() += 1;
        let made = writes(&run.calls, registry);
        for call in &run.calls {
            let totals = self.calls.entry(call.capability.clone()).or_default();
            totals.count += 1;
            match sources.get(&call.path) {
                Some(Source::Record) => totals.on_record += 1,
                Some(Source::Model) => totals.performed += 1,
                None if run.stood_in.contains(&call.path) => totals.stand_ins += 1,
                None => {}
            }
            let kind = registry.get(&call.capability).map(|capability| capability.spec().kind);
            if kind == Some(Kind::Write) && !made.iter().any(|it| it.path == call.path) {
                totals.refused += 1;
            }
        }
        for call in made.iter().filter(|call| arrived(call)) {
            if call.capability == MESSAGE {
                self.messages.add(recipient(call, run));
            }
            let field = registry.get(&call.capability).and_then(|capability| capability.spec().amount);
            let text = field.and_then(|field| call.input.get(field)).and_then(Json::as_str);
            if let Some(money) = text.and_then(|text| text.parse::<Money>().ok()) {
                self.add_money(&call.capability, money);
            }
        }
        if let Some((code, message)) = failure(run.end.as_ref()) {
            self.add_failure(run.facts.event.id, code, message);
        }
    }

    fn add_money(&mut self, capability: &str, money: Money) {
        let is_same = |known: &&mut MoneyTotals| known.uses == capability && known.total.currency == money.currency;
        match self.money.iter_mut().find(is_same) {
            Some(known) => {
                let sum = known.total.amount.saturating_add(money.amount);
                known.total = Money::new(sum, money.currency);
                known.count += 1;
                known.most = if known.most < money { money } else { known.most };
            }
            None => {
                self.money.push(MoneyTotals { uses: capability.to_owned(), count: 1, total: money, most: money });
            }
        }
    }

    fn add_failure(&mut self, event: EventId, code: String, message: String) {
        let full = self.failures.len() >= MOST_FAILURES;
        let place = self.failures.iter().position(|known| (&known.code, &known.message) == (&code, &message));
        let place = place.or(full.then_some(MOST_FAILURES - 1));
        match place.and_then(|place| self.failures.get_mut(place)) {
            Some(known) => {
                known.count += 1;
                if (&known.code, &known.message) != (&code, &message) {
                    (known.code, known.message) = ("others".into(), "for further reasons".into());
                }
            }
            None => self.failures.push(FailureTotals { count: 1, event, code, message }),
        }
        if !full {
            self.failures.sort_by_key(|one| std::cmp::Reverse(one.count));
        }
    }
}

impl Messages {
    fn add(&mut self, customer: u64) {
        let so_many = self.by_customer.entry(customer).or_default();
        *so_many += 1;
        self.count += 1;
        self.most = self.most.max(*so_many);
        self.customers = self.by_customer.len() as u64;
    }
}

/// Whether a call was done, or may have been.
fn arrived(call: &Call) -> bool {
    !matches!(call.answer, Some(Answer::Failed(_)))
}

/// Whom a message goes to, as a digest: the address that it names, else the event's customer.
fn recipient(call: &Call, run: &Rehearsal) -> u64 {
    let context = &run.facts.context;
    let customer = context.customer.as_ref().or(context.order.as_ref().and_then(|order| order.customer.as_ref()));
    let named = call.input.get("to").and_then(Json::as_str);
    let known = customer.and_then(|customer| customer.id.as_deref().or(customer.email.as_deref()));
    let wrote = context.message.as_ref().and_then(|message| message.from.as_deref());
    let mut hasher = DefaultHasher::new();
    named.or(known).or(wrote).unwrap_or(&run.facts.event.subject).hash(&mut hasher);
    hasher.finish()
}

/// How a run ended, in a word.
pub(super) fn word(end: Option<&End>) -> &'static str {
    match end {
        None => "waiting",
        Some(End::Done) => "done",
        Some(End::Failed { .. }) => "failed",
        Some(End::Declined) => "declined",
        Some(End::Diverged { .. }) => "diverged",
        Some(End::Replaced) => "replaced",
        Some(End::Skipped) => "skipped",
        Some(End::Cancelled) => "cancelled",
    }
}

pub(super) fn failure(end: Option<&End>) -> Option<(String, String)> {
    match end {
        Some(End::Failed { failure }) => Some((failure.code.clone(), failure.message.clone())),
        Some(End::Diverged { path, recorded, asked }) => {
            let message = format!("call `{path}` was {recorded} and is, run again, {asked}");
            Some(("diverged".into(), message))
        }
        _ => None,
    }
}

/// What a version did on one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Outcome {
    /// It does not listen to such events.
    NotHeard,
    /// A condition did not hold.
    NotMatched(WhyNot),
    /// It ran.
    Ran {
        /// What it wrote, in this order.
        writes: Vec<Written>,
        /// How it ended: a word; `waiting` where it is not over.
        end: &'static str,
        /// Why it failed, where it did.
        failure: Option<String>,
        /// The end itself.
        #[serde(skip)]
        ended: Option<End>,
    },
}

impl Outcome {
    pub(super) fn of(run: &Rehearsal, registry: &Registry) -> Self {
        Self::Ran {
            writes: writes(&run.calls, registry).into_iter().map(Written::of).collect(),
            end: word(run.end.as_ref()),
            failure: failure(run.end.as_ref()).map(|(code, message)| format!("{message} ({code})")),
            ended: run.end.clone(),
        }
    }

    /// Whether it comes to the same for the shop, whatever the reasons.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ran { writes, ended, .. }, Self::Ran { writes: others, ended: otherwise, .. }) => {
                let same_end = match (ended, otherwise) {
                    (Some(one), Some(other)) => alike(one, other),
                    (one, other) => one.is_none() && other.is_none(),
                };
                writes == others && same_end
            }
            (Self::Ran { .. }, _) | (_, Self::Ran { .. }) => false,
            _ => true,
        }
    }
}

/// The events on which two versions differ.
#[derive(Clone, Debug, Serialize)]
pub struct Differing {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub shown: Vec<Difference>,
}

/// An event on which two versions differ.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its id.
    pub event: EventId,
    /// Its type.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// What each of the two did.
    pub sides: [Outcome; 2],
}

/// Holds the outcomes of two versions against each other, as they come.
pub(super) struct Comparison {
    open: HashMap<EventId, Pending>,
    shown: BTreeMap<EventId, Difference>,
    count: u64,
    most: usize,
}

struct Pending {
    kind: String,
    subject: String,
    sides: [Option<Outcome>; 2],
}

impl Comparison {
    pub(super) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), shown: BTreeMap::new(), count: 0, most }
    }

    /// At least one of the two runs on this event.
    pub(super) fn begin(&mut self, arrival: &Arrival) {
        let at_once = |number: usize| match arrival.heard.get(number) {
            Some(Heard::Holds) => None,
            Some(Heard::WhyNot(why)) => Some(Outcome::NotMatched(why.clone())),
            Some(Heard::Deaf) | None => Some(Outcome::NotHeard),
        };
        let event = &arrival.event;
        let sides = [at_once(0), at_once(1)];
        self.open.insert(event.id, Pending { kind: event.kind.to_string(), subject: event.subject.to_string(), sides });
    }

    /// A version's run on this event is over.
    pub(super) fn over(&mut self, number: usize, event: EventId, outcome: Outcome) {
        let Some(pending) = self.open.get_mut(&event) else { return };
        if let Some(side) = pending.sides.get_mut(number) {
            *side = Some(outcome);
        }
        if pending.sides.iter().any(Option::is_none) {
            return;
        }
        let Some(Pending { kind, subject, sides: [Some(one), Some(other)] }) = self.open.remove(&event) else { return };
        if one.is_like(&other) {
            return;
        }
        self.count += 1;
        self.shown.insert(event, Difference { event, kind, subject, sides: [one, other] });
        if self.shown.len() > self.most {
            self.shown.pop_last();
        }
    }

    pub(super) fn into_differing(self) -> Differing {
        Differing { count: self.count, shown: self.shown.into_values().collect() }
    }
}

fn counted(calls: u64) -> String {
    if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") }
}

/// What was not as it would have been.
pub(super) fn notes(sides: &[Side], question: &Question) -> Vec<String> {
    let mut notes = Vec::new();
    let stand_ins: u64 = sides.iter().flat_map(|side| side.totals.calls.values()).map(|calls| calls.stand_ins).sum();
    if stand_ins > 0 {
        let asks = |side: &Side| side.totals.calls.keys().any(|name| name.starts_with("model."));
        let asks = question.model.is_none() && sides.iter().any(asks);
        let model = if asks { " (`--with-model` asks the model)" } else { "" };
        notes.push(format!("not on record, and answered with the capability's example: {}{model}", counted(stand_ins)));
    }
    let uses_memory = |side: &Side| side.totals.calls.keys().any(|name| name.starts_with("memory."));
    if sides.iter().any(uses_memory) {
        notes.push("memory began empty and held only what this rule put there".into());
    }
    let counts_lanes = |side: &Side| matches!(side.rule.overlap, Overlap::Restart | Overlap::Skip);
    if sides.iter().any(counts_lanes) {
        notes.push("calls took no time, so a lane was busy only while a run of it waited".into());
    }
    let hurried: u64 = sides.iter().map(|side| side.hurried).sum();
    if hurried > 0 {
        notes.push(format!("very many runs waited at once: {hurried} of them went on before their time"));
    }
    notes
}
