//! Sources that plugins add: a delivery is verified and read by a component that has nothing but the delivery and its
//! source's secrets.

use std::sync::Arc;

use jiff::Timestamp;

use super::border::{self, MOST_FACTS, MOST_REPLY};
use super::broken::Broken;
use super::provided::{Plugin, Plugins, kept};
use super::state::State;
use crate::domain::{Delivery, EVENT_TYPES, NewEvent, Received, Records, Refused, Reply, Secrets, Source, Verified};

/// Events that no platform reports: Storehand makes them itself, or they would have a shop forgotten.
const NOT_THEIRS: [&str; 4] = ["inventory.low", "schedule.due", "shop.redacted", "source.silent"];
/// The longest texts of a fact but its payload, in bytes.
const LONGEST: usize = 512;

/// A plugin's source.
pub(super) struct PluginSource {
    name: &'static str,
    plugin: Arc<Plugin>,
    plugins: Arc<Plugins>,
}

impl PluginSource {
    pub(super) fn new(plugin: Arc<Plugin>, plugins: Arc<Plugins>) -> Self {
        Self { name: kept(&plugin.manifest.name), plugin, plugins }
    }

    /// What the component makes of a delivery.
    fn ask(&self, delivery: &Delivery<'_>, secrets: &Secrets) -> Result<border::Received, Refused> {
        let plugin = &*self.plugins.newest(&self.plugin);
        let unable = |why: String| Refused::Unable(format!("the plugin `{}`: {why}", plugin.manifest.name));
        if let Some((_, why)) = self.plugins.suspended(plugin) {
            return Err(unable(why));
        }
        let now = u64::try_from(delivery.received.as_second()).unwrap_or(0);
        // The same delivery is read the same way each time: nothing is left to chance.
        let state = State::new(plugin.manifest.limits, [0; 32], now, None);
        let asked = border::Delivery {
            method: delivery.method.to_owned(),
            query: delivery.query.to_vec(),
            headers: delivery.headers.to_vec(),
            body: delivery.body.to_vec(),
            received: now,
        };
        let secrets: Vec<String> = secrets.iter().map(|secret| secret.reveal().to_owned()).collect();
        match self.plugins.pass::<_, Result<border::Received, border::Refused>>(plugin, state, (asked, secrets)) {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(border::Refused::Signature(why))) => Err(Refused::Unsigned(shortened(&why))),
            Ok(Err(border::Refused::Stale(seconds))) => Err(Refused::Unsigned(format!(
                "the delivery was signed {seconds} s away from now, which is too far off"
            ))),
            Ok(Err(border::Refused::Malformed(why))) => Err(Refused::Malformed(shortened(&why))),
            Err(Broken::Off(why) | Broken::NoRoom(why)) => Err(unable(why)),
            Err(Broken::NotYet) => Err(unable("it waits, and a source has nothing to wait for".to_owned())),
        }
    }

    /// A plugin has handed over what it must not.
    fn wrong(&self, why: &str) -> Refused {
        self.plugins.broke(&self.plugin, why);
        Refused::Unable(format!("the plugin `{}`: {why}", self.plugin.manifest.name))
    }
}

impl Source for PluginSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused> {
        if secrets.iter().next().is_none() {
            return Err(Refused::Unsigned("this source has no secret".to_owned()));
        }
        let mut received = None;
        // The component's word is the check: it does not hand over facts of a delivery that it has not verified.
        let verified = delivery.verify(|delivery| {
            received = Some(self.ask(delivery, secrets)?);
            Ok(())
        })?;
        let Some(border::Received { facts, reply }) = received else { return Err(self.wrong("it said nothing")) };
        if facts.len() > MOST_FACTS {
            return Err(self.wrong(&format!("it reports more than {MOST_FACTS} facts of one delivery")));
        }
        let events = facts.into_iter().map(|fact| event(&verified, fact)).collect::<Result<_, _>>();
        let events = events.map_err(|why: String| self.wrong(&why))?;
        let reply = read_reply(reply).map_err(|why| self.wrong(&why))?;
        Ok(Received { events, reply })
    }
}

fn event(verified: &Verified<'_>, fact: border::Fact) -> Result<NewEvent, String> {
    let border::Fact { kind, topic, subject, time, delivery_key, records, payload } = fact;
    if let Some(kind) = &kind
        && (NOT_THEIRS.contains(&kind.as_str()) || !EVENT_TYPES.iter().any(|known| known.name == kind))
    {
        return Err(format!("it reports `{}`, and that is no event of a platform", shortened(kind)));
    }
    for (what, text) in [("topic", &topic), ("subject", &subject), ("delivery-key", &delivery_key)] {
        if text.trim().is_empty() || text.len() > LONGEST {
            return Err(format!("the `{what}` of a fact must have 1 to {LONGEST} bytes"));
        }
    }
    let records: Records = serde_json::from_str(&records)
        .map_err(|error| format!("the `records` of a fact are not as REFERENCE.md lists them: {error}"))?;
    let mut event = verified.event(kind.as_deref(), &topic, &subject, delivery_key, payload);
    event.records = records;
    if let Some(time) = time {
        event.time = time
            .parse::<Timestamp>()
            .map_err(|error| format!("the `time` of a fact, `{}`, is not RFC 3339: {error}", shortened(&time)))?;
    }
    Ok(event)
}

fn read_reply(reply: border::Reply) -> Result<Reply, String> {
    let border::Reply { status, content_type, body } = reply;
    let content_type = match content_type.as_str() {
        "" => "",
        "text/plain" => "text/plain; charset=utf-8",
        "application/json" => "application/json",
        other => {
            return Err(format!("its reply is `{}`; it may be `text/plain` or `application/json`", shortened(other)));
        }
    };
    if !(200..300).contains(&status) {
        return Err(format!("its reply has status {status}; what is not taken is refused instead"));
    }
    if body.len() > MOST_REPLY {
        return Err(format!("its reply has more than {} KiB", MOST_REPLY >> 10));
    }
    Ok(Reply { status, content_type, body })
}

fn shortened(text: &str) -> String {
    text.chars().take(300).collect()
}
