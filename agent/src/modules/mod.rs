//! The native modules, one file each.

mod apt;
mod assemble;
mod async_status;
mod background;
mod blockinfile;
mod command;
mod copy;
mod cron;
mod debconf;
mod dnf;
mod dpkg_selections;
mod fetch;
mod file;
mod find;
mod get_url;
mod getent;
mod group;
mod hostname;
mod known_hosts;
mod lineinfile;
mod package;
mod package_facts;
mod ping;
mod program;
mod python;
mod raw;
mod replace;
mod script;
mod service;
mod service_facts;
mod setup;
mod shell;
mod slurp;
mod stat;
mod systemd;
mod tempfile;
mod unarchive;
mod uri;
mod user;
mod wait_for;

use crate::module::AnyModule;

/// Every native module, sorted by name.
pub static MODULES: &[&dyn AnyModule] = &[
    &apt::Apt,
    &assemble::Assemble,
    &async_status::AsyncStatus,
    &blockinfile::BlockInFile,
    &command::Command,
    &copy::Copy,
    &cron::Cron,
    &debconf::Debconf,
    &dnf::Dnf,
    &dpkg_selections::DpkgSelections,
    &file::File,
    &find::Find,
    &get_url::GetUrl,
    &getent::Getent,
    &group::Group,
    &hostname::Hostname,
    &known_hosts::KnownHosts,
    &lineinfile::LineInFile,
    &package::Package,
    &package_facts::PackageFacts,
    &ping::Ping,
    &raw::Raw,
    &replace::Replace,
    &script::Script,
    &service::Service,
    &service_facts::ServiceFacts,
    &setup::Setup,
    &shell::Shell,
    &slurp::Slurp,
    &stat::Stat,
    &systemd::Systemd,
    &tempfile::Tempfile,
    &unarchive::Unarchive,
    &uri::Uri,
    &user::User,
    &wait_for::WaitFor,
    &background::Background,
    &fetch::Fetch,
    &program::Program,
    &python::Python,
];

/// The module of this name: `copy`, `ansible.builtin.copy` and `ansible.legacy.copy` are one. Those of other collections
/// have only their whole name.
pub fn find(name: &str) -> Option<&'static dyn AnyModule> {
    let short = name.strip_prefix("ansible.builtin.").or_else(|| name.strip_prefix("ansible.legacy.")).unwrap_or(name);
    let is_it = |module: &dyn AnyModule| match module.name().strip_prefix("ansible.builtin.") {
        Some(own) => own == short || module.aliases().contains(&short),
        None => module.name() == name,
    };
    MODULES.iter().copied().find(|module| is_it(*module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_without_repeats() {
        assert!(MODULES.windows(2).all(|pair| pair[0].name() < pair[1].name()));
    }

    #[test]
    fn short_and_qualified_names_find_the_same_module() {
        for name in ["ping", "ansible.builtin.ping", "ansible.legacy.ping"] {
            assert_eq!(find(name).unwrap().name(), "ansible.builtin.ping");
        }
        assert_eq!(find("rustle.builtin.program").unwrap().name(), "rustle.builtin.program");
        assert!(find("program").is_none() && find("ansible.builtin.program").is_none());
        assert!(find("other.collection.ping").is_none() && find("pingg").is_none());
    }
}
