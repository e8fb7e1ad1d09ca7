//! Why rules ran on an event and others did not, for people.

use serde_json::Value as Json;

use super::events::cell;

/// The account that the API gives of an event.
pub(super) fn text(account: &Json) -> String {
    let event = &account["event"];
    let head = ["id", "type", "subject"].map(|name| cell(event, name)).join(" ");
    let mut lines = vec![format!("{head}, received {}", cell(event, "received"))];
    if event["late"] == true {
        lines.push("  a newer version of what it tells of was known already (`event.late`)".to_owned());
    }
    let unhandled = cell(event, "unhandled");
    if !unhandled.is_empty() {
        lines.push(format!("  no event of ours is like `{}`: {unhandled}", cell(event, "origintopic")));
    }
    let echo = cell(event, "echo");
    if !echo.is_empty() {
        lines.push(format!("  it only tells of what {echo} did (`event.echo`)"));
    }
    let rules = list(account, "rules");
    for rule in &rules {
        lines.push(String::new());
        lines.extend(one(rule));
    }
    let missing = list(account, "missing");
    if !missing.is_empty() {
        lines.push(String::new());
    }
    for it in missing {
        lines.push(format!("  not known when it was matched: {} {}", cell(&it, "kind"), cell(&it, "id")));
    }
    if rules.is_empty() {
        lines.push("  no rule listens to this".to_owned());
    }
    if account["matched"].is_null() {
        lines.push("  it is not matched yet".to_owned());
    }
    lines.join("\n")
}

/// What one rule made of it.
fn one(rule: &Json) -> Vec<String> {
    let shadow = if rule["mode"] == "shadow" { ", in the shadow" } else { "" };
    let name = cell(rule, "rule");
    let version: String = cell(rule, "version").chars().take(8).collect();
    match rule["verdict"].as_str() {
        Some("ran") => {
            let run = &rule["run"];
            let mut lines = vec![
                format!("  ran       {name} (version {version}{shadow})"),
                format!("            {} {}", cell(run, "id"), how(run)),
            ];
            match rule["because"].as_array() {
                None => lines.push("            its version is not kept any more".to_owned()),
                Some(clauses) if clauses.is_empty() => lines.push("            it has no conditions".to_owned()),
                Some(clauses) => lines.extend(clauses.iter().flat_map(|clause| seen(rule, clause))),
            }
            lines
        }
        Some("did_not") => {
            let mut lines = vec![format!("  did not   {name} (version {version}{shadow})")];
            lines.extend(seen(rule, rule));
            lines
        }
        _ => vec![format!("  not live  {name}"), format!("            {}", cell(rule, "note"))],
    }
}

/// A condition, with where it stands and what it saw.
fn seen(rule: &Json, clause: &Json) -> Vec<String> {
    let (text, file) = (cell(clause, "clause"), cell(rule, "file"));
    let mut lines = Vec::new();
    if !text.is_empty() {
        let line = cell(clause, "line");
        let place = if file.is_empty() { format!("line {line}") } else { format!("{file}:{line}") };
        lines.push(format!("            {text}    ({place})"));
    }
    for pair in clause["saw"].as_array().into_iter().flatten() {
        lines.push(format!("              {} was {}", shown(&pair[0]), shown(&pair[1])));
    }
    lines.extend(clause["error"].as_str().map(|error| format!("              {error}")));
    lines
}

/// How a run ended, else where it stands.
fn how(run: &Json) -> String {
    let end = &run["end"];
    match (cell(end, "outcome").as_str(), cell(run, "state")) {
        ("", state) => state,
        ("failed", _) => format!("failed: {} ({})", cell(&end["failure"], "message"), cell(&end["failure"], "code")),
        (outcome, _) => outcome.to_owned(),
    }
}

fn list(of: &Json, name: &str) -> Vec<Json> {
    of[name].as_array().cloned().unwrap_or_default()
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_names_what_held_what_did_not_and_what_was_not_there() {
        let account = json!({
            "event": { "id": "ev_1", "type": "order.created", "subject": "order/1042", "received": "2026-11-23T09:00:00Z",
                       "late": true, "echo": null },
            "matched": "2026-11-23T09:00:00.1Z",
            "missing": [{ "kind": "customer", "id": "7" }],
            "rules": [
                { "rule": "big-order", "version": "ce5f1adf9e107756", "mode": "live", "verdict": "ran", "file": null,
                  "run": { "id": "run_1", "state": "ended", "end": { "outcome": "failed", "failure": { "code": "not_found", "message": "no such order" } } },
                  "because": [{ "clause": "order.total >= inputs.limit", "line": 9,
                                "saw": [["order.total", "612.00 EUR"], ["inputs.limit", "500.00 EUR"]] }] },
                { "rule": "big-order", "version": "1111222233334444", "mode": "shadow", "verdict": "ran", "file": null,
                  "run": { "id": "run_2", "state": "waiting", "end": null }, "because": [] },
                { "rule": "vip", "version": "aaaabbbbccccdddd", "mode": "live", "verdict": "did_not", "file": "rules/vip.yaml",
                  "clause": "\"vip\" in customer.tags", "line": 7, "saw": [["customer.tags", "nothing"]] },
                { "rule": "chase", "version": "0123456789abcdef", "mode": "live", "verdict": "did_not", "file": null,
                  "clause": "", "line": 1, "saw": [], "error": "the rule is paused since 2026-11-22 by ana" },
                { "rule": "new-one", "verdict": "not_live", "note": "it came into force at 2026-11-24T10:00:00Z, after this event" },
            ],
        });
        insta::assert_snapshot!(text(&account));
        let nobody = json!({ "event": { "id": "ev_1" }, "rules": [], "matched": null });
        assert!(text(&nobody).ends_with("  no rule listens to this\n  it is not matched yet"), "{}", text(&nobody));
    }
}
