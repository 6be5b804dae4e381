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
    /// Asked for on the terminal, by its label or as the only one.
    Prompt { label: String, is_named: bool },
    /// A file; one that is executable is run and prints it.
    File { label: String, path: PathBuf },
}

/// A password that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("The vault password file {} was not found", .0.display())]
    Missing(PathBuf),
    #[error("the password file {} cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("Invalid vault password was provided from file ({})", .0.display())]
    EmptyFile(PathBuf),
    #[error("Vault password script {} {what}", .path.display())]
    Script { path: PathBuf, what: String },
    #[error("{0}")]
    Empty(String),
    #[error("cannot ask for the vault password: {0}")]
    Ask(std::io::Error),
}

impl SecretSource {
    /// What `--vault-id` says: `LABEL@SOURCE` or a source alone; the source is `prompt`, `prompt_ask_vault_pass` or a file.
    pub fn of_id(text: &str, default: &str) -> SecretSource {
        let (label, source) = match text.split_once('@') {
            Some((label, source)) if !label.is_empty() => (label, source),
            Some((_, source)) => (default, source),
            None => (default, text),
        };
        let label = label.to_owned();
        match source {
            "prompt" => SecretSource::Prompt { label, is_named: true },
            "prompt_ask_vault_pass" => SecretSource::Prompt { label, is_named: false },
            path => SecretSource::File { label, path: expanded(path) },
        }
    }

    /// `--ask-vault-pass`.
    pub fn asked(label: &str) -> SecretSource {
        SecretSource::Prompt { label: label.to_owned(), is_named: false }
    }

    /// `--vault-password-file`.
    pub fn of_file(path: &Path, label: &str) -> SecretSource {
        SecretSource::File { label: label.to_owned(), path: expanded(&path.to_string_lossy()) }
    }

    /// Reads, runs or asks. `confirm` asks twice, for a password that something is about to be encrypted with.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn fetch(&self, confirm: bool) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Prompt { label, is_named } => prompt(label, *is_named, confirm),
            SecretSource::File { label, path } => {
                let is_program =
                    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
                let bytes = if is_program { run(path, label)? } else { read(path)? };
                let trimmed = trim(&bytes);
                if trimmed.is_empty() {
                    return Err(SecretError::EmptyFile(absolute(path)));
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

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => SecretError::Missing(absolute(path)),
        _ => SecretError::Read { path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A script whose name ends with `-client` is told which label is wanted.
fn run(path: &Path, label: &str) -> Result<Vec<u8>, SecretError> {
    let mut command = Command::new(absolute(path));
    if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client")) {
        command.args(["--vault-id", label]);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| SecretError::Read { path: path.to_owned(), source })?;
    if !output.status.success() {
        let what = match output.status.code() {
            Some(code) => format!("returned non-zero ({code})"),
            None => format!("ended with {}", output.status),
        };
        return Err(SecretError::Script { path: absolute(path), what });
    }
    Ok(output.stdout)
}

/// Asks for a password, in Ansible's words; twice for one that something is about to be encrypted with.
fn prompt(label: &str, is_named: bool, is_new: bool) -> Result<Secret, SecretError> {
    let (question, again) = questions(label, is_named, is_new);
    let first = ask(&question)?;
    let password = first.trim();
    if password.is_empty() {
        return Err(SecretError::Empty("Invalid vault password was provided".to_owned()));
    }
    if let Some(again) = again
        && ask(&again)?.trim() != password
    {
        return Err(SecretError::Empty("Passwords do not match".to_owned()));
    }
    Ok(Secret::new(label, password.as_bytes()))
}

fn questions(label: &str, is_named: bool, is_new: bool) -> (String, Option<String>) {
    match (is_named, is_new) {
        (false, false) => ("Vault password: ".to_owned(), None),
        (true, false) => (format!("Vault password ({label}): "), None),
        (false, true) => ("New Vault password: ".to_owned(), Some("Confirm New Vault password: ".to_owned())),
        (true, true) => {
            (format!("New vault password ({label}): "), Some(format!("Confirm new vault password ({label}): ")))
        }
    }
}

/// Asks on the terminal without echo; without a terminal, reads a line of standard input.
fn ask(question: &str) -> Result<String, SecretError> {
    crate::prompt::secret(question).map_err(SecretError::Ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_asked_for_by_its_label_if_it_has_one_and_twice_if_it_is_new() {
        assert_eq!(questions("default", false, false), ("Vault password: ".to_owned(), None));
        assert_eq!(questions("dev", true, false), ("Vault password (dev): ".to_owned(), None));
        let new = ("New Vault password: ".to_owned(), Some("Confirm New Vault password: ".to_owned()));
        assert_eq!(questions("default", false, true), new);
        let new = ("New vault password (dev): ".to_owned(), Some("Confirm new vault password (dev): ".to_owned()));
        assert_eq!(questions("dev", true, true), new);
    }

    #[test]
    fn where_a_password_is_to_be_had_is_said_by_an_id() {
        let asked = |label: &str, is_named| SecretSource::Prompt { label: label.to_owned(), is_named };
        assert_eq!(SecretSource::of_id("dev@prompt", "default"), asked("dev", true));
        assert_eq!(SecretSource::of_id("prompt_ask_vault_pass", "x"), SecretSource::asked("x"));
        let file = |label: &str| SecretSource::File { label: label.to_owned(), path: "pw".into() };
        assert_eq!((SecretSource::of_id("pw", "x"), SecretSource::of_id("dev@pw", "x")), (file("x"), file("dev")));
    }
}
