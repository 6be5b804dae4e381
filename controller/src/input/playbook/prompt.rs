//! `vars_prompt`: variables that whoever starts the run is asked for.

use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::around::Known;
use super::keywords::as_bool;
use crate::input::source::shown;
use crate::template::Authored;
use crate::vars::{Layer, Precedence, Prompt, VarMap, Variable, data_map};

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The variable.
    pub name: String,
    pub text: String,
    /// Not shown while it is typed.
    pub private: bool,
    /// Asked twice.
    pub confirm: bool,
    pub default: Option<String>,
}

/// Asks an operator.
pub trait Ask {
    /// The answer, or `None` if there is nobody to ask.
    ///
    /// # Errors
    /// Why it could not be asked.
    fn ask(&self, question: &Question) -> Result<Option<String>, String>;
}

/// What becomes of `vars_prompt`.
#[derive(Clone, Copy)]
pub enum Prompts<'a> {
    /// The operator is asked.
    Ask(&'a dyn Ask),
    /// Defaults stand, for a listing.
    Default,
    /// They stay questions, for a plan that is printed.
    Keep,
}

/// The questions of a play as a layer, answered or kept. What `-e` gives is not asked for.
///
/// # Errors
/// A question that cannot be asked, `encrypt` with a scheme that is not known.
pub(super) fn layer(asked: &[Prompt], known: &Known, prompts: Prompts<'_>) -> Result<Option<Layer>, String> {
    let mut vars = VarMap::new();
    for prompt in asked.iter().filter(|prompt| !known.extra.contains_key(&prompt.name)) {
        let variable = match prompts {
            Prompts::Keep => Ok(Variable::Asked(Arc::new(prompt.clone()))),
            Prompts::Ask(ask) => answer(prompt, known, Some(ask)),
            Prompts::Default => answer(prompt, known, None),
        };
        let variable = variable.map_err(|error| format!("vars_prompt `{}`: {error}", shown(&prompt.name)))?;
        vars.insert(prompt.name.clone(), variable);
    }
    Ok((!vars.is_empty()).then(|| Layer::new(Precedence::PlayVarsPrompt, vars)))
}

fn answer(prompt: &Prompt, known: &Known, ask: Option<&dyn Ask>) -> Result<Variable, String> {
    let options = Options { prompt, known };
    let question = options.question()?;
    let said = ask.map(|ask| ask.ask(&question)).transpose()?.flatten();
    let text = match (said, question.default) {
        (Some(said), None) => said,
        (Some(said), Some(default)) => Some(said).filter(|said| !said.is_empty()).unwrap_or(default),
        (None, Some(default)) => default,
        // As Ansible has it: the text of a Python `None`.
        (None, None) => "None".to_owned(),
    };
    let text = match options.text("encrypt")? {
        Some(scheme) => options.encrypted(&text, &scheme)?,
        None => text,
    };
    let is_unsafe = options.flag("unsafe", false)?;
    Ok(if is_unsafe { Variable::data(text) } else { Variable::authored(text.into()) })
}

/// What a prompt says, rendered.
struct Options<'a> {
    prompt: &'a Prompt,
    known: &'a Known,
}

impl Options<'_> {
    fn question(&self) -> Result<Question, String> {
        Ok(Question {
            name: self.prompt.name.clone(),
            text: self.text("prompt")?.unwrap_or_else(|| self.prompt.name.clone()),
            private: self.flag("private", true)?,
            confirm: self.flag("confirm", false)?,
            default: self.text("default")?,
        })
    }

    fn get(&self, name: &str) -> Result<Value, String> {
        let Some(value) = self.prompt.options.get(name) else { return Ok(Value::Null) };
        self.known.value(value).map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        Ok(Some(self.get(name)?).filter(|value| !value.is_null()).map(|value| rustle_agent::module::shown(&value)))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        Ok(as_bool(&self.get(name)?).unwrap_or(default))
    }

    /// As the filter `password_hash` does it.
    fn encrypted(&self, text: &str, scheme: &str) -> Result<String, String> {
        let map: Map = [
            ("text".to_owned(), Value::from(text)),
            ("scheme".to_owned(), Value::from(scheme)),
            ("salt".to_owned(), self.get("salt")?),
            ("salt_size".to_owned(), self.get("salt_size")?),
        ]
        .into_iter()
        .collect();
        let scope = crate::vars::Scope::of(&self.known.templar, [Arc::new(data_map(map))]);
        let template = "{{ text | password_hash(scheme, salt=salt, salt_size=salt_size) }}";
        let hash = self.known.templar.render(&Authored::from_value(Value::from(template)), &scope);
        hash.map(|hash| rustle_agent::module::shown(&hash)).map_err(|error| error.to_string())
    }
}
