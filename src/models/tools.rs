//! Tools: functions that the model may want called, in the form of the Hermes family of templates (Qwen2.5 and others
//! write it too): a call is `<tool_call>`, a JSON object with `name` and `arguments`, `</tool_call>`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::stream::StopTexts;

/// What a call begins and ends with.
pub(crate) const BEGIN: &str = "<tool_call>";
const END: &str = "</tool_call>";

/// A call of a function that the model wants, or has wanted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The function.
    pub name: String,
    /// What it is given: an object.
    pub arguments: Json,
}

/// A function that the model may want called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments: of an object.
    pub parameters: Json,
}

impl Tool {
    /// As templates are given it: OpenAI's form.
    pub(crate) fn shown(&self) -> Json {
        let mut function = Map::new();
        function.insert("name".into(), json!(self.name));
        if let Some(description) = &self.description {
            function.insert("description".into(), json!(description));
        }
        function.insert("parameters".into(), self.parameters.clone());
        json!({ "type": "function", "function": function })
    }
}

/// The schema of one call of one of these tools.
///
/// What their schemas define apart (`$defs`) is put together, since references begin at the root.
///
/// # Errors
/// Where two of them define something else by one name.
pub fn call_schema(tools: &[&Tool]) -> Result<Json, String> {
    let mut defined: Map<String, Json> = Map::new();
    let mut calls = Vec::new();
    for tool in tools {
        let mut parameters = tool.parameters.clone();
        for word in ["$defs", "definitions"] {
            let Some(Json::Object(apart)) = parameters.as_object_mut().and_then(|it| it.remove(word)) else { continue };
            let all = defined.entry(word).or_insert_with(|| json!({}));
            for (name, schema) in apart {
                if all.get(&name).is_some_and(|other| *other != schema) {
                    return Err(format!("two tools define `{name}` in `{word}`: give them names of their own"));
                }
                all[name] = schema;
            }
        }
        calls.push(json!({
            "type": "object",
            "properties": { "name": { "const": tool.name }, "arguments": parameters },
            "required": ["name", "arguments"],
            "additionalProperties": false,
        }));
    }
    let mut schema = if calls.len() == 1 { calls.remove(0) } else { json!({ "anyOf": calls }) };
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(defined);
    }
    Ok(schema)
}

/// What an answer says, and the calls in it.
///
/// `None` where there are none, or where one of them is none: then all of it is text.
pub fn calls_in(text: &str) -> Option<(&str, Vec<ToolCall>)> {
    let (said, mut rest) = text.split_once(BEGIN)?;
    let mut calls = Vec::new();
    loop {
        // A small model ends its answer before it has closed the call.
        let (call, after) = rest.split_once(END).unwrap_or((rest, ""));
        calls.push(call_of(call)?);
        match after.split_once(BEGIN) {
            Some((_, next)) => rest = next,
            None => return Some((said, calls)),
        }
    }
}

/// The call that is written so.
pub fn call_of(text: &str) -> Option<ToolCall> {
    let call: ToolCall = serde_json::from_str(text.trim()).ok()?;
    call.arguments.is_object().then_some(call)
}

/// Holds back calls while an answer is told as it is written.
pub struct BeforeCalls {
    begins: StopTexts,
    found: bool,
}

impl Default for BeforeCalls {
    fn default() -> Self {
        Self { begins: StopTexts::new(&[BEGIN.to_owned()]), found: false }
    }
}

impl BeforeCalls {
    /// What may be told now that `piece` has come: nothing any more once a call has begun.
    pub fn push(&mut self, piece: &str) -> String {
        if self.found {
            return String::new();
        }
        let (text, found) = self.begins.push(piece);
        self.found = found;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_text() {
        let one = "Let me look.\n<tool_call>\n{\"name\": \"stock\", \"arguments\": {\"sku\": \"CUP-1\"}}\n</tool_call>";
        let call = |sku: &str| ToolCall { name: "stock".into(), arguments: json!({ "sku": sku }) };
        assert_eq!(calls_in(one), Some(("Let me look.\n", vec![call("CUP-1")])));
        let two = format!("{one}\n<tool_call>{{\"name\":\"stock\",\"arguments\":{{\"sku\":\"好\"}}}}");
        assert_eq!(calls_in(&two).map(|(_, calls)| calls), Some(vec![call("CUP-1"), call("好")]));
        for none in [
            "There is no call here.",
            "<tool_call>{\"name\": \"stock\"}</tool_call>",
            "<tool_call>{\"name\": \"stock\", \"arguments\": \"CUP-1\"}</tool_call>",
            "<tool_call>stock(CUP-1)</tool_call>",
            &format!("{one}<tool_call>"),
        ] {
            assert_eq!(calls_in(none), None, "{none}");
        }
        let mut before = BeforeCalls::default();
        let told: Vec<String> =
            ["Let me", " look. <tool", "_call", ">{\"name\":", "…"].map(|it| before.push(it)).into();
        assert_eq!(told, ["Let me", " look. ", "", "", ""]);
        let mut before = BeforeCalls::default();
        assert_eq!(["a <to", "ol> b"].map(|it| before.push(it)), ["a ", "<tool> b"]);
    }

    #[test]
    fn definitions_are_put_where_references_find_them() {
        let tool = |name: &str, of: &str| Tool {
            name: name.into(),
            description: None,
            parameters: json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/A" } },
                                "$defs": { "A": { "type": of } } }),
        };
        let (text, whole) = (tool("text", "string"), tool("whole", "integer"));
        let schema = call_schema(&[&text, &tool("other", "string")]).expect("a schema");
        assert_eq!(schema["$defs"], json!({ "A": { "type": "string" } }));
        let fits = |value: Json| crate::domain::validate(&schema, &value).is_ok();
        assert!(fits(json!({ "name": "other", "arguments": { "a": "x" } })));
        assert!(!fits(json!({ "name": "other", "arguments": { "a": 5 } })));
        assert!(!fits(json!({ "name": "third", "arguments": {} })));
        assert!(call_schema(&[&text, &whole]).expect_err("two").contains("`A`"));
    }
}
