//! The world `capability`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capability",
        pub_export_macro: true,
        default_bindings_module: "storehand_plugin::bindings",
    });
}

pub use bindings::exports::storehand::plugin::capabilities::{Error, Event};
use bindings::storehand::plugin::door;
pub use bindings::storehand::plugin::types::Later;

/// A plugin that adds capabilities.
pub trait Capabilities {
    /// Answers one use of the capability `name` (`points.add`). The input fits the manifest's schema; so must the answer.
    ///
    /// # Errors
    /// What the rule sees, or that it is to be asked again later.
    fn answer(name: &str, input: Value, event: Event) -> Result<Value, Error>;
}

/// Why a call was not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Stable: `denied`, `limited`, `refused`, …
    pub code: String,
    /// For people.
    pub message: String,
    /// What belongs to it.
    pub detail: Value,
}

impl From<Failure> for Error {
    /// What failed the plugin's call fails the plugin, in the same words: a person who has the run retried has that call
    /// made again.
    fn from(failure: Failure) -> Self {
        Self::Fatal(format!("{} ({})", failure.message, failure.code))
    }
}

/// Asks a capability for something. Where there is no answer yet, this does not return: the plugin is run again when
/// there is one.
///
/// # Errors
/// Why it was not done.
pub fn ask(capability: &str, input: impl Serialize) -> Result<Value, Failure> {
    asked(capability, &input, None)
}

/// The same with a name for this call: for people, and for a test's mocks.
///
/// # Errors
/// Why it was not done.
pub fn ask_as(label: &str, capability: &str, input: impl Serialize) -> Result<Value, Failure> {
    asked(capability, &input, Some(door::Options { label: Some(label.to_owned()), attempts: None }))
}

/// A question to a capability, whose answer has a type: what [`typed`](crate::typed) is made of.
pub trait Question: Serialize {
    /// The capability's name.
    const CAPABILITY: &'static str;
    /// What it answers.
    type Answer: DeserializeOwned;

    /// Asks it. Where there is no answer yet, this does not return, as with [`ask`].
    ///
    /// # Errors
    /// Why it was not done.
    fn ask(&self) -> Result<Self::Answer, Failure> {
        typed(ask(Self::CAPABILITY, self)?)
    }

    /// The same with a name for this call: for people, and for a test's mocks.
    ///
    /// # Errors
    /// Why it was not done.
    fn ask_as(&self, label: &str) -> Result<Self::Answer, Failure> {
        typed(ask_as(label, Self::CAPABILITY, self)?)
    }
}

fn typed<T: DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| Failure {
        code: "not_understood".to_owned(),
        message: format!("the answer is not as the capability declares it: {error}"),
        detail: Value::Null,
    })
}

fn asked(capability: &str, input: &impl Serialize, options: Option<door::Options>) -> Result<Value, Failure> {
    let unreadable = |error: serde_json::Error| Failure {
        code: "invalid_input".to_owned(),
        message: format!("`{capability}`: {error}"),
        detail: Value::Null,
    };
    let input = serde_json::to_string(input).map_err(unreadable)?;
    match door::ask(capability, &input, options.as_ref()) {
        Ok(answer) => serde_json::from_str(&answer).map_err(unreadable),
        Err(door::Failure { code, message, detail }) => {
            Err(Failure { code, message, detail: serde_json::from_str(&detail).unwrap_or_default() })
        }
    }
}

/// The time of the last answer, or of the beginning: seconds since 1970, UTC.
pub fn now() -> u64 {
    door::now()
}

/// A line in the run's journal.
pub fn log(message: &str) {
    door::log(message);
}

/// Goes on later: `10m`, `24h`, `14d`.
///
/// # Errors
/// Where that is no length of time.
pub fn wait(length: &str) -> Result<(), Failure> {
    ask("wait", json!({ "for": length })).map(drop)
}

/// What the shop remembers for this plugin. A key begins with the plugin's name and `/`.
pub mod memory {
    use super::*;

    /// The value, `null` where there is none. The manifest wants `memory.get`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn get(key: &str) -> Result<Value, Failure> {
        ask("memory.get", json!({ "key": key })).map(|mut answer| answer["value"].take())
    }

    /// Writes a value. The manifest wants `memory.set`.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn set(key: &str, value: impl Serialize) -> Result<(), Failure> {
        ask("memory.set", json!({ "key": key, "value": json!(value) })).map(drop)
    }

    /// Adds to a number and says the sum; many runs may add at once and none is lost. The manifest wants `memory.add`.
    ///
    /// # Errors
    /// Where what is remembered is no number.
    pub fn add(key: &str, by: i64) -> Result<Value, Failure> {
        ask("memory.add", json!({ "key": key, "by": by })).map(|mut answer| answer["value"].take())
    }
}

/// Reads an input into a type of the plugin's own.
///
/// # Errors
/// [`Error::Invalid`] with what does not fit.
pub fn read<T: DeserializeOwned>(input: Value) -> Result<T, Error> {
    serde_json::from_value(input).map_err(|error| Error::Invalid(error.to_string()))
}

#[doc(hidden)]
pub fn answer<P: Capabilities>(name: &str, input: &str, event: Event) -> Result<String, Error> {
    let input = serde_json::from_str(input).map_err(|error| Error::Invalid(error.to_string()))?;
    P::answer(name, input, event).map(|answer| answer.to_string())
}

/// Makes a plugin of a type that implements [`Capabilities`].
#[macro_export]
macro_rules! capabilities {
    ($plugin:ty) => {
        #[doc(hidden)]
        struct StorehandPlugin;

        impl $crate::bindings::exports::storehand::plugin::capabilities::Guest for StorehandPlugin {
            fn answer(
                name: ::std::string::String,
                input: ::std::string::String,
                event: $crate::Event,
            ) -> ::std::result::Result<::std::string::String, $crate::Error> {
                $crate::answer::<$plugin>(&name, &input, event)
            }
        }

        $crate::bindings::export!(StorehandPlugin with_types_in $crate::bindings);
    };
}
