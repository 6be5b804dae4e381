//! `config`: Ansible's settings.

use minijinja::Error;
use minijinja::value::Value;

use super::Call;
use crate::custom::PluginKind;
use crate::template::convert::failed;
use crate::template::filters::paths::expand_user;
use crate::template::filters::values::truth;

/// Ansible's settings that playbooks ask for: name, variable of the environment, default, and what it is.
const SETTINGS: &[(&str, &str, &str, Setting)] = &[
    ("DEFAULT_BECOME", "ANSIBLE_BECOME", "False", Setting::Flag),
    ("DEFAULT_BECOME_METHOD", "ANSIBLE_BECOME_METHOD", "sudo", Setting::Text),
    ("DEFAULT_BECOME_USER", "ANSIBLE_BECOME_USER", "root", Setting::Text),
    ("DEFAULT_FORKS", "ANSIBLE_FORKS", "5", Setting::Number),
    ("DEFAULT_GATHERING", "ANSIBLE_GATHERING", "implicit", Setting::Text),
    ("DEFAULT_HASH_BEHAVIOUR", "ANSIBLE_HASH_BEHAVIOUR", "replace", Setting::Text),
    (
        "DEFAULT_ROLES_PATH",
        "ANSIBLE_ROLES_PATH",
        "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles",
        Setting::Paths,
    ),
    (
        "COLLECTIONS_PATHS",
        "ANSIBLE_COLLECTIONS_PATH",
        "~/.ansible/collections:/usr/share/ansible/collections",
        Setting::Paths,
    ),
    ("DEFAULT_STRATEGY", "ANSIBLE_STRATEGY", "linear", Setting::Text),
    ("DEFAULT_TIMEOUT", "ANSIBLE_TIMEOUT", "10", Setting::Number),
];

#[derive(Clone, Copy)]
enum Setting {
    Flag,
    Number,
    Paths,
    Text,
}

/// The settings of a plug-in, where one comes from, and those that mean nothing here, are what an installed ansible-core says.
pub(super) fn config(call: &Call<'_>) -> Result<Vec<Value>, Error> {
    const NAME: &str = "ansible.builtin.config";
    let is_known = |name: &String| SETTINGS.iter().any(|(known, ..)| known == name);
    let needs_it =
        ["plugin_type", "plugin_name", "show_origin", "on_missing"].iter().any(|name| call.option(name).is_some());
    let scope = call.scope()?;
    let plugins = scope.templar().plugins();
    if (needs_it || !call.texts().iter().all(is_known))
        && plugins.find(PluginKind::Lookup, NAME).map_err(failed)?.is_some()
    {
        return super::super::plugins::look_up(plugins, NAME, call.args, scope);
    }
    let mut out = Vec::new();
    for name in call.texts() {
        let Some((_, variable, default, kind)) = SETTINGS.iter().find(|(known, ..)| *known == name) else {
            match call.params.text("on_missing", "error").as_str() {
                "skip" => {}
                "warn" => tracing::warn!("No config definition exists for '{name}'."),
                _ => return Err(failed(format!("No config definition exists for '{name}'."))),
            }
            continue;
        };
        let text = std::env::var(variable).unwrap_or_else(|_| (*default).to_owned());
        out.push(match kind {
            Setting::Flag => Value::from(truth(&Value::from(text)).unwrap_or(false)),
            Setting::Number => {
                Value::from(text.parse::<i64>().map_err(|_| failed(format!("{variable} is no number")))?)
            }
            Setting::Paths => text.split(':').map(expand_user).map(Value::from).collect(),
            Setting::Text => Value::from(text),
        });
    }
    Ok(out)
}
