//! The rule of `storehand bench plugins`, as a plugin.

mod rule;

use storehand_plugin::{Capabilities, Error, Event, Value, json};

struct BenchRule;
storehand_plugin::capabilities!(BenchRule);

impl Capabilities for BenchRule {
    fn answer(_name: &str, input: Value, _event: Event) -> Result<Value, Error> {
        Ok(json!({ "tag": rule::tag(&input) }))
    }
}
