//! Which of two places that give a variable wins: every pair of Ansible's levels, each by a variable of its own.

use super::Case;

/// Ansible's levels, but for the first, which is the command line's options (`-u`) and gives no variable. By the documentation
/// each wins over those before it.
const LEVELS: &[Level] = &[
    Level::RoleDefaults,
    Level::InventoryFileGroup,
    Level::InventoryGroupVarsAll,
    Level::PlaybookGroupVarsAll,
    Level::InventoryGroupVars,
    Level::PlaybookGroupVars,
    Level::InventoryFileHost,
    Level::InventoryHostVars,
    Level::PlaybookHostVars,
    Level::Facts,
    Level::PlayVars,
    Level::VarsPrompt,
    Level::VarsFiles,
    Level::RoleVars,
    Level::BlockVars,
    Level::TaskVars,
    Level::IncludeVars,
    Level::SetFact,
    Level::RoleParams,
    Level::IncludeParams,
    Level::ExtraVars,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    RoleDefaults,
    InventoryFileGroup,
    InventoryGroupVarsAll,
    PlaybookGroupVarsAll,
    InventoryGroupVars,
    PlaybookGroupVars,
    InventoryFileHost,
    InventoryHostVars,
    PlaybookHostVars,
    Facts,
    PlayVars,
    VarsPrompt,
    VarsFiles,
    RoleVars,
    BlockVars,
    TaskVars,
    IncludeVars,
    SetFact,
    RoleParams,
    IncludeParams,
    ExtraVars,
}

/// A case for each level: that one against each of those after it.
pub(super) fn cases() -> Vec<Case> {
    let pairs = LEVELS.iter().enumerate().map(|(at, lower)| Pairs { lower: *lower, higher: &LEVELS[at + 1..] });
    pairs.filter(|pairs| !pairs.higher.is_empty()).map(|pairs| pairs.case()).collect()
}

/// One variable for each of `higher`, given there and at `lower`.
struct Pairs {
    lower: Level,
    higher: &'static [Level],
}

impl Pairs {
    fn case(&self) -> Case {
        let dict = |level| format!("{{ {} }}", self.given(level, |name| format!("{name}: {level:?}")).join(", "));
        let ini = |level| self.given(level, |name| format!("{name}={level:?}"));
        let prompts = self.given(Level::VarsPrompt, |name| format!("{{ name: {name}, default: VarsPrompt }}"));
        let params = self.given(Level::RoleParams, |name| format!("{name}: RoleParams"));
        let facts = self.given(Level::Facts, |name| format!("\"{name}\": \"Facts\""));
        let shown: Vec<String> =
            self.higher.iter().map(|level| format!("{level:?}: '{{{{ {} }}}}'", name(*level))).collect();

        let site = format!(
            "- hosts: one\n  gather_facts: false\n  vars: {}\n  vars_prompt: [{}]\n  vars_files: [files.yml]\n  pre_tasks:\n    \
             - known_facts:\n  roles:\n    - {{ role: r, {} }}\n",
            dict(Level::PlayVars),
            prompts.join(", "),
            params.join(", ")
        );
        let main = format!(
            "- include_vars: ../../../included.yml\n  no_log: true\n- set_fact: {}\n- include_tasks: inner.yml\n  vars: {}\n",
            dict(Level::SetFact),
            dict(Level::IncludeParams)
        );
        let inner = format!(
            "- vars: {}\n  block:\n    - name: show\n      vars: {}\n      debug: {{ msg: {{ {} }} }}\n",
            dict(Level::BlockVars),
            dict(Level::TaskVars),
            shown.join(", ")
        );
        let hosts = format!(
            "[one]\na {}\n[one:vars]\n{}\n",
            ini(Level::InventoryFileHost).join(" "),
            ini(Level::InventoryFileGroup).join("\n")
        );
        let module = format!("#!/bin/sh\n# WANT_JSON\necho '{{\"ansible_facts\": {{{}}}}}'\n", facts.join(", "));
        Case::of_playbook(format!("precedence_of_{:?}", self.lower), site)
            .with("inventory/hosts", hosts)
            .with("inventory/group_vars/all.yml", dict(Level::InventoryGroupVarsAll))
            .with("inventory/group_vars/one.yml", dict(Level::InventoryGroupVars))
            .with("inventory/host_vars/a.yml", dict(Level::InventoryHostVars))
            .with("group_vars/all.yml", dict(Level::PlaybookGroupVarsAll))
            .with("group_vars/one.yml", dict(Level::PlaybookGroupVars))
            .with("host_vars/a.yml", dict(Level::PlaybookHostVars))
            .with("library/known_facts", module)
            .with("files.yml", dict(Level::VarsFiles))
            .with("included.yml", dict(Level::IncludeVars))
            .with("extra.yml", dict(Level::ExtraVars))
            .with("roles/r/defaults/main.yml", dict(Level::RoleDefaults))
            .with("roles/r/vars/main.yml", dict(Level::RoleVars))
            .with("roles/r/tasks/main.yml", main)
            .with("roles/r/tasks/inner.yml", inner)
            .args(["-e", "@extra.yml"])
    }

    /// What a level has to say: its variables, and one that nobody asks for, so that no place is empty.
    fn given(&self, level: Level, say: impl Fn(&str) -> String) -> Vec<String> {
        let own = self.higher.iter().filter(|higher| level == self.lower || level == **higher);
        own.map(|higher| say(&name(*higher))).chain([say("unasked")]).collect()
    }
}

fn name(higher: Level) -> String {
    format!("with_{higher:?}")
}
