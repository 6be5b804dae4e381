//! Which module a task runs and with what: Ansible's several ways to write that down.

use std::sync::Arc;

use indexmap::IndexMap;
use rustle_agent::module::args::nearest;
use rustle_protocol::Value;

use super::collections::Collections;
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::Keywords;
use super::names::{Noun, core_name, is_builtin};
use crate::input::key_value;
use crate::input::source::{Position, shown};
use crate::input::yaml::{Key, Kind, Node};
use crate::plan::check::ModuleCatalog;
use crate::plan::{ArgOrigin, CallOrigins};
use crate::template::{Authored, needs_rendering};

/// Modules whose one string is a command line, with options among its words.
const COMMAND_LINES: [&str; 6] = ["command", "shell", "raw", "script", "win_command", "win_shell"];

/// Modules whose string may hold words that are no `key=value`.
const FREE_WORDS: [&str; 9] = [
    "add_host",
    "group_by",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "meta",
    "set_fact",
];

/// The argument that holds all arguments, as one template that becomes a dict.
pub(crate) const VARIABLE_PARAMS: &str = "_variable_params";

/// What a task does.
#[derive(Clone, Debug)]
pub(super) struct ModuleCall {
    /// Where the module's name stands.
    pub(super) at: Position,
    /// As written, or its full name if it is in a collection that need not be named.
    pub(super) module: String,
    /// As written, if that is something else.
    pub(super) written: Option<String>,
    pub(super) args: IndexMap<String, Authored>,
    pub(super) origins: Arc<CallOrigins>,
    /// It was `local_action`.
    pub(super) local: bool,
    /// The argument `apply`, as it is written: its content is keywords.
    pub(super) apply: Option<Node>,
}

impl ModuleCall {
    /// The module's last name part, if it is one of ansible-core's.
    pub(super) fn core(&self) -> Option<&str> {
        core_name(&self.module)
    }
}

/// What a module's name may mean where a task stands.
#[derive(Clone)]
pub(super) struct Names<'a> {
    pub(super) catalog: &'a dyn ModuleCatalog,
    pub(super) collections: Collections,
}

impl<'a> Names<'a> {
    #[cfg(test)]
    pub(super) fn of(catalog: &'a dyn ModuleCatalog) -> Names<'a> {
        Names { catalog, collections: Collections::default() }
    }

    /// For what says `keywords`.
    pub(super) fn within(&self, keywords: &Keywords) -> Names<'a> {
        Names { catalog: self.catalog, collections: self.collections.within(keywords.collections.as_ref()) }
    }

    /// The name that a module is to be called by.
    fn full(&self, name: &str) -> String {
        self.collections.module(name, self.catalog).unwrap_or_else(|| name.to_owned())
    }

    /// Why there is no module of this name any more.
    fn removal(&self, name: &str) -> Option<String> {
        let of_collections = || self.collections.removal(name, self.catalog);
        of_collections().or_else(|| self.catalog.removal(name))
    }

    fn is_known(&self, name: &str) -> bool {
        let name = &self.full(name);
        self.catalog.find(name).is_some() || is_builtin(name)
    }
}

/// Reads the module and its arguments out of a task's entries. Every other key is known to be a keyword afterwards.
///
/// # Errors
/// No module, two modules, an unknown one, a key that is none of a task's, arguments of a shape that the module does not take.
pub(super) fn read(
    document: &Document,
    at: Position,
    entries: &[(Key, Node)],
    noun: Noun,
    names: &Names<'_>,
) -> Result<ModuleCall, PlaybookError> {
    let (key, node, spelled) = find(document, at, entries, noun, names)?;
    let mut args = IndexMap::new();
    if let Some((_, more)) = entries.iter().find(|(key, _)| key.text == "args") {
        args = more_args(document, more)?;
    }
    let call = match spelled {
        Spelled::Name => {
            let module = names.full(&key.text);
            let args = own_args(document, &module, node)?;
            let args_at = args_at(document, node, &args);
            Action { at: key.at, written: key.text.clone(), module, args, args_at }
        }
        Spelled::Action | Spelled::LocalAction => action(document, key, node, names)?,
    };
    args.extend(call.args);
    let origins = Arc::new(CallOrigins { module: document.origin(call.at), args: call.args_at });
    let named = |word: &str| entries.iter().find(|(key, _)| key.text == word).map(|(_, node)| node);
    let apply = [Some(node), named("args")]
        .into_iter()
        .flatten()
        .find_map(|node| node.as_map()?.iter().find(|(key, _)| key.text == "apply").map(|(_, node)| node.clone()));
    let written = Some(call.written).filter(|written| *written != call.module);
    let local = spelled == Spelled::LocalAction;
    Ok(ModuleCall { at: call.at, module: call.module, written, args, origins, local, apply })
}

