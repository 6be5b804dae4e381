//! The keywords that a play hands down to its blocks and they to their tasks, and the rules by which they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use rustle_protocol::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::collections;
use super::document::Document;
use super::error::PlaybookError;
use super::names::Noun;
use crate::input::source::{Place, shown};
use crate::input::yaml::{Key, Kind, Node, Tag};
use crate::template::{Authored, Expression};
use crate::vars::{VarMap, Variable, is_variable_name};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) value: Authored,
}

/// What a level says itself, or what it and all around it say.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Keywords {
    /// The nearest level that says something counts.
    #[serde(deserialize_with = "by_name")]
    pub(super) plain: BTreeMap<&'static str, Written>,
    /// What further levels say, the outermost first, where that of `plain` may come to `omit`.
    #[serde(deserialize_with = "by_name")]
    pub(super) further_out: BTreeMap<&'static str, Vec<Written>>,
    /// All levels' conditions hold, the outermost are asked first.
    pub(super) when: Vec<Expression>,
    /// All levels' tags, each once.
    pub(super) tags: Vec<Written>,
    /// All levels' variables, the outermost first: a later one wins.
    pub(super) environment: Vec<Written>,
    pub(super) module_defaults: Vec<Written>,
    /// The nearest level's list.
    pub(super) collections: Option<Vec<String>>,
}

/// Keywords of which the nearest counts, with what their value has to be.
const PLAIN: [(&str, Shape); 23] = [
    ("any_errors_fatal", Shape::Bool),
    ("become", Shape::Bool),
    ("become_exe", Shape::Text),
    ("become_flags", Shape::Text),
    ("become_method", Shape::Text),
    ("become_user", Shape::Text),
    ("check_mode", Shape::Bool),
    ("connection", Shape::Text),
    ("debugger", Shape::Text),
    ("delegate_facts", Shape::Bool),
    ("delegate_to", Shape::Text),
    ("diff", Shape::Bool),
    ("ignore_errors", Shape::Bool),
    ("ignore_unreachable", Shape::Bool),
    ("no_log", Shape::Bool),
    ("notify", Shape::Texts),
    ("port", Shape::Number),
    ("remote_user", Shape::Text),
    ("user", Shape::Text),
    ("run_once", Shape::Bool),
    ("throttle", Shape::Number),
    ("timeout", Shape::Number),
    ("strategy", Shape::Text),
];

/// Keywords of which the nearest counts, out of a printed plan.
fn by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<BTreeMap<&'static str, T>, D::Error> {
    let all = BTreeMap::<String, T>::deserialize(d)?;
    let known = |(name, value): (String, T)| {
        let known = PLAIN.iter().find(|(known, _)| *known == name).map(|(known, _)| *known);
        let unknown = || serde::de::Error::custom(format!("no keyword is called `{}`", name.escape_debug()));
        Ok((known.ok_or_else(unknown)?, value))
    };
    all.into_iter().map(known).collect()
}

/// What a keyword's value may be; a template may become anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Number,
    Text,
    Texts,
    /// Looked at by whoever uses it.
    Any,
}

impl Keywords {
    /// Reads what a level says; other keywords of it are left to the caller.
    ///
    /// # Errors
    /// A value of the wrong type.
    pub(super) fn read(document: &Document, entries: &[(Key, Node)], noun: Noun) -> Result<Keywords, PlaybookError> {
        let mut keywords = Keywords::default();
        let is_true = |node: &Node| matches!(&node.kind, Kind::Scalar(value) if as_bool(value) == Some(true));
        let forgives =
            noun == Noun::Task && entries.iter().any(|(key, node)| key.text == "ignore_errors" && is_true(node));
        for (key, node) in entries {
            if !noun.has(&key.text) {
                continue;
            }
            match key.text.as_str() {
                "when" => keywords.when = conditions(document, key, node)?,
                "tags" => keywords.tags = tags(document, node)?,
                "environment" => keywords.environment = environment(document, node)?,
                "collections" => keywords.collections = Some(collections::listed(document, node)?),
                "module_defaults" => keywords.module_defaults = maps(document, key, node)?,
                word => {
                    // An empty keyword says nothing.
                    if let Some((name, shape)) =
                        PLAIN.iter().find(|(name, _)| *name == word).filter(|_| !node.is_null())
                    {
                        let value = match written(document, key, node, *shape) {
                            Err(_) if forgives => fails_later(document, node),
                            read => read?,
                        };
                        keywords.plain.insert(name, value);
                    }
                }
            }
        }
        Ok(keywords)
    }

    /// What holds for something that says `inner` inside of what says this.
    pub(super) fn around(&self, inner: &Keywords) -> Keywords {
        let mut all = self.clone();
        for (name, value) in &inner.plain {
            let outer = all.plain.insert(name, value.clone());
            match outer.filter(|_| value.value.may_be_omitted()) {
                Some(outer) => all.further_out.entry(name).or_default().push(outer),
                None => drop(all.further_out.remove(name)),
            }
        }
        all.when.extend(inner.when.iter().filter(|condition| !self.when.contains(condition)).cloned());
        all.tags.extend(inner.tags.iter().filter(|tag| !self.tags.iter().any(|t| t.value == tag.value)).cloned());
        all.environment.extend(inner.environment.iter().cloned());
        all.module_defaults.extend(inner.module_defaults.iter().cloned());
        if inner.collections.is_some() {
            all.collections.clone_from(&inner.collections);
        }
        all
    }

