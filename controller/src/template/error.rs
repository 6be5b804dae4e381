//! Why a template could not be rendered, in words for its author.

use std::sync::Arc;

use rustle_protocol::Value;

use super::sealed::Sealed;
use crate::origin::Origin;
use crate::vault::VaultError;

/// A template that gave no value. The text names the variable or the place in the template, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A variable or attribute that nobody defined was used.
    #[error("{message}")]
    Undefined {
        /// The variable the expression starts with, or the whole expression where it starts with none.
        name: String,
        /// As Ansible says it: `'foo' is undefined`, `object of type 'dict' has no attribute 'bar'`.
        message: String,
    },
    /// The text is not a template. Line and column count from 1, in the text as its author wrote it.
    #[error("Syntax error in {what}: {message} (line {line}, column {column})")]
    Syntax { what: Syntactic, line: usize, column: usize, message: String },
    /// A variable needs itself to be rendered.
    #[error("recursive loop detected in template: {}", chain.join(" -> "))]
    Recursive { chain: Vec<String> },
    /// The template was `omit` where a value was needed.
    #[error("A template was resolved to an Omit scalar.")]
    Omitted,
    /// A condition whose result is not a boolean, under [`super::Conditionals::Strict`].
    #[error(
        "Conditional result ({truth}) was derived from value of type '{kind}'. Conditionals must have a boolean result."
    )]
    NotBoolean { truth: &'static str, kind: &'static str },
    /// A condition without any text.
    #[error("Empty conditional expressions are not allowed.")]
    EmptyCondition,
    /// A condition that is neither text nor a bool.
    #[error("Conditional expressions must be strings.")]
    NotText,
    /// Text was to be evaluated that no author wrote.
    #[error("Encountered untrusted template or expression.")]
    Untrusted { text: String },
    /// A lookup has to wait, and the render is to be begun again when its answer is there. Seen by nobody but whoever
    /// renders that way.
    #[error("a lookup waits for its answer")]
    Deferred,
    /// The text that stands at `place` is encrypted, and is not to be opened.
    #[error("Attempt to use undecryptable variable: {why}")]
    Undecryptable { why: VaultError, text: Arc<str>, place: Arc<str> },
    /// A filter, test, lookup or operator refused what it was given.
    #[error("{message}")]
    Failed { message: String },
    /// What went wrong with the text that stands there.
    #[error("{error}")]
    At { origin: Arc<Origin>, error: Box<TemplateError> },
    /// What went wrong on the way to something.
    #[error("{doing}: {error}")]
    Within { doing: String, error: Box<TemplateError> },
}

/// What was to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntactic {
    Template,
    /// A condition, or another bare expression.
    Expression,
    /// One with templates in it, which cannot be.
    EnclosingExpression,
}

impl std::fmt::Display for Syntactic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Syntactic::Template => "template",
            Syntactic::Expression => "expression",
            Syntactic::EnclosingExpression => "expression. Template delimiters are not supported in expressions",
        })
    }
}

impl TemplateError {
    /// What the author can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            TemplateError::At { error, .. } | TemplateError::Within { error, .. } => error.hint(),
            TemplateError::Undefined { name, .. } => Some(format!(
                "define `{name}` in the play's vars, the inventory or with -e, or use `{name} | default(...)`"
            )),
            TemplateError::Omitted => {
                Some("`omit` only leaves out an argument or an entry of a list or dict".to_owned())
            }
            TemplateError::Undecryptable { why, place, .. } => Some(format!("{} ({place})", why.hint())),
            TemplateError::Recursive { .. } => Some("give one of these variables another name".to_owned()),
            TemplateError::NotBoolean { .. } => {
                Some("compare explicitly, as in `name | bool` or `name | length > 0`".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> TemplateError {
        TemplateError::Failed { message: message.into() }
    }

    /// The answer to a question of `vars_prompt` was needed before it is asked.
    pub(crate) fn not_asked_yet(name: &str) -> TemplateError {
        TemplateError::failed(format!("`{name}` is asked for (vars_prompt) when the plan runs, and needed to print it"))
    }

    /// `text` was to be evaluated, and no author wrote it.
    pub(crate) fn untrusted(text: &Value) -> TemplateError {
        TemplateError::Untrusted { text: super::python_text(text) }
    }

    /// As Ansible says it of a condition.
    pub(crate) fn in_conditional(self) -> TemplateError {
        if self.is_undefined() { self.within("Error while evaluating conditional") } else { self }
    }

    /// Of an argument of a task, as Ansible says it.
    pub(crate) fn in_argument(self, name: &str) -> TemplateError {
        self.within(format!("Error while resolving value for '{name}'"))
    }

    /// Met in a text that stands at `origin`, unless a place is known already: one further in says more. What tells of no
    /// fault stays as it is.
    pub(crate) fn at(self, origin: Option<&Arc<Origin>>) -> TemplateError {
        match (self, origin) {
            (error @ (TemplateError::At { .. } | TemplateError::Omitted | TemplateError::Deferred), _) => error,
            (error, None) => error,
            (error, Some(origin)) => TemplateError::At { origin: Arc::clone(origin), error: Box::new(error) },
        }
    }

    pub(crate) fn within(self, doing: impl Into<String>) -> TemplateError {
        TemplateError::Within { doing: doing.into(), error: Box::new(self) }
    }

    /// Whether it is that something is undefined.
    pub(crate) fn is_undefined(&self) -> bool {
        match self {
            TemplateError::Undefined { .. } => true,
            TemplateError::At { error, .. } | TemplateError::Within { error, .. } => error.is_undefined(),
            _ => false,
        }
    }

    /// What could not be opened, if it is that.
    pub(crate) fn undecryptable(&self) -> Option<Sealed> {
        match self {
            TemplateError::Undecryptable { text, place, .. } => Some(Sealed::new(Arc::clone(text), Arc::clone(place))),
            TemplateError::At { error, .. } | TemplateError::Within { error, .. } => error.undecryptable(),
            _ => None,
        }
    }

    pub(crate) fn undefined(name: &str) -> TemplateError {
        TemplateError::Undefined { name: name.to_owned(), message: format!("'{name}' is undefined") }
    }
}

/// Carries our error through the engine: as the source of one of its own.
impl From<TemplateError> for minijinja::Error {
    fn from(error: TemplateError) -> minijinja::Error {
        let kind = match error {
            _ if error.is_undefined() => minijinja::ErrorKind::UndefinedError,
            TemplateError::Syntax { .. } => minijinja::ErrorKind::SyntaxError,
            _ => minijinja::ErrorKind::InvalidOperation,
        };
        minijinja::Error::new(kind, error.to_string()).with_source(error)
    }
}
