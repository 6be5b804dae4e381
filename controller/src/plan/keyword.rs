//! A keyword's value, which its author may have written as a template.

use std::time::Duration;

use rustle_protocol::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::template::{Authored, Templar, TemplateError, python_repr};
use crate::vars::Scope;

/// What a keyword says: known when the plan is read, or only once a host's variables are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keyword<T> {
    Is(T),
    /// Rendered for each host when its task runs.
    Template {
        template: Authored,
        /// What holds where the template comes to `omit`: what is said further out.
        omitted: Option<Box<Keyword<T>>>,
    },
}

/// A type that keywords can have.
pub trait KeywordValue: Clone {
    /// `a number`: what the author should have written.
    const WANTED: &'static str;
    /// The type's name in Python.
    const TYPE: &'static str;

    /// The value, read as Ansible reads it: `yes` is a bool, `"3"` a number. `None` if it is nothing of the kind.
    fn of(value: &Value) -> Option<Self>;
}

impl<T> From<T> for Keyword<T> {
    fn from(value: T) -> Keyword<T> {
        Keyword::Is(value)
    }
}

impl<T: Default> Default for Keyword<T> {
    fn default() -> Keyword<T> {
        Keyword::Is(T::default())
    }
}

impl<T: KeywordValue> Keyword<T> {
    /// From what an author wrote.
    ///
    /// # Errors
    /// What was wanted instead, for the author: `must be a bool, not a dict`.
    pub fn read(value: Value) -> Result<Keyword<T>, String> {
        match Authored::from_value(value) {
            Authored::Data(value) => of(&value).map(Keyword::Is),
            template => Ok(Keyword::late(template)),
        }
    }

    /// The value for one host; none if it is omitted, as if the keyword were not there.
    ///
    /// # Errors
    /// Why there is none, as a sentence without the keyword's name.
    pub(crate) fn render(&self, templar: &Templar, scope: &Scope) -> Result<Option<T>, Fault> {
        match self {
            Keyword::Is(value) => Ok(Some(value.clone())),
            Keyword::Template { template, omitted } => match templar.render(template, scope) {
                Ok(value) => Ok(rendered_to(&value).map(Some)?),
                Err(TemplateError::Omitted) => {
                    omitted.as_ref().map_or(Ok(None), |omitted| omitted.render(templar, scope))
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    /// The value if it is known without any host.
    pub fn known(&self) -> Option<&T> {
        match self {
            Keyword::Is(value) => Some(value),
            Keyword::Template { .. } => None,
        }
    }
}

impl<T> Keyword<T> {
    /// A template, and nothing further out.
    pub fn late(template: Authored) -> Keyword<T> {
        Keyword::Template { template, omitted: None }
    }

    /// The same, and `outer` where it comes to `omit` and says nothing of that itself.
    #[must_use]
    pub fn or_if_omitted(self, outer: Keyword<T>) -> Keyword<T> {
        match self {
            Keyword::Template { template, omitted: None } => {
                Keyword::Template { template, omitted: Some(Box::new(outer)) }
            }
            other => other,
        }
    }

    /// The template, if it is one.
    pub fn template(&self) -> Option<&Authored> {
        match self {
            Keyword::Is(_) => None,
            Keyword::Template { template, .. } => Some(template),
        }
    }
}

fn of<T: KeywordValue>(value: &Value) -> Result<T, String> {
    T::of(value).ok_or_else(|| format!("must be {}, not {}", T::WANTED, value.to_json()))
}

/// As [`of`], in Ansible's words for what comes of a template.
fn rendered_to<T: KeywordValue>(value: &Value) -> Result<T, String> {
    T::of(value).ok_or_else(|| format!("The value {} could not be converted to '{}'.", python_repr(value), T::TYPE))
}

impl KeywordValue for bool {
    const WANTED: &'static str = "a bool";
    const TYPE: &'static str = "bool";

    fn of(value: &Value) -> Option<bool> {
        match value {
            Value::Bool(bool) => Some(*bool),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "y" | "t" | "1" | "1.0" => Some(true),
                "no" | "false" | "off" | "n" | "f" | "0" | "0.0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl KeywordValue for u32 {
    const WANTED: &'static str = "a number from 0";
    const TYPE: &'static str = "int";

    fn of(value: &Value) -> Option<u32> {
        match value {
            Value::Int(number) => u32::try_from(*number).ok(),
            Value::Float(number) if *number >= 0.0 && *number <= f64::from(u32::MAX) => Some(*number as u32),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl KeywordValue for Duration {
    const WANTED: &'static str = "a number of seconds";
    const TYPE: &'static str = "int";

    fn of(value: &Value) -> Option<Duration> {
        let seconds = match value {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            Value::String(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl KeywordValue for String {
    const WANTED: &'static str = "a text";
    const TYPE: &'static str = "str";

    fn of(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Int(_) | Value::Float(_) => Some(value.to_json()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_ansible_reads_them() {
        for (written, expected) in [(Value::from("yes"), true), (Value::from("Off"), false), (Value::Int(1), true)] {
            assert_eq!(Keyword::<bool>::read(written), Ok(Keyword::Is(expected)));
        }
        assert_eq!(Keyword::<u32>::read(Value::from("3")), Ok(Keyword::Is(3)));
        assert_eq!(Keyword::read(Value::Float(0.5)), Ok(Keyword::Is(Duration::from_millis(500))));
        assert_eq!(Keyword::<u32>::read(Value::Int(-1)), Err("must be a number from 0, not -1".to_owned()));
        assert_eq!(Keyword::<bool>::read(Value::from("maybe")), Err("must be a bool, not \"maybe\"".to_owned()));
    }

    #[test]
    fn a_template_is_rendered_for_each_host() {
        let templar = Templar::new();
        let keyword = Keyword::<bool>::read(Value::from("{{ x > 1 }}")).unwrap();
        assert_eq!(keyword.known(), None);
        for (x, expected) in [(1, false), (2, true)] {
            let vars = crate::vars::data_map([("x".to_owned(), Value::Int(x))].into_iter().collect());
            let scope = Scope::of(&templar, [std::sync::Arc::new(vars)]);
            assert_eq!(keyword.render(&templar, &scope), Ok(Some(expected)));
        }
    }

    #[test]
    fn what_is_omitted_is_what_is_said_further_out() {
        let templar = Templar::new();
        let scope = Scope::of(&templar, []);
        let keyword = Keyword::<bool>::read(Value::from("{{ x | default(omit) }}")).unwrap();
        assert_eq!(keyword.render(&templar, &scope), Ok(None));
        assert_eq!(keyword.or_if_omitted(true.into()).render(&templar, &scope), Ok(Some(true)));
    }
}
