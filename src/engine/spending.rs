//! Limits and fuses: what a rule's writes come to, counted in the transaction that writes one as pending.
//!
//! Over a limit of its rule a write is answered `limited`, which the rule may handle. Over a fuse of its shop the rule
//! is paused, and this write is held with those that come after it.
//!
//! What every write asks, how many its rule made of late, is kept in memory and read from the store at first use: the
//! moments of the last few, no more than a limit needs to know. Money and messages are rarer and asked of the store.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::desk::{Desk, Turn};
use super::echo;
use crate::domain::{Answer, Failure, Kind, Limits, Mode, Money, MoneyRate, Rate, RunId, ShopId, Spec};
use crate::store::{Spent, StoreError};

/// What a desk keeps in mind of what was spent.
#[derive(Default)]
pub(super) struct Spending {
    writes: HashMap<String, Last>,
    runs: Subjects,
}

/// The moments of the last writes of a rule, oldest first.
struct Last {
    /// How many are kept: older ones are not known.
    most: usize,
    at: VecDeque<Timestamp>,
}

/// Runs by rule and subject, of late. Bounded: what was not seen for long is forgotten for what is seen now.
#[derive(Default)]
struct Subjects {
    young: HashMap<u64, VecDeque<Timestamp>>,
    old: HashMap<u64, VecDeque<Timestamp>>,
    /// Moments in `young`.
    moments: usize,
}

/// Moments past which the older half of what is known of subjects is forgotten.
const MOST_MOMENTS: usize = 40_000;

/// Runs that are looked at to know of loops that a restart broke into.
pub(super) const RECENT_RUNS: usize = 5_000;

/// What a write comes to.
struct Cost {
    rule: String,
    customer: Option<String>,
    money: Option<Money>,
}

/// Why a write may not be made.
struct Over {
    /// `calls`, `money` or `per_customer`.
    what: &'static str,
    rate: String,
    why: String,
}

/// The beginning of a stretch of time up to now, and not before what is left out.
fn beginning(now: Timestamp, per: std::time::Duration, from: Option<Timestamp>) -> Timestamp {
    let since = now.saturating_sub(per).unwrap_or(Timestamp::MIN);
    from.map_or(since, |from| from.max(since))
}

impl Last {
    /// The moment from which on there is room again under this rate, where there is none now.
    fn full(&self, rate: Rate, now: Timestamp, from: Option<Timestamp>) -> Option<Timestamp> {
        let nth = self.at.len().checked_sub(rate.most as usize).and_then(|at| self.at.get(at))?;
        (*nth > beginning(now, rate.per, from)).then(|| nth.saturating_add(rate.per).unwrap_or(Timestamp::MAX))
    }

    fn push(&mut self, now: Timestamp) {
        if self.at.len() >= self.most {
            self.at.pop_front();
        }
        self.at.push_back(now);
    }
}

impl Spending {
    /// Rules have changed, and some may be gone: what is needed of their writes is read from the disk again.
    pub(super) fn forget_writes(&mut self) {
        self.writes.clear();
    }
}

impl Subjects {
    /// Counts a run; `false`, and then it is not counted, where there were as many already.
    fn count(&mut self, rule: &str, subject: &str, rate: Rate, now: Timestamp, from: Option<Timestamp>) -> bool {
        let mut hasher = DefaultHasher::new();
        (rule, subject).hash(&mut hasher);
        let key = hasher.finish();
        if let Some(moments) = self.old.remove(&key) {
            self.moments += moments.len();
            self.young.insert(key, moments);
        }
        let moments = self.young.entry(key).or_default();
        let before = moments.len();
        let since = beginning(now, rate.per, from);
        while moments.front().is_some_and(|at| *at <= since) {
            moments.pop_front();
        }
        let has_room = moments.len() < rate.most as usize;
        if has_room {
            moments.push_back(now);
        }
        self.moments = (self.moments + moments.len()).saturating_sub(before);
        if self.moments > MOST_MOMENTS {
            (self.old, self.moments) = (std::mem::take(&mut self.young), 0);
        }
        has_room
    }
}

