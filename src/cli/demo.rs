//! `storehand demo`: a shop's morning, played against the real server and told as it happens; `demo store`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::serve::stopped;
use super::{Global, Hinted, demo_store, model, say};
use crate::app::{App, Instead};
use crate::config::Config;
use crate::demo::{DemoShop, Reached, Scene, Signed, Signer, morning};
use crate::domain::{Answer, End, RunId, Secret, ShopId};
use crate::engine::{Happening, What};
use crate::models::Settings;
use crate::shops;

/// `storehand demo`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DemoArgs {
    #[command(subcommand)]
    what: Option<Place>,
    /// The rules that the shop uses
    #[arg(long, value_name = "FOLDER", default_value = "rules")]
    rules: PathBuf,
    /// Where the data goes; a new folder in it for each demo
    #[arg(long, value_name = "FOLDER", default_value = "data")]
    data: PathBuf,
    /// Without the language model: rules take their fallback texts
    #[arg(long)]
    without_model: bool,
    /// Keep the server up at the end even where this is no terminal
    #[arg(long)]
    stay: bool,
}

#[derive(Debug, Subcommand)]
enum Place {
    /// Open a store to connect a shop of your configuration to: its Admin API, webhooks and mailbox, and a till to use
    Store(demo_store::StoreArgs),
}

const SHOPIFY_SECRET: &str = "demo-shopify-secret";
/// `whsec_` and base64 of 24 bytes.
const STANDARD_SECRET: &str = "whsec_c3RvcmVoYW5kLWRlbW8tc2VjcmV0LTAx";
const ADMIN_TOKEN: &str = "demo-admin-token";

pub(super) async fn run(args: DemoArgs, global: &Global) -> anyhow::Result<ExitCode> {
    if let Some(Place::Store(store)) = args.what {
        return demo_store::run(store, global).await;
    }
    if !args.rules.is_dir() {
        let message = format!("there is no rules folder at {}", args.rules.display());
        return Err(Hinted::new(message, "run the demo in Storehand's own folder, or name one with --rules").into());
    }
    let model = if args.without_model { None } else { Some(model::get(&global.load()?, None).await?) };
    let now = Timestamp::now();
    let folder = args.data.join(format!("demo-{}", now.strftime("%Y%m%d-%H%M%S")));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let teller = Arc::new(Teller::default());
    let told = teller.clone();
    let shop = DemoShop::new(ADMIN_TOKEN).watched(move |reached| told.reached(reached));
    let stop = CancellationToken::new();
    let endpoint = shop.start(stop.clone()).await.context("the demo shop gets no port")?;
    let id: ShopId = "demo".parse()?;
    let config = config(&folder, &args.rules, model.as_ref(), &endpoint)?;
    let mailers = BTreeMap::from([(id.clone(), Arc::new(shop.mailer()) as _)]);
    let started = Instant::now();
    let app = App::start(&config, Instead { mailers, ..Instead::default() }).await?;
    say(format!(
        "Storehand is up on http://{} after {:.1} s, with its data in {} and {}.",
        app.address,
        started.elapsed().as_secs_f64(),
        folder.display(),
        app.model
            .as_ref()
            .map_or_else(|| "no language model".to_owned(), |model| format!("the model {}", model.name())),
    ));

    let listening = tokio::spawn(listen(app.engine.watch(), teller.clone()));
    let signer = Signer { shopify: Secret::new(SHOPIFY_SECRET), standard: Secret::new(STANDARD_SECRET) };
    let scenes = morning(&shop, &signer, now);
    let played = tokio::select! {
        played = play(&app, &scenes, &teller) => Some(played),
        stopped = stopped() => { stopped?; None }
    };
    let finished = match played {
        Some(played) => {
            played?;
            summary(&app, &shop, &id, &folder, &teller).await?;
            if args.stay || std::io::stdout().is_terminal() {
                say("The shop stays open for a look around. Ctrl-C ends it.");
                stopped().await?;
            }
            true
        }
        None => false,
    };
    if !finished {
        say("\nEnding: what is under way is finished first.");
    }
    app.stop().await;
    stop.cancel();
    listening.abort();
    Ok(ExitCode::SUCCESS)
}

