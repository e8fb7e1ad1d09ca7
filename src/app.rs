//! Builds the parts and joins them: the configuration becomes a running Storehand.
//!
//! *Architecture Invariant*: the only place that knows every room, and the only one that decides which part is used.
//! It decides nothing about events, rules and runs.

mod answers;
mod approvals;
mod inboxes;
mod model_metrics;
mod moments;
mod reconcile;
mod reference;
mod rule_book;
mod rules_folder;
mod shop;
mod stops;
mod telling;
mod tokens;
mod undo;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::capabilities;
use crate::config::{Config, Enabled};
use crate::domain::{Clock, IdMaker, Kind, Mailer, Secret, ShopId, SystemClock};
use crate::engine::{self, Engine, Registry};
use crate::http::{self, Http, NewToken, Tokens};
use crate::models::encoder::{self, Encoder};
use crate::models::intents::Heads;
use crate::models::{self, Model};
use crate::plugins::{Folder, Grant, Grants, Plugins};
use crate::store::{self, Store};
pub(crate) use moments::{NotAMoment, moment};
pub use reference::reference;
pub use shop::{inbox, unconnected as unconnected_shop};
pub use tokens::StoreTokens;

/// What a test or the demo puts in place of what the configuration would build.
pub struct Instead {
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// Ways to send mail, by shop.
    pub mailers: BTreeMap<ShopId, Arc<dyn Mailer>>,
    /// The model, where it is loaded already.
    pub model: Option<Model>,
    /// The encoder, where it is loaded already.
    pub encoder: Option<Encoder>,
}

impl Default for Instead {
    /// Nothing: the machine's clock, the configured mail and model.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), mailers: BTreeMap::new(), model: None, encoder: None }
    }
}

/// A running Storehand.
pub struct App {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The store.
    pub store: Store,
    /// Where the server listens.
    pub address: SocketAddr,
    /// The first token, made and shown once where there was none.
    pub first_token: Option<Secret>,
    /// The model, where there is one.
    pub model: Option<Model>,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    watchers: Vec<JoinHandle<()>>,
    grace: std::time::Duration,
}

impl App {
    /// Starts everything: opens the store, goes on with what was left unfinished, then lets deliveries in.
    ///
    /// # Errors
    /// What is missing or cannot be used, with what to do.
    pub async fn start(config: &Config, instead: Instead) -> anyhow::Result<Self> {
        if config.shops.is_empty() {
            anyhow::bail!("the configuration names no shop\n  hint: add `[shop.NAME]` with a `currency`");
        }
        let Instead { clock, mailers, model, encoder } = instead;
        let store = Store::open(&store_settings(config)).await?;
        let model = match model {
            Some(model) => Some(model),
            None => load_model(config).await?,
        };
        let encoder = match encoder {
            Some(encoder) => Some(encoder),
            None => load_encoder(config).await?,
        };
        let plugins = plugins(config)?;
        let registry = Arc::new(registry(deps(config, model.clone(), encoder.clone()), &plugins)?);

        let (mut shops, mut books) = (Vec::new(), BTreeMap::new());
        for (id, settings) in &config.shops {
            let shop = Arc::new(shop::build(id, settings, mailers.get(id).cloned())?);
            let (book, rules) = rule_book::Book::open(rule_book::Parts {
                shop: id.clone(),
                folder: settings.rules.clone(),
                inputs: settings.inputs.clone(),
                registry: registry.clone(),
                store: store.clone(),
                clock: clock.clone(),
            })
            .await?;
            shops.push((shop, rules));
            books.insert(id.clone(), book);
        }
        let mut node = [0_u8; 2];
        getrandom::fill(&mut node).map_err(|error| anyhow::anyhow!("this machine gives no random numbers: {error}"))?;
        let engine = Engine::start(engine::Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(IdMaker::new(u16::from_le_bytes(node))),
            registry: registry.clone(),
            shops,
            settings: engine::Settings {
                attempts_at_once: config.engine.workers,
                intake_queue: config.server.intake_queue,
                intake_group: config.store.group,
            },
        });
        let engine = Arc::new(engine.await?);

        let stop = CancellationToken::new();
        let watch =
            |book: &Arc<rule_book::Book>| tokio::spawn(rules_folder::watch(book.clone(), engine.clone(), stop.clone()));
        let mut watchers: Vec<JoinHandle<()>> = books.values().map(watch).collect();
        for (id, settings) in config.shops.iter().filter(|(_, settings)| settings.shopify.is_some()) {
            let Some(every) = settings.reconcile else { continue };
            let asking = reconcile::watch(engine.clone(), clock.clone(), id.clone(), every, stop.clone());
            watchers.push(tokio::spawn(asking));
        }
        for (id, settings) in &config.shops {
            let Some((inbox, every)) = inbox(settings)? else { continue };
            let (shop, store, engine, clock) = (id.clone(), store.clone(), engine.clone(), clock.clone());
            let watched = inboxes::Watched { shop, inbox, every, store, engine, clock };
            watchers.push(tokio::spawn(inboxes::watch(watched, stop.clone())));
        }

