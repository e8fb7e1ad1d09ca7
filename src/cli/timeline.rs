//! A run, for people: what happened when, how it stands, and how it can be made to go on.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use super::events::cell;
use super::out::shortened;

/// How much is shown of inputs and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    Whole,
    Shortened,
}

/// The most characters of an input or an answer that is shortened.
const MOST: usize = 120;

/// Something that happened to a run.
struct Moment {
    at: Timestamp,
    /// The call's name; empty for the run itself.
    who: String,
    what: String,
}

/// A run as the API gives it.
pub(super) fn text(run: &Json, inputs: Inputs) -> String {
    let mut lines = vec![head(run)];
    let mut moments = of_calls(&list(run, "calls"), inputs);
    if let Some(at) = time(run, "started") {
        moments.insert(0, Moment { at, who: String::new(), what: began(run) });
    }
    // What happened within a millisecond stays in the order of the calls.
    moments.sort_by_key(|moment| moment.at.as_millisecond());
    if let Some(at) = time(run, "ended") {
        moments.push(Moment { at, who: String::new(), what: ended(run) });
    }
    let wide = moments.iter().map(|moment| moment.who.len()).max().unwrap_or(0);
    let mut day = String::new();
    for moment in &moments {
        let (on, at) = split(moment.at);
        if on != day {
            lines.push(format!("\n{on} (UTC)"));
            day = on;
        }
        let mut who = moment.who.as_str();
        for (number, line) in moment.what.lines().enumerate() {
            let at = if number == 0 { at.as_str() } else { "" };
            lines.push(format!("  {at:12}  {who:wide$}  {line}").trim_end().to_owned());
            who = "";
        }
    }
    let rests = how_it_rests(run);
    if !rests.is_empty() {
        lines.push(String::new());
        lines.extend(rests);
    }
    lines.join("\n")
}

fn head(run: &Json) -> String {
    let mode = match run["mode"].as_str() {
        Some("shadow") => ", in the shadow of the live version",
        Some("undo") => ", taking back what another run did",
        _ => "",
    };
    format!(
        "{} of {} (version {}){mode}\non {} {} {}",
        cell(run, "id"),
        cell(run, "rule"),
        cell(run, "version"),
        cell(run, "event"),
        cell(run, "event_type"),
        cell(run, "subject"),
    )
}