/// The configuration that a merchant would have written.
fn config(folder: &Path, rules: &Path, model: Option<&Settings>, endpoint: &str) -> anyhow::Result<Config> {
    let quoted = |path: &Path| -> anyhow::Result<String> {
        Ok(toml::Value::from(std::path::absolute(path)?.display().to_string()).to_string())
    };
    let rules = quoted(rules)?;
    let model = match model {
        None => "enabled = \"off\"".to_owned(),
        Some(model) => {
            let models = model.folder.parent().unwrap_or(Path::new("."));
            let name = model.folder.file_name().unwrap_or_default().to_string_lossy();
            let library = quoted(model.library.as_deref().unwrap_or(models))?;
            format!(
                "enabled = \"on\"\nfolder = {}\nname = \"{name}\"\nlibrary = {library}\nencoder = \"\"",
                quoted(models)?
            )
        }
    };
    let text = format!(
        r#"[server]
listen = "127.0.0.1:0"
[store]
url = "sqlite://storehand.db"
[model]
{model}
[shop.demo]
display_name = "Demo Shop"
currency = "EUR"
languages = ["en", "zh"]
rules = {rules}
low_stock = {{ default = 5 }}
[shop.demo.sources.shopify]
secrets = ["{SHOPIFY_SECRET}"]
[shop.demo.sources.standard]
secrets = ["{STANDARD_SECRET}"]
[shop.demo.shopify]
domain = "demo.myshopify.com"
access_token = "{ADMIN_TOKEN}"
endpoint = "{endpoint}"
"#,
    );
    let file = folder.join("shop.toml");
    std::fs::write(&file, &text)?;
    let sources: Vec<&str> = shops::ALL.iter().map(|source| source.name()).collect();
    Ok(Config::load(Some(&file), &sources)?)
}

