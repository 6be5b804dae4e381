//! The command line of `rustle-exec vault`, and the options by which any command is given vault passwords.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CliError;
use super::ansible_settings::{AnsibleSettings, VaultSettings};
use crate::vault::{Secret, SecretError, SecretSource, Vault};

/// Where vault passwords come from.
#[derive(Clone, Debug, Default, Args)]
pub struct VaultOptions {
    /// A vault password with a label: LABEL@FILE or LABEL@prompt (repeatable)
    #[arg(long, value_name = "ID")]
    pub vault_id: Vec<String>,

    /// File with a vault password; one that is executable prints it (repeatable)
    #[arg(long, alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,

    /// Ask for the vault password
    #[arg(short = 'J', long, alias = "ask-vault-pass")]
    pub ask_vault_password: bool,
}

impl VaultOptions {
    /// What the options name, and what Ansible's settings name.
    pub(super) fn sources(&self) -> Vec<SecretSource> {
        self.sources_with(&AnsibleSettings::read().vault())
    }

    fn sources_with(&self, ansible: &VaultSettings) -> Vec<SecretSource> {
        let label = ansible.label();
        let ids = ansible.identities.iter().chain(&self.vault_id);
        let mut sources: Vec<SecretSource> = ids.map(|id| SecretSource::of_id(id, label)).collect();
        sources.extend(self.vault_password_file.iter().map(|path| SecretSource::of_file(path, label)));
        let nothing_given = self.vault_password_file.is_empty() && !self.ask_vault_password;
        if self.ask_vault_password || (ansible.asks && nothing_given) {
            sources.push(SecretSource::asked(label));
        }
        // Beside what is given, as in Ansible: what is encrypted under either is opened.
        sources.extend(ansible.password_file.iter().map(|file| SecretSource::of_file(file, label)));
        sources
    }

    /// The passwords themselves.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub(super) fn vault(&self) -> Result<Vault, CliError> {
        fetch(&self.sources(), false).map(opening)
    }

    /// As [`vault`](Self::vault), with the settings of Ansible at hand.
    pub(super) fn vault_with(&self, ansible: &VaultSettings) -> Result<Vault, SecretError> {
        let secrets = self.sources_with(ansible).iter().map(|source| source.fetch(false)).collect::<Result<_, _>>()?;
        Ok(Vault::matching(secrets, ansible.by_label))
    }
}

/// These passwords, to open what they may open.
pub(super) fn opening(secrets: Vec<Secret>) -> Vault {
    Vault::matching(secrets, AnsibleSettings::read().vault().by_label)
}

pub(super) fn fetch(sources: &[SecretSource], confirm: bool) -> Result<Vec<Secret>, CliError> {
    sources.iter().map(|source| source.fetch(confirm).map_err(|error| CliError::own(error.to_string()))).collect()
}

/// `rustle-exec vault`
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Encrypt files in place, or standard input
    Encrypt {
        /// The files
        files: Vec<PathBuf>,
        #[command(flatten)]
        with: EncryptOptions,
        /// Write there instead; `-` is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Decrypt files in place, or standard input
    Decrypt {
        /// The files
        files: Vec<PathBuf>,
        #[command(flatten)]
        vault: VaultOptions,
        /// Write there instead; `-` is standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what encrypted files hold
    View {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        vault: VaultOptions,
    },
    /// Encrypt strings, for pasting into YAML
    #[command(name = "encrypt_string", alias = "encrypt-string")]
    EncryptString {
        /// The strings
        strings: Vec<String>,
        #[command(flatten)]
        with: EncryptOptions,
        /// The variable's name (repeatable, one for each string)
        #[arg(short, long, value_name = "NAME")]
        name: Vec<String>,
        /// Read the string from standard input, for a variable of this name
        #[arg(long, value_name = "NAME")]
        stdin_name: Option<String>,
        /// Ask for the string
        #[arg(short, long)]
        prompt: bool,
        /// Show the string while it is typed
        #[arg(long)]
        show_input: bool,
        /// Write there instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Encrypt files under another password
    Rekey {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        with: EncryptOptions,
        /// The new password, with a label
        #[arg(long, value_name = "ID")]
        new_vault_id: Option<String>,
        /// File with the new password
        #[arg(long, alias = "new-vault-pass-file", value_name = "FILE")]
        new_vault_password_file: Option<PathBuf>,
    },
    /// Write a new encrypted file in $EDITOR
    Create {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        with: EncryptOptions,
        /// Start the editor without a terminal, too
        #[arg(long)]
        skip_tty_check: bool,
    },
    /// Change encrypted files in $EDITOR, one after the other
    Edit {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        with: EncryptOptions,
    },
}

/// Passwords, and which of them to encrypt with.
#[derive(Clone, Debug, Args)]
pub struct EncryptOptions {
    #[command(flatten)]
    pub vault: VaultOptions,

    /// The label of the password to encrypt with, if there are several
    #[arg(long, value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}
