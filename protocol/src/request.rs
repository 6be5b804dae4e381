//! A certificate request, made where the key is used: the key never leaves, only `request.pem` travels to the CA.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::identity::Role;
use crate::ids::HostName;
use crate::private_file::{Existing, PrivateFileError, Readers, create_private_dir, write_whole};

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no key can be made: {0}")]
    Key(String),
    #[error(transparent)]
    File(#[from] PrivateFileError),
}

/// Makes a new key in `dir/key.pem` and a request for it in `dir/request.pem`, whose path is returned. What the request
/// says beside the key is for human eyes: the CA decides role and name.
///
/// # Errors
/// A key is there already, or `dir` is not private or cannot be written to.
pub fn make(dir: &Path, role: Role, name: &HostName) -> Result<PathBuf, RequestError> {
    create_private_dir(dir)?;
    let key_error = |error: rcgen::Error| RequestError::Key(error.to_string());
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(key_error)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(role, name);
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(key_error)?;
    write_whole(&dir.join("key.pem"), key.serialize_pem().as_bytes(), Readers::OwnerOnly, Existing::Keep)?;
    let path = dir.join("request.pem");
    write_whole(&path, request.as_bytes(), Readers::Everybody, Existing::Replace)?;
    Ok(path)
}

/// A subject for human eyes; nothing is decided by it. X.509 gives a common name 64 characters.
pub fn subject(role: Role, name: &HostName) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationalUnitName, role.as_str());
    if name.as_str().len() <= 64 {
        subject.push(DnType::CommonName, name.as_str());
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("identity");
        let name = HostName::new("web1").unwrap();
        make(&dir, Role::Agent, &name).unwrap();
        let key = std::fs::read(dir.join("key.pem")).unwrap();
        let again = make(&dir, Role::Agent, &name).unwrap_err();
        assert!(matches!(again, RequestError::File(PrivateFileError::Exists { .. })), "{again}");
        assert_eq!(std::fs::read(dir.join("key.pem")).unwrap(), key);
    }
}
