//! How an inventory is read, where its user has a choice.

use rustle_protocol::Value;
use rustle_protocol::value::Map;

use super::GroupNames;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub group_names: GroupNames,
    /// Ansible's `hash_behaviour = merge`: a dict is put into that of the same name, not over it.
    pub merges_dicts: bool,
}

impl Rules {
    /// Puts `new` over what is there.
    pub(super) fn put(self, vars: &mut Map, new: impl IntoIterator<Item = (String, Value)>) {
        if !self.merges_dicts {
            return vars.extend(new);
        }
        for (name, value) in new {
            match (vars.get_mut(&name), value) {
                (Some(Value::Map(vars)), Value::Map(new)) => self.put(vars, new),
                (_, value) => {
                    vars.insert(name, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(json: serde_json::Value) -> Map {
        let Value::Map(map) = Value::from(json) else { panic!("a map is needed") };
        map
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
            assert_eq!(vars, map(expected), "{merges_dicts}");
        }
    }
}