        if !plugins.is_empty() {
            watchers.push(tokio::spawn(take_up_plugins(plugins.clone(), stop.clone())));
        }

        let tokens: Arc<dyn Tokens> = Arc::new(StoreTokens(store.clone()));
        let first_token = first_token(&*tokens, &*clock).await?;
        let listener = TcpListener::bind(config.server.listen).await.with_context(|| {
            format!(
                "cannot listen on {}\n  hint: is another Storehand running? set `server.listen`",
                config.server.listen
            )
        })?;
        let address = listener.local_addr()?;
        let answers = answers::Answers {
            store: store.clone(),
            clock: clock.clone(),
            registry,
            engine: engine.clone(),
            zones: config.shops.iter().map(|(id, shop)| (id.clone(), zone(&shop.time_zone))).collect(),
            rules: books,
            model: model.clone(),
        };
        let sources = plugins.sources();
        let inlets = config.shops.iter().map(|(id, shop)| Ok((id.clone(), shop::inlets(id, shop, &sources)?)));
        let router = http::router(Http {
            shops: inlets.collect::<anyhow::Result<_>>()?,
            accept: Arc::new(answers.clone()),
            reading: Arc::new(answers.clone()),
            steering: Arc::new(answers.clone()),
            rules: Arc::new(answers),
            tokens,
            clock,
            models: http::Models { language: model.clone(), encoder: encoder.clone() },
            metrics: http::Metrics::default(),
            body_limit: config.server.body_limit,
            read_timeout: config.server.read_timeout,
            answer_timeout: std::time::Duration::from_secs(30),
        });
        let grace = config.server.shutdown_grace;
        let limits =
            http::Limits { connections: config.server.connections, head_timeout: config.server.read_timeout, grace };
        let server = tokio::spawn(http::serve(listener, router, limits, stop.clone()));
        Ok(Self { engine, store, address, first_token, model, stop, server, watchers, grace })
    }

    /// Lets nothing more in, finishes what is under way, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the server"),
            Err(error) => tracing::error!(%error, "the server broke off"),
        }
        for watcher in self.watchers {
            watcher.abort();
        }
        self.engine.shutdown(self.grace).await;
    }
}

/// A time zone whose name the configuration has looked up.
fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The store's settings.
pub fn store_settings(config: &Config) -> store::Settings {
    store::Settings {
        readers: u32::try_from(config.store.readers).unwrap_or(u32::MAX),
        group: config.store.group,
        wal_limit_bytes: config.store.wal_limit_bytes,
        ..store::Settings::at(&config.store.file)
    }
}

/// The model's settings, with what `STOREHAND_MODEL_LIBRARY` and `STOREHAND_MODEL_FOLDER` say in their place.
pub fn model_settings(config: &Config) -> models::Settings {
    models::Settings {
        library: Some(config.model.library_file()),
        folder: config.model.model_folder(),
        threads: config.model.threads,
        queue: config.model.queue,
        queue_tokens: config.model.queue_tokens,
        rows: config.model.rows,
        prefix_cache_bytes: config.model.prefix_cache_bytes,
        max_new_tokens: config.model.max_new_tokens,
        context_tokens: config.model.context_tokens,
    }
    .with_variables(|name| std::env::var_os(name))
}

/// The encoder's settings, unless there is to be none.
pub fn encoder_settings(config: &Config) -> Option<encoder::Settings> {
    let model = model_settings(config);
    let folder = config.model.encoder_folder()?;
    Some(encoder::Settings { library: model.library, folder, threads: model.threads, queue: model.queue })
}

/// What rules are checked against and tried with, without a model or a shop: what there is does not depend on them.
///
/// # Errors
/// A capability whose declaration is wrong: a bug.
pub fn unconnected() -> anyhow::Result<Arc<Registry>> {
    Ok(Arc::new(registry(capabilities::Deps::default(), &Plugins::none())?))
}

/// The same with the plugins of this configuration's data folder.
///
/// # Errors
/// As [`unconnected`], and where there are plugins and this machine cannot run them.
pub fn unconnected_with_plugins(config: &Config) -> anyhow::Result<Arc<Registry>> {
    // Nobody is asked and nothing leaves the building, so what is wanted counts as granted.
    let plugins = Plugins::open(Folder::within(config.store.folder()), Grants::default())?;
    Ok(Arc::new(registry(capabilities::Deps::default(), &plugins)?))
}

