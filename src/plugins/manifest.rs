//! `plugin.toml`: what a plugin is, what it provides, and what it wants and why.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::PluginError;
use crate::domain::{EVENT_TYPES, Validator, is_of_kind, validate};

/// Its name beside the component.
pub(super) const FILE: &str = "plugin.toml";
/// The largest manifest, in bytes.
pub(super) const LARGEST: u64 = 256 << 10;
/// The most memory that a plugin may ask for, in MiB.
pub(super) const MOST_MEMORY_MIB: usize = 256;
/// The most elements of a table: Python's interpreter has some 12,000.
pub(super) const MOST_TABLE_ELEMENTS: usize = 65_536;
/// The grant that gives a plugin the event's records.
pub(super) const RECORDS: &str = "event.records";
/// Capabilities that every plugin has without asking: they reach nobody and change nothing.
pub(super) const FREE: [&str; 2] = ["log", "wait"];

/// A plugin's manifest, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 3 to 40 of `a-z`, `0-9` and `-`, with a `-` in it: the maker's name and the plugin's, `acme-loyalty`.
    pub name: String,
    /// Three numbers: `1.2.0`.
    pub version: String,
    /// SPDX: `MIT`.
    pub licence: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The component's file beside the manifest.
    #[serde(default = "component")]
    pub component: String,
    /// The capabilities that it adds.
    #[serde(default, rename = "capability")]
    pub capabilities: Vec<Provides>,
    /// The source that it adds.
    #[serde(default)]
    pub source: Option<ProvidesSource>,
    /// The events that it waits for, written out; with `wait_for` among its wants.
    #[serde(default)]
    pub awaits: Vec<String>,
    /// The capabilities and hosts that it wants.
    #[serde(default)]
    pub wants: Vec<Want>,
    /// What it asks for.
    #[serde(default)]
    pub limits: Bounds,
}

/// A capability that a plugin adds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provides {
    /// Without the plugin's own name: `points.add`.
    pub name: String,
    /// One or two sentences for merchants.
    pub about: String,
    /// JSON Schema of the input: an object.
    pub input: Json,
    /// JSON Schema of the answer.
    pub output: Json,
    /// A use of it: its page, and its stand-in answer.
    pub example: Use,
}

/// An input and the answer it gets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Fits the input schema.
    pub input: Json,
    /// Fits the output schema.
    pub answer: Json,
}

/// A source that a plugin adds. Deliveries come in at `/hooks/SHOP/NAME`, with the plugin's name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvidesSource {
    /// What it receives, in a sentence.
    pub about: String,
}

/// Something that a plugin wants, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Want {
    /// To use a capability, or to see the event's records (`event.records`).
    Capability {
        /// `order.tag`.
        capability: String,
        /// One sentence, shown to the merchant.
        why: String,
    },
    /// To speak to a host over HTTPS; with `http.request` among its wants.
    Host {
        /// `api.example.com`.
        host: String,
        /// One sentence, shown to the merchant.
        why: String,
    },
}

impl Want {
    /// What a shop grants: `order.tag`, `host:api.example.com`.
    pub fn grant(&self) -> String {
        match self {
            Self::Capability { capability, .. } => capability.clone(),
            Self::Host { host, .. } => format!("host:{host}"),
        }
    }

    /// Why it is wanted.
    pub fn why(&self) -> &str {
        match self {
            Self::Capability { why, .. } | Self::Host { why, .. } => why,
        }
    }
}

/// What one pass may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Linear memory of all its modules, in MiB: 1 to 256.
    pub memory_mib: usize,
    /// Wall-clock time, in milliseconds: 10 to 5,000.
    pub time_ms: u64,
    /// Calls of one use of it, log lines not counted: 1 to 500.
    pub calls: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_mib: 64, time_ms: 500, calls: 100 }
    }
}

impl Bounds {
    /// The time of one pass.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}

fn component() -> String {
    "plugin.wasm".to_owned()
}

impl Manifest {
    /// Reads a manifest; `file` is for messages.
    ///
    /// # Errors
    /// [`PluginError::Manifest`] with every mistake that can be found.
    pub fn read(file: &Path, text: &str) -> Result<Self, PluginError> {
        let wrong = |problem: String| PluginError::Manifest { file: file.display().to_string(), problem };
        let manifest: Self = toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let mistakes = manifest.mistakes();
        if mistakes.is_empty() { Ok(manifest) } else { Err(wrong(mistakes.join("\n"))) }
    }

    fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut must = |holds: bool, mistake: &dyn Fn() -> String| {
            if !holds {
                mistakes.push(mistake());
            }
        };
        must(is_plugin_name(&self.name), &|| {
            format!(
                "`name` is `{}`; write 3 to 40 of a-z, 0-9 and `-`, the maker's name first: `acme-loyalty`",
                self.name
            )
        });
        must(is_version(&self.version), &|| format!("`version` is `{}`; write three numbers: `1.0.0`", self.version));
        must(is_sentence(&self.licence), &|| "`licence` is empty; write its SPDX name: `MIT`".to_owned());
        must(is_sentence(&self.about), &|| "`about` is empty; say in a sentence what it is for".to_owned());
        must(is_file_name(&self.component), &|| {
            format!("`component` is `{}`; name a file beside the manifest, such as `plugin.wasm`", self.component)
        });
        must(self.capabilities.is_empty() != self.source.is_none(), &|| {
            "a plugin adds capabilities (`[[capability]]`) or a source (`[source]`): one of the two".to_owned()
        });
        must(self.capabilities.len() <= 50, &|| "a plugin adds at most 50 capabilities".to_owned());
        must(self.source.is_none() || self.wants.is_empty(), &|| {
            "a source has no door and so can want nothing: take out `wants`".to_owned()
        });
        for event in &self.awaits {
            must(EVENT_TYPES.iter().any(|known| is_of_kind(known.name, event)), &|| {
                format!("`awaits` names `{event}`, and there is no such event")
            });
        }
        let mut names = BTreeSet::new();
        for it in &self.capabilities {
            let name = &it.name;
            must(names.insert(name), &|| format!("two capabilities are called `{name}`"));
            must(is_dotted(name), &|| {
                format!("a capability is called `{name}`; write two words of a-z, 0-9 and `_` with a dot: `points.add`")
            });
            must(is_sentence(&it.about), &|| format!("`{name}`: `about` is empty; say what it does"));
            for (what, schema, example) in
                [("input", &it.input, &it.example.input), ("output", &it.output, &it.example.answer)]
            {
                let wrong = Validator::new(schema).err().or_else(|| validate(schema, example).err());
                let wrong = wrong.unwrap_or_default();
                must(wrong.is_empty(), &|| format!("`{name}`: `{what}` and the example do not go together: {wrong}"));
            }
            must(it.input["type"] == "object", &|| format!("`{name}`: `input` must be of `type = \"object\"`"));
        }
        let mut wants = BTreeSet::new();
        for want in &self.wants {
            let grant = want.grant();
            must(is_sentence(want.why()), &|| format!("`{grant}`: `why` is empty; the merchant is shown it"));
            must(wants.insert(grant.clone()), &|| format!("`{grant}` is wanted twice"));
            match want {
                Want::Capability { capability, .. } => {
                    must(capability.split('/').next_back().is_some_and(is_dotted) || capability == "wait_for", &|| {
                        format!("`{capability}` is no capability's name")
                    });
                }
                Want::Host { host, .. } => must(is_public_name(host), &|| {
                    format!("`{host}` is no name of a public host; write it without `https://`, port and path")
                }),
            }
        }
        let Bounds { memory_mib, time_ms, calls } = self.limits;
        must((1..=MOST_MEMORY_MIB).contains(&memory_mib), &|| {
            format!("`limits.memory_mib` is {memory_mib}; 1 to {MOST_MEMORY_MIB} can be had")
        });
        must((10..=5000).contains(&time_ms), &|| format!("`limits.time_ms` is {time_ms}; 10 to 5000 can be had"));
        must((1..=500).contains(&calls), &|| format!("`limits.calls` is {calls}; 1 to 500 can be had"));
        mistakes
    }

    /// The digest of what it wants: a shop that has granted one is asked again when it changes.
    pub fn wants_digest(&self) -> String {
        let mut wants: Vec<String> = self.wants.iter().map(Want::grant).collect();
        wants.sort();
        hex::encode(&Sha256::digest(wants.join("\n"))[..4])
    }