    pub(super) fn get(&self, name: &str) -> Option<&Written> {
        self.plain.get(name)
    }

    /// What counts of the keyword last, before it what counts where that is omitted, and so on.
    pub(super) fn outermost_first(&self, name: &str) -> impl Iterator<Item = &Written> {
        self.further_out.get(name).into_iter().flatten().chain(self.plain.get(name))
    }
}

/// A value that fits no keyword, of a task whose failure is forgiven: it fails when it is asked for, as in Ansible.
fn fails_later(document: &Document, node: &Node) -> Written {
    let value = match &node.kind {
        Kind::Scalar(value) => crate::template::python_repr(value),
        Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => format!("'{}'", node.kind()),
    };
    let value = Authored::written_at(format!("{{{{ {value} }}}}").into(), || document.origin(node.at));
    Written { place: document.place(node.at), value }
}

/// A keyword's value, if it fits `shape`.
///
/// # Errors
/// In Ansible's words, what does not fit.
pub(super) fn written(document: &Document, key: &Key, node: &Node, shape: Shape) -> Result<Written, PlaybookError> {
    let value = document.authored(node)?;
    if let Authored::Data(value) = &value
        && !shape.fits(value)
    {
        let what = format!(
            "the field '{}' has an invalid value ({}), and could not be converted to {}.",
            key.text,
            shown(&rustle_agent::module::shown(value)),
            shape.title()
        );
        return Err(document.wrong(node.at, what));
    }
    Ok(Written { place: document.place(node.at), value })
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        let is_scalar = |value: &Value| !matches!(value, Value::List(_) | Value::Map(_));
        match self {
            Shape::Any => true,
            Shape::Bool => as_bool(value).is_some(),
            Shape::Number => as_number(value).is_some(),
            Shape::Text => is_scalar(value),
            Shape::Texts => value.as_list().map_or_else(|| is_scalar(value), |items| items.iter().all(is_scalar)),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Shape::Bool => "bool",
            Shape::Number => "int",
            Shape::Text => "string",
            Shape::Texts => "list",
            Shape::Any => "a value",
        }
    }
}

/// The bool that a value means in a playbook.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The number that a value means in a playbook.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(n) => Some(*n as f64),
        Value::UInt(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// Conditions as expressions; a bool is the expression of itself.
///
/// # Errors
/// A value that cannot be an expression.
pub(super) fn conditions(document: &Document, key: &Key, node: &Node) -> Result<Vec<Expression>, PlaybookError> {
    let one = |node: &Node| match &node.kind {
        Kind::Scalar(text @ Value::String(_)) if node.tag == Some(Tag::Unsafe) => Ok(not_vouched_for(text)),
        Kind::Scalar(Value::Bool(flag)) => Ok(if *flag { "True" } else { "False" }.into()),
        Kind::Scalar(Value::String(text)) => Ok(Expression::from(text.trim()).at(document.origin(node.at))),
        Kind::Scalar(number @ (Value::Int(_) | Value::UInt(_) | Value::Float(_))) => Ok(number.to_json().into()),
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => {
            let what = format!("`{}` must be a condition or a list of them, not a {}", key.text, node.kind());
            Err(document.wrong(node.at, what).hint(Some("quote an expression that begins with `{` or `[`")))
        }
    };
    match &node.kind {
        Kind::Scalar(Value::Null) => Ok(Vec::new()),
        Kind::List(items) if node.tag.is_none() => items.iter().filter(|item| !item.is_null()).map(one).collect(),
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::List(_) | Kind::Map(_) => Ok(vec![one(node)?]),
    }
}

/// `!unsafe` text as a condition: a template that gives it. Text that a template gives is refused when a host comes to it.
pub(super) fn not_vouched_for(text: &Value) -> Expression {
    Expression::from(format!("{{{{ {} }}}}", crate::template::python_repr(text)))
}

fn tags(document: &Document, node: &Node) -> Result<Vec<Written>, PlaybookError> {
    let mut tags = Vec::new();
    let mut add = |node: &Node, value: Authored| tags.push(Written { place: document.place(node.at), value });
    match &node.kind {
        Kind::Scalar(Value::Null) => {}
        Kind::List(items) => {
            for item in items.iter().filter(|item| !item.is_null()) {
                add(item, document.authored(item)?);
            }
        }
        Kind::Scalar(Value::String(text)) => {
            // Only one text is a list written with commas; the items of a list are taken as they are.
            for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                add(node, Authored::from_value(Value::from(word)));
            }
        }
        Kind::Scalar(number @ (Value::Int(_) | Value::Float(_) | Value::UInt(_))) => {
            add(node, Authored::literal(number.to_json()));
        }
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::Map(_) => {
            return Err(document.wrong(node.at, "tags must be specified as a list"));
        }
    }
    Ok(tags)
}

