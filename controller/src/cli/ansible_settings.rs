//! What users of Ansible have set for its behaviour: `ANSIBLE_…` variables and `ansible.cfg`. What is not known here is
//! ignored. Our own flags, variables and file come before.

mod checks;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use checks::whole_number;

use super::CliError;
use crate::engine::FactsCacheSettings;
use crate::input::inventory::{GroupNames, Ignored, UnknownNames};
use crate::input::playbook::PlayDefaults;
use crate::report::{Answers, Colours, OutputSettings, Palette, ResultFormat};
use crate::template::{Conditionals, Untrusted};

/// A configuration file larger than this is none.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long facts in a `jsonfile` cache are good for unless its timeout says otherwise; Ansible's default.
const FACTS_CACHE_SECONDS: u64 = 86_400;

/// Ansible's own name for it, which is in no `ansible.cfg`.
const UNTRUSTED_TEMPLATES: &str = "_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR";

/// The callback plug-in that `callback_result_format` took the place of, by its names.
const YAML_CALLBACK: [&str; 2] = ["yaml", "community.general.yaml"];

/// Ansible's settings that mean something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AnsibleSettings {
    variables: HashMap<String, String>,
    /// Keys of the file as `section.key`.
    file: HashMap<String, String>,
    /// The folder of the file, for paths in it.
    folder: PathBuf,
    path: Option<PathBuf>,
    /// Why a line of the file makes no sense.
    fault: Option<String>,
    /// The file in the working directory, which anybody may have put there.
    foreign: Option<PathBuf>,
}

/// Where vault passwords come from besides the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VaultSettings {
    /// As `--vault-id`.
    pub(super) identities: Vec<String>,
    pub(super) password_file: Option<PathBuf>,
    /// The operator is asked.
    pub(super) asks: bool,
    /// What a password is called that has no name: `default` where this says nothing.
    pub(super) label: Option<String>,
    /// Text is opened with passwords of its own label alone.
    pub(super) by_label: bool,
    /// As `--encrypt-vault-id`.
    pub(super) encrypts_with: Option<String>,
}

impl VaultSettings {
    /// What a password is called that has no name.
    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(crate::vault::LABEL)
    }
}

impl AnsibleSettings {
    /// From the environment and the first file that there is: `$ANSIBLE_CONFIG`, `ansible.cfg` here, `~/.ansible.cfg`,
    /// `/etc/ansible/ansible.cfg`. The one here counts only if nobody else could have put it here.
    pub(super) fn read() -> AnsibleSettings {
        let variables: HashMap<String, String> =
            std::env::vars().filter(|(name, value)| is_ansibles(name) && !value.is_empty()).collect();
        let named = variables.get("ANSIBLE_CONFIG").map(|path| match Path::new(path) {
            folder if folder.is_dir() => folder.join("ansible.cfg"),
            file => file.to_owned(),
        });
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ansible.cfg"));
        let here = PathBuf::from("ansible.cfg");
        let (here, foreign) = if is_ours(&here) { (Some(here), None) } else { (None, Some(here)) };
        let places = [named, here, home, Some(PathBuf::from("/etc/ansible/ansible.cfg"))];
        let path = places.into_iter().flatten().find(|path| path.is_file());
        let foreign = foreign.filter(|path| path.is_file());
        let Some(path) = path else { return AnsibleSettings { variables, foreign, ..AnsibleSettings::default() } };
        let is_small = path.metadata().is_ok_and(|meta| meta.len() <= FILE_BYTES_MAX);
        let text = if is_small { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let path = std::path::absolute(&path).unwrap_or(path);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let (file, fault) = parse(&text);
        AnsibleSettings { variables, file, folder, path: Some(path), fault, foreign }
    }

    /// As [`read`](Self::read), for a command that is about to begin.
    ///
    /// # Errors
    /// Something that Ansible refuses to begin with.
    pub(super) fn read_and_check() -> Result<AnsibleSettings, CliError> {
        let settings = AnsibleSettings::read();
        settings.check().map_err(CliError::input)?;
        Ok(settings)
    }

    /// What to say of an `ansible.cfg` that was passed over: Ansible's sentence, where it is Ansible's reason.
    pub(super) fn warning(&self) -> Option<String> {
        let folder = std::path::absolute(self.foreign.as_ref()?).ok()?.parent()?.to_owned();
        let shown = folder.display();
        Some(if is_writable_by_others(&folder) {
            format!(
                "Ansible is being run in a world writable directory ({shown}), ignoring it as an ansible.cfg source."
            )
        } else {
            format!("{shown}/ansible.cfg is ignored: somebody else can have written it")
        })
    }

    /// The file that was read: `ansible_config_file`.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.path.clone()
    }

