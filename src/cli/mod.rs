//! The command line: noun, then verb. One file a noun.
//!
//! Exit codes: 0 for good, 1 for *it found something* (or could not be done), 2 for wrong use. Errors go to
//! stderr as `error:`, their causes, and `hint:` with what to do.
//!
//! *Architecture Invariant*: the only room that reads arguments and writes to stdout. It decides nothing about
//! events, rules and runs: it asks the rooms below, or a running server, and prints what they say.

mod agree;
mod approvals;
mod archive;
mod backtest;
mod bench;
mod bench_backtest;
mod bench_engine;
mod bench_model;
mod bench_peer;
mod bench_plugins;
mod client;
mod dead;
mod demo;
mod demo_store;
mod doctor;
mod events;
mod load;
mod model;
mod model_eval;
mod model_train;
mod out;
mod pauses;
mod plugin;
mod replay;
mod rule_versions;
mod rules;
mod runs;
mod serve;
mod timeline;
mod token;
mod tried;
mod undo;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError};
use crate::domain::ShopId;
use crate::engine::Registry;
use crate::{app, shops};
pub(crate) use out::{Hinted, say};

const EXAMPLES: &str = "\
Examples:
  storehand demo                                  play a shop's morning, with nothing set up
  storehand doctor --config shop.toml             print every setting and what is wrong
  storehand serve --config shop.toml              take deliveries and run the rules
  storehand rules test rules/                     run the tests that rules carry
  storehand events why ev_0c3k5m7q9s1t3           why a rule ran, and why another did not

Exit codes: 0 good, 1 it found something, 2 wrong use.";

/// Automation rules for an online shop, with a language model in the process.
#[derive(Debug, Parser)]
#[command(name = "storehand", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command knows.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The configuration file [default: $STOREHAND_CONFIG, else storehand.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what waits for a person, and decide it
    Approvals(approvals::ApprovalsArgs),
    /// Measure what this machine can take
    Bench(bench::BenchArgs),
    /// Play a shop's morning against the real server, with nothing set up
    Demo(demo::DemoArgs),
    /// Print every setting with its origin, and look for what is wrong
    Doctor(doctor::DoctorArgs),
    /// Send an event to a running server, list events, ask why rules ran or did not
    Events(events::EventsArgs),
    /// Check rule files and run their tests; list rules, compare their versions, put one live or go back
    Rules(rules::RulesArgs),
    /// Get, convert, talk to and try out the language model; train what tells customers' wishes apart
    Model(model::ModelArgs),
    /// Make a plugin, check and test it, pack and install it, see what it wants
    Plugin(plugin::PluginArgs),
    /// List runs, show one with its calls
    Runs(runs::RunsArgs),
    /// Print the JSON Schema of rule files, for editors, or the reference of all that rules may use
    Schema {
        /// The reference, as Markdown
        #[arg(long)]
        reference: bool,
    },
    /// Take deliveries and run the rules, until told to stop (Ctrl-C)
    Serve(serve::ServeArgs),
    /// Make, list and end the tokens of those who may use the API
    Token(token::TokenArgs),
}

/// Reads the arguments, does what they say, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, anything else is wrong use; clap knows which stream and code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(cli)));
    result.unwrap_or_else(|error| {
        out::report(&error);
        // A configuration that cannot be used is wrong use.
        if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Approvals(args) => approvals::run(args).await,
        Command::Bench(args) => bench::run(args, &cli.global).await,
        Command::Demo(args) => demo::run(args, &cli.global).await,
        Command::Doctor(args) => doctor::run(&args, &cli.global).await,
        Command::Events(args) => events::run(args, &cli.global).await,
        Command::Rules(args) => rules::run(args, &cli.global).await,
        Command::Model(args) => model::run(args, &cli.global).await,
        Command::Plugin(args) => plugin::run(args, &cli.global),
        Command::Runs(args) => runs::run(args, &cli.global).await,
        Command::Schema { reference } => rules::schema(cli.global.registry()?.as_ref(), reference),
        Command::Serve(args) => serve::run(args, &cli.global).await,
        Command::Token(args) => token::run(args, &cli.global).await,
    }
}

impl Global {
    /// The configuration file, where there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let given = self.config.clone().or_else(|| std::env::var_os("STOREHAND_CONFIG").map(PathBuf::from));
        given.or_else(|| Some(PathBuf::from("storehand.toml")).filter(|file| file.exists()))
    }

    /// The configuration.
    pub(crate) fn load(&self) -> Result<Config, ConfigError> {
        let sources: Vec<&str> = shops::ALL.iter().map(|source| source.name()).collect();
        Config::load(self.file().as_deref(), &sources)
    }

    /// What rules may use here: Storehand's own capabilities and those of the installed plugins. Where no configuration is
    /// named and the one that lies about cannot be used, Storehand's own: rules are checked wherever they are written.
    pub(crate) fn registry(&self) -> anyhow::Result<Arc<Registry>> {
        match self.load_to_look() {
            Ok(config) => app::unconnected_with_plugins(&config),
            Err(_) if self.config.is_none() => app::unconnected(),
            Err(error) => Err(error.into()),
        }
    }

    /// The configuration without its secrets: for what connects to nothing.
    pub(crate) fn load_to_look(&self) -> Result<Config, ConfigError> {
        let sources: Vec<&str> = shops::ALL.iter().map(|source| source.name()).collect();
        Config::load_to_look(self.file().as_deref(), &sources)
    }
}

/// Writes the log to stderr. Called once, by what runs for long.
///
/// # Errors
/// Where the filter cannot be read.
pub(crate) fn start_log(filter: &str) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| Hinted::new(format!("log.filter: {error}"), "write \"info\" or \"info,storehand=debug\""))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

/// The shop that is named, else the only one there is.
pub(crate) fn the_shop<'c>(
    config: &'c Config,
    named: Option<&str>,
) -> anyhow::Result<(&'c ShopId, &'c crate::config::Shop)> {
    let hint = || match config.shops.keys().map(ToString::to_string).collect::<Vec<_>>() {
        none if none.is_empty() => "add `[shop.NAME]` to the configuration, or name one with `--config`".to_owned(),
        names => format!("name one with `--shop`: {}", names.join(", ")),
    };
    let mut all = config.shops.iter();
    match (named, all.len()) {
        (Some(named), _) => all
            .find(|(id, _)| id.as_str() == named)
            .ok_or_else(|| Hinted::new(format!("there is no shop `{named}`"), hint()).into()),
        (None, 1) => all.next().ok_or_else(|| Hinted::new("there is no shop", hint()).into()),
        (None, _) => Err(Hinted::new("it is not said which shop is meant", hint()).into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_use_is_told_apart_from_help() {
        let code = |args: &[&str]| Cli::try_parse_from(args).map_err(|error| error.exit_code());
        assert_eq!(code(&["storehand", "--help"]).err(), Some(0));
        assert_eq!(code(&["storehand", "evnts"]).err(), Some(2));
        assert_eq!(code(&["storehand"]).err(), Some(2));
        assert!(code(&["storehand", "doctor", "--config", "x.toml"]).is_ok());
    }
}
