//! Filters and tests in Python beside the engine's own. The engine must have them by name before it renders, and which
//! ones there are is known only to Python: so a template that misses one is rendered again when it has been learnt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use minijinja::{Environment, Error, ErrorKind};

use super::convert::failed;
use super::filters;
use super::filters::plugins::Learnt;
use crate::custom::PluginKind;
use crate::plugins::Plugins;

/// The engine for strings, and what it has learnt. It is replaced by another one with each name.
pub(super) struct Plugged {
    strings: RwLock<Arc<Environment<'static>>>,
    plugins: Plugins,
    learnt: Mutex<Vec<Learnt>>,
}

impl Plugged {
    pub(super) fn new(strings: Environment<'static>, plugins: Plugins) -> Plugged {
        Plugged { strings: RwLock::new(Arc::new(strings)), plugins, learnt: Mutex::default() }
    }

    pub(super) fn strings(&self) -> Arc<Environment<'static>> {
        Arc::clone(&self.strings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// Gives an engine what has been learnt so far. The number of names says how much that is.
    pub(super) fn teach(&self, env: &mut Environment<'static>) -> usize {
        let learnt = self.learnt();
        for plugin in learnt.iter() {
            filters::plugins::register(env, &self.plugins, plugin);
        }
        learnt.len()
    }

    /// How many names have been learnt.
    pub(super) fn len(&self) -> usize {
        self.learnt().len()
    }

    /// Renders, and if that fails for a filter or test that is a plug-in, again with it. Each name is learnt once.
    ///
    /// # Errors
    /// Those of `render`; or a plug-in is there and cannot be run.
    pub(super) fn render<T>(&self, render: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
        loop {
            let known = self.len();
            match render() {
                Err(error) if self.learn(&error)? || self.len() > known => {}
                outcome => return outcome,
            }
        }
    }

    /// Whether there are plug-ins of the names that a template misses. They are known from now on.
    fn learn(&self, error: &Error) -> Result<bool, Error> {
        let kind = match error.kind() {
            ErrorKind::UnknownFilter => PluginKind::Filter,
            ErrorKind::UnknownTest => PluginKind::Test,
            _ => return Ok(false),
        };
        let mut has_new = false;
        for name in missed(error) {
            if self.learnt().iter().any(|plugin| plugin.kind == kind && plugin.name == name) {
                continue;
            }
            let Some(full_name) = self.plugins.find(kind, &name).map_err(failed)? else { continue };
            let plugin = Learnt { kind, name, full_name };
            let mut strings = self.strings.write().unwrap_or_else(PoisonError::into_inner);
            let mut engine = Environment::clone(&strings);
            filters::plugins::register(&mut engine, &self.plugins, &plugin);
            *strings = Arc::new(engine);
            self.learnt().push(plugin);
            has_new = true;
        }
        Ok(has_new)
    }

    fn learnt(&self) -> MutexGuard<'_, Vec<Learnt>> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name that the engine misses, as in `filter x is unknown`. `map('x')` misses none by name: there it may be every
/// text in quotes that could be one.
fn missed(error: &Error) -> Vec<String> {
    let named = error.detail().and_then(|detail| detail.strip_suffix(" is unknown")?.split_once(' '));
    if let Some((_, name)) = named {
        return vec![name.to_owned()];
    }
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let quoted = error.template_source().unwrap_or_default().split(['\'', '"']).skip(1).step_by(2);
    quoted.filter(|text| text.split('.').all(is_word)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_the_name_in_the_message_or_any_in_quotes() {
        let mut env = Environment::new();
        env.set_debug(true);
        let missed_in = |source: &str| missed(&env.render_str(source, ()).unwrap_err());
        assert_eq!(missed_in("{{ 1 | a.b.c }}"), ["a.b.c"]);
        assert_eq!(missed_in("{{ 1 is odd_one }}"), ["odd_one"]);
        assert_eq!(missed_in("{{ [1] | map('mine', \"x y\") | join('.') }}"), ["mine"]);
    }
}