    fn get(&self, variable: &str, key: &str) -> Option<&str> {
        self.variables.get(variable).or_else(|| self.file.get(key)).map(String::as_str)
    }

    fn flag(&self, variable: &str, key: &str) -> Option<bool> {
        // Whatever is no yes is a no, as it is to Ansible.
        let given = self.get(variable, key)?.trim().to_ascii_lowercase();
        Some(matches!(given.as_str(), "1" | "true" | "yes" | "on" | "y" | "t"))
    }

    fn number(&self, variable: &str, key: &str) -> Option<u64> {
        whole_number(self.get(variable, key)?).and_then(|number| number.try_into().ok())
    }

    /// Paths; those of the file are relative to its folder.
    fn paths(&self, variable: &str, key: &str, separator: char) -> Option<Vec<PathBuf>> {
        let (text, base) = match self.variables.get(variable) {
            Some(text) => (text, None),
            None => (self.file.get(key)?, Some(self.folder.as_path())),
        };
        let paths = text.split(separator).map(str::trim).filter(|path| !path.is_empty());
        let paths = paths.map(|path| expanded(path, of_environment));
        Some(paths.map(|path| base.map_or_else(|| path.clone(), |base| base.join(&path))).collect())
    }

    pub(super) fn inventory(&self) -> Option<Vec<PathBuf>> {
        // A list of hosts has commas of its own.
        let text = self.variables.get("ANSIBLE_INVENTORY").filter(|text| text.trim_end().ends_with(','));
        text.map(|text| vec![PathBuf::from(text)])
            .or_else(|| self.paths("ANSIBLE_INVENTORY", "defaults.inventory", ','))
    }

    /// What is done about odd names of groups.
    pub(super) fn group_names(&self) -> GroupNames {
        let rule = self.get("ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS", "defaults.force_valid_group_names");
        rule.and_then(|rule| GroupNames::named(rule.trim())).unwrap_or_default()
    }

    /// Names in folders of inventories that are passed over.
    ///
    /// # Errors
    /// A pattern that is no regex, in a sentence that shows it.
    pub(super) fn ignored_sources(&self) -> Result<Ignored, String> {
        let set = |variable: &str, old: &str, new: &str| {
            // What stands in the newer place of a file comes first.
            let key = [new, old].into_iter().find(|key| self.get(variable, key).is_some())?;
            Some(self.words(variable, key))
        };
        let default = Ignored::default();
        let patterns =
            set("ANSIBLE_INVENTORY_IGNORE_REGEX", "inventory.ignore_patterns", "defaults.inventory_ignore_patterns");
        let compiled = patterns.unwrap_or_default().into_iter().map(|pattern| {
            fancy_regex::Regex::new(&pattern)
                .map_err(|error| format!("ANSIBLE_INVENTORY_IGNORE_REGEX: `{pattern}` is not a regex: {error}"))
        });
        Ok(Ignored {
            endings: set(
                "ANSIBLE_INVENTORY_IGNORE",
                "inventory.ignore_extensions",
                "defaults.inventory_ignore_extensions",
            )
            .unwrap_or(default.endings),
            patterns: compiled.collect::<Result<_, _>>()?,
        })
    }

