//! A shop's desk: the one task that moves this shop's events, runs and calls forward.
//!
//! It works in turns. A turn takes what has come in (new events, verdicts of attempts, calls that are due), works
//! out everything that follows from it in memory, writes all of it in one commit, and only then acts on it: starts
//! attempts and tells what happened. So what is done is always on disk first, and a crash between two turns loses
//! nothing. When a commit fails, the memory is thrown away and the desk begins again from the disk, as after a
//! crash: there is one way of recovery, not two.
//!
//! One desk a shop is what keeps shops apart: a flood, a slow script or a broken rule holds up its own desk only.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::change::Change;
use super::command::{Command, Touched};
use super::echo::{Echoes, echoes};
use super::forgetting::Forgetting;
use super::happening::{Happening, What};
use super::holds::{Holds, NEVER};
use super::lanes::Lanes;
use super::perform::{Finished, Job};
use super::redact::{Redacted, Redacting};
use super::registry::Registry;
use super::schedules::Schedules;
use super::spending::Spending;
use super::waits::Happened;
use super::{EngineError, Settings};
use crate::domain::{CallState, Clock, Event, EventId, Facts, IdMaker, Order, RecordKey, Run, RunId, RunState, Shop};
use crate::rules::{Rule, RuleSet};
use crate::store::{Changes, Due, Store, StoreError};

/// What a desk is told.
pub(super) enum Note {
    /// Events that were just accepted.
    Events(Vec<Arc<Event>>),
    /// The shop's rules from now on.
    Rules(Arc<RuleSet>),
    /// A person asks for something.
    Command(Command, oneshot::Sender<Result<Touched, EngineError>>),
    /// Tell when nothing is left to be done now.
    WhenIdle(oneshot::Sender<()>),
    /// Finish what is under way and end.
    Close,
}

/// The reads of the platform for an event's context have ended: what they found, `None` where there is none.
pub(super) struct Fetched {
    pub(super) event: EventId,
    pub(super) orders: Vec<(RecordKey, Option<Order>)>,
}

/// What the desk's own tasks come back with.
pub(super) enum Returned {
    Attempt(Finished),
    Fetched(Fetched),
    Redacted(Redacted),
}

/// A run in memory, with what it takes to advance it.
pub(super) struct Live {
    pub(super) run: Run,
    pub(super) rule: Arc<Rule>,
    pub(super) facts: Facts,
    /// Paths of its calls whose attempts are under way.
    pub(super) under_way: HashSet<String>,
}

/// What a desk is given.
pub(super) struct Parts {
    pub(super) shop: Arc<Shop>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<IdMaker>,
    pub(super) registry: Arc<Registry>,
    pub(super) rules: Arc<RuleSet>,
    pub(super) happenings: broadcast::Sender<Happening>,
    pub(super) settings: Settings,
}

/// See the head of this file.
pub(super) struct Desk {
    pub(super) parts: Parts,
    pub(super) lanes: Lanes,
    /// Runs that hold or want a lane, and those that this turn works on.
    pub(super) runs: HashMap<RunId, Live>,
    /// Rules of versions that waiting runs are on.
    pub(super) versions: HashMap<(Arc<str>, Arc<str>), Arc<Rule>>,
    /// The event types that runs may wait for, such as `order.paid` and `order.*`.
    pub(super) awaited: BTreeSet<String>,
    /// The rules' own times.
    pub(super) schedules: Schedules,
    /// Versions that went live, while runs wait on others; and whether there are some on disk that are not here.
    pub(super) changes: Vec<Change>,
    pub(super) changes_unread: bool,
    /// Events that wait for a read of the platform.
    pub(super) parked: HashMap<EventId, Arc<Event>>,
    /// Whom it is about to forget.
    pub(super) redacting: Redacting,
    /// Whether there are events that were found by asking the platform.
    pub(super) has_reconciled: bool,
    /// What is paused.
    pub(super) holds: Holds,
    /// What was spent of late.
    pub(super) spending: Spending,
    /// How far it has come with what was kept for long enough.
    pub(super) forgetting: Forgetting,
    /// The events that writes of ours bring about.
    pub(super) echoes: Echoes,
    /// Lets so many reads of the platform go on at once.
    pub(super) reads: Arc<Semaphore>,
    pub(super) tasks: JoinSet<Returned>,
    pub(super) attempts_under_way: usize,
    /// The next moment at which a call is due, as far as is known; never later than it is.
    next_due: Option<Timestamp>,
    /// Whether a call that is due was left for now, since an event that came in time may still answer it.
    pub(super) is_held_up: bool,
    /// Changes when there are events on disk that the desk was not handed.
    behind: watch::Receiver<()>,
    /// Events that are on their way to the disk and to the notes.
    waiting: Arc<AtomicUsize>,
    /// While catching up: the last event read from the disk, and those read that may still be handed over too.
    catching_up: Option<EventId>,
    read_from_disk: HashSet<EventId>,
    /// Ids of listeners that are on disk, or will be with this turn.
    pub(super) kept_listeners: HashSet<i64>,
    when_idle: Vec<oneshot::Sender<()>>,
    pub(super) closing: bool,
}

