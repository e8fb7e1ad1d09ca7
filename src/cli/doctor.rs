//! `storehand doctor`: every setting with its origin, and what is wrong with this machine.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::events::pretty;
use super::{Global, out, say};
use crate::config::{Config, Enabled, Origin, Shop};
use crate::domain::ShopId;
use crate::models::main_graph;

/// What a mail with some pictures comes to as a form, in bytes.
const LARGE_MAIL: usize = 16 << 20;

/// `storehand doctor`
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What looking at one thing came to.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    state: State,
    what: String,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Note,
    Wrong,
}

impl Finding {
    fn ok(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { state: State::Ok, what: what.into(), detail: detail.into(), hint: String::new() }
    }

    fn note(what: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Note, what: what.into(), detail: detail.into(), hint: hint.into() }
    }

    fn wrong(what: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Wrong, what: what.into(), detail: detail.into(), hint: hint.into() }
    }
}

/// Prints what there is and what is wrong; 1 where something is.
pub(super) async fn run(args: &DoctorArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let (settings, findings) = match global.load() {
        Ok(config) => {
            let mut findings = look(&config);
            findings.extend(upstreams(&config).await);
            findings.extend(inboxes(&config).await);
            (config.settings, findings)
        }
        Err(error) => {
            let wrong = |it: crate::config::Mistake| {
                let what =
                    if it.key.is_empty() { it.origin.to_string() } else { format!("{} ({})", it.key, it.origin) };
                Finding::wrong(what, it.message, it.hint.unwrap_or_default())
            };
            (Vec::new(), error.mistakes.into_iter().map(wrong).collect())
        }
    };
    if args.json {
        let settings: Vec<_> = settings
            .iter()
            .map(|it| json!({ "key": it.key, "value": it.value, "origin": it.origin.to_string() }))
            .collect();
        say(pretty(&json!({ "settings": settings, "findings": findings })));
    } else {
        if !settings.is_empty() {
            let row = |it: &crate::config::Setting| vec![it.key.clone(), it.value.clone(), it.origin.to_string()];
            say(out::table(&["SETTING", "VALUE", "FROM"], &settings.iter().map(row).collect::<Vec<_>>()));
            say("");
        }
        findings.iter().for_each(|finding| say(told(finding)));
    }
    let wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn told(finding: &Finding) -> String {
    let word = match finding.state {
        State::Ok => "ok   ",
        State::Note => "note ",
        State::Wrong => "WRONG",
    };
    let hint = if finding.hint.is_empty() { String::new() } else { format!("\n      hint: {}", finding.hint) };
    format!("{word} {}: {}{hint}", finding.what, finding.detail)
}

/// Looks at everything that the configuration speaks of.
fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![listen(config), data_folder(config.store.folder())];
    findings.extend(model(config));
    if config.shops.is_empty() {
        findings.push(Finding::wrong("shops", "there is none", "add a `[shop.NAME]` table to the configuration"));
    }
    config.shops.iter().for_each(|(id, shop)| findings.extend(look_at_shop(id, shop, config.server.body_limit)));
    findings.extend(heads(config));
    findings.extend(readable_by_all(config));
    findings
}

