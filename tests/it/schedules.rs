//! Schedules: a rule's own times come once, whatever ends when; what was missed is made up for or left out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::Mode;
use storehand::rules::{self, Rule, RuleSet, Standing};
use storehand::store::EventFilter;

use crate::support::{TestApp, acme, order};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The clock begins on a Monday at 9:00 UTC, 10:00 in Berlin.
fn text(id: &str, triggers: &str) -> String {
    format!(
        "id: {id}\nstatus: live\ntriggers: [{triggers}]\nsteps:\n  - {{ uses: log, with: {{ message: \"{{{{ event.subject \
         }}}} {{{{ event.time }}}}\" }} }}\n"
    )
}

fn rule(id: &str, triggers: &str) -> Arc<Rule> {
    let nothing_beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let text = text(id, triggers);
    let read = rules::read(Path::new("t.yaml"), &text, &nothing_beside, &catalog(&all(Deps::default())));
    Arc::new(read.rule.unwrap_or_else(|| panic!("{:#?}", read.findings)))
}

async fn started(triggers: &str) -> TestApp {
    let zone = [("STOREHAND_SHOP__ACME__TIME_ZONE", "Europe/Berlin")];
    TestApp::start_with(&[("digest.yaml", &text("digest", triggers))], &zone).await
}

async fn put_in_force(it: &TestApp, rules: impl IntoIterator<Item = Arc<Rule>>) {
    let set = RuleSet::new(rules, &catalog(&all(Deps::default())));
    it.app.engine.set_rules(&acme(), Arc::new(set)).await.expect("in force");
    it.settle().await;
}

/// The times of the events that came of schedules, oldest first, each on the clocks of Berlin.
async fn times(it: &TestApp) -> Vec<String> {
    let filter = EventFilter { kind: Some("schedule.due".into()), most: 1000, before: None };
    let mut events = it.app.store.events(&acme(), &filter).await.expect("events");
    events.reverse();
    events.iter().map(|event| berlin(event.time)).collect()
}

fn berlin(time: Timestamp) -> String {
    TimeZone::get("Europe/Berlin").expect("a zone").to_datetime(time).strftime("%a %F %H:%M").to_string()
}

