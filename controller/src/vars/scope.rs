//! The variables one host has during one task: layers read on demand, templates rendered when they are needed.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use minijinja::value::{Enumerator, Object, Value as Jinja};
use rustle_protocol::value::Value;

use super::facts::{Facts, LOCAL};
use super::magic::{self, Magic};
use super::variable::{VarMap, Variable};
use crate::template::{Authored, Sealed, Templar, Template, TemplateError, View, missed, unreadable};
use crate::vault::Vault;

/// How deep variables may need other variables. Real inventories stay below ten; each level takes a few KiB of stack.
const RENDER_DEPTH_MAX: usize = 64;

/// A stack of layers for one host and task. Cheap to clone and to make: nothing is copied or rendered until a name is
/// read. A rendered variable is kept, so within one scope it has one value and its lookups run once.
///
/// Facts and results that arrive later are not seen by a scope made before.
#[derive(Clone)]
pub struct Scope {
    inner: Arc<Inner>,
}

struct Inner {
    templar: Templar,
    magic: Option<Arc<Magic>>,
    /// Strongest first.
    sources: Vec<Source>,
    rendered: Mutex<HashMap<String, Rendered>>,
    this: Weak<Inner>,
}

#[derive(Clone)]
pub(super) enum Source {
    Vars(Arc<VarMap>),
    /// Items of loops and the like, which stand for themselves.
    Locals(Arc<VarMap>),
    /// Facts, which are variables of their own if they are `injected`.
    Facts {
        facts: Facts,
        injected: bool,
    },
}

#[derive(Clone)]
enum Rendered {
    Value(Jinja),
    /// Counts as undefined itself: `default` applies to it.
    Undefined(TemplateError),
    Failed(TemplateError),
}

impl Scope {
    /// `sources` strongest first.
    pub(super) fn new(templar: Templar, magic: Option<Arc<Magic>>, sources: Vec<Source>) -> Scope {
        let inner =
            Arc::new_cyclic(|this| Inner { templar, magic, sources, rendered: Mutex::default(), this: this.clone() });
        Scope { inner }
    }

    /// The same variables with some above them, and nothing rendered yet.
    #[must_use]
    pub fn with(&self, vars: VarMap) -> Scope {
        let sources = [Source::Vars(Arc::new(vars))].into_iter().chain(self.inner.sources.iter().cloned()).collect();
        Scope::new(self.inner.templar.clone(), self.inner.magic.clone(), sources)
    }

    /// A scope of some variables and nothing else, strongest layer first: for what is rendered outside any play.
    pub fn of(templar: &Templar, layers: impl IntoIterator<Item = Arc<VarMap>>) -> Scope {
        Scope::new(templar.clone(), None, layers.into_iter().map(Source::Vars).collect())
    }

    pub fn templar(&self) -> &Templar {
        &self.inner.templar
    }

    /// A variable's value, rendered.
    ///
    /// # Errors
    /// [`TemplateError::Undefined`] when nobody defined it, or what its own template ended with.
    pub fn get(&self, name: &str) -> Result<Value, TemplateError> {
        match self.lookup(name).filter(|value| !value.is_undefined()) {
            Some(value) => Templar::data(&value, self),
            None => Err(self.cause(name).unwrap_or_else(|| TemplateError::undefined(name))),
        }
    }

    /// Whether any layer has a variable of this name, whether or not it can be rendered.
    pub fn contains(&self, name: &str) -> bool {
        self.inner.magic.as_ref().is_some_and(|magic| magic.get(name).is_some())
            || self.inner.sources.iter().any(|source| source.contains(name))
    }

    /// A variable as an author wrote it; none for what came from anywhere else.
    pub(crate) fn authored(&self, name: &str) -> Option<Arc<Authored>> {
        let source = self.inner.sources.iter().find(|source| source.contains(name))?;
        match source {
            Source::Vars(vars) | Source::Locals(vars) => match vars.get(name)? {
                Variable::Authored(authored) => Some(Arc::clone(authored)),
                Variable::Data(_) | Variable::Asked(_) => None,
            },
            Source::Facts { .. } => None,
        }
    }

    /// Every name a layer has, sorted.
    pub fn names(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = self.inner.sources.iter().flat_map(Source::names).collect();
        if let Some(magic) = &self.inner.magic {
            names.extend(magic::NAMES.iter().filter(|name| magic.lists(name)).map(|name| (*name).to_owned()));
        }
        names
    }