fn listen(config: &Config) -> Finding {
    let address = config.server.listen;
    match TcpListener::bind(address) {
        Ok(_) if address.ip().is_loopback() => Finding::ok("server.listen", format!("{address} is free")),
        Ok(_) => Finding::note(
            "server.listen",
            format!("{address} can be reached from other machines, without TLS"),
            "listen on 127.0.0.1 and let a web server with TLS stand before it",
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::note(
            "server.listen",
            format!("{address} is taken"),
            "that is right while `storehand serve` runs; else choose another port",
        ),
        Err(error) => {
            Finding::wrong("server.listen", format!("{address}: {error}"), "choose an address of this machine")
        }
    }
}

/// Whether a file can be made there; in its nearest parent that exists, where it has yet to be made.
fn data_folder(folder: &Path) -> Finding {
    let exists = |path: &&Path| path.is_dir();
    let here = Path::new(".");
    let nearest = folder.ancestors().map(|path| if path.as_os_str().is_empty() { here } else { path }).find(exists);
    let nearest = nearest.unwrap_or(here);
    let trial = nearest.join(format!(".storehand-doctor-{}", std::process::id()));
    let written = std::fs::write(&trial, b"x").and_then(|()| std::fs::remove_file(&trial));
    match written {
        Ok(()) if nearest == folder => Finding::ok("data folder", format!("{} can be written", folder.display())),
        Ok(()) => Finding::ok("data folder", format!("{} will be made", folder.display())),
        Err(error) => Finding::wrong(
            "data folder",
            format!("nothing can be written to {}: {error}", nearest.display()),
            "change its owner, or set `store.url`",
        ),
    }
}

fn model(config: &Config) -> Vec<Finding> {
    let model = &config.model;
    if model.enabled == Enabled::Off {
        return vec![Finding::ok("model", "off")];
    }
    let look = |what: &str, path: PathBuf, without: &str| {
        if path.exists() {
            return Finding::ok(what, path.display().to_string());
        }
        let detail = format!("{} is missing", path.display());
        let hint = "`storehand model fetch` gets it";
        match model.enabled {
            Enabled::On => Finding::wrong(what, detail, hint),
            _ => Finding::note(what, format!("{detail}: {without}"), hint),
        }
    };
    let writes = "rules that write with the model will fail";
    let mut findings = vec![
        look("model", main_graph(&model.model_folder()), writes),
        look("model's library", model.library_file(), writes),
    ];
    findings.push(match model.encoder_folder() {
        None => Finding::ok("model.encoder", "none: rules that classify with it will fail"),
        Some(folder) => look("model.encoder", folder.join("model.onnx"), "rules that classify with it will fail"),
    });
    findings
}

fn look_at_shop(id: &ShopId, shop: &Shop, body_limit: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rules = format!("shop.{id}.rules");
    findings.push(match std::fs::read_dir(&shop.rules) {
        Ok(_) => Finding::ok(&rules, format!("{} (`storehand rules check` reads them)", shop.rules.display())),
        Err(error) => {
            Finding::wrong(&rules, format!("{}: {error}", shop.rules.display()), "set the folder of its rules")
        }
    });
    if shop.sources.is_empty() && shop.inbox.is_none() {
        findings.push(Finding::wrong(
            format!("shop.{id}.sources"),
            "no deliveries can come in",
            format!("add `[shop.{id}.sources.shopify]` with `secrets = [\"env:NAME\"]`"),
        ));
    }
    for (name, secrets) in &shop.sources {
        let live = secrets.iter().count();
        let detail = format!("{live} live secret{}", if live == 1 { "" } else { "s" });
        findings.push(match live {
            1 | 2 => Finding::ok(format!("shop.{id}.sources.{name}"), detail),
            _ => Finding::note(
                format!("shop.{id}.sources.{name}"),
                detail,
                "two are enough while they are rotated; remove the old ones",
            ),
        });
    }
    if shop.sources.contains_key("mailgun") && body_limit < LARGE_MAIL {
        findings.push(Finding::note(
            format!("shop.{id}.sources.mailgun"),
            format!("mails of more than {} KiB are refused, files included", body_limit >> 10),
            "set `server.body_limit` to \"32 MiB\" where customers send pictures",
        ));
    }
    if shop.shopify.is_none() {
        let hint = format!("add `[shop.{id}.shopify]`");
        findings.push(Finding::note(format!("shop.{id}.shopify"), "rules cannot act on its orders", hint));
    }
    if shop.mail.is_none() {
        let hint = format!("add `[shop.{id}.mail]`");
        findings.push(Finding::note(format!("shop.{id}.mail"), "rules cannot send mail", hint));
    }
    findings
}

/// What shops have trained: whether it can be read, and answers for the encoder that is in use.
fn heads(config: &Config) -> Vec<Finding> {
    let encoder = config.model.encoder_folder();
    let encoder = encoder.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let mut findings = Vec::new();
    for id in config.shops.keys() {
        let what = format!("shop.{id} heads");
        let listed = match crate::app::heads(config).list(&id.to_string()) {
            Ok(listed) => listed,
            Err(error) => {
                findings.push(Finding::wrong(what, error.to_string(), "remove the file, and train the head again"));
                continue;
            }
        };
        for kept in listed.iter().filter(|kept| kept.current) {
            let (trained_with, _) = &kept.head.encoder;
            let made = kept.head.made.strftime("%Y-%m-%d");
            let detail = format!("{} {}, trained {made} with {trained_with}", kept.name, kept.version);
            findings.push(if *trained_with == encoder {
                Finding::ok(&what, detail)
            } else {
                let hint = "train it again, or set `model.encoder` back";
                Finding::note(&what, format!("{detail}, which is not the encoder in use: it answers nothing"), hint)
            });
        }
    }
    findings
}

/// Asks the models on other servers whether they are there, and says what they mean for what customers write.
async fn upstreams(config: &Config) -> Vec<Finding> {
    let models = match crate::app::language_models(config, None) {
        Ok(models) => models,
        Err(error) => return vec![Finding::wrong("model.upstreams", error.to_string(), "correct the setting")],
    };
    let mut findings = Vec::new();
    for model in models.all().map(|known| &known.model) {
        let what = format!("model.upstreams.{}", model.name());
        let hint = "tell your customers that their messages may be read there, or take the upstream out";
        let leaves = "what it is asked leaves this building, customers' words and names with it";
        findings.push(match model.look().await {
            Ok(true) => Finding::note(what, format!("it is there; {leaves}"), hint),
            Ok(false) => Finding::note(what, format!("it is there and does not list its `model`; {leaves}"), hint),
            Err(error) => Finding::wrong(what, error.to_string(), "correct the setting, or try again later"),
        });
    }
    findings
}

/// Logs in to the mailboxes that are looked into: nothing else tells whether that works.
async fn inboxes(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, shop) in &config.shops {
        let what = format!("shop.{id}.inbox");
        let inbox = match crate::app::inbox(shop) {
            Ok(None) => continue,
            Ok(Some((inbox, _))) => inbox,
            Err(error) => {
                findings.push(Finding::wrong(what, error.to_string(), "correct the setting"));
                continue;
            }
        };
        findings.push(match inbox.try_out().await {
            Ok(mails) => Finding::ok(what, format!("{} can be read, {mails} mails are in it", inbox.name())),
            Err(error) => {
                let said = error.to_string();
                let (detail, hint) = said.split_once("\n  hint: ").unwrap_or((&said, "try again later"));
                Finding::wrong(what, detail, hint)
            }
        });
    }
    findings
}

