//! The configuration: an embedded file of defaults, a file of the user's, and variables, in that order.
//!
//! Every setting knows where it was written, all mistakes are reported in one go with file and line, and an
//! unknown key is a mistake: a setting that nobody reads would look as if it held.
//!
//! *Architecture Invariant*: plain data; only `app` and `cli` read it and hand each room its own settings. It
//! knows no room but `domain`. Secrets are resolved here and are never part of a message.

mod layers;
mod model;
mod reader;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value as Json;

use crate::domain::{Currency, Fuses, Limits, Secret, Secrets, ShopId};
pub use layers::Origin;
use layers::{Node, Resolve, Surroundings};
pub use model::{Enabled, Model, Operators, Upstream};
use reader::{Notes, Section, nearest};
use values::{InboxUrl, Keep, MailUrl, MaybePath, MoneyFuse, Often, OrOff, StoreUrl, TimeZone};

/// The defaults, with what each setting means.
pub const DEFAULTS: &str = include_str!("config/default.toml");

/// The largest configuration file, in bytes.
const MOST_BYTES: u64 = 1024 * 1024;

/// All settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: Store,
    /// `[model]`
    pub model: Model,
    /// `[engine]`
    pub engine: Engine,
    /// `[plugins]`
    pub plugins: PluginRules,
    /// `[log]`: a filter as `tracing_subscriber::EnvFilter` reads it.
    pub log_filter: String,
    /// `[shop.NAME]`
    pub shops: BTreeMap<ShopId, Shop>,
    /// The configuration file, where there is one.
    pub file: Option<PathBuf>,
    /// Every setting as it was read, for `storehand doctor`; secrets as `•••`.
    pub settings: Vec<Setting>,
}

/// One setting as it was read.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Dotted: `server.listen`.
    pub key: String,
    /// As it would be written.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// How long a client may take for a request's head, and again for its body.
    pub read_timeout: Duration,
    /// Connections served at once.
    pub connections: usize,
    /// Deliveries that may wait for their commit.
    pub intake_queue: usize,
    /// How long work under way may take to finish.
    pub shutdown_grace: Duration,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct Store {
    /// The SQLite file.
    pub file: PathBuf,
    /// Connections that read.
    pub readers: usize,
    /// Writes put into one commit at the most.
    pub group: usize,
    /// Size of the write-ahead log past which it is emptied by force, in bytes.
    pub wal_limit_bytes: u64,
}

impl Store {
    /// The folder that the data is in.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

/// `[plugins]`
#[derive(Clone, Debug)]
pub struct PluginRules {
    /// Public keys (ed25519, in hex) of those whose packed plugins may be installed; empty: anybody's.
    pub keys: Vec<String>,
}

/// `[engine]`
#[derive(Clone, Debug)]
pub struct Engine {
    /// Calls performed at once.
    pub workers: usize,
}

/// `[shop.NAME]`
#[derive(Clone, Debug)]
pub struct Shop {
    /// As its customers know it.
    pub display_name: String,
    /// The folder of its rules.
    pub rules: PathBuf,
    /// BCP 47; never empty.
    pub languages: Vec<String>,
    /// Its own currency.
    pub currency: Currency,
    /// An IANA zone that this machine knows.
    pub time_zone: String,
    /// Past what one of its rules is paused.
    pub fuses: Fuses,
    /// How long events, runs and calls are kept; `None`: for good.
    pub keep: Option<SignedDuration>,
    /// At or below how many a stock level is low, per SKU.
    pub low_stock: BTreeMap<String, i64>,
    /// The same for all SKUs that `low_stock` does not name.
    pub low_stock_default: Option<i64>,
    /// By rule and input. Numbers with a point are texts, so that none goes through a float.
    pub inputs: BTreeMap<String, BTreeMap<String, Json>>,
    /// The live secrets of each source, by its name; never without one.
    pub sources: BTreeMap<String, Secrets>,
    /// The connection to Shopify.
    pub shopify: Option<Shopify>,
    /// The way to send mail.
    pub mail: Option<Mail>,
    /// The mailbox that its customers write to.
    pub inbox: Option<Inbox>,
    /// By name, for connectors.
    pub secrets: BTreeMap<String, Secret>,
    /// `host:port` on private networks that rules may reach.
    pub private_hosts: Vec<String>,
    /// What its plugins may do, by plugin.
    pub plugins: BTreeMap<String, PluginGrant>,
    /// How often its platform is asked what has changed there and was not told; `None`: never.
    pub reconcile: Option<Duration>,
}

/// `[shop.NAME.plugins.PLUGIN]`
#[derive(Clone, Debug)]
pub struct PluginGrant {
    /// What it may use: `order.tag`, `host:api.example.com`, `event.records`.
    pub grant: Vec<String>,
    /// The digest of what it wanted when that was granted; `None`: it may come to want less or more of these.
    pub wants: Option<String>,
}

/// `[shop.NAME.shopify]`
#[derive(Clone, Debug)]
pub struct Shopify {
    /// `acme.myshopify.com`
    pub domain: String,
    /// Of the Admin API.
    pub access_token: Secret,
    /// Another address of the Admin GraphQL API, for a test shop.
    pub endpoint: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// `[shop.NAME.mail]`
#[derive(Clone, Debug)]
pub struct Mail {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in, where one must.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// `Acme <help@acme.example>`
    pub from: String,
    /// How the connection is protected.
    pub security: Security,
}

/// `[shop.NAME.inbox]`
#[derive(Clone, Debug)]
pub struct Inbox {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: Secret,
    /// The folder that is looked into.
    pub folder: String,
    /// How often.
    pub every: Duration,
    /// How the connection is protected.
    pub security: Security,
}

/// How a mail connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Security {
    Starttls,
    Tls,
    /// On this machine only.
    None,
}

/// A configuration that cannot be used: every mistake in it.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// In the order in which they were found.
    pub mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written.
    pub origin: Origin,
    /// The setting; empty where it is not about one.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used")?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n{mistake}"))
    }
}