#[derive(Clone, Copy, PartialEq)]
enum Spelled {
    /// The module's name is the key.
    Name,
    Action,
    LocalAction,
}

fn find<'n>(
    document: &Document,
    at: Position,
    entries: &'n [(Key, Node)],
    noun: Noun,
    names: &Names<'_>,
) -> Result<(&'n Key, &'n Node, Spelled), PlaybookError> {
    let mut found: Option<(&Key, &Node, Spelled)> = None;
    let mut others: Vec<&Key> = Vec::new();
    for (key, node) in entries {
        let spelled = match key.text.as_str() {
            "action" => Spelled::Action,
            "local_action" => Spelled::LocalAction,
            word if noun.has(word) => continue,
            word if names.is_known(word) => Spelled::Name,
            _ => {
                others.push(key);
                continue;
            }
        };
        if let Some((first, ..)) = found {
            let what = format!("conflicting action statements: {}, {}", first.text, key.text);
            return Err(document
                .wrong(key.at, what)
                .hint(Some("a task has one module; begin the next one with `- ` if two tasks were meant")));
        }
        found = Some((key, node, spelled));
    }
    match (found, others.first()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(key)) => {
            let what = format!("'{}' is not a valid attribute for a {}", shown(&key.text), noun.title());
            Err(document.wrong(key.at, what).hint(noun.nearest(&key.text)))
        }
        (None, Some(key)) => Err(unknown_module(document, key, noun, names)),
        (None, None) => Err(document.wrong(at, "no module/action detected in task.")),
    }
}

fn unknown_module(document: &Document, key: &Key, noun: Noun, names: &Names<'_>) -> PlaybookError {
    if let Some(why) = names.removal(&key.text) {
        return document.wrong(key.at, why);
    }
    let what = format!(
        "couldn't resolve module/action '{}'. This often indicates a misspelling, missing collection, or incorrect \
         module path.",
        shown(&key.text)
    );
    let names = names.catalog.names();
    let short = core_name(&key.text).unwrap_or(&key.text);
    let known = nearest(short, names.into_iter()).map(|name| format!("did you mean the module `{name}`?"));
    document.wrong(key.at, what).hint(known.or_else(|| noun.nearest(&key.text)))
}

struct Action {
    at: Position,
    /// As written.
    written: String,
    module: String,
    args: IndexMap<String, Authored>,
    /// As in [`CallOrigins`].
    args_at: IndexMap<String, ArgOrigin>,
}

/// Where the arguments stand that `node` gives: those of a text all stand where it begins.
fn args_at(document: &Document, node: &Node, args: &IndexMap<String, Authored>) -> IndexMap<String, ArgOrigin> {
    let at = |node: &Node| Arc::new(document.origin(node.at));
    let items = |node: &Node| node.as_list().unwrap_or_default().iter().map(at).collect();
    match node.as_map() {
        Some(entries) => entries
            .iter()
            .map(|(key, node)| (key.text.clone(), ArgOrigin { whole: at(node), items: items(node) }))
            .collect(),
        None => args.keys().map(|name| (name.clone(), ArgOrigin { whole: at(node), items: Vec::new() })).collect(),
    }
}

