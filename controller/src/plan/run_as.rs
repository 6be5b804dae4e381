//! `become` and the keywords around it, each said or not.

use rustle_protocol::message::BecomeMethod;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Keyword, is_default};
use crate::template::Authored;

/// What a task, or something around it, says about the user that the task runs as. What is not said is for whoever is
/// around it to say, keyword by keyword.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunAs {
    /// `become`
    #[serde(skip_serializing_if = "is_default")]
    pub wanted: Option<Keyword<bool>>,
    /// `become_user`; root if nobody says another.
    #[serde(skip_serializing_if = "is_default")]
    pub user: Option<Authored>,
    /// `become_method`; sudo if nobody says another.
    #[serde(skip_serializing_if = "is_default")]
    pub method: Option<Authored>,
    /// `become_flags`
    #[serde(skip_serializing_if = "is_default")]
    pub flags: Option<Authored>,
    /// `become_exe`
    #[serde(skip_serializing_if = "is_default")]
    pub exe: Option<Authored>,
}

impl RunAs {
    /// This, and what `outer` says where this says nothing.
    #[must_use]
    pub fn or(&self, outer: &RunAs) -> RunAs {
        let or = |own: &Option<Authored>, outer: &Option<Authored>| own.as_ref().or(outer.as_ref()).cloned();
        RunAs {
            wanted: match (self.wanted.clone(), outer.wanted.clone()) {
                (Some(own), Some(outer)) => Some(own.or_if_omitted(outer)),
                (own, outer) => own.or(outer),
            },
            user: or(&self.user, &outer.user),
            method: or(&self.method, &outer.method),
            flags: or(&self.flags, &outer.flags),
            exe: or(&self.exe, &outer.exe),
        }
    }

    /// Everything in it that may be a template.
    pub fn authored(&self) -> impl Iterator<Item = &Authored> {
        [&self.user, &self.method, &self.flags, &self.exe].into_iter().flatten()
    }

    /// # Errors
    /// A method that there is not. One that a template gives is not looked at before the task runs.
    pub fn check(&self) -> Result<(), String> {
        match &self.method {
            Some(method) if !method.needs_rendering() => {
                let source = method.source();
                let name = source.as_str().ok_or("`become_method` must be a string")?;
                name.parse::<BecomeMethod>().map(drop).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_keyword_is_inherited_by_itself() {
        let user = |name: &str| Some(Authored::literal(name));
        let play = RunAs { wanted: Some(true.into()), user: user("app"), ..RunAs::default() };
        let task = RunAs { user: user("db"), ..RunAs::default() };
        assert_eq!(task.or(&play), RunAs { wanted: Some(true.into()), user: user("db"), ..RunAs::default() });
        let own = RunAs { wanted: Some(false.into()), ..RunAs::default() };
        assert_eq!(own.or(&play).wanted, Some(false.into()));
    }

    #[test]
    fn a_method_that_there_is_not_is_told_with_those_that_there_are() {
        let method = |name: &str| RunAs { method: Some(Authored::from_value(name.into())), ..RunAs::default() };
        assert_eq!(
            method("pbrun").check().unwrap_err(),
            "become_method must be sudo, direct, su or runuser, not `pbrun`"
        );
        for name in ["sudo", "ansible.builtin.su", "runuser", "direct", "{{ method }}"] {
            assert_eq!(method(name).check(), Ok(()), "{name}");
        }
    }
}
