//! Asking before something is done that touches much.

use std::io::{IsTerminal as _, Write as _};

use super::Hinted;

/// Whether it may be done. Asked on a terminal only.
///
/// # Errors
/// Where nobody can be asked and `--yes` was not given.
pub(super) fn agreed(question: &str, yes: Yes) -> anyhow::Result<bool> {
    if yes == Yes::Given {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(
            Hinted::new("this is no terminal, so nobody can be asked", "look at the list, then add --yes").into()
        );
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether `--yes` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Yes {
    /// It was.
    Given,
    /// It was not: ask.
    Ask,
}

impl From<bool> for Yes {
    fn from(given: bool) -> Self {
        if given { Self::Given } else { Self::Ask }
    }
}
