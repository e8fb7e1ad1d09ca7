//! The models that may be asked, by name: the usual one, which answers where nobody is named, and others.

use std::sync::Arc;

use super::handle::Model;

/// The models that may be asked. A cheap handle, to be cloned and shared.
#[derive(Clone, Debug, Default)]
pub struct Models(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    usual: Option<Known>,
    others: Vec<Known>,
    /// What may be named, whether it is there or not; empty: nobody knows.
    names: Vec<String>,
}

/// A model, with what it is good for.
#[derive(Clone, Debug)]
pub struct Known {
    /// It.
    pub model: Model,
    /// Languages that it writes (BCP 47); empty: any.
    pub languages: Vec<String>,
}

/// Why there is no model to ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoModel {
    /// There is none where nobody is named.
    #[error("there is no language model; `storehand model fetch` gets one, `model.folder` names another")]
    Usual,
    /// None is called so.
    #[error("there is no model `{wanted}` here; {}", among(.there))]
    Unknown {
        /// What was named.
        wanted: String,
        /// What might have been.
        there: Vec<String>,
    },
    /// It is not the one that is wanted: its files have changed, or what an upstream is asked for.
    #[error(
        "the model `{name}` has the digest {found}, and {wanted} is wanted: bring that model back, or try the new one \
         with `storehand model eval` and name it"
    )]
    Other {
        /// The model.
        name: String,
        /// The beginning of the digest that it should have.
        wanted: String,
        /// The digest that it has.
        found: String,
    },
}

fn among(names: &[String]) -> String {
    match names {
        [] => "none is configured (`model.name`, `model.upstreams`)".into(),
        names => format!("there is `{}`", names.join("`, `")),
    }
}

/// The fewest digits of a digest that say which model is meant.
const LEAST_DIGITS: usize = 8;

impl Models {
    /// The usual model, where it is there, and others. `usual_name` is what the usual one is called in any case.
    pub fn new(usual_name: impl Into<String>, usual: Option<Known>, others: Vec<Known>) -> Self {
        let called = usual.as_ref().map(|known| known.model.name().to_owned());
        let mut names = vec![called.unwrap_or_else(|| usual_name.into())];
        names.extend(others.iter().map(|known| known.model.name().to_owned()));
        Self(Arc::new(Inner { usual, others, names }))
    }

    /// Only the usual one, in any language.
    pub fn only(model: Model) -> Self {
        Self::new("", Some(Known { model, languages: Vec::new() }), Vec::new())
    }

    /// None that is there, of these that may be named: for what checks and asks nobody.
    pub fn named(names: Vec<String>) -> Self {
        Self(Arc::new(Inner { names, ..Inner::default() }))
    }

    /// What may be named, whether it is there or not; empty where nobody knows.
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// The one that answers where nobody is named.
    pub fn usual(&self) -> Option<&Known> {
        self.0.usual.as_ref()
    }

    /// Those that are there, the usual one first.
    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.0.usual.iter().chain(&self.0.others)
    }

    /// The one that is wanted: by its name, or by `NAME@DIGEST` with at least the first 8 digits of its digest.
    ///
    /// # Errors
    /// [`NoModel`].
    pub fn find(&self, wanted: Option<&str>) -> Result<&Known, NoModel> {
        let Some(wanted) = wanted else { return self.usual().ok_or(NoModel::Usual) };
        let called = |name: &str| self.all().find(|known| known.model.name() == name);
        let (name, digest) = pinned(wanted);
        if let Some(known) = called(name) {
            return match digest {
                Some(digest) if !known.model.digest().starts_with(digest) => Err(NoModel::Other {
                    name: name.to_owned(),
                    wanted: digest.to_owned(),
                    found: known.model.digest().to_owned(),
                }),
                _ => Ok(known),
            };
        }
        if self.0.usual.is_none() && self.0.names.first().is_some_and(|usual| usual == name) {
            return Err(NoModel::Usual);
        }
        Err(NoModel::Unknown { wanted: wanted.chars().take(80).collect(), there: self.0.names.clone() })
    }
}

/// A name, and the digest that stands behind it.
fn pinned(wanted: &str) -> (&str, Option<&str>) {
    let is_digest = |text: &str| text.len() >= LEAST_DIGITS && text.bytes().all(|it| it.is_ascii_hexdigit());
    match wanted.rsplit_once('@') {
        Some((name, digest)) if is_digest(digest) => (name, Some(digest)),
        _ => (wanted, None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::models::UpstreamSettings;

    fn known(name: &str) -> Known {
        let settings = UpstreamSettings {
            name: name.into(),
            url: "http://127.0.0.1:9/v1".into(),
            model: "m".into(),
            api_key: None,
            timeout: Duration::from_secs(1),
            max_in_flight: 1,
            max_new_tokens: 16,
        };
        Known { model: Model::upstream(settings).expect("an upstream"), languages: Vec::new() }
    }

    #[test]
    fn a_model_is_found_by_its_name_and_its_digest() {
        let models = Models::new("small", Some(known("small")), vec![known("large")]);
        let found = |wanted: Option<&str>| models.find(wanted).map(|known| known.model.name().to_owned());
        let digest = models.all().nth(1).expect("two").model.digest().to_owned();
        assert_eq!((found(None), found(Some("large"))), (Ok("small".into()), Ok("large".into())));
        assert_eq!(found(Some(&format!("large@{digest}"))), Ok("large".into()));
        assert_eq!(found(Some(&format!("large@{}", &digest[..8]))), Ok("large".into()));
        let other = found(Some("large@00000000")).expect_err("another");
        assert!(other.to_string().contains("00000000") && other.to_string().contains(&digest), "{other}");
        // Seven digits say too little: it is taken for a name.
        for wanted in [format!("large@{}", &digest[..7]), "huge".into(), format!("huge@{digest}")] {
            let unknown = found(Some(&wanted)).expect_err("none").to_string();
            assert!(unknown.contains("there is `small`, `large`"), "{unknown}");
        }
    }

    #[test]
    fn a_usual_one_that_is_not_there_is_no_slip() {
        let models = Models::new("small", None, vec![known("large")]);
        let none = |wanted: Option<&str>| models.find(wanted).err();
        assert_eq!((none(None), none(Some("small"))), (Some(NoModel::Usual), Some(NoModel::Usual)));
        assert!(matches!(none(Some("smal")), Some(NoModel::Unknown { .. })));
        assert_eq!(models.names(), ["small", "large"]);
    }
}
