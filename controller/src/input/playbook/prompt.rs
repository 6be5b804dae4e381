//! `vars_prompt`: variables that whoever starts the run is asked for.

use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::around::{Around, Known};
use super::error::PlaybookError;
use super::keywords::{Written, as_bool};
use super::play_node::PromptNode;
use crate::template::Authored;
use crate::vars::{Layer, Precedence, VarMap, Variable, data_map};

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

/// The answers as a layer. What `-e` gives is not asked for.
///
/// # Errors
/// A question that cannot be asked, `encrypt` with a scheme that is not known.
pub(super) fn answers(
    prompts: &[PromptNode],
    known: &Known,
    around: &Around,
    ask: Option<&dyn Ask>,
) -> Result<Option<Layer>, PlaybookError> {
    let mut vars = VarMap::new();
    for prompt in prompts.iter().filter(|prompt| !known.extra.contains_key(&prompt.name)) {
        let question = question(prompt, known, around)?;
        let answer = match ask {
            Some(ask) => ask.ask(&question).map_err(|error| whole(around, &format!("`{}`: {error}", prompt.name)))?,
            None => None,
        };
        let Some(mut text) = answer.filter(|text| !text.is_empty()).or(question.default) else {
            vars.insert(prompt.name.clone(), Variable::data(Value::from("")));
            continue;
        };
        if let Some(scheme) = prompt.options.get("encrypt").map(|scheme| scheme.source()).filter(|s| !s.is_null()) {
            text = encrypted(&text, &scheme, prompt, known, around)?;
        }
        let is_unsafe = prompt.options.get("unsafe").and_then(|value| as_bool(&value.source())).unwrap_or(false);
        let value = if is_unsafe { Variable::data(text.as_str()) } else { Variable::authored(text.into()) };
        vars.insert(prompt.name.clone(), value);
    }
    Ok((!vars.is_empty()).then(|| Layer::new(Precedence::PlayVarsPrompt, vars)))
}

fn question(prompt: &PromptNode, known: &Known, around: &Around) -> Result<Question, PlaybookError> {
    let text = |name: &str| -> Result<Option<String>, PlaybookError> {
        let Some(value) = prompt.options.get(name) else { return Ok(None) };
        let written =
            Written { place: around.document.place(crate::input::source::Position::START), value: value.clone() };
        let value = known.render(&written, around)?;
        Ok(Some(value).filter(|value| !value.is_null()).map(|value| rustle_agent::module::shown(&value)))
    };
    let flag = |name: &str, default: bool| {
        prompt.options.get(name).and_then(|value| as_bool(&value.source())).unwrap_or(default)
    };
    Ok(Question {
        name: prompt.name.clone(),
        text: text("prompt")?.unwrap_or_else(|| prompt.name.clone()),
        private: flag("private", true),
        confirm: flag("confirm", false),
        default: text("default")?,
    })
}

/// As the filter `password_hash` does it.
fn encrypted(
    text: &str,
    scheme: &Value,
    prompt: &PromptNode,
    known: &Known,
    around: &Around,
) -> Result<String, PlaybookError> {
    let option = |name: &str| prompt.options.get(name).map(|value| value.source()).unwrap_or_default();
    let map: Map = [
        ("text".to_owned(), Value::from(text)),
        ("scheme".to_owned(), scheme.clone()),
        ("salt".to_owned(), option("salt")),
        ("salt_size".to_owned(), option("salt_size")),
    ]
    .into_iter()
    .collect();
    let scope = crate::vars::Scope::of(&known.templar, [Arc::new(data_map(map))]);
    let template = "{{ text | password_hash(scheme, salt=salt, salt_size=salt_size) }}";
    let hash = known.templar.render(&Authored::from_value(Value::from(template)), &scope);
    let hash = hash.map_err(|error| whole(around, &format!("`{}`: {error}", prompt.name)))?;
    Ok(rustle_agent::module::shown(&hash))
}

fn whole(around: &Around, what: &str) -> PlaybookError {
    PlaybookError::whole(&around.document.path, format!("vars_prompt {what}"))
}
