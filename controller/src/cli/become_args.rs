//! Whom tasks run as, and with what password: the options, Ansible's settings, and what they come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use rustle_protocol::Password;
use rustle_protocol::message::BecomeMethod;
use rustle_protocol::password::PasswordError;

use super::ansible_settings::AnsibleSettings;
use crate::engine::BecomeSettings;
use crate::plan::{Keyword, RunAs};
use crate::prompt;
use crate::template::Authored;
use crate::vault::{SecretError, SecretSource};

/// `become` from the command line.
#[derive(Clone, Debug, Default, Args)]
pub struct BecomeArgs {
    /// Run tasks as another user
    #[arg(short = 'b', long)]
    pub r#become: bool,

    /// The user that `-b` means [default: root]
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,

    /// How `-b` becomes it: sudo, su, runuser, direct [default: sudo]
    #[arg(long, value_name = "METHOD")]
    pub become_method: Option<String>,

    /// Ask for the password that sudo or su wants
    #[arg(short = 'K', long, alias = "ask-become-password", conflicts_with = "become_password_file")]
    pub ask_become_pass: bool,

    /// File with the password that sudo or su wants; one that is executable prints it
    #[arg(long, alias = "become-pass-file", value_name = "FILE")]
    pub become_password_file: Option<PathBuf>,
}

/// A password that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BecomePasswordError {
    #[error("The password file {} was not found", .0.display())]
    Missing(PathBuf),
    #[error("Empty password was provided from file ({})", .0.display())]
    Empty(PathBuf),
    #[error("{0}")]
    Source(#[from] SecretError),
    #[error("cannot ask for the password to become another user: {0}")]
    Ask(std::io::Error),
    #[error("the password to become another user: {0}")]
    Text(#[from] PasswordError),
    #[error("the password to become another user is no text: it is not UTF-8")]
    Utf8,
}

impl BecomeArgs {
    /// `-b` is for tasks that do not say it themselves; the user and the method are heeded by those that do, too.
    ///
    /// # Errors
    /// A method that there is not.
    pub(super) fn run_as(&self, ansible: &AnsibleSettings) -> Result<Option<RunAs>, String> {
        let method = self.become_method.clone().or_else(|| ansible.become_method());
        let run_as = RunAs {
            wanted: (self.r#become || ansible.always_becomes()).then_some(Keyword::Is(true)),
            user: self.become_user.clone().map(Authored::literal),
            method: method.map(Authored::literal),
            ..RunAs::default()
        };
        run_as.check()?;
        Ok((run_as != RunAs::default()).then_some(run_as))
    }

    /// What Ansible's variables and `ansible.cfg` say of each method.
    ///
    /// # Errors
    /// A password that is none.
    pub(super) fn settings(
        ansible: &AnsibleSettings,
    ) -> Result<BTreeMap<&'static str, BecomeSettings>, BecomePasswordError> {
        let of = |method: BecomeMethod| {
            let name = method.as_str();
            let settings = BecomeSettings {
                user: ansible.of_method(name, "USER", Some("become_user"), "user"),
                flags: ansible.of_method(name, "FLAGS", Some("become_flags"), "flags"),
                exe: ansible.of_method(name, "EXE", Some("become_exe"), "executable"),
                password: ansible.of_method(name, "PASS", None, "password").map(Password::new).transpose()?,
                chdir: ansible.of_method(name, "CHDIR", None, "chdir"),
                prompts: ansible.su_prompts(),
            };
            Ok((name, settings))
        };
        BecomeMethod::ALL.into_iter().map(of).collect()
    }

    /// Asks or reads. Nothing if nobody wants it.
    ///
    /// # Errors
    /// There is none to be had, or it is none.
    pub(super) fn password(&self, ansible: &AnsibleSettings) -> Result<Option<Password>, BecomePasswordError> {
        let (asks, file) = ansible.become_password();
        let file = self.become_password_file.clone().or(file.filter(|_| !self.ask_become_pass));
        if let Some(file) = file {
            let secret = SecretSource::of_file(&file, "become").fetch(false).map_err(|error| match error {
                SecretError::Missing(path) => BecomePasswordError::Missing(path),
                SecretError::EmptyFile(path) => BecomePasswordError::Empty(path),
                other => other.into(),
            })?;
            let text = std::str::from_utf8(secret.password()).map_err(|_| BecomePasswordError::Utf8)?;
            return Ok(Some(Password::new(text.to_owned())?));
        }
        if !(self.ask_become_pass || asks) {
            return Ok(None);
        }
        let text = prompt::secret("BECOME password: ").map_err(BecomePasswordError::Ask)?;
        Ok(Some(Password::new(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(content: &[u8]) -> Result<Option<Password>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, content).unwrap();
        let given = BecomeArgs { become_password_file: Some(file), ..BecomeArgs::default() };
        given.password(&AnsibleSettings::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_holds_the_password_on_a_line() {
        assert_eq!(from_file(b"open sesame\n").unwrap().unwrap().as_str(), "open sesame");
        assert!(from_file(b"\n").unwrap_err().starts_with("Empty password was provided from file"));
        assert!(
            from_file(b"two\nlines\n")
                .unwrap_err()
                .ends_with("one line without control characters, and this one is not")
        );
        assert!(from_file(b"\xff\n").unwrap_err().ends_with("not UTF-8"));
        assert_eq!(BecomeArgs::default().password(&AnsibleSettings::default()).unwrap(), None);
    }

    #[test]
    fn a_method_that_there_is_not_is_an_error() {
        let given = |method: &str| BecomeArgs { become_method: Some(method.to_owned()), ..BecomeArgs::default() };
        assert!(given("pbrun").run_as(&AnsibleSettings::default()).unwrap_err().contains("not `pbrun`"));
        let su = given("su").run_as(&AnsibleSettings::default()).unwrap().unwrap();
        assert_eq!((su.wanted, su.method), (None, Some(Authored::literal("su"))));
        assert_eq!(BecomeArgs::default().run_as(&AnsibleSettings::default()), Ok(None));
    }
}
