//! A rerun's report, for people.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::cli::out::{self, counted};
use crate::engine::reruns::{Came, Change, Compared, Corpus, Report, State};

/// The most characters of an answer.
const LONGEST: usize = 300;

/// How many prompts there are.
pub(super) fn found(corpus: &Corpus) -> String {
    let left_out = match corpus.left_out {
        0 => String::new(),
        left_out => format!("; {left_out} left out, which no model had answered, or whose customer was forgotten"),
    };
    format!("{}{left_out}", counted(corpus.prompts.len() as u64, "prompt"))
}

/// The whole report.
pub(super) fn text(report: &Report, left_out: usize, shown: usize) -> String {
    let all = report.prompts.len();
    let share = |number: usize| format!("{number} ({:.0} %)", 100.0 * number as f64 / all.max(1) as f64);
    let mut told = format!("{} asked of {}\n\n", counted(all as u64, "prompt"), report.model);
    let rows = [
        vec!["goes out".to_owned(), share(report.out[0]), share(report.out[1])],
        vec!["held back, or no answer".to_owned(), share(all - report.out[0]), share(all - report.out[1])],
        vec![
            "tokens written".to_owned(),
            report.completion_tokens[0].to_string(),
            report.completion_tokens[1].to_string(),
        ],
    ];
    told += &out::table(&["", "THEN", "NOW"], &rows);
    told += "\n";
    for change in Change::ALL {
        let number = report.changes.get(&change).copied().unwrap_or_default();
        if number > 0 {
            let _ = writeln!(told, "{:<28} {}", word(change), share(number));
        }
    }
    let [same, known] = report.same_prompt;
    let _ = writeln!(told, "{:<28} {same} of {known} on record", "the very same prompt read");
    let each = report.seconds / all.max(1) as f64;
    let _ = writeln!(told, "{:<28} {:.1} s, {each:.2} s a prompt", "took", report.seconds);
    if left_out > 0 {
        let _ = writeln!(told, "{:<28} {left_out} (not answered by a model then, or forgotten)", "left out");
    }
    let mut differing: Vec<&Compared> = report.prompts.iter().filter(|it| it.change != Change::Same).collect();
    // The worst first.
    differing.sort_by_key(|it| std::cmp::Reverse(it.change));
    for it in differing.iter().take(shown) {
        let _ = write!(told, "\n{} {} {}: {}\n", it.rule, it.uses, it.call, word(it.change));
        for (side, came) in [("then", &it.then), ("now", &it.now)] {
            let _ = writeln!(told, "  {side:<4} {}", line(came));
        }
    }
    if differing.len() > shown {
        let _ = write!(told, "\n{} more come out otherwise (`--limit-shown` shows more)\n", differing.len() - shown);
    }
    told.truncate(told.trim_end().len());
    told
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Same => "the same",
        Change::Reworded => "other words",
        Change::LetOut => "goes out now",
        Change::StillHeldBack => "still does not go out",
        Change::HeldBack => "HELD BACK now",
        Change::NoAnswer => "NO ANSWER now",
    }
}

fn line(came: &Came) -> String {
    let said = match &came.said {
        Json::Null => String::new(),
        Json::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        data => data.to_string(),
    };
    let said = out::shortened(&said, LONGEST);
    match (&came.why, came.state) {
        (Some(why), State::HeldBack | State::NoAnswer) if said.is_empty() => format!("– {why}"),
        (Some(why), _) => format!("{said}\n       – {why}"),
        (None, _) => said,
    }
}
