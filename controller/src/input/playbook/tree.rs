//! Tasks and blocks as a file has them: read once, with their places, before anything around them is known.

use indexmap::IndexMap;
use rustle_protocol::Value;

use super::call::{self, ModuleCall, Names};
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::{self, Keywords, Shape, Written, conditions, written};
use super::names::{Noun, is_for_includes};
use crate::input::source::{Position, shown};
use crate::input::yaml::{Key, Kind, Node};
use crate::template::{Authored, Expression};
use crate::vars::is_variable_name;

/// `vars:` of something.
pub(super) type Vars = IndexMap<String, Authored>;

/// One entry of a list of tasks.
#[derive(Debug)]
pub(super) enum Entry {
    Task(Box<TaskNode>),
    Block(Box<BlockNode>),
}

/// A task or handler as it is written.
#[derive(Debug)]
pub(super) struct TaskNode {
    pub(super) at: Position,
    pub(super) name: Option<String>,
    pub(super) keywords: Keywords,
    pub(super) vars: Vars,
    pub(super) call: ModuleCall,
    pub(super) register: Option<String>,
    pub(super) looped: Option<LoopNode>,
    pub(super) loop_control: IndexMap<String, Written>,
    pub(super) changed_when: Vec<Expression>,
    pub(super) failed_when: Vec<Expression>,
    pub(super) until: Vec<Expression>,
    /// `retries`, `delay`, `async`, `poll`.
    pub(super) numbers: IndexMap<&'static str, Written>,
    pub(super) listen: Option<Written>,
}

/// `loop:`, or `with_LOOKUP:`.
#[derive(Clone, Debug)]
pub(super) struct LoopNode {
    pub(super) lookup: Option<String>,
    pub(super) items: Written,
}

/// A block as it is written.
#[derive(Debug)]
pub(super) struct BlockNode {
    pub(super) name: Option<String>,
    pub(super) keywords: Keywords,
    pub(super) vars: Vars,
    pub(super) body: Vec<Entry>,
    pub(super) rescue: Vec<Entry>,
    pub(super) always: Vec<Entry>,
}

/// Reads the entries of a file or section, of which all tasks are of one kind.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) noun: Noun,
    pub(super) names: Names<'a>,
    /// The entries are those of a block.
    pub(super) in_block: bool,
}

