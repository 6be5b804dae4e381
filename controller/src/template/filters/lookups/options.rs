//! Options of lookups, taken for what Ansible documents them to be; one that is none is as if it were left out.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use crate::template::convert::failed;
use crate::template::filters::params::items;
use crate::template::filters::values::truth;
use crate::template::python;

/// Text that is none of Ansible's booleans means no.
pub(super) fn flag(value: &Value) -> bool {
    match value.as_str() {
        Some("y" | "Y" | "t" | "T") => true,
        _ => truth(value).unwrap_or(false),
    }
}

impl Call<'_> {
    pub(super) fn option(&self, name: &str) -> Option<&Value> {
        self.params.get(name).filter(|value| !value.is_none())
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, flag)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.option(name).map_or_else(|| default.to_owned(), python::text)
    }

    /// `kind` is Ansible's name of the option's type, `int` or `integer`.
    pub(super) fn integer_of(&self, name: &str, kind: &str, value: &Value) -> Result<i64, Error> {
        let number = match value.kind() {
            ValueKind::Bool => Some(i64::from(value.is_true())),
            ValueKind::Number => value.as_i64(),
            _ => value.as_str().and_then(|text| text.trim().parse().ok()),
        };
        number.ok_or_else(|| self.invalid(name, kind, value))
    }

    /// A list, or text with commas between its items.
    pub(super) fn list_of(&self, name: &str, value: &Value) -> Result<Vec<Value>, Error> {
        match (value.as_str(), value.kind()) {
            (Some(text), _) => Ok(text.split(',').map(|item| Value::from(item.trim())).collect()),
            (None, ValueKind::Seq | ValueKind::Iterable) => items(value),
            _ => Err(self.invalid(name, "list", value)),
        }
    }

    /// What an option is that it must not be, in Ansible's words.
    pub(super) fn invalid(&self, name: &str, kind: &str, value: &Value) -> Error {
        failed(format!(
            "Config '{name}' for '{}' lookup plugin from 'Direct' has an invalid value: Invalid value provided for \
             '{kind}': {}",
            self.lookup,
            python::repr(value)
        ))
    }
}
