//! Files of the controller on their way to hosts: vaults are opened here, where their passwords are.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use rustle_agent::module::BlobRef;
use rustle_protocol::value::Map;

use super::says_yes;
use crate::dispatch::Blobs;
use crate::engine::ExecutionContext;
use crate::vault::{Vault, VaultError, is_encrypted};

/// Largest encrypted file: it is decrypted in memory.
const ENCRYPTED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How one task's files are sent. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sender {
    blobs: Blobs,
    /// `None` if encrypted files are sent as they are.
    vault: Option<Vault>,
}

impl Sender {
    /// As the task's `decrypt` says; by default what is encrypted is decrypted.
    pub(super) fn new(args: &Map, cx: &ExecutionContext<'_>) -> Sender {
        let decrypts = args.get("decrypt").is_none_or(|_| says_yes(args, "decrypt"));
        let vault = decrypts.then(|| cx.scope.vault().cloned().unwrap_or_default());
        Sender { blobs: cx.blobs.clone(), vault }
    }

    /// Sends all files as they are.
    #[cfg(test)]
    pub(super) fn plain() -> Sender {
        Sender { blobs: Blobs::default(), vault: None }
    }

    /// Registers a file to be sent. Blocks while it is read.
    ///
    /// # Errors
    /// It cannot be read or decrypted.
    pub(super) fn add(&self, path: &Path) -> Result<BlobRef, String> {
        match self.decrypted(path)? {
            Some(plain) => Ok(self.blobs.add_bytes(Bytes::from(plain))),
            None => self.blobs.add_file(path).map_err(|error| unreadable(path, &error)),
        }
    }

    /// The file's content in clear.
    ///
    /// # Errors
    /// As of [`add`](Self::add).
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        match self.decrypted(path)? {
            Some(plain) => Ok(plain),
            None => std::fs::read(path).map_err(|error| unreadable(path, &error)),
        }
    }

    /// What is in the file, if it is a vault and is to be opened.
    fn decrypted(&self, path: &Path) -> Result<Option<Vec<u8>>, String> {
        let Some(vault) = &self.vault else { return Ok(None) };
        let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mut text = Vec::new();
        let header = (&mut file).take(32).read_to_end(&mut text);
        header.map_err(|error| unreadable(path, &error))?;
        if !std::str::from_utf8(&text).is_ok_and(is_encrypted) {
            return Ok(None);
        }
        let rest = file.take(ENCRYPTED_BYTES_MAX).read_to_end(&mut text);
        let rest = rest.map_err(|error| unreadable(path, &error))?;
        if rest as u64 == ENCRYPTED_BYTES_MAX {
            return Err(format!("{} is encrypted and over 256 MiB: it is not decrypted in memory", path.display()));
        }
        let text = String::from_utf8(text).map_err(|_| format!("{} is no text of ansible-vault", path.display()))?;
        vault.decrypt(&text).map(Some).map_err(|error| locked(path, &error))
    }
}

fn locked(path: &Path, error: &VaultError) -> String {
    let path = path.display();
    match error {
        VaultError::NoSecrets => format!("A vault password or secret must be specified to decrypt {path}"),
        other => format!("{other} on {path}; hint: {}", other.hint()),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{Secret, encrypt};

    fn sender(vault: Vault) -> Sender {
        Sender { blobs: Blobs::default(), vault: Some(vault) }
    }

    #[test]
    fn a_vault_is_opened_unless_the_task_wants_it_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, plain) = (dir.path().join("vault"), dir.path().join("plain"));
        std::fs::write(&vault, encrypt(b"secret\n", b"pass", None).unwrap()).unwrap();
        std::fs::write(&plain, "open\n").unwrap();
        let open = sender(Vault::new(vec![Secret::new("default", b"pass")]));
        assert_eq!(open.read(&vault).unwrap(), b"secret\n");
        assert_eq!(open.add(&vault).unwrap().id.size, 7);
        assert_eq!(open.read(&plain).unwrap(), b"open\n");
        let closed = Sender::plain().add(&vault).unwrap();
        assert_eq!(closed.id.size, vault.metadata().unwrap().len());
        let told = sender(Vault::default()).add(&vault).unwrap_err();
        assert_eq!(told, format!("A vault password or secret must be specified to decrypt {}", vault.display()));
    }
}
