//! Plays as a file has them, and what else a playbook may hold.

use indexmap::IndexMap;

use super::call::Names;
use super::collections::Collections;
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::{self, Keywords, Shape, Written, written};
use super::names::{Noun, core_name};
use super::tree::{Entry, Reader, Vars, name_of};
use crate::input::source::{Position, shown};
use crate::input::yaml::{Key, Node};
use crate::plan::check::ModuleCatalog;
use crate::template::Authored;
use crate::vars::Prompt;

/// One entry of a playbook.
#[derive(Debug)]
pub(super) enum PlaybookEntry {
    Play(Box<PlayNode>),
    Import(Box<ImportNode>),
}

/// A play as it is written.
#[derive(Debug)]
pub(super) struct PlayNode {
    pub(super) at: Position,
    pub(super) name: Option<String>,
    pub(super) hosts: Written,
    pub(super) keywords: Keywords,
    pub(super) vars: Vars,
    /// `gather_facts`, `serial`, `strategy`, ...: what only plays say.
    pub(super) options: IndexMap<&'static str, Written>,
    pub(super) vars_files: Vec<Written>,
    pub(super) vars_prompt: Vec<Prompt>,
    pub(super) pre_tasks: Vec<Entry>,
    pub(super) roles: Vec<RoleNode>,
    pub(super) tasks: Vec<Entry>,
    pub(super) post_tasks: Vec<Entry>,
    pub(super) handlers: Vec<Entry>,
}

/// `import_playbook`.
#[derive(Debug)]
pub(super) struct ImportNode {
    pub(super) at: Position,
    pub(super) file: Authored,
    pub(super) keywords: Keywords,
    pub(super) vars: Vars,
}

/// A role as a play or another role names it.
#[derive(Clone, Debug)]
pub(super) struct RoleNode {
    pub(super) at: Position,
    pub(super) name: Authored,
    pub(super) keywords: Keywords,
    pub(super) vars: Vars,
    /// Every other key: variables above nearly all others.
    pub(super) params: Vars,
}

const PLAY_OPTIONS: [(&str, Shape); 10] = [
    ("fact_path", Shape::Text),
    ("force_handlers", Shape::Bool),
    ("gather_facts", Shape::Bool),
    ("gather_subset", Shape::Texts),
    ("gather_timeout", Shape::Number),
    ("max_fail_percentage", Shape::Number),
    ("order", Shape::Text),
    ("serial", Shape::Texts),
    ("strategy", Shape::Text),
    ("user", Shape::Text),
];

/// The plays and imports of a playbook.
///
/// # Errors
/// What is none of them, with its place.
pub(super) fn read(
    document: &Document,
    catalog: &dyn ModuleCatalog,
    collections: &Collections,
) -> Result<Vec<PlaybookEntry>, PlaybookError> {
    let Some(root) = &document.root else { return Ok(Vec::new()) };
    let Some(items) = root.as_list() else {
        let what = format!("A playbook must be a list of plays, got a {} instead", root.kind());
        return Err(document.wrong(root.at, what).hint(Some("a play begins with `- hosts:`")));
    };
    if items.is_empty() {
        return Err(document.wrong(root.at, "A playbook must contain at least one play"));
    }
    let names = Names { catalog, collections: collections.clone() };
    items.iter().map(|item| entry(document, item, &names)).collect()
}

fn entry(document: &Document, node: &Node, names: &Names<'_>) -> Result<PlaybookEntry, PlaybookError> {
    let Some(entries) = node.as_map() else {
        let what = "playbook entries must be either valid plays or 'import_playbook' statements";
        return Err(document.wrong(node.at, what));
    };
    let is_import = |(key, _): &&(Key, Node)| core_name(&key.text) == Some("import_playbook");
    match entries.iter().find(is_import) {
        Some((key, file)) => import(document, entries, key, file).map(|i| PlaybookEntry::Import(Box::new(i))),
        None => play(document, node, entries, names).map(|play| PlaybookEntry::Play(Box::new(play))),
    }
}

fn import(document: &Document, entries: &[(Key, Node)], key: &Key, file: &Node) -> Result<ImportNode, PlaybookError> {
    // What a block may say and is not about tasks.
    let known = |word: &str| word == "when" || (Noun::Role.has(word) && word != "role");
    if let Some((other, _)) = entries.iter().find(|(other, _)| other.text != key.text && !known(&other.text)) {
        let what = format!("'{}' is not a valid attribute for a PlaybookInclude", shown(&other.text));
        return Err(document.wrong(other.at, what).hint(Noun::Role.nearest(&other.text)));
    }
    if file.as_str().is_none_or(str::is_empty) {
        return Err(document.wrong(file.at, "playbook import parameter must be a string indicating a file path"));
    }
    Ok(ImportNode {
        at: file.at,
        file: document.authored(file)?,
        keywords: Keywords::read(document, entries, Noun::Role)?,
        vars: vars(document, entries, Noun::Play)?,
    })
}