impl Config {
    /// The configuration of this process: `file` where one is given, and its variables. `sources` are the names
    /// of the sources there are.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(file: Option<&Path>, sources: &[&str]) -> Result<Self, ConfigError> {
        Self::load_as(file, sources, Resolve::Secrets)
    }

    /// The same without its secrets, which may be unknown here: for what connects to nothing.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load_to_look(file: Option<&Path>, sources: &[&str]) -> Result<Self, ConfigError> {
        Self::load_as(file, sources, Resolve::NoSecrets)
    }

    fn load_as(file: Option<&Path>, sources: &[&str], resolve: Resolve) -> Result<Self, ConfigError> {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let text = file.map(read_file).transpose()?;
        Self::read_as(file.zip(text.as_deref()), &variables, sources, resolve)
    }

    /// The configuration of these layers.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn read(
        file: Option<(&Path, &str)>,
        variables: &BTreeMap<String, String>,
        sources: &[&str],
    ) -> Result<Self, ConfigError> {
        Self::read_as(file, variables, sources, Resolve::Secrets)
    }

    fn read_as(
        file: Option<(&Path, &str)>,
        variables: &BTreeMap<String, String>,
        sources: &[&str],
        resolve: Resolve,
    ) -> Result<Self, ConfigError> {
        let mut root = layers::parse(DEFAULTS, |_| Origin::Default).map_err(|mistakes| ConfigError { mistakes })?;
        let mut folder = PathBuf::new();
        if let Some((path, text)) = file {
            let place: Arc<Path> = path.into();
            let layer = layers::parse(text, |line| Origin::File(Arc::clone(&place), line));
            root.overlay(layer.map_err(|mistakes| ConfigError { mistakes })?);
            folder = path.parent().map(Path::to_owned).unwrap_or_default();
        }
        let mut notes =
            Notes { around: Surroundings { folder, resolve, variables }, settings: Vec::new(), mistakes: Vec::new() };
        root.overlay(layers::from_variables(variables, &mut notes.mistakes));
        root.origin = file.map_or(Origin::Default, |(path, _)| Origin::File(path.into(), 1));

        let config = Section::read(String::new(), root, &mut notes, |root| Self {
            server: root.table("server", read_server),
            store: root.table("store", read_store),
            model: root.table("model", read_model),
            engine: root.table("engine", read_engine),
            plugins: root.table("plugins", |plugins| PluginRules { keys: plugins.get("keys") }),
            log_filter: root.table("log", |log| log.get("filter")),
            shops: read_shops(root, sources),
            file: file.map(|(path, _)| path.to_owned()),
            settings: Vec::new(),
        });
        if notes.mistakes.is_empty() {
            Ok(Self { settings: notes.settings, ..config })
        } else {
            Err(ConfigError { mistakes: notes.mistakes })
        }
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let cannot = |message: String, hint: &str| ConfigError {
        mistakes: vec![Mistake {
            origin: Origin::File(path.into(), 1),
            key: String::new(),
            message,
            hint: Some(hint.to_owned()),
        }],
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| cannot(format!("cannot read this file: {error}"), "`--config FILE` names it"))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(cannot(format!("larger than {MOST_BYTES} bytes"), "this is not a configuration file"));
    }
    Ok(text)
}