fn began(run: &Json) -> String {
    let because: Vec<String> = list(run, "because").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    match because.as_slice() {
        [] => "begins".to_owned(),
        clauses => {
            format!("begins, because\n{}", clauses.iter().map(|it| format!("  {it}")).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// What happened to calls, in their order; what a plugin answered comes after all that it asked.
fn of_calls(calls: &[Json], inputs: Inputs) -> Vec<Moment> {
    let (mut moments, mut answers) = (Vec::new(), Vec::new());
    for (at, call) in calls.iter().enumerate() {
        let mut its = of_call(call, inputs);
        let below = format!("{}/", cell(call, "path"));
        let last = calls.iter().rposition(|other| cell(other, "path").starts_with(&below));
        if let Some(last) = last.filter(|last| *last > at && !call["answer"].is_null()) {
            answers.extend(its.pop().map(|answer| (last, answer)));
        }
        moments.extend(its);
        // The innermost first.
        while let Some(which) = answers.iter().rposition(|(last, _)| *last == at) {
            moments.push(answers.remove(which).1);
        }
    }
    moments
}

/// What happened to a call.
fn of_call(call: &Json, inputs: Inputs) -> Vec<Moment> {
    let shown = |value: &Json| match inputs {
        Inputs::Whole => value.to_string(),
        Inputs::Shortened => shortened(&value.to_string(), MOST),
    };
    let who = name(call);
    let Some(asked) = time(call, "asked") else { return Vec::new() };
    let moment = |at: Timestamp, what: String| Moment { at, who: who.clone(), what };
    let mut moments = vec![moment(asked, format!("asks {} {}", cell(call, "capability"), shown(&call["input"])))];
    for line in list(call, "log") {
        moments.extend(time(&line, "at").map(|at| moment(at, format!("  {}", cell(&line, "what")))));
    }
    if call["answer"].is_null() {
        return moments;
    }
    let (answered, at) = match time(call, "answered") {
        // Answers that came before this was written down, and those that a run's end gave.
        None => (String::new(), moments.last().map_or(asked, |last| last.at)),
        Some(at) if at == asked => (String::new(), at),
        Some(at) => (format!(" after {}", length(asked, at)), at),
    };
    let answer = &call["answer"];
    let what = match (answer.get("failed"), answer.get("done")) {
        (Some(failure), _) => format!("failed{answered}: {} ({})", cell(failure, "message"), cell(failure, "code")),
        (_, Some(done)) if done.as_object().is_some_and(serde_json::Map::is_empty) => format!("answered{answered}"),
        (_, Some(done)) => format!("answered{answered}: {}", shown(done)),
        _ => format!("answered{answered}: {}", shown(answer)),
    };
    moments.push(moment(at, format!("  {what}")));
    moments
}

/// What people know a call by.
fn name(call: &Json) -> String {
    let label = cell(call, "label");
    let path = cell(call, "path");
    if label.is_empty() || path.starts_with(&label) { path } else { format!("{label} ({path})") }
}

fn ended(run: &Json) -> String {
    let end = &run["end"];
    let outcome = cell(end, "outcome");
    let took = time(run, "started").zip(time(run, "ended")).map(|(began, over)| length(began, over));
    let took = took.filter(|took| took != "0 ms").map_or_else(String::new, |took| format!(" after {took}"));
    match outcome.as_str() {
        "failed" => format!("failed{took}: {} ({})", cell(&end["failure"], "message"), cell(&end["failure"], "code")),
        "diverged" => format!(
            "diverged{took}: asked again, `{}` was\n  {}\nand is\n  {}",
            cell(end, "path"),
            cell(end, "recorded"),
            cell(end, "asked")
        ),
        "replaced" => format!("ended{took}: a newer run took its lane (`overlap: restart`)"),
        "skipped" => format!("skipped{took}: its lane was busy (`overlap: skip`)"),
        other => format!("{other}{took}"),
    }
}

/// How a run stands that is not over, and what would make it go on.
fn how_it_rests(run: &Json) -> Vec<String> {
    let id = cell(run, "id");
    let mut lines = Vec::new();
    for call in list(run, "calls") {
        let (who, path, due) = (name(&call), cell(&call, "path"), when(&call, "due"));
        if call["state"] == "unknown" {
            lines.push(format!("`{who}` is unknown: nobody can tell whether it happened. Look, and then say:"));
            lines.push(format!("  storehand approvals accept {id}/{path} --happened    it happened"));
            lines.push(format!("  storehand approvals accept {id}/{path}               it did not: do it"));
            lines.push(format!("  storehand approvals reject {id}/{path}               leave it"));
            continue;
        }
        if !call["answer"].is_null() || !run["ended"].is_null() {
            continue;
        }
        lines.push(match (call["state"].as_str(), call["awaits"].as_str()) {
            (_, Some("person")) => format!(
                "`{who}` waits for a person until {due}:\n  storehand approvals accept {id}/{path}\n  storehand approvals \
                 reject {id}/{path}"
            ),
            (_, Some("resume")) => format!("`{who}` is held until `storehand rules resume {}`", cell(run, "rule")),
            (_, Some(event)) => {
                let (kind, about) = event.trim_start_matches("event:").split_once(' ').unwrap_or((event, ""));
                format!("`{who}` waits for {kind} about {about}, until {due}")
            }
            (Some("started"), _) => format!("`{who}` is under way"),
            (Some("lost"), _) => format!("`{who}`: its answer was lost; at {due} we look whether it happened"),
            _ if call["kind"] == "control" => format!("`{who}` waits until {due}"),
            _ if call["attempts"] == 0 => format!("`{who}` is about to be tried"),
            _ => format!("`{who}` is tried again at {due}"),
        });
    }
    if run["state"] == "queued" {
        lines.push(format!("It waits its turn in the lane `{}`", cell(run, "lane")));
    }
    lines
}

fn list(of: &Json, name: &str) -> Vec<Json> {
    of[name].as_array().cloned().unwrap_or_default()
}

fn time(of: &Json, name: &str) -> Option<Timestamp> {
    of[name].as_str()?.parse().ok()
}

/// The day and the time of day, to the millisecond.
fn split(at: Timestamp) -> (String, String) {
    (at.strftime("%Y-%m-%d").to_string(), at.strftime("%H:%M:%S%.3f").to_string())
}

fn when(of: &Json, name: &str) -> String {
    time(of, name).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// `12 ms`, `5.1 s`, `10m 5s`, `7d`.
fn length(from: Timestamp, to: Timestamp) -> String {
    let took: SignedDuration = to.duration_since(from);
    let (ms, seconds) = (took.as_millis(), took.as_secs());
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    match seconds {
        _ if ms < 1000 => format!("{} ms", ms.max(0)),
        0..60 => format!("{:.1} s", ms as f64 / 1000.0),
        // The two largest say enough.
        _ => {
            let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
            let largest = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
            largest.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run that was tried twice, waited, and waits for a person and an event.
    fn run() -> Json {
        json!({
            "id": "run_1", "rule": "big-order", "version": "ce5f1adf0a0b0c0d", "mode": "live", "event": "ev_1",
            "event_type": "order.created", "subject": "order/1042", "lane": "order/1042", "state": "waiting",
            "started": "2026-11-23T09:00:00Z", "ended": null, "end": null,
            "because": ["order.total >= inputs.limit", "not: \"fraud\" in customer.tags"],
            "calls": [
                { "path": "tag", "label": "tag", "capability": "order.tag", "kind": "write", "state": "answered",
                  "attempts": 2, "asked": "2026-11-23T09:00:00Z", "due": "2026-11-23T09:00:05Z", "awaits": null,
                  "input": { "tags": ["big"] }, "answered": "2026-11-23T09:00:05.1Z",
                  "answer": { "done": { "tags": ["big", "vip"] } }, "trouble": "too fast",
                  "log": [{ "at": "2026-11-23T09:00:00.01Z", "what": "attempt 1" },
                          { "at": "2026-11-23T09:00:00.2Z", "what": "too fast; next at 2026-11-23T09:00:05Z" },
                          { "at": "2026-11-23T09:00:05Z", "what": "attempt 2" }] },
                { "path": "2", "label": "2", "capability": "wait", "kind": "control", "state": "answered", "attempts": 0,
                  "asked": "2026-11-23T09:00:05.1Z", "due": "2026-11-24T09:00:05.1Z", "awaits": null,
                  "input": { "for": "24h" }, "answered": "2026-11-24T09:00:05.1Z", "answer": { "done": {} }, "log": [] },
                { "path": "ok", "label": "ok", "capability": "approval.request", "kind": "control", "state": "pending",
                  "attempts": 0, "asked": "2026-11-24T09:00:05.1Z", "due": "2026-11-25T09:00:05.1Z",
                  "awaits": "person", "input": { "show": "x".repeat(400) }, "answer": null, "log": [] },
                { "path": "sent", "label": "sent", "capability": "wait_for", "kind": "control", "state": "pending",
                  "attempts": 0, "asked": "2026-11-24T09:00:05.1Z", "due": "2026-12-01T09:00:05.1Z",
                  "awaits": "event:order.fulfilled order/1042", "input": { "event": "order.fulfilled" },
                  "answer": null, "log": [] },
                { "path": "mail", "label": "mail", "capability": "message.send", "kind": "write", "state": "unknown",
                  "attempts": 1, "asked": "2026-11-24T09:00:05.1Z", "due": "2026-11-24T09:00:05.1Z", "awaits": null,
                  "input": { "text": "Hello" }, "answer": null,
                  "log": [{ "at": "2026-11-24T09:00:05.2Z", "what": "attempt 1" },
                          { "at": "2026-11-24T09:01:05.2Z", "what": "no answer within 60s; nobody can tell whether it happened" }] },
            ],
        })
    }

    #[test]
    fn a_run_is_told_moment_by_moment() {
        insta::assert_snapshot!(text(&run(), Inputs::Shortened));
        assert!(text(&run(), Inputs::Whole).contains(&"x".repeat(400)));
    }

    #[test]
    fn a_run_that_is_over_says_how_and_after_how_long() {
        let over = |end: Json| {
            let mut run = run();
            (run["end"], run["ended"], run["calls"]) = (end, json!("2026-11-23T10:02:03Z"), json!([]));
            text(&run, Inputs::Shortened).lines().last().unwrap_or_default().trim().to_owned()
        };
        let failure = json!({ "code": "not_found", "message": "no such order" });
        let failed = over(json!({ "outcome": "failed", "failure": failure }));
        assert_eq!(failed, "10:02:03.000    failed after 1h 2m: no such order (not_found)");
        assert_eq!(over(json!({ "outcome": "done" })), "10:02:03.000    done after 1h 2m");
        assert!(
            over(json!({ "outcome": "skipped" })).ends_with("skipped after 1h 2m: its lane was busy (`overlap: skip`)")
        );
    }

    #[test]
    fn lengths_say_the_two_largest_parts() {
        let of = |text: &str| length(Timestamp::UNIX_EPOCH, text.parse().expect("time"));
        assert_eq!(of("1970-01-01T00:00:00.012Z"), "12 ms");
        assert_eq!(of("1970-01-01T00:00:05.1Z"), "5.1 s");
        assert_eq!(of("1970-01-01T00:10:05Z"), "10m 5s");
        assert_eq!(of("1970-01-08T00:00:00Z"), "7d");
        assert_eq!(of("1970-01-08T00:10:00Z"), "7d");
        assert_eq!(of("1969-12-31T00:00:00Z"), "0 ms");
    }
}