fn play(
    document: &Document,
    node: &Node,
    entries: &[(Key, Node)],
    names: &Names<'_>,
) -> Result<PlayNode, PlaybookError> {
    let find = |word: &str| entries.iter().find(|(key, _)| key.text == word);
    if let (Some((key, _)), Some(_)) = (find("user"), find("remote_user")) {
        return Err(document.wrong(key.at, "both 'user' and 'remote_user' are set for this play."));
    }
    if let Some((key, _)) = entries.iter().find(|(key, _)| !Noun::Play.has(&key.text)) {
        let what = format!("'{}' is not a valid attribute for a Play", shown(&key.text));
        return Err(document.wrong(key.at, what).hint(Noun::Play.nearest(&key.text)));
    }
    let keywords = Keywords::read(document, entries, Noun::Play)?;
    let tasks = |word: &str, noun: Noun| match find(word) {
        Some((key, node)) => {
            Reader { document, noun, names: names.within(&keywords), in_block: false }.entries(node, &key.text)
        }
        None => Ok(Vec::new()),
    };
    let mut options = IndexMap::new();
    for (name, shape) in PLAY_OPTIONS {
        if let Some((key, node)) = find(name).filter(|(_, node)| !node.is_null()) {
            options.insert(name, written(document, key, node, shape)?);
        }
    }
    let roles = match find("roles") {
        Some((_, node)) => role_nodes(document, node)?,
        None => Vec::new(),
    };
    Ok(PlayNode {
        at: node.at,
        name: name_of(document, entries)?,
        hosts: hosts(document, node, find("hosts"))?,
        vars: vars(document, entries, Noun::Play)?,
        options,
        vars_files: find("vars_files").map_or(Ok(Vec::new()), |(_, node)| vars_files(document, node))?,
        vars_prompt: find("vars_prompt").map_or(Ok(Vec::new()), |(_, node)| prompts(document, node))?,
        pre_tasks: tasks("pre_tasks", Noun::Task)?,
        roles,
        tasks: tasks("tasks", Noun::Task)?,
        post_tasks: tasks("post_tasks", Noun::Task)?,
        handlers: tasks("handlers", Noun::Handler)?,
        keywords,
    })
}

fn hosts(document: &Document, play: &Node, given: Option<&(Key, Node)>) -> Result<Written, PlaybookError> {
    let Some((key, node)) = given else {
        return Err(document.wrong(play.at, "the field 'hosts' is required but was not set"));
    };
    let is_empty = node.is_null()
        || node.as_str().is_some_and(|text| text.trim().is_empty())
        || node.as_list().is_some_and(<[Node]>::is_empty);
    if is_empty {
        return Err(document.wrong(node.at, "Hosts list cannot be empty. Please check your playbook"));
    }
    if node.as_map().is_some() {
        return Err(document.wrong(node.at, "Hosts list must be a sequence or string. Please check your playbook."));
    }
    let items = node.as_list().unwrap_or_default();
    if let Some(item) = items.iter().find(|item| item.is_null() || item.as_list().is_some() || item.as_map().is_some())
    {
        let what = format!("Hosts list contains an invalid host value: a {}", item.kind());
        return Err(document.wrong(item.at, what));
    }
    written(document, key, node, Shape::Texts)
}

fn vars(document: &Document, entries: &[(Key, Node)], noun: Noun) -> Result<Vars, PlaybookError> {
    match entries.iter().find(|(key, _)| key.text == "vars") {
        Some((_, node)) => keywords::vars(document, node, noun),
        None => Ok(Vars::new()),
    }
}

/// File names, or lists of them of which the first that is there counts.
fn vars_files(document: &Document, node: &Node) -> Result<Vec<Written>, PlaybookError> {
    let written = |node: &Node| {
        if node.as_list().is_none() && node.as_str().is_none() {
            let what = format!("Invalid `vars_files` value of type '{}'.", node.kind());
            return Err(document.wrong(node.at, what).hint(Some("it should either be a string or list of strings")));
        }
        Ok(Written { place: document.place(node.at), value: document.authored(node)? })
    };
    match node.as_list() {
        Some(items) => items.iter().map(written).collect(),
        None if node.is_null() => Ok(Vec::new()),
        None => written(node).map(|file| vec![file]),
    }
}

fn prompts(document: &Document, node: &Node) -> Result<Vec<Prompt>, PlaybookError> {
    const KNOWN: [&str; 9] =
        ["name", "prompt", "default", "private", "confirm", "encrypt", "salt_size", "salt", "unsafe"];
    let items = match node.as_map() {
        Some(_) => std::slice::from_ref(node),
        None => document.list(node, "`vars_prompt`")?,
    };
    let prompt = |item: &Node| {
        let entries = document.map(item, "an entry of `vars_prompt`")?;
        let name = entries.iter().find(|(key, _)| key.text == "name").and_then(|(_, node)| node.as_str());
        let Some(name) = name else {
            return Err(document.wrong(item.at, "Invalid vars_prompt data structure, missing 'name' key"));
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| !KNOWN.contains(&key.text.as_str())) {
            let what = format!("Invalid vars_prompt data structure, found unsupported key '{}'", shown(&key.text));
            return Err(document.wrong(key.at, what));
        }
        let mut options = document.authored_entries(entries)?;
        options.shift_remove("name");
        Ok(Prompt { name: name.to_owned(), options })
    };
    items.iter().map(prompt).collect()
}

