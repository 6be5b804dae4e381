//! Renders authored values in a scope.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{Value as Jinja, ValueKind};
use rustle_protocol::value::{Map, Value};

use super::authored::{Authored, Template};
use super::convert::{from_data, to_data, to_defined_data, to_kept, to_shown_data};
use super::engine::{self, Mode, template_key};
use super::error::TemplateError;
use super::file::FileEngines;
use super::plugged::Plugged;
use super::rewrite::Delimiters;
use super::sealed::{OpenedTexts, Sealed, rendering};
use super::{explain, filters, python, written};
use crate::plan::CallOrigins;
use crate::plugins::Plugins;
use crate::vars::Scope;
use crate::vault::Vault;

/// Which results a condition may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditionals {
    /// As ansible-core 2.19: a boolean, and nothing else.
    #[default]
    Strict,
    /// As before 2.19 (`ALLOW_BROKEN_CONDITIONALS`), and for plans: any value, by its truth in Python.
    Lenient,
}

/// Renders templates. Cheap to clone; one for a whole run, so that each text is compiled once.
#[derive(Clone)]
pub struct Templar {
    inner: Arc<Inner>,
}

struct Inner {
    plugged: Plugged,
    vault: Vault,
    opened: Mutex<OpenedTexts>,
    files: Mutex<FileEngines>,
}

impl Templar {
    pub fn new() -> Templar {
        Templar::with(Plugins::default(), Vault::default())
    }

    /// With filters, tests and lookups in Python beside its own, which come first, and passwords for what is encrypted.
    pub fn with(plugins: Plugins, vault: Vault) -> Templar {
        let mut strings = engine::environment();
        strings.set_syntax(engine::string_syntax());
        engine::set_loader(&mut strings, Vec::new(), Delimiters::default());
        let plugged = Plugged::new(strings, plugins);
        Templar { inner: Arc::new(Inner { plugged, vault, opened: Mutex::default(), files: Mutex::default() }) }
    }

    /// The value of an authored text, list or dict in `scope`. A template that is one `{{ expression }}`, or that
    /// prints a single value and no other text, keeps that value's type; any other gives text. Entries of lists and
    /// dicts that are `omit` are left out. The result is data and is never rendered again.
    ///
    /// # Errors
    /// See [`TemplateError`]; [`TemplateError::Omitted`] when the whole value is `omit`.
    pub fn render(&self, authored: &Authored, scope: &Scope) -> Result<Value, TemplateError> {
        self.render_optional(authored, scope)?.ok_or(TemplateError::Omitted)
    }

    /// As [`Templar::render`]; `None` when the whole value is `omit`.
    pub fn render_optional(&self, authored: &Authored, scope: &Scope) -> Result<Option<Value>, TemplateError> {
        match authored {
            Authored::Data(value) | Authored::Unsafe(value) => Ok(Some(value.clone())),
            Authored::Sealed(sealed) => self.render_optional(&*sealed.open(self.vault())?, scope),
            Authored::Template(template) => {
                let value = self.evaluate(template, scope)?;
                to_data(&value)
                    .map_err(|error| explain::explain(error, template.key(), Some(scope)).at(template.origin()))
            }
            Authored::List(items) => {
                let items: Result<Vec<_>, _> =
                    items.iter().filter_map(|item| self.render_optional(item, scope).transpose()).collect();
                Ok(Some(Value::List(items?)))
            }
            Authored::Map(map) => self.render_map(map, scope).map(|map| Some(Value::Map(map))),
        }
    }

