//! Values that Ansible refuses before it does anything, in its words: whoever has misspelt one is told, whether or not it means
//! something here.

use super::AnsibleSettings;

/// A setting whose value is not any text.
struct Checked {
    /// What Ansible calls it.
    label: &'static str,
    variable: &'static str,
    key: &'static str,
    kind: Kind,
}

enum Kind {
    /// A whole number, by the name that its type has there.
    Whole(&'static str),
    OneOf(&'static [&'static str]),
}

const fn whole(label: &'static str, variable: &'static str, key: &'static str) -> Checked {
    Checked { label, variable, key, kind: Kind::Whole("integer") }
}

const fn one_of(
    label: &'static str,
    variable: &'static str,
    key: &'static str,
    choices: &'static [&'static str],
) -> Checked {
    Checked { label, variable, key, kind: Kind::OneOf(choices) }
}

/// In Ansible's order: the first that is wrong is told.
const CHECKED: [Checked; 18] = [
    whole("'CACHE_PLUGIN_TIMEOUT'", "ANSIBLE_CACHE_PLUGIN_TIMEOUT", "defaults.fact_caching_timeout"),
    whole("'DEFAULT_FORKS'", "ANSIBLE_FORKS", "defaults.forks"),
    one_of("'DEFAULT_GATHERING'", "ANSIBLE_GATHERING", "defaults.gathering", &["implicit", "explicit", "smart"]),
    one_of("'DEFAULT_HASH_BEHAVIOUR'", "ANSIBLE_HASH_BEHAVIOUR", "defaults.hash_behaviour", &["replace", "merge"]),
    whole("'DEFAULT_POLL_INTERVAL'", "ANSIBLE_POLL_INTERVAL", "defaults.poll_interval"),
    whole("'DEFAULT_REMOTE_PORT'", "ANSIBLE_REMOTE_PORT", "defaults.remote_port"),
    whole("'DEFAULT_TIMEOUT'", "ANSIBLE_TIMEOUT", "defaults.timeout"),
    whole("'DEFAULT_VERBOSITY'", "ANSIBLE_VERBOSITY", "defaults.verbosity"),
    whole("'DIFF_CONTEXT'", "ANSIBLE_DIFF_CONTEXT", "diff.context"),
    one_of(
        "'DUPLICATE_YAML_DICT_KEY'",
        "ANSIBLE_DUPLICATE_YAML_DICT_KEY",
        "defaults.duplicate_dict_key",
        &["error", "warn", "ignore"],
    ),
    one_of(
        "'HOST_PATTERN_MISMATCH'",
        "ANSIBLE_HOST_PATTERN_MISMATCH",
        "inventory.host_pattern_mismatch",
        &["error", "warning", "ignore"],
    ),
    Checked {
        label: "'LOG_VERBOSITY'",
        variable: "ANSIBLE_LOG_VERBOSITY",
        key: "defaults.log_verbosity",
        kind: Kind::Whole("int"),
    },
    Checked {
        label: "'MAX_FILE_SIZE_FOR_DIFF'",
        variable: "ANSIBLE_MAX_DIFF_SIZE",
        key: "defaults.max_diff_size",
        kind: Kind::Whole("int"),
    },
    one_of(
        "'PLAYBOOK_VARS_ROOT'",
        "ANSIBLE_PLAYBOOK_VARS_ROOT",
        "defaults.playbook_vars_root",
        &["top", "bottom", "all"],
    ),
    one_of("'RUN_VARS_PLUGINS'", "ANSIBLE_RUN_VARS_PLUGINS", "defaults.run_vars_plugins", &["demand", "start"]),
    whole("'TASK_TIMEOUT'", "ANSIBLE_TASK_TIMEOUT", "defaults.task_timeout"),
    one_of(
        "'TRANSFORM_INVALID_GROUP_CHARS'",
        "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS",
        "defaults.force_valid_group_names",
        &["always", "never", "ignore", "silently"],
    ),
    one_of(
        "'result_format' for 'default' callback plugin",
        "ANSIBLE_CALLBACK_RESULT_FORMAT",
        "defaults.callback_result_format",
        &["json", "yaml"],
    ),
];

