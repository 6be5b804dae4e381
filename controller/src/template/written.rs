//! What an author wrote that a template refers to, as it is written.

use rustle_protocol::Value;

use super::authored::Authored;
use crate::vars::{Scope, is_variable_name};

/// How many variables may refer to each other on the way.
const HOPS_MAX: usize = 8;

/// What stands where a template leads that is nothing but a variable, or an entry of one: `{{ name }}`, `{{ name.key }}`,
/// `{{ name[0]['key'] }}`. None if that was not written by an author, or by one who does not vouch for it.
pub(super) fn behind(template: &str, scope: &Scope) -> Option<Value> {
    let mut template = template.to_owned();
    for _ in 0..HOPS_MAX {
        let steps = steps(template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim())?;
        let (name, steps) = steps.split_first()?;
        let root = scope.authored(name)?;
        match steps.iter().try_fold(Node::Authored(&root), |node, step| node.entry(step))? {
            Node::Authored(Authored::Template(next)) => template = next.source().to_owned(),
            Node::Authored(Authored::Sealed(sealed)) => match &*sealed.open(scope.templar().vault()).ok()? {
                Authored::Template(next) => template = next.source().to_owned(),
                opened => return opened.is_vouched_for().then(|| opened.source()),
            },
            Node::Authored(written) => return written.is_vouched_for().then(|| written.source()),
            Node::Data(written) => return Some(written.clone()),
        }
    }
    None
}

/// Whether a text is a variable's name, or a path into one, and so no more than a name: looking it up runs nothing.
pub(super) fn is_path(text: &str) -> bool {
    let is_plain =
        |step: &String| !step.is_empty() && step.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let steps = steps(text).unwrap_or_default();
    steps.first().is_some_and(|name| is_variable_name(name)) && steps.iter().all(is_plain)
}

/// The names and numbers of a path.
fn steps(path: &str) -> Option<Vec<String>> {
    let name_end = |text: &str| text.find(['.', '[']).unwrap_or(text.len());
    let (name, mut rest) = path.split_at(name_end(path));
    let mut steps = vec![name.to_owned()];
    while !rest.is_empty() {
        let (step, after) = match rest.strip_prefix('[') {
            Some(index) => {
                let (index, after) = index.split_once(']')?;
                let quoted = ['\'', '"'].iter().find_map(|quote| index.strip_prefix(*quote)?.strip_suffix(*quote));
                (quoted.or_else(|| index.parse::<usize>().ok().map(|_| index))?, after)
            }
            None => {
                let rest = rest.strip_prefix('.')?;
                rest.split_at(name_end(rest))
            }
        };
        steps.push(step.to_owned());
        rest = after;
    }
    Some(steps)
}

enum Node<'a> {
    Authored(&'a Authored),
    Data(&'a Value),
}

impl<'a> Node<'a> {
    fn entry(self, step: &str) -> Option<Node<'a>> {
        match self {
            Node::Authored(Authored::List(items)) => items.get(step.parse::<usize>().ok()?).map(Node::Authored),
            Node::Authored(Authored::Map(map)) => map.get(step).map(Node::Authored),
            Node::Data(Value::List(items)) | Node::Authored(Authored::Data(Value::List(items))) => {
                items.get(step.parse::<usize>().ok()?).map(Node::Data)
            }
            Node::Data(Value::Map(map)) | Node::Authored(Authored::Data(Value::Map(map))) => {
                map.get(step).map(Node::Data)
            }
            Node::Authored(_) | Node::Data(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::template::Templar;
    use crate::vars::authored_map;

    #[test]
    fn a_path_leads_to_what_is_written_there() {
        let Value::Map(vars) = Value::from(json!({
            "a": {"b": [{"c d": "1 == 1"}, "{{ 1 }}"]}, "to": "{{ a.b }}", "round": "{{ round }}", "n": "{{ a.b + [] }}",
        })) else {
            panic!("variables are a map")
        };
        let scope = Scope::of(&Templar::new(), [Arc::new(authored_map(vars))]);
        let behind = |template: &str| behind(template, &scope);
        assert_eq!(behind("{{ a.b[0]['c d'] }}"), Some(Value::from("1 == 1")));
        assert_eq!(behind("{{ to }}"), Some(Value::from(json!([{"c d": "1 == 1"}, "{{ 1 }}"]))));
        for no in
            ["{{ a.x }}", "{{ a.b[x] }}", "{{ round }}", "{{ n }}", "{{ none }}", "{{ a.b | list }}", "{{ a..b }}", "a"]
        {
            assert_eq!(behind(no), None, "{no}");
        }
    }

    #[test]
    fn a_path_runs_nothing() {
        for path in ["a", "a.b", "a[0]", "a['b-c'].d", "a[\"b\"]"] {
            assert!(is_path(path), "{path}");
        }
        for other in
            ["", "1", "a b", "a | length", "a()", "a.b()", "a['x' ~ lookup('pipe', 'y')]", "a[b]", "{{ a }}", "a."]
        {
            assert!(!is_path(other), "{other}");
        }
    }

    #[test]
    fn what_its_author_does_not_vouch_for_is_not_there() {
        let text = Authored::Unsafe("1 == 1".into());
        let list = Authored::List(vec![Authored::literal("1 == 1"), text.clone()]);
        let vars = [("text", text), ("list", list)];
        let vars = vars.map(|(name, value)| (name.to_owned(), crate::vars::Variable::Authored(Arc::new(value))));
        let scope = Scope::of(&Templar::new(), [Arc::new(vars.into_iter().collect())]);
        for no in ["{{ text }}", "{{ list }}", "{{ list[1] }}"] {
            assert_eq!(behind(no, &scope), None, "{no}");
        }
        assert_eq!(behind("{{ list[0] }}", &scope), Some(Value::from("1 == 1")));
    }
}