/// What rules are checked against and tried with where these plugins are there.
///
/// # Errors
/// As [`unconnected`].
pub fn unconnected_with(plugins: &Arc<Plugins>) -> anyhow::Result<Arc<Registry>> {
    Ok(Arc::new(registry(capabilities::Deps::default(), plugins)?))
}

/// The same with the model.
///
/// # Errors
/// Where there is no model, or it cannot be used.
pub async fn unconnected_with_model(config: &Config) -> anyhow::Result<Arc<Registry>> {
    let model = load_model(config).await?.context("there is no model\n  hint: `storehand model fetch` gets one")?;
    let encoder = load_encoder(config).await?;
    let plugins = Plugins::open(Folder::within(config.store.folder()), Grants::default())?;
    Ok(Arc::new(registry(deps(config, Some(model), encoder), &plugins)?))
}

fn deps(config: &Config, model: Option<Model>, encoder: Option<Encoder>) -> capabilities::Deps {
    capabilities::Deps { model, languages: config.model.languages.clone(), encoder, heads: Some(heads(config)) }
}

fn registry(deps: capabilities::Deps, plugins: &Arc<Plugins>) -> anyhow::Result<Registry> {
    let mut all = capabilities::all(deps);
    let writes: BTreeSet<&str> =
        all.iter().map(|it| it.spec()).filter(|spec| spec.kind == Kind::Write).map(|spec| spec.name).collect();
    all.extend(plugins.capabilities(&|name| writes.contains(name)));
    Registry::new(all).map_err(anyhow::Error::msg)
}

/// The heads that shops have trained.
pub fn heads(config: &Config) -> Heads {
    Heads::new(config.store.folder().join("heads"))
}

/// The encoder, unless it is off, or not there and not demanded.
///
/// # Errors
/// Where it is there and cannot be used, or is demanded and not there.
pub async fn load_encoder(config: &Config) -> anyhow::Result<Option<Encoder>> {
    let Some(settings) = encoder_settings(config) else { return Ok(None) };
    let there = settings.folder.exists() && settings.library.as_ref().is_some_and(|library| library.exists());
    match config.model.enabled {
        Enabled::Off => return Ok(None),
        Enabled::Auto if !there => {
            tracing::warn!(
                folder = %settings.folder.display(),
                "no encoder: rules that classify with it will fail; `storehand model fetch` gets one"
            );
            return Ok(None);
        }
        Enabled::Auto | Enabled::On => {}
    }
    let loaded = tokio::task::spawn_blocking(move || Encoder::load(&settings)).await?;
    Ok(Some(loaded.context("the encoder cannot be used")?))
}

/// Looks for newly installed versions of plugins, again and again.
async fn take_up_plugins(plugins: Arc<Plugins>, stop: CancellationToken) {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(2));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let plugins = plugins.clone();
        let _ = tokio::task::spawn_blocking(move || plugins.take_up_installed()).await;
    }
}

/// The plugins that are installed in the data folder, with what the shops have granted them.
fn plugins(config: &Config) -> anyhow::Result<Arc<Plugins>> {
    let grant = |(name, it): (&String, &crate::config::PluginGrant)| {
        (name.clone(), Grant { granted: it.grant.iter().cloned().collect(), wants: it.wants.clone() })
    };
    let shops = config.shops.iter().map(|(id, shop)| (id.clone(), shop.plugins.iter().map(grant).collect()));
    Ok(Plugins::open(Folder::within(config.store.folder()), Grants::new(shops.collect()))?)
}

/// The model, unless it is off, or not there and not demanded.
async fn load_model(config: &Config) -> anyhow::Result<Option<Model>> {
    let settings = model_settings(config);
    let there = settings.folder.exists() && settings.library.as_ref().is_some_and(|library| library.exists());
    match config.model.enabled {
        Enabled::Off => return Ok(None),
        Enabled::Auto if !there => {
            tracing::warn!(
                folder = %settings.folder.display(),
                "no language model: rules that use it take their fallback; `storehand model fetch` gets one"
            );
            return Ok(None);
        }
        Enabled::Auto | Enabled::On => {}
    }
    let loaded = tokio::task::spawn_blocking(move || Model::load(&settings)).await?;
    Ok(Some(loaded.context("the language model cannot be used")?))
}

async fn first_token(tokens: &dyn Tokens, clock: &dyn Clock) -> anyhow::Result<Option<Secret>> {
    if !tokens.list().await?.is_empty() {
        return Ok(None);
    }
    let made = NewToken::make("first", clock.now())?;
    match tokens.add(made.kept).await {
        Ok(()) => Ok(Some(made.secret)),
        // It was made and revoked before: whoever did that makes the next one.
        Err(http::TokenError::Taken(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