    /// Passwords for encrypted files.
    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.inner.magic.as_ref().map(|magic| &magic.run.vault)
    }

    /// The variables as an object of the engine.
    pub(crate) fn context(&self) -> Jinja {
        Jinja::from_dyn_object(Arc::clone(&self.inner))
    }

    /// The scope a template is being rendered in.
    pub(crate) fn of_state(state: &minijinja::State<'_, '_>) -> Option<Scope> {
        let inner = state.lookup(SELF)?.downcast_object::<Inner>()?;
        Some(Scope { inner })
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Jinja> {
        self.inner.lookup(name)
    }

    /// Why a variable that is there counts as undefined.
    pub(crate) fn cause(&self, name: &str) -> Option<TemplateError> {
        match self.inner.memo(name)? {
            Rendered::Undefined(error) | Rendered::Failed(error) => Some(error),
            Rendered::Value(_) => None,
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

/// The name under which a scope finds itself. No author can write it.
const SELF: &str = "\u{1}scope";

impl Inner {
    fn lookup(&self, name: &str) -> Option<Jinja> {
        match name {
            SELF => return self.this.upgrade().map(Jinja::from_dyn_object),
            "vars" => return self.this.upgrade().map(Jinja::from_dyn_object),
            _ => {}
        }
        if let Some(value) = self.magic.as_ref().and_then(|magic| magic.get(name)) {
            return Some(value);
        }
        if self.merges_dicts()
            && let Some(merged) = self.merged(name)
        {
            return Some(merged);
        }
        let found = self.sources.iter().find_map(|source| source.lookup(name, self));
        found.or_else(|| self.magic.as_ref().and_then(|magic| magic.default(name)))
    }

    fn merges_dicts(&self) -> bool {
        self.magic.as_ref().is_some_and(|magic| magic.run.merges_dicts)
    }

    /// The dict of this name, merged out of all places that have one; none if no two have.
    fn merged(&self, name: &str) -> Option<Jinja> {
        if let Some(known) = self.memo(name) {
            return known.into_jinja();
        }
        let is_local = |source: &Source| matches!(source, Source::Locals(vars) if vars.contains_key(name));
        let merging = self.sources.iter().take_while(|source| !is_local(source));
        let mut written: Vec<Authored> =
            merging.filter_map(|source| source.written(name)).take_while(Authored::is_dict).collect();
        let weakest = written.pop().filter(|_| !written.is_empty())?;
        let merged = written.into_iter().rev().fold(weakest, |weaker, stronger| stronger.merged_into(weaker));
        let view = View::of_authored(&Arc::new(merged), WeakScope(self.this.clone()));
        self.keep(name, &Rendered::Value(view.clone()));
        Some(view)
    }

    fn read(&self, name: &str, variable: &Variable) -> Option<Jinja> {
        match variable {
            Variable::Data(value) => Some(View::of_data(value)),
            Variable::Asked(prompt) => {
                Some(Jinja::from(minijinja::Error::from(TemplateError::not_asked_yet(&prompt.name))))
            }
            Variable::Authored(authored) => match &**authored {
                Authored::Template(template) => self.rendered(name, name, template).into_jinja(),
                Authored::Sealed(sealed) => self.opened(sealed),
                _ => Some(View::of_authored(authored, WeakScope(self.this.clone()))),
            },
        }
    }

    /// The value of something encrypted.
    fn opened(&self, sealed: &Sealed) -> Option<Jinja> {
        match sealed.known() {
            Some((_, value)) => match &**value {
                Authored::Template(template) => self.rendered(template.key(), sealed.place(), template).into_jinja(),
                _ => Some(View::of_authored(value, WeakScope(self.this.clone()))),
            },
            None => Some(self.templar.open(sealed).unwrap_or_else(unreadable)),
        }
    }

    /// The template's value, from memory if it has been rendered before. `key` is the variable's name, or the
    /// template's own key where it stands inside a list or dict; `label` is what a loop's chain calls it.
    fn rendered(&self, key: &str, label: &str, template: &Template) -> Rendered {
        self.memo(key).unwrap_or_else(|| {
            let rendered = self.evaluate(label, template);
            if !matches!(rendered, Rendered::Failed(TemplateError::Deferred)) {
                self.keep(key, &rendered);
            }
            rendered
        })
    }

    fn evaluate(&self, label: &str, template: &Template) -> Rendered {
        let Some(inner) = self.this.upgrade() else {
            return Rendered::Failed(TemplateError::failed("the scope of a variable is gone"));
        };
        let scope = Scope { inner };
        let before = missed::begin();
        let evaluated =
            Chain::enter(self, label, template).and_then(|_entered| scope.templar().evaluate(template, &scope));
        missed::end(before);
        match evaluated {
            Ok(value) => Rendered::Value(value),
            Err(error) if error.is_undefined() => Rendered::Undefined(error),
            Err(error) => Rendered::Failed(error),
        }
    }

    fn memo(&self, name: &str) -> Option<Rendered> {
        self.rendered.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Failures are kept, too: the engine asks again for what an expression mentions when it describes an error, and
    /// a chain of failing variables would double its work at every link.
    fn keep(&self, name: &str, rendered: &Rendered) {
        self.rendered.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), rendered.clone());
    }
}

impl Rendered {
    /// `None` when the template is undefined: then so is the variable.
    fn into_jinja(self) -> Option<Jinja> {
        match self {
            Rendered::Value(value) => Some(value),
            Rendered::Undefined(_) => None,
            Rendered::Failed(error) => Some(unreadable(error)),
        }
    }
}

impl Source {
    /// What this place has, as it was written or is.
    fn written(&self, name: &str) -> Option<Authored> {
        match self {
            Source::Vars(vars) | Source::Locals(vars) => Some(match vars.get(name)? {
                Variable::Authored(authored) => (**authored).clone(),
                Variable::Data(value) => Authored::Unsafe((**value).clone()),
                Variable::Asked(_) => return None,
            }),
            Source::Facts { .. } if name == "ansible_facts" => None,
            Source::Facts { facts, injected } => {
                facts.get(name).filter(|_| *injected || name == LOCAL).cloned().map(Authored::Unsafe)
            }
        }
    }

    fn lookup(&self, name: &str, scope: &Inner) -> Option<Jinja> {
        match self {
            // Undefined by its template is undefined, not a reason to look in a weaker layer.
            Source::Vars(vars) | Source::Locals(vars) => {
                vars.get(name).map(|variable| scope.read(name, variable).unwrap_or(Jinja::UNDEFINED))
            }
            Source::Facts { facts, .. } if name == "ansible_facts" => Some(View::of_data(facts.all())),
            Source::Facts { facts, injected } => facts.lookup(name).filter(|_| *injected || name == LOCAL),
        }
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Source::Vars(vars) | Source::Locals(vars) => vars.contains_key(name),
            Source::Facts { facts, injected } => {
                name == "ansible_facts" || ((*injected || name == LOCAL) && facts.get(name).is_some())
            }
        }
    }

    fn names(&self) -> Vec<String> {
        match self {
            Source::Vars(vars) | Source::Locals(vars) => vars.keys().cloned().collect(),
            Source::Facts { facts, injected } => {
                let shown = facts.names().filter(|name| *injected || name == LOCAL);
                shown.chain(["ansible_facts".to_owned()]).collect()
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("layers", &self.sources.len()).finish_non_exhaustive()
    }
}

impl Object for Inner {
    fn get_value(self: &Arc<Self>, key: &Jinja) -> Option<Jinja> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, name: &str) -> Option<Jinja> {
        // Absent, so that the engine makes the undefined value: its own know their names.
        self.lookup(name).filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = Scope { inner: Arc::clone(self) }.names();
        Enumerator::Values(names.into_iter().map(Jinja::from).collect())
    }
}

/// A scope as its own values see it: they live inside it.
#[derive(Clone)]
pub(crate) struct WeakScope(Weak<Inner>);

impl WeakScope {
    /// Where the scope is, to tell it from others that are there.
    pub(crate) fn addr(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// The value of a template inside a list or dict; undefined if it is, an error if it fails.
    pub(crate) fn evaluate(&self, template: &Template) -> Jinja {
        let Some(inner) = self.0.upgrade() else { return Jinja::UNDEFINED };
        let rendered = inner.rendered(template.key(), template.source(), template);
        if let Rendered::Undefined(cause) = &rendered {
            missed::note_entry(cause);
        }
        rendered.into_jinja().unwrap_or_default()
    }

    /// The value of something encrypted inside a list or dict.
    pub(crate) fn open(&self, sealed: &Sealed) -> Jinja {
        self.0.upgrade().and_then(|inner| inner.opened(sealed)).unwrap_or_default()
    }

    /// Why a template inside a list or dict counts as undefined.
    pub(crate) fn cause(&self, template: &Template) -> Option<TemplateError> {
        Scope { inner: self.0.upgrade()? }.cause(template.key())
    }
}

/// The variables being rendered on this thread, outermost first.
struct Chain;

struct Link {
    scope: *const Inner,
    template: Template,
    label: String,
}

thread_local! {
    static CHAIN: RefCell<Vec<Link>> = const { RefCell::new(Vec::new()) };
}

impl Chain {
    /// Held while a template of a scope is rendered.
    ///
    /// # Errors
    /// [`TemplateError::Recursive`] when the same template is being rendered already, or too many are.
    fn enter(scope: &Inner, label: &str, template: &Template) -> Result<Chain, TemplateError> {
        let link = Link { scope, template: template.clone(), label: label.to_owned() };
        CHAIN.with_borrow_mut(|links| {
            let known = links.iter().position(|other| std::ptr::eq(other.scope, scope) && other.template == *template);
            if known.is_some() || links.len() >= RENDER_DEPTH_MAX {
                let labels = links[known.unwrap_or(0)..].iter().map(|link| link.label.clone());
                return Err(TemplateError::Recursive { chain: labels.chain([link.label]).collect() });
            }
            links.push(link);
            Ok(Chain)
        })
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        CHAIN.with_borrow_mut(|links| links.pop());
    }
}
