//! A shop's examples: a YAML file of what customers write, by intent and language.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use sha2::{Digest, Sha256};

use super::super::error::ModelError;

/// Bytes of a file.
const LARGEST_FILE: u64 = 32 << 20;

/// Messages of a file, and characters of each. What training takes grows with the square and cube of the former.
const MOST_MESSAGES: usize = 16_000;
const LONGEST_MESSAGE: usize = 2000;

/// Intents of a file, and characters of a name.
const MOST_INTENTS: usize = 500;
const LONGEST_NAME: usize = 64;

/// Messages that an intent must have for anybody to tell it from others.
pub(super) const FEWEST_MESSAGES: usize = 5;

/// The share of wrong answers that is accepted where the file names none.
const ACCEPT_ERRORS: f64 = 0.05;

/// As many messages a single one may stand for.
const MOST_WEIGHT: f64 = 20.0;

/// The share of customers' messages that have no intent, where the file names none.
const OUT_OF_SCOPE_SHARE: f64 = 0.1;

/// What customers write, sorted by what they want.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// What the head made of them is called.
    pub name: String,
    /// Of the messages that get an intent, the share that may get a wrong one; more than 0, less than 1.
    pub accept_errors: f64,
    /// Of the messages that customers write, the share that has no intent: as many as that the messages under
    /// `out_of_scope` stand for, however many they are.
    pub out_of_scope_share: f64,
    /// The intents, in the file's order.
    pub intents: Vec<Intent>,
    /// Messages that are none of them.
    pub out_of_scope: Vec<Message>,
    /// SHA-256 of the file in hex, 32 digits kept.
    pub digest: String,
}

/// One thing that customers want.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// As rules name it: `refund-status`.
    pub name: String,
    /// What it means, by language.
    pub descriptions: Vec<Message>,
    /// Messages of customers who want it.
    pub examples: Vec<Message>,
}

/// What somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    /// BCP 47, as the file says: `zh`.
    pub language: String,
    /// The text.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    accept_errors: Option<f64>,
    out_of_scope_share: Option<f64>,
    intents: Pairs<FileIntent>,
    #[serde(default)]
    out_of_scope: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIntent {
    #[serde(default)]
    description: BTreeMap<String, String>,
    examples: BTreeMap<String, Vec<String>>,
}

