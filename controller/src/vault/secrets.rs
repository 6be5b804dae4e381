//! Passwords: where they come from and what they are called.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A password file larger than this is none.
const PASSWORD_BYTES_MAX: u64 = 1 << 20;

/// A password and its label: `dev` of `--vault-id dev@FILE`.
#[derive(Clone)]
pub struct Secret {
    label: String,
    password: Vec<u8>,
}

impl Secret {
    pub fn new(label: &str, password: &[u8]) -> Secret {
        Secret { label: label.to_owned(), password: password.to_owned() }
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn password(&self) -> &[u8] {
        &self.password
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Where a password is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Asked for on the terminal.
    Prompt { label: String },
    /// A file; one that is executable is run and prints it.
    File { label: String, path: PathBuf },
}

/// A password that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the password file {} cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the password script {} {what}", .path.display())]
    Script { path: PathBuf, what: String },
    #[error("{0}")]
    Empty(String),
    #[error("cannot ask for the vault password: {0}")]
    Ask(std::io::Error),
}

impl SecretSource {
    /// What `--vault-id` says: `LABEL@SOURCE` or a source alone; the source is `prompt`, `prompt_ask_vault_pass` or a file.
    pub fn of_id(text: &str) -> SecretSource {
        let (label, source) = match text.split_once('@') {
            Some((label, source)) if !label.is_empty() => (label, source),
            Some((_, source)) => ("default", source),
            None => ("default", text),
        };
        let label = label.to_owned();
        match source {
            "prompt" | "prompt_ask_vault_pass" => SecretSource::Prompt { label },
            path => SecretSource::File { label, path: expanded(path) },
        }
    }

    /// `--vault-password-file`.
    pub fn of_file(path: &Path) -> SecretSource {
        SecretSource::File { label: "default".to_owned(), path: expanded(&path.to_string_lossy()) }
    }

    /// Reads, runs or asks. `confirm` asks twice, for a password that something is about to be encrypted with.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn fetch(&self, confirm: bool) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Prompt { label } => prompt(label, confirm),
            SecretSource::File { label, path } => {
                let is_program =
                    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
                let bytes = if is_program { run(path, label)? } else { read(path)? };
                let trimmed = trim(&bytes);
                if trimmed.is_empty() {
                    return Err(SecretError::Empty(format!(
                        "Empty password was provided from file ({})",
                        path.display()
                    )));
                }
                Ok(Secret::new(label, trimmed))
            }
        }
    }
}

fn expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A script whose name ends with `-client` is told which label is wanted.
fn run(path: &Path, label: &str) -> Result<Vec<u8>, SecretError> {
    let mut command = Command::new(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client")) {
        command.args(["--vault-id", label]);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if !output.status.success() {
        return Err(SecretError::Script { path: path.to_owned(), what: format!("ended with {}", output.status) });
    }
    Ok(output.stdout)
}

fn prompt(label: &str, confirm: bool) -> Result<Secret, SecretError> {
    let named = if label == "default" { String::new() } else { format!(" ({label})") };
    let first = ask(&format!("Vault password{named}: "))?;
    if confirm && ask(&format!("Confirm vault password{named}: "))? != first {
        return Err(SecretError::Empty("the passwords do not match".to_owned()));
    }
    match first.trim() {
        "" => Err(SecretError::Empty("Empty password was provided".to_owned())),
        password => Ok(Secret::new(label, password.as_bytes())),
    }
}

/// Asks on the terminal without echo; without a terminal, reads a line of standard input.
fn ask(question: &str) -> Result<String, SecretError> {
    crate::prompt::secret(question).map_err(SecretError::Ask)
}