/// `roles:`, and `dependencies:` of a role.
///
/// # Errors
/// What names no role, with its place.
pub(super) fn role_nodes(document: &Document, node: &Node) -> Result<Vec<RoleNode>, PlaybookError> {
    if node.as_list().is_none() && !node.is_null() {
        let what = format!("A malformed role declaration was encountered. It must be a list, not a {}", node.kind());
        return Err(document.wrong(node.at, what));
    }
    let items = document.list(node, "a list of roles")?;
    items.iter().map(|item| role_node(document, item)).collect()
}

fn role_node(document: &Document, node: &Node) -> Result<RoleNode, PlaybookError> {
    let Some(entries) = node.as_map() else {
        return match node.as_str() {
            Some(name) if name.contains(',') => {
                Err(document.wrong(node.at, format!("Invalid old style role requirement: {}", shown(name))))
            }
            Some(_) => Ok(RoleNode {
                at: node.at,
                name: document.authored(node)?,
                keywords: Keywords::default(),
                vars: Vars::new(),
                params: Vars::new(),
            }),
            None => {
                let what = format!("Invalid role definition: a role is a name or a dict, not a {}", node.kind());
                Err(document.wrong(node.at, what))
            }
        };
    };
    let named = |word: &str| entries.iter().find(|(key, _)| key.text == word).map(|(_, node)| node);
    let name = named("role").or_else(|| named("name")).or_else(|| named("src"));
    let Some(name) = name.filter(|name| name.as_str().is_some_and(|name| !name.is_empty())) else {
        return Err(document.wrong(node.at, "role definitions must contain a role name"));
    };
    let params: Vec<_> = entries.iter().filter(|(key, _)| !Noun::Role.has(&key.text)).cloned().collect();
    Ok(RoleNode {
        at: node.at,
        name: document.authored(name)?,
        keywords: Keywords::read(document, entries, Noun::Role)?,
        vars: vars(document, entries, Noun::Role)?,
        params: document.authored_entries(&params)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::NativeModules;

    fn plays(text: &str) -> Result<Vec<PlaybookEntry>, PlaybookError> {
        read(&Document::of_text("t.yml", text.to_owned()).unwrap(), &NativeModules, &Collections::default())
    }

    fn refusal(text: &str) -> String {
        plays(text).unwrap_err().to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_play_has_sections_options_and_roles() {
        let all = plays(
            "- hosts: web\n  serial: [1, 20%]\n  become: yes\n  roles: [common, {role: web, listen_port: 80, when: a}]\n  \
             tasks: [{ping: }]\n  handlers: [{name: h, ping: , listen: t}]\n- import_playbook: other.yml\n  when: x\n",
        )
        .unwrap();
        let [PlaybookEntry::Play(play), PlaybookEntry::Import(import)] = &all[..] else { panic!("a play, an import") };
        assert_eq!(play.hosts.value.source().as_str(), Some("web"));
        assert!(play.options.contains_key("serial") && play.keywords.get("become").is_some());
        assert_eq!(play.roles[1].params.keys().collect::<Vec<_>>(), ["listen_port"]);
        assert_eq!(&*play.roles[1].keywords.when[0], "a");
        assert_eq!((play.tasks.len(), play.handlers.len()), (1, 1));
        assert_eq!(&*import.keywords.when[0], "x");
    }

    #[test]
    fn what_is_no_play_is_refused_in_ansibles_words() {
        for (text, error) in [
            ("- a", "t.yml:1:3: playbook entries must be either valid plays or 'import_playbook' statements"),
            ("a: b", "t.yml:1:1: A playbook must be a list of plays, got a dict instead"),
            ("[]", "t.yml:1:1: A playbook must contain at least one play"),
            (
                "- hosts: a\n  user: x\n  remote_user: y",
                "t.yml:2:3: both 'user' and 'remote_user' are set for this play.",
            ),
            (
                "- hosts: a\n  pre_tasks: 12",
                "t.yml:2:14: A malformed block was encountered while loading pre_tasks: 12 should be a list or None but was a int",
            ),
            (
                "- hosts: a\n  roles: 12",
                "t.yml:2:10: A malformed role declaration was encountered. It must be a list, not a int",
            ),
            ("- hosts: a\n  roles: ['a,b']", "t.yml:2:11: Invalid old style role requirement: a,b"),
            (
                "- hosts: a\n  vars_prompt: [{foo: x}]",
                "t.yml:2:17: Invalid vars_prompt data structure, missing 'name' key",
            ),
            ("- tasks: []", "t.yml:1:3: the field 'hosts' is required but was not set"),
            ("- hosts: []", "t.yml:1:10: Hosts list cannot be empty. Please check your playbook"),
            ("- hosts: a\n  tsks: []", "t.yml:2:3: 'tsks' is not a valid attribute for a Play"),
            ("- hosts: a\n  roles: [{port: 1}]", "t.yml:2:11: role definitions must contain a role name"),
        ] {
            assert_eq!(refusal(text), error, "{text}");
        }
    }
}