    /// As [`Templar::render_optional`], but for what is encrypted by itself, which stays so. There is no template in it.
    ///
    /// # Errors
    /// Those of [`Templar::render_optional`], of what cannot be opened, too.
    pub(crate) fn render_kept(&self, authored: &Authored, scope: &Scope) -> Result<Option<Authored>, TemplateError> {
        match authored {
            Authored::Sealed(sealed) => match sealed.known() {
                Some((_, value)) => self.render_kept(value, scope),
                None => self.open(sealed).map(|_| Some(authored.clone())),
            },
            Authored::Template(template) => {
                let value = self.evaluate(template, scope)?;
                to_kept(&value, &|value| self.sealed(value))
                    .map_err(|error| explain::explain(error, template.key(), Some(scope)).at(template.origin()))
            }
            Authored::List(items) => {
                let kept = items.iter().filter_map(|item| self.render_kept(item, scope).transpose());
                kept.collect::<Result<_, _>>().map(|items| Some(Authored::List(items)))
            }
            Authored::Map(map) => {
                self.render_entries(map, |_, item| self.render_kept(item, scope)).map(|map| Some(Authored::Map(map)))
            }
            data => self.render_optional(data, scope).map(|value| value.map(Authored::Unsafe)),
        }
    }

    /// As [`Templar::render_optional`]; what is undefined is left out as well, and what is left of it is given.
    ///
    /// # Errors
    /// See [`TemplateError`]; not for undefined values.
    pub fn render_defined(&self, authored: &Authored, scope: &Scope) -> Result<Option<Value>, TemplateError> {
        match authored {
            Authored::Data(value) | Authored::Unsafe(value) => Ok(Some(value.clone())),
            Authored::Sealed(sealed) => self.render_defined(&*sealed.open(self.vault())?, scope),
            Authored::Template(template) => match self.evaluate(template, scope) {
                Ok(value) => {
                    to_defined_data(&value).map_err(|error| explain::explain(error, template.key(), Some(scope)))
                }
                Err(error) if error.is_undefined() => Ok(None),
                Err(error) => Err(error),
            },
            Authored::List(items) => {
                let items: Result<Vec<_>, _> =
                    items.iter().filter_map(|item| self.render_defined(item, scope).transpose()).collect();
                Ok(Some(Value::List(items?)))
            }
            Authored::Map(map) => {
                let rendered = map.iter().map(|(name, item)| Ok((name, self.render_defined(item, scope)?)));
                let rendered: Vec<_> = rendered.collect::<Result<_, TemplateError>>()?;
                let defined = rendered.into_iter().filter_map(|(name, value)| Some((name.clone(), value?)));
                Ok(Some(Value::Map(defined.collect())))
            }
        }
    }

    /// Renders a task's arguments. An argument that is `omit` is left out. `origins` says where they stand.
    ///
    /// # Errors
    /// The first argument's that fails, in the order they were written.
    pub fn render_args(
        &self,
        args: &IndexMap<String, Authored>,
        origins: Option<&CallOrigins>,
        scope: &Scope,
    ) -> Result<Map, TemplateError> {
        self.render_entries(args, |name, authored| {
            self.render_optional(authored, scope).map_err(in_argument(name, authored, origins))
        })
    }

    /// As [`Templar::render_args`], but for what is encrypted by itself, which stays so.
    ///
    /// # Errors
    /// Those of [`Templar::render_args`].
    pub(crate) fn kept_args(
        &self,
        args: &IndexMap<String, Authored>,
        origins: Option<&CallOrigins>,
        scope: &Scope,
    ) -> Result<IndexMap<String, Authored>, TemplateError> {
        self.render_entries(args, |name, authored| {
            self.render_kept(authored, scope).map_err(in_argument(name, authored, origins))
        })
    }

    fn render_map(&self, map: &IndexMap<String, Authored>, scope: &Scope) -> Result<Map, TemplateError> {
        self.render_entries(map, |_, authored| self.render_optional(authored, scope))
    }

    fn render_entries<T>(
        &self,
        entries: &IndexMap<String, Authored>,
        render: impl Fn(&str, &Authored) -> Result<Option<T>, TemplateError>,
    ) -> Result<IndexMap<String, T>, TemplateError> {
        let mut rendered = IndexMap::with_capacity(entries.len());
        for (name, authored) in entries {
            if let Some(value) = render(name, authored)? {
                rendered.insert(name.clone(), value);
            }
        }
        Ok(rendered)
    }