impl AnsibleSettings {
    /// # Errors
    /// The file makes no sense, or a value in it or in the environment: a sentence of Ansible's.
    pub(super) fn check(&self) -> Result<(), String> {
        if let (Some(fault), Some(path)) = (&self.fault, &self.path) {
            return Err(format!("Error reading config file ({}): {fault}", path.display()));
        }
        CHECKED.iter().try_for_each(|checked| self.check_one(checked))
    }

    fn check_one(&self, Checked { label, variable, key, kind }: &Checked) -> Result<(), String> {
        let Some(value) = self.get(variable, key) else { return Ok(()) };
        match kind {
            Kind::Whole(name) if whole_number(value).is_none() => Err(format!(
                "Config {label} from '{}' has an invalid value: Invalid value provided for '{name}': '{value}'",
                self.origin(variable)
            )),
            Kind::OneOf(choices) if !choices.contains(&value.trim()) => {
                Err(format!("Invalid value '{value}' for config {label}. Valid values are: {}", choices.join(", ")))
            }
            Kind::Whole(_) | Kind::OneOf(_) => Ok(()),
        }
    }

    /// Where a value that counts is from.
    fn origin(&self, variable: &str) -> String {
        match &self.path {
            Some(path) if !self.variables.contains_key(variable) => path.display().to_string(),
            _ => format!("env: {variable}"),
        }
    }
}

/// `3`, and `3.0` as well.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = text.trim_end_matches('0').strip_suffix('.').filter(|whole| !whole.is_empty());
    whole.unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn what_ansible_refuses_is_refused_in_its_words() {
        let refused = |variables: &[(&str, &str)], file: &str| settings(variables, file).check().unwrap_err();
        assert_eq!(
            refused(&[("ANSIBLE_FORKS", "x")], ""),
            "Config 'DEFAULT_FORKS' from 'env: ANSIBLE_FORKS' has an invalid value: Invalid value provided for 'integer': 'x'"
        );
        assert_eq!(
            refused(&[], "[defaults]\nmax_diff_size = 1.5\n"),
            "Config 'MAX_FILE_SIZE_FOR_DIFF' from '/cfg/ansible.cfg' has an invalid value: Invalid value provided for 'int': '1.5'"
        );
        assert_eq!(
            refused(&[("ANSIBLE_GATHERING", "Smart")], ""),
            "Invalid value 'Smart' for config 'DEFAULT_GATHERING'. Valid values are: implicit, explicit, smart"
        );
        let good = [("ANSIBLE_FORKS", " 3 "), ("ANSIBLE_TIMEOUT", "10.00"), ("ANSIBLE_VERBOSITY", "-1")];
        assert_eq!(settings(&good, "[defaults]\nforks = x\n").check(), Ok(()));
    }

    #[test]
    fn whole_numbers_may_have_a_point_and_noughts_behind_it() {
        let numbers = ["3", "30", "3.0", "-1", "3.5", ".0", "x", "300."].map(whole_number);
        assert_eq!(numbers, [Some(3), Some(30), Some(3), Some(-1), None, None, None, Some(300)]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        for (file, expected) in [
            ("forks = x\n", "File contains no section headers.\nfile: '<string>', line: 1\n'forks = x\\n'"),
            ("[a]\n\nforks 3\n", "Source contains parsing errors: '<string>'\n\t[line  3]: 'forks 3\\n'"),
            ("[a]\nx=1\nX: 2\n", "While reading from '<string>' [line  3]: option 'x' in section 'a' already exists"),
            ("[a]\n[a] # b\n", "While reading from '<string>' [line  2]: section 'a' already exists"),
        ] {
            let error = settings(&[], file).check().unwrap_err();
            assert_eq!(error, format!("Error reading config file (/cfg/ansible.cfg): {expected}"));
        }
    }
}
