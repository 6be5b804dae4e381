//! The words that Ansible has for things in a playbook.

use rustle_agent::module::args::nearest;

/// What every level may say: plays, roles, blocks, tasks.
const BASE: [&str; 24] = [
    "any_errors_fatal",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "check_mode",
    "collections",
    "connection",
    "debugger",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "module_defaults",
    "name",
    "no_log",
    "port",
    "remote_user",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "vars",
];

const PLAY: [&str; 18] = [
    "fact_path",
    "force_handlers",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "handlers",
    "hosts",
    "max_fail_percentage",
    "order",
    "post_tasks",
    "pre_tasks",
    "roles",
    "serial",
    "strategy",
    "tasks",
    "user",
    "vars_files",
    "vars_prompt",
];

const ROLE: [&str; 4] = ["role", "when", "delegate_to", "delegate_facts"];

const BLOCK: [&str; 7] = ["always", "block", "delegate_facts", "delegate_to", "notify", "rescue", "when"];

const TASK: [&str; 17] = [
    "action",
    "args",
    "async",
    "changed_when",
    "delay",
    "delegate_facts",
    "delegate_to",
    "failed_when",
    "local_action",
    "loop",
    "loop_control",
    "notify",
    "poll",
    "register",
    "retries",
    "until",
    "when",
];

/// What an `include_tasks` or `include_role` may say of itself. The rest is for what it includes, under `apply`.
const INCLUDE: [&str; 15] = [
    "action",
    "args",
    "collections",
    "debugger",
    "ignore_errors",
    "listen",
    "local_action",
    "loop_control",
    "name",
    "no_log",
    "register",
    "run_once",
    "tags",
    "timeout",
    "vars",
];

/// Whether a task that includes others while the play runs may say `keyword`, which is one of a task's.
pub(super) fn is_for_includes(keyword: &str) -> bool {
    INCLUDE.contains(&keyword) || matches!(keyword, "loop" | "when") || keyword.starts_with("with_")
}

/// What a map in a playbook is, as far as its keywords go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Noun {
    Play,
    Role,
    Block,
    Task,
    Handler,
}

impl Noun {
    /// As Ansible's messages call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Noun::Play => "Play",
            Noun::Role => "RoleInclude",
            Noun::Block => "Block",
            Noun::Task => "Task",
            Noun::Handler => "Handler",
        }
    }

    fn own(self) -> &'static [&'static str] {
        match self {
            Noun::Play => &PLAY,
            Noun::Role => &ROLE,
            Noun::Block => &BLOCK,
            Noun::Task | Noun::Handler => &TASK,
        }
    }

    /// Every keyword of it.
    pub(super) fn keywords(self) -> impl Iterator<Item = &'static str> {
        let listen = (self == Noun::Handler).then_some("listen");
        BASE.into_iter().chain(self.own().iter().copied()).chain(listen)
    }

    /// Whether `word` is one of its keywords; a task's `with_` words are, whatever follows.
    pub(super) fn has(self, word: &str) -> bool {
        let is_loop = matches!(self, Noun::Task | Noun::Handler) && word.starts_with("with_");
        is_loop || self.keywords().any(|keyword| keyword == word)
    }

    /// The keyword that `word` may have been meant to be.
    pub(super) fn nearest(self, word: &str) -> Option<String> {
        nearest(word, self.keywords()).map(|keyword| format!("did you mean `{keyword}`?"))
    }
}

/// Modules of ansible-core. One of these that is not here is known to be a module all the same.
const BUILTIN: [&str; 72] = [
    "add_host",
    "apt",
    "apt_key",
    "apt_repository",
    "assemble",
    "assert",
    "async_status",
    "blockinfile",
    "command",
    "copy",
    "cron",
    "deb822_repository",
    "debconf",
    "debug",
    "dnf",
    "dnf5",
    "dpkg_selections",
    "expect",
    "fail",
    "fetch",
    "file",
    "find",
    "gather_facts",
    "get_url",
    "getent",
    "git",
    "group",
    "group_by",
    "hostname",
    "import_playbook",
    "import_role",
    "import_tasks",
    "include_role",
    "include_tasks",
    "include_vars",
    "iptables",
    "known_hosts",
    "lineinfile",
    "meta",
    "mount_facts",
    "package",
    "package_facts",
    "pause",
    "ping",
    "pip",
    "raw",
    "reboot",
    "replace",
    "rpm_key",
    "script",
    "service",
    "service_facts",
    "set_fact",
    "set_stats",
    "setup",
    "shell",
    "slurp",
    "stat",
    "subversion",
    "systemd",
    "systemd_service",
    "sysvinit",
    "tempfile",
    "template",
    "unarchive",
    "uri",
    "user",
    "validate_argument_spec",
    "wait_for",
    "wait_for_connection",
    "yum",
    "yum_repository",
];

/// The last part of a name that means one of ansible-core's own: `copy` for `ansible.builtin.copy`.
pub(super) fn core_name(name: &str) -> Option<&str> {
    let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name);
    (!short.contains('.')).then_some(short)
}

/// Whether ansible-core has a module of this name, whether or not it is here.
pub(super) fn is_builtin(name: &str) -> bool {
    core_name(name).is_some_and(|short| BUILTIN.contains(&short))
}

/// Whether a variable of this name is warned of, as Ansible does: it is that of a keyword.
pub fn is_reserved(name: &str) -> bool {
    // Ansible says nothing of these.
    const QUIET: [&str; 3] = ["gather_subset", "user", "vars"];
    let has = |words: &[&str]| words.contains(&name);
    (has(&BASE) || has(&PLAY) || has(&BLOCK) || has(&TASK) || name == "loop_with") && !has(&QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answered by ansible-core 2.19 for all words of a playbook.
    #[test]
    fn names_that_ansible_warns_of_are_reserved_and_no_others() {
        let reserved = "action always any_errors_fatal args async become become_exe become_flags become_method become_user \
                        block changed_when check_mode collections connection debugger delay delegate_facts delegate_to \
                        diff environment fact_path failed_when force_handlers gather_facts gather_timeout handlers hosts \
                        ignore_errors ignore_unreachable local_action loop loop_control loop_with max_fail_percentage \
                        module_defaults name no_log notify order poll port post_tasks pre_tasks register remote_user \
                        rescue retries roles run_once serial strategy tags tasks throttle timeout until vars_files \
                        vars_prompt when";
        for name in reserved.split_whitespace() {
            assert!(is_reserved(name), "{name}");
        }
        let reserved = reserved.split_whitespace().count();
        let all: std::collections::BTreeSet<_> = BASE.iter().chain(&PLAY).chain(&BLOCK).chain(&TASK).collect();
        assert_eq!(all.iter().filter(|name| is_reserved(name)).count() + 1, reserved, "`loop_with` is no keyword");
        for name in ["gather_subset", "user", "vars", "role", "listen", "item", "meta", "import_playbook"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn each_kind_of_thing_has_its_keywords() {
        assert!(Noun::Play.has("serial") && !Noun::Play.has("when"));
        assert!(Noun::Task.has("with_anything") && Noun::Task.has("until") && !Noun::Task.has("listen"));
        assert!(Noun::Handler.has("listen") && Noun::Block.has("rescue") && !Noun::Block.has("register"));
        assert_eq!(Noun::Task.nearest("tagz").as_deref(), Some("did you mean `tags`?"));
    }

    #[test]
    fn core_modules_have_short_and_long_names() {
        assert!(is_builtin("ansible.legacy.copy") && is_builtin("yum_repository") && !is_builtin("a.b.copy"));
    }
}
