//! The chat template: from messages to the one text that the model reads.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};

use super::error::ModelError;
use super::request::ChatMessage;
use super::tokens::Tokens;

/// A model's chat template, in Jinja as Hugging Face writes it.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
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
        environment.add_template_owned(NAME, source).map_err(|error| format!("its chat template: {error}"))?;
        Ok(Self { environment, begin, end })
    }

    /// The prompt for the model's answer to `messages`.
    pub(crate) fn render(&self, messages: &[ChatMessage], tokens: &Tokens) -> Result<String, ModelError> {
        let plain: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => tokens.plain(&message.content) })
            .collect();
        let refused = |error: minijinja::Error| {
            ModelError::Request(format!("the model's chat template refuses these messages: {error}"))
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages => plain,
                    add_generation_prompt => true,
                    bos_token => self.begin.as_str(),
                    eos_token => self.end.as_str(),
                })
            })
            .map_err(refused)
    }
}
