//! A new version of a rule is live: what becomes of the runs that wait on other versions.
//!
//! The change is on record before the desk hears of it, with what is to become of waiting runs, and every run says by
//! which change it was last decided about. So the desk goes through them a batch a turn, and after a crash goes on with
//! those that are left. A run at work finishes its step first: it is decided about when it waits.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::desk::{Desk, Turn};
use super::migrate::{Fate, migrate};
use super::progress::{lane_name, live};
use super::registry::Registry;
use crate::domain::{Call, End, Facts, Mode, OnChange, RoleChange, Run, RunId, RunState, ShopId};
use crate::rules::{self, Rule};
use crate::store::{Decided, Store, StoreError};

/// A change whose waiting runs are being dealt with.
pub(super) struct Change {
    /// As it is on record.
    id: i64,
    /// The version that went live.
    target: Arc<Rule>,
    becomes: OnChange,
    /// Whether there may be runs to be decided about now.
    more: bool,
    moved: usize,
    stayed: usize,
    cancelled: usize,
}

/// Runs decided about in one turn at the most, and how long that may take: a version that is slow to replay must not
/// hold up the desk.
const RUNS_A_TURN: u64 = 128;
const TIME_A_TURN: Duration = Duration::from_millis(200);

impl Desk {
    /// Whether waiting runs are to be decided about now.
    pub(super) fn has_changes_to_follow(&self) -> bool {
        self.changes_unread || self.changes.iter().any(|change| change.more)
    }

    /// Decides about a batch of waiting runs, oldest first. To be done before anything else in a turn, while what is on
    /// disk is what is in memory.
    pub(super) async fn follow_changes(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        if self.closing || !self.has_changes_to_follow() {
            return Ok(());
        }
        if self.changes_unread {
            self.read_changes().await?;
        }
        let (until, mut left) = (Instant::now() + TIME_A_TURN, RUNS_A_TURN);
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.iter_mut().filter(|change| change.more) {
            if left == 0 || Instant::now() > until {
                break;
            }
            let looked_at = self.follow(turn, change, left, until).await?;
            left -= looked_at;
            if looked_at == 0 && !self.is_at_work_on_another(&change.target) {
                turn.changes.followed.push(change.id);
                let Change { target, moved, stayed, cancelled, .. } = change;
                tracing::info!(
                    shop = %self.parts.shop.id, rule = target.id, version = target.version, moved, stayed, cancelled,
                    "the runs that waited on other versions have been dealt with"
                );
            }
        }
        changes.retain(|change| !turn.changes.followed.contains(&change.id));
        self.changes = changes;
        Ok(())
    }

    /// The changes to be followed, from the disk: those to the versions that are live now.
    async fn read_changes(&mut self) -> Result<(), StoreError> {
        let unfinished = self.parts.store.unfinished_changes(&self.parts.shop.id).await?;
        self.changes = unfinished.into_iter().filter_map(|change| self.to_follow(change)).collect();
        self.changes_unread = false;
        Ok(())
    }

    fn to_follow(&self, change: RoleChange) -> Option<Change> {
        let target = self.parts.rules.get(&change.rule)?.live.clone().filter(|rule| rule.version == change.version)?;
        let becomes = change.on_change?;
        Some(Change { id: change.id, target, becomes, more: true, moved: 0, stayed: 0, cancelled: 0 })
    }

    /// Whether a run of this rule is at work on another version: it is decided about later.
    fn is_at_work_on_another(&self, target: &Rule) -> bool {
        self.runs.values().any(|live| is_on_another(&live.run, target) && live.run.state == RunState::Active)
    }

    /// Runs of this turn have moved on: some of them may wait now, and be decided about.
    pub(super) fn look_for_changes_to_follow(&mut self, turn: &Turn) {
        let runs = &self.runs;
        for change in self.changes.iter_mut().filter(|change| !change.more) {
            let touched = turn.moved.iter().chain(turn.calls.iter().map(|(id, _)| id));
            let mut touched = touched.filter_map(|id| runs.get(id));
            change.more = touched.any(|live| is_on_another(&live.run, &change.target));
        }
    }

    /// Decides about up to `most` runs; says how many it looked at.
    async fn follow(
        &mut self,
        turn: &mut Turn,
        change: &mut Change,
        most: u64,
        until: Instant,
    ) -> Result<u64, StoreError> {
        let of = (change.target.version.as_str(), change.id);
        let ids = self.parts.store.undecided(&self.parts.shop.id, &change.target.id, of, most).await?;
        let looked_at = ids.len();
        self.load(turn, ids.clone()).await?;
        let unreadable = ids.iter().filter(|id| !self.runs.contains_key(id)).count();
        // An attempt that a person ordered may be under way outside the lane; the run's time comes when it has ended.
        let at_rest = |id: &RunId| self.runs.get(id).is_some_and(|live| live.under_way.is_empty());
        let ids: Vec<RunId> = ids.into_iter().filter(at_rest).collect();
        let decided = match change.becomes {
            OnChange::FinishOld => Vec::new(),
            OnChange::Cancel => ids.iter().map(|_| None).collect(),
            OnChange::Migrate => {
                let runs = ids.iter().filter_map(|id| self.runs.get(id)).map(|live| live.run.clone()).collect();
                let fates = fates(change.target.clone(), runs, self.parts.registry.clone(), turn.now, until).await;
                fates.into_iter().map(Some).collect()
            }
        };
        let count = decided.len();
        for (id, fate) in ids.into_iter().zip(decided) {
            match fate {
                None => self.cancel(turn, id, change),
                Some(fate) => self.meet(turn, id, fate, change),
            }
        }
        // Where none could be decided about, they will be once they have moved on.
        change.more = count + unreadable > 0;
        Ok(looked_at as u64)
    }