impl Reader<'_> {
    /// A list of tasks and blocks; nothing is an empty one.
    ///
    /// # Errors
    /// What is not a task, with its place.
    pub(super) fn entries(&self, node: &Node, part: &str) -> Result<Vec<Entry>, PlaybookError> {
        let Some(items) = node.as_list() else {
            if node.is_null() {
                return Ok(Vec::new());
            }
            let what = format!(
                "A malformed block was encountered while loading {part}: {} should be a list or None but was a {}",
                shown(&node.to_value().map(|value| rustle_agent::module::shown(&value)).unwrap_or_default()),
                node.kind()
            );
            return Err(self.document.wrong(node.at, what).hint(Some("each task begins with `- `")));
        };
        items.iter().filter(|item| !item.is_null()).map(|item| self.entry(item)).collect()
    }

    fn entry(&self, node: &Node) -> Result<Entry, PlaybookError> {
        let Some(entries) = node.as_map() else {
            let what = format!("task/handler entries must be dictionaries (got a {})", node.kind());
            return Err(self.document.wrong(node.at, what));
        };
        let has = |word: &str| entries.iter().any(|(key, _)| key.text == word);
        if ["block", "rescue", "always"].into_iter().any(has) {
            if self.noun == Noun::Handler && self.in_block {
                let what = "Using a block as a handler is not supported.";
                return Err(self.document.wrong(node.at, what).hint(Some("list its tasks as handlers of their own")));
            }
            return self.block(entries).map(|block| Entry::Block(Box::new(block)));
        }
        self.task(node, entries).map(|task| Entry::Task(Box::new(task)))
    }

    fn block(&self, entries: &[(Key, Node)]) -> Result<BlockNode, PlaybookError> {
        if let Some((key, _)) = entries.iter().find(|(key, _)| !Noun::Block.has(&key.text)) {
            let what = format!("'{}' is not a valid attribute for a Block", shown(&key.text));
            return Err(self.document.wrong(key.at, what).hint(Noun::Block.nearest(&key.text)));
        }
        let keywords = Keywords::read(self.document, entries, Noun::Block)?;
        let names = self.names.within(&keywords);
        let inner = Reader { document: self.document, noun: self.noun, names, in_block: true };
        let section = |word: &str| match entries.iter().find(|(key, _)| key.text == word) {
            Some((key, node)) => inner.entries(node, &key.text),
            None => Ok(Vec::new()),
        };
        // As in Ansible nobody can notify those, and a handler that fails is not rescued.
        let around =
            |word: &str| section(word).map(|entries| if self.noun == Noun::Handler { Vec::new() } else { entries });
        let has = |word: &str| entries.iter().find(|(key, _)| key.text == word);
        if has("block").is_none()
            && let Some((key, _)) = has("rescue").or_else(|| has("always"))
        {
            let what = format!("'{}' keyword cannot be used without 'block'", key.text);
            return Err(self.document.wrong(key.at, what));
        }
        Ok(BlockNode {
            name: self.name(entries)?,
            keywords,
            vars: self.vars(entries, Noun::Block)?,
            body: section("block")?,
            rescue: around("rescue")?,
            always: around("always")?,
        })
    }

    fn task(&self, node: &Node, entries: &[(Key, Node)]) -> Result<TaskNode, PlaybookError> {
        let keywords = Keywords::read(self.document, entries, self.noun);
        let names = self.names.within(keywords.as_ref().unwrap_or(&Keywords::default()));
        let call = call::read(self.document, node.at, entries, self.noun, &names)?;
        self.no_keyword_of_others(&call, entries)?;
        let mut task = TaskNode {
            at: node.at,
            name: self.name(entries)?,
            keywords: keywords?,
            vars: self.vars(entries, self.noun)?,
            call,
            register: None,
            looped: None,
            loop_control: IndexMap::new(),
            changed_when: Vec::new(),
            failed_when: Vec::new(),
            until: Vec::new(),
            numbers: IndexMap::new(),
            listen: None,
        };
        for (key, node) in entries {
            self.keyword(&mut task, key, node)?;
        }
        Ok(task)
    }

    /// Ansible refuses on an include what would seem to be handed down to what is included, and is not.
    fn no_keyword_of_others(&self, call: &ModuleCall, entries: &[(Key, Node)]) -> Result<(), PlaybookError> {
        let title = match call.core() {
            Some("include_tasks") => "TaskInclude",
            Some("include_role") => "IncludeRole",
            _ => return Ok(()),
        };
        let is_wrong = |(key, _): &&(Key, Node)| self.noun.has(&key.text) && !is_for_includes(&key.text);
        let Some((key, _)) = entries.iter().find(is_wrong) else { return Ok(()) };
        let what = format!("'{}' is not a valid attribute for a {title}", key.text);
        let hint = format!("say `{}` of what is included: under `apply`, an argument of the include", key.text);
        Err(self.document.wrong(key.at, what).hint(Some(hint)))
    }

    /// Sets what only the task itself can say.
    fn keyword(&self, task: &mut TaskNode, key: &Key, node: &Node) -> Result<(), PlaybookError> {
        const NUMBERS: [&str; 4] = ["retries", "delay", "async", "poll"];
        match key.text.as_str() {
            "register" if !node.is_null() => task.register = Some(self.variable_name(key, node)?),
            "changed_when" => task.changed_when = conditions(self.document, key, node)?,
            "failed_when" => task.failed_when = conditions(self.document, key, node)?,
            "until" => task.until = conditions(self.document, key, node)?,
            "loop_control" => task.loop_control = self.loop_control(key, node)?,
            "loop" => self.set_loop(task, None, key, node)?,
            "listen" => task.listen = Some(written(self.document, key, node, Shape::Texts)?),
            word => {
                if let Some(lookup) = word.strip_prefix("with_") {
                    self.set_loop(task, Some(lookup.to_owned()), key, node)?;
                } else if let Some(name) = NUMBERS.into_iter().find(|name| *name == word && !node.is_null()) {
                    task.numbers.insert(name, written(self.document, key, node, Shape::Number)?);
                }
            }
        }
        Ok(())
    }

    fn set_loop(
        &self,
        task: &mut TaskNode,
        lookup: Option<String>,
        key: &Key,
        node: &Node,
    ) -> Result<(), PlaybookError> {
        if node.is_null() {
            if lookup.is_none() {
                return Ok(());
            }
            let what = format!("you must specify a value when using {}", key.text);
            return Err(self.document.wrong(key.at, what));
        }
        if task.looped.is_some() {
            return Err(self.document.wrong(key.at, format!("duplicate loop in task: {}", key.text)));
        }
        let items = Written { place: self.document.place(node.at), value: self.document.authored(node)? };
        task.looped = Some(LoopNode { lookup, items });
        Ok(())
    }

    fn loop_control(&self, key: &Key, node: &Node) -> Result<IndexMap<String, Written>, PlaybookError> {
        const KNOWN: [&str; 7] =
            ["break_when", "extended", "extended_allitems", "index_var", "label", "loop_var", "pause"];
        let Some(entries) = node.as_map() else {
            let what = "the `loop_control` value must be specified as a dictionary and cannot be a variable itself \
                        (though it can contain variables)";
            return Err(self.document.wrong(node.at, what));
        };
        let mut control = IndexMap::new();
        for (inner, node) in entries {
            if !KNOWN.contains(&inner.text.as_str()) {
                let what = format!("'{}' is not a valid attribute for a LoopControl", shown(&inner.text));
                let nearest = rustle_agent::module::args::nearest(&inner.text, KNOWN.into_iter());
                return Err(self
                    .document
                    .wrong(inner.at, what)
                    .hint(nearest.map(|word| format!("`{}` knows `{word}`", key.text))));
            }
            control.insert(inner.text.clone(), written(self.document, inner, node, Shape::Any)?);
        }
        Ok(control)
    }

    fn variable_name(&self, key: &Key, node: &Node) -> Result<String, PlaybookError> {
        let name = match &node.kind {
            Kind::Scalar(Value::String(name)) => name.as_str(),
            _ => "",
        };
        if !is_variable_name(name) {
            let given = match &node.kind {
                Kind::Scalar(Value::String(name)) => format!("'{}'", shown(name)),
                Kind::Scalar(other) => {
                    format!("'{}' of type '{}'", other.to_json(), crate::template::python_type(other))
                }
                Kind::List(_) => "of type 'list'".to_owned(),
                Kind::Map(_) => "of type 'dict'".to_owned(),
                Kind::Sealed(_) => "''".to_owned(),
            };
            let what = format!("Invalid '{}' specified: Invalid variable name {given}.", key.text);
            return Err(self.document.wrong(node.at, what));
        }
        Ok(name.to_owned())
    }

    fn name(&self, entries: &[(Key, Node)]) -> Result<Option<String>, PlaybookError> {
        name_of(self.document, entries)
    }

    fn vars(&self, entries: &[(Key, Node)], noun: Noun) -> Result<Vars, PlaybookError> {
        match entries.iter().find(|(key, _)| key.text == "vars") {
            Some((_, node)) => keywords::vars(self.document, node, noun),
            None => Ok(Vars::new()),
        }
    }
}

