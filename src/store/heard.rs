//! What came of the rules that listened to an event: a few bytes a rule, since a shop may have a thousand.
//!
//! Written as `LISTENERS:CODES`, then `|` and reasons as a JSON list where there are any. A code is empty where the rule
//! runs, the number of the condition that did not hold, or `r` and the number of a reason.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use sea_orm::entity::prelude::*;

use super::StoreError;
use super::events::json;
use super::rows::{Batches, Rows};
use crate::domain::{Heard, Listeners};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "listeners")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub rules: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Rules and their versions.
type Versions = Vec<(Arc<str>, Arc<str>)>;

/// What came of each version that listened.
pub type HeardBy = Vec<(Arc<str>, Arc<str>, Heard)>;

const LISTENERS: Rows<2> = Rows { head: "INSERT INTO listeners (id, rules) VALUES ", tail: " ON CONFLICT DO NOTHING" };

/// Keeps those listeners that are not kept yet.
pub(super) fn keep_listeners(batches: &mut Batches, all: &[Arc<Listeners>]) {
    batches.add(&LISTENERS, all.iter().map(|it| [it.id.into(), json(&it.rules).into()]));
}

/// As it is written beside an event; empty where nobody listened.
pub(super) fn written(listeners: &Listeners, heard: &[Heard]) -> String {
    if heard.is_empty() {
        return String::new();
    }
    let mut text = format!("{}:", listeners.id);
    let mut reasons = Vec::new();
    for (at, one) in heard.iter().enumerate() {
        text.push_str(if at > 0 { "," } else { "" });
        match one {
            Heard::Runs => {}
            Heard::False(condition) => drop(write!(text, "{condition}")),
            Heard::Because(reason) => {
                let at = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
                    reasons.push(reason.clone());
                    reasons.len() - 1
                });
                let _ = write!(text, "r{at}");
            }
        }
    }
    if !reasons.is_empty() {
        let _ = write!(text, "|{}", json(&reasons));
    }
    text
}

/// Reads it back.
pub(super) async fn read(readers: &DatabaseConnection, texts: &[&str]) -> Result<Vec<HeardBy>, StoreError> {
    let mut parsed = Vec::with_capacity(texts.len());
    for text in texts {
        parsed.push(if text.is_empty() { None } else { Some(parse(text).ok_or_else(|| damaged(text))?) });
    }
    let ids: HashSet<i64> = parsed.iter().flatten().map(|(id, _)| *id).collect();
    let mut listeners: HashMap<i64, Versions> = HashMap::new();
    for row in Entity::find().filter(Column::Id.is_in(ids)).all(readers).await? {
        listeners.insert(row.id, serde_json::from_str(&row.rules)?);
    }
    let together = |(text, parsed): (&&str, Option<(i64, Vec<Heard>)>)| {
        let Some((id, heard)) = parsed else { return Ok(Vec::new()) };
        let rules = listeners.get(&id).filter(|rules| rules.len() == heard.len()).ok_or_else(|| damaged(text))?;
        Ok(rules.iter().cloned().zip(heard).map(|((rule, version), heard)| (rule, version, heard)).collect())
    };
    texts.iter().zip(parsed).map(together).collect()
}

fn damaged(text: &str) -> StoreError {
    StoreError::Unreadable(format!(
        "`{}` does not say which rules heard an event",
        text.chars().take(80).collect::<String>()
    ))
}

fn parse(text: &str) -> Option<(i64, Vec<Heard>)> {
    let (id, rest) = text.split_once(':')?;
    let (codes, reasons) = rest.split_once('|').unwrap_or((rest, "[]"));
    let reasons: Vec<String> = serde_json::from_str(reasons).ok()?;
    let heard = codes.split(',').map(|code| match code.strip_prefix('r') {
        Some(at) => reasons.get(at.parse::<usize>().ok()?).map(|reason| Heard::Because(reason.clone())),
        None if code.is_empty() => Some(Heard::Runs),
        None => code.parse().ok().map(Heard::False),
    });
    Some((id.parse().ok()?, heard.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let listeners = Listeners::new(vec![("a".into(), "1".into()); 5]);
        let because = |text: &str| Heard::Because(text.into());
        let heard =
            vec![Heard::Runs, Heard::False(12), because("paused | by ana"), Heard::Runs, because("paused | by ana")];
        let text = written(&listeners, &heard);
        assert_eq!(text, format!("{}:,12,r0,,r0|[\"paused | by ana\"]", listeners.id));
        assert_eq!(parse(&text), Some((listeners.id, heard)));
        assert_eq!(parse(&written(&listeners, &[Heard::Runs])), Some((listeners.id, vec![Heard::Runs])));
        for bad in ["", "x", "1:z", "1:r0", "x:1", "1:1|["] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_same_versions_have_the_same_id() {
        let of = |version: &str| Listeners::new(vec![("a".into(), version.into())]).id;
        assert_eq!((of("1"), of("2")), (of("1"), of("2")));
        assert_ne!(of("1"), of("2"));
    }
}
