//! `vars`, `varnames` and `env`: variables by their names.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use crate::template::TemplateError;
use crate::template::convert::{error_of, failed};
use crate::template::filters::{python_type, regex};
use crate::template::python;

pub(super) fn env(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |term: &Value| {
        let words =
            term.as_str().ok_or_else(|| failed(format!("'{}' object has no attribute 'split'", python_type(term))))?;
        // What stands behind the name means nothing.
        let name = words.split_whitespace().next().ok_or_else(|| failed("list index out of range"))?;
        Ok(match (std::env::var(name), call.option("default")) {
            (Ok(value), _) => Value::from(value),
            (Err(_), None) => Value::from(""),
            (Err(_), Some(default)) => default.clone(),
        })
    };
    call.terms.iter().map(read).collect()
}

pub(super) fn varnames(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let names = call.scope()?.names();
    let mut out = Vec::new();
    for term in &call.terms {
        let pattern = term.as_str().ok_or_else(|| {
            let (shown, kind) = (python::text(term), python_type(term));
            failed(format!("Invalid setting identifier, \"{shown}\" is not a string, it is a <class '{kind}'>"))
        })?;
        let unusable = |error: Error| {
            let why = error.detail().unwrap_or_default();
            failed(format!("Unable to use \"{pattern}\" as a search parameter: {why}"))
        };
        for name in &names {
            if regex::is_in(pattern, name).map_err(unusable)? {
                out.push(Value::from(name.as_str()));
            }
        }
    }
    Ok(out)
}

pub(super) fn vars(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let scope = call.scope()?;
    let read = |term: &Value| {
        let name = term
            .as_str()
            .ok_or_else(|| failed(format!("Variable name must be 'str' not '{}'.", python_type(term))))?
            .to_owned();
        match scope.lookup(&name).filter(|value| !value.is_undefined()) {
            Some(value) if value.kind() == ValueKind::Invalid => Err(error_of(&value)),
            Some(value) => Ok(value),
            None => call.option("default").cloned().ok_or_else(|| match scope.cause(&name) {
                Some(cause) => cause.into(),
                None => {
                    TemplateError::Undefined { message: format!("No variable named '{name}' was found."), name }.into()
                }
            }),
        }
    };
    call.terms.iter().map(read).collect()
}
