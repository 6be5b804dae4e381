//! A password in what a server says is not passed on.

use rustle_protocol::{Map, ModuleResult, Value};

/// Stands for a text that is a secret as a whole, as Ansible writes it.
const WHOLE: &str = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER";
/// Stands for a secret within a text.
const PART: &str = "********";

/// Takes `secret` out of the texts of the result, and out of the names in its maps.
pub(super) fn hide(result: &mut ModuleResult, secret: &str) {
    if secret.is_empty() {
        return;
    }
    for value in result.values_mut().values_mut() {
        hide_in(value, secret);
    }
}

fn hide_in(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) => hide_in_text(text, secret),
        Value::List(items) => items.iter_mut().for_each(|item| hide_in(item, secret)),
        Value::Map(map) => {
            let hidden: Map = std::mem::take(map).into_iter().map(|entry| hide_in_entry(entry, secret)).collect();
            *map = hidden;
        }
        _ => {}
    }
}

fn hide_in_entry((mut name, mut value): (String, Value), secret: &str) -> (String, Value) {
    hide_in_text(&mut name, secret);
    hide_in(&mut value, secret);
    (name, value)
}

fn hide_in_text(text: &mut String, secret: &str) {
    if text == secret {
        *text = WHOLE.to_owned();
    } else if text.contains(secret) {
        *text = text.replace(secret, PART);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        let said = json!({"x-pass": "pass", "list": ["a pass", 5, {"pass": null}]});
        let mut result = ModuleResult::ok().with("json", Value::from(said)).with("msg", "no secret");
        hide(&mut result, "pass");
        let hidden = json!({"x-********": WHOLE, "list": ["a ********", 5, {WHOLE: null}]});
        assert_eq!(result.get("json"), Some(&Value::from(hidden)));
        assert_eq!(result.msg(), "no secret");
        hide(&mut result, "");
        assert_eq!(result.msg(), "no secret");
    }
}
