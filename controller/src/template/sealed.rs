//! Values that stay encrypted until they are needed.

use std::fmt;
use std::sync::Arc;

use rustle_protocol::Value;

use super::authored::Authored;
use super::error::TemplateError;
use crate::vault::Vault;

/// What an author encrypted. It is opened where it is rendered; what is printed of it is the cipher text. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Sealed {
    /// Text of ansible-vault.
    text: Arc<str>,
    /// `vars.yml:3:7`, for messages.
    place: Arc<str>,
    variable: Option<Variable>,
}

/// A variable of a file that is encrypted as a whole: the file had to be opened to know of it.
#[derive(Clone, PartialEq)]
struct Variable {
    name: Arc<str>,
    value: Arc<Authored>,
}

impl Sealed {
    /// A `!vault` value. `place` says where it stands.
    pub fn new(text: impl Into<Arc<str>>, place: impl Into<Arc<str>>) -> Sealed {
        Sealed { text: text.into(), place: place.into(), variable: None }
    }

    /// A variable of the file `text`, which is encrypted as a whole and holds this `value` of it.
    pub(crate) fn variable(text: &Arc<str>, place: &Arc<str>, name: &str, value: Authored) -> Sealed {
        let variable = Variable { name: name.into(), value: Arc::new(value) };
        Sealed { text: Arc::clone(text), place: Arc::clone(place), variable: Some(variable) }
    }

    /// The cipher text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(crate) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// For a variable of a file that is encrypted as a whole: its name and its value, which is known.
    pub(crate) fn known(&self) -> Option<(&str, &Arc<Authored>)> {
        self.variable.as_ref().map(|variable| (&*variable.name, &variable.value))
    }

    /// The plain value. What was encrypted by itself is data, as in Ansible: whoever could not read it cannot vouch for it.
    /// A file that is encrypted as a whole means what it would mean in plain.
    ///
    /// # Errors
    /// No password of `vault` fits, or there is none.
    pub(crate) fn open(&self, vault: &Vault) -> Result<Arc<Authored>, TemplateError> {
        if let Some((_, value)) = self.known() {
            return Ok(Arc::clone(value));
        }
        match vault.decrypt(&self.text) {
            Ok(plain) => Ok(Arc::new(Authored::Unsafe(Value::from_output(plain)))),
            Err(error) => Err(TemplateError::failed(format!(
                "Attempt to use undecryptable variable: {error} ({}: {})",
                self.place,
                error.hint()
            ))),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealed").field(&self.place).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::Plugins;
    use crate::template::Templar;
    use crate::vars::{Scope, Variable};
    use crate::vault::{Secret, encrypt};

    fn sealed(plain: &str) -> Authored {
        Authored::Sealed(Sealed::new(encrypt(plain.as_bytes(), b"pass", None).unwrap(), "vars.yml:3:7"))
    }

    fn scope(passwords: Vec<Secret>) -> Scope {
        let list = Authored::List(vec![sealed("in a list"), Authored::literal(1)]);
        let vars = [("secret", sealed("hunter2")), ("template", sealed("{{ secret }}!")), ("list", list)];
        let vars = vars.map(|(name, value)| (name.to_owned(), Variable::Authored(Arc::new(value))));
        Scope::of(&Templar::with(Plugins::default(), Vault::new(passwords)), [Arc::new(vars.into_iter().collect())])
    }

    fn render(template: &str, scope: &Scope) -> Result<Value, TemplateError> {
        scope.templar().render(&Authored::from_value(template.into()), scope)
    }

    #[test]
    fn a_sealed_value_is_opened_where_it_is_rendered() {
        let scope = scope(vec![Secret::new("default", b"pass")]);
        assert_eq!(render("{{ secret }}", &scope), Ok("hunter2".into()));
        assert_eq!(render("{{ list[0] ~ list[1] }}", &scope), Ok("in a list1".into()));
        assert_eq!(scope.templar().render(&sealed("hunter2"), &scope), Ok("hunter2".into()));
    }

    #[test]
    fn text_that_was_encrypted_is_no_template() {
        let scope = scope(vec![Secret::new("default", b"pass")]);
        assert_eq!(render("{{ template }}", &scope), Ok("{{ secret }}!".into()));
        assert_eq!(scope.templar().render(&sealed("{{ secret }}"), &scope), Ok("{{ secret }}".into()));
    }

    #[test]
    fn without_its_password_what_does_not_need_it_is_rendered_and_the_rest_says_where_it_stands() {
        let scope = scope(Vec::new());
        assert_eq!(render("{{ list[1] }}", &scope), Ok(1.into()));
        for template in ["{{ secret }}", "{{ list[0] }}", "{{ template }}"] {
            let error = render(template, &scope).unwrap_err().to_string();
            assert!(
                error.contains(
                    "undecryptable variable: Attempting to decrypt but no vault secrets found. (vars.yml:3:7: give"
                ),
                "{template}: {error}"
            );
        }
    }

    #[test]
    fn what_is_shown_of_it_is_not_plain() {
        let known =
            Sealed::variable(&"$ANSIBLE_VAULT;1.1".into(), &"vars.yml".into(), "a", Authored::literal("hunter2"));
        assert_eq!(format!("{known:?}"), "Sealed(\"vars.yml\")");
        assert_eq!(Authored::Sealed(known).source(), Value::from("$ANSIBLE_VAULT;1.1"));
    }
}