async fn play(app: &App, scenes: &[Scene], teller: &Teller) -> anyhow::Result<()> {
    let client = super::client::client()?;
    for (number, scene) in scenes.iter().enumerate() {
        teller.line(&format!("\n{}", teller.bold(&format!("{}. {}", number + 1, scene.title))));
        teller.line(&teller.dim(&format!("   Watch for: {}.", scene.watch_for)));
        for delivery in &scene.deliveries {
            let status = post(&client, app, delivery).await?;
            let bytes = delivery.body.len();
            teller.line(&format!("   delivery  {} signed, {bytes} bytes, answered {status}", topic(delivery)));
            app.engine.idle().await;
        }
        // Those who tell what happened are a moment behind.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn topic(delivery: &Signed) -> String {
    let topic = delivery.headers.iter().find(|(name, _)| name == "x-shopify-topic");
    topic.map_or_else(|| "CloudEvent".into(), |(_, topic)| format!("Shopify {topic}"))
}

async fn post(client: &reqwest::Client, app: &App, delivery: &Signed) -> anyhow::Result<u16> {
    let url = format!("http://{}/hooks/demo/{}", app.address, delivery.source);
    let mut request = client.post(url).body(delivery.body.clone());
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    Ok(request.send().await?.status().as_u16())
}

async fn summary(app: &App, shop: &DemoShop, id: &ShopId, folder: &Path, teller: &Teller) -> anyhow::Result<()> {
    let events = app.store.count_events().await?;
    let filter = crate::store::RunFilter { most: 1000, ..Default::default() };
    let runs = app.store.list_runs(id, &filter).await?;
    let calls = shop.calls();
    let count = |what| calls.iter().filter(|call| call.what == what).count();
    teller.line(&format!("\n{}", teller.bold("The morning is over")));
    teller.line(&format!(
        "   {events} events, {} runs; the shop was read {} times, tagged {} times, and {} mails went out.",
        runs.len(),
        count("order"),
        count("tagsAdd"),
        count("mail"),
    ));
    for order in shop.orders().iter().filter(|order| !order.tags.is_empty()) {
        teller.line(&format!("   order #{} now has the tags {}", order.number, order.tags.join(", ")));
    }
    teller.line(&format!("\n{}", teller.bold("Where to look next")));
    if let (Some(token), Some(run)) = (&app.first_token, runs.last()) {
        teller.line(&format!("   export STOREHAND_URL=http://{} STOREHAND_TOKEN={}", app.address, token.reveal()));
        teller.line(
            "   storehand events list               what came in; `events why EVENT` says why a rule ran or did not",
        );
        teller.line(&format!("   storehand runs show {}  one run with all its calls", run.id));
    }
    teller.line("   rules/                              the rules that ran: change one while the server runs");
    teller.line("   storehand rules test rules/         the tests that they carry");
    teller.line(&format!("   {}/shop.toml  the whole configuration", folder.display()));
    teller.line("   README.md                           connect a shop of your own");
    Ok(())
}

/// Tells what happens, line by line, and texts as they are written.
#[derive(Default)]
struct Teller {
    /// The run whose text stands on the last line, unfinished.
    writing: Mutex<Option<RunId>>,
}

impl Teller {
    fn paint(code: &str, text: &str) -> String {
        if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        Self::paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        Self::paint("2", text)
    }

    fn line(&self, text: &str) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        if writing.take().is_some() {
            let _ = writeln!(out);
        }
        let _ = writeln!(out, "{text}");
    }

    /// A piece of a text, behind the last one of the same run.
    fn piece(&self, run: RunId, piece: &str) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        if *writing != Some(run) {
            if writing.is_some() {
                let _ = writeln!(out);
            }
            let _ = write!(out, "   writes    ");
            *writing = Some(run);
        }
        // Further lines stand under the first.
        let _ = write!(out, "{}", piece.replace('\n', "\n             "));
        let _ = out.flush();
    }

    fn reached(&self, reached: &Reached) {
        let detail = match reached.what {
            "mail" => {
                let field = |name: &str| reached.input[name].as_str().unwrap_or_default().to_owned();
                let text = field("text").replace('\n', "\n             ");
                format!("a mail to {}, `{}`:\n             {text}", field("to"), field("subject"))
            }
            _ => format!("{} {}", reached.what, reached.input),
        };
        let (arrow, none) = (Self::paint("32", "   shop   ◀ "), if reached.changed { "" } else { " (a read)" });
        let none = if reached.what == "order" { none } else { "" };
        self.line(&format!("{arrow} {detail}{none}"));
    }

    fn tell(&self, what: &What) {
        match what {
            What::Matched { event, ran, why_not, missing } => {
                let late = if event.late { ", late" } else { "" };
                self.line(&format!("   event     {} {} ({}{late})", event.kind, event.subject, event.id));
                for one in missing {
                    self.line(&format!("   missing   {one}"));
                }
                for one in ran {
                    let because = if one.because.is_empty() { "always".to_owned() } else { one.because.join(" and ") };
                    self.line(&format!("   runs      {} because {because}", Self::paint("32", &one.rule)));
                }
                for why in why_not {
                    let saw: Vec<String> = why.saw.iter().map(|(name, value)| format!("{name} is {value}")).collect();
                    let saw = if saw.is_empty() { String::new() } else { format!(" ({})", saw.join(", ")) };
                    self.line(&format!("   not run   {}: {} is false{saw}", Self::paint("33", &why.rule), why.clause));
                }
                if ran.is_empty() && why_not.is_empty() {
                    self.line(&self.dim("   no rule listens"));
                }
            }
            What::Text { run, piece, .. } => self.piece(*run, piece),
            What::TextGivenUp { .. } => self.line("   given up  it goes on with what may not be sent"),
            What::Trouble { capability, message, .. } => self.line(&format!("   trouble   {capability}: {message}")),
            What::Answered { capability, answer: Answer::Failed(failure), .. } => {
                self.line(&format!("   held back {capability}: {failure}"));
            }
            What::Ended { rule, end: End::Failed { failure }, .. } => {
                self.line(&format!("   failed    {rule}: {failure}"));
            }
            What::Asked { .. } | What::Answered { .. } | What::Ended { .. } => {}
        }
    }
}

async fn listen(mut happenings: broadcast::Receiver<Happening>, teller: Arc<Teller>) {
    loop {
        match happenings.recv().await {
            Ok(Happening { what, .. }) => teller.tell(&what),
            Err(broadcast::error::RecvError::Lagged(missed)) => teller.line(&format!("   … {missed} lines missed")),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
