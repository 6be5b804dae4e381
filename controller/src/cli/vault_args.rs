//! The command line of `rustle-exec vault`, and the options by which any command is given vault passwords.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CliError;
use super::ansible_settings::AnsibleSettings;
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
        self.sources_with(AnsibleSettings::read().vault())
    }

    fn sources_with(&self, (listed, file): (Vec<String>, Option<PathBuf>)) -> Vec<SecretSource> {
        let mut sources: Vec<SecretSource> = listed.iter().map(|id| SecretSource::of_id(id)).collect();
        sources.extend(self.vault_id.iter().map(|id| SecretSource::of_id(id)));
        sources.extend(self.vault_password_file.iter().map(|path| SecretSource::of_file(path)));
        if self.ask_vault_password {
            sources.push(SecretSource::Prompt { label: "default".to_owned() });
        }
        let nothing_given = self.vault_password_file.is_empty() && !self.ask_vault_password;
        if let Some(file) = file.filter(|_| nothing_given) {
            sources.push(SecretSource::of_file(&file));
        }
        sources
    }

    /// The passwords themselves.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub(super) fn vault(&self) -> Result<Vault, CliError> {
        fetch(&self.sources(), false).map(Vault::new)
    }

    /// As [`vault`](Self::vault), with the settings of Ansible at hand.
    pub(super) fn vault_with(&self, ansible: (Vec<String>, Option<PathBuf>)) -> Result<Vault, SecretError> {
        let secrets = self.sources_with(ansible).iter().map(|source| source.fetch(false)).collect::<Result<_, _>>()?;
        Ok(Vault::new(secrets))
    }
}

pub(super) fn fetch(sources: &[SecretSource], confirm: bool) -> Result<Vec<Secret>, CliError> {
    sources.iter().map(|source| source.fetch(confirm).map_err(|error| CliError::input(error.to_string()))).collect()
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
        /// Taken, and of no effect: the editor is started without a terminal, too
        #[arg(long)]
        skip_tty_check: bool,
    },
    /// Change an encrypted file in $EDITOR
    Edit {
        /// The file
        file: PathBuf,
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
    #[arg(long, value_name = "LABEL", env = "ANSIBLE_VAULT_ENCRYPT_IDENTITY")]
    pub encrypt_vault_id: Option<String>,
}