/// A map in the file's order, no key of it twice.
struct Pairs<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("intents by their names, each with `examples:`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(other, _)| *other == name) {
                        return Err(de::Error::custom(format!("the intent `{name}` stands there twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Map(std::marker::PhantomData))
    }
}

impl Examples {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::NotUnderstood`] with what is wrong, where, and what to do.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let wrong = |why: String| ModelError::not_understood(path, why);
        let missing = |_| ModelError::Missing {
            what: "the file with examples",
            path: path.to_owned(),
            hint: "name a YAML file of intents, as `examples/intents/customer-service.yaml` is one".into(),
        };
        let size = std::fs::metadata(path).map_err(missing)?.len();
        if size > LARGEST_FILE {
            return Err(wrong(format!("it has {} MiB; {} are the most", size >> 20, LARGEST_FILE >> 20)));
        }
        let text = std::fs::read_to_string(path).map_err(ModelError::io("reading", path))?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Self::parse(&text, &stem).map_err(wrong)
    }

    /// Reads a file's text; `stem` is the name where it gives none.
    pub(super) fn parse(text: &str, stem: &str) -> Result<Self, String> {
        let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let examples = Self {
            name: file.name.unwrap_or_else(|| stem.to_owned()),
            accept_errors: file.accept_errors.unwrap_or(ACCEPT_ERRORS),
            out_of_scope_share: file.out_of_scope_share.unwrap_or(OUT_OF_SCOPE_SHARE),
            intents: file
                .intents
                .0
                .into_iter()
                .map(|(name, intent)| Intent {
                    name,
                    descriptions: intent
                        .description
                        .into_iter()
                        .map(|(language, text)| Message { language, text })
                        .collect(),
                    examples: messages(intent.examples),
                })
                .collect(),
            out_of_scope: messages(file.out_of_scope),
            digest: hex::encode(&Sha256::digest(text)[..16]),
        };
        examples.check()?;
        Ok(examples)
    }

    /// How many messages each of those without an intent stands for.
    pub(super) fn weight_of_others(&self) -> f64 {
        let known: usize = self.intents.iter().map(|intent| intent.examples.len()).sum();
        let wanted = known as f64 * self.out_of_scope_share / (1.0 - self.out_of_scope_share);
        // No single one may decide alone.
        (wanted / self.out_of_scope.len().max(1) as f64).min(MOST_WEIGHT)
    }

    /// All messages, with the places of their intents; those of none last.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&Message, Option<usize>)> {
        let of_intents = self.intents.iter().enumerate();
        let of_intents =
            of_intents.flat_map(|(place, intent)| intent.examples.iter().map(move |message| (message, Some(place))));
        of_intents.chain(self.out_of_scope.iter().map(|message| (message, None)))
    }

    fn check(&self) -> Result<(), String> {
        check_name(&self.name).map_err(|why| format!("`name: {}` {why}", self.name))?;
        if !(self.accept_errors > 0.0 && self.accept_errors < 1.0) {
            return Err(format!(
                "`accept_errors: {}` is no share between 0 and 1; write 0.05 where one answer in twenty may be wrong",
                self.accept_errors
            ));
        }
        if !(self.out_of_scope_share > 0.0 && self.out_of_scope_share < 1.0) {
            return Err(format!(
                "`out_of_scope_share: {}` is no share between 0 and 1; write 0.1 where one message in ten has no intent",
                self.out_of_scope_share
            ));
        }
        if self.intents.len() < 2 || self.intents.len() > MOST_INTENTS {
            return Err(format!(
                "it has {} intent(s); from two to {MOST_INTENTS} can be told from each other",
                self.intents.len()
            ));
        }
        for intent in &self.intents {
            check_name(&intent.name).map_err(|why| format!("the intent `{}` {why}", intent.name))?;
            if intent.name == "none" {
                return Err(
                    "an intent cannot be called `none`, which stands for no intent; put messages that are none \
                            under `out_of_scope`"
                        .into(),
                );
            }
            let descriptions = intent.descriptions.iter();
            for message in descriptions.chain(&intent.examples) {
                check_message(message).map_err(|why| format!("the intent `{}`: {why}", intent.name))?;
            }
        }
        for message in &self.out_of_scope {
            check_message(message).map_err(|why| format!("`out_of_scope`: {why}"))?;
        }
        let count = self.messages().count();
        if count > MOST_MESSAGES {
            return Err(format!("it has {count} messages; {MOST_MESSAGES} are the most"));
        }
        let mut intent_of: BTreeMap<&str, Option<usize>> = BTreeMap::new();
        for (message, intent) in self.messages() {
            let name = |place: Option<usize>| place.map_or("out_of_scope", |place| self.intents[place].name.as_str());
            if let Some(other) = intent_of.insert(&message.text, intent)
                && other != intent
            {
                let (one, two) = (name(other), name(intent));
                return Err(format!("`{}` stands under `{one}` and under `{two}`; keep one of them", message.text));
            }
        }
        Ok(())
    }

    /// Whether there is enough of everything to learn from.
    ///
    /// # Errors
    /// Which intent has too little, and how much would do.
    pub fn check_enough(&self) -> Result<(), String> {
        match self.intents.iter().find(|intent| intent.examples.len() < FEWEST_MESSAGES) {
            None => Ok(()),
            Some(intent) => Err(format!(
                "the intent `{}` has {} message(s); {FEWEST_MESSAGES} are the fewest, and fifteen or more do well",
                intent.name,
                intent.examples.len()
            )),
        }
    }
}

/// Each text once.
fn messages(by_language: BTreeMap<String, Vec<String>>) -> Vec<Message> {
    let mut seen = BTreeSet::new();
    let mut messages = Vec::new();
    for (language, texts) in by_language {
        for text in texts {
            let text = text.trim();
            if seen.insert(text.to_owned()) {
                messages.push(Message { language: language.clone(), text: text.to_owned() });
            }
        }
    }
    messages
}

/// A name that rules can write and folders can have.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.chars().count() > LONGEST_NAME || !name.chars().all(good) {
        return Err(format!("is no name; write 1 to {LONGEST_NAME} letters, digits, `-` and `_`"));
    }
    Ok(())
}

fn check_message(message: &Message) -> Result<(), String> {
    let language = &message.language;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if language.is_empty() || language.len() > 35 || !language.chars().all(good) {
        return Err(format!("`{language}` is no language; write `en` or `zh`"));
    }
    let long = message.text.chars().count();
    if message.text.is_empty() {
        return Err(format!("a message under `{language}` is empty"));
    }
    if long > LONGEST_MESSAGE {
        return Err(format!("a message under `{language}` has {long} characters; {LONGEST_MESSAGE} are the most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
accept_errors: 0.1
intents:
  where:
    description: { en: Where is it, zh: 到哪了 }
    examples:
      en: [where is it, ' where is it ', when does it come]
      zh: [到哪了]
  back:
    examples: { en: [take it back, I return it] }
out_of_scope: { en: [tell me a joke] }
";

    #[test]
    fn a_file_is_read_in_its_order_and_each_message_once() {
        let examples = Examples::parse(GOOD, "shop").expect("it reads");
        assert_eq!((examples.name.as_str(), examples.accept_errors), ("shop", 0.1));
        let names: Vec<&str> = examples.intents.iter().map(|intent| intent.name.as_str()).collect();
        assert_eq!(names, ["where", "back"]);
        assert_eq!(examples.intents[0].examples.len(), 3);
        let places: Vec<Option<usize>> = examples.messages().map(|(_, place)| place).collect();
        assert_eq!(places, [Some(0), Some(0), Some(0), Some(1), Some(1), None]);
        // One of six messages stands for one of ten.
        assert!((examples.weight_of_others() - 5.0 / 9.0).abs() < 1e-12);
        assert!(examples.check_enough().expect_err("few").contains("`where` has 3 message(s)"));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        for (from, to, said) in [
            ("  back:", "  where:", "`where` stands there twice"),
            ("  back:", "  none:", "cannot be called `none`"),
            ("  back:", "  'b c':", "is no name"),
            ("accept_errors: 0.1", "accept_errors: 5", "no share between 0 and 1"),
            ("accept_errors: 0.1", "accept_error: 0.1", "unknown field"),
            ("accept_errors: 0.1", "out_of_scope_share: 10", "no share between 0 and 1"),
            ("I return it", "where is it", "stands under `where` and under `back`"),
            ("tell me a joke", "到哪了", "stands under `where` and under `out_of_scope`"),
            ("tell me a joke", "''", "is empty"),
            ("zh: [到哪了]", "'中文': [到哪了]", "is no language"),
            ("intents:", "intents: [", "line"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = Examples::parse(&text, "shop").expect_err(to);
            assert!(error.contains(said), "{error}");
        }
        let one = "intents: { where: { examples: { en: [a, b] } } }";
        assert!(Examples::parse(one, "shop").expect_err("one").contains("it has 1 intent(s)"));
        let long = GOOD.replace("tell me a joke", &"a".repeat(LONGEST_MESSAGE + 1));
        assert!(Examples::parse(&long, "shop").expect_err("long").contains("2001 characters"));
    }

    #[test]
    fn a_missing_file_is_said_with_an_example() {
        let error = Examples::read(Path::new("/nowhere/intents.yaml")).expect_err("missing");
        assert!(error.to_string().contains("customer-service.yaml"), "{error}");
    }
}