impl Desk {
    /// What is kept in mind, read from the disk: runs now, writes when they are asked for.
    pub(super) async fn read_spending(&mut self) -> Result<(), StoreError> {
        self.spending = Spending::default();
        let Some(rate) = self.parts.shop.fuses.runs_per_subject else { return Ok(()) };
        let since = beginning(self.parts.clock.now(), rate.per, None);
        for run in self.parts.store.recent_runs(&self.parts.shop.id, since, RECENT_RUNS).await? {
            let lifted = self.holds.pauses.lifted(&run.rule);
            if lifted.is_none_or(|lifted| run.started > lifted) {
                self.spending.runs.count(&run.rule, &run.subject, rate, run.started, None);
            }
        }
        Ok(())
    }

    /// Counts a run that is about to begin. Where its rule has run too often on this subject, the rule is paused.
    pub(super) fn count_run(&mut self, turn: &mut Turn, rule: &str, subject: &str) {
        let Some(rate) = self.parts.shop.fuses.runs_per_subject else { return };
        let lifted = self.holds.pauses.lifted(rule);
        if !self.spending.runs.count(rule, subject, rate, turn.now, lifted) {
            let why = format!("more than {rate} runs on {subject}: this may be a loop");
            self.blow(turn, rule, "runs_per_subject", why);
        }
    }

    fn blow(&mut self, turn: &mut Turn, rule: &str, fuse: &str, why: String) {
        tracing::warn!(shop = %self.parts.shop.id, rule, fuse, why, "a fuse has paused a rule");
        self.stop(turn, rule.to_owned(), format!("the fuse `{fuse}`"), Some(why));
    }

    /// Counts a new write; `false` where it is over a limit of its rule, and then it is answered so. Where it is over a
    /// fuse of the shop, its rule is paused. Runs that nobody outside sees, and those that take back, are not counted.
    pub(super) async fn admit(&mut self, turn: &mut Turn, id: RunId, path: &str) -> Result<bool, StoreError> {
        if let Some(failure) = self.limited(turn, id, path).await? {
            self.answer(turn, id, path, Answer::Failed(failure));
            return Ok(false);
        }
        self.spend(turn, id, path).await?;
        Ok(true)
    }

    /// What a write is answered that is over a limit of its rule.
    pub(super) async fn limited(&mut self, turn: &Turn, id: RunId, path: &str) -> Result<Option<Failure>, StoreError> {
        let Some(cost) = self.cost(id, path) else { return Ok(None) };
        let Some(limits) = self.runs.get(&id).map(|live| live.rule.limits) else { return Ok(None) };
        let over = self.over(turn, &limits, &cost, Some(&cost.rule), None).await?;
        Ok(over.map(|Over { what, rate, why }| {
            Failure::new("limited", format!("over the rule's limit `{what}: {rate}`: {why}"))
        }))
    }

    /// Writes down what a write comes to, and looks at the fuses.
    pub(super) async fn spend(&mut self, turn: &mut Turn, id: RunId, path: &str) -> Result<(), StoreError> {
        let Some(Cost { rule, customer, money }) = self.cost(id, path) else { return Ok(()) };
        if self.holds.pauses.of(&rule).is_none() {
            let fuses = self.parts.shop.fuses.limits;
            let lifted = self.holds.pauses.lifted(&rule);
            let cost = Cost { rule: rule.clone(), customer: customer.clone(), money };
            if let Some(Over { what, rate, why }) = self.over(turn, &fuses, &cost, None, lifted).await? {
                self.blow(turn, &rule, what, format!("a write would have gone over {rate}: {why}"));
            }
        }
        let Some((live, call)) = self.runs.get(&id).and_then(|live| Some((live, live.run.call(path)?))) else {
            return Ok(());
        };
        let spec = self.parts.registry.get(&call.capability).map(|capability| capability.spec());
        let about = spec.and_then(|spec| echo::about(spec, &live.facts, &call.input));
        if let Some(last) = self.spending.writes.get_mut(&rule) {
            last.push(turn.now);
        }
        turn.changes.spent.push(Spent {
            rule,
            at: turn.now,
            run: id,
            path: path.to_owned(),
            mode: Mode::Live,
            capability: call.capability.clone(),
            customer,
            money,
            about,
        });
        Ok(())
    }

