//! Why a pass broke off, in words: one error for each way in which a component can go wrong.

use wasmtime::{Error, Trap};

use super::state::{State, Stop};
use crate::domain::Failure;

/// What became of a pass that did not come to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Broken {
    /// A call has no answer yet: nothing is broken.
    NotYet,
    /// The component's doing.
    Off(String),
    /// This host has no room for it just now.
    NoRoom(String),
}

impl Broken {
    /// Reads a pass's error.
    pub(super) fn of(error: &Error, state: &State) -> Self {
        match &state.stop {
            Some(Stop::NotYet) => return Self::NotYet,
            Some(Stop::Over(what)) => return Self::Off(what.clone()),
            Some(Stop::Exit(what)) => return Self::Off(what.clone()),
            None => {}
        }
        if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
            return Self::NoRoom("more plugins run at once than there is room for".to_owned());
        }
        let bounds = &state.bounds;
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::Interrupt) {
            return Self::Off(format!("it took longer than the {} ms that one pass may take", bounds.time_ms));
        }
        if trap == Some(&Trap::StackOverflow) {
            return Self::Off("it called itself too deep: its stack is used up".to_owned());
        }
        if state.memory.was_refused {
            return Self::Off(format!("it wants more than the {} MiB of memory that it has", bounds.memory_mib));
        }
        let text = format!("{error:#}");
        if text.contains("utf-8") || text.contains("UTF-8") {
            return Self::Off("it handed over a text that is not UTF-8".to_owned());
        }
        if text.contains("too much data") || text.contains("hostcall") || text.contains("fuel allocated") {
            return Self::Off(format!("it handed over more than {} MiB at once", super::border::MOST_AT_ONCE >> 20));
        }
        match trap {
            Some(Trap::UnreachableCodeReached) => Self::Off("it broke off (a panic, or `unreachable`)".to_owned()),
            Some(trap) => Self::Off(format!("it broke off: {}", trap.to_string().trim_start_matches("wasm trap: "))),
            None => Self::Off(format!("it broke off: {}", first_line(&text))),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// The answer of a call whose plugin broke off.
pub(super) fn failure(plugin: &str, what: &str) -> Failure {
    Failure::new("plugin_broke", format!("the plugin `{plugin}`: {what}"))
}
