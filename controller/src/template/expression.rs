//! Bare expressions, as conditions are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::origin::Origin;

/// A bare expression that an author wrote, as in `when`. Cheap to clone. Those of the same text are equal, wherever they
/// stand; and the text is all that is written down of one.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    origin: Option<Arc<Origin>>,
}

impl Expression {
    /// As it stands at `origin`.
    #[must_use]
    pub(crate) fn at(self, origin: Origin) -> Expression {
        Expression { origin: Some(Arc::new(origin)), ..self }
    }

    pub(crate) fn origin(&self) -> Option<&Arc<Origin>> {
        self.origin.as_ref()
    }
}

impl<T: Into<Arc<str>>> From<T> for Expression {
    fn from(text: T) -> Expression {
        Expression { text: text.into(), origin: None }
    }
}

impl Deref for Expression {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for Expression {
    fn as_ref(&self) -> &str {
        self
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl PartialEq<&str> for Expression {
    fn eq(&self, other: &&str) -> bool {
        *self.text == **other
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expression, D::Error> {
        String::deserialize(deserializer).map(Expression::from)
    }
}

impl JsonSchema for Expression {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
