//! Values that stay encrypted until they are needed.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use minijinja::Value as Jinja;
use minijinja::value::{Object, ObjectRepr};
use rustle_protocol::Value;

use super::authored::Authored;
use super::error::TemplateError;
use crate::origin::Origin;
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
            Err(why) => {
                Err(TemplateError::Undecryptable { why, text: Arc::clone(&self.text), place: Arc::clone(&self.place) })
            }
        }
    }

    /// Where it stands, if its place says that.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let mut parts = self.place.rsplitn(3, ':');
        let (column, line, file) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let file = std::path::absolute(Path::new(file)).ok()?;
        Some(Origin { line: Some(line), column: Some(column), ..Origin::whole(&file) })
    }
}

/// The texts that were opened, as the engine has them. It hands on the very text that it was given wherever nothing makes
/// another of it, through variables, lists and filters: by where it lies it is known again for what was encrypted.
#[derive(Default)]
pub(super) struct OpenedTexts {
    /// By cipher text. What is kept here keeps its address.
    texts: HashMap<Arc<str>, Jinja>,
    sealed: HashMap<usize, Sealed>,
}

impl OpenedTexts {
    pub(super) fn get(&self, sealed: &Sealed) -> Option<Jinja> {
        self.texts.get(&sealed.text).cloned()
    }

    /// The engine's value of what `sealed` is when it is opened.
    pub(super) fn keep(&mut self, sealed: &Sealed, plain: &str) -> Jinja {
        let text = Jinja::from(Arc::<str>::from(plain));
        self.sealed.extend(address(&text).map(|at| (at, sealed.clone())));
        self.texts.insert(Arc::clone(&sealed.text), text.clone());
        text
    }

    /// What the engine's value was before it was opened.
    pub(super) fn sealed(&self, value: &Jinja) -> Option<&Sealed> {
        self.sealed.get(&address(value)?)
    }
}

fn address(value: &Jinja) -> Option<usize> {
    value.as_str().map(|text| text.as_ptr().addr())
}

/// What cannot be opened, as a template has it that may ask what it is.
#[derive(Debug)]
pub(super) struct Closed {
    error: TemplateError,
    sealed: Sealed,
}

impl Closed {
    /// What becomes of whoever wants its text.
    pub(super) fn error(&self) -> TemplateError {
        self.error.clone()
    }

    pub(super) fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

impl Object for Closed {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// Whoever wants its text and does not ask what it is gets the cipher text, and the rendering has failed.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TAKEN_FOR_TEXT.set(Some(self.error()));
        f.write_str(&self.sealed.text)
    }
}

pub(super) fn as_closed(value: &Jinja) -> Option<&Closed> {
    value.downcast_object_ref()
}

/// What cannot be opened is an error wherever more is wanted of it than what it is.
pub(super) fn refuse_closed(value: &Jinja) -> Result<(), minijinja::Error> {
    as_closed(value).map_or(Ok(()), |closed| Err(closed.error().into()))
}

/// Whether an error is one of [`refuse_closed`].
pub(super) fn is_of_closed(error: &minijinja::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<TemplateError>());
    cause.is_some_and(|cause| cause.undecryptable().is_some())
}

/// The engine's value for what could not be had: an error for whoever reads it, but where a template may ask about it.
pub(crate) fn unreadable(error: TemplateError) -> Jinja {
    match error.undecryptable() {
        Some(sealed) if ASKS.get() => Jinja::from_object(Closed { sealed, error }),
        _ => Jinja::from(minijinja::Error::from(error)),
    }
}

/// Those that ask what an encrypted text is, and need no plain one.
const ASKING: [&str; 5] = ["vault_encrypted", "unvault", "type_debug", "to_yaml", "to_nice_yaml"];

thread_local! {
    /// Whether the template that is being rendered on this thread [`asks`].
    static ASKS: Cell<bool> = const { Cell::new(false) };
    /// What is wrong with a [`Closed`] whose text something took, in the template that is being rendered on this thread.
    static TAKEN_FOR_TEXT: Cell<Option<TemplateError>> = const { Cell::new(None) };
}

