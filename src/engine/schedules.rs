//! Schedules: a rule's own times become events, which that rule alone hears.
//!
//! When each comes next is a row, so that a start knows what was missed. The event and the row are written in one
//! commit, and the event's delivery key names the rule and the time: whatever ends when, a time comes once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::desk::{Desk, Turn};
use crate::domain::{Event, IdMaker, Records, ShopId};
use crate::rules::{Missed, Rule, RuleSet, Schedule};
use crate::store::{Accept, ScheduleRow, StoreError};

/// A time is on time for so long; after that it was missed.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// A rule's id, and its times with their zone.
type Name = (String, String);

/// The times of a shop's rules.
pub(super) struct Schedules {
    /// The shop's own zone.
    zone: TimeZone,
    all: BTreeMap<Name, Scheduled>,
}

struct Scheduled {
    schedule: Schedule,
    next: Timestamp,
}

impl Schedules {
    /// None yet, on the clocks of this zone.
    pub(super) fn new(shop: &ShopId, zone: &str) -> Self {
        let zone = TimeZone::get(zone).unwrap_or_else(|error| {
            tracing::error!(%shop, %error, "the shop's time zone is not known: schedules go by UTC");
            TimeZone::UTC
        });
        Self { zone, all: BTreeMap::new() }
    }

    /// When the first of all comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.values().map(|it| it.next).min()
    }

    /// Takes up the times of these rules. Those that are known go on; new ones begin now; others are gone. Returns
    /// the rows to be written.
    fn take_up(&mut self, rules: &RuleSet, known: &BTreeMap<Name, Timestamp>, now: Timestamp) -> Vec<ScheduleRow> {
        let mut rows = Vec::new();
        self.all.clear();
        for (rule, _) in rules.in_force() {
            for schedule in rule.schedules() {
                let name = self.name(rule, schedule);
                let going_on = known.get(&name).copied();
                let Some(next) = going_on.or_else(|| schedule.next_after(now, &self.zone)) else { continue };
                if going_on.is_none() {
                    rows.push(row(&name, Some(next)));
                }
                self.all.insert(name, Scheduled { schedule: schedule.clone(), next });
            }
        }
        rows.extend(known.keys().filter(|name| !self.all.contains_key(*name)).map(|name| row(name, None)));
        rows
    }

    fn name(&self, rule: &Rule, schedule: &Schedule) -> Name {
        let zone = schedule.zone().unwrap_or(&self.zone).iana_name().unwrap_or("UTC");
        (rule.id.clone(), format!("{} {zone}", schedule.expression()))
    }

    fn nexts(&self) -> BTreeMap<Name, Timestamp> {
        self.all.iter().map(|(name, it)| (name.clone(), it.next)).collect()
    }

    /// The events of the times that have come, and the rows to be written with them.
    fn come(&mut self, shop: &ShopId, ids: &IdMaker, now: Timestamp) -> (Vec<Accept>, Vec<ScheduleRow>) {
        let (mut events, mut rows, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for (name, it) in self.all.iter_mut().filter(|(_, it)| it.next <= now) {
            // One event for all that have come.
            let last = last_of(&it.schedule, it.next, now, &self.zone);
            if now.duration_since(last) <= ON_TIME || it.schedule.missed() == Missed::Once {
                events.push(event(shop, ids, &name.0, last, now));
            }
            let next = it.schedule.next_after(now, &self.zone);
            rows.push(row(name, next));
            match next {
                Some(next) => it.next = next,
                None => over.push(name.clone()),
            }
        }
        over.iter().for_each(|name| drop(self.all.remove(name)));
        (events, rows)
    }

    /// Whether one of a rule's times is this one: of two versions with other times, each hears its own.
    pub(super) fn are_of(&self, rule: &Rule, time: Timestamp) -> bool {
        let before = time.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MIN);
        rule.schedules().any(|schedule| schedule.next_after(before, &self.zone) == Some(time))
    }
}

fn row(name: &Name, next: Option<Timestamp>) -> ScheduleRow {
    ScheduleRow { rule: name.0.clone(), expression: name.1.clone(), next }
}

/// The last time up to now, of which `first` is one. Looked for from not long ago, then from ever longer ago: a
/// schedule that comes each minute has many times, and one that comes once a year has none of late.
fn last_of(schedule: &Schedule, first: Timestamp, now: Timestamp, zone: &TimeZone) -> Timestamp {
    for hours in [1, 24, 8 * 24, 32 * 24, 367 * 24] {
        let from = now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(first).max(first);
        let mut last = if from == first { Some(first) } else { None };
        let mut at = from;
        while let Some(next) = schedule.next_after(at, zone).filter(|next| *next <= now) {
            (last, at) = (Some(next), next);
        }
        if let Some(last) = last {
            return last;
        }
    }
    first
}