/// Parts of an environment. What is no dict is left to the run, which passes it by with a warning, as Ansible does.
fn environment(document: &Document, node: &Node) -> Result<Vec<Written>, PlaybookError> {
    let one = |node: &Node| {
        let value = document.authored(node)?;
        Ok(Written { place: document.place(node.at), value })
    };
    match &node.kind {
        Kind::Scalar(Value::Null) => Ok(Vec::new()),
        Kind::List(items) => items.iter().filter(|item| !item.is_null()).map(one).collect(),
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::Map(_) => Ok(vec![one(node)?]),
    }
}

/// A dict, a template of one, or a list of these.
fn maps(document: &Document, key: &Key, node: &Node) -> Result<Vec<Written>, PlaybookError> {
    let one = |node: &Node| {
        let value = document.authored(node)?;
        match &value {
            Authored::Data(Value::Map(_))
            | Authored::Unsafe(Value::Map(_))
            | Authored::Map(_)
            | Authored::Template(_) => Ok(Written { place: document.place(node.at), value }),
            _ => {
                let what = format!("`{}` must be a dict or a list of them, not a {}", key.text, node.kind());
                Err(document.wrong(node.at, what))
            }
        }
    };
    match &node.kind {
        Kind::Scalar(Value::Null) => Ok(Vec::new()),
        Kind::List(items) => items.iter().filter(|item| !item.is_null()).map(one).collect(),
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::Map(_) => Ok(vec![one(node)?]),
    }
}

/// `vars`: a dict, or a list of them.
///
/// # Errors
/// Anything else, and a name that is no variable's.
pub(super) fn vars(document: &Document, node: &Node, noun: Noun) -> Result<IndexMap<String, Authored>, PlaybookError> {
    if node.is_null() {
        return Ok(IndexMap::new());
    }
    let Some(entries) = node.as_map() else {
        let what = format!("Vars in a {} must be specified as a dictionary.", noun.title());
        return Err(document.wrong(node.at, what));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !is_variable_name(&key.text)) {
        let what = format!(
            "Invalid variable name in vars specified for {}: '{}' is not a valid variable name",
            noun.title(),
            shown(&key.text)
        );
        return Err(document.wrong(key.at, what));
    }
    document.authored_entries(entries)
}

/// Variables as a layer has them.
pub(super) fn var_map(vars: IndexMap<String, Authored>) -> Arc<VarMap> {
    Arc::new(vars.into_iter().map(|(name, value)| (name, Variable::Authored(Arc::new(value)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Keywords {
        let document = Document::of_text("t.yml", text.to_owned()).unwrap();
        let root = document.root.clone().unwrap();
        Keywords::read(&document, root.as_map().unwrap(), Noun::Task).unwrap()
    }

    fn refusal(text: &str) -> String {
        let document = Document::of_text("t.yml", text.to_owned()).unwrap();
        let root = document.root.clone().unwrap();
        let error = Keywords::read(&document, root.as_map().unwrap(), Noun::Task).unwrap_err().to_string();
        error.lines().next().unwrap().to_owned()
    }

    fn texts(written: &[Written]) -> Vec<String> {
        written.iter().map(|tag| tag.value.source().as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_nearest_keyword_counts_and_lists_are_joined() {
        let outer = read("become: yes\nwhen: a\ntags: x, y,z\nenvironment: {A: 1}\nno_log: true");
        let inner = read("become: no\nwhen: [b, a]\ntags: z,w\nenvironment: {B: 2}");
        let all = outer.around(&inner);
        assert_eq!(all.get("become").unwrap().value, Authored::literal(false));
        assert_eq!(all.get("no_log").unwrap().value, Authored::literal(true));
        assert_eq!(all.when.iter().map(|c| &**c).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(texts(&all.tags), ["x", "y", "z", "w"]);
        assert_eq!(all.environment.len(), 2);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_unless_it_is_a_template() {
        assert_eq!(
            refusal("become: maybe"),
            "t.yml:1:9: the field 'become' has an invalid value (maybe), and could not be converted to bool."
        );
        assert_eq!(refusal("tags: {a: b}"), "t.yml:1:7: tags must be specified as a list");
        assert_eq!(refusal("when: {a: b}"), "t.yml:1:7: `when` must be a condition or a list of them, not a dict");
        assert!(read("become: '{{ x }}'").get("become").unwrap().value.needs_rendering());
    }

    #[test]
    fn text_that_nobody_vouches_for_is_no_condition_when_a_host_comes_to_it() {
        let templar = crate::template::Templar::new();
        let scope = crate::vars::Scope::of(&templar, []);
        for text in ["when: !unsafe 1 == 1", "when: [!unsafe '{{ 1 == 1 }}']", r#"when: !unsafe "'}}' == \"a\nb\"""#] {
            let [condition] = &read(text).when[..] else { panic!("one condition: {text}") };
            let refused = templar.condition(condition, &scope, crate::template::Conditionals::Strict).unwrap_err();
            assert_eq!(refused.to_string(), "Encountered untrusted template or expression.", "{text}");
        }
        assert_eq!(&*read("when: !unsafe true").when[0], "True");
    }
}
