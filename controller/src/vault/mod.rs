//! Text encrypted with `ansible-vault`, versions 1.1 and 1.2: reading it with the passwords of a run, and making it.
//!
//! The envelope is Ansible's: a header line, then hexadecimal text of salt, authentication code and ciphertext. The
//! cipher is AES-256 in counter mode, authenticated by HMAC-SHA-256, both keys from the password by PBKDF2.

mod cipher;
mod desk;
mod envelope;
mod secrets;

pub use desk::Desk;
pub use envelope::{HEADER, is_encrypted};
pub use secrets::{Secret, SecretError, SecretSource};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cipher::Keys;
use envelope::Envelope;

/// Why a text cannot be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("Attempting to decrypt but no vault secrets found.")]
    NoSecrets,
    #[error("Decryption failed (no vault secrets were found that could decrypt).")]
    NoneFits,
    #[error("not text of ansible-vault: {0}")]
    Format(&'static str),
    #[error("encrypted in a way that is not known here: {0}")]
    Unknown(String),
}

/// The label of a password that has no other, and of text that names none.
pub(crate) const LABEL: &str = "default";

impl VaultError {
    /// What the operator can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            VaultError::NoSecrets => "give the password with --vault-password-file, --vault-id or --ask-vault-pass",
            VaultError::NoneFits => "none of the passwords given fits; `--vault-id LABEL@FILE` adds another",
            VaultError::Format(_) | VaultError::Unknown(_) => {
                "`rustle-exec vault view FILE` tells whether it can be read"
            }
        }
    }
}

/// The passwords of a run. Cheap to clone. Derived keys are kept: each costs 10,000 rounds of a hash.
#[derive(Clone, Default)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    secrets: Vec<Secret>,
    /// Text is opened with the passwords of its own label alone.
    by_label: bool,
    keys: Mutex<HashMap<(usize, Vec<u8>), Keys>>,
}

impl Vault {
    pub fn new(secrets: Vec<Secret>) -> Vault {
        Vault::matching(secrets, false)
    }

    /// As [`new`](Self::new); `by_label`: each opens text of its own label alone, and what has none is `default`'s.
    pub fn matching(secrets: Vec<Secret>, by_label: bool) -> Vault {
        Vault { inner: Arc::new(Inner { secrets, by_label, keys: Mutex::default() }) }
    }

    pub fn secrets(&self) -> &[Secret] {
        &self.inner.secrets
    }

    /// The plain content of an encrypted text. A secret whose label is the text's is tried first, then the others.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn decrypt(&self, text: &str) -> Result<Vec<u8>, VaultError> {
        self.decrypt_with(text).map(|(plain, _)| plain)
    }

    /// As [`Vault::decrypt`], with the label the text had.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn decrypt_with(&self, text: &str) -> Result<(Vec<u8>, Option<String>), VaultError> {
        let envelope = Envelope::parse(text)?;
        if self.inner.secrets.is_empty() {
            return Err(VaultError::NoSecrets);
        }
        let label = envelope.label.as_deref().unwrap_or(LABEL);
        let fits = |at: &usize| label == self.inner.secrets[*at].label();
        let all = 0..self.inner.secrets.len();
        let (first, others): (Vec<usize>, Vec<usize>) = all.partition(fits);
        let others = others.into_iter().filter(|_| !self.inner.by_label);
        for at in first.into_iter().chain(others) {
            if let Some(plain) = self.keys(at, &envelope.salt).open(&envelope.ciphertext, &envelope.code) {
                return Ok((plain, envelope.label));
            }
        }
        Err(VaultError::NoneFits)
    }

    fn keys(&self, at: usize, salt: &[u8]) -> Keys {
        let key = (at, salt.to_owned());
        let mut keys = self.inner.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(key).or_insert_with(|| Keys::derive(self.inner.secrets[at].password(), salt)).clone()
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("secrets", &self.inner.secrets.len()).finish_non_exhaustive()
    }
}

/// `plain`, encrypted under `password`. With a label the envelope is of version 1.2, else of 1.1.
///
/// # Errors
/// If the system gives no random numbers.
pub fn encrypt(plain: &[u8], password: &[u8], label: Option<&str>) -> Result<String, std::io::Error> {
    let mut salt = vec![0; cipher::SALT_BYTES];
    fill_random(&mut salt)?;
    Ok(encrypt_with_salt(plain, password, label, salt))
}

/// As [`encrypt`], with a salt that the author chose, so that the same text comes out each time.
pub fn encrypt_with_salt(plain: &[u8], password: &[u8], label: Option<&str>, salt: Vec<u8>) -> String {
    let (ciphertext, code) = Keys::derive(password, &salt).seal(plain);
    Envelope { label: label.map(str::to_owned), salt, code, ciphertext }.to_string()
}

fn fill_random(bytes: &mut [u8]) -> Result<(), std::io::Error> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vault(passwords: &[(&str, &str)]) -> Vault {
        Vault::new(passwords.iter().map(|(label, password)| Secret::new(label, password.as_bytes())).collect())
    }

    /// Made by `ansible-vault encrypt_string` of ansible-core 2.19 with the password `secret`.
    const BY_ANSIBLE: &str = include_str!("by_ansible_vault.txt");

    #[test]
    fn what_ansible_vault_has_encrypted_is_read() {
        assert_eq!(vault(&[("default", "secret")]).decrypt(BY_ANSIBLE).unwrap(), b"hunter2 \xc3\xa9");
    }

    #[test]
    fn by_label_a_password_opens_what_has_its_label_alone() {
        let of = |label| Vault::matching(vec![Secret::new(label, b"pw")], true);
        let (named, plain) = (encrypt(b"x", b"pw", Some("dev")).unwrap(), encrypt(b"x", b"pw", None).unwrap());
        assert_eq!(of("dev").decrypt(&named).unwrap(), b"x");
        assert_eq!(of("prod").decrypt(&named), Err(VaultError::NoneFits));
        assert_eq!(of("default").decrypt(&plain).unwrap(), b"x");
        assert_eq!(of("dev").decrypt(&plain), Err(VaultError::NoneFits));
    }

    #[test]
    fn what_was_encrypted_is_decrypted_by_any_of_the_passwords() {
        let text = encrypt(b"plain", b"two", Some("dev")).unwrap();
        assert!(text.starts_with("$ANSIBLE_VAULT;1.2;AES256;dev\n"));
        let (plain, label) = vault(&[("x", "one"), ("y", "two")]).decrypt_with(&text).unwrap();
        assert_eq!((plain.as_slice(), label.as_deref()), (&b"plain"[..], Some("dev")));
        assert_eq!(vault(&[("x", "one")]).decrypt(&text), Err(VaultError::NoneFits));
        assert_eq!(vault(&[]).decrypt(&text), Err(VaultError::NoSecrets));
    }

    #[test]
    fn a_changed_text_is_refused() {
        let text = encrypt(b"plain", b"one", None).unwrap();
        assert!(text.starts_with("$ANSIBLE_VAULT;1.1;AES256\n"));
        let last = text.trim_end().len() - 1;
        let mut changed = text.into_bytes();
        changed[last] = if changed[last] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(vault(&[("default", "one")]).decrypt(&changed).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_makes_it_panic(text in "(\\$ANSIBLE_VAULT;1.1;AES256\n)?[0-9a-f\n]{0,200}") {
            let _ = vault(&[("default", "x")]).decrypt(&text);
        }
    }
}
