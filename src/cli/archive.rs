//! Rules and what is on record of them, for commands that look at files without a server.

use std::path::Path;
use std::sync::Arc;

use super::Hinted;
use crate::config::Config;
use crate::domain::{Roles, ShopId, previous};
use crate::engine::Registry;
use crate::rules::{self, Rule, Severity};
use crate::store::Archive;

/// The shop that is meant.
pub(super) fn shop<'c>(config: &'c Config, named: Option<&str>) -> Result<&'c ShopId, Hinted> {
    let names = || config.shops.keys().map(ShopId::as_str).collect::<Vec<_>>().join(", ");
    match named {
        Some(name) => config.shops.keys().find(|shop| shop.as_str() == name).ok_or_else(|| {
            Hinted::new(format!("there is no shop `{name}`"), format!("the configuration has: {}", names()))
        }),
        None if config.shops.len() == 1 => Ok(config.shops.keys().next().unwrap_or_else(|| unreachable!())),
        None if config.shops.is_empty() => {
            Err(Hinted::new("the configuration names no shop", "say which one with `--config FILE`"))
        }
        None => Err(Hinted::new("there are several shops", format!("add `--shop` and one of: {}", names()))),
    }
}

/// The version of a rule that plays a part: `live`, `shadow`, `previous`; else the one whose name begins like this.
pub(super) async fn named(
    archive: &Archive,
    shop: &ShopId,
    (rule, name): (&str, &str),
    registry: &Registry,
) -> anyhow::Result<Arc<Rule>> {
    if !matches!(name, "live" | "shadow" | "previous") {
        return version(archive, shop, rule, name, registry).await;
    }
    let history = archive.role_changes(shop, rule).await?;
    let roles = Roles::of(&history).versions();
    let found = match name {
        "live" => roles.live,
        "shadow" => roles.shadow,
        _ => previous(&history).map(str::to_owned),
    };
    match found {
        Some(found) => version(archive, shop, rule, &found, registry).await,
        None if history.is_empty() => Err(never_live(archive, shop, rule).await?),
        None => {
            let versions = archive.versions(shop, rule).await?;
            let names = versions.iter().take(10).map(|kept| kept.version.as_str()).collect::<Vec<_>>().join(", ");
            let hint = format!("name one of those that are kept, the newest first: {names}");
            Err(Hinted::new(format!("`{rule}` has no {name} version now"), hint).into())
        }
    }
}

/// The version of a rule whose name begins like this.
pub(super) async fn version(
    archive: &Archive,
    shop: &ShopId,
    rule: &str,
    begins: &str,
    registry: &Registry,
) -> anyhow::Result<Arc<Rule>> {
    let versions = archive.versions(shop, rule).await?;
    let mut fitting = versions.iter().filter(|kept| !begins.is_empty() && kept.version.starts_with(begins));
    let names = || versions.iter().take(10).map(|kept| kept.version.as_str()).collect::<Vec<_>>().join(", ");
    let version = match (fitting.next(), fitting.next()) {
        (Some(kept), None) => kept.version.clone(),
        (Some(_), Some(_)) => {
            let message = format!("several versions of `{rule}` begin with `{begins}`");
            return Err(Hinted::new(message, format!("write more of it: {}", names())).into());
        }
        (None, _) if versions.is_empty() => return Err(never_live(archive, shop, rule).await?),
        (None, _) => {
            let message = format!("no version `{begins}` of `{rule}` is kept");
            return Err(Hinted::new(message, format!("kept are, the newest first: {}", names())).into());
        }
    };
    let bundle = archive.bundle(shop, rule, &version).await?.unwrap_or_default();
    let read = rules::from_bundle(&bundle, registry.catalog());
    let rule = read.map_err(|why| {
        Hinted::new(
            format!("version {version} of `{rule}` cannot be run: {why}"),
            "name another version, or use the Storehand that ran it",
        )
    })?;
    Ok(Arc::new(rule))
}

async fn never_live(archive: &Archive, shop: &ShopId, rule: &str) -> anyhow::Result<anyhow::Error> {
    let rules = archive.rules(shop).await?;
    let hint = match rules.as_slice() {
        [] => "no rule of this shop was ever live in this store".to_owned(),
        rules => format!("rules that were: {}; a rule file is named by its path", rules.join(", ")),
    };
    Ok(Hinted::new(format!("no version of a rule `{rule}` was ever live"), hint).into())
}

/// The rule in a file, as this shop has tuned it.
pub(super) fn from_file(path: &Path, config: &Config, shop: &ShopId, registry: &Registry) -> anyhow::Result<Arc<Rule>> {
    if !path.is_file() {
        let message = format!("there is no rule file {}", path.display());
        return Err(Hinted::new(message, "name a rule file, or the id of a rule").into());
    }
    let loaded = rules::load(&[path.to_owned()], registry.catalog());
    let errors: Vec<String> =
        loaded.findings.iter().filter(|finding| finding.severity == Severity::Error).map(ToString::to_string).collect();
    let rule = loaded.rules.into_iter().next().and_then(Arc::into_inner).filter(|_| errors.is_empty());
    let rule =
        rule.ok_or_else(|| Hinted::new(errors.join("\n"), "mend the rule first: `storehand rules check` too"))?;
    let tuning = config.shops[shop].inputs.get(&rule.id).cloned().unwrap_or_default();
    let tuned = rule.tuned(&tuning).map_err(|mistakes| {
        Hinted::new(mistakes.join("\n"), "the configuration tunes this rule with values that do not fit it")
    })?;
    Ok(Arc::new(tuned))
}
