//! What rules may use: Storehand's own capabilities, and those of the plugins that are installed.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::models::{heads, load_encoder, load_model, model_here};
use crate::capabilities;
use crate::config::Config;
use crate::domain::Kind;
use crate::engine::Registry;
use crate::models::Models;
use crate::models::encoder::Encoder;
use crate::plugins::{Folder, Grant, Grants, Plugins};

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
    let deps = capabilities::Deps { models: Models::named(config.model.names()), ..capabilities::Deps::default() };
    Ok(Arc::new(registry(deps, &plugins)?))
}

/// What rules are checked against and tried with where these plugins are there.
///
/// # Errors
/// As [`unconnected`].
pub fn unconnected_with(plugins: &Arc<Plugins>) -> anyhow::Result<Arc<Registry>> {
    Ok(Arc::new(registry(capabilities::Deps::default(), plugins)?))
}

/// The same with the model in this process, and with no upstream: a trial sends nothing out of the building.
///
/// # Errors
/// Where there is no model, or it cannot be used.
pub async fn unconnected_with_model(config: &Config) -> anyhow::Result<Arc<Registry>> {
    let model = load_model(config).await?.context("there is no model\n  hint: `storehand model fetch` gets one")?;
    let encoder = load_encoder(config).await?;
    let plugins = Plugins::open(Folder::within(config.store.folder()), Grants::default())?;
    Ok(Arc::new(registry(deps(config, model_here(config, model), encoder), &plugins)?))
}

pub(super) fn deps(config: &Config, models: Models, encoder: Option<Encoder>) -> capabilities::Deps {
    capabilities::Deps { models, encoder, heads: Some(heads(config)) }
}

pub(super) fn registry(deps: capabilities::Deps, plugins: &Arc<Plugins>) -> anyhow::Result<Registry> {
    let mut all = capabilities::all(deps);
    let writes: BTreeSet<&str> =
        all.iter().map(|it| it.spec()).filter(|spec| spec.kind == Kind::Write).map(|spec| spec.name).collect();
    all.extend(plugins.capabilities(&|name| writes.contains(name)));
    Registry::new(all).map_err(anyhow::Error::msg)
}

/// Looks for newly installed versions of plugins, again and again.
pub(super) async fn take_up_plugins(plugins: Arc<Plugins>, stop: CancellationToken) {
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
pub(super) fn plugins(config: &Config) -> anyhow::Result<Arc<Plugins>> {
    let grant = |(name, it): (&String, &crate::config::PluginGrant)| {
        (name.clone(), Grant { granted: it.grant.iter().cloned().collect(), wants: it.wants.clone() })
    };
    let shops = config.shops.iter().map(|(id, shop)| (id.clone(), shop.plugins.iter().map(grant).collect()));
    Ok(Plugins::open(Folder::within(config.store.folder()), Grants::new(shops.collect()))?)
}
