//! The authority itself: a CA key in a private directory, and what can be done with it.
//!
//! Everything that changes the directory happens under an exclusive lock, and reads the index anew under it: several
//! `pki` commands at once, or several [`Authority`] values, do not lose each other's certificates.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustle_protocol::loaded_identity::{LoadError, read_key};
use rustle_protocol::private_file::{
    Existing, PrivateFileError, Readers, check_private_dir, create_private_dir, write_whole,
};
use rustle_protocol::trust::Validity;
use rustle_protocol::{FleetName, HostName, Identity, LoadedIdentity, Role};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use super::certificate::{self, Period};
use super::error::PkiError;
use super::index::{Entry, Index, Serial};

/// How long one `pki` command waits for another. Issuing a thousand identities takes a few seconds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two tries: a lock that is waited for cannot be given up after [`LOCK_WAIT_MAX`].
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A fleet's certificate authority.
pub struct Authority {
    dir: PathBuf,
    fleet: FleetName,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    not_after: DateTime<Utc>,
}

/// A certificate as it leaves the authority.
pub struct Issued {
    pub entry: Entry,
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    /// `None` if the key was made elsewhere and only a request came here.
    key: Option<KeyPair>,
}

/// Whether a name that has a good certificate may get another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reissue {
    Refuse,
    /// The old one stays good until it ends by itself or is revoked: a host must not be cut off between the making of
    /// its new certificate and its installation.
    Allow,
}

