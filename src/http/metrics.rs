//! What is counted, in Prometheus' text format.
//!
//! Labels are shops and sources of the configuration and words of this file, never what a request says: a stranger
//! must not be able to fill the memory with names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::ShopId;

/// Upper edges of the latency histogram, in microseconds.
const EDGES_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Accepted,
    Repeated,
    Empty,
    Unsigned,
    Stale,
    Malformed,
    Unreadable,
    Full,
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Empty => "empty",
            Self::Unsigned => "unsigned",
            Self::Stale => "stale",
            Self::Malformed => "malformed",
            Self::Unreadable => "unreadable",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// The counters of one process. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    deliveries: BTreeMap<(ShopId, &'static str, Outcome), u64>,
    /// One more than there are edges: the last is for what took longer.
    latency: [u64; EDGES_US.len() + 1],
    latency_sum_us: u64,
}

impl Metrics {
    /// Counts a delivery that ended.
    pub(super) fn delivery(&self, shop: &ShopId, source: &'static str, outcome: Outcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.deliveries.entry((shop.clone(), source, outcome)).or_default() += 1;
    }

    /// Counts the time that accepting took.
    pub(super) fn accepted_in(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = EDGES_US.iter().position(|edge| took_us <= *edge).unwrap_or(EDGES_US.len());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.latency[place] += 1;
        counts.latency_sum_us = counts.latency_sum_us.saturating_add(took_us);
    }

    /// All of it; `waiting` deliveries wait for their commit.
    pub(super) fn text(&self, waiting: usize) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::from(
            "# HELP storehand_deliveries_total Deliveries by how they ended.\n# TYPE storehand_deliveries_total counter\n",
        );
        // Writing to a String cannot fail; names of shops and sources need no escaping.
        for ((shop, source, outcome), count) in &counts.deliveries {
            let outcome = outcome.as_str();
            let _ = writeln!(
                out,
                "storehand_deliveries_total{{shop=\"{shop}\",source=\"{source}\",outcome=\"{outcome}\"}} {count}"
            );
        }
        out.push_str(
            "# HELP storehand_accept_seconds Time from a delivery read to its events on disk.\n\
             # TYPE storehand_accept_seconds histogram\n",
        );
        let mut below = 0;
        for (edge, count) in EDGES_US.iter().zip(&counts.latency) {
            below += count;
            let _ = writeln!(out, "storehand_accept_seconds_bucket{{le=\"{}\"}} {below}", *edge as f64 / 1e6);
        }
        let all = below + counts.latency[EDGES_US.len()];
        let _ = writeln!(out, "storehand_accept_seconds_bucket{{le=\"+Inf\"}} {all}");
        let _ = writeln!(out, "storehand_accept_seconds_sum {}", counts.latency_sum_us as f64 / 1e6);
        let _ = writeln!(out, "storehand_accept_seconds_count {all}");
        let _ = writeln!(
            out,
            "# HELP storehand_intake_waiting Deliveries that wait for their commit.\n\
             # TYPE storehand_intake_waiting gauge\nstorehand_intake_waiting {waiting}"
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        let shop: ShopId = "acme".parse().expect("shop");
        metrics.delivery(&shop, "shopify", Outcome::Accepted);
        metrics.delivery(&shop, "shopify", Outcome::Accepted);
        metrics.delivery(&shop, "shopify", Outcome::Unsigned);
        for ms in [1, 3, 3, 60_000] {
            metrics.accepted_in(Duration::from_millis(ms));
        }
        let text = metrics.text(5);
        for line in [
            "storehand_deliveries_total{shop=\"acme\",source=\"shopify\",outcome=\"accepted\"} 2",
            "storehand_deliveries_total{shop=\"acme\",source=\"shopify\",outcome=\"unsigned\"} 1",
            "storehand_accept_seconds_bucket{le=\"0.001\"} 1",
            "storehand_accept_seconds_bucket{le=\"0.005\"} 3",
            "storehand_accept_seconds_bucket{le=\"5\"} 3",
            "storehand_accept_seconds_bucket{le=\"+Inf\"} 4",
            "storehand_accept_seconds_sum 60.007",
            "storehand_accept_seconds_count 4",
            "storehand_intake_waiting 5",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n---\n{text}");
        }
    }
}