    /// What a live write comes to; `None` for anything else.
    fn cost(&self, id: RunId, path: &str) -> Option<Cost> {
        let live = self.runs.get(&id).filter(|live| live.run.mode == Mode::Live)?;
        let call = live.run.call(path)?;
        let capability = self.parts.registry.get(&call.capability)?;
        let spec = capability.spec();
        let shop = &self.parts.shop.id;
        let customer = capability.reaches(&live.facts, &call.input).map(|whom| customer(shop, &whom));
        let rule = live.run.rule.to_string();
        (spec.kind == Kind::Write).then(|| Cost { rule, customer, money: amount(spec, &call.input) })
    }

    /// What a write is over: limits that count since `from` at the earliest, messages of `by` or of all rules.
    async fn over(
        &mut self,
        turn: &Turn,
        limits: &Limits,
        cost: &Cost,
        by: Option<&str>,
        from: Option<Timestamp>,
    ) -> Result<Option<Over>, StoreError> {
        let now = turn.now;
        if let Some(rate) = limits.calls
            && let Some(again) = self.last(turn, &cost.rule, rate).await?.full(rate, now, from)
        {
            let why = format!("there is room again at {again:.0}");
            return Ok(Some(Over { what: "calls", rate: rate.to_string(), why }));
        }
        if let (Some(rate), Some(money)) = (limits.money, cost.money)
            && let Some(why) = self.over_money(turn, rate, money, &cost.rule, from).await?
        {
            return Ok(Some(Over { what: "money", rate: rate.to_string(), why }));
        }
        if let (Some(rate), Some(customer)) = (limits.per_customer, &cost.customer)
            && let Some(again) = self.over_customer(turn, rate, customer, by, from).await?
        {
            let why = format!("this customer has had as many messages; there is room again at {again:.0}");
            return Ok(Some(Over { what: "per_customer", rate: rate.to_string(), why }));
        }
        Ok(None)
    }

    /// The last writes of a rule, as many as this rate needs to know.
    async fn last(&mut self, turn: &Turn, rule: &str, rate: Rate) -> Result<&Last, StoreError> {
        let most = rate.most as usize;
        if self.spending.writes.get(rule).is_none_or(|last| last.most < most) {
            let stored = self.parts.store.spent_times(&self.parts.shop.id, rule, most).await?;
            let mut last = Last { most, at: stored.into() };
            turn.changes.spent.iter().filter(|one| one.rule == rule).for_each(|one| last.push(one.at));
            self.spending.writes.insert(rule.to_owned(), last);
        }
        Ok(self.spending.writes.entry(rule.to_owned()).or_insert_with(|| Last { most, at: VecDeque::new() }))
    }

    async fn over_money(
        &self,
        turn: &Turn,
        rate: MoneyRate,
        money: Money,
        rule: &str,
        from: Option<Timestamp>,
    ) -> Result<Option<String>, StoreError> {
        let unlike = |currency| format!("it moves {currency}, and nobody can tell how much of the limit that is");
        if money.currency != rate.most.currency {
            return Ok(Some(unlike(money.currency)));
        }
        let since = beginning(turn.now, rate.per, from);
        let Some(stored) = self.parts.store.spent_money(&self.parts.shop.id, rule, since).await? else {
            return Ok(Some("its writes are too many to be added up".to_owned()));
        };
        let own = turn.changes.spent.iter().filter(|one| one.rule == rule && one.at > since);
        let all = stored.into_iter().chain(own.filter_map(|one| one.money));
        let same = all.filter(|one| one.currency == money.currency);
        let spent = same.map(|one| one.amount).try_fold(Decimal::ZERO, Decimal::checked_add);
        let sum = spent.and_then(|spent| spent.checked_add(money.amount));
        let spent = Money::new(spent.unwrap_or(Decimal::MAX), money.currency);
        Ok(sum.is_none_or(|sum| sum > rate.most.amount).then(|| format!("{spent} were spent, and it moves {money}")))
    }