    /// As [`Templar::expression`], for something to be shown: what is undefined inside it is shown as
    /// `<< error 1 - ... >>`, numbered, in Ansible's words. Gives these errors, too.
    ///
    /// # Errors
    /// See [`TemplateError`]; not for undefined values.
    pub fn showable(&self, authored: &Authored, scope: &Scope) -> Result<(Value, Vec<TemplateError>), TemplateError> {
        let key = match authored {
            Authored::Template(template) => template.key().to_owned(),
            other => match other.source() {
                Value::String(expression) => template_key(Mode::Condition, &expression),
                value => return Ok((value, Vec::new())),
            },
        };
        let mut faults = Vec::new();
        let value = match self.try_evaluate(&key, scope) {
            Ok(value) => to_shown_data(&value, &mut |error| {
                faults.push(explain::explain(error, &key, Some(scope)));
                fault_text(&faults)
            }),
            Err(error) => Err(error),
        };
        match value.map_err(|error| explain::explain(error, &key, Some(scope))) {
            Ok(value) => Ok((value, faults)),
            Err(error) if error.is_undefined() => {
                faults.push(error);
                Ok((fault_text(&faults), faults))
            }
            Err(error) => Err(error),
        }
    }

    /// The expression that a template names, as in `debug: var={{ name }}`: what an author wrote where it leads, or else the
    /// name of a variable, or a path into one.
    ///
    /// # Errors
    /// See [`TemplateError`]; text that is neither. A value that is no text is given as it is.
    pub fn named(&self, template: &str, scope: &Scope) -> Result<Value, TemplateError> {
        let named = self.render(&Authored::Template(Template::new(template)), scope)?;
        match &named {
            Value::String(text)
                if !written::is_path(text) && written::behind(template, scope).as_ref() != Some(&named) =>
            {
                Err(TemplateError::untrusted(&named))
            }
            _ => Ok(named),
        }
    }

    /// Renders to text, as in a task's name: lists and dicts as Python writes them, `None` as nothing.
    pub fn render_text(&self, source: &str, scope: &Scope) -> Result<String, TemplateError> {
        if !super::needs_rendering(source) {
            return Ok(source.to_owned());
        }
        let value = self.evaluate(&Template::new(source), scope)?;
        Ok(if value.is_none() { String::new() } else { python::text(&value) })
    }

