//! A shop's connections, out of its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{self, Security};
use crate::domain::{Mailer, Platform, Secrets, Shop, ShopId, Source};
use crate::http::Inlet;
use crate::shops::{self, imap, mail, shopify};

/// How long one request to a shop's mail server may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A shop with its connections. `mailer` goes before the configured one.
pub(super) fn build(id: &ShopId, settings: &config::Shop, mailer: Option<Arc<dyn Mailer>>) -> anyhow::Result<Shop> {
    let platform = settings.shopify.as_ref().map(|shopify| -> anyhow::Result<Arc<dyn Platform>> {
        let endpoint = shopify.endpoint.clone().unwrap_or_else(|| format!("https://{}", shopify.domain));
        let access_token = shopify.access_token.clone();
        let client =
            shopify::Client::new(shopify::ShopifySettings { endpoint, access_token, timeout: shopify.timeout })?;
        Ok(Arc::new(client))
    });
    let configured = || settings.mail.as_ref().map(smtp).transpose();
    let mailer = match mailer {
        Some(mailer) => Some(mailer),
        None => configured()?,
    };
    Ok(Shop { platform: platform.transpose()?, mailer, ..unconnected(id, settings) })
}

/// A shop that is connected to nothing: nothing can leave it.
pub fn unconnected(id: &ShopId, settings: &config::Shop) -> Shop {
    Shop {
        id: id.clone(),
        display_name: settings.display_name.clone(),
        platform: None,
        mailer: None,
        languages: settings.languages.iter().map(|language| language.as_str().into()).collect(),
        currency: settings.currency,
        time_zone: settings.time_zone.clone(),
        fuses: settings.fuses,
        keep: settings.keep,
        low_stock: settings.low_stock.clone(),
        low_stock_default: settings.low_stock_default,
        secrets: settings.secrets.clone(),
        private_hosts: settings.private_hosts.clone(),
    }
}

/// The mailbox that the shop's customers write to, and how often it is looked into.
///
/// # Errors
/// Settings that cannot work.
pub fn inbox(settings: &config::Shop) -> anyhow::Result<Option<(imap::Inbox, Duration)>> {
    let Some(inbox) = &settings.inbox else { return Ok(None) };
    let own = settings.mail.iter().map(|mail| mail.from.clone()).chain([inbox.user.clone()]);
    let made = imap::Inbox::new(imap::InboxSettings {
        host: inbox.host.clone(),
        port: inbox.port,
        security: security(inbox.security),
        user: inbox.user.clone(),
        password: inbox.password.clone(),
        folder: inbox.folder.clone(),
        own: own.filter(|address| address.contains('@')).collect(),
        timeout: TIMEOUT,
    })?;
    Ok(Some((made, inbox.every)))
}

fn security(security: Security) -> mail::Security {
    match security {
        Security::Starttls => mail::Security::Starttls,
        Security::Tls => mail::Security::Tls,
        Security::None => mail::Security::None,
    }
}

fn smtp(settings: &config::Mail) -> anyhow::Result<Arc<dyn Mailer>> {
    let login = settings.user.clone().zip(settings.password.clone());
    Ok(Arc::new(mail::SmtpMailer::new(mail::MailSettings {
        host: settings.host.clone(),
        port: settings.port,
        security: security(settings.security),
        login,
        from: settings.from.clone(),
        timeout: TIMEOUT,
    })?))
}

/// The ways that deliveries come in for a shop: Storehand's own sources, and those that plugins add.
///
/// # Errors
/// A source whose plugin is not installed, or cannot be used.
pub(super) fn inlets(
    id: &ShopId,
    settings: &config::Shop,
    added: &[&'static dyn Source],
) -> anyhow::Result<BTreeMap<&'static str, Inlet>> {
    let inlet = |(name, secrets): (&String, &Secrets)| {
        let source = shops::source(name).or_else(|| added.iter().copied().find(|source| source.name() == name));
        let source = source.with_context(|| {
            format!(
                "[shop.{id}.sources.{name}]: no plugin `{name}` is installed that adds a source\n  hint: `storehand \
                 plugin install` installs it; where it is installed, the log says what is wrong with it"
            )
        })?;
        Ok((source.name(), Inlet { source, secrets: secrets.clone() }))
    };
    settings.sources.iter().map(inlet).collect()
}