/// Whether the template of this text names one of [`ASKING`].
pub(super) fn asks(source: &str) -> bool {
    ASKING.iter().any(|name| source.contains(name))
}

/// Renders the template of this text.
///
/// # Errors
/// Those of `render`, and that something took what cannot be opened for a text: filters of the engine do not look first.
pub(super) fn rendering<T>(
    source: &str,
    render: impl FnOnce() -> Result<T, minijinja::Error>,
) -> Result<T, minijinja::Error> {
    let (asked, taken) = (ASKS.replace(asks(source)), TAKEN_FOR_TEXT.take());
    let rendered = render();
    ASKS.set(asked);
    match (rendered, TAKEN_FOR_TEXT.replace(taken)) {
        (Ok(_), Some(error)) => Err(error.into()),
        (rendered, _) => rendered,
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
        for template in ["{{ secret }}", "{{ list[0] }}", "{{ list }}", "{{ template }}", "{{ secret | default(1) }}"] {
            let error = render(template, &scope).unwrap_err();
            assert_eq!(
                error.to_string(),
                "Error rendering template: Attempt to use undecryptable variable: Attempting to decrypt but no vault secrets \
                 found."
            );
            assert!(error.hint().is_some_and(|hint| hint.contains("vars.yml:3:7")), "{template}: {error:?}");
        }
    }

    #[test]
    fn what_hands_a_text_on_hands_on_that_it_was_encrypted() {
        let scope = scope(vec![Secret::new("default", b"pass")]);
        for same in
            ["secret", "list[0]", "[secret] | first", "secret | default('')", "secret | string", "{'a': secret}.a"]
        {
            assert_eq!(render(&format!("{{{{ {same} is vault_encrypted }}}}"), &scope), Ok(true.into()), "{same}");
        }
        for other in ["secret ~ ''", "secret | upper", "list", "'hunter2'", "'$ANSIBLE_VAULT;1.1;AES256'", "list[1]"] {
            assert_eq!(render(&format!("{{{{ ({other}) is vault_encrypted }}}}"), &scope), Ok(false.into()), "{other}");
        }
    }

    #[test]
    fn what_is_kept_is_encrypted_where_it_was() {
        let scope = scope(vec![Secret::new("default", b"pass")]);
        let kept = |template: &str| {
            let authored = Authored::from_value(template.into());
            scope.templar().render_kept(&authored, &scope).unwrap().unwrap()
        };
        assert_eq!(kept("{{ secret }}"), kept("{% if true %}{{ secret }}{% endif %}"));
        assert!(matches!(kept("{{ secret }}"), Authored::Sealed(_)));
        assert!(matches!(kept("{{ {'a': [secret, 1]} }}"), Authored::Map(map) if map["a"].holds_sealed()));
        assert_eq!(kept("x{{ secret }}"), Authored::Unsafe("xhunter2".into()));
        assert_eq!(kept("{{ [list[1]] }}"), Authored::Unsafe(Value::List(vec![1.into()])));
    }

    #[test]
    fn a_template_may_ask_what_it_is_that_cannot_be_opened_and_nothing_else() {
        let scope = scope(vec![Secret::new("default", b"other")]);
        assert_eq!(render("{{ secret | type_debug }}", &scope), Ok("VaultExceptionMarker".into()));
        assert_eq!(render("{{ list[0] is vault_encrypted }}", &scope), Ok(true.into()));
        assert_eq!(render("{{ secret | unvault('pass') }}", &scope), Ok("hunter2".into()));
        let yaml = render("{{ list | to_nice_yaml }}", &scope).unwrap();
        assert!(yaml.as_str().unwrap().starts_with("- !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n"), "{yaml}");
        for more in [
            "secret",
            "secret ~ 'x'",
            "secret == 'x'",
            "[secret]",
            "secret | to_json",
            "secret | default('x')",
            "secret | upper",
            "secret | string | length",
            "'%s' | format(secret)",
            "{secret: 1}",
        ] {
            let asking = format!("{{{{ [secret is vault_encrypted, {more}] }}}}");
            assert!(render(&asking, &scope).is_err_and(|error| error.undecryptable().is_some()), "{more}");
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
