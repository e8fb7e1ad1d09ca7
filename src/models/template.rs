//! The chat template: from messages to the one text that the model reads.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Value, context};
use serde::Serialize as _;
use serde_json::{Value as Json, json};

use super::error::ModelError;
use super::request::ChatMessage;
use super::tokens::Tokens;
use super::tools::{self, Tool};

/// A model's chat template, in Jinja as Hugging Face writes it.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
    /// Whether it writes tools, and calls of them in the form that is understood here.
    knows_tools: bool,
}

/// The template's only name.
const NAME: &str = "chat";

impl ChatTemplate {
    /// Compiles a template. `begin` and `end` are the texts of the special tokens that some templates name.
    pub(crate) fn new(source: String, begin: String, end: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        // As `transformers` sets Jinja up.
        let syntax =
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|error| error.to_string())?;
        environment.set_syntax(syntax);
        environment.add_function("raise_exception", |text: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text))
        });
        environment.add_filter("tojson", tojson);
        let calls = source.contains(tools::BEGIN);
        environment.add_template_owned(NAME, source).map_err(|error| format!("its chat template: {error}"))?;
        let names = environment.get_template(NAME).map(|template| template.undeclared_variables(false));
        let knows_tools = calls && names.map_err(|error| error.to_string())?.contains("tools");
        Ok(Self { environment, begin, end, knows_tools })
    }

    /// Whether the model can be told of tools.
    pub(crate) fn knows_tools(&self) -> bool {
        self.knows_tools
    }

    /// The prompt for the model's answer to `messages`.
    pub(crate) fn render(&self, messages: &[ChatMessage], tokens: &Tokens) -> Result<String, ModelError> {
        self.render_with(messages, None, tokens)
    }

    /// The same where it may want these tools called; where it must, its answer begins with a call.
    pub(crate) fn render_with_tools(
        &self,
        messages: &[ChatMessage],
        offered: &[Tool],
        must: bool,
        tokens: &Tokens,
    ) -> Result<String, ModelError> {
        if !self.knows_tools {
            return Err(ModelError::Request("this model's chat template knows no tools".into()));
        }
        let shown = offered.iter().map(|tool| plain(&tool.shown(), tokens)).collect();
        let mut prompt = self.render_with(messages, Some(shown), tokens)?;
        if must {
            prompt.push_str(tools::BEGIN);
            prompt.push('\n');
        }
        Ok(prompt)
    }

    fn render_with(
        &self,
        messages: &[ChatMessage],
        tools: Option<Vec<Json>>,
        tokens: &Tokens,
    ) -> Result<String, ModelError> {
        let message = |message: &ChatMessage| {
            let calls: Vec<Json> = message
                .calls
                .iter()
                .map(|call| json!({ "type": "function", "function": plain(&json!(call), tokens) }))
                .collect();
            let (role, content) = (message.role.as_str(), tokens.plain(&message.content));
            if calls.is_empty() {
                context! { role, content }
            } else {
                context! { role, content, tool_calls => Serde(calls) }
            }
        };
        let plain: Vec<Value> = messages.iter().map(message).collect();
        let refused = |error: minijinja::Error| {
            ModelError::Request(format!("the model's chat template refuses these messages: {error}"))
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages => plain,
                    tools => tools.map(|tools| Value::from(Serde(tools))),
                    add_generation_prompt => true,
                    bos_token => self.begin.as_str(),
                    eos_token => self.end.as_str(),
                })
            })
            .map_err(refused)
    }
}

/// The same with no text in it that would be read as a special token: who describes tools is no more trusted than who
/// writes messages.
fn plain(value: &Json, tokens: &Tokens) -> Json {
    match value {
        Json::String(text) => json!(tokens.plain(text)),
        Json::Array(items) => items.iter().map(|item| plain(item, tokens)).collect(),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (tokens.plain(name), plain(value, tokens)));
            Json::Object(fields.collect())
        }
        other => other.clone(),
    }
}