impl Authority {
    /// Makes a new authority in `dir`, which is created with mode 0700.
    ///
    /// # Errors
    /// There is one already, or the directory is not private.
    pub fn create(dir: &Path, fleet: FleetName, days: u32) -> Result<Authority, PkiError> {
        let period = Period::days(days, Utc::now())?;
        create_private_dir(dir)?;
        let _lock = lock(dir)?;
        let ca_path = dir.join("ca.pem");
        if ca_path.symlink_metadata().is_ok() {
            return Err(PkiError::AuthorityExists { dir: dir.to_owned() });
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let params = certificate::ca(&fleet, Serial::generate()?, period);
        let certificate = params.self_signed(&key)?;
        // `ca.pem` comes last: without it there is no authority, and this may be done again.
        let key_pem = key.serialize_pem();
        write_whole(&dir.join("ca-key.pem"), key_pem.as_bytes(), Readers::OwnerOnly, Existing::Replace)?;
        let index = Index::new(dir.join("index.jsonl"), fleet.clone());
        index.write()?;
        let authority = Authority {
            dir: dir.to_owned(),
            fleet,
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            not_after: period.not_after,
        };
        authority.write_revocations(&index)?;
        create_private_dir(&dir.join("issued"))?;
        write_whole(&ca_path, authority.pem.as_bytes(), Readers::Everybody, Existing::Keep)?;
        Ok(authority)
    }

    /// # Errors
    /// There is none, its directory or key is open to others, or its files do not fit each other.
    pub fn open(dir: &Path) -> Result<Authority, PkiError> {
        let ca_path = dir.join("ca.pem");
        let pem = match std::fs::read_to_string(&ca_path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PkiError::NoAuthority { dir: dir.to_owned() });
            }
            read => read.map_err(|source| PkiError::Read { path: ca_path.clone(), source })?,
        };
        check_private_dir(dir)?;
        let broken = || LoadError::Content { path: ca_path.clone(), reason: "it is not a certificate".to_owned() };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| broken())?;
        let key = KeyPair::try_from(&read_key(&dir.join("ca-key.pem"))?)?;
        let validity = Validity::of(&certificate).ok_or_else(broken)?;
        Ok(Authority {
            dir: dir.to_owned(),
            fleet: Index::read(dir.join("index.jsonl"))?.fleet,
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
            pem,
            not_after: i64::try_from(validity.not_after.as_secs())
                .ok()
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
                .ok_or_else(broken)?,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// When the CA certificate ends. TLS does not look at that date, but no certificate is made that outlives it.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// The revocation list as it is now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn crl_pem(&self) -> Result<String, PkiError> {
        let path = self.dir.join("crl.pem");
        std::fs::read_to_string(&path).map_err(|source| PkiError::Read { path, source })
    }

    /// Every certificate ever issued, oldest first.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, PkiError> {
        Ok(self.read_index()?.entries)
    }

    /// Makes a key and a certificate for each of `names`, all or none.
    ///
    /// # Errors
    /// A name that has a good certificate already, is of the other role, or is given twice.
    pub fn issue(&self, role: Role, names: &[HostName], days: u32) -> Result<Vec<Issued>, PkiError> {
        if names.is_empty() {
            return Err(PkiError::NoNames);
        }
        let keys = names
            .iter()
            .map(|name| Ok((name.clone(), KeyPair::generate_for(&rcgen::PKCS_ED25519)?)))
            .collect::<Result<Vec<_>, PkiError>>()?;
        let mut issued = self.sign_keys(role, &keys, days, Reissue::Refuse)?;
        for (issued, (_, key)) in issued.iter_mut().zip(keys) {
            issued.key = Some(key);
        }
        Ok(issued)
    }

    /// Signs the key of a request for `name`. Whatever else the request asks for is ignored.
    ///
    /// # Errors
    /// No request, one not signed by its own key, a kind of key that is not accepted; and as for [`Authority::issue`].
    pub fn sign(
        &self,
        request: &Path,
        role: Role,
        name: &HostName,
        days: u32,
        reissue: Reissue,
    ) -> Result<Issued, PkiError> {
        let pem = std::fs::read(request).map_err(|source| PkiError::Read { path: request.to_owned(), source })?;
        let key = certificate::requested_key(&pem)
            .map_err(|reason| PkiError::Request { path: request.to_owned(), reason })?;
        let mut issued = self.sign_keys(role, &[(name.clone(), key)], days, reissue)?;
        Ok(issued.remove(0))
    }

    /// A new key and certificate for a name that had one. The old certificate stays good, see [`Reissue::Allow`].
    ///
    /// # Errors
    /// A name that never had one, or whose last one was revoked: to let somebody in again is `issue`'s to do.
    pub fn renew(&self, name: &HostName, days: u32) -> Result<Issued, PkiError> {
        let index = self.read_index()?;
        let last = index.last(name).ok_or_else(|| PkiError::Unknown(name.to_string()))?;
        if last.revoked.is_some() {
            return Err(PkiError::NothingToRenew(name.to_string()));
        }
        let keys = [(name.clone(), KeyPair::generate_for(&rcgen::PKCS_ED25519)?)];
        let mut issued = self.sign_keys(last.identity.role, &keys, days, Reissue::Allow)?.remove(0);
        let [(_, key)] = keys;
        issued.key = Some(key);
        Ok(issued)
    }

    fn sign_keys<K: PublicKeyData>(
        &self,
        role: Role,
        keys: &[(HostName, K)],
        days: u32,
        reissue: Reissue,
    ) -> Result<Vec<Issued>, PkiError> {
        let now = Utc::now();
        if self.not_after < now {
            return Err(PkiError::CaExpired(self.not_after));
        }
        let mut period = Period::days(days, now)?;
        period.not_after = period.not_after.min(self.not_after);

        let _lock = lock(&self.dir)?;
        let mut index = self.read_index()?;
        for (position, (name, _)) in keys.iter().enumerate() {
            self.may_issue(&index, role, name, reissue, now)?;
            if keys[..position].iter().any(|(earlier, _)| earlier == name) {
                return Err(PkiError::NamedTwice(name.to_string()));
            }
        }
        let issued = keys
            .iter()
            .map(|(name, key)| {
                let identity = Identity { fleet: self.fleet.clone(), role, name: name.clone() };
                self.certify(identity, key, period)
            })
            .collect::<Result<Vec<_>, _>>()?;
        index.entries.extend(issued.iter().map(|issued| issued.entry.clone()));
        index.write()?;
        Ok(issued)
    }

    fn may_issue(
        &self,
        index: &Index,
        role: Role,
        name: &HostName,
        reissue: Reissue,
        now: DateTime<Utc>,
    ) -> Result<(), PkiError> {
        match (index.last(name), index.good(name, now)) {
            (Some(last), _) if last.identity.role != role => {
                Err(PkiError::OtherRole { identity: last.identity.clone() })
            }
            (_, Some(good)) if reissue == Reissue::Refuse => {
                Err(PkiError::StillValid { identity: good.identity.clone(), not_after: good.not_after })
            }
            _ => Ok(()),
        }
    }

    fn certify(&self, identity: Identity, key: &impl PublicKeyData, period: Period) -> Result<Issued, PkiError> {
        let serial = Serial::generate()?;
        let signed = certificate::leaf(&identity, serial, period)?.signed_by(key, &self.issuer)?;
        let digest = Sha256::digest(signed.der());
        let entry = Entry {
            serial,
            identity,
            fingerprint: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: period.not_before,
            not_after: period.not_after,
            revoked: None,
        };
        Ok(Issued { entry, certificate_pem: signed.pem(), certificate: signed.der().clone(), key: None })
    }

    /// Revokes every good certificate of a name, or the one of a serial number, and writes the new list, also into the
    /// folders under `issued/`. Returns what is revoked by it, also what was before: doing it again does no harm.
    ///
    /// # Errors
    /// Nothing was ever issued under that name or number; or files cannot be written.
    pub fn revoke(&self, name_or_serial: &str) -> Result<Vec<Entry>, PkiError> {
        let _lock = lock(&self.dir)?;
        let now = Utc::now();
        let mut index = self.read_index()?;
        let serial = name_or_serial.parse::<Serial>().ok();
        let meant = |entry: &Entry| entry.identity.name.as_str() == name_or_serial || Some(entry.serial) == serial;
        let mut revoked = Vec::new();
        for entry in index.entries.iter_mut().filter(|entry| meant(entry)) {
            entry.revoked.get_or_insert(now);
            revoked.push(entry.clone());
        }
        if revoked.is_empty() {
            return Err(PkiError::Unknown(name_or_serial.to_owned()));
        }
        // The index first: a list that knows less than the last one would be taken for an older one.
        index.write()?;
        self.write_revocations(&index)?;
        Ok(revoked)
    }

    fn write_revocations(&self, index: &Index) -> Result<(), PkiError> {
        let list = certificate::revocation_list(&index.entries, Utc::now(), self.not_after);
        let pem = list.signed_by(&self.issuer)?.pem()?;
        write_whole(&self.dir.join("crl.pem"), pem.as_bytes(), Readers::Everybody, Existing::Replace)?;
        let Ok(folders) = std::fs::read_dir(self.dir.join("issued")) else { return Ok(()) };
        for folder in folders.flatten() {
            let path = folder.path().join("crl.pem");
            if path.is_file() {
                write_whole(&path, pem.as_bytes(), Readers::Everybody, Existing::Replace)?;
            }
        }
        Ok(())
    }

    /// Where the identity of `name` is put unless told otherwise.
    pub fn folder(&self, name: &HostName) -> PathBuf {
        self.dir.join("issued").join(name.as_str())
    }

    /// Writes an identity ready to be carried into `folder`: `cert.pem`, `ca.pem`, `crl.pem`, and `key.pem` if the key
    /// was made here. In folders of the authority's own an older key is replaced, elsewhere it is not.
    ///
    /// # Errors
    /// The folder is open to others or has another key.
    pub fn write_folder(&self, issued: &Issued, folder: &Path) -> Result<(), PkiError> {
        match &issued.key {
            Some(_) => create_private_dir(folder)?,
            None => std::fs::create_dir_all(folder)
                .map_err(|source| PrivateFileError::Write { path: folder.to_owned(), source })?,
        }
        if let Some(key) = &issued.key {
            let existing = match folder.starts_with(self.dir.join("issued")) {
                true => Existing::Replace,
                false => Existing::Keep,
            };
            write_whole(&folder.join("key.pem"), key.serialize_pem().as_bytes(), Readers::OwnerOnly, existing)?;
        }
        let public = |name: &str, pem: &str| {
            write_whole(&folder.join(name), pem.as_bytes(), Readers::Everybody, Existing::Replace)
        };
        public("ca.pem", &self.pem)?;
        public("crl.pem", &self.crl_pem()?)?;
        Ok(public("cert.pem", &issued.certificate_pem)?)
    }

    /// The identity as a program would load it from its folder, without a folder.
    ///
    /// # Errors
    /// The key was made elsewhere, or the revocation list cannot be read.
    pub fn load(&self, issued: &Issued) -> Result<LoadedIdentity, PkiError> {
        let key = issued.key.as_ref().ok_or_else(|| LoadError::Key("it was not made here".to_owned()))?;
        let path = self.dir.join("crl.pem");
        let list = CertificateRevocationListDer::from_pem_slice(self.crl_pem()?.as_bytes())
            .map_err(|error| LoadError::Content { path, reason: error.to_string() })?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let chain = vec![issued.certificate.clone()];
        Ok(LoadedIdentity::new(chain, key.into(), std::slice::from_ref(&self.certificate), vec![list])?)
    }

    fn read_index(&self) -> Result<Index, PkiError> {
        Index::read(self.dir.join("index.jsonl"))
    }
}

impl Issued {
    pub fn identity(&self) -> &Identity {
        &self.entry.identity
    }

    /// The private key in PEM form, if it was made here.
    pub fn key_pem(&self) -> Option<String> {
        self.key.as_ref().map(KeyPair::serialize_pem)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("dir", &self.dir).field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// Held until it is dropped, or the process ends in whatever way.
fn lock(dir: &Path) -> Result<File, PkiError> {
    let path = dir.join("lock");
    let failed = |source| PkiError::Read { path: path.clone(), source };
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() >= LOCK_WAIT_MAX => {
                return Err(PkiError::Busy { path, seconds: LOCK_WAIT_MAX.as_secs() });
            }
            // A lock that waits has no time-out. Bounded by `LOCK_WAIT_MAX`.
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
        }
    }
}

/// From when on a certificate counts as expiring, seen from `now`.
pub(super) fn soon(now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::days(30)
}
