//! What a shop has granted a plugin.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{FREE, Manifest};
use crate::domain::{Failure, ShopId};

/// What one shop has granted one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// `order.tag`, `host:api.example.com`, `event.records`.
    pub granted: BTreeSet<String>,
    /// The digest of the wants that were granted; `None`: whatever they are.
    pub wants: Option<String>,
}

/// Who has granted what: by shop, then by plugin.
#[derive(Clone, Debug, Default)]
pub struct Grants(BTreeMap<ShopId, BTreeMap<String, Grant>>);

impl Grants {
    /// Those of these shops. A shop that is not among them is none: rules that are only tried have all that is wanted.
    pub fn new(shops: BTreeMap<ShopId, BTreeMap<String, Grant>>) -> Self {
        Self(shops)
    }

    /// Whether a plugin may run in a shop at all.
    ///
    /// # Errors
    /// `denied`, with what to do.
    pub(super) fn may_run(&self, shop: &ShopId, manifest: &Manifest) -> Result<(), Failure> {
        let Some(plugins) = self.0.get(shop) else { return Ok(()) };
        let name = &manifest.name;
        let denied = |why: String| {
            Err(Failure::new(
                "denied",
                format!("{why}\n  hint: `storehand plugin grant {name} --shop {shop}` shows what it wants"),
            ))
        };
        match plugins.get(name) {
            None => denied(format!("the shop has not granted the plugin `{name}` anything")),
            Some(Grant { wants: Some(wants), .. }) if *wants != manifest.wants_digest() => {
                denied(format!("`{name}` {} wants something else than what the shop has granted", manifest.version))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether a plugin has been granted this in a shop.
    ///
    /// # Errors
    /// `denied`, with the name of the missing grant.
    pub(super) fn has(&self, shop: &ShopId, manifest: &Manifest, wanted: &str) -> Result<(), Failure> {
        if FREE.contains(&wanted) {
            return Ok(());
        }
        let name = &manifest.name;
        if !manifest.wants.iter().any(|want| want.grant() == wanted) {
            return Err(Failure::new("denied", format!("the manifest of `{name}` does not want `{wanted}`")));
        }
        let Some(plugins) = self.0.get(shop) else { return Ok(()) };
        if plugins.get(name).is_some_and(|grant| grant.granted.contains(wanted)) {
            return Ok(());
        }
        let message = format!("the shop has not granted `{wanted}` to the plugin `{name}`");
        Err(Failure::new("denied", message))
    }
}
