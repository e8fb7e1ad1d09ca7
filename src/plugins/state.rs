//! What one pass of a component has and may use: its store's data.

use sha2::{Digest as _, Sha256};
use wasmtime::ResourceLimiter;

use super::manifest::{Bounds, MOST_TABLE_ELEMENTS};
use crate::domain::ProgramDoor;

/// What one pass has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Linear memory at its peak, in bytes.
    pub memory: usize,
    /// Instructions, where they were counted.
    pub fuel: Option<u64>,
    /// Calls, log lines not counted.
    pub calls: u32,
}

/// Why the host ended a pass, where it was not the component's own doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A call has no answer yet.
    NotYet,
    /// A bound was gone over: which, in words.
    Over(String),
    /// It called for something of WASI that is not here.
    Exit(String),
}

/// The data of one store.
pub(super) struct State {
    pub(super) door: Option<Box<dyn ProgramDoor>>,
    pub(super) stop: Option<Stop>,
    pub(super) path: u32,
    pub(super) calls: u32,
    pub(super) lines: u32,
    pub(super) bounds: Bounds,
    pub(super) chance: Chance,
    /// Seconds since 1970, where there is no door to ask.
    pub(super) now: u64,
    pub(super) memory: Memory,
}

impl State {
    pub(super) fn new(bounds: Bounds, seed: [u8; 32], now: u64, door: Option<Box<dyn ProgramDoor>>) -> Self {
        let memory = Memory { most: bounds.memory_mib << 20, now: 0, peak: 0, was_refused: false };
        let chance = Chance { seed, at: 0 };
        Self { door, stop: None, path: 0, calls: 0, lines: 0, bounds, chance, now, memory }
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        let now = self.door.as_ref().map_or(self.now, |door| u64::try_from(door.now().as_second()).unwrap_or(0));
        now.max(self.now)
    }

    /// Ends the pass for the host's own reason; the first one counts.
    pub(super) fn end(&mut self, stop: Stop) -> wasmtime::Error {
        self.stop.get_or_insert(stop);
        wasmtime::Error::msg("ended by the host")
    }
}

/// Chance that is none: the same numbers in every pass over the same call.
pub(super) struct Chance {
    seed: [u8; 32],
    at: u64,
}

impl Chance {
    /// The next 8 bytes.
    pub(super) fn next(&mut self) -> u64 {
        let digest = Sha256::new().chain_update(self.seed).chain_update(self.at.to_le_bytes()).finalize();
        self.at += 1;
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// The linear memory of all modules of a component, together.
pub(super) struct Memory {
    most: usize,
    now: usize,
    pub(super) peak: usize,
    pub(super) was_refused: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        let all = self.now.saturating_sub(current).saturating_add(desired);
        if all > self.most {
            self.was_refused = true;
            return Ok(false);
        }
        self.now = all;
        self.peak = self.peak.max(all);
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _most: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MOST_TABLE_ELEMENTS {
            self.was_refused = true;
        }
        Ok(desired <= MOST_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        256
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