    /// Whether an inventory that cannot be read is an error even where one is not needed: `of_many` asks for one of several
    /// sources, else for all of them.
    pub(super) fn unread_inventory_is_failure(&self, of_many: bool) -> bool {
        let any = self.flag("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "inventory.any_unparsed_is_failed");
        let all = self.flag("ANSIBLE_INVENTORY_UNPARSED_FAILED", "inventory.unparsed_is_failed");
        any == Some(true) || !of_many && all == Some(true)
    }

    /// Whether it is told that there is no inventory.
    pub(super) fn warns_of_no_inventory(&self) -> bool {
        self.flag("ANSIBLE_INVENTORY_UNPARSED_WARNING", "inventory.inventory_unparsed_warning").unwrap_or(true)
    }

    /// Whether `inventory --list` shows variables where they were given.
    pub(super) fn exports_inventory(&self) -> bool {
        self.flag("ANSIBLE_INVENTORY_EXPORT", "inventory.export").unwrap_or(false)
    }

    /// The folder of what is the user's, `~/.ansible`.
    pub(super) fn home(&self) -> PathBuf {
        let named = self.paths("ANSIBLE_HOME", "defaults.home", '\n').and_then(|paths| paths.into_iter().next());
        named.unwrap_or_else(|| expanded("~/.ansible", of_environment))
    }

    /// Paths that begin with `~/.ansible` where nobody says otherwise.
    fn below_home<const N: usize>(&self, paths: [&str; N]) -> Vec<PathBuf> {
        let home = self.home();
        let of = |path: &str| path.strip_prefix("~/.ansible/").map_or_else(|| path.into(), |rest| home.join(rest));
        paths.map(of).into()
    }

    pub(super) fn roles_path(&self) -> Vec<PathBuf> {
        let defaults = ["~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles"];
        self.paths("ANSIBLE_ROLES_PATH", "defaults.roles_path", ':').unwrap_or_else(|| self.below_home(defaults))
    }

    pub(super) fn collections_path(&self) -> Vec<PathBuf> {
        let defaults = ["~/.ansible/collections", "/usr/share/ansible/collections"];
        let names =
            [("ANSIBLE_COLLECTIONS_PATH", "collections_path"), ("ANSIBLE_COLLECTIONS_PATHS", "collections_paths")];
        let given = names.into_iter().find_map(|(name, key)| self.paths(name, &format!("defaults.{key}"), ':'));
        let paths = given.unwrap_or_else(|| self.below_home(defaults));
        // The folder named may be the inner one, too.
        paths
            .into_iter()
            .map(|path| if path.ends_with("ansible_collections") { path.join("..") } else { path })
            .collect()
    }

    pub(super) fn library(&self) -> Option<Vec<PathBuf>> {
        self.paths("ANSIBLE_LIBRARY", "defaults.library", ':')
    }

    pub(super) fn module_utils(&self) -> Vec<PathBuf> {
        self.paths("ANSIBLE_MODULE_UTILS", "defaults.module_utils", ':').unwrap_or_default()
    }

    /// Folders of plug-ins of a kind: `filter`, `lookup`, `action` and so on.
    pub(super) fn plugins(&self, kind: &str) -> Vec<PathBuf> {
        let variable = format!("ANSIBLE_{}_PLUGINS", kind.to_uppercase());
        self.paths(&variable, &format!("defaults.{kind}_plugins"), ':').unwrap_or_default()
    }

    pub(super) fn forks(&self) -> Option<usize> {
        self.number("ANSIBLE_FORKS", "defaults.forks").and_then(|forks| usize::try_from(forks).ok())
    }

    pub(super) fn task_timeout(&self) -> Option<u64> {
        self.number("ANSIBLE_TASK_TIMEOUT", "defaults.task_timeout").filter(|seconds| *seconds > 0)
    }

    /// `implicit`, `explicit` or `smart`.
    pub(super) fn gathering(&self) -> Option<&str> {
        self.get("ANSIBLE_GATHERING", "defaults.gathering").map(str::trim)
    }

    /// Whether facts are no variables of their own.
    pub(super) fn keeps_facts_apart(&self) -> bool {
        self.flag("ANSIBLE_INJECT_FACT_VARS", "defaults.inject_facts_as_vars") == Some(false)
    }

    /// Whether dicts of one name are merged over all places that give one.
    pub(super) fn merges_dicts(&self) -> bool {
        self.get("ANSIBLE_HASH_BEHAVIOUR", "defaults.hash_behaviour").is_some_and(|how| how.trim() == "merge")
    }

    /// Whether variables of a role that does not say otherwise are its own.
    pub(super) fn private_role_vars(&self) -> bool {
        self.flag("ANSIBLE_PRIVATE_ROLE_VARS", "defaults.private_role_vars").unwrap_or(false)
    }

    /// What is done about names in patterns that nobody has.
    pub(super) fn unknown_names(&self) -> UnknownNames {
        match self.get("ANSIBLE_HOST_PATTERN_MISMATCH", "inventory.host_pattern_mismatch").map(str::trim) {
            Some("error") => UnknownNames::Refuse,
            Some("ignore") => UnknownNames::Ignore,
            _ => UnknownNames::Warn,
        }
    }

    /// The module of an ad-hoc run that names none, and its arguments.
    pub(super) fn adhoc_module(&self) -> (String, String) {
        let text = |text: Option<&str>, default: &str| text.unwrap_or(default).to_owned();
        let module = self.file.get("defaults.module_name").map(String::as_str);
        (text(module, "command"), text(self.get("ANSIBLE_MODULE_ARGS", "defaults.module_args"), ""))
    }

    /// What edits text that is encrypted, if it is set: `EDITOR` comes before.
    pub(super) fn editor(&self) -> Option<String> {
        let editor = std::env::var("EDITOR").ok().filter(|editor| !editor.is_empty());
        editor.or_else(|| self.get("ANSIBLE_EDITOR", "defaults.editor").map(str::to_owned))
    }

    pub(super) fn force_handlers(&self) -> bool {
        self.flag("ANSIBLE_FORCE_HANDLERS", "defaults.force_handlers").unwrap_or(false)
    }

    pub(super) fn play_defaults(&self) -> PlayDefaults {
        PlayDefaults {
            no_log: self.flag("ANSIBLE_NO_LOG", "defaults.no_log").unwrap_or(false),
            any_errors_fatal: self.flag("ANSIBLE_ANY_ERRORS_FATAL", "defaults.any_errors_fatal").unwrap_or(false),
            strategy: self.get("ANSIBLE_STRATEGY", "defaults.strategy").map(|name| name.trim().to_owned()),
        }
    }

    pub(super) fn verbosity(&self) -> Option<u8> {
        let level = self.number("ANSIBLE_VERBOSITY", "defaults.verbosity")?;
        Some(u8::try_from(level).unwrap_or(u8::MAX))
    }

    pub(super) fn log_path(&self) -> Option<PathBuf> {
        self.paths("ANSIBLE_LOG_PATH", "defaults.log_path", '\n')?.into_iter().next()
    }

    /// How the words are that tell a run.
    pub(super) fn output(&self) -> OutputSettings {
        let flag = |name: &str| self.flag(&format!("ANSIBLE_{}", name.to_uppercase()), &format!("defaults.{name}"));
        let colours = match (flag("force_color"), flag("nocolor")) {
            (Some(true), _) => Colours::Always,
            (_, Some(true)) => Colours::Never,
            _ => Colours::Auto,
        };
        let default = OutputSettings::default();
        OutputSettings {
            answers: self.stdout_callback().and_then(Result::ok).flatten(),
            ok_hosts: flag("display_ok_hosts").unwrap_or(true),
            skipped_hosts: flag("display_skipped_hosts").unwrap_or(true),
            task_path_on_failure: flag("show_task_path_on_failure").unwrap_or(false),
            failures_to_err: flag("display_failed_stderr").unwrap_or(false),
            custom_stats: flag("show_custom_stats").unwrap_or(false),
            check_mode_markers: flag("check_mode_markers").unwrap_or(false),
            arrivals: flag("show_per_host_start").unwrap_or(false),
            colours,
            palette: self.palette(),
            diff_context: self.diff_context().unwrap_or(default.diff_context),
            result_format: self.result_format(),
            ..default
        }
    }

    fn palette(&self) -> Palette {
        Palette::with(|name| {
            self.get(&format!("ANSIBLE_COLOR_{}", name.to_uppercase()), &format!("colors.{name}")).map(str::to_owned)
        })
    }

    fn diff_context(&self) -> Option<usize> {
        self.number("ANSIBLE_DIFF_CONTEXT", "diff.context").and_then(|lines| usize::try_from(lines).ok())
    }

    fn result_format(&self) -> ResultFormat {
        let format = self.get("ANSIBLE_CALLBACK_RESULT_FORMAT", "defaults.callback_result_format");
        let callback = self.get("ANSIBLE_STDOUT_CALLBACK", "defaults.stdout_callback");
        let is_yaml =
            format.map(str::trim) == Some("yaml") || callback.is_some_and(|name| YAML_CALLBACK.contains(&name.trim()));
        let pretty = self.flag("ANSIBLE_CALLBACK_FORMAT_PRETTY", "defaults.callback_format_pretty");
        match (is_yaml, pretty) {
            (true, _) => ResultFormat::Yaml,
            (_, None) => ResultFormat::Json,
            (_, Some(true)) => ResultFormat::JsonOnManyLines,
            (_, Some(false)) => ResultFormat::JsonOnOneLine,
        }
    }

    /// What `stdout_callback` names: answers alone, the default layout, or what there is not here.
    fn stdout_callback(&self) -> Option<Result<Option<Answers>, &str>> {
        let name = self.get("ANSIBLE_STDOUT_CALLBACK", "defaults.stdout_callback")?.trim();
        Some(match builtin(name) {
            "default" => Ok(None),
            name if YAML_CALLBACK.contains(&name) => Ok(None),
            "minimal" => Ok(Some(Answers::Long)),
            "oneline" => Ok(Some(Answers::OneLine)),
            _ => Err(name),
        })
    }

    /// Callback plug-ins that are wanted, and are in Python.
    pub(super) fn other_callbacks(&self) -> Vec<String> {
        let of_stdout = self.stdout_callback().and_then(Result::err).map(str::to_owned);
        let enabled = self.words("ANSIBLE_CALLBACKS_ENABLED", "defaults.callbacks_enabled");
        let is_here = |name: &str| matches!(builtin(name), "default" | "minimal" | "oneline");
        of_stdout.into_iter().chain(enabled.into_iter().filter(|name| !is_here(name))).collect()
    }

    /// What is done about text that looks like a template and that nobody vouches for.
    pub(super) fn untrusted_templates(&self) -> Untrusted {
        self.variables.get(UNTRUSTED_TEMPLATES).and_then(|name| Untrusted::named(name.trim())).unwrap_or_default()
    }

    /// Whether hosts are this machine where nobody says otherwise.
    pub(super) fn is_local(&self) -> bool {
        self.get("ANSIBLE_TRANSPORT", "defaults.transport").is_some_and(|name| builtin(name.trim()) == "local")
    }

    /// Seconds between looks at what runs in the background.
    pub(super) fn poll_interval(&self) -> Option<u32> {
        self.number("ANSIBLE_POLL_INTERVAL", "defaults.poll_interval").and_then(|seconds| u32::try_from(seconds).ok())
    }

    /// The folder that stands for a playbook's where there is none.
    pub(super) fn playbook_dir(&self) -> Option<PathBuf> {
        self.paths("ANSIBLE_PLAYBOOK_DIR", "defaults.playbook_dir", '\n')?.into_iter().next()
    }

    /// What results of conditions are accepted.
    pub(super) fn conditionals(&self) -> Conditionals {
        let broken = self.flag("ANSIBLE_ALLOW_BROKEN_CONDITIONALS", "defaults.allow_broken_conditionals");
        if broken == Some(true) { Conditionals::Lenient } else { Conditionals::Strict }
    }

    pub(super) fn unknown_handler_ends_run(&self) -> bool {
        self.flag("ANSIBLE_ERROR_ON_MISSING_HANDLER", "defaults.error_on_missing_handler").unwrap_or(true)
    }

    pub(super) fn diff(&self) -> bool {
        self.flag("ANSIBLE_DIFF_ALWAYS", "diff.always").unwrap_or(false)
    }

    pub(super) fn always_becomes(&self) -> bool {
        self.flag("ANSIBLE_BECOME", "privilege_escalation.become").unwrap_or(false)
    }

    pub(super) fn become_method(&self) -> Option<String> {
        self.get("ANSIBLE_BECOME_METHOD", "privilege_escalation.become_method").map(str::to_owned)
    }

    /// A text about one `method` of becoming another user, `ANSIBLE_SU_USER` say. What is said of it goes before what is
    /// said of all methods, and variables go before the file.
    pub(super) fn of_method(&self, method: &str, variable: &str, general: Option<&str>, own: &str) -> Option<String> {
        let variables = [method.to_uppercase().as_str(), "BECOME"].map(|name| format!("ANSIBLE_{name}_{variable}"));
        let of_variables = variables.iter().find_map(|name| self.variables.get(name));
        let of_file = || {
            let general = || self.file.get(&format!("privilege_escalation.{}", general?));
            self.file.get(&format!("{method}_become_plugin.{own}")).or_else(general)
        };
        of_variables.or_else(of_file).cloned()
    }

    /// What su asks with.
    pub(super) fn su_prompts(&self) -> Vec<String> {
        self.words("ANSIBLE_SU_PROMPT_L10N", "su_become_plugin.localized_prompts")
    }

    /// Whether to ask for the password to become somebody, and the file that it stands in.
    pub(super) fn become_password(&self) -> (bool, Option<PathBuf>) {
        let asks = self.flag("ANSIBLE_BECOME_ASK_PASS", "privilege_escalation.become_ask_pass").unwrap_or(false);
        let file = self.paths("ANSIBLE_BECOME_PASSWORD_FILE", "defaults.become_password_file", '\n');
        (asks, file.and_then(|files| files.into_iter().next()))
    }

    fn words(&self, variable: &str, key: &str) -> Vec<String> {
        let text = self.get(variable, key).unwrap_or_default();
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn run_tags(&self) -> Vec<String> {
        self.words("ANSIBLE_RUN_TAGS", "tags.run")
    }

    pub(super) fn skip_tags(&self) -> Vec<String> {
        self.words("ANSIBLE_SKIP_TAGS", "tags.skip")
    }

    /// The cache of facts: in `folder`, which rustle-exec's own settings name, else that of a `jsonfile` cache.
    pub(super) fn facts_cache(&self, folder: Option<PathBuf>) -> Option<FactsCacheSettings> {
        let timeout = self.number("ANSIBLE_CACHE_PLUGIN_TIMEOUT", "defaults.fact_caching_timeout");
        // What rustle-exec keeps stays until it is flushed.
        let timeout = timeout.unwrap_or(if folder.is_some() { 0 } else { FACTS_CACHE_SECONDS });
        let prefix = self.get("ANSIBLE_CACHE_PLUGIN_PREFIX", "defaults.fact_caching_prefix");
        Some(FactsCacheSettings {
            folder: folder.or_else(|| self.jsonfile_folder())?,
            // It is a part of a file's name, and leads nowhere else.
            prefix: prefix.unwrap_or_default().replace('/', "_"),
            age_max: (timeout > 0).then(|| Duration::from_secs(timeout)),
        })
    }

    fn jsonfile_folder(&self) -> Option<PathBuf> {
        let plugin = self.get("ANSIBLE_CACHE_PLUGIN", "defaults.fact_caching")?;
        let is_file = plugin == "jsonfile" || plugin == "ansible.builtin.jsonfile";
        let folder = self.get("ANSIBLE_CACHE_PLUGIN_CONNECTION", "defaults.fact_caching_connection")?;
        is_file.then(|| expanded(folder, of_environment))
    }

    pub(super) fn vault(&self) -> VaultSettings {
        let file = self.paths("ANSIBLE_VAULT_PASSWORD_FILE", "defaults.vault_password_file", '\n');
        VaultSettings {
            identities: self.words("ANSIBLE_VAULT_IDENTITY_LIST", "defaults.vault_identity_list"),
            password_file: file.and_then(|files| files.into_iter().next()),
            asks: self.flag("ANSIBLE_ASK_VAULT_PASS", "defaults.ask_vault_pass").unwrap_or(false),
            label: self.get("ANSIBLE_VAULT_IDENTITY", "defaults.vault_identity").map(|label| label.trim().to_owned()),
            by_label: self.flag("ANSIBLE_VAULT_ID_MATCH", "defaults.vault_id_match").unwrap_or(false),
            encrypts_with: self
                .get("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "defaults.vault_encrypt_identity")
                .map(|label| label.trim().to_owned()),
        }
    }
}

/// A plug-in's name without the collection that is ansible-core itself.
fn builtin(name: &str) -> &str {
    ["ansible.builtin.", "ansible.legacy."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// A file in the working directory that only we or root can have put there.
fn is_ours(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    let is_safe = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.uid() == me || meta.uid() == 0) && !is_writable_by_others(path)
    };
    is_safe(Path::new(".")) && is_safe(path)
}

fn is_writable_by_others(path: &Path) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    path.metadata().is_ok_and(|meta| meta.mode() & WRITABLE_BY_OTHERS != 0)
}

/// A path without `~`, with what stands in it for variables of the environment (`$HOME`, `${HOME}`), and with the working
/// directory for `{{CWD}}`.
fn expanded(path: &str, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let path = match std::env::current_dir() {
        Ok(here) => path.replace("{{CWD}}", &here.to_string_lossy()),
        Err(_) => path.to_owned(),
    };
    let path = with_variables(&path, &variable);
    match (path.strip_prefix("~/"), variable("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Variables that there are not stay as they were written.
fn with_variables(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let plain = &after[..after.find(|c| !is_of_name(c)).unwrap_or(after.len())];
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, length) = braced.map_or((plain, plain.len()), |(name, _)| (name, name.len() + 2));
        match variable(name) {
            Some(value) => {
                out.push_str(&value);
                rest = &after[length..];
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out + rest
}

/// Whether it is one of the variables that Ansible reads.
fn is_ansibles(name: &str) -> bool {
    name.starts_with("ANSIBLE_") || name == UNTRUSTED_TEMPLATES
}

/// What a file says, and why the first line of it that makes no sense does not.
type Parsed = (HashMap<String, String>, Option<String>);

/// Sections, `key = value` or `key: value`, comments after `#` or `;`. A line that is moved in goes on with the value above.
fn parse(text: &str) -> Parsed {
    let mut reader = FileReader::default();
    let fault = text.lines().enumerate().find_map(|(index, line)| reader.line(index + 1, line).err());
    // What is set to nothing is not set.
    reader.values.retain(|_, value| !value.is_empty());
    (reader.values, fault)
}

#[derive(Default)]
struct FileReader {
    /// As `section.key`.
    values: HashMap<String, String>,
    sections: HashSet<String>,
    section: Option<String>,
    /// The key that a line which is moved in goes on with.
    last: Option<String>,
}

impl FileReader {
    /// # Errors
    /// The line makes no sense: as Python says it, whose files these are.
    fn line(&mut self, number: usize, written: &str) -> Result<(), String> {
        let line = written.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        if let (true, Some(key)) = (written.starts_with([' ', '\t']), &self.last) {
            let value = self.values.entry(key.clone()).or_default();
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(without_comment(line));
            return Ok(());
        }
        let twice = |what: &str| Err(format!("While reading from '<string>' [line {number:2}]: {what} already exists"));
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
            if !self.sections.insert(name.to_owned()) {
                return twice(&format!("section '{name}'"));
            }
            self.section = Some(name.to_owned());
            self.last = None;
            return Ok(());
        }
        let Some(section) = &self.section else {
            return Err(format!("File contains no section headers.\nfile: '<string>', line: {number}\n'{written}\\n'"));
        };
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Err(format!("Source contains parsing errors: '<string>'\n\t[line {number:2}]: '{written}\\n'"));
        };
        let name = key.trim().to_lowercase();
        let key = format!("{section}.{name}");
        if self.values.insert(key.clone(), without_comment(value).to_owned()).is_some() {
            return twice(&format!("option '{name}' in section '{section}'"));
        }
        self.last = Some(key);
        Ok(())
    }
}

fn without_comment(value: &str) -> &str {
    value.split(" ;").next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn settings(variables: &[(&str, &str)], file: &str) -> AnsibleSettings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (file, fault) = parse(file);
        let path = Some("/cfg/ansible.cfg".into());
        AnsibleSettings { variables, file, folder: "/cfg".into(), path, fault, foreign: None }
    }

    #[test]
    fn a_variable_comes_before_the_file_and_paths_of_the_file_are_relative_to_it() {
        let file = "# x\n[defaults]\nroles_path = roles:/r ; no\nforks=9\ngathering: explicit\n[tags]\nrun = a, b\n";
        let from_file = settings(&[], file);
        assert_eq!(from_file.roles_path(), [PathBuf::from("/cfg/roles"), "/r".into()]);
        assert_eq!((from_file.forks(), from_file.gathering()), (Some(9), Some("explicit")));
        assert_eq!(from_file.run_tags(), ["a", "b"]);
        let plugins =
            settings(&[("ANSIBLE_TEST_PLUGINS", "t")], "[defaults]\nfilter_plugins = f:/g\ntest_plugins = x\n");
        assert_eq!(plugins.plugins("filter"), [PathBuf::from("/cfg/f"), "/g".into()]);
        assert_eq!(plugins.plugins("test"), [PathBuf::from("t")]);
        let both = settings(&[("ANSIBLE_ROLES_PATH", "here"), ("ANSIBLE_FORCE_HANDLERS", "True")], file);
        assert_eq!(both.roles_path(), [PathBuf::from("here")]);
        assert!(both.force_handlers() && !from_file.force_handlers());
    }

    #[test]
    fn a_value_goes_on_where_lines_are_moved_in() {
        let file = "[defaults]\ncallbacks_enabled = timer,\n    dense, ; no\n\n    junit\nlog_path =\nforks = 3\n";
        let set = settings(&[], file);
        assert_eq!(set.other_callbacks(), ["timer", "dense", "junit"]);
        assert_eq!((set.log_path(), set.forks()), (None, Some(3)));
    }

    #[test]
    fn paths_have_homes_and_variables_in_them() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/me".to_owned()),
            "A" => Some("a".to_owned()),
            _ => None,
        };
        let path = |text: &str| expanded(text, variable).display().to_string();
        assert_eq!(path("~/x"), "/home/me/x");
        assert_eq!(path("$HOME/${A}b/$A.c/$"), "/home/me/ab/a.c/$");
        assert_eq!(path("$NONE/${NONE}/${A"), "$NONE/${NONE}/${A");
        assert!(path("{{CWD}}/y").starts_with('/'));
        let set = settings(&[("ANSIBLE_HOME", "/h")], "");
        assert_eq!(set.roles_path()[0], PathBuf::from("/h/roles"));
        assert_eq!(set.collections_path()[0], PathBuf::from("/h/collections"));
    }

    #[test]
    fn colours_and_context_are_set_by_ansibles_names() {
        let set = settings(
            &[("ANSIBLE_COLOR_OK", "blue"), ("ANSIBLE_DIFF_CONTEXT", "1")],
            "[colors]\nok = red\nskip = white\n",
        );
        let named = |name: &str| match name {
            "ok" => Some("blue".to_owned()),
            "skip" => Some("white".to_owned()),
            _ => None,
        };
        assert_eq!((set.output().palette, set.output().diff_context), (Palette::with(named), 1));
    }

    #[test]
    fn what_is_said_of_a_method_goes_before_what_is_said_of_all_and_variables_before_the_file() {
        let file = "[privilege_escalation]\nbecome_user = all\n[su_become_plugin]\nuser = of_su\npassword = p\n\
                    localized_prompts = Mot de passe, Kennwort\n";
        let of = |variables: &[(&str, &str)], method: &str| {
            settings(variables, file).of_method(method, "USER", Some("become_user"), "user")
        };
        assert_eq!(of(&[], "su").as_deref(), Some("of_su"));
        assert_eq!(of(&[], "sudo").as_deref(), Some("all"));
        assert_eq!(of(&[("ANSIBLE_BECOME_USER", "v")], "su").as_deref(), Some("v"));
        assert_eq!(of(&[("ANSIBLE_BECOME_USER", "v"), ("ANSIBLE_SU_USER", "w")], "su").as_deref(), Some("w"));
        let from_file = settings(&[], file);
        assert_eq!(from_file.of_method("su", "PASS", None, "password").as_deref(), Some("p"));
        assert_eq!(from_file.of_method("sudo", "PASS", None, "password"), None);
        assert_eq!(from_file.su_prompts(), ["Mot de passe", "Kennwort"]);
    }

    #[test]
    fn plays_inherit_what_is_set_for_all() {
        let file = "[defaults]\nno_log = yes\nstrategy = free\nverbosity = 2\nlog_path = run.log\n";
        let from_file = settings(&[("ANSIBLE_ANY_ERRORS_FATAL", "1")], file);
        let expected = PlayDefaults { no_log: true, any_errors_fatal: true, strategy: Some("free".to_owned()) };
        assert_eq!(from_file.play_defaults(), expected);
        assert_eq!((from_file.verbosity(), from_file.log_path()), (Some(2), Some("/cfg/run.log".into())));
        assert!(!settings(&[("ANSIBLE_NO_LOG", "0")], file).play_defaults().no_log);
    }

    #[test]
    fn what_is_no_inventory_is_said_by_endings_and_patterns() {
        let file = "[defaults]\ninventory_ignore_extensions = .a\n[inventory]\nignore_patterns = ^x, y$\n";
        let ignored = settings(&[], file).ignored_sources().unwrap();
        assert_eq!(ignored.endings, [".a"]);
        assert_eq!(ignored.patterns.len(), 2);
        let variable = settings(&[("ANSIBLE_INVENTORY_IGNORE", ".b, ~")], file).ignored_sources().unwrap();
        assert_eq!(variable.endings, [".b", "~"]);
        assert!(settings(&[], "").ignored_sources().unwrap().endings.contains(&".md".to_owned()));
        let error = settings(&[("ANSIBLE_INVENTORY_IGNORE_REGEX", "(")], "").ignored_sources().unwrap_err();
        assert!(error.starts_with("ANSIBLE_INVENTORY_IGNORE_REGEX: `(` is not a regex"), "{error}");
    }

    #[test]
    fn an_unread_inventory_is_a_failure_if_that_is_set_for_one_or_for_all() {
        let is_failure =
            |variable: &str, of_many| settings(&[(variable, "1")], "").unread_inventory_is_failure(of_many);
        assert!(is_failure("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", true));
        assert!(is_failure("ANSIBLE_INVENTORY_UNPARSED_FAILED", false));
        assert!(!is_failure("ANSIBLE_INVENTORY_UNPARSED_FAILED", true));
        assert!(!settings(&[], "").unread_inventory_is_failure(false));
    }

    #[test]
    fn what_is_told_of_a_run_is_set_as_in_ansible() {
        assert_eq!(settings(&[], "").output(), OutputSettings::default());
        let file = "[defaults]\ndisplay_ok_hosts = no\ndisplay_skipped_hosts = no\nshow_task_path_on_failure = yes\n\
                    stdout_callback = ansible.builtin.minimal\nnocolor = yes\ncallbacks_enabled = timer, minimal\n";
        let set = settings(&[("ANSIBLE_DISPLAY_SKIPPED_HOSTS", "1")], file);
        let expected = OutputSettings {
            answers: Some(Answers::Long),
            ok_hosts: false,
            task_path_on_failure: true,
            colours: Colours::Never,
            ..OutputSettings::default()
        };
        assert_eq!(set.output(), expected);
        assert_eq!(set.other_callbacks(), ["timer"]);
        let set =
            settings(&[("ANSIBLE_STDOUT_CALLBACK", "community.general.yaml"), ("ANSIBLE_FORCE_COLOR", "1")], file);
        assert_eq!((set.output().answers, set.output().colours), (None, Colours::Always));
        assert_eq!(set.output().result_format, ResultFormat::Yaml, "what that callback was for");
        assert_eq!(set.other_callbacks(), ["timer"]);
        assert_eq!(settings(&[("ANSIBLE_STDOUT_CALLBACK", "dense")], "").other_callbacks(), ["dense"]);
        let format = |file: &str| settings(&[], &format!("[defaults]\n{file}")).output().result_format;
        assert_eq!(format("callback_result_format = yaml\n"), ResultFormat::Yaml);
        assert_eq!(format("callback_format_pretty = yes\n"), ResultFormat::JsonOnManyLines);
        assert_eq!(format("callback_format_pretty = no\n"), ResultFormat::JsonOnOneLine);
    }

    #[test]
    fn an_inventory_may_be_a_list_of_hosts() {
        assert_eq!(settings(&[("ANSIBLE_INVENTORY", "a,b,")], "").inventory(), Some(vec!["a,b,".into()]));
        assert_eq!(settings(&[("ANSIBLE_INVENTORY", "a,b")], "").inventory(), Some(vec!["a".into(), "b".into()]));
        assert_eq!(settings(&[], "").inventory(), None);
    }
}