    /// Whether another version shows rules and shops the same: then it may take this one's place while the server runs.
    pub fn looks_like(&self, other: &Self) -> bool {
        self.capabilities == other.capabilities
            && self.awaits == other.awaits
            && self.source.is_some() == other.source.is_some()
            && self.wants_digest() == other.wants_digest()
    }

    /// The capability of this name, without the plugin's own.
    pub fn capability(&self, name: &str) -> Option<&Provides> {
        self.capabilities.iter().find(|it| it.name == name)
    }
}

fn is_plugin_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edges = !name.starts_with('-') && !name.ends_with('-');
    (3..=40).contains(&name.len()) && name.bytes().all(plain) && edges && name.contains('-')
}

fn is_version(version: &str) -> bool {
    let number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    version.split('.').count() == 3 && version.split('.').all(number)
}

fn is_sentence(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 400
}

fn is_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=80).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

fn is_dotted(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    name.len() <= 64 && name.split('.').count() == 2 && name.split('.').all(word)
}

/// Names that everybody can look up: not an address, not a name of this machine or of a network of its own.
fn is_public_name(host: &str) -> bool {
    let label = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&part.len()) && part.bytes().all(plain) && !part.starts_with('-') && !part.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let own = ["local", "localhost", "internal", "lan", "home", "corp", "intranet", "localdomain"];
    let is_name = last.bytes().any(|b| b.is_ascii_alphabetic()) && !last.starts_with("0x");
    host.len() <= 253 && host.contains('.') && host.split('.').all(label) && is_name && !own.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&str) -> String) -> String {
        let good = r#"
            name = "acme-loyalty"
            version = "1.0.0"
            licence = "MIT"
            about = "Points."
            wants = [{ capability = "memory.add", why = "Keeps the points." }, { host = "api.example.com", why = "Asks." }]
            [[capability]]
            name = "points.add"
            about = "Adds points."
            input = { type = "object" }
            output = { type = "object" }
            example = { input = {}, answer = {} }
        "#;
        Manifest::read(Path::new("plugin.toml"), good).expect("the good one");
        match Manifest::read(Path::new("plugin.toml"), &change(good)) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn mistakes_are_said_all_at_once() {
        let all = problem(|good| good.replace("acme-loyalty", "Acme").replace("1.0.0", "1.0").replace("Points.", " "));
        assert!(
            ["`name` is `Acme`", "`version` is `1.0`", "`about` is empty"].iter().all(|it| all.contains(it)),
            "{all}"
        );
    }

    #[test]
    fn what_would_mislead_is_a_mistake() {
        for (from, to, expected) in [
            ("licence", "license", "unknown field `license`"),
            ("api.example.com", "127.0.0.1", "no name of a public host"),
            ("api.example.com", "db.internal", "no name of a public host"),
            ("api.example.com", "localhost", "no name of a public host"),
            ("api.example.com", "0x7f.1", "no name of a public host"),
            ("why = \"Asks.\"", "why = \"\"", "the merchant is shown it"),
            ("points.add", "points", "is called `points`"),
            ("example = { input = {}", "example = { input = 5", "do not go together"),
            ("output = { type = \"object\" }", "output = { type = \"nothing\" }", "the schema itself is wrong"),
            ("[[capability]]", "limits = { memory_mib = 1000 }\n[[capability]]", "1 to 256 can be had"),
        ] {
            let problem = problem(|good| good.replace(from, to));
            assert!(problem.contains(expected), "{from} as {to}: {problem}");
        }
    }

    #[test]
    fn the_digest_of_the_wants_does_not_depend_on_their_order_or_reasons() {
        let manifest = |wants: &str| {
            let text = format!(
                "name = \"a-b\"\nversion = \"1.0.0\"\nlicence = \"MIT\"\nabout = \"A.\"\nwants = [{wants}]\n[[capability]]\nname = \"a.b\"\nabout = \"A.\"\n\
                 input = {{ type = \"object\" }}\noutput = {{}}\nexample = {{ input = {{}}, answer = 1 }}"
            );
            Manifest::read(Path::new("plugin.toml"), &text).expect("a manifest").wants_digest()
        };
        let (one, two) = (r#"{ capability = "order.tag", why = "A." }"#, r#"{ host = "a.example", why = "B." }"#);
        assert_eq!(manifest(&format!("{one}, {two}")), manifest(&format!("{two}, {}", one.replace("A.", "C."))));
        assert_ne!(manifest(one), manifest(two));
    }
}
