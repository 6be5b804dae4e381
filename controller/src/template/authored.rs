//! What an author wrote: data, and templates that are still to be evaluated.

use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;

use super::engine::{Mode, template_key};
use super::error::TemplateError;
use super::sealed::Sealed;
use crate::origin::Origin;
use crate::vault::Vault;

/// Text, lists and maps as a plan's author wrote them. The one type whose strings may be evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum Authored {
    /// Holds no template anywhere.
    Data(Value),
    /// `!unsafe`: data that its author does not vouch for. Never evaluated, neither as a template nor as an expression.
    Unsafe(Value),
    /// Encrypted: opened where it is rendered.
    Sealed(Sealed),
    Template(Template),
    List(Vec<Authored>),
    /// Keys are never templates, as in Ansible.
    Map(IndexMap<String, Authored>),
}

impl Authored {
    /// Text with `{{`, `{%` or `{#` becomes a template, at any depth; everything else is data.
    ///
    /// Only for values that come from the plan, its playbooks, the inventory or the command line.
    pub fn from_value(value: Value) -> Authored {
        Authored::written(value, None)
    }

    /// As [`from_value`](Self::from_value), of what stands in a file at `origin`, which is asked for if there are templates.
    pub(crate) fn written_at(value: Value, origin: impl FnOnce() -> Origin) -> Authored {
        if holds_template(&value) { Authored::written(value, Some(&Arc::new(origin()))) } else { Authored::Data(value) }
    }

    fn written(value: Value, origin: Option<&Arc<Origin>>) -> Authored {
        match value {
            Value::String(text) if needs_rendering(&text) => {
                Authored::Template(Template { origin: origin.cloned(), ..Template::new(&text) })
            }
            Value::List(items) if items.iter().any(holds_template) => {
                Authored::List(items.into_iter().map(|item| Authored::written(item, origin)).collect())
            }
            Value::Map(map) if map.values().any(holds_template) => {
                Authored::Map(map.into_iter().map(|(key, value)| (key, Authored::written(value, origin))).collect())
            }
            data => Authored::Data(data),
        }
    }

    /// Data that must stand beside templates, whatever it looks like.
    pub fn literal(value: impl Into<Value>) -> Authored {
        Authored::Data(value.into())
    }

    /// Whether anything in it is a template.
    pub fn needs_rendering(&self) -> bool {
        match self {
            Authored::Data(_) | Authored::Unsafe(_) => false,
            Authored::Template(_) | Authored::Sealed(_) => true,
            Authored::List(items) => items.iter().any(Authored::needs_rendering),
            Authored::Map(map) => map.values().any(Authored::needs_rendering),
        }
    }

    /// Whether something in it is encrypted by itself.
    pub(crate) fn holds_sealed(&self) -> bool {
        match self {
            Authored::Data(_) | Authored::Unsafe(_) | Authored::Template(_) => false,
            Authored::Sealed(sealed) => sealed.known().is_none(),
            Authored::List(items) => items.iter().any(Authored::holds_sealed),
            Authored::Map(map) => map.values().any(Authored::holds_sealed),
        }
    }

    /// Whether it is a template that says `omit`, and so may come to nothing at all.
    pub fn may_be_omitted(&self) -> bool {
        self.needs_rendering() && self.source().as_str().is_some_and(|text| text.contains("omit"))
    }

    /// Whether its author stands for all of it, so that its texts may be taken for expressions.
    pub fn is_vouched_for(&self) -> bool {
        match self {
            Authored::Data(_) | Authored::Template(_) => true,
            Authored::Unsafe(_) => false,
            Authored::Sealed(sealed) => sealed.known().is_none_or(|(_, value)| value.is_vouched_for()),
            Authored::List(items) => items.iter().all(Authored::is_vouched_for),
            Authored::Map(map) => map.values().all(Authored::is_vouched_for),
        }
    }

    /// Where a template stands, as far as that is known.
    pub(crate) fn origin(&self) -> Option<&Arc<Origin>> {
        match self {
            Authored::Template(template) => template.origin(),
            _ => None,
        }
    }

    /// The value as it was written, templates as their text, and cipher text: for messages and listings.
    pub fn source(&self) -> Value {
        match self {
            Authored::Data(value) | Authored::Unsafe(value) => value.clone(),
            Authored::Sealed(sealed) => Value::from(&**sealed.text()),
            Authored::Template(template) => Value::from(template.source()),
            Authored::List(items) => items.iter().map(Authored::source).collect(),
            Authored::Map(map) => Value::Map(map.iter().map(|(key, item)| (key.clone(), item.source())).collect()),
        }
    }