    /// As [`render_text`](Self::render_text), for a reader: an expression that has no value says why in its place, in
    /// Ansible's way.
    pub fn render_title(&self, source: &str, scope: &Scope) -> String {
        if let Ok(text) = self.render_text(source, scope) {
            return text;
        }
        let (mut shown, mut rest, mut errors) = (String::new(), source, 0);
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((expression, after)) = after.split_once("}}") else { break };
            shown.push_str(before);
            match self.render_text(&format!("{{{{{expression}}}}}"), scope) {
                Ok(text) => shown.push_str(&text),
                Err(error) => {
                    errors += 1;
                    shown.push_str(&format!("<< error {errors} - {error} >>"));
                }
            }
            rest = after;
        }
        shown + rest
    }

    /// Whether a bare expression, as in `when`, holds. One that is a template as a whole, `"{{ ready }}"`, is what the
    /// template gives; text that it gives is an expression in turn if an author wrote it, and an error otherwise.
    ///
    /// # Errors
    /// See [`TemplateError`]; an undefined variable is an error, not `false`.
    pub fn condition(&self, source: &str, scope: &Scope, rule: Conditionals) -> Result<bool, TemplateError> {
        if source.trim().is_empty() {
            return match rule {
                Conditionals::Strict => Err(TemplateError::EmptyCondition),
                Conditionals::Lenient => Ok(true),
            };
        }
        let value = self.evaluate_key(&condition_key(source), scope).map_err(TemplateError::in_conditional)?;
        if is_enclosed(source) && value.as_str().is_some() {
            return match written::behind(source, scope) {
                Some(Value::String(text)) => self.condition(&text, scope, rule),
                _ if rule == Conditionals::Lenient => Ok(value.is_true()),
                _ => Err(TemplateError::untrusted(&Templar::data(&value, scope)?)),
            };
        }
        if value.kind() != ValueKind::Bool && rule == Conditionals::Strict {
            let truth = if value.is_true() { "True" } else { "False" };
            return Err(TemplateError::NotBoolean { truth, kind: filters::python_type(&value) });
        }
        Ok(value.is_true())
    }

    /// The conditions that `source` stands for: those in the list that it gives if it is a template as a whole, and
    /// itself otherwise.
    ///
    /// # Errors
    /// See [`TemplateError`]; a list in which text stands that no author wrote.
    pub fn conditions(&self, source: &str, scope: &Scope) -> Result<Vec<Value>, TemplateError> {
        if !(source.starts_with("{{") && source.ends_with("}}")) {
            return Ok(vec![source.into()]);
        }
        let given = self.evaluate_key(&condition_key(source), scope).map_err(TemplateError::in_conditional)?;
        if !matches!(given.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Ok(vec![source.into()]);
        }
        if let Some(Value::List(conditions)) = written::behind(source, scope) {
            return Ok(conditions);
        }
        match Templar::data(&given, scope)? {
            Value::List(conditions) if !conditions.iter().any(|one| one.as_str().is_some()) => Ok(conditions),
            Value::List(conditions) => Err(TemplateError::untrusted(
                conditions.iter().find(|one| one.as_str().is_some()).unwrap_or(&Value::Null),
            )),
            other => Err(TemplateError::untrusted(&other)),
        }
    }

    /// The value of a bare expression, as in `debug: var=` or `loop` without braces.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn expression(&self, source: &str, scope: &Scope) -> Result<Value, TemplateError> {
        let key = template_key(Mode::Condition, source);
        let value = self.evaluate_key(&key, scope)?;
        to_data(&value).map_err(|error| explain::explain(error, &key, Some(scope)))?.ok_or(TemplateError::Omitted)
    }

    /// The data of a value a scope gave.
    pub(crate) fn data(value: &Jinja, scope: &Scope) -> Result<Value, TemplateError> {
        to_data(value).map_err(|error| explain::explain(error, "", Some(scope)))?.ok_or(TemplateError::Omitted)
    }

    /// Checks that a template is well formed, without rendering it: for telling the author before anything runs.
    pub fn check(&self, authored: &Authored) -> Result<(), TemplateError> {
        match authored {
            Authored::Data(_) | Authored::Unsafe(_) | Authored::Sealed(_) => Ok(()),
            Authored::Template(template) => self.compile(template.key()),
            Authored::List(items) => items.iter().try_for_each(|item| self.check(item)),
            Authored::Map(map) => map.values().try_for_each(|item| self.check(item)),
        }
    }

    /// As [`Templar::check`], for a condition.
    pub fn check_condition(&self, source: &str) -> Result<(), TemplateError> {
        // An empty one fails where it is asked.
        if source.trim().is_empty() { Ok(()) } else { self.compile(&condition_key(source)) }
    }

    /// The variables a value's templates mention and do not set themselves; none for templates with syntax errors.
    pub fn undeclared(&self, authored: &Authored) -> BTreeSet<String> {
        match authored {
            Authored::Data(_) | Authored::Unsafe(_) | Authored::Sealed(_) => BTreeSet::new(),
            Authored::Template(template) => self.undeclared_in(template.key()),
            Authored::List(items) => items.iter().flat_map(|item| self.undeclared(item)).collect(),
            Authored::Map(map) => map.values().flat_map(|item| self.undeclared(item)).collect(),
        }
    }

    /// As [`Templar::undeclared`], for a condition.
    pub fn undeclared_in_condition(&self, source: &str) -> BTreeSet<String> {
        self.undeclared_in(&condition_key(source))
    }

    /// The engine's value of a template, still lazy inside.
    pub(crate) fn evaluate(&self, template: &Template, scope: &Scope) -> Result<Jinja, TemplateError> {
        self.evaluate_key(template.key(), scope).map_err(|error| error.at(template.origin()))
    }

    fn evaluate_key(&self, key: &str, scope: &Scope) -> Result<Jinja, TemplateError> {
        self.try_evaluate(key, scope).map_err(|error| explain::explain(error, key, Some(scope)))
    }

    fn try_evaluate(&self, key: &str, scope: &Scope) -> Result<Jinja, minijinja::Error> {
        self.plugged().render(|| rendering(key, || self.evaluate_once(key, scope)))
    }

    fn evaluate_once(&self, key: &str, scope: &Scope) -> Result<Jinja, minijinja::Error> {
        let (output, printed) = engine::printed(&self.plugged().strings(), key, scope)?;
        let is_sealed = |value: &Jinja| printed.count == 1 && self.sealed(value).is_some();
        let is_value = printed.is_value(&output)
            || printed.first.as_ref().is_some_and(|first| first.as_str() == Some(&output) && is_sealed(first));
        Ok(match (Mode::split(key), printed.first) {
            (Some((Mode::Expression | Mode::Condition, _)), first) => first.unwrap_or_default(),
            (_, Some(first)) if is_value => first,
            (_, None) if output.is_empty() && Mode::split(key).is_some_and(|(_, source)| !source.is_empty()) => {
                Jinja::from(())
            }
            (mode, first) => {
                let source = mode.map_or("", |(_, source)| source);
                Jinja::from(with_last_newlines(output, source, "\n", first.is_some()))
            }
        })
    }

    fn compile(&self, key: &str) -> Result<(), TemplateError> {
        self.plugged().strings().get_template(key).map(drop).map_err(|error| explain::explain(error, key, None))
    }

    pub(super) fn undeclared_in(&self, key: &str) -> BTreeSet<String> {
        let strings = self.plugged().strings();
        let Ok(template) = strings.get_template(key) else { return BTreeSet::new() };
        let is_global = |name: &str| strings.globals().any(|(global, _)| global == name);
        template.undeclared_variables(false).into_iter().filter(|name| !is_global(name)).collect()
    }

    pub(super) fn plugged(&self) -> &Plugged {
        &self.inner.plugged
    }

    /// The text of what is encrypted by itself. Whatever hands it on unchanged hands on that it was encrypted.
    ///
    /// # Errors
    /// No password fits, or there is none.
    pub(crate) fn open(&self, sealed: &Sealed) -> Result<Jinja, TemplateError> {
        let opened = || self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened().get(sealed) {
            return Ok(known);
        }
        match &*sealed.open(self.vault())? {
            Authored::Unsafe(Value::String(plain)) => Ok(opened().keep(sealed, plain)),
            other => Ok(from_data(other.source())),
        }
    }

    /// What a value was before [`open`](Self::open) gave it.
    pub(super) fn sealed(&self, value: &Jinja) -> Option<Sealed> {
        self.inner.opened.lock().unwrap_or_else(PoisonError::into_inner).sealed(value).cloned()
    }

    /// Passwords for what is encrypted.
    pub(crate) fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    pub(crate) fn plugins(&self) -> &Plugins {
        self.plugged().plugins()
    }

    pub(super) fn files(&self) -> &Mutex<FileEngines> {
        &self.inner.files
    }
}

