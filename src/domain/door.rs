//! The one door: how steps, scripts and plugins reach the world.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// What a run is handed to reach the world. The engine puts the run's journal behind it, a rule test its mocks.
pub trait Door {
    /// Asks `capability` for something. The call's identity within the run is `path`.
    ///
    /// On [`Asked::NotYet`] the caller stops where it is; it will be run again from its start when there is an
    /// answer.
    fn ask(&mut self, path: &str, capability: &str, input: Json, options: AskOptions) -> Asked;
}

/// What the door says.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Answered, now or in an earlier life of this run.
    Answered(Answer),
    /// Written down; stop here.
    NotYet,
}

/// What may be said with a call beside its input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskOptions {
    /// How often and how patiently to try; the capability's own way where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The step's id, for people: `draft`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The version of the program that answers it, where one does: the call stays on it. The door writes it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How often and how patiently a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, 1 to 20.
    pub attempts: u32,
    /// Pause after the first failure; it doubles each time.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for Retry {
    /// 8 attempts within about four hours.
    fn default() -> Self {
        Self { attempts: 8, first: Duration::from_secs(5), max: Duration::from_secs(2 * 3600) }
    }
}

impl Retry {
    /// The pause after the `failed`th failure (1 is the first), spread by up to ±20 % by `spread` in 0..=1 so
    /// that a crowd does not come back at once. Never shorter than what the other side asked for.
    pub fn pause(&self, failed: u32, spread: f64, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        let pause = doubled.min(self.max).mul_f64(0.8 + 0.4 * spread.clamp(0.0, 1.0));
        pause.max(asked.unwrap_or_default())
    }
}

/// A call's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done, and this came back.
    Done(Json),
    /// It was not done.
    Failed(Failure),
}

/// Why a call was not done. Rules may handle it (`on_error`, `try`); else it ends the run as failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// Stable: `denied`, `invalid_input`, `limited`, `refused`, `retries_used_up`, `unknown_given_up`,
    /// `policy_violation`, …
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// What belongs to it: for `policy_violation` the text that was held back.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub detail: Json,
}

impl Failure {
    /// A failure without detail.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), detail: Json::Null }
    }
}

/// The digest of a call: its capability and its canonical input (keys sorted), SHA-256 in hex, 32 digits kept.
///
/// The same path with another digest means that the run has diverged from its journal.
pub fn digest(capability: &str, input: &Json) -> String {
    // serde_json keeps keys in the order in which they came: llguidance wants it so, for the whole program.
    let mut input = input.clone();
    input.sort_all_objects();
    let mut hash = Sha256::new();
    hash.update(capability.as_bytes());
    hash.update([0]);
    hash.update(input.to_string().as_bytes());
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn digest_ignores_the_order_of_keys_and_sees_everything_else() {
        let one: Json = serde_json::from_str(r#"{"a":1,"b":{"d":2,"c":3}}"#).expect("json");
        let same: Json = serde_json::from_str(r#"{"b":{"c":3,"d":2},"a":1}"#).expect("json");
        assert_eq!(digest("log", &one), digest("log", &same));
        assert_ne!(digest("log", &one), digest("wait", &one));
        assert_ne!(digest("log", &json!({"a": 1})), digest("log", &json!({"a": "1"})));
    }

    proptest! {
        #[test]
        fn pauses_grow_and_stay_bounded(failed in 1_u32..100, spread in 0.0_f64..=1.0, asked in 0_u64..10_000) {
            let retry = Retry::default();
            let asked = Duration::from_secs(asked);
            let pause = retry.pause(failed, spread, Some(asked));
            prop_assert!(pause >= asked && pause >= retry.first.mul_f64(0.79));
            prop_assert!(pause <= retry.max.mul_f64(1.21).max(asked));
            prop_assert!(retry.pause(failed + 1, spread, None) >= retry.pause(failed, spread, None));
        }
    }
}
