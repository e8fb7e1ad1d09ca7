//! Tools: what a chat offers the model, what it wants called, and how that is shown.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::answers;
use super::refused::Refusal;
use crate::models::tools::{Tool, ToolCall, call_of, call_schema, calls_in};
use crate::models::{self, ChatMessage, Finish, Format, Prompt};

/// Tools of one request, as in that API.
const MOST_TOOLS: usize = 128;

/// A tool as it is offered.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Asked {
    Function { function: Function },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Function {
    name: String,
    description: Option<String>,
    parameters: Option<Json>,
    #[expect(dead_code, reason = "a call that must be made always keeps to its schema")]
    strict: Option<bool>,
}

/// Whether tools may or must be called.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`none`, `auto`, `required`, or a function by its name")]
pub(super) enum Choice {
    Word(Word),
    Named(Named),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    None,
    Auto,
    Required,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Named {
    Function { function: Name },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    name: String,
}

/// A call as a message of the conversation has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCall {
    pub(super) id: String,
    r#type: String,
    function: WrittenFunction,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFunction {
    name: String,
    arguments: String,
}

impl WrittenCall {
    /// The call; or why it is none.
    pub(super) fn read(self) -> Result<ToolCall, String> {
        if self.r#type != "function" {
            return Err("only functions are called".into());
        }
        let arguments: Json = serde_json::from_str(&self.function.arguments)
            .map_err(|error| format!("`arguments` of `{}` are no JSON: {error}", self.id))?;
        if !arguments.is_object() {
            return Err(format!("`arguments` of `{}` are no JSON object", self.id));
        }
        Ok(ToolCall { name: self.function.name, arguments })
    }
}

/// What a request offers, and how it is to be taken.
#[derive(Debug)]
pub(super) struct Offered {
    tools: Vec<Tool>,
    /// The ones of which one must be called, by their place; nothing where none must.
    must: Option<Vec<usize>>,
    /// Whether more than one may be.
    several: bool,
}

impl Offered {
    /// Reads what is offered; nothing where nothing is, or it is not to be taken.
    pub(super) fn read(
        asked: Option<Vec<Asked>>,
        choice: Option<Choice>,
        several: Option<bool>,
    ) -> Result<Option<Self>, Refusal> {
        let mut tools: Vec<Tool> = Vec::new();
        for (at, Asked::Function { function }) in asked.unwrap_or_default().into_iter().enumerate() {
            let wrong = |of: &str, why: &str| Refusal::invalid(Some(&format!("tools[{at}].function.{of}")), why);
            let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"_-".contains(&letter);
            if function.name.is_empty() || function.name.len() > 64 || !function.name.bytes().all(fits) {
                return Err(wrong("name", "a function's name is 1 to 64 letters, digits, _ and -"));
            }
            if tools.iter().any(|tool| tool.name == function.name) {
                return Err(wrong("name", "another function is called so"));
            }
            let nothing = || json!({ "type": "object", "properties": {}, "additionalProperties": false });
            let mut parameters = function.parameters.unwrap_or_else(nothing);
            let Some(schema) = parameters.as_object_mut() else {
                return Err(wrong("parameters", "they must be a JSON Schema of an object"));
            };
            if *schema.entry("type").or_insert_with(|| json!("object")) != "object" {
                return Err(wrong("parameters", "they must be a JSON Schema of an object"));
            }
            tools.push(Tool { name: function.name, description: function.description, parameters });
        }
        if tools.len() > MOST_TOOLS {
            return Err(Refusal::invalid(Some("tools"), format!("there are more than {MOST_TOOLS} tools")));
        }
        let must = match choice {
            None | Some(Choice::Word(Word::Auto)) => None,
            Some(Choice::Word(Word::None)) => return Ok(None),
            Some(Choice::Word(Word::Required)) => Some((0..tools.len()).collect()),
            Some(Choice::Named(Named::Function { function })) => {
                let at = tools.iter().position(|tool| tool.name == function.name).ok_or_else(|| {
                    Refusal::invalid(Some("tool_choice"), "`tool_choice` names a function that is not among `tools`")
                })?;
                Some(vec![at])
            }
        };
        match (tools.is_empty(), must) {
            (true, Some(_)) => Err(Refusal::invalid(Some("tool_choice"), "`tool_choice` goes with `tools`")),
            (true, None) => Ok(None),
            (false, must) => Ok(Some(Self { tools, must, several: several.unwrap_or(true) })),
        }
    }

    /// Whether one must be called: the answer is then no more than its JSON.
    pub(super) fn must(&self) -> bool {
        self.must.is_some()
    }

    /// What an answer that must be a call is held to.
    pub(super) fn format(&self) -> Result<Option<Format>, Refusal> {
        let Some(must) = &self.must else { return Ok(None) };
        let tools: Vec<&Tool> = must.iter().filter_map(|at| self.tools.get(*at)).collect();
        call_schema(&tools).map(|schema| Some(Format::Json(schema))).map_err(|why| Refusal::invalid(Some("tools"), why))
    }

