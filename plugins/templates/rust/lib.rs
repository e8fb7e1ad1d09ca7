//! A plugin for Storehand. It is run from its start each time there is a new answer, so it keeps nothing in variables that
//! it wants to know later: `memory` is for that.

use serde::Deserialize;
use storehand_plugin::{Capabilities, Error, Event, Value, json, log, memory, read};

struct Plugin;
storehand_plugin::capabilities!(Plugin);

#[derive(Deserialize)]
struct Greeting {
    customer_id: String,
    name: String,
}

impl Capabilities for Plugin {
    fn answer(name: &str, input: Value, _event: Event) -> Result<Value, Error> {
        match name {
            "greeting.make" => greet(&read(input)?),
            _ => Err(Error::Invalid(format!("there is no `{name}` here"))),
        }
    }
}

fn greet(whom: &Greeting) -> Result<Value, Error> {
    // What the shop remembers for a plugin has the plugin's name in front.
    let times = memory::add(&format!("NAME/greeted/{}", whom.customer_id), 1)?;
    log(&format!("greeted for time {times}"));
    Ok(json!({ "text": format!("Hello {}", whom.name), "times": times }))
}
