//! Builds the parts and joins them: the configuration becomes a running Storehand.
//!
//! *Architecture Invariant*: the only place that knows every room, and the only one that decides which part is used.
//! It decides nothing about events, rules and runs.

mod answers;
mod approvals;
mod inboxes;
mod model_metrics;
mod models;
mod moments;
mod reconcile;
mod reference;
mod registry;
mod rule_book;
mod rules_folder;
mod shop;
mod stops;
mod telling;
mod tokens;
mod undo;
mod why;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{Clock, IdMaker, Mailer, Secret, ShopId, SystemClock};
use crate::engine::{self, Engine};
use crate::http::{self, Http, NewToken, Tokens};
use crate::models::Model;
use crate::models::encoder::Encoder;
use crate::store::{self, Store};
pub use models::{encoder_settings, heads, load_encoder, model_settings, models as language_models};
pub(crate) use moments::{NotAMoment, moment};
pub use reference::reference;
pub use registry::{unconnected, unconnected_with, unconnected_with_model, unconnected_with_plugins};
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
            None => models::load_model(config).await?,
        };
        let encoder = match encoder {
            Some(encoder) => Some(encoder),
            None => load_encoder(config).await?,
        };
        let plugins = registry::plugins(config)?;
        let language = models::models(config, model.clone())?;
        let deps = registry::deps(config, language.clone(), encoder.clone());
        let registry = Arc::new(registry::registry(deps, &plugins)?);

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
            watchers.push(tokio::spawn(registry::take_up_plugins(plugins.clone(), stop.clone())));
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
            models: http::Models { language, encoder: encoder.clone() },
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
