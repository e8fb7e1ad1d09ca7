//! Why a rule did not run: which condition was false is on record; what it saw is worked out again from the version and
//! the context that are kept, since matching is pure.

use std::sync::Arc;

use super::registry::Registry;
use crate::domain::{Facts, Heard, ShopId, WhyNot};
use crate::rules::{self, Rule};
use crate::store::{Store, StoreError, StoredEvent};

/// What kept a rule from running; `None` where it runs.
pub(super) fn of(rule: &Rule, facts: &Facts, heard: &Heard) -> Option<WhyNot> {
    match heard {
        Heard::Runs => None,
        Heard::Because(reason) => Some(without(&rule.id, &rule.version, reason)),
        Heard::False(at) => {
            let why = rules::why_not(rule, facts, *at as usize);
            Some(WhyNot {
                rule: rule.id.clone(),
                version: rule.version.clone(),
                clause: why.clause,
                line: why.line,
                saw: why.saw,
                error: why.error,
            })
        }
    }
}

fn without(rule: &str, version: &str, reason: &str) -> WhyNot {
    let (clause, error) = (String::new(), Some(reason.to_owned()));
    WhyNot { rule: rule.to_owned(), version: version.to_owned(), clause, line: 1, saw: Vec::new(), error }
}

/// For each version that listened to an event and did not run: why.
///
/// # Errors
/// [`StoreError`].
pub async fn why_not(
    store: &Store,
    registry: &Registry,
    shop: &ShopId,
    stored: &StoredEvent,
) -> Result<Vec<WhyNot>, StoreError> {
    let mut all = Vec::new();
    let context = stored.context.clone().unwrap_or_default();
    for (rule, version, heard) in &stored.heard {
        if *heard == Heard::Runs {
            continue;
        }
        let bundle = store.version(shop, rule, version).await?;
        let read = match bundle.map(|bundle| rules::from_bundle(&bundle, registry.catalog())) {
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                all.push(without(rule, version, &format!("this version cannot be read any more: {error}")));
                continue;
            }
            None => {
                all.push(without(rule, version, "this version of the rule is not kept any more"));
                continue;
            }
        };
        let facts = Facts {
            event: Arc::clone(&stored.event),
            context: Arc::clone(&context.records),
            missing: context.missing.clone(),
            inputs: read.values(),
            now: stored.matched.unwrap_or(stored.event.received),
        };
        all.extend(of(&read, &facts, heard));
    }
    Ok(all)
}