/// Says which argument an error is about.
fn in_argument<'a>(
    name: &'a str,
    authored: &'a Authored,
    origins: Option<&'a CallOrigins>,
) -> impl FnOnce(TemplateError) -> TemplateError + 'a {
    move |error| {
        let origin = origins.and_then(|origins| origins.arg(name)).or(authored.origin());
        error.in_argument(name).at(origin)
    }
}

/// What stands in the place of the value that the last of `faults` is about.
fn fault_text(faults: &[TemplateError]) -> Value {
    let text = faults.last().map(|fault| format!("<< error {} - {fault} >>", faults.len()));
    Value::from(text.unwrap_or_default())
}

/// As many newlines at the end as the template has there, of which the engine has taken one, and a block or a comment
/// another: but not where nothing else is in it and nothing was printed.
pub(super) fn with_last_newlines(mut output: String, source: &str, newline: &str, is_printed: bool) -> String {
    let newlines = |text: &str| (text.len() - text.trim_end_matches(newline).len()) / newline.len();
    let missing = newlines(source).saturating_sub(newlines(&output));
    if is_printed || !output.is_empty() {
        output.extend(std::iter::repeat_n(newline, missing));
    }
    output
}

impl Default for Templar {
    fn default() -> Templar {
        Templar::new()
    }
}