/// All that one turn does, gathered before it is written.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) now: Timestamp,
    /// Whether the desk has been told more than this turn takes.
    pub(super) more_notes: bool,
    pub(super) changes: Changes,
    /// Runs made in this turn.
    pub(super) born: Vec<RunId>,
    /// Runs brought into memory in this turn, to be looked at or changed.
    pub(super) loaded: Vec<RunId>,
    /// Runs that stand elsewhere than before.
    pub(super) moved: BTreeSet<RunId>,
    /// Calls that are new or changed.
    pub(super) calls: BTreeSet<(RunId, String)>,
    /// Events of this turn that runs may wait for.
    pub(super) happened: Vec<Happened>,
    /// Runs to be advanced.
    pub(super) ready: VecDeque<RunId>,
    /// Attempts to be started once all this is on disk.
    pub(super) jobs: Vec<Job>,
    /// What the shop remembers, as this turn has left it.
    pub(super) memory: HashMap<String, serde_json::Value>,
    /// What to tell.
    pub(super) told: Vec<What>,
    /// Whom to tell that a command was carried out, and what it came to.
    pub(super) carried_out: Vec<(oneshot::Sender<Result<Touched, EngineError>>, Touched)>,
}

/// Events matched, and calls looked at, in one turn at the most: so that a flood does not make a turn long.
const EVENTS_A_TURN: usize = 256;
const DUE_A_TURN: u64 = 256;

/// How soon a call is looked at again whose time is held up by an event that is on its way.
const HELD_UP: Duration = Duration::from_secs(1);
/// While events come in numbers, a turn begins this long after the last one: a commit for many of them, and most commits
/// for those who wait to have their deliveries taken.
const PACE: Duration = Duration::from_millis(10);
/// Events of one turn that are numbers.
const MANY: usize = 8;

/// Events in hand past which no more are taken: those that come stay on disk until there is room.
const EVENTS_IN_HAND: usize = 1024;

impl Desk {
    pub(super) fn new(parts: Parts, behind: watch::Receiver<()>, waiting: Arc<AtomicUsize>) -> Self {
        let echoes = echoes(&parts.registry);
        Self {
            reads: Arc::new(Semaphore::new(parts.settings.attempts_at_once)),
            schedules: Schedules::new(&parts.shop.id, &parts.shop.time_zone),
            forgetting: Forgetting::new(parts.shop.keep, parts.clock.now()),
            parts,
            lanes: Lanes::default(),
            runs: HashMap::new(),
            versions: HashMap::new(),
            awaited: BTreeSet::new(),
            changes: Vec::new(),
            changes_unread: true,
            parked: HashMap::new(),
            redacting: Redacting::default(),
            has_reconciled: false,
            holds: Holds::default(),
            spending: Spending::default(),
            echoes,
            tasks: JoinSet::new(),
            attempts_under_way: 0,
            next_due: None,
            is_held_up: false,
            behind,
            waiting,
            catching_up: None,
            read_from_disk: HashSet::new(),
            kept_listeners: HashSet::new(),
            when_idle: Vec::new(),
            closing: false,
        }
    }