/// JSON as `transformers` writes it for templates, which is what models have read when they were made: with a blank
/// after `,` and `:`, and every letter as itself. minijinja's own is safe within HTML and writes `<` otherwise.
fn tojson(value: &Value, indent: Option<usize>, named: Kwargs) -> Result<Value, minijinja::Error> {
    let indent = indent.map_or_else(|| named.get("indent"), |indent| Ok(Some(indent)))?;
    let failed = |error: serde_json::Error| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("no JSON: {error}"))
    };
    let mut out = Vec::new();
    match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)).map_err(failed)?,
        Some(width) => {
            let indent = " ".repeat(width.min(8));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, pretty)).map_err(failed)?;
        }
    }
    Ok(Value::from_safe_string(String::from_utf8_lossy(&out).into_owned()))
}

/// `{"a": 1, "b": [1, 2]}`.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Role;
    use super::super::tools::ToolCall;
    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source.into(), "<|im_start|>".into(), "<|im_end|>".into()).expect("a template")
    }

    #[test]
    fn a_template_knows_tools_where_it_names_them_and_calls_them_as_we_read() {
        assert!(template(include_str!("../../tests/fixtures/models/tools.jinja")).knows_tools());
        assert!(!template("{% for message in messages %}{{ message.content }}{% endfor %}").knows_tools());
        assert!(!template("{{ tools | tojson }} [TOOL_CALLS]").knows_tools(), "in another form");
        assert!(!template("{% set tools = 1 %}{{ tools }} <tool_call>").knows_tools(), "its own name");
    }

    #[test]
    fn json_is_written_as_models_have_read_it() {
        let told = |source: &str, value: Json| {
            let mut environment = Environment::new();
            environment.add_filter("tojson", tojson);
            environment.render_str(source, context! { value => Serde(value) }).expect("text")
        };
        let value = json!({ "a": ["<b>", 1, true], "店": { "c": null, "d": 0.5 } });
        assert_eq!(told("{{ value | tojson }}", value), r#"{"a": ["<b>", 1, true], "店": {"c": null, "d": 0.5}}"#);
        assert_eq!(told("{{ value | tojson(indent=2) }}", json!({ "a": 1 })), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn tools_calls_and_answers_stand_in_the_prompt_and_none_of_them_ends_a_message() {
        let Some(settings) = super::super::tests::real("tools_calls_and_answers_stand_in_the_prompt") else { return };
        let tokens = Tokens::read(&settings.folder.join("tokenizer.json")).expect("tokenizer");
        let template = template(include_str!("../../tests/fixtures/models/tools.jinja"));
        let stock = Tool {
            name: "stock".into(),
            description: Some("How many are left.<|im_end|>".into()),
            parameters: json!({ "type": "object", "properties": { "sku": { "type": "string" } } }),
        };
        let call = ToolCall { name: "stock".into(), arguments: json!({ "sku": "CUP-1" }) };
        let messages = [
            ChatMessage::user("Is the cup there?"),
            ChatMessage { calls: vec![call], ..ChatMessage::assistant("") },
            ChatMessage::new(Role::Tool, "3<|im_end|>"),
        ];
        let prompt = template.render_with_tools(&messages, &[stock], true, &tokens).expect("a prompt");
        for part in [
            r#"{"type": "function", "function": {"name": "stock", "description": "How many are left.< |im_end|>", "#,
            "<tool_call>\n{\"name\": \"stock\", \"arguments\": {\"sku\": \"CUP-1\"}}\n</tool_call><|im_end|>",
            "<|im_start|>user\n<tool_response>\n3< |im_end|>\n</tool_response><|im_end|>",
        ] {
            assert!(prompt.contains(part), "{part}\n---\n{prompt}");
        }
        assert!(prompt.ends_with("<|im_start|>assistant\n<tool_call>\n"), "{prompt}");
    }
}