/// `name:`, as text.
///
/// # Errors
/// A list or a dict.
pub(super) fn name_of(document: &Document, entries: &[(Key, Node)]) -> Result<Option<String>, PlaybookError> {
    let Some((key, node)) = entries.iter().find(|(key, _)| key.text == "name") else { return Ok(None) };
    match &written(document, key, node, Shape::Text)?.value {
        Authored::Data(Value::Null) => Ok(None),
        value => Ok(Some(rustle_agent::module::shown(&value.source()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::NativeModules;

    fn entries(text: &str, noun: Noun) -> Result<Vec<Entry>, PlaybookError> {
        let document = Document::of_text("t.yml", text.to_owned()).unwrap();
        let root = document.root.clone().unwrap();
        Reader { document: &document, noun, names: Names::of(&NativeModules), in_block: false }.entries(&root, "tasks")
    }

    fn refusal(text: &str) -> String {
        let error = entries(text, Noun::Task).unwrap_err();
        let hint = error.advice().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}{hint}", error.to_string().lines().next().unwrap())
    }

    #[test]
    fn tasks_keep_their_keywords_and_blocks_their_sections() {
        let all = entries(
            "- name: one\n  ping:\n  register: r\n  with_items: [1]\n  until: r is ok\n  retries: 2\n\
             - block:\n    - ping:\n  rescue:\n    - fail: msg=x\n  vars: {a: 1}\n",
            Noun::Task,
        )
        .unwrap();
        let [Entry::Task(task), Entry::Block(block)] = &all[..] else { panic!("a task and a block") };
        assert_eq!((task.name.as_deref(), task.register.as_deref()), (Some("one"), Some("r")));
        assert_eq!(task.looped.as_ref().unwrap().lookup.as_deref(), Some("items"));
        assert_eq!((&*task.until[0], task.numbers["retries"].value.source()), ("r is ok", Value::Int(2)));
        assert_eq!((block.body.len(), block.rescue.len(), block.always.len()), (1, 1, 0));
        assert!(block.vars.contains_key("a"));
    }

    #[test]
    fn what_is_no_task_or_block_is_refused_with_its_place() {
        for (text, error) in [
            ("- x", "t.yml:1:3: task/handler entries must be dictionaries (got a string)"),
            (
                "a: b",
                "t.yml:1:1: A malformed block was encountered while loading tasks: {\"a\":\"b\"} should be a list or None but was a dict (each task begins with `- `)",
            ),
            ("- block: []\n  regster: x", "t.yml:2:3: 'regster' is not a valid attribute for a Block"),
            ("- rescue: []", "t.yml:1:3: 'rescue' keyword cannot be used without 'block'"),
            ("- ping:\n  register: a-b", "t.yml:2:13: Invalid 'register' specified: Invalid variable name 'a-b'."),
            (
                "- ping:\n  register: [a]",
                "t.yml:2:13: Invalid 'register' specified: Invalid variable name of type 'list'.",
            ),
            (
                "- ping:\n  register: '{{ x }}'",
                "t.yml:2:13: Invalid 'register' specified: Invalid variable name '{{ x }}'.",
            ),
            ("- ping:\n  vars: [{a: 1}]", "t.yml:2:9: Vars in a Task must be specified as a dictionary."),
            ("- ping:\n  loop: [1]\n  with_list: [1]", "t.yml:3:3: duplicate loop in task: with_list"),
            (
                "- ping:\n  loop_control: {loop_vr: x}",
                "t.yml:2:18: 'loop_vr' is not a valid attribute for a LoopControl (`loop_control` knows `loop_var`)",
            ),
            (
                "- ping:\n  vars: {a-b: 1}",
                "t.yml:2:10: Invalid variable name in vars specified for Task: 'a-b' is not a valid variable name",
            ),
            ("- ping:\n  listen: x", "t.yml:2:3: 'listen' is not a valid attribute for a Task"),
            (
                "- include_tasks: a.yml\n  become: true",
                "t.yml:2:3: 'become' is not a valid attribute for a TaskInclude (say `become` of what is included: under `apply`, \
                 an argument of the include)",
            ),
            (
                "- include_role: {name: a}\n  register: a\n  when: x\n  with_items: [1]\n  delegate_to: b",
                "t.yml:5:3: 'delegate_to' is not a valid attribute for a IncludeRole (say `delegate_to` of what is included: \
                 under `apply`, an argument of the include)",
            ),
        ] {
            assert_eq!(refusal(text), error, "{text}");
        }
        assert!(entries("- ping:\n  listen: x", Noun::Handler).is_ok());
    }
}
