//! JSON schemas, as far as ours go: documents held against them, so that what is written down about a file format is
//! true of the files.

use serde_json::Value;

/// Where and how `document` is not what `schema` says; nothing if it is.
///
/// # Panics
/// At a keyword that is not known here: what is not looked at would always be right.
#[must_use]
pub fn differences(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Checker { root: schema }.check(schema, document, "", &mut found);
    found
}

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        // `true` is a schema, too, of anything.
        let Some(keywords) = schema.as_object() else { return };
        for (keyword, wanted) in keywords {
            let is_so = match keyword.as_str() {
                "title" | "description" | "default" | "format" | "$schema" | "$defs" => true,
                "type" => is_of_type(wanted, value),
                "const" => value == wanted,
                "enum" => list(wanted).contains(value),
                "minimum" => !value.is_number() || value.as_f64() >= wanted.as_f64(),
                "uniqueItems" => is_unique(value),
                "required" => missing(wanted, value).next().is_none(),
                "anyOf" => self.matching(wanted, value) > 0,
                "oneOf" => self.matching(wanted, value) == 1,
                "$ref" => {
                    self.check(self.definition(wanted), value, at, found);
                    true
                }
                "properties" => {
                    self.check_entries(value, at, found, |name| wanted.get(name));
                    true
                }
                "additionalProperties" => {
                    let named = |name: &str| keywords.get("properties").is_some_and(|known| known.get(name).is_some());
                    self.check_entries(value, at, found, |name| (!named(name)).then_some(wanted));
                    true
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{at}/{n}"), found);
                    }
                    true
                }
                _ => panic!("the keyword `{keyword}` is not known"),
            };
            if !is_so {
                found.push(format!("{at}: {value} is not as `{keyword}` wants it: {wanted}"));
            }
        }
    }

    /// Holds those entries of an object against a schema that have one.
    fn check_entries<'s>(
        &self,
        value: &Value,
        at: &str,
        found: &mut Vec<String>,
        schema: impl Fn(&str) -> Option<&'s Value>,
    ) {
        for (name, entry) in value.as_object().into_iter().flatten() {
            match schema(name) {
                Some(Value::Bool(false)) => found.push(format!("{at}: `{name}` is not foreseen")),
                Some(schema) => self.check(schema, entry, &format!("{at}/{name}"), found),
                None => {}
            }
        }
    }

    fn matching(&self, schemas: &Value, value: &Value) -> usize {
        let matches = |schema: &&Value| {
            let mut found = Vec::new();
            self.check(schema, value, "", &mut found);
            found.is_empty()
        };
        list(schemas).iter().filter(matches).count()
    }

    fn definition(&self, reference: &Value) -> &Value {
        let path = reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a place in the same schema");
        self.root.pointer(path).expect("what is referred to is there")
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list, as the keyword has it")
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => panic!("the type {name} is not known"),
    };
    wanted.as_array().map_or_else(|| is(wanted), |types| types.iter().any(is))
}

fn is_unique(value: &Value) -> bool {
    let Some(items) = value.as_array() else { return true };
    items.iter().enumerate().all(|(n, item)| !items[..n].contains(item))
}

/// The required names that an object does not have; none of anything else.
fn missing<'a>(required: &'a Value, value: &'a Value) -> impl Iterator<Item = &'a str> {
    let is_missing = |name: &&str| value.as_object().is_some_and(|object| !object.contains_key(*name));
    list(required).iter().filter_map(Value::as_str).filter(is_missing)
}
