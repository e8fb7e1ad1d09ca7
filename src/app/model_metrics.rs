//! The model's figures in Prometheus' text format.

use std::fmt::Write as _;

use crate::models::{FIRST_TOKEN_EDGES_MS, Stats};

/// All of them.
pub(super) fn text(stats: &Stats) -> String {
    let mut out = String::new();
    let seconds = |us: u64| us as f64 / 1e6;
    for (name, kind, help, value) in [
        ("requests", "gauge", "Requests to the model that wait or are answered.", stats.requests as f64),
        ("queued_tokens", "gauge", "Tokens of their prompts and of what they may write.", stats.queued_tokens as f64),
        ("rows", "gauge", "Rows that are read or written.", stats.rows as f64),
        ("prefix_cache_bytes", "gauge", "Memory of kept beginnings of prompts.", stats.cache_bytes as f64),
        ("read_tokens_total", "counter", "Tokens of prompts read.", stats.read_tokens as f64),
        ("cached_tokens_total", "counter", "Tokens of prompts that were in the cache.", stats.cached_tokens as f64),
        ("written_tokens_total", "counter", "Tokens written.", stats.written_tokens as f64),
        ("reading_seconds_total", "counter", "Time spent reading prompts.", seconds(stats.reading_us)),
        ("writing_seconds_total", "counter", "Time spent writing.", seconds(stats.writing_us)),
        ("writes_total", "counter", "Runs that wrote a token to each row.", stats.writes as f64),
        ("failures_total", "counter", "Requests that the runtime failed on.", stats.failures as f64),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "# HELP storehand_model_{name} {help}\n# TYPE storehand_model_{name} {kind}\nstorehand_model_{name} {value}"
        );
    }
    let name = "storehand_model_first_token_seconds";
    let _ = writeln!(out, "# HELP {name} Time from a request's arrival to its first token.\n# TYPE {name} histogram");
    let mut below = 0;
    for (edge, count) in FIRST_TOKEN_EDGES_MS.iter().zip(&stats.first_token) {
        below += count;
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {below}", *edge as f64 / 1e3);
    }
    let all: u64 = stats.first_token.iter().sum();
    let sum = stats.first_token_sum_ms as f64 / 1e3;
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_its_line() {
        let mut stats = Stats { rows: 3, written_tokens: 7, reading_us: 1_500_000, ..Stats::default() };
        (stats.first_token[1], stats.first_token[10], stats.first_token_sum_ms) = (2, 1, 40_100);
        let text = text(&stats);
        for line in [
            "storehand_model_rows 3",
            "storehand_model_written_tokens_total 7",
            "storehand_model_reading_seconds_total 1.5",
            "storehand_model_first_token_seconds_bucket{le=\"0.05\"} 2",
            "storehand_model_first_token_seconds_bucket{le=\"+Inf\"} 3",
            "storehand_model_first_token_seconds_sum 40.1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n---\n{text}");
        }
    }
}
