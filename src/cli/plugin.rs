//! `storehand plugin …`: make one, check it, test it, pack and install it, and see what it wants.

mod carried;
mod made;
mod packed;
mod tried;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::events::pretty;
use super::{Global, Hinted, out, say};
use crate::app;
use crate::plugins::{Folder, Host, Installed, Manifest, Metering, Plugin, Pooling};

/// `storehand plugin`
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new plugin: a project that builds and passes its own tests
    New(made::New),
    /// Look whether manifest and component go together, and how large and quick they are
    Check {
        /// The plugin's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the tests of the rules in the plugin's `tests/` and `rules/`, and say what that took
    Test(tried::Test),
    /// Use one of its capabilities once, with nothing leaving the building, and show its calls and log
    Run(tried::Run),
    /// Make one file of it, to hand on
    Pack {
        /// The plugin's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Where to [default: NAME-VERSION.plugin in the working directory]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Sign it with the key in this file; where there is no such file, a key is made and written there
        #[arg(long, value_name = "FILE")]
        sign: Option<PathBuf>,
    },
    /// Install a plugin, or a new version of one: compiled now, used by new runs from then on
    Install {
        /// Its folder, or what `storehand plugin pack` has made
        from: PathBuf,
        /// Only where its digest (SHA-256) is this
        #[arg(long, value_name = "HEX")]
        digest: Option<String>,
        /// Copy the rules that come with it into this folder, a shop's; files that are there already stay as they are
        #[arg(long, value_name = "FOLDER")]
        rules: Option<PathBuf>,
    },
    /// Show what installed plugins want and why, and the table that grants it
    Grant {
        /// The plugin [default: all that are installed]
        name: Option<String>,
        /// The shop that the table is for
        #[arg(long, default_value = "NAME")]
        shop: String,
    },
}

pub(super) fn run(args: PluginArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::New(new) => new.run(),
        Verb::Check { folder, json } => check(&folder, json),
        Verb::Test(test) => test.run(),
        Verb::Run(run) => run.run(),
        Verb::Pack { folder, output, sign } => packed::pack(&folder, output, sign.as_deref()),
        Verb::Install { from, digest, rules } => {
            let config = global.load_to_look()?;
            let folder = Folder::within(config.store.folder());
            let unpacked = packed::unpacked(&from, digest.as_deref(), &config.plugins.keys)?;
            say_it_takes_long(unpacked.folder());
            let installed = folder.install(&host(Metering::Off)?, unpacked.folder())?;
            let Installed { manifest, digest, .. } = &installed;
            say(format_args!("{} {} is installed", manifest.name, manifest.version));
            say(
                "  a running server takes up a version of a plugin that it knows by itself; what is new to it, when it starts",
            );
            say(format_args!("  component: SHA-256 {digest}"));
            if let Some(key) = unpacked.signed_by() {
                say(format_args!("  signed by {key}"));
            }
            let lie = folder.rules_of(manifest);
            if lie.is_dir() {
                carried::bring(&lie, rules.as_deref(), app::unconnected_with_plugins(&config)?.catalog())?;
            }
            say_wants(manifest, "NAME");
            Ok(ExitCode::SUCCESS)
        }
        Verb::Grant { name, shop } => {
            let folder = Folder::within(global.load_to_look()?.store.folder());
            grant(&folder, name.as_deref(), &shop)
        }
    }
}

fn host(metering: Metering) -> anyhow::Result<Host> {
    // One at a time: no pool is worth its address space.
    Ok(Host::new(metering, Pooling::Off)?)
}

/// Says to who sits there that a large component takes its time: those that bring an engine along.
fn say_it_takes_long(folder: &Path) {
    let size = std::fs::metadata(folder.join("plugin.wasm")).map_or(0, |it| it.len());
    if size > 4 << 20 && std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr().lock(), "compiling {} MiB, which takes a while …", size >> 20);
    }
}

/// Looks at a plugin; what is wrong with it is an error.
fn check(folder: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let host = host(Metering::Off)?;
    say_it_takes_long(folder);
    let began = std::time::Instant::now();
    let (plugin, size) = Plugin::from_folder(&host, folder)?;
    let compiled = began.elapsed();
    let starts = plugin.starts_in(&host)?;
    let Manifest { name, version, licence, about, .. } = &plugin.manifest;
    let (size_kib, compiled_ms, starts_us) = (size >> 10, compiled.as_millis() as u64, starts.as_micros() as u64);
    let provides: Vec<String> = match &plugin.manifest.source {
        Some(_) => vec![format!("the source `{name}`: /hooks/SHOP/{name}")],
        None => plugin.manifest.capabilities.iter().map(|it| format!("`{name}/{}`: {}", it.name, it.about)).collect(),
    };
    if as_json {
        say(pretty(&json!({
            "name": name, "version": version, "licence": licence, "about": about, "provides": provides,
            "wants": plugin.manifest.wants.iter().map(|want| json!({ "grant": want.grant(), "why": want.why() })).collect::<Vec<_>>(),
            "size_kib": size_kib, "compiled_ms": compiled_ms, "starts_us": starts_us,
        })));
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("{name} {version} ({licence}): {about}"));
    provides.iter().for_each(|it| say(format_args!("  adds {it}")));
    for want in &plugin.manifest.wants {
        say(format_args!("  wants `{}`: {}", want.grant(), want.why()));
    }
    say(format_args!("  {size_kib} KiB, compiled in {compiled_ms} ms, an instance starts in {starts_us} µs"));
    Ok(ExitCode::SUCCESS)
}

fn grant(folder: &Folder, name: Option<&str>, shop: &str) -> anyhow::Result<ExitCode> {
    let current = folder.list().into_iter().filter(|it| it.is_current);
    let meant: Vec<Installed> = current.filter(|it| name.is_none_or(|name| name == it.manifest.name)).collect();
    if meant.is_empty() {
        let message = match name {
            Some(name) => format!("no plugin `{name}` is installed in {}", folder.path().display()),
            None => format!("no plugin is installed in {}", folder.path().display()),
        };
        return Err(Hinted::new(message, "`storehand plugin install FILE|DIR` installs one").into());
    }
    meant.iter().for_each(|it| say_wants(&it.manifest, shop));
    Ok(ExitCode::SUCCESS)
}

/// Says what a plugin wants, as the table that grants it.
fn say_wants(manifest: &Manifest, shop: &str) {
    let Manifest { name, version, about, wants, .. } = manifest;
    say(format_args!("# {name} {version}: {about}"));
    say("# In the configuration file, this grants it all; take out what it is not to have:");
    say(format_args!("[shop.{shop}.plugins.{name}]"));
    say("grant = [");
    for want in wants {
        say(format_args!("    {},    # {}", json!(want.grant()), out::shortened(want.why(), 200).replace('\n', " ")));
    }
    say("]");
    say(format_args!(
        "wants = \"{}\"    # a version that wants something else is denied until you say so",
        manifest.wants_digest()
    ));
}
