//! A role's own files: its variables, what it depends on, and which arguments it takes.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::collections;
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::as_bool;
use super::library::Library;
use super::play_node::{RoleNode, role_nodes};
use super::role_files;
use crate::input::yaml::{Key, Node};
use crate::template::Authored;
use crate::vars::VarMap;

/// Which role, and which of its files of variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RoleKey {
    pub(super) path: PathBuf,
    /// `vars_from` and `defaults_from`, instead of `main`.
    pub(super) vars_from: Option<String>,
    pub(super) defaults_from: Option<String>,
}

/// A role, but for its tasks and handlers, which depend on who asks.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) defaults: Arc<VarMap>,
    pub(super) vars: Arc<VarMap>,
    pub(super) dependencies: Vec<RoleNode>,
    /// `meta/main.yml`, for complaints about the dependencies.
    pub(super) meta: Option<Arc<Document>>,
    pub(super) allow_duplicates: bool,
    /// Where its tasks' short names are looked up.
    pub(super) collections: Vec<String>,
    /// By entry point.
    pub(super) argument_specs: IndexMap<String, ArgumentSpec>,
}

/// What an entry point of a role takes.
#[derive(Clone, Debug)]
pub(super) struct ArgumentSpec {
    pub(super) short_description: Option<String>,
    pub(super) options: Authored,
}

impl Role {
    pub(super) fn read(library: &Library, key: &RoleKey) -> Result<Role, PlaybookError> {
        let vars_of = |folder: &str, asked: &Option<String>| {
            library.vars(&role_files::find(&key.path, folder, asked.as_deref(), true)?)
        };
        let mut role = Role {
            defaults: vars_of("defaults", &key.defaults_from)?,
            vars: vars_of("vars", &key.vars_from)?,
            dependencies: Vec::new(),
            meta: None,
            allow_duplicates: false,
            collections: Vec::new(),
            argument_specs: IndexMap::new(),
        };
        if let Some(path) = role_files::find(&key.path, "meta", None, false)?.first() {
            role.read_meta(library.document(path)?)?;
        }
        for ending in ["yml", "yaml"] {
            let path = key.path.join("meta").join(format!("argument_specs.{ending}"));
            if path.is_file() {
                let document = library.document(&path)?;
                let entries = document.root.as_ref().map(|root| document.map(root, "argument specs")).transpose()?;
                if let Some((_, node)) = entries.and_then(|all| find(all, "argument_specs")) {
                    role.argument_specs = specs(&document, node)?;
                }
                break;
            }
        }
        Ok(role)
    }

    fn read_meta(&mut self, document: Arc<Document>) -> Result<(), PlaybookError> {
        let Some(root) = &document.root else { return Ok(()) };
        let entries = document.map(root, "the 'meta/main.yml' of a role")?;
        if let Some((_, node)) = find(entries, "dependencies") {
            self.dependencies = role_nodes(&document, node)?;
        }
        if let Some((key, node)) = find(entries, "allow_duplicates") {
            let value = node.to_value().map_err(|error| document.not_yaml(error))?;
            self.allow_duplicates = as_bool(&value).ok_or_else(|| {
                document.wrong(node.at, format!("`{}` must be a bool, not a {}", key.text, node.kind()))
            })?;
        }
        if let Some((_, node)) = find(entries, "collections") {
            self.collections = collections::listed(&document, node)?;
        }
        if let Some((_, node)) = find(entries, "argument_specs") {
            self.argument_specs = specs(&document, node)?;
        }
        self.meta = Some(Arc::clone(&document));
        Ok(())
    }
}

fn specs(document: &Document, node: &Node) -> Result<IndexMap<String, ArgumentSpec>, PlaybookError> {
    let mut specs = IndexMap::new();
    for (key, spec) in document.map(node, "`argument_specs`")? {
        let entries = document.map(spec, "the argument spec of an entry point")?;
        if entries.is_empty() {
            continue;
        }
        let text = |word: &str| find(entries, word).and_then(|(_, node)| node.as_str()).map(str::to_owned);
        let options = match find(entries, "options").filter(|(_, node)| !node.is_null()) {
            Some((_, node)) => document.authored(node)?,
            None => Authored::literal(rustle_protocol::value::Map::new()),
        };
        specs.insert(key.text.clone(), ArgumentSpec { short_description: text("short_description"), options });
    }
    Ok(specs)
}

fn find<'n>(entries: &'n [(Key, Node)], word: &str) -> Option<&'n (Key, Node)> {
    entries.iter().find(|(key, _)| key.text == word)
}
