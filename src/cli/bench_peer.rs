//! The work of `storehand bench model`, done by llama.cpp through a Python that has `llama-cpp-python`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::json;

use super::bench_model::{BATCHES, Figures, READ_TOKENS, REPLY_TOKENS, WRITE_TOKENS};

/// Which Python, which model, how much of the machine.
pub(super) struct Peer<'a> {
    pub(super) python: &'a Path,
    pub(super) gguf: &'a Path,
    pub(super) threads: u16,
    pub(super) clients: u16,
}

/// What the script says on stdin's work, as JSON on its last line.
const SCRIPT: &str = include_str!("bench_peer.py");

/// Has the work done and its figures told.
pub(super) fn measure(peer: &Peer<'_>, policy: &str, turn: &str) -> anyhow::Result<Figures> {
    let work = json!({
        "gguf": peer.gguf, "threads": peer.threads, "clients": peer.clients, "policy": policy, "turn": turn,
        "read": READ_TOKENS, "write": WRITE_TOKENS, "batches": BATCHES, "reply": REPLY_TOKENS,
    });
    let mut child = Command::new(peer.python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{} does not start", peer.python.display()))?;
    let mut stdin = child.stdin.take().context("its input cannot be written")?;
    stdin.write_all(work.to_string().as_bytes())?;
    drop(stdin);
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    let line = said.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| {
        format!("{} has no llama-cpp-python, or it cannot do the work; it said: {line}", peer.python.display())
    })
}
