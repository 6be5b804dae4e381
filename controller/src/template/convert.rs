//! Between our values and the engine's: views that copy nothing on the way in, plain data on the way out.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::Value as Jinja;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use rustle_protocol::value::{DEPTH_MAX, Map, Value};

use super::authored::Authored;
use super::error::TemplateError;
use super::sealed::{Sealed, as_closed};
use super::{missed, python};
use crate::vars::WeakScope;

/// What `omit` evaluates to: an argument or entry with this value is left out.
#[derive(Debug)]
pub(crate) struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<Omit>>")
    }
}

pub(crate) fn is_omit(value: &Jinja) -> bool {
    value.downcast_object_ref::<Omit>().is_some()
}

/// A list or dict inside a shared tree, seen by the engine without a copy.
///
/// A view of data gives data. A view of an authored tree evaluates an entry when it is read, in the scope the tree
/// was found in; what is not read is never evaluated.
pub(crate) struct View {
    root: Root,
    /// The way from the root, by position at each level.
    steps: Box<[u32]>,
}

#[derive(Clone)]
enum Root {
    Data(Arc<Value>),
    /// Weak, because the scope keeps views it has handed out.
    Authored(Arc<Authored>, WeakScope),
}

#[derive(Clone, Copy)]
enum Node<'a> {
    Data(&'a Value),
    Authored(&'a Authored),
}

impl View {
    /// The engine's value for shared data: scalars converted, containers viewed.
    pub(crate) fn of_data(data: &Arc<Value>) -> Jinja {
        scalar(data)
            .unwrap_or_else(|| Jinja::from_object(View { root: Root::Data(Arc::clone(data)), steps: Box::default() }))
    }

    /// The engine's value for an authored list or dict, or for its data.
    pub(crate) fn of_authored(authored: &Arc<Authored>, scope: WeakScope) -> Jinja {
        let view = View { root: Root::Authored(Arc::clone(authored), scope), steps: Box::default() };
        view.present(view.node(), view.steps.clone())
    }

    /// The same for two views of the same list or dict, and for no others while this one is there.
    pub(crate) fn identity(&self) -> (usize, Box<[u32]>) {
        let root = match &self.root {
            Root::Data(value) => Arc::as_ptr(value).addr(),
            // Of another scope it is another, for its templates are.
            Root::Authored(authored, scope) => Arc::as_ptr(authored).addr() ^ scope.addr().rotate_left(32),
        };
        (root, self.steps.clone())
    }

    fn node(&self) -> Node<'_> {
        let root = match &self.root {
            Root::Data(value) => Node::Data(value),
            Root::Authored(authored, _) => Node::Authored(authored),
        };
        self.steps.iter().fold(root, |node, &step| node.entry(step as usize).expect("a view's steps lead to a node"))
    }

    fn child(&self, index: usize) -> Option<Jinja> {
        let child = self.node().entry(index)?;
        let steps = self.steps.iter().copied().chain([u32::try_from(index).ok()?]).collect();
        Some(self.present(child, steps))
    }

    /// What was found under a key, or that it was asked for in vain.
    fn noted(&self, found: Option<Jinja>, key: impl FnOnce() -> Jinja) -> Option<Jinja> {
        if found.is_none() {
            missed::note(if self.node().keys().is_some() { "dict" } else { "list" }, &key());
        }
        found
    }

    /// Why the entry at `index` is undefined although it is there.
    fn cause(&self, index: usize) -> Option<TemplateError> {
        match (self.node().entry(index)?, &self.root) {
            (Node::Authored(Authored::Template(template)), Root::Authored(_, scope)) => scope.cause(template),
            _ => None,
        }
    }

    fn present(&self, node: Node<'_>, steps: Box<[u32]>) -> Jinja {
        match node {
            Node::Data(value) | Node::Authored(Authored::Data(value) | Authored::Unsafe(value)) => {
                scalar(value).unwrap_or_else(|| Jinja::from_object(View { root: self.root.clone(), steps }))
            }
            Node::Authored(Authored::Template(template)) => match &self.root {
                Root::Authored(_, scope) => scope.evaluate(template),
                Root::Data(_) => Jinja::UNDEFINED,
            },
            Node::Authored(Authored::Sealed(sealed)) => match &self.root {
                Root::Authored(_, scope) => scope.open(sealed),
                Root::Data(_) => Jinja::UNDEFINED,
            },
            Node::Authored(_) => Jinja::from_object(View { root: self.root.clone(), steps }),
        }
    }
}