/// What the runs of a rule wrote down, oldest first.
async fn lines(it: &TestApp, rule: &str) -> Vec<String> {
    let runs = it.runs().await;
    let of = runs.iter().filter(|run| &*run.rule == rule);
    of.map(|run| run.calls[0].input["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_comes_once_and_its_own_rule_alone_hears_it() {
    let it = started("{ schedule: '0 12 * * 1-5' }").await;
    put_in_force(
        &it,
        [rule("digest", "{ schedule: '0 12 * * 1-5' }"), rule("other", "{ schedule: '0 12 * * 2', time_zone: UTC }")],
    )
    .await;
    it.advance(2 * HOUR - Duration::from_millis(1)).await;
    assert!(times(&it).await.is_empty());
    it.advance(Duration::from_millis(1)).await;
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00"]);
    assert_eq!(lines(&it, "digest").await, ["rule/digest 2026-11-23T11:00:00Z"]);
    it.advance(MINUTE).await;
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(times(&it).await.len(), 1, "a restart does not make it come again");
    put_in_force(
        &it,
        [rule("digest", "{ schedule: '0 12 * * 1-5' }"), rule("other", "{ schedule: '0 12 * * 2', time_zone: UTC }")],
    )
    .await;
    for _ in 0..24 {
        it.advance(HOUR).await;
    }
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00", "Tue 2026-11-24 12:00"]);
    it.advance(HOUR).await;
    assert_eq!(lines(&it, "digest").await.len(), 2);
    assert_eq!(lines(&it, "other").await, ["rule/other 2026-11-24T12:00:00Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_comes_together_once_or_not_at_all() {
    for (missed, came) in [("once", vec!["Thu 2026-11-26 12:00"]), ("skip", vec![])] {
        let it = started(&format!("{{ schedule: '0 12 * * *', missed: {missed} }}")).await;
        it.settle().await;
        let clock = it.clock.clone();
        // Four times pass while the process is down.
        let it = it.restart_after(|_| clock.advance(3 * DAY + 3 * HOUR)).await;
        it.settle().await;
        assert_eq!(times(&it).await, came, "{missed}");
        it.advance(DAY - 2 * HOUR).await;
        it.advance(HOUR).await;
        let mut came = came;
        came.push("Fri 2026-11-27 12:00");
        assert_eq!(times(&it).await, came, "{missed}: and then as ever");
        assert_eq!(it.ends().await, vec!["done"; came.len()]);
    }
    // Down for a moment when the time came: nothing was missed.
    let it = started("{ schedule: '0 12 * * *', missed: skip }").await;
    it.settle().await;
    let clock = it.clock.clone();
    let it = it.restart_after(|_| clock.advance(2 * HOUR + Duration::from_secs(50))).await;
    it.settle().await;
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00"]);
}

async fn beside(it: &TestApp) -> DatabaseConnection {
    Database::connect(format!("sqlite://{}", it.file().display())).await.expect("the store's file")
}

/// The rows that say when each comes next.
async fn rows(beside: &DatabaseConnection) -> Vec<(String, String)> {
    let sql = "SELECT rule || ' ' || expression AS name, next FROM schedules ORDER BY 1";
    let rows = beside.query_all_raw(Statement::from_string(beside.get_database_backend(), sql)).await.expect("rows");
    let row = |row: &sea_orm::QueryResult| {
        let next = Timestamp::from_millisecond(row.try_get("", "next").expect("a number")).expect("a time");
        (row.try_get("", "name").expect("a text"), berlin(next))
    };
    rows.iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_or_changed_schedule_begins_now_and_a_removed_one_is_gone() {
    let it = started("{ schedule: '0 8 * * *' }").await;
    it.settle().await;
    let beside = beside(&it).await;
    let own = |name: &str, next: &str| (name.to_owned(), next.to_owned());
    assert_eq!(rows(&beside).await, [own("digest 0 8 * * * Europe/Berlin", "Tue 2026-11-24 08:00")]);
    // What would have come earlier today does not come; another zone is another schedule.
    let changed = rule("digest", "{ schedule: '30 9 * * *' }, { schedule: '0 11 * * *', time_zone: UTC }");
    put_in_force(&it, [changed, rule("new", "{ schedule: '0 9 * * *' }")]).await;
    assert!(times(&it).await.is_empty());
    assert_eq!(
        rows(&beside).await,
        [
            own("digest 0 11 * * * UTC", "Mon 2026-11-23 12:00"),
            own("digest 30 9 * * * Europe/Berlin", "Tue 2026-11-24 09:30"),
            own("new 0 9 * * * Europe/Berlin", "Tue 2026-11-24 09:00"),
        ]
    );
    // A version that says the same times goes on with them.
    put_in_force(&it, [rule("digest", "{ schedule: '0 11 * * *', time_zone: UTC }, { event: order.paid }")]).await;
    assert_eq!(rows(&beside).await, [own("digest 0 11 * * * UTC", "Mon 2026-11-23 12:00")]);
    it.advance(2 * HOUR).await;
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00"]);
    put_in_force(&it, []).await;
    assert!(rows(&beside).await.is_empty());
    it.advance(DAY).await;
    assert_eq!(times(&it).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_versions_each_runs_at_its_own_times() {
    let it = started("{ event: order.paid }").await;
    let standing = Standing {
        live: Some(rule("digest", "{ schedule: '0 12 * * *' }")),
        shadow: Some(rule("digest", "{ schedule: '0 12,13 * * *' }")),
        ..Standing::default()
    };
    let set = RuleSet::standing([("digest".to_owned(), standing)].into(), &catalog(&all(Deps::default())));
    it.app.engine.set_rules(&acme(), Arc::new(set)).await.expect("in force");
    it.settle().await;
    for _ in 0..4 {
        it.advance(HOUR).await;
    }
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00", "Mon 2026-11-23 13:00"], "the same time is one event");
    let runs: Vec<(Mode, String)> = it.runs().await.iter().map(|run| (run.mode, berlin(run.event.time))).collect();
    let own = |mode, time: &str| (mode, format!("Mon 2026-11-23 {time}"));
    assert_eq!(runs, [own(Mode::Live, "12:00"), own(Mode::Shadow, "12:00"), own(Mode::Shadow, "13:00")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_hour_follows_the_clock_on_the_wall() {
    let it = started("{ schedule: '30 2 * * *' }").await;
    it.settle().await;
    // To the nights in which the clocks change: 28 March 2027, 2:00 to 3:00, and 31 October, 3:00 to 2:00.
    for (to, nights) in [
        ("2027-03-26T12:00:00Z", ["Sat 2027-03-27 02:30", "Sun 2027-03-28 03:30", "Mon 2027-03-29 02:30"]),
        ("2027-10-29T12:00:00Z", ["Sat 2027-10-30 02:30", "Sun 2027-10-31 02:30", "Mon 2027-11-01 02:30"]),
    ] {
        let to: Timestamp = to.parse().expect("a time");
        it.advance(Duration::try_from(to.duration_since(it.now())).expect("later")).await;
        let before = times(&it).await.len();
        for _ in 0..(3 * 24 * 4) {
            it.advance(15 * MINUTE).await;
        }
        assert_eq!(times(&it).await[before..], nights);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_whose_turn_is_not_written_comes_all_the_same_and_once() {
    let it = started("{ schedule: '0 12 * * *' }").await;
    it.settle().await;
    let beside = beside(&it).await;
    let say = async |sql: &str| beside.execute_unprepared(sql).await.map(|_| ()).expect("said");
    say("CREATE TRIGGER broken BEFORE UPDATE ON schedules BEGIN SELECT RAISE(ABORT, 'the disk is full'); END").await;
    it.clock.advance(2 * HOUR);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(times(&it).await.is_empty(), "neither the event nor the next time is written without the other");
    say("DROP TRIGGER broken").await;
    it.settle().await;
    assert_eq!(times(&it).await, ["Mon 2026-11-23 12:00"]);
    // Other work goes on beside it.
    it.order(&order(1, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
}