    async fn over_customer(
        &self,
        turn: &Turn,
        rate: Rate,
        customer: &str,
        by: Option<&str>,
        from: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let since = beginning(turn.now, rate.per, from);
        let is_same = |one: &&Spent| {
            one.customer.as_deref() == Some(customer) && by.is_none_or(|by| one.rule == by) && one.mode == Mode::Live
        };
        let own: Vec<Timestamp> =
            turn.changes.spent.iter().filter(is_same).map(|one| one.at).filter(|at| *at > since).collect();
        let most = rate.most as usize;
        let nth = match most.checked_sub(own.len()).filter(|left| *left > 0) {
            Some(left) => self.parts.store.spent_on_customer(&self.parts.shop.id, customer, by, left).await?,
            None => own.get(own.len() - most).copied(),
        };
        let nth = nth.filter(|at| *at > since);
        Ok(nth.map(|at| at.saturating_add(rate.per).unwrap_or(Timestamp::MAX)))
    }
}

/// The money that a write moves.
fn amount(spec: &Spec, input: &Json) -> Option<Money> {
    input.get(spec.amount?)?.as_str()?.parse().ok()
}

/// The same for the same customer of a shop, and nothing that anybody can read.
pub(super) fn customer(shop: &ShopId, whom: &str) -> String {
    let whom = whom.trim().to_lowercase();
    hex::encode(&Sha256::digest(format!("{shop}\0{whom}").as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).expect("a time")
    }

    fn rate(most: u32, seconds: u64) -> Rate {
        Rate { most, per: std::time::Duration::from_secs(seconds) }
    }

    #[test]
    fn the_moment_at_which_there_is_room_again() {
        let mut last = Last { most: 2, at: VecDeque::new() };
        last.push(at(1_000));
        assert_eq!(last.full(rate(2, 10), at(2_000), None), None);
        last.push(at(2_000));
        assert_eq!(last.full(rate(2, 10), at(3_000), None), Some(at(11_000)));
        assert_eq!(last.full(rate(2, 10), at(11_000), None), None);
        assert_eq!(last.full(rate(2, 10), at(3_000), Some(at(1_500))), None, "from then on there was one");
    }

    proptest! {
        /// Whatever comes, within no stretch of time there are more than there may be; and nothing is refused that
        /// would have been within it.
        #[test]
        fn a_stretch_of_time_never_holds_more(gaps in proptest::collection::vec(0_i64..4_000, 1..80), most in 1_u32..5) {
            let (rate, mut now) = (rate(most, 5), 0);
            let mut last = Last { most: most as usize, at: VecDeque::new() };
            let (mut subjects, mut made) = (Subjects::default(), Vec::new());
            for gap in gaps {
                now += gap;
                let within = made.iter().filter(|then| **then > now - 5_000).count();
                let full = last.full(rate, at(now), None);
                prop_assert_eq!(full.is_none(), within < most as usize);
                prop_assert_eq!(subjects.count("rule", "order/1", rate, at(now), None), full.is_none());
                if full.is_none() {
                    last.push(at(now));
                    made.push(now);
                }
            }
        }
    }

    #[test]
    fn what_is_known_of_subjects_stays_bounded_and_a_loop_is_seen_all_the_same() {
        let (rate, mut subjects) = (rate(20, 3_600), Subjects::default());
        let mut seen = 0;
        for i in 0..200_000_i64 {
            subjects.count("rule", &format!("order/{i}"), rate, at(i), None);
            if i % 4_000 == 0 {
                seen += usize::from(!subjects.count("rule", "order/loop", rate, at(i), None));
            }
        }
        assert!(subjects.young.len() + subjects.old.len() <= 2 * MOST_MOMENTS + 2);
        assert_eq!(seen, 50 - 20);
    }

    #[test]
    fn a_customer_is_the_same_however_the_address_is_written_and_another_in_another_shop() {
        let (acme, other): (ShopId, ShopId) = ("acme".parse().expect("a shop"), "other".parse().expect("a shop"));
        assert_eq!(customer(&acme, "Ana@Example.com "), customer(&acme, "ana@example.com"));
        assert_ne!(customer(&acme, "ana@example.com"), customer(&other, "ana@example.com"));
        assert!(!customer(&acme, "ana@example.com").contains("ana"));
    }
}
