//! The world `source`.

use serde_json::Value;

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "source",
        pub_export_macro: true,
        default_bindings_module: "storehand_plugin::bindings",
    });
}

pub use bindings::exports::storehand::plugin::deliveries::{Delivery, Fact, Received, Refused, Reply};

/// A plugin that adds a source.
pub trait Source {
    /// Verifies and reads a delivery. Pure: the same delivery gives the same facts.
    ///
    /// # Errors
    /// Why it is not taken; nothing of it is kept then.
    fn receive(delivery: &Delivery, secrets: &[String]) -> Result<Received, Refused>;
}

impl Delivery {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The query's first value of this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`Refused::Malformed`] where it is none.
    pub fn json(&self) -> Result<Value, Refused> {
        serde_json::from_slice(&self.body).map_err(|error| Refused::Malformed(format!("the body is no JSON: {error}")))
    }
}

impl Reply {
    /// 200 with a text.
    pub fn text(body: &str) -> Self {
        Self { status: 200, content_type: "text/plain".to_owned(), body: body.as_bytes().to_vec() }
    }
}

/// Whether two texts are the same, in a time that does not say where they differ.
pub fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

/// Makes a plugin of a type that implements [`Source`].
#[macro_export]
macro_rules! source {
    ($plugin:ty) => {
        #[doc(hidden)]
        struct StorehandPlugin;

        impl $crate::bindings::exports::storehand::plugin::deliveries::Guest for StorehandPlugin {
            fn receive(
                delivery: $crate::Delivery,
                secrets: ::std::vec::Vec<::std::string::String>,
            ) -> ::std::result::Result<$crate::Received, $crate::Refused> {
                <$plugin as $crate::Source>::receive(&delivery, &secrets)
            }
        }

        $crate::bindings::export!(StorehandPlugin with_types_in $crate::bindings);
    };
}