fn read_server(server: &mut Section<'_, '_>) -> Server {
    Server {
        listen: server.required("listen").unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
        body_limit: server.bytes("body_limit", 1024..=64 << 20),
        read_timeout: server.get("read_timeout"),
        connections: server.whole("connections", 1..=100_000),
        intake_queue: server.whole("intake_queue", 1..=1_000_000),
        shutdown_grace: server.get("shutdown_grace"),
    }
}

fn read_store(store: &mut Section<'_, '_>) -> Store {
    Store {
        file: store.get::<StoreUrl>("url").0,
        readers: store.whole("readers", 1..=64),
        group: store.whole("group", 1..=10_000),
        wal_limit_bytes: store.bytes("wal_limit", 1 << 20..=16 << 30) as u64,
    }
}

fn read_model(model: &mut Section<'_, '_>) -> Model {
    let read = Model {
        enabled: model.required("enabled").unwrap_or(Enabled::Off),
        folder: model.get("folder"),
        name: model.get("name"),
        encoder: Some(model.get::<String>("encoder")).filter(|name| !name.is_empty()).map(PathBuf::from),
        library: model.required::<MaybePath>("library").and_then(|it| it.0),
        threads: model.whole("threads", 0..=1024),
        operators: model.required("operators").unwrap_or(Operators::Own),
        queue: model.whole("queue", 1..=10_000),
        queue_tokens: model.whole("queue_tokens", 1024..=100_000_000),
        rows: model.whole("rows", 1..=64),
        prefix_cache_bytes: model.bytes("prefix_cache", 0..=1 << 40),
        max_new_tokens: model.whole("max_new_tokens", 1..=32_768),
        languages: model.get("languages"),
        context_tokens: model.whole("context_tokens", 64..=1_000_000),
        upstreams: model.each("upstreams", Upstream::read),
    };
    let encoder = read.encoder.as_deref().and_then(Path::to_str);
    let taken = [Some(read.name.as_str()), encoder];
    if let Some(name) = read.upstreams.keys().find(|name| taken.contains(&Some(name.as_str()))) {
        let what = "a model in this process has this name already";
        model.mistake(&format!("upstreams.{name}"), what, "call the upstream otherwise");
    }
    read
}

fn read_engine(engine: &mut Section<'_, '_>) -> Engine {
    Engine { workers: engine.whole("workers", 1..=1024) }
}

fn read_shops(root: &mut Section<'_, '_>, sources: &[&str]) -> BTreeMap<ShopId, Shop> {
    let defaults = root.raw("shop_defaults");
    let shops = root.each("shop", |name, node, path, notes| {
        let origin = node.origin.clone();
        let id: ShopId = match name.parse() {
            Ok(id) => id,
            Err(_) => {
                let hint = "a shop's name is 1 to 64 of a-z, 0-9, - and _".to_owned();
                notes.mistake(&origin, path, format!("`{name}` cannot be a shop's name"), Some(hint));
                return None;
            }
        };
        let mut whole = defaults.clone().unwrap_or_else(|| Node::table(Origin::Default));
        whole.overlay(node);
        let shop = Section::read(path.to_owned(), whole, notes, |shop| read_shop(&id, shop, sources))?;
        Some((id, shop))
    });
    shops.into_values().collect()
}