/// The module's name, which may be a template, and what stands behind it.
fn module_and_rest(text: &str) -> (&str, &str) {
    let template = text.strip_prefix("{{").and_then(|rest| rest.find("}}")).map(|end| end + "{{}}".len());
    let end = template.or_else(|| text.find(char::is_whitespace)).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `action: copy src=a dest=b`, or `action: {module: copy, src: a, args: {dest: b}}`, where `args` has the last word.
fn action(document: &Document, key: &Key, node: &Node, names: &Names<'_>) -> Result<Action, PlaybookError> {
    if let Some(text) = node.as_str() {
        let text = text.trim_start();
        let (module, rest) = module_and_rest(text);
        return match module {
            "" => Err(document.wrong(node.at, "no module/action detected in task.")),
            written => {
                let module = names.full(written);
                let args = text_args(document, &module, rest, node.at)?;
                let args_at = args_at(document, node, &args);
                Ok(Action { at: node.at, written: written.to_owned(), module, args, args_at })
            }
        };
    }
    let entries = document.map(node, &format!("`{}`", key.text))?;
    let module = entries.iter().find(|(key, _)| key.text == "module").and_then(|(_, node)| node.as_str());
    let Some(module) = module else { return Err(document.wrong(node.at, "no module/action detected in task.")) };
    let (written, rest) = module_and_rest(module);
    let module = names.full(written);
    let mut args = text_args(document, &module, rest, node.at)?;
    let others: Vec<_> = entries.iter().filter(|(key, _)| !["module", "args"].contains(&&*key.text)).cloned().collect();
    args.extend(document.authored_entries(&others)?);
    if let Some((_, node)) = entries.iter().find(|(key, _)| key.text == "args") {
        args.extend(own_args(document, &module, node)?);
    }
    let args_at = args_at(document, node, &args);
    Ok(Action { at: node.at, written: written.to_owned(), module, args, args_at })
}

/// What stands behind the module's name.
fn own_args(document: &Document, module: &str, node: &Node) -> Result<IndexMap<String, Authored>, PlaybookError> {
    match &node.kind {
        Kind::Map(entries) => document.authored_entries(entries),
        Kind::Scalar(Value::Null) => Ok(IndexMap::new()),
        Kind::Scalar(Value::String(text)) => text_args(document, module, text, node.at),
        Kind::Scalar(number @ (Value::Int(_) | Value::UInt(_) | Value::Float(_))) => {
            text_args(document, module, &number.to_json(), node.at)
        }
        Kind::Scalar(_) | Kind::Sealed(_) | Kind::List(_) => {
            let what = format!("unexpected parameter type in action: {}", node.kind());
            Err(document.wrong(node.at, what).hint(Some(format!("the arguments of {module} are a dict or a string"))))
        }
    }
}

fn text_args(
    document: &Document,
    module: &str,
    text: &str,
    at: Position,
) -> Result<IndexMap<String, Authored>, PlaybookError> {
    let short = core_name(module).unwrap_or(module);
    let wrong = |why: String| document.wrong(at, format!("failed at splitting arguments: {why}"));
    let authored = |args: rustle_protocol::value::Map| {
        args.into_iter()
            .map(|(name, value)| (name, Authored::written_at(value, || document.origin(at))))
            .collect::<IndexMap<_, _>>()
    };
    let raw =
        |text: String| ("_raw_params".to_owned(), Authored::written_at(Value::String(text), || document.origin(at)));
    if COMMAND_LINES.contains(&short) {
        let (line, options) = key_value::split_command(text).map_err(wrong)?;
        let mut args = authored(options);
        if !line.is_empty() {
            args.extend([raw(line)]);
        }
        return Ok(args);
    }
    let (pairs, words) = key_value::split_pairs(text).map_err(wrong)?;
    let mut args = authored(pairs);
    let rest = words.join(" ");
    match words[..] {
        [] => {}
        _ if FREE_WORDS.contains(&short) => args.extend([raw(rest)]),
        _ if needs_rendering(&rest) => {
            args.extend([(
                VARIABLE_PARAMS.to_owned(),
                Authored::written_at(Value::String(rest), || document.origin(at)),
            )]);
        }
        _ => {
            let what = format!(
                "this task '{module}' has extra params, which is only allowed in the following modules: {}, {}",
                FREE_WORDS.join(", "),
                COMMAND_LINES.join(", ")
            );
            let hint = format!("`{}` is not key=value", shown(words[0]));
            return Err(document.wrong(at, what).hint(Some(hint)));
        }
    }
    Ok(args)
}

/// `args:`, which gives way to what the module's own arguments say.
fn more_args(document: &Document, node: &Node) -> Result<IndexMap<String, Authored>, PlaybookError> {
    match node.as_str() {
        Some(text) if needs_rendering(text) => {
            let all = document.authored(node)?;
            Ok(IndexMap::from_iter([(VARIABLE_PARAMS.to_owned(), all)]))
        }
        Some(_) => {
            Err(document.wrong(node.at, "Complex args must be a dictionary or variable string (\"{{ var }}\")."))
        }
        None => document.authored_entries(document.map(node, "`args`")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::NativeModules;

    fn call(task: &str) -> Result<ModuleCall, PlaybookError> {
        let document = Document::of_text("t.yml", task.to_owned()).unwrap();
        let root = document.root.clone().unwrap();
        read(&document, root.at, root.as_map().unwrap(), Noun::Task, &Names::of(&NativeModules))
    }

    fn shown_call(task: &str) -> String {
        let call = call(task).unwrap();
        let args = call.args.iter().map(|(name, value)| (name.clone(), value.source())).collect();
        format!("{} {}", call.module, Value::Map(args))
    }

    fn refusal(task: &str) -> String {
        call(task).unwrap_err().to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_modules_arguments_are_a_dict_or_a_string() {
        assert_eq!(shown_call("copy: {src: a, dest: /b}"), r#"copy {"src":"a","dest":"/b"}"#);
        assert_eq!(shown_call("copy: src=a dest=/b"), r#"copy {"src":"a","dest":"/b"}"#);
        assert_eq!(shown_call("shell: ls | wc chdir=/tmp"), r#"shell {"chdir":"/tmp","_raw_params":"ls | wc"}"#);
        assert_eq!(shown_call("ping:"), "ping {}");
    }

    #[test]
    fn action_and_args_are_other_ways_to_say_it() {
        assert_eq!(shown_call("action: copy src=a dest=/b"), r#"copy {"src":"a","dest":"/b"}"#);
        assert_eq!(shown_call("action: {module: copy, src: a}"), r#"copy {"src":"a"}"#);
        assert_eq!(
            shown_call("action: {module: copy, dest: /c, args: {src: a, dest: /b}}"),
            r#"copy {"dest":"/b","src":"a"}"#
        );
        assert_eq!(shown_call("action: {module: copy, args: src=a dest=/b}"), r#"copy {"src":"a","dest":"/b"}"#);
        assert_eq!(shown_call("action: {module: copy, args: '{{ all }}'}"), r#"copy {"_variable_params":"{{ all }}"}"#);
        assert_eq!(shown_call("copy: dest=/b\nargs: {src: x, dest: /c}"), r#"copy {"src":"x","dest":"/b"}"#);
        assert_eq!(shown_call("copy: '{{ all }}'"), r#"copy {"_variable_params":"{{ all }}"}"#);
        assert!(call("local_action: command true").unwrap().local);
        assert_eq!(shown_call("action: {module: '{{ which }}', src: a}"), r#"{{ which }} {"src":"a"}"#);
        assert_eq!(shown_call("action: '{{ which }} src=a'"), r#"{{ which }} {"src":"a"}"#);
    }

    #[test]
    fn what_is_no_task_is_told_in_ansibles_words() {
        for (task, error) in [
            ("name: x", "t.yml:1:1: no module/action detected in task."),
            ("ping:\ncopy: a=b", "t.yml:2:1: conflicting action statements: ping, copy"),
            ("ping:\ntagz: x", "t.yml:2:1: 'tagz' is not a valid attribute for a Task"),
            (
                "pingg:",
                "t.yml:1:1: couldn't resolve module/action 'pingg'. This often indicates a misspelling, missing \
                 collection, or incorrect module path.",
            ),
            ("ping: [a]", "t.yml:1:7: unexpected parameter type in action: list"),
        ] {
            assert_eq!(refusal(task), error, "{task}");
        }
        assert!(refusal("file: /x state=directory").contains("this task 'file' has extra params"));
    }
}
