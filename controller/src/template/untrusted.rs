//! Text that looks like a template and is none, since nobody vouches for it: most often there is nothing to say of it.

use rustle_protocol::Value;

use super::authored::needs_rendering;
use super::error::TemplateError;

/// What is done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untrusted {
    /// It is what it is.
    #[default]
    Ignore,
    Warn,
    /// The task that comes upon it fails.
    Refuse,
}

impl Untrusted {
    /// By Ansible's names.
    pub fn named(name: &str) -> Option<Untrusted> {
        match name {
            "ignore" => Some(Untrusted::Ignore),
            "warning" => Some(Untrusted::Warn),
            "error" => Some(Untrusted::Refuse),
            _ => None,
        }
    }

    /// Looks at a value whose templates are rendered: what still looks like one, nobody vouches for. Gives the texts to warn
    /// of.
    ///
    /// # Errors
    /// Such a text, if it is refused.
    pub(crate) fn judge(self, rendered: &Value) -> Result<Vec<&str>, TemplateError> {
        let mut found = Vec::new();
        if self != Untrusted::Ignore {
            collect(rendered, &mut found);
        }
        match (self, found.first()) {
            (Untrusted::Refuse, Some(text)) => Err(TemplateError::untrusted(&Value::from(*text))),
            _ => Ok(found),
        }
    }
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if needs_rendering(text) => found.push(text),
        Value::List(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Map(map) => map.values().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_looks_like_a_template_is_warned_of_or_refused() {
        let value = Value::List(vec!["{{ x }}".into(), "plain".into(), Value::List(vec!["{% if %}".into()])]);
        let judge = |name: &str| Untrusted::named(name).unwrap().judge(&value).map_err(|error| error.to_string());
        assert_eq!(judge("ignore"), Ok(vec![]));
        assert_eq!(judge("warning"), Ok(vec!["{{ x }}", "{% if %}"]));
        assert_eq!(judge("error"), Err("Encountered untrusted template or expression.".to_owned()));
        assert_eq!(Untrusted::Refuse.judge(&"plain".into()).unwrap(), Vec::<&str>::new());
        assert_eq!(Untrusted::named("fail"), None);
    }
}
