//! How an inventory is read, where its user has a choice.

use std::sync::Arc;

use fancy_regex::Regex;

use super::GroupNames;
use crate::vars::{VarMap, Variable};

#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub group_names: GroupNames,
    /// Ansible's `hash_behaviour = merge`: a dict is put into that of the same name, not over it.
    pub merges_dicts: bool,
    /// What in a folder of sources is none.
    pub ignored: Arc<Ignored>,
    /// A source that cannot be read, or a file in a folder of them, is left out, with a warning; else it ends the reading. One that is encrypted, and no
    /// password fits, always does.
    pub skips_unread: bool,
    /// What is done about names in patterns that nobody has.
    pub unknown_names: UnknownNames,
    /// Those of the command line, which are above all others.
    pub extra_vars: Arc<VarMap>,
}

/// Ansible's `host_pattern_mismatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    #[default]
    Warn,
    Ignore,
    /// For a play's pattern that is read before the run, and that of an ad-hoc run; for any other as `Warn`.
    Refuse,
}

/// Names in a folder of sources that are passed over. Hidden files, `group_vars`, `host_vars` and `vars_plugins` always are.
#[derive(Clone, Debug)]
pub struct Ignored {
    /// What such a name ends with.
    pub endings: Vec<String>,
    /// What is found somewhere in such a name.
    pub patterns: Vec<Regex>,
}

impl Default for Ignored {
    /// As Ansible has it.
    fn default() -> Ignored {
        const ENDINGS: [&str; 12] =
            [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];
        Ignored { endings: ENDINGS.map(str::to_owned).into(), patterns: Vec::new() }
    }
}

impl Ignored {
    pub(super) fn has(&self, name: &str) -> bool {
        name.starts_with('.')
            || matches!(name, "group_vars" | "host_vars" | "vars_plugins")
            || self.endings.iter().any(|ending| name.ends_with(ending))
            // A regex that gives up fits nothing.
            || self.patterns.iter().any(|pattern| pattern.is_match(name).unwrap_or(false))
    }
}

impl Rules {
    /// Puts `new` over what is there.
    pub(super) fn put(&self, vars: &mut VarMap, new: impl IntoIterator<Item = (String, Variable)>) {
        if !self.merges_dicts {
            return vars.extend(new);
        }
        for (name, value) in new {
            let value = match vars.get(&name) {
                Some(weaker) => value.merged_into(weaker.clone()),
                None => value,
            };
            vars.insert(name, value);
        }
    }

    /// What is left of layers in rising precedence.
    pub(super) fn merged<'a>(&self, layers: impl IntoIterator<Item = &'a Arc<VarMap>>) -> VarMap {
        let mut merged = VarMap::new();
        for layer in layers {
            self.put(&mut merged, layer.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use rustle_protocol::Value;
    use serde_json::json;

    use super::*;
    use crate::vars::authored_map;

    fn map(json: serde_json::Value) -> VarMap {
        let Value::Map(map) = Value::from(json) else { panic!("a map is needed") };
        authored_map(map)
    }

    fn sources(vars: &VarMap) -> Vec<(&String, Value)> {
        vars.iter().map(|(name, variable)| (name, variable.source())).collect()
    }

    #[test]
    fn dicts_of_one_name_are_merged_at_every_depth_if_that_is_wanted_and_lists_are_not() {
        let weaker = map(json!({ "d": { "a": 1, "deep": { "x": 1 }, "list": [1] }, "plain": 1 }));
        let stronger = map(json!({ "d": { "a": 2, "deep": { "y": 2 }, "list": [2] }, "plain": { "z": 3 } }));
        for (merges_dicts, expected) in [
            (true, json!({ "d": { "a": 2, "deep": { "x": 1, "y": 2 }, "list": [2] }, "plain": { "z": 3 } })),
            (false, json!({ "d": { "a": 2, "deep": { "y": 2 }, "list": [2] }, "plain": { "z": 3 } })),
        ] {
            let mut vars = weaker.clone();
            Rules { merges_dicts, ..Rules::default() }.put(&mut vars, stronger.clone());
            assert_eq!(sources(&vars), sources(&map(expected)), "{merges_dicts}");
        }
    }
}
