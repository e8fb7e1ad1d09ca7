//! What of a shop is on record, out of the store: for a run that asks. What is written in the turn under way is not in it
//! yet.

use async_trait::async_trait;

use crate::domain::{Call, CallState, End, OnRecord, Open, OpenKind, Run, RunId, ShopId, Waiting};
use crate::store::{DeadFilter, Store, StoreError};

/// Characters of what is asked, or of what went wrong.
const TEXT: usize = 200;

/// See the head of this file.
pub(super) struct FromStore {
    pub(super) store: Store,
    pub(super) shop: ShopId,
}

#[async_trait]
impl OnRecord for FromStore {
    async fn waiting(&self, most: usize) -> Result<Waiting, String> {
        self.read(most).await.map_err(|error| error.to_string())
    }

    async fn product_titles(&self, most: usize) -> Result<Vec<String>, String> {
        self.store.product_titles(&self.shop, most).await.map_err(|error| error.to_string())
    }
}

impl FromStore {
    async fn read(&self, most: usize) -> Result<Waiting, StoreError> {
        let Self { store, shop } = self;
        let all = DeadFilter::default();
        let (approvals, unknown) = store.count_for_people(shop).await?;
        let failed = store.count_dead(shop, &all).await?;
        let undecided = store.longest_for_people(shop, most as u64).await?;
        let dead = store.dead(shop, &all, RunId(0), most).await?;
        let mut oldest: Vec<Open> = store.runs(shop, &undecided).await?.iter().flat_map(undecided_of).collect();
        oldest.extend(store.runs(shop, &dead).await?.iter().filter_map(failed_of));
        oldest.sort_by_key(|open| (open.since, open.run));
        oldest.truncate(most);
        Ok(Waiting { approvals, unknown, failed, oldest })
    }
}

fn undecided_of(run: &Run) -> impl Iterator<Item = Open> {
    run.calls.iter().filter(|call| call.waits_for_person()).map(|call| {
        let asked = call.input["show"].as_str();
        let (what, since, until, text) = match call.state {
            CallState::Unknown => {
                let trouble = call.trouble.as_deref().unwrap_or("its answer was lost");
                let text = format!("{}: {trouble}", call.capability);
                (OpenKind::Unknown, since_unknown(call), None, text)
            }
            _ => (OpenKind::Approval, call.asked, Some(call.due), asked.unwrap_or_default().to_owned()),
        };
        Open { until, path: Some(call.path.clone()), ..open(run, what, since, &text) }
    })
}

fn since_unknown(call: &Call) -> jiff::Timestamp {
    call.log.last().map_or(call.asked, |line| line.at)
}

fn failed_of(run: &Run) -> Option<Open> {
    let (at, end) = run.ended.as_ref()?;
    let text = match end {
        End::Failed { failure } => failure.to_string(),
        End::Diverged { path, .. } => format!("run again, it asked for something else at `{path}` (diverged)"),
        _ => return None,
    };
    Some(open(run, OpenKind::Failed, *at, &text))
}

fn open(run: &Run, what: OpenKind, since: jiff::Timestamp, text: &str) -> Open {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(TEXT).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    Open {
        what,
        run: run.id,
        path: None,
        rule: run.rule.clone(),
        subject: run.event.subject.clone(),
        since,
        until: None,
        text: shown,
    }
}
