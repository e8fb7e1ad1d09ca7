//! `storehand serve`: take deliveries and run the rules, until told to stop.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Global, say, start_log};
use crate::app::{App, Instead};

/// `storehand serve`
#[derive(Debug, Args)]
pub(super) struct ServeArgs {}

pub(super) async fn run(_args: ServeArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    start_log(&config.log_filter)?;
    let app = App::start(&config, Instead::default()).await?;
    if let Some(token) = &app.first_token {
        say(format!("The first token, shown this once: {}", token.reveal()));
    }
    say(format!("Storehand listens on http://{}", app.address));
    for (shop, settings) in &config.shops {
        for source in settings.sources.keys() {
            say(format!("  deliveries of {source}: /hooks/{shop}/{source}"));
        }
        if let Some(inbox) = &settings.inbox {
            say(format!("  mail of {} on {}", inbox.user, inbox.host));
        }
    }
    stopped().await?;
    tracing::info!("finishing what is under way");
    app.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Returns when the process is asked to end: Ctrl-C or SIGTERM.
///
/// # Errors
/// Where the system lets nobody listen for signals.
pub(super) async fn stopped() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}