impl std::fmt::Debug for Templar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templar").finish_non_exhaustive()
    }
}

/// Whether a condition is a template as a whole.
fn is_enclosed(condition: &str) -> bool {
    let trimmed = condition.trim();
    [("{{", "}}"), ("{%", "%}")].iter().any(|(open, close)| trimmed.starts_with(open) && trimmed.ends_with(close))
}

fn condition_key(source: &str) -> String {
    if is_enclosed(source) {
        Template::new(source).key().to_owned()
    } else {
        template_key(Mode::Condition, &super::embedded::unfolded(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vars::authored_map;
    use serde_json::json;

    fn scope(vars: serde_json::Value) -> Scope {
        let Value::Map(map) = Value::from(vars) else { panic!("variables are a map") };
        Scope::of(&Templar::new(), [Arc::new(authored_map(map))])
    }

    fn render(source: &str, vars: serde_json::Value) -> Result<serde_json::Value, String> {
        let scope = scope(vars);
        let authored = Authored::from_value(Value::from(source));
        let value = scope.templar().render(&authored, &scope).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(value).unwrap())
    }

    #[test]
    fn a_single_expression_keeps_its_type_and_anything_else_is_text() {
        for (source, expected) in [
            ("{{ none }}", json!(null)),
            ("x{{ none }}y", json!("xy")),
            ("{{ true }}x", json!("Truex")),
            ("{{ [1,'a',none,true,1.5,1e20] }}x", json!("[1, 'a', None, True, 1.5, 1e+20]x")),
            ("{{ {'a':{'b':1}} }}", json!({"a": {"b": 1}})),
            ("{% if true %}\nx\n{% endif %}\n", json!("x\n")),
            ("{{ 'a' }}\n", json!("a\n")),
            (" {{ 1 }}", json!(" 1")),
            ("{{ 1 }} ", json!("1 ")),
            ("{{ 1 }}{{ 2 }}", json!("12")),
            ("{{ 5 / 2 }}", json!(2.5)),
            ("{{ 4 / 2 }}", json!(2.0)),
            ("{{ '1' }}", json!("1")),
            ("{{ '[1,2]' }}", json!("[1,2]")),
            ("{{ 1 }}{# c #}", json!(1)),
            ("{% set x = 3 %}{{ x }}", json!(3)),
            ("{{ (1,2) }}", json!([1, 2])),
            ("{{ dict(a=1) }}", json!({"a": 1})),
            ("{% raw %}{{ x }}{% endraw %}", json!("{{ x }}")),
            ("{{ 'abc'[1] }}", json!("b")),
            ("{{ {'a':1}.items() }}", json!([["a", 1]])),
            ("{{ 1.0 }}x", json!("1.0x")),
            ("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }}", json!("3 -4 2")),
            ("{% for i in [1,2] %}{{ i }}{% endfor %}", json!("12")),
            ("{{ '' }}", json!("")),
            ("{{ '{{ 1 }}' }}", json!("{{ 1 }}")),
            ("{{ 'a' ~ 1 ~ none ~ true }}", json!("a1NoneTrue")),
        ] {
            assert_eq!(render(source, json!({})), Ok(expected), "{source}");
        }
    }

    #[test]
    fn undefined_is_named_as_ansible_names_it() {
        for (source, vars, expected) in [
            ("{{ foo }}", json!({}), "'foo' is undefined"),
            ("{{ foo.bar }}", json!({}), "'foo' is undefined"),
            ("{{ foo.bar }}", json!({"foo": {}}), "object of type 'dict' has no attribute 'bar'"),
            ("{{ foo['bar'] }}", json!({"foo": {}}), "object of type 'dict' has no attribute 'bar'"),
            ("{{ foo.bar.baz }}", json!({"foo": {}}), "object of type 'dict' has no attribute 'bar'"),
            ("{{ foo == 1 }}", json!({}), "'foo' is undefined"),
            ("{{ 1 if foo else 2 }}", json!({}), "'foo' is undefined"),
            ("{{ x.foo }}", json!({"x": "abc"}), "object of type 'str' has no attribute 'foo'"),
            ("{{ x.foo.bar }}", json!({"x": null}), "object of type 'NoneType' has no attribute 'foo'"),
            ("{{ x }}", json!({"x": "{{ y.z }}", "y": {}}), "object of type 'dict' has no attribute 'z'"),
            ("{{ x }}", json!({"x": "{{ y }}"}), "'y' is undefined"),
            ("{{ x() }}", json!({}), "'x' is undefined"),
            ("{{ x | default(1) }} {{ a.b | default(2) }} {{ foo.bar }}", json!({}), "'foo' is undefined"),
        ] {
            assert_eq!(render(source, vars), Err(expected.to_owned()), "{source}");
        }
    }

    #[test]
    fn undefined_reaches_default_and_defined_from_any_depth() {
        for (source, vars, expected) in [
            ("{{ foo.bar.baz | default('q') }}", json!({}), json!("q")),
            ("{{ x | default('z') }}", json!({"x": "{{ nope }}"}), json!("z")),
            ("{{ x is defined }}", json!({"x": "{{ nope }}"}), json!(false)),
            ("{{ x.y is defined }}", json!({}), json!(false)),
            ("{{ x['y']['z'] is not defined }}", json!({"x": {}}), json!(true)),
            ("{{ x.y.z | d('k') }}", json!({}), json!("k")),
            ("{{ x.b[0] | default('zz') }}", json!({"x": {"b": ["{{ nope }}"]}}), json!("zz")),
            ("{{ x.a.b | default('zz') }}", json!({"x": {"a": {"b": 0}}}), json!(0)),
        ] {
            assert_eq!(render(source, vars), Ok(expected), "{source}");
        }
    }

    #[test]
    fn variables_are_rendered_when_they_are_read_and_only_then() {
        let vars = json!({"x": {"a": "{{ 1 + 1 }}", "b": ["{{ nope }}"]}, "broken": "{{ 1 | nofilter }}"});
        assert_eq!(render("{{ x.a }}", vars.clone()), Ok(json!(2)));
        assert_eq!(render("{{ x }}", vars), Err("'nope' is undefined".to_owned()));
    }

    #[test]
    fn a_variable_that_needs_itself_is_a_loop_with_its_chain() {
        let error = render("{{ a }}", json!({"a": "{{ b }}", "b": "x{{ c.d }}", "c": {"d": "{{ a }}"}})).unwrap_err();
        assert_eq!(error, "recursive loop detected in template: a -> b -> {{ a }} -> a");
    }

    #[test]
    fn omit_leaves_out_arguments_and_entries() {
        let scope = scope(json!({}));
        let args = Authored::from_value(Value::from(json!({
            "a": "{{ omit }}", "b": 1, "c": "{{ nope | default(omit) }}", "d": ["{{ omit }}", 2]
        })));
        let rendered = scope.templar().render(&args, &scope).unwrap();
        assert_eq!(serde_json::to_value(rendered).unwrap(), json!({"b": 1, "d": [2]}));
        assert_eq!(render("{{ omit }}", json!({})), Err(TemplateError::Omitted.to_string()));
    }

    #[test]
    fn syntax_errors_give_line_and_column() {
        let scope = scope(json!({}));
        let error = |source: &str| scope.templar().check(&Authored::from_value(Value::from(source))).unwrap_err();
        assert!(
            matches!(error("{{ 1 + }}"), TemplateError::Syntax { line: 1, column: 8, .. }),
            "{:?}",
            error("{{ 1 + }}")
        );
        let late = error("a\n {{ x.y | default(1) + }}");
        assert!(matches!(late, TemplateError::Syntax { line: 2, column: 24, .. }), "{late:?}");
        let condition = scope.templar().check_condition("a ==").unwrap_err();
        assert!(matches!(condition, TemplateError::Syntax { line: 1, .. }), "{condition:?}");
    }
}