    fn cancel(&mut self, turn: &mut Turn, id: RunId, change: &mut Change) {
        self.end(turn, id, End::Cancelled);
        change.cancelled += 1;
    }

    /// A run moves, or stays.
    fn meet(&mut self, turn: &mut Turn, id: RunId, fate: Fate, change: &mut Change) {
        let Some(known) = self.runs.get_mut(&id) else { return };
        let mut run = known.run.clone();
        let lane = rules::lane_key(&change.target, &live(run.clone(), change.target.clone()).facts);
        let (calls, goes_on, lane) = match (fate, lane) {
            (Fate::Moves { calls, goes_on }, Ok(lane)) => (calls, goes_on, lane),
            (Fate::Moves { .. }, Err(failure)) => {
                let why = format!("version {} finds no lane for it: {failure}", change.target.version);
                return stay(turn, &run, why, change);
            }
            (Fate::Stays(why), _) => return stay(turn, &run, why, change),
        };
        let (before, queued) = (lane_name(&run), run.state == RunState::Queued);
        (run.version, run.lane, run.calls) = (change.target.version.as_str().into(), lane.as_str().into(), calls);
        let after = lane_name(&run);
        turn.changes.decided.push(Decided {
            run: id,
            change: change.id,
            version: run.version.clone(),
            lane: run.lane.clone(),
            stays: None,
        });
        turn.changes.rewritten.push(id);
        turn.calls.extend(run.calls.iter().map(|call| (id, call.path.clone())));
        *known = live(run, change.target.clone());
        if queued && before != after {
            turn.ready.extend(self.lanes.leave(&before, id));
            turn.ready.push_back(id);
        } else if goes_on && !queued {
            turn.ready.push_back(id);
        }
        change.moved += 1;
    }
}

fn is_on_another(run: &Run, target: &Rule) -> bool {
    *run.rule == *target.id && *run.version != *target.version && run.mode == Mode::Live
}

fn stay(turn: &mut Turn, run: &Run, why: String, change: &mut Change) {
    let (version, lane) = (run.version.clone(), run.lane.clone());
    turn.changes.decided.push(Decided { run: run.id, change: change.id, version, lane, stays: Some(why) });
    change.stayed += 1;
}

/// What becomes of these runs, in their order, of as many as there is time for and of one at least. On a thread of its
/// own, since a script may take its time.
async fn fates(
    target: Arc<Rule>,
    runs: Vec<Run>,
    registry: Arc<Registry>,
    now: Timestamp,
    until: Instant,
) -> Vec<Fate> {
    let work = move || {
        let mut fates = Vec::with_capacity(runs.len());
        for run in runs {
            if !fates.is_empty() && Instant::now() > until {
                break;
            }
            let (calls, facts): (Vec<Call>, Facts) = (run.calls.clone(), live(run, target.clone()).facts);
            // The desk must outlive every rule.
            let fate = std::panic::catch_unwind(AssertUnwindSafe(|| migrate(&target, &facts, &calls, &registry, now)));
            let broke_off = "replaying the new version broke off (a bug in Storehand)";
            fates.push(fate.unwrap_or_else(|_| Fate::Stays(broke_off.into())));
        }
        fates
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(fates) => fates,
        // The process is ending and took the thread away; that says nothing of the runs.
        Err(_) => std::future::pending().await,
    }
}

/// What would become of waiting runs if a version went live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Runs that are not over and on other versions.
    pub runs: u64,
    /// How many of them were looked at, where each is to be looked at.
    pub looked_at: u64,
    /// Of those, how many would move.
    pub moves: u64,
    /// Of those, which would stay: run, its version, and why.
    pub stays: Vec<(RunId, String, String)>,
}

/// Runs that are looked at where it is asked what would become of them: enough to decide by.
const FORESEEN: u64 = 1_000;

/// Says what would become of the waiting runs of a rule if `target` went live. Changes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn foresee(
    store: &Store,
    registry: &Arc<Registry>,
    shop: &ShopId,
    target: &Arc<Rule>,
    becomes: OnChange,
    now: Timestamp,
) -> Result<Foreseen, StoreError> {
    let waiting = store.waiting_by_version(shop).await?;
    let others = waiting.iter().filter(|it| it.rule == target.id && it.version != target.version);
    let mut foreseen = Foreseen { runs: others.map(|it| it.runs).sum(), ..Foreseen::default() };
    let mut after = RunId(0);
    while becomes == OnChange::Migrate && foreseen.looked_at < FORESEEN {
        let runs = store.on_other_versions(shop, (&target.id, &target.version), after, 100).await?;
        let Some(last) = runs.last() else { break };
        after = last.id;
        let of: Vec<(RunId, String)> = runs.iter().map(|run| (run.id, run.version.to_string())).collect();
        let until = Instant::now() + Duration::from_secs(5);
        let fates = fates(target.clone(), runs, registry.clone(), now, until).await;
        let too_slow = fates.len() < of.len();
        for ((run, version), fate) in of.into_iter().zip(fates) {
            foreseen.looked_at += 1;
            match fate {
                Fate::Moves { .. } => foreseen.moves += 1,
                Fate::Stays(why) => foreseen.stays.push((run, version, why)),
            }
        }
        if too_slow {
            break;
        }
    }
    Ok(foreseen)
}
