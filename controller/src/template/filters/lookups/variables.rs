//! `vars`, `varnames` and `env`: variables by their names.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::Call;
use crate::template::TemplateError;
use crate::template::convert::{failed, undefined};
use crate::template::filters::python_type;
use crate::template::python;

pub(super) fn env(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let read = |name: &Value| {
        let name = python::text(name);
        match (std::env::var(&name), call.params.get("default")) {
            (Ok(value), _) => Ok(Value::from(value)),
            (Err(_), None) => Ok(Value::from("")),
            (Err(_), Some(default)) => Ok(default.clone()),
        }
    };
    call.terms.iter().map(read).collect()
}

pub(super) fn varnames(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    let names = call.scope()?.names();
    let mut out = Vec::new();
    for pattern in call.texts() {
        let regex = regex::Regex::new(&pattern).map_err(|error| failed(format!("'{pattern}': {error}")))?;
        out.extend(names.iter().filter(|name| regex.is_match(name)).map(|name| Value::from(name.as_str())));
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
            Some(value) if value.kind() == ValueKind::Invalid => Err(undefined(&value)),
            Some(value) => Ok(value),
            None => call.params.get("default").cloned().ok_or_else(|| match scope.cause(&name) {
                Some(cause) => cause.into(),
                None => {
                    TemplateError::Undefined { message: format!("No variable named '{name}' was found."), name }.into()
                }
            }),
        }
    };
    call.terms.iter().map(read).collect()
}