    /// Works until it is told to close and nothing is under way any more.
    pub(super) async fn work(mut self, mut notes: mpsc::Receiver<Note>) {
        let mut events: VecDeque<Arc<Event>> = VecDeque::new();
        let mut fresh_start = true;
        let mut next_turn = Instant::now();
        loop {
            if events.len() < EVENTS_A_TURN && !self.closing {
                tokio::time::sleep_until(next_turn).await;
            }
            if fresh_start {
                if let Err(error) = self.begin_again().await {
                    tracing::error!(shop = %self.parts.shop.id, %error, "the desk cannot read the store; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
                events.clear();
                fresh_start = false;
            }
            let (mut inbox, mut returned) = (Vec::new(), Vec::new());
            // Once it is closing no event is taken any more: what is left stays on disk.
            let following = self.has_changes_to_follow() || self.holds.has_more();
            let more = !self.closing && (!events.is_empty() || self.catching_up.is_some() || following);
            let room = self.closing || events.len() < EVENTS_IN_HAND;
            let open = self.wait(&mut notes, &mut inbox, &mut returned, more, room).await;
            if !open {
                self.closing = true;
            }
            let mut turn = Turn { now: self.parts.clock.now(), more_notes: !notes.is_empty(), ..Turn::default() };
            let began = Instant::now();
            let result = self.turn(&mut turn, inbox, returned, &mut events).await;
            if turn.told.len() >= MANY {
                next_turn = began + PACE;
            }
            let carried_out = std::mem::take(&mut turn.carried_out);
            match result {
                Ok(derived) => {
                    carried_out.into_iter().for_each(|(reply, touched)| drop(reply.send(Ok(touched))));
                    events.extend(derived);
                    self.act(turn);
                }
                Err(error) => {
                    let failed = EngineError::Store(error.clone());
                    carried_out.into_iter().for_each(|(reply, _)| drop(reply.send(Err(failed.clone()))));
                    tracing::error!(shop = %self.parts.shop.id, %error, "a turn was not written; beginning again");
                    fresh_start = true;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
            if self.closing && self.tasks.is_empty() {
                return;
            }
            // Read in this order: an event leaves `waiting` once it is among the notes or never will be.
            if self.waiting.load(Ordering::Acquire) == 0 && notes.is_empty() && events.is_empty() {
                self.read_from_disk.clear();
            }
            if events.is_empty() && notes.is_empty() && !fresh_start && self.is_idle() {
                for waiting in self.when_idle.drain(..) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(());
                }
            }
        }
    }

    /// Waits until there is something to do, and takes what there is. `false` once nobody can send notes any more.
    async fn wait(
        &mut self,
        notes: &mut mpsc::Receiver<Note>,
        inbox: &mut Vec<Note>,
        returned: &mut Vec<Returned>,
        more: bool,
        room: bool,
    ) -> bool {
        let clock = self.parts.clock.clone();
        let due = self.next_due.filter(|_| self.free_hands() > 0);
        let by_clock = self.schedules.next().into_iter().chain(self.forgetting.next());
        let due = due.into_iter().chain(by_clock.filter(|_| !self.closing)).min();
        let mut open = true;
        tokio::select! {
            biased;
            Some(one) = self.tasks.join_next() => returned.extend(one.ok()),
            taken = notes.recv_many(inbox, 64), if room && (!self.closing || !notes.is_closed()) => open = taken > 0,
            () = async { clock.sleep_until(due.unwrap_or(Timestamp::MAX)).await }, if due.is_some() => {}
            Ok(()) = self.behind.changed(), if !self.closing => self.catching_up = Some(EventId(0)),
            () = std::future::ready(()), if more => {}
            else => open = false,
        }
        while let Some(one) = self.tasks.try_join_next() {
            returned.extend(one.ok());
        }
        while room
            && inbox.len() < 64
            && let Ok(note) = notes.try_recv()
        {
            inbox.push(note);
        }
        open
    }

    /// One turn, up to and with its commit. Returns the events that it made itself.
    async fn turn(
        &mut self,
        turn: &mut Turn,
        inbox: Vec<Note>,
        returned: Vec<Returned>,
        events: &mut VecDeque<Arc<Event>>,
    ) -> Result<Vec<Arc<Event>>, StoreError> {
        // What cannot fail comes first: a note that was taken must not be lost with the turn.
        let mut commands = Vec::new();
        for note in inbox {
            match note {
                Note::Events(some) => events.extend(some),
                Note::Rules(rules) => {
                    self.learn_awaited(&rules);
                    self.reschedule(turn, &rules);
                    (self.parts.rules, self.changes_unread) = (rules, true);
                    self.spending.forget_writes();
                }
                Note::Command(command, reply) => commands.push((command, reply)),
                Note::WhenIdle(reply) => self.when_idle.push(reply),
                Note::Close => self.closing = true,
            }
        }
        self.follow_changes(turn).await?;
        self.forget_some(turn).await?;
        let (mut fetched, mut redacted) = (Vec::new(), Vec::new());
        for one in returned {
            match one {
                Returned::Attempt(finished) => self.settle(turn, finished).await?,
                Returned::Fetched(one) => fetched.push(one),
                Returned::Redacted(came) => redacted.extend(self.take_redacted(turn, came).await?),
            }
        }
        for (command, reply) in commands {
            match self.carry_out(turn, command).await? {
                Ok(touched) => turn.carried_out.push((reply, touched)),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        if !self.closing {
            self.release(turn).await?;
        }
        // What was held up until an event's reads of the platform had ended is due now.
        let is_held_up = std::mem::take(&mut self.is_held_up) && !fetched.is_empty();
        let due_now = is_held_up || self.next_due.is_some_and(|due| due <= turn.now);
        // Events before clocks: one that came in time answers the call that waits for it, however late it is looked at.
        if !self.closing {
            let mut batch = self.next_events(events).await?;
            batch.extend(redacted);
            self.match_events(turn, batch, fetched).await?;
            self.come_due(turn);
        }
        if due_now && self.free_hands() > 0 {
            let caught_up = self.catching_up.is_none() && events.is_empty() && !turn.more_notes;
            let which = if caught_up { Due::All } else { Due::ButEvents };
            let due = self.parts.store.due(&self.parts.shop.id, turn.now, which, DUE_A_TURN).await?;
            self.take_due(turn, due).await?;
            if self.is_held_up {
                // Those that are left must not keep others from their turn.
                let due = self.parts.store.due(&self.parts.shop.id, turn.now, Due::ButEvents, DUE_A_TURN).await?;
                self.take_due(turn, due).await?;
            }
        }
        self.advance_all(turn).await?;
        let (derived, earliest) = self.write(turn).await?;
        self.next_due = if due_now {
            // The turn is written: that this cannot be read now is the next turn's trouble.
            let next = self.parts.store.next_due(&self.parts.shop.id).await.unwrap_or(Some(turn.now));
            let soon = turn.now.saturating_add(HELD_UP).unwrap_or(Timestamp::MAX);
            if self.is_held_up { next.map(|next| next.max(soon)) } else { next }
        } else {
            self.next_due.into_iter().chain(earliest).min()
        };
        Ok(derived)
    }

    /// Writes all that the turn has changed. Returns the events that it made itself, and the earliest moment at which
    /// one of its calls is due.
    pub(super) async fn write(&mut self, turn: &mut Turn) -> Result<(Vec<Arc<Event>>, Option<Timestamp>), StoreError> {
        self.gather(turn);
        self.keep_what_is_in_hand(turn);
        let changes = std::mem::take(&mut turn.changes);
        let open = changes.calls.iter().filter(|(_, call)| call.state <= CallState::Lost);
        let earliest = open.map(|(_, call)| call.due).filter(|due| *due < NEVER).min();
        if changes.is_empty() {
            return Ok((Vec::new(), earliest));
        }
        Ok((self.parts.store.commit(&self.parts.shop.id, changes).await?, earliest))
    }

    /// The events of this turn: those handed over, else, where there are some only on disk, those.
    async fn next_events(&mut self, events: &mut VecDeque<Arc<Event>>) -> Result<Vec<Arc<Event>>, StoreError> {
        if self.behind.has_changed().unwrap_or(false) {
            self.behind.mark_unchanged();
            self.catching_up = Some(EventId(0));
        }
        let mut batch = Vec::new();
        while batch.len() < EVENTS_A_TURN
            && let Some(event) = events.pop_front()
        {
            if !self.read_from_disk.remove(&event.id) {
                batch.push(event);
            }
        }
        let Some(after) = self.catching_up else { return Ok(batch) };
        // What was handed over comes first, so that what is read now and not known was not handed over before.
        if !batch.is_empty() {
            return Ok(batch);
        }
        let rows = self.parts.store.unmatched(&self.parts.shop.id, after, EVENTS_A_TURN as u64).await?;
        self.catching_up = rows.last().map(|event| event.id);
        if rows.is_empty() {
            return Ok(batch);
        }
        self.read_from_disk.extend(rows.iter().map(|event| event.id));
        Ok(rows.into_iter().filter(|event| !self.parked.contains_key(&event.id)).collect())
    }

    /// Puts what the turn has changed in memory into its changes.
    fn gather(&mut self, turn: &mut Turn) {
        self.look_for_changes_to_follow(turn);
        for id in &turn.born {
            if let Some(live) = self.runs.get(id) {
                turn.changes.runs.push(live.run.without_calls());
            }
        }
        let born: HashSet<RunId> = turn.born.iter().copied().collect();
        for id in turn.moved.iter().filter(|id| !born.contains(id)) {
            if let Some(live) = self.runs.get(id) {
                let (run, state, ended) = (*id, live.run.state, live.run.ended.clone());
                let mode = live.run.mode;
                turn.changes.moved.push(crate::store::Moved { run, mode, state, ended });
            }
        }
        for (id, path) in &turn.calls {
            if let Some(call) = self.runs.get(id).and_then(|live| live.run.call(path)) {
                turn.changes.calls.push((*id, call.clone()));
            }
        }
        turn.changes.memory = turn.memory.drain().collect();
    }

    /// After the commit: starts attempts, forgets runs that need no memory, tells what happened.
    pub(super) fn act(&mut self, turn: Turn) {
        for job in turn.jobs {
            self.attempts_under_way += 1;
            job.start(self);
        }
        let touched = turn.calls.into_iter().map(|(id, _)| id).chain(turn.moved).chain(turn.loaded);
        let touched: BTreeSet<RunId> = touched.collect();
        for id in touched {
            if let Some(live) = self.runs.get(&id)
                && live.run.state >= RunState::Waiting
                && live.under_way.is_empty()
            {
                self.runs.remove(&id);
            }
        }
        self.go_on_redacting();
        for what in turn.told {
            // Nobody may be watching.
            let _ = self.parts.happenings.send(Happening { shop: self.parts.shop.id.clone(), what });
        }
    }

    /// Attempts that may be started now: none once it is closing.
    pub(super) fn free_hands(&self) -> usize {
        if self.closing {
            return 0;
        }
        self.parts.settings.attempts_at_once.saturating_sub(self.attempts_under_way)
    }

    fn is_idle(&self) -> bool {
        let next = self.next_due.into_iter().chain(self.schedules.next()).chain(self.forgetting.next()).min();
        let due = next.is_some_and(|due| due <= self.parts.clock.now()) || self.has_changes_to_follow();
        let caught_up = self.catching_up.is_none() && !self.behind.has_changed().unwrap_or(false);
        self.tasks.is_empty() && !due && caught_up && !self.holds.has_more()
    }

    /// Throws the memory away and begins from the disk, as after a crash.
    async fn begin_again(&mut self) -> Result<(), StoreError> {
        // Attempts that are under way must have ended before their calls are taken for lost.
        while self.tasks.join_next().await.is_some() {}
        (self.attempts_under_way, self.lanes) = (0, Lanes::default());
        self.runs.clear();
        self.parked.clear();
        self.redacting = Redacting::default();
        self.read_from_disk.clear();
        self.kept_listeners.clear();
        self.catching_up = Some(EventId(0));
        self.is_held_up = false;
        self.forgetting = Forgetting::new(self.parts.shop.keep, self.parts.clock.now());
        self.remember_awaited().await?;
        self.changes_unread = true;
        self.read_holds().await?;
        self.read_spending().await?;
        self.read_reconciled().await?;
        self.recover().await?;
        self.next_due = self.parts.store.next_due(&self.parts.shop.id).await?;
        Ok(())
    }
}