    /// As [`source`](Authored::source), but for what is encrypted, which is opened.
    ///
    /// # Errors
    /// No password of `vault` fits, or there is none.
    pub(crate) fn plain(&self, vault: &Vault) -> Result<Value, TemplateError> {
        match self {
            Authored::Sealed(sealed) => sealed.open(vault)?.plain(vault),
            Authored::List(items) => items.iter().map(|item| item.plain(vault)).collect(),
            Authored::Map(map) => {
                let entries = map.iter().map(|(key, item)| Ok((key.clone(), item.plain(vault)?)));
                entries.collect::<Result<_, _>>().map(Value::Map)
            }
            other => Ok(other.source()),
        }
    }

    /// This put over `weaker`: entries of dicts are merged, at any depth, and everything else is replaced. Entries keep the
    /// place that they had in `weaker`.
    #[must_use]
    pub(crate) fn merged_into(self, weaker: Authored) -> Authored {
        let (mut merged, stronger) = match (weaker.into_entries(), self.into_entries()) {
            (Ok(weaker), Ok(stronger)) => (weaker, stronger),
            (_, Err(stronger)) => return stronger,
            (Err(_), Ok(stronger)) => return Authored::Map(stronger),
        };
        for (name, value) in stronger {
            match merged.get_mut(&name) {
                Some(known) => *known = value.merged_into(std::mem::replace(known, Authored::Data(Value::Null))),
                None => drop(merged.insert(name, value)),
            }
        }
        Authored::Map(merged)
    }

    /// The entries of a dict; anything else as it is.
    pub(crate) fn into_entries(self) -> Result<IndexMap<String, Authored>, Authored> {
        match self {
            Authored::Map(map) => Ok(map),
            Authored::Data(Value::Map(map)) => {
                Ok(map.into_iter().map(|(name, value)| (name, Authored::Data(value))).collect())
            }
            Authored::Unsafe(Value::Map(map)) => {
                Ok(map.into_iter().map(|(name, value)| (name, Authored::Unsafe(value))).collect())
            }
            Authored::Sealed(sealed) => match sealed.known() {
                Some((_, value)) if value.is_dict() => (**value).clone().into_entries(),
                _ => Err(Authored::Sealed(sealed)),
            },
            other => Err(other),
        }
    }

    /// Whether it is a dict as it stands.
    pub(crate) fn is_dict(&self) -> bool {
        match self {
            Authored::Map(_) | Authored::Data(Value::Map(_)) | Authored::Unsafe(Value::Map(_)) => true,
            Authored::Sealed(sealed) => sealed.known().is_some_and(|(_, value)| value.is_dict()),
            Authored::Data(_) | Authored::Unsafe(_) | Authored::Template(_) | Authored::List(_) => false,
        }
    }
}

fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => needs_rendering(text),
        Value::List(items) => items.iter().any(holds_template),
        Value::Map(map) => map.values().any(holds_template),
        _ => false,
    }
}

/// Whether a text holds the start of a template expression, statement or comment.
pub fn needs_rendering(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// Template text an author wrote. Cheap to clone; compiled once per [`super::Templar`] and text. Those of the same text are
/// equal, wherever they stand.
#[derive(Clone)]
pub struct Template {
    /// The name under which the engine keeps the compiled template: how to evaluate it, and its text.
    key: Arc<str>,
    /// Where it was written, if that is known: for messages.
    origin: Option<Arc<Origin>>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.key == other.key
    }
}

impl Template {
    pub fn new(source: &str) -> Template {
        let mode = if is_single_expression(source) { Mode::Expression } else { Mode::Text };
        Template { key: template_key(mode, source).into(), origin: None }
    }

    pub fn source(&self) -> &str {
        Mode::split(&self.key).map_or("", |(_, source)| source)
    }

    pub(crate) fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }

    /// Names the template: its text and how it is evaluated. No variable can have this name.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.source()).finish()
    }
}

/// Whether the text is exactly one `{{ expression }}`, so that its value need not become text.
fn is_single_expression(source: &str) -> bool {
    let Some(inner) = source.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) else { return false };
    !inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%") && !inner.contains("{#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_with_template_marks_becomes_a_template() {
        for text in ["{{ a }}", "x {% if a %}", "{# c #}"] {
            assert!(Authored::from_value(Value::from(text)).needs_rendering(), "{text}");
        }
        for text in ["", "a", "{ {", "}} {", "${x}", "{"] {
            assert!(!Authored::from_value(Value::from(text)).needs_rendering(), "{text}");
        }
    }

    #[test]
    fn a_literal_is_never_a_template() {
        assert!(!Authored::literal("{{ a }}").needs_rendering());
    }

    #[test]
    fn containers_without_templates_stay_data() {
        let list = Value::List(vec![Value::from("a"), Value::from(1)]);
        assert_eq!(Authored::from_value(list.clone()), Authored::Data(list));
    }
}
