//! What waits for a person, in words that leave no question open: approvals, and calls of which nobody else can tell
//! whether they happened.

use serde_json::{Value as Json, json};

use crate::domain::{Answer, Call, CallState, Run, RunState};
use crate::engine::Registry;

/// The calls of a run that wait for a person.
pub(super) fn of_run(run: &Run, registry: &Registry) -> Vec<Json> {
    let of = |call: &Call| match call.state {
        CallState::Unknown => unknown(run, call),
        _ => approval(run, call, registry),
    };
    run.calls.iter().filter(|call| call.waits_for_person()).map(of).collect()
}

fn head(run: &Run, call: &Call, what: &str) -> Json {
    json!({
        "id": format!("{}/{}", run.id, call.path),
        "what": what,
        "run": run.id,
        "path": call.path,
        "rule": run.rule,
        "version": run.version,
        "event": run.event.id,
        "subject": run.event.subject,
        "capability": call.capability,
    })
}

fn approval(run: &Run, call: &Call, registry: &Registry) -> Json {
    let mut json = head(run, call, "approval");
    json["to"] = call.input["to"].clone();
    json["show"] = call.input["show"].clone();
    if let Some(why) = call.input["why"].as_str() {
        json["why"] = why.into();
    }
    json["since"] = json!(call.asked);
    json["until"] = json!(call.due);
    json["accept"] = "the run goes on with this text, or with yours in its place".into();
    json["reject"] = "the run ends as declined, unless its rule handles that".into();
    let otherwise = match registry.get(&call.capability).map(|capability| capability.timed_out(&call.input)) {
        Some(Answer::Done(_)) => "it counts as approved",
        Some(Answer::Failed(failure)) if failure.code == "declined" => "it counts as rejected",
        _ => "the run fails, unless its rule handles that",
    };
    json["otherwise"] = otherwise.into();
    json
}

fn unknown(run: &Run, call: &Call) -> Json {
    let mut json = head(run, call, "unknown");
    json["input"] = call.input.clone();
    json["trouble"] = json!(call.trouble);
    json["attempts"] = json!(call.attempts);
    json["since"] = json!(call.log.last().map_or(call.asked, |line| line.at));
    let over = run.state == RunState::Ended;
    let accept = "it did not happen: it is done now";
    json["accept"] = if over { format!("{accept}, though the run is over") } else { accept.to_owned() }.into();
    json["happened"] = if over { "it did; the run is over" } else { "it did: the run goes on" }.into();
    let reject = match over {
        true => "leave it; the run is over",
        false => "leave it: the call fails as `unknown_given_up`, and the run with it unless its rule handles that",
    };
    json["reject"] = reject.into();
    json
}