    /// What the model reads.
    pub(super) fn prompt(&self, messages: Vec<ChatMessage>) -> Prompt {
        Prompt::WithTools { messages, tools: self.tools.clone(), must: self.must() }
    }

    /// What an answer wants called; nothing where it is a text, or calls what was not offered.
    pub(super) fn called(&self, choice: &models::Choice) -> Option<Called> {
        let (said, mut calls) = if self.must() {
            ("", vec![call_of(&choice.text).filter(|_| choice.finish == Finish::Stop)?])
        } else {
            calls_in(&choice.text)?
        };
        if !calls.iter().all(|call| self.tools.iter().any(|tool| tool.name == call.name)) {
            return None;
        }
        if !self.several {
            calls.truncate(1);
        }
        let shown = |call: ToolCall| {
            let mut random = [0; 12];
            // An id that comes twice in one conversation is as good as impossible, and harms nobody else.
            let _ = getrandom::fill(&mut random);
            let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
            json!({ "id": format!("call_{}", hex::encode(random)), "type": "function", "function": function })
        };
        Some(Called {
            said: Some(said.to_owned()).filter(|said| !said.trim().is_empty()),
            calls: calls.into_iter().map(shown).collect(),
            logprobs: answers::chat_logprobs(&choice.logprobs),
        })
    }
}

/// An answer that wants tools called.
pub(super) struct Called {
    said: Option<String>,
    calls: Vec<Json>,
    logprobs: Json,
}

impl Called {
    /// All of it.
    pub(super) fn whole(&self, index: usize) -> Json {
        let message = json!({ "role": "assistant", "content": self.said, "refusal": null, "tool_calls": self.calls });
        json!({ "index": index, "message": message, "logprobs": self.logprobs, "finish_reason": "tool_calls" })
    }

    /// What is left to be told of it in a stream: of the first answer, the calls; of another, all.
    pub(super) fn pieces(&self, index: usize) -> Vec<Json> {
        let numbered: Vec<Json> = self
            .calls
            .iter()
            .enumerate()
            .map(|(number, call)| {
                let mut call = call.clone();
                call["index"] = json!(number);
                call
            })
            .collect();
        let mut delta = json!({ "tool_calls": numbered });
        if index > 0 {
            delta["content"] = json!(self.said);
        }
        let piece = |delta: Json, finish: Option<&str>| json!({ "index": index, "delta": delta, "logprobs": self.logprobs, "finish_reason": finish });
        vec![
            piece(delta, None),
            json!({ "index": index, "delta": {}, "logprobs": null, "finish_reason": "tool_calls" }),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(choice: Json) -> Result<Option<Offered>, Refusal> {
        let tool = json!({ "type": "function", "function": { "name": "stock", "parameters": {} } });
        let asked: Vec<Asked> = serde_json::from_value(json!([tool])).expect("tools");
        Offered::read(Some(asked), serde_json::from_value(choice).expect("a choice"), None)
    }

    fn answer(text: &str, finish: Finish) -> models::Choice {
        models::Choice { text: text.into(), finish, completion_tokens: 1, logprobs: Vec::new() }
    }

    #[test]
    fn what_is_wanted_is_called_and_anything_else_is_text() {
        let may = offered(json!("auto")).expect("fine").expect("offered");
        let call = "Yes.\n<tool_call>\n{\"name\": \"stock\", \"arguments\": {\"sku\": \"A\"}}\n</tool_call>";
        let called = may.called(&answer(call, Finish::Stop)).expect("a call");
        let whole = called.whole(0);
        assert_eq!((&whole["message"]["content"], &whole["finish_reason"]), (&json!("Yes.\n"), &json!("tool_calls")));
        let function = &whole["message"]["tool_calls"][0]["function"];
        assert_eq!(function, &json!({ "name": "stock", "arguments": "{\"sku\":\"A\"}" }));
        let pieces = called.pieces(0);
        assert_eq!((&pieces[0]["delta"]["tool_calls"][0]["index"], pieces.len()), (&json!(0), 2));
        assert!(may.called(&answer(&call.replace("stock", "delete"), Finish::Stop)).is_none(), "nobody offered that");
        assert!(may.called(&answer("No.", Finish::Stop)).is_none());

        let must = offered(json!({ "type": "function", "function": { "name": "stock" } })).expect("fine");
        let must = must.expect("offered");
        assert!(must.called(&answer("{\"name\": \"stock\", \"arguments\": {}}", Finish::Stop)).is_some());
        assert!(must.called(&answer("", Finish::Length)).is_none());
        assert!(
            matches!(must.format(), Ok(Some(Format::Json(schema))) if schema["properties"]["name"]["const"] == "stock")
        );
        assert!(offered(json!("none")).expect("fine").is_none());
        assert!(offered(json!({ "type": "function", "function": { "name": "other" } })).is_err());
    }
}
