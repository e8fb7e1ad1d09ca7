//! `storehand rules list|history|diff|activate|rollback`: the versions of rules on a running server.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};
use similar::TextDiff;

use super::client::Server;
use super::events::{cell, pretty};
use super::{Hinted, out, pauses, say};

/// Which shop of which server.
#[derive(Debug, Args)]
pub(super) struct At {
    /// The shop, where the server has several
    #[arg(long)]
    shop: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// A rule of a running server.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// The rule's id
    rule: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// `storehand rules diff`
#[derive(Debug, Args)]
#[command(after_help = "A version is named by the beginning of its name, or as live, shadow, file or previous.
Exit codes: 0 they are the same, 1 they differ.")]
pub(super) struct Diff {
    /// The rule's id
    rule: String,
    /// The one version [default: live]
    #[arg(long, value_name = "VERSION")]
    from: Option<String>,
    /// The other [default: shadow where there is one, else what the file holds, else what is live against previous]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// What becomes of waiting runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum OnChange {
    /// They end as they began
    FinishOld,
    /// They move to the new version, where it asks for everything that they have done
    Migrate,
    /// They end as cancelled
    Cancel,
}

#[derive(Debug, Args)]
struct Change {
    /// What becomes of waiting runs this once [default: what the version says]
    #[arg(long, value_enum)]
    on_change: Option<OnChange>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

/// `storehand rules activate`
#[derive(Debug, Args)]
pub(super) struct Activate {
    /// The rule's id
    rule: String,
    /// The version, by the beginning of its name [default: what its file holds, which promotes a shadow]
    version: Option<String>,
    #[command(flatten)]
    change: Change,
}

/// `storehand rules rollback`
#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// The rule's id
    rule: String,
    #[command(flatten)]
    change: Change,
}

impl At {
    fn shop(&self) -> Vec<(&str, &str)> {
        self.shop.as_deref().map(|shop| ("shop", shop)).into_iter().collect()
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Json> {
        self.server.ask(path, &self.shop()).await
    }
}

/// The page of a rule, below which are those of its versions.
fn page(rule: &str) -> anyhow::Result<String> {
    let is_id = !rule.is_empty() && rule.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !is_id {
        return Err(Hinted::new(format!("`{rule}` is no rule's id"), "`storehand rules list` names them").into());
    }
    Ok(format!("/v1/rules/{rule}"))
}

pub(super) async fn list(at: &At, json: bool) -> anyhow::Result<ExitCode> {
    let answer = at.ask("/v1/rules").await?;
    if json {
        say(pretty(&answer));
        return Ok(ExitCode::SUCCESS);
    }
    let rules = answer["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |rule: &Json| {
        let live = &rule["live"];
        let waiting = rule["waiting"].as_array().map(Vec::as_slice).unwrap_or_default();
        vec![
            cell(rule, "id"),
            cell(rule, "status"),
            format!("{}{}", short(&live["version"]), if rule["paused"].is_null() { "" } else { ", paused" }),
            moment(&live["since"]),
            cell(live, "origin"),
            short(&rule["shadow"]["version"]),
            short(&rule["pin"]),
            runs(waiting, &live["version"]),
        ]
    };
    let rows: Vec<Vec<String>> = rules.iter().map(row).collect();
    let head = ["RULE", "FILE SAYS", "LIVE", "SINCE", "FROM", "SHADOW", "PINNED", "RUNS UNDER WAY"];
    say(out::table(&head, &rows));
    for rule in rules.iter().filter(|rule| !rule["refused"].is_null()) {
        say(format_args!("{}: {}", cell(rule, "id"), sentences(&rule["says"])));
    }
    let mut paused: Vec<String> =
        rules.iter().filter(|rule| !rule["paused"].is_null()).map(|rule| pauses::sentence(&rule["paused"])).collect();
    // A pause of the whole shop stands with each of its rules.
    paused.dedup();
    paused.iter().for_each(say);
    Ok(ExitCode::SUCCESS)
}

/// How many runs of a rule are under way, and how many of them on other versions than the live one.
fn runs(waiting: &[Json], live: &Json) -> String {
    let count = |all: &mut dyn Iterator<Item = &Json>| all.filter_map(|it| it["runs"].as_u64()).sum::<u64>();
    let (all, others) = (count(&mut waiting.iter()), count(&mut waiting.iter().filter(|it| it["version"] != *live)));
    match (all, others) {
        (0, _) => String::new(),
        (all, 0) => all.to_string(),
        (all, others) => format!("{all}, {others} on other versions"),
    }
}

pub(super) async fn history(of: &Of) -> anyhow::Result<ExitCode> {
    let rule = of.at.ask(&page(&of.rule)?).await?;
    if of.json {
        say(pretty(&rule));
        return Ok(ExitCode::SUCCESS);
    }
    let row = |change: &Json| {
        let becomes = change["on_change"].as_str().unwrap_or_default();
        let kept = if change["kept"] == true { "" } else { "not kept any more" };
        vec![
            moment(&change["at"]),
            short(&change["version"]),
            cell(change, "role"),
            cell(change, "origin"),
            becomes.to_owned(),
            kept.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = rule["history"].as_array().into_iter().flatten().map(row).collect();
    say(out::table(&["AT", "VERSION", "BECAME", "FROM", "WAITING RUNS", ""], &rows));
    for sentence in rule["says"].as_array().into_iter().flatten() {
        say(sentence.as_str().unwrap_or_default());
    }
    say_stayed(&rule["stayed"]);
    Ok(ExitCode::SUCCESS)
}

fn say_stayed(stayed: &Json) {
    for run in stayed.as_array().into_iter().flatten() {
        say(format_args!("  {} stays on {}: {}", cell(run, "run"), short(&run["version"]), cell(run, "why")));
    }
}

pub(super) async fn diff(args: &Diff) -> anyhow::Result<ExitCode> {
    let page = page(&args.rule)?;
    let rule = args.at.ask(&page).await?;
    let (from, to) = names(args, &rule);
    let from = args.at.ask(&format!("{page}/versions/{}", named(&from)?)).await?;
    let to = args.at.ask(&format!("{page}/versions/{}", named(&to)?)).await?;
    let (old, new) = (text(&from), text(&to));
    let name = |version: &Json| format!("{} {}", args.rule, cell(version, "version"));
    let diff = TextDiff::from_lines(&old, &new).unified_diff().header(&name(&from), &name(&to)).to_string();
    let is_shadow = !rule["shadow"].is_null() && rule["shadow"]["version"] == to["version"];
    let shadow = if is_shadow { args.at.ask(&format!("{page}/shadow")).await? } else { Json::Null };
    if args.json {
        let version = |it: &Json| it["version"].clone();
        say(pretty(&json!({ "from": version(&from), "to": version(&to), "diff": diff, "shadow": shadow })));
    } else {
        let same = format!("version {} and version {} are the same", short(&from["version"]), short(&to["version"]));
        say(if diff.is_empty() { same } else { diff.trim_end().to_owned() });
        if is_shadow {
            say(beside(&shadow));
        }
    }
    let differs = old != new || shadow["differ"].as_u64().unwrap_or_default() > 0;
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Which two versions are meant.
fn names(args: &Diff, rule: &Json) -> (String, String) {
    let (live, file) = (&rule["live"]["version"], &rule["file_version"]);
    let (from, to) = match (rule["shadow"].is_null(), file.is_null() || file == live) {
        (false, _) => ("live", "shadow"),
        (true, false) => ("live", "file"),
        (true, true) => ("previous", "live"),
    };
    let or = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    // A shadow that stands alone is shown for what it is.
    let from = if live.is_null() && args.from.is_none() { to } else { from };
    (or(&args.from, if args.to.is_some() { "live" } else { from }), or(&args.to, to))
}

fn named(version: &str) -> anyhow::Result<&str> {
    let is_name = !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric());
    let hint = "`storehand rules history RULE` names them; the beginning of a name will do";
    if is_name { Ok(version) } else { Err(Hinted::new(format!("`{version}` is no version"), hint).into()) }
}

/// A version's text, with the shop's own values for its inputs.
fn text(version: &Json) -> String {
    let mut text = version["text"].as_str().unwrap_or_default().to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, value) in version["tuning"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "# set by the shop: {name}: {value}");
    }
    text
}

/// How a shadow did, for people.
fn beside(shadow: &Json) -> String {
    let number = |name: &str| shadow[name].as_u64().unwrap_or_default();
    let mut said = format!(
        "\nThe shadow {} since {}: on {} at least one of the two ran; on {} both, on {} only the live version, on {} \
         only the shadow.\n{} came out the same, {} differ, {} not yet told.",
        short(&shadow["shadow"]),
        moment(&shadow["since"]),
        counted(number("events"), "event"),
        number("both"),
        number("only_live"),
        number("only_shadow"),
        number("same"),
        number("differ"),
        number("not_yet"),
    );
    if shadow["all"] == false {
        said.push_str("\nOlder events than these were not looked at: there are too many.");
    }
    let differing = shadow["differing"].as_array().map(Vec::as_slice).unwrap_or_default();
    if (differing.len() as u64) < number("differ") {
        let _ = write!(said, "\nThe first {} that differ:", differing.len());
    }
    for event in differing {
        let _ = write!(said, "\n{} {}", cell(event, "event"), cell(event, "subject"));
        for who in ["live", "shadow"] {
            let _ = write!(said, "\n  {who:<6}  {}", did(&event[who]));
        }
    }
    said
}

/// What a version did on an event.
fn did(it: &Json) -> String {
    if it["run"].is_null() {
        let why = &it["why_not"];
        if why.is_null() {
            return "did not run: it does not listen to this, or was not in force yet".to_owned();
        }
        let saw = why["saw"].as_array().into_iter().flatten();
        let saw: Vec<String> = saw
            .map(|pair| {
                format!("{} was {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
            })
            .collect();
        let saw = if saw.is_empty() { cell(why, "error") } else { saw.join(", ") };
        return format!("did not run: line {}, {}: {saw}", cell(why, "line"), cell(why, "clause"));
    }
    let write = |write: &Json| format!("{} {}", cell(write, "capability"), write["input"]);
    let writes: Vec<String> = it["writes"].as_array().into_iter().flatten().map(write).collect();
    let writes = if writes.is_empty() { "wrote nothing".to_owned() } else { writes.join("; ") };
    format!("{} {}: {writes}", cell(it, "run"), cell(it, "outcome"))
}

impl Activate {
    pub(super) async fn run(&self) -> anyhow::Result<ExitCode> {
        let wish = self.version.as_ref().map_or_else(|| json!({}), |version| json!({ "version": version }));
        self.change.run(&format!("{}/activate", page(&self.rule)?), wish).await
    }
}

impl Rollback {
    pub(super) async fn run(&self) -> anyhow::Result<ExitCode> {
        self.change.run(&format!("{}/rollback", page(&self.rule)?), json!({})).await
    }
}

impl Change {
    /// Says what would happen, asks, and has it done.
    async fn run(&self, page: &str, mut wish: Json) -> anyhow::Result<ExitCode> {
        if let Some(on_change) = self.on_change.and_then(|it| it.to_possible_value()) {
            wish["on_change"] = on_change.get_name().into();
        }
        let (server, shop) = (&self.at.server, self.at.shop());
        let place: Vec<&str> = page.split('/').filter(|part| !part.is_empty()).collect();
        let mut look = wish.clone();
        look["only_look"] = true.into();
        let foreseen = server.tell(&place, &shop, &look).await?;
        if !self.json {
            say(plan(&foreseen));
        }
        if !self.yes && !confirmed()? {
            let (what, hint) = if std::io::stdin().is_terminal() {
                ("nothing was done", "answer `y` to go ahead")
            } else {
                ("nothing was done: nobody is there to ask", "add --yes to go ahead")
            };
            out::report(&Hinted::new(what, hint).into());
            return Ok(ExitCode::from(2));
        }
        // What was agreed to, and nothing else: both may be other versions by now.
        if wish["version"].is_string() {
            wish["version"] = foreseen["version"].clone();
        }
        wish["instead_of"] = foreseen["instead_of"].clone();
        let done = server.tell(&place, &shop, &wish).await?;
        if self.json {
            say(pretty(&done));
        } else {
            say(format_args!("Done: {}", sentences(&done["says"])));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks on a terminal; `false` where there is none.
fn confirmed() -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    let mut out = std::io::stdout().lock();
    write!(out, "Go ahead? [y/N] ").and_then(|()| out.flush()).context("cannot ask")?;
    let mut answer = String::new();
    input.read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What would happen, for people.
fn plan(foreseen: &Json) -> String {
    let mut said = sentences(&foreseen["says"]);
    said.push('.');
    let waiting = &foreseen["waiting"];
    let number = |name: &str| waiting[name].as_u64().unwrap_or_default();
    let runs = number("runs");
    if runs == 0 {
        said.push_str("\nNo run is under way on another version.");
        return said;
    }
    let by = if foreseen["on_change_by"] == "rule" { "as the version says" } else { "as asked" };
    let (on_change, are) = (cell(foreseen, "on_change"), if runs == 1 { "is" } else { "are" });
    let _ = write!(said, "\n{} {are} under way on other versions; {by}, {on_change}:", counted(runs, "run"));
    match on_change.as_str() {
        "migrate" => {
            let (looked_at, stay) = (number("looked_at"), number("stay"));
            if looked_at < runs {
                let _ = write!(said, "\n  the oldest {looked_at} were tried:");
            }
            let _ = write!(said, "\n  {} would move to the new version\n  {stay} would stay on theirs", number("move"));
            for run in waiting["staying"].as_array().into_iter().flatten() {
                let _ = write!(said, "\n    {} on {}: {}", cell(run, "run"), short(&run["version"]), cell(run, "why"));
            }
            let named = waiting["staying"].as_array().map_or(0, Vec::len) as u64;
            if named < stay {
                let _ = write!(said, "\n    and {} more", stay - named);
            }
        }
        "cancel" => said.push_str("\n  each ends as cancelled; one at work finishes its step first"),
        _ => said.push_str("\n  each ends as it began, on its own version"),
    }
    said
}

fn sentences(says: &Json) -> String {
    let says: Vec<&str> = says.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    says.join("; ")
}

/// A version's name as people read it.
fn short(version: &Json) -> String {
    version.as_str().map_or_else(String::new, |version| version.chars().take(8).collect())
}

/// A moment to the second.
/// A moment, to the second.
pub(super) fn moment(at: &Json) -> String {
    let moment = at.as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    moment.map_or_else(String::new, |moment| format!("{moment:.0}"))
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_becomes_of_each_run() {
        let foreseen = |on_change: &str, waiting: Json| {
            plan(&json!({
                "says": ["version 2 goes live", "it stays so until a change is saved"],
                "on_change": on_change, "on_change_by": "rule", "waiting": waiting,
            }))
        };
        let head = "version 2 goes live; it stays so until a change is saved.\n";
        let none = foreseen("migrate", json!({ "runs": 0 }));
        assert_eq!(none, format!("{head}No run is under way on another version."));
        let staying = json!([{ "run": "run_1", "version": "0123456789", "why": "`order.tag` at `tag` was done" }]);
        let some =
            foreseen("migrate", json!({ "runs": 30, "looked_at": 20, "move": 18, "stay": 2, "staying": staying }));
        assert_eq!(
            some,
            format!(
                "{head}30 runs are under way on other versions; as the version says, migrate:\n  the oldest 20 were \
                 tried:\n  18 would move to the new version\n  2 would stay on theirs\n    run_1 on 01234567: \
                 `order.tag` at `tag` was done\n    and 1 more"
            )
        );
        assert!(foreseen("cancel", json!({ "runs": 1, "cancel": 1 })).contains("1 run is under way"));
    }

    #[test]
    fn the_versions_that_are_compared_are_those_that_are_worth_it() {
        let args = |from: Option<&str>, to: Option<&str>| Diff {
            rule: "r".into(),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            json: false,
            at: At { shop: None, server: Server::default() },
        };
        let compared = |args: &Diff, rule: Json| {
            let (from, to) = names(args, &rule);
            format!("{from} {to}")
        };
        let live = json!({ "version": "1" });
        let shadowed = json!({ "live": live, "shadow": { "version": "2" }, "file_version": "2" });
        assert_eq!(compared(&args(None, None), shadowed.clone()), "live shadow");
        assert_eq!(compared(&args(Some("ab"), None), shadowed.clone()), "ab shadow");
        assert_eq!(compared(&args(None, Some("ab")), shadowed), "live ab");
        assert_eq!(compared(&args(None, None), json!({ "live": live, "file_version": "2" })), "live file");
        assert_eq!(compared(&args(None, None), json!({ "live": live, "file_version": "1" })), "previous live");
        let alone = json!({ "live": null, "shadow": { "version": "2" }, "file_version": "2" });
        assert_eq!(compared(&args(None, None), alone), "shadow shadow");
    }

    #[test]
    fn what_a_version_did_names_the_run_or_the_clause() {
        let ran = json!({ "run": "run_1", "outcome": "done", "writes": [{ "capability": "order.tag", "input": { "tags": ["a"] } }] });
        assert_eq!(did(&ran), "run_1 done: order.tag {\"tags\":[\"a\"]}");
        let why = json!({ "why_not": { "line": 3, "clause": "order.total > 1", "saw": [["order.total", "1"]] } });
        assert_eq!(did(&why), "did not run: line 3, order.total > 1: order.total was 1");
        assert!(did(&json!({ "why_not": null })).contains("does not listen"));
    }
}
