//! `storehand demo store`: a store for a shop of one's own configuration to connect to. Where its API and its mailbox
//! listen, where its webhooks go and what they are signed with stands in that configuration: it is the other side of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::serve::stopped;
use super::{Global, Hinted, client, say, the_shop};
use crate::demo::Signer;
use crate::demo::store::{self, Place, Shelf};
use crate::domain::Secret;

/// What a store sells where no file says it.
const SHELF: &str = include_str!("../../examples/shopify-store/store.toml");

/// `storehand demo store`
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// What it sells [default: that of examples/shopify-store]
    #[arg(value_name = "STORE.toml")]
    file: Option<PathBuf>,
    /// The shop of the configuration, where it has more than one
    #[arg(long, value_name = "NAME")]
    shop: Option<String>,
}

pub(super) async fn run(args: StoreArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let (name, shop) = the_shop(&config, args.shop.as_deref())?;
    let setting = |what: &str| format!("shop.{name}.{what}");
    let shopify = shop.shopify.as_ref();
    let endpoint = shopify.and_then(|it| it.endpoint.as_deref());
    let (Some(shopify), Some(endpoint)) = (shopify, endpoint) else {
        let hint = "set it to where the store is to listen, such as \"http://127.0.0.1:7711\"";
        return Err(Hinted::new(format!("{} is not set", setting("shopify.endpoint")), hint).into());
    };
    let Some(endpoint) = here(endpoint) else {
        let message = format!("{} is {endpoint}", setting("shopify.endpoint"));
        let hint = "a store to play with listens on this machine only, such as on \"http://127.0.0.1:7711\"";
        return Err(Hinted::new(message, hint).into());
    };
    let secret = |source: &str| {
        let secrets = shop.sources.get(source).and_then(|secrets| secrets.iter().next().cloned());
        secrets.ok_or_else(|| {
            let hint = format!("add [{}] with its `secrets`", setting(&format!("sources.{source}")));
            Hinted::new(format!("the shop takes no deliveries of `{source}`"), hint)
        })
    };
    let signer = Signer {
        shopify: secret("shopify")?,
        // Only customers' messages come this way.
        standard: secret("standard").unwrap_or_else(|_| Secret::new("")),
    };
    let (shelf, from) = match &args.file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            (text, file.display().to_string())
        }
        None => (SHELF.to_owned(), "its own shelf".to_owned()),
    };
    let shelf: Shelf = toml::from_str(&shelf).with_context(|| format!("{from} cannot be read"))?;

    let mail = shop.mail.as_ref().and_then(|mail| Some(SocketAddr::new(loopback(&mail.host)?, mail.port)));
    let listener = |address: SocketAddr| async move {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
    };
    let (api, mailbox) = (
        listener(endpoint).await?,
        match mail {
            Some(address) => Some(listener(address).await?),
            None => None,
        },
    );
    let hooks = format!("http://{}/hooks/{name}", config.server.listen);
    say(format!("The store is open on http://{endpoint}; its webhooks go to {hooks}."));
    match mail {
        Some(mail) => say(format!("Mail that is sent to {mail} arrives in it.")),
        None => say(format!("It has no mailbox: {} is not on this machine.", setting("mail.url"))),
    }
    say(format!(
        "  curl http://{endpoint}                        what is in it
  curl http://{endpoint}/orders -d '{{\"email\": \"ana@example.com\", \"lines\": [{{\"sku\": \"{}\"}}]}}'
  and /orders/NUMBER/paid|fulfilled|cancelled|returns, /stock, /products, /messages. Ctrl-C closes it.",
        shelf.products.first().map_or("SKU", |article| article.sku.as_str())
    ));
    // Sets TLS up, which the deliveries' client asks for as well.
    client::client()?;
    let stop = CancellationToken::new();
    let place = Place { api, mail: mailbox, hooks, currency: shop.currency.to_string() };
    store::open(shopify.access_token.reveal(), signer, &shelf, place, Arc::new(say), &stop)?;
    stopped().await?;
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

/// The address of this machine that a URL names.
fn here(url: &str) -> Option<SocketAddr> {
    let url = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    Some(SocketAddr::new(loopback(url.host_str()?)?, url.port().unwrap_or(80)))
}

/// The address of a host that is this machine.
fn loopback(host: &str) -> Option<IpAddr> {
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    host.trim_matches(['[', ']']).parse().ok().filter(IpAddr::is_loopback)
}
