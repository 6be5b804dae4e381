//! Names of groups that are not names of variables: `web-1`, which an expression such as `groups.web-1` cannot name.

use std::borrow::Cow;

/// What is done about such a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupNames {
    /// It stays, with a warning.
    #[default]
    Never,
    /// It stays.
    Ignore,
    /// Each odd character becomes `_`, with a warning.
    Always,
    /// Each odd character becomes `_`.
    Silently,
}

impl GroupNames {
    /// As Ansible's setting names it.
    pub fn named(name: &str) -> Option<GroupNames> {
        match name.to_ascii_lowercase().as_str() {
            "never" => Some(GroupNames::Never),
            "ignore" => Some(GroupNames::Ignore),
            "always" => Some(GroupNames::Always),
            "silently" => Some(GroupNames::Silently),
            _ => None,
        }
    }

    /// The name that the group gets.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        match self {
            GroupNames::Never | GroupNames::Ignore => Cow::Borrowed(name),
            GroupNames::Always | GroupNames::Silently => name.char_indices().map(|(at, c)| made_fit(at, c)).collect(),
        }
    }

    /// What the operator is told if an inventory has this name.
    pub(super) fn warning(self, name: &str) -> Option<&'static str> {
        let is_odd = name.char_indices().any(|(at, c)| made_fit(at, c) != c);
        match self {
            GroupNames::Never if is_odd => Some(
                "Invalid characters were found in group names but not replaced: see ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS",
            ),
            GroupNames::Always if is_odd => {
                Some("Invalid characters were found in group names and automatically replaced")
            }
            _ => None,
        }
    }
}

fn made_fit(at: usize, c: char) -> char {
    let is_fit = c == '_' || if at == 0 { c.is_alphabetic() } else { c.is_alphanumeric() };
    if is_fit { c } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_are_replaced_or_warned_of() {
        for (rule, name, told) in [
            (GroupNames::Never, "1web-a.ü", true),
            (GroupNames::Ignore, "1web-a.ü", false),
            (GroupNames::Always, "_web_a_ü", true),
            (GroupNames::Silently, "_web_a_ü", false),
        ] {
            assert_eq!((rule.name("1web-a.ü").as_ref(), rule.warning("1web-a.ü").is_some()), (name, told), "{rule:?}");
            assert_eq!((rule.name("web_1").as_ref(), rule.warning("web_1")), ("web_1", None));
        }
    }
}