/// A file with secrets in it is nobody else's to read.
#[cfg(unix)]
fn readable_by_all(config: &Config) -> Option<Finding> {
    use std::os::unix::fs::PermissionsExt as _;
    let written_out = |it: &crate::config::Setting| {
        matches!(it.origin, Origin::File(..)) && it.value.replace("••• (", "").contains("•••")
    };
    let file = config.file.as_ref().filter(|_| config.settings.iter().any(written_out))?;
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    (mode & 0o044 != 0).then(|| {
        Finding::note(
            file.display().to_string(),
            "others can read this file, and secrets stand in it",
            format!("chmod 600 {}, or write `env:NAME` or `file:PATH` in their place", file.display()),
        )
    })
}

#[cfg(not(unix))]
fn readable_by_all(_: &Config) -> Option<Finding> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(text: &str) -> Vec<Finding> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("rules")).expect("rules");
        let file = folder.path().join("shop.toml");
        std::fs::write(&file, text).expect("file");
        look(&Config::load(Some(&file), &["shopify"]).expect("config"))
    }

    fn states(findings: &[Finding], what: &str) -> Vec<State> {
        findings.iter().filter(|it| it.what.contains(what)).map(|it| it.state).collect()
    }

    #[test]
    fn a_good_shop_has_nothing_wrong() {
        let findings = look_at(
            "[server]\nlisten = \"127.0.0.1:0\"\n[model]\nenabled = \"off\"\n[shop.acme]\ncurrency = \"EUR\"\n\
             [shop.acme.sources.shopify]\nsecrets = [\"s\"]\n",
        );
        assert!(findings.iter().all(|it| it.state != State::Wrong), "{findings:?}");
        assert_eq!(states(&findings, "shop.toml"), [State::Note], "a secret that others can read");
    }

    #[test]
    fn what_is_wrong_is_found() {
        let findings = look_at(
            "[server]\nlisten = \"192.0.2.1:1\"\n[store]\nurl = \"sqlite:///proc/nowhere/x.db\"\n[model]\n\
             enabled = \"on\"\n[shop.acme]\ncurrency = \"EUR\"\nrules = \"gone\"\n",
        );
        for what in ["server.listen", "data folder", "model", "shop.acme.rules", "shop.acme.sources"] {
            let states = states(&findings, what);
            assert!(!states.is_empty() && states.iter().all(|state| *state == State::Wrong), "{what}: {findings:?}");
        }
        assert!(findings.iter().filter(|it| it.state == State::Wrong).all(|it| !it.hint.is_empty()));
    }
}
