//! JSON Schemas of capabilities: shorthands to write them, and checking a value against one.

use serde_json::{Value as Json, json};

/// Shorthands for the few shapes that capabilities use, so that a declaration stays readable.
pub struct Shape;

impl Shape {
    /// An object with exactly these properties; those named in `required` must be there.
    pub fn object(required: &[&str], properties: &[(&str, Json)]) -> Json {
        let properties: serde_json::Map<String, Json> =
            properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// A text of at most `most` characters.
    pub fn text(most: usize, description: &str) -> Json {
        json!({ "type": "string", "maxLength": most, "description": description })
    }

    /// A whole number within bounds.
    pub fn whole(least: i64, most: i64, description: &str) -> Json {
        json!({ "type": "integer", "minimum": least, "maximum": most, "description": description })
    }

    /// Yes or no.
    pub fn flag(description: &str) -> Json {
        json!({ "type": "boolean", "description": description })
    }

    /// One of these words.
    pub fn one_of(words: &[&str], description: &str) -> Json {
        json!({ "type": "string", "enum": words, "description": description })
    }

    /// A list of at most `most`.
    pub fn list(items: Json, most: usize, description: &str) -> Json {
        json!({ "type": "array", "items": items, "maxItems": most, "description": description })
    }

    /// Anything.
    pub fn any(description: &str) -> Json {
        json!({ "description": description })
    }

    /// A length of time that is `longest` at most: whoever makes the attempt looks again, since a schema does not.
    pub fn duration_up_to(longest: &str, description: &str) -> Json {
        let mut schema = Self::duration(description);
        schema["longest"] = longest.into();
        schema
    }

    /// What says whom or what is meant: two writes that differ in it are not the same write.
    pub fn addressing(mut schema: Json) -> Json {
        schema["addresses"] = true.into();
        schema
    }

    /// A length of time, such as `10m`, `24h`, `7d`.
    pub fn duration(description: &str) -> Json {
        json!({ "type": "string", "format": "duration", "pattern": "^[0-9]+(ms|s|m|h|d|w)$", "description": description })
    }
}

/// A schema made ready to check many values.
#[derive(Debug)]
pub struct Validator(jsonschema::Validator);

impl Validator {
    /// Makes a schema ready.
    ///
    /// # Errors
    /// Why it is not a JSON Schema.
    pub fn new(schema: &Json) -> Result<Self, String> {
        jsonschema::validator_for(schema).map(Self).map_err(|error| format!("the schema itself is wrong: {error}"))
    }

    /// Checks a value.
    ///
    /// # Errors
    /// The first few mistakes, each with its place in the value: `tags/0: 5 is not of type "string"`.
    pub fn check(&self, value: &Json) -> Result<(), String> {
        let mistakes: Vec<String> = self
            .0
            .iter_errors(value)
            .take(5)
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = place.trim_start_matches('/');
                if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
            })
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("; ")) }
    }
}

/// Checks one value against a schema.
///
/// # Errors
/// As [`Validator::new`] and [`Validator::check`].
pub fn validate(schema: &Json, value: &Json) -> Result<(), String> {
    Validator::new(schema)?.check(value)
}