fn event(shop: &ShopId, ids: &IdMaker, rule: &str, time: Timestamp, now: Timestamp) -> Accept {
    let event = Event {
        id: ids.event(now),
        shop: shop.clone(),
        source: format!("/schedule/{shop}").into(),
        kind: Schedule::DUE.into(),
        topic: Schedule::DUE.into(),
        subject: format!("rule/{rule}").into(),
        time,
        received: now,
        records: Arc::new(Records::default()),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    Accept::new(Arc::new(event), format!("schedule:{rule}:{time}"), "{}".into())
}

impl Desk {
    /// The rules have changed: their times with them.
    pub(super) fn reschedule(&mut self, turn: &mut Turn, rules: &RuleSet) {
        let known = self.schedules.nexts();
        let rows = self.schedules.take_up(rules, &known, turn.now);
        turn.changes.schedules.extend(rows);
    }

    /// After a start: when the times of these rules come next, or came while nobody was there.
    pub(super) async fn remember_schedules(&mut self, turn: &mut Turn) -> Result<(), StoreError> {
        let kept = self.parts.store.schedules(&self.parts.shop.id).await?;
        let known = kept.into_iter().filter_map(|row| Some(((row.rule, row.expression), row.next?))).collect();
        let rows = self.schedules.take_up(&self.parts.rules.clone(), &known, turn.now);
        turn.changes.schedules.extend(rows);
        Ok(())
    }

    /// Makes the events of the times that have come.
    pub(super) fn come_due(&mut self, turn: &mut Turn) {
        if self.schedules.next().is_none_or(|next| next > turn.now) {
            return;
        }
        let (events, rows) = self.schedules.come(&self.parts.shop.id, &self.parts.ids, turn.now);
        turn.changes.derived.extend(events);
        turn.changes.schedules.extend(rows);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::Catalog;
    use crate::rules::read;

    fn rules(triggers: &str) -> RuleSet {
        let text = format!("id: t\nstatus: live\ntriggers: [{triggers}]\nscript: t.rhai\n");
        let read = read(Path::new("t.yaml"), &text, &|_| Ok(String::new()), &Catalog::default());
        RuleSet::new(read.rule.map(Arc::new), &Catalog::default())
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// The times of the events that come of moving a clock to each of these moments.
    fn come(triggers: &str, began: &str, moments: &[&str]) -> Vec<String> {
        let (shop, ids) = ("acme".parse().expect("a shop"), IdMaker::new(1));
        let mut schedules = Schedules::new(&shop, "Europe/Berlin");
        schedules.take_up(&rules(triggers), &BTreeMap::new(), time(began));
        let mut times = Vec::new();
        for moment in moments {
            let (events, rows) = schedules.come(&shop, &ids, time(moment));
            times.extend(events.iter().map(|it| it.event().time.to_string()));
            assert!(rows.iter().all(|row| row.next.is_some_and(|next| next > time(moment))));
        }
        times
    }

    #[test]
    fn of_many_that_were_missed_the_last_comes_or_none() {
        let began = "2026-01-01T00:00:30Z";
        let once = |times: &str, now| come(&format!("{{ schedule: '{times}' }}"), began, &[now]);
        assert_eq!(once("* * * * *", "2026-04-01T10:00:40Z"), ["2026-04-01T10:00:00Z"]);
        assert_eq!(once("0 9 * * 1", "2026-04-01T10:00:40Z"), ["2026-03-30T07:00:00Z"], "Monday, by then in summer");
        assert_eq!(once("0 9 1 * *", "2026-04-01T06:59:59Z"), ["2026-03-01T08:00:00Z"]);
        assert_eq!(once("0 9 2 1 *", "2027-01-01T10:00:00Z"), ["2026-01-02T08:00:00Z"]);
        assert_eq!(once("0 9 2 1 *", "2026-01-01T10:00:00Z"), [""; 0]);
        let skip = |now| come("{ schedule: '0 9 * * *', missed: skip }", began, &[now]);
        assert_eq!(skip("2026-01-05T08:00:59Z"), ["2026-01-05T08:00:00Z"], "within a minute it is on time");
        assert_eq!(skip("2026-01-05T08:01:01Z"), [""; 0]);
    }

    #[test]
    fn two_schedules_of_a_rule_come_each_by_itself() {
        let both = "{ schedule: '0 9 * * *' }, { schedule: '0 9 * * *', time_zone: UTC }";
        let moments = ["2026-01-05T08:00:00Z", "2026-01-05T08:30:00Z", "2026-01-05T09:00:00Z"];
        let times = come(both, "2026-01-05T00:00:00Z", &moments);
        assert_eq!(times, ["2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z"]);
    }
}
