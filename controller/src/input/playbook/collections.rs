//! The collections whose modules and roles may be named without them: `collections:` of a play, a block, a task or a role's `meta`.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::around::absolute;
use super::document::Document;
use super::error::PlaybookError;
use crate::input::yaml::Node;
use crate::plan::check::ModuleCatalog;

/// Where short names are looked for, before those of ansible-core and of files beside the playbook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Collections {
    /// The collection that the role is in, else that of the playbook: looked at first.
    pub(super) home: Option<String>,
    pub(super) listed: Vec<String>,
}

impl Collections {
    /// For what says `listed` itself: the nearest list counts, not those further out.
    pub(super) fn within(&self, listed: Option<&Vec<String>>) -> Collections {
        Collections { home: self.home.clone(), listed: listed.unwrap_or(&self.listed).clone() }
    }

    /// In order. Naming ansible-core's own ends the search, since that is where a short name comes from at last.
    pub(super) fn searched(&self) -> impl Iterator<Item = &str> {
        const CORE: [&str; 2] = ["ansible.builtin", "ansible.legacy"];
        self.home.iter().chain(&self.listed).map(String::as_str).take_while(|name| !CORE.contains(name))
    }

    /// The full name of the module that a task calls `name`, if it is found in one of these.
    pub(super) fn module(&self, name: &str, catalog: &dyn ModuleCatalog) -> Option<String> {
        self.full_names(name).find(|name| catalog.find(name).is_some())
    }

    /// Why there is no module any more that a task calls `name`, if one of these says so.
    pub(super) fn removal(&self, name: &str, catalog: &dyn ModuleCatalog) -> Option<String> {
        self.full_names(name).find_map(|name| catalog.removal(&name))
    }

    /// What a short name may stand for; nothing if `name` is none.
    fn full_names(&self, name: &str) -> impl Iterator<Item = String> {
        let is_short = !name.contains(['.', '{']);
        self.searched().filter(move |_| is_short).map(move |collection| format!("{collection}.{name}"))
    }
}

/// What `collections:` says: names, which are no templates.
///
/// # Errors
/// Something else than names.
pub(super) fn listed(document: &Document, node: &Node) -> Result<Vec<String>, PlaybookError> {
    if let Some(name) = node.as_str() {
        return Ok(vec![name.to_owned()]);
    }
    let text = |node: &Node| match node.as_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(document.wrong(node.at, format!("a collection's name is text, not a {}", node.kind()))),
    };
    document.list(node, "`collections`")?.iter().map(text).collect()
}

/// The collection that a file is in, `ns.col`, if it is in one of those in `folders`, which hold `ansible_collections`.
pub(super) fn of_file<'a>(path: &Path, folders: impl IntoIterator<Item = &'a Path>) -> Option<String> {
    let path = absolute(path);
    folders.into_iter().find_map(|folder| {
        let inside = path.strip_prefix(absolute(folder).join("ansible_collections")).ok()?;
        let mut parts = inside.iter().map(|part| part.to_string_lossy());
        let (namespace, collection) = (parts.next()?, parts.next()?);
        parts.next()?;
        Some(format!("{namespace}.{collection}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::ModuleInfo;

    /// Has one module in each of three collections.
    struct Three;

    impl ModuleCatalog for Three {
        fn find(&self, name: &str) -> Option<ModuleInfo> {
            ["a.b.x", "c.d.x", "e.f.x"].contains(&name).then_some(ModuleInfo { groups: &[], any_arguments: true })
        }

        fn names(&self) -> Vec<&str> {
            Vec::new()
        }
    }

    fn found(home: Option<&str>, listed: &[&str], name: &str) -> Option<String> {
        let listed = listed.iter().map(|name| (*name).to_owned()).collect();
        Collections { home: home.map(str::to_owned), listed }.module(name, &Three)
    }

    #[test]
    fn the_first_collection_that_has_the_module_counts() {
        assert_eq!(found(None, &["no.ne", "c.d", "a.b"], "x").as_deref(), Some("c.d.x"));
        assert_eq!(found(Some("e.f"), &["c.d"], "x").as_deref(), Some("e.f.x"));
        assert_eq!(found(Some("no.ne"), &["c.d"], "x").as_deref(), Some("c.d.x"));
    }

    #[test]
    fn a_name_that_is_nowhere_or_full_or_a_template_is_left_alone() {
        for name in ["y", "a.b.x", "{{ x }}"] {
            assert_eq!(found(None, &["a.b"], name), None, "{name}");
        }
        assert_eq!(found(None, &["ansible.builtin", "a.b"], "x"), None);
    }

    #[test]
    fn a_nearer_list_counts_alone() {
        let outer = Collections { home: Some("a.b".to_owned()), listed: vec!["c.d".to_owned()] };
        let searched = |of: &Collections| of.searched().collect::<Vec<_>>().join(" ");
        assert_eq!(searched(&outer.within(None)), "a.b c.d");
        assert_eq!(searched(&outer.within(Some(&vec!["e.f".to_owned()]))), "a.b e.f");
    }

    #[test]
    fn a_file_is_in_a_collection_by_where_it_lies() {
        let of = |path: &str| of_file(Path::new(path), [Path::new("/one"), Path::new("/two")]);
        assert_eq!(of("/two/ansible_collections/my/own/playbooks/p.yml").as_deref(), Some("my.own"));
        assert_eq!(of("/two/ansible_collections/my/own"), None);
        assert_eq!(of("/three/ansible_collections/my/own/playbooks/p.yml"), None);
    }
}
