//! The models as the configuration has them: their settings, themselves, and what shops have trained.

use std::path::Path;

use anyhow::Context as _;

use crate::config::{self, Config, Enabled, Operators};
use crate::models::encoder::{self, Encoder};
use crate::models::intents::Heads;
use crate::models::{self, Known, Model, ModelError, Models, UpstreamSettings};

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
        operators: match config.model.operators {
            Operators::Own => models::Operators::Own,
            Operators::Library => models::Operators::Library,
        },
    }
    .with_variables(|name| std::env::var_os(name))
}

/// The encoder's settings, unless there is to be none.
pub fn encoder_settings(config: &Config) -> Option<encoder::Settings> {
    let model = model_settings(config);
    let folder = config.model.encoder_folder()?;
    Some(encoder::Settings { library: model.library, folder, threads: model.threads, queue: model.queue })
}

/// The heads that shops have trained.
pub fn heads(config: &Config) -> Heads {
    Heads::new(config.store.folder().join("heads"))
}

/// The language model, unless it is off, or not there and not demanded.
///
/// # Errors
/// Where it is there and cannot be used, or is demanded and not there.
pub(super) async fn load_model(config: &Config) -> anyhow::Result<Option<Model>> {
    let settings = model_settings(config);
    if !is_wanted(config, &settings.folder, settings.library.as_deref()) {
        return Ok(None);
    }
    load("the language model cannot be used", move || Model::load(&settings)).await
}

/// The model in this process alone: for what must not leave the building.
pub(super) fn model_here(config: &Config, model: Model) -> Models {
    let known = Known { model, languages: config.model.languages.clone() };
    Models::new(&config.model.name, Some(known), Vec::new())
}

/// The models that may be asked: this one, where it is there, and the configured upstreams.
///
/// # Errors
/// An upstream that cannot be used.
pub fn models(config: &Config, model: Option<Model>) -> anyhow::Result<Models> {
    let usual = model.map(|model| Known { model, languages: config.model.languages.clone() });
    let upstream = |(name, it): (&String, &config::Upstream)| {
        let settings = UpstreamSettings {
            name: name.clone(),
            url: it.url.clone(),
            model: it.model.clone(),
            api_key: it.api_key.clone(),
            timeout: it.timeout,
            max_in_flight: it.max_in_flight,
            max_new_tokens: config.model.max_new_tokens,
        };
        Ok(Known { model: Model::upstream(settings)?, languages: it.languages.clone() })
    };
    let others = config.model.upstreams.iter().map(upstream).collect::<Result<_, ModelError>>()?;
    Ok(Models::new(&config.model.name, usual, others))
}

/// The encoder, unless it is off, or not there and not demanded.
///
/// # Errors
/// Where it is there and cannot be used, or is demanded and not there.
pub async fn load_encoder(config: &Config) -> anyhow::Result<Option<Encoder>> {
    let Some(settings) = encoder_settings(config) else { return Ok(None) };
    if !is_wanted(config, &settings.folder, settings.library.as_deref()) {
        return Ok(None);
    }
    load("the encoder cannot be used", move || Encoder::load(&settings)).await
}

/// Whether a model is to be loaded; where it is not there and need not be, that is said.
fn is_wanted(config: &Config, folder: &Path, library: Option<&Path>) -> bool {
    let there = folder.exists() && library.is_some_and(Path::exists);
    match config.model.enabled {
        Enabled::Off => false,
        Enabled::On => true,
        Enabled::Auto => {
            if !there {
                tracing::warn!(
                    folder = %folder.display(),
                    "a model is not there: rules that use it take their fallback, or fail; `storehand model fetch` gets it"
                );
            }
            there
        }
    }
}

async fn load<T: Send + 'static>(
    problem: &'static str,
    load: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> anyhow::Result<Option<T>> {
    Ok(Some(tokio::task::spawn_blocking(load).await?.context(problem)?))
}