fn read_shop(id: &ShopId, shop: &mut Section<'_, '_>, known_sources: &[&str]) -> Option<Shop> {
    let low_stock = shop.optional_table("low_stock", |low| (low.optional("default"), low.map("sku")));
    let (low_stock_default, low_stock) = low_stock.unwrap_or_default();
    let Some(currency) = shop.required("currency") else {
        shop.skip();
        return None;
    };
    let plugins = shop.each("plugins", |_, node, path, notes| {
        Some(Section::read(path.to_owned(), node, notes, |plugin| PluginGrant {
            grant: plugin.get("grant"),
            wants: plugin.optional("wants"),
        }))
    });
    Some(Shop {
        display_name: shop.optional("display_name").unwrap_or_else(|| id.to_string()),
        rules: shop.get("rules"),
        languages: read_languages(shop),
        currency,
        time_zone: shop.get::<TimeZone>("time_zone").0,
        fuses: shop.table("fuses", |fuses| read_fuses(fuses, currency)),
        keep: shop.get::<Keep>("keep").0,
        low_stock,
        low_stock_default,
        inputs: shop.each("inputs", |_, rule, path, notes| {
            Some(Section::read(path.to_owned(), rule, notes, |rule| rule.all()))
        }),
        sources: shop.each("sources", |name, node, path, notes| {
            // What a plugin adds is called as the plugin is.
            if !known_sources.contains(&name) && !plugins.contains_key(name) {
                let hint = match nearest(name, known_sources) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", known_sources.join(", ")),
                };
                notes.mistake(&node.origin, path, "there is no such source", Some(hint));
            }
            Some(Section::read(path.to_owned(), node, notes, read_secrets))
        }),
        shopify: shop.optional_table("shopify", |shopify| Shopify {
            domain: shopify.get("domain"),
            access_token: shopify.required("access_token").unwrap_or_else(|| Secret::new("")),
            endpoint: shopify.optional("endpoint").filter(|text: &String| !text.is_empty()),
            timeout: shopify.optional("timeout").unwrap_or(Duration::from_secs(20)),
        }),
        mail: shop.optional_table("mail", read_mail),
        inbox: shop.optional_table("inbox", read_inbox),
        secrets: shop.map("secrets"),
        private_hosts: shop.optional("private_hosts").unwrap_or_default(),
        reconcile: shop.get::<Often>("reconcile").0,
        plugins,
    })
}

fn read_fuses(fuses: &mut Section<'_, '_>, own: Currency) -> Fuses {
    let money = fuses.get::<MoneyFuse>("money").0.map(|rate| rate.in_own(own));
    let mut rate = |key| fuses.get::<OrOff>(key).0;
    let limits = Limits { calls: rate("calls"), money, per_customer: rate("per_customer") };
    Fuses { limits, runs_per_subject: rate("runs_per_subject") }
}

fn read_languages(shop: &mut Section<'_, '_>) -> Vec<String> {
    let languages: Vec<String> = shop.get("languages");
    if languages.is_empty() {
        shop.mistake("languages", "a shop serves at least one language", "write `languages = [\"en\"]`");
    }
    languages
}

fn read_secrets(source: &mut Section<'_, '_>) -> Secrets {
    let secrets: Option<Vec<Secret>> = source.required("secrets");
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        source.mistake("secrets", "without a secret anybody could sign", "write `secrets = [\"env:NAME\"]`");
    }
    Secrets::new(secrets.unwrap_or_default())
}

fn read_mail(mail: &mut Section<'_, '_>) -> Mail {
    let url: MailUrl = mail.get("url");
    let security = mail.optional("security").unwrap_or(if url.tls { Security::Tls } else { Security::Starttls });
    if security == Security::None && !url.is_here() {
        let hint = "write `security = \"starttls\"` or \"tls\": only mail to this machine may go unprotected";
        mail.mistake("security", "mail and password would cross the network in the clear", hint);
    }
    Mail {
        host: url.host,
        port: url.port,
        user: url.user,
        password: mail.optional("password"),
        from: mail.get("from"),
        security,
    }
}

fn read_inbox(inbox: &mut Section<'_, '_>) -> Inbox {
    let InboxUrl(url) = inbox.get("url");
    let security = inbox.optional("security").unwrap_or(if url.tls { Security::Tls } else { Security::Starttls });
    if security == Security::None && !url.is_here() {
        let hint = "write `security = \"tls\"` or \"starttls\": only mail from this machine may come unprotected";
        inbox.mistake("security", "mail and password would cross the network in the clear", hint);
    }
    if url.user.is_none() && !url.host.is_empty() {
        let hint = "write `url = \"imaps://USER@HOST\"`; an `@` in USER is written `%40`";
        inbox.mistake("url", "the address names nobody who logs in", hint);
    }
    Inbox {
        host: url.host,
        port: url.port,
        user: url.user.unwrap_or_default(),
        password: inbox.required("password").unwrap_or_else(|| Secret::new("")),
        folder: inbox.optional("folder").unwrap_or_else(|| "INBOX".to_owned()),
        every: inbox.optional("every").unwrap_or(Duration::from_secs(60)),
        security,
    }
}