impl<'a> Node<'a> {
    fn entry(self, index: usize) -> Option<Node<'a>> {
        match self {
            Node::Data(value) | Node::Authored(Authored::Data(value) | Authored::Unsafe(value)) => match value {
                Value::List(items) => items.get(index).map(Node::Data),
                Value::Map(map) => map.get_index(index).map(|(_, value)| Node::Data(value)),
                _ => None,
            },
            Node::Authored(Authored::List(items)) => items.get(index).map(Node::Authored),
            Node::Authored(Authored::Map(map)) => map.get_index(index).map(|(_, item)| Node::Authored(item)),
            Node::Authored(Authored::Template(_) | Authored::Sealed(_)) => None,
        }
    }

    fn position(self, key: &str) -> Option<usize> {
        match self {
            Node::Data(Value::Map(map))
            | Node::Authored(Authored::Data(Value::Map(map)) | Authored::Unsafe(Value::Map(map))) => {
                map.get_index_of(key)
            }
            Node::Authored(Authored::Map(map)) => map.get_index_of(key),
            _ => None,
        }
    }

    fn keys(self) -> Option<Vec<Jinja>> {
        match self {
            Node::Data(Value::Map(map))
            | Node::Authored(Authored::Data(Value::Map(map)) | Authored::Unsafe(Value::Map(map))) => {
                Some(map.keys().map(|key| Jinja::from(key.as_str())).collect())
            }
            Node::Authored(Authored::Map(map)) => Some(map.keys().map(|key| Jinja::from(key.as_str())).collect()),
            _ => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Node::Data(value) | Node::Authored(Authored::Data(value) | Authored::Unsafe(value)) => match value {
                Value::List(items) => items.len(),
                Value::Map(map) => map.len(),
                _ => 0,
            },
            Node::Authored(Authored::List(items)) => items.len(),
            Node::Authored(Authored::Map(map)) => map.len(),
            Node::Authored(Authored::Template(_) | Authored::Sealed(_)) => 0,
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.node().keys().is_some() { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        let found = match key.as_str() {
            Some(key) => return self.get_value_by_str(key),
            None if self.node().keys().is_none() => key.as_usize().and_then(|index| self.child(index)),
            None => None,
        };
        self.noted(found, || key.clone())
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Jinja> {
        let found = self.node().position(key).and_then(|index| self.child(index));
        self.noted(found, || Jinja::from(key))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.node().keys() {
            Some(keys) => Enumerator::Values(keys),
            None => Enumerator::Seq(self.node().len()),
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.node().len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&python::repr(&Jinja::from_dyn_object(Arc::clone(self))))
    }
}

fn scalar(value: &Value) -> Option<Jinja> {
    Some(match value {
        Value::Null => Jinja::from(()),
        Value::Bool(b) => Jinja::from(*b),
        Value::Int(n) => Jinja::from(*n),
        Value::UInt(n) => Jinja::from(*n),
        Value::Float(n) => Jinja::from(*n),
        Value::String(text) => Jinja::from(text.as_str()),
        Value::Bytes(bytes) => Jinja::from_bytes(bytes.clone()),
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// The engine's value for data nobody shares.
pub(crate) fn from_data(value: Value) -> Jinja {
    scalar(&value).unwrap_or_else(|| View::of_data(&Arc::new(value)))
}

/// Plain data from what the engine gave. `None` for `omit`; entries that are `omit` are left out.
///
/// # Errors
/// Undefined values, values that are no data (functions, `range`), nesting beyond [`DEPTH_MAX`], whole numbers beyond
/// 64 bits.
pub(crate) fn to_data(value: &Jinja) -> Result<Option<Value>, minijinja::Error> {
    data_at(value, 0, &mut Err)
}

/// As [`to_data`], with what `shown` gives in the place of each undefined value.
///
/// # Errors
/// Those of [`to_data`] but for undefined values.
pub(crate) fn to_shown_data(
    value: &Jinja,
    shown: &mut dyn FnMut(minijinja::Error) -> Value,
) -> Result<Value, minijinja::Error> {
    data_at(value, 0, &mut |error| Ok(Some(shown(error)))).map(Option::unwrap_or_default)
}

/// As [`to_data`], with entries left out that are undefined. `None` for what is undefined itself, too.
///
/// # Errors
/// Those of [`to_data`] but for undefined values.
pub(crate) fn to_defined_data(value: &Jinja) -> Result<Option<Value>, minijinja::Error> {
    data_at(value, 0, &mut |_| Ok(None))
}

/// As [`to_data`], but for the texts that `sealed` knows to be encrypted, which stay so.
///
/// # Errors
/// Those of [`to_data`].
pub(crate) fn to_kept(
    value: &Jinja,
    sealed: &dyn Fn(&Jinja) -> Option<Sealed>,
) -> Result<Option<Authored>, minijinja::Error> {
    if let Some(sealed) = sealed(value) {
        return Ok(Some(Authored::Sealed(sealed)));
    }
    if !holds(value, sealed, 0) {
        return Ok(to_data(value)?.map(Authored::Unsafe));
    }
    let entry = |key: &str, item: &Jinja| match cause_of(value, key).filter(|_| item.is_undefined()) {
        Some(cause) => Err(cause.into()),
        None => to_kept(item, sealed),
    };
    if value.kind() == ValueKind::Seq {
        let items = value.try_iter()?.enumerate();
        let kept = items.filter_map(|(index, item)| entry(&index.to_string(), &item).transpose());
        return kept.collect::<Result<_, _>>().map(|items| Some(Authored::List(items)));
    }
    let mut map = IndexMap::new();
    for key in value.try_iter()? {
        let (name, item) = (key_name(&key), value.get_item(&key)?);
        map.extend(entry(&name, &item)?.map(|item| (name, item)));
    }
    Ok(Some(Authored::Map(map)))
}

/// Whether a list or dict has such a text in it.
fn holds(value: &Jinja, sealed: &dyn Fn(&Jinja) -> Option<Sealed>, depth: usize) -> bool {
    let is_map = value.kind() == ValueKind::Map;
    if depth > DEPTH_MAX || !(is_map || value.kind() == ValueKind::Seq) {
        return false;
    }
    value.try_iter().is_ok_and(|mut items| {
        items.any(|item| {
            let item = if is_map { value.get_item(&item).unwrap_or_default() } else { item };
            sealed(&item).is_some() || holds(&item, sealed, depth + 1)
        })
    })
}

/// What becomes of an undefined value: the error it is, another value, or nothing.
type OnUndefined<'a> = &'a mut dyn FnMut(minijinja::Error) -> Result<Option<Value>, minijinja::Error>;

fn data_at(value: &Jinja, depth: usize, on_undefined: OnUndefined<'_>) -> Result<Option<Value>, minijinja::Error> {
    if depth > DEPTH_MAX {
        return Err(failed(format!("a template's result is nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(Some(match value.kind() {
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number => number(value)?,
        ValueKind::String => Value::from(value.as_str().unwrap_or_default()),
        ValueKind::Bytes => Value::from_output(value.as_bytes().unwrap_or_default().to_vec()),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::with_capacity(value.len().unwrap_or(0).min(1024));
            for (index, item) in value.try_iter()?.checked().enumerate() {
                let item = item?;
                let key = if item.is_undefined() { index.to_string() } else { String::new() };
                items.extend(entry(value, &key, &item, depth + 1, on_undefined)?);
            }
            Value::List(items)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                if key.is_undefined() {
                    return on_undefined(undefined(&key));
                }
                let item = value.get_item(&key)?;
                let key = key_name(&key);
                if let Some(item) = entry(value, &key, &item, depth + 1, on_undefined)? {
                    map.insert(key, item);
                }
            }
            Value::Map(map)
        }
        ValueKind::Undefined => return on_undefined(undefined(value)),
        ValueKind::Invalid => return Err(error_of(value)),
        ValueKind::Plain if is_omit(value) => return Ok(None),
        ValueKind::Plain => match as_closed(value) {
            Some(closed) => return Err(closed.error().into()),
            None => Value::from(value.to_string()),
        },
        _ => return Err(value.try_iter().err().unwrap_or_else(|| failed("a template's result is no data"))),
    }))
}

/// The text that stands for a key: data has no other keys. As JSON names it, where Python has another word for it.
fn key_name(key: &Jinja) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        _ => python::text(key),
    }
}

/// Why the entry of `container` under a key or index is undefined although its author wrote one.
pub(crate) fn cause_of(container: &Jinja, key: &str) -> Option<TemplateError> {
    let view = container.downcast_object_ref::<View>()?;
    view.cause(view.node().position(key).or_else(|| key.parse().ok())?)
}

/// An entry of a container as data; for an undefined one, the error its own template ended with.
fn entry(
    container: &Jinja,
    key: &str,
    value: &Jinja,
    depth: usize,
    on_undefined: OnUndefined<'_>,
) -> Result<Option<Value>, minijinja::Error> {
    if value.is_undefined()
        && let Some(cause) = cause_of(container, key)
    {
        return on_undefined(cause.into());
    }
    data_at(value, depth, on_undefined)
}

fn number(value: &Jinja) -> Result<Value, minijinja::Error> {
    if !value.is_integer() {
        return Ok(Value::Float(f64::try_from(value.clone())?));
    }
    if let Some(n) = value.as_i64() {
        return Ok(Value::Int(n));
    }
    u64::try_from(value.clone())
        .map(Value::from)
        .map_err(|_| failed(format!("the whole number {value} does not fit into 64 bits")))
}

/// The error that stands in the place of a value that could not be had.
pub(crate) fn error_of(value: &Jinja) -> minijinja::Error {
    let alone = Jinja::from(vec![value.clone()]);
    let error = alone.try_iter().and_then(|items| items.checked().try_for_each(|item| item.map(drop))).err();
    error.unwrap_or_else(|| failed("a template's result is no data"))
}

/// The engine's own error for an undefined value: it knows where the value came from.
pub(crate) fn undefined(value: &Jinja) -> minijinja::Error {
    value.get_attr("").err().unwrap_or_else(|| minijinja::Error::from(minijinja::ErrorKind::UndefinedError))
}

pub(crate) fn failed(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::from(TemplateError::failed(message))
}
