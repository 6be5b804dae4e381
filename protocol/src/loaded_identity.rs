//! An identity with what proves it: certificate, key, CA and revocation list, read from files or made in memory.
//!
//! A key that others could read or replace is no proof, so its file's owner and mode are checked each time it is read, on
//! the opened file and not on its path.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;

use crate::identity::{Identity, IdentityError, identity_of};
use crate::tls::provider;
use crate::trust::{Expected, PeerRefused, RevocationsRefused, Trust, TrustError, Validity};

/// Largest file read here. A revocation list of 100,000 certificates has about 4 MiB.
pub const IDENTITY_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Who we are, how we prove it, and whom we believe.
#[derive(Clone)]
pub struct LoadedIdentity {
    identity: Identity,
    validity: Validity,
    certified_key: Arc<CertifiedKey>,
    trust: Trust,
}

/// Where the parts of an identity are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Our certificate, followed by intermediate ones if there are any. PEM.
    pub certificate: PathBuf,
    /// Its private key. PEM; mode 0600 or tighter, owned by us or root.
    pub key: PathBuf,
    /// The fleet's CA certificate; more than one while a CA is being replaced. PEM.
    pub ca: PathBuf,
    /// The revocation lists. May be missing: then nothing has been revoked yet. PEM.
    pub revocations: PathBuf,
}

impl IdentityFiles {
    /// `cert.pem`, `key.pem`, `ca.pem` and `crl.pem` in `dir`, as `rustle-exec pki issue` writes them.
    pub fn in_dir(dir: &Path) -> IdentityFiles {
        IdentityFiles {
            certificate: dir.join("cert.pem"),
            key: dir.join("key.pem"),
            ca: dir.join("ca.pem"),
            revocations: dir.join("crl.pem"),
        }
    }
}

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is not a regular file", .path.display())]
    NotAFile { path: PathBuf },
    #[error("`{}` has more than {IDENTITY_FILE_BYTES_MAX} bytes", .path.display())]
    TooLarge { path: PathBuf },
    #[error("`{}` cannot be used: {reason}", .path.display())]
    Content { path: PathBuf, reason: String },
    #[error("key file `{}` has mode {mode:04o}: others can get at it; it must be 0600 or tighter (run: chmod 600 {})", .path.display(), .path.display())]
    KeyMode { path: PathBuf, mode: u32 },
    #[error("key file `{}` belongs to user {owner}; it must belong to the user that runs this program ({us}) or to root (run: chown {us} {})", .path.display(), .path.display())]
    KeyOwner { path: PathBuf, owner: u32, us: u32 },
    #[error("directory `{}` of the key file has mode {mode:04o}: others can replace the key; it must be 0755 or tighter, best 0700 (run: chmod 700 {})", .path.display(), .path.display())]
    DirMode { path: PathBuf, mode: u32 },
    #[error("directory `{}` of the key file belongs to user {owner}; it must belong to the user that runs this program ({us}) or to root (run: chown {us} {})", .path.display(), .path.display())]
    DirOwner { path: PathBuf, owner: u32, us: u32 },
    #[error("the certificate names no identity")]
    Identity(#[source] IdentityError),
    #[error("the private key does not belong to the certificate, or is of a kind that is not supported: {0}")]
    Key(String),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl LoadedIdentity {
    /// Reads and checks all files. A certificate that is out of its time still loads, since a clock can be wrong for a
    /// while after a start: ask [`LoadedIdentity::problem_at`].
    ///
    /// # Errors
    /// With the file, what is wrong with it, and for owners and modes the command that mends it.
    pub fn load(files: &IdentityFiles) -> Result<LoadedIdentity, LoadError> {
        let key = read_key(&files.key)?;
        let chain = pem_items::<CertificateDer<'static>>(&files.certificate, "certificate")?;
        let ca = pem_items::<CertificateDer<'static>>(&files.ca, "CA certificate")?;
        let revocations =
            match pem_items::<CertificateRevocationListDer<'static>>(&files.revocations, "revocation list") {
                Err(LoadError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
                read => read?,
            };
        LoadedIdentity::new(chain, key, &ca, revocations)
    }

    /// # Errors
    /// Parts that cannot be read or do not fit each other.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        ca: &[CertificateDer<'_>],
        revocations: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<LoadedIdentity, LoadError> {
        let unreadable = || LoadError::Identity(IdentityError::Certificate("it cannot be parsed".to_owned()));
        let leaf = chain.first().ok_or_else(unreadable)?;
        let identity = identity_of(leaf).map_err(LoadError::Identity)?;
        let validity = Validity::of(leaf).ok_or_else(unreadable)?;
        let trust = Trust::new(identity.fleet.clone(), ca, revocations)?;
        let certified_key =
            CertifiedKey::from_der(chain, key, provider()).map_err(|error| LoadError::Key(error.to_string()))?;
        Ok(LoadedIdentity { identity, validity, certified_key: Arc::new(certified_key), trust })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// From when to when our certificate is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Our certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(crate) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// Why a peer with the same CA would refuse us at `now`, if it would: another CA, out of its time, revoked.
    pub fn problem_at(&self, now: UnixTime) -> Option<PeerRefused> {
        let expected = match self.identity.role {
            crate::Role::Controller => Expected::Controller,
            crate::Role::Agent => Expected::Agent(self.identity.name.clone()),
        };
        self.trust.verify(self.chain(), &expected, now).err()
    }

    /// This identity with a revocation list that a peer or a file brought, or `None` if the list revokes nothing new.
    ///
    /// # Errors
    /// A list that is not our CA's, cannot be read, or is older than ours.
    pub fn with_revocations(
        &self,
        list: CertificateRevocationListDer<'static>,
    ) -> Result<Option<LoadedIdentity>, RevocationsRefused> {
        let trust = self.trust.with_revocations(list, self.chain())?;
        Ok(trust.map(|trust| LoadedIdentity { trust, ..self.clone() }))
    }
}

impl fmt::Debug for LoadedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedIdentity").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Reads a private key, refusing a file that others could read or replace.
///
/// # Errors
/// See [`LoadError`]; never with any of the file's content.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    let bytes = read_file(path, check_key_file)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| content(path, no_pem(&error, "private key")))
}

/// All items of one kind in a PEM file, at least one.
///
/// # Errors
/// A file that cannot be read, has none of them, or has something broken in it.
fn pem_items<T: PemObject>(path: &Path, kind: &str) -> Result<Vec<T>, LoadError> {
    let bytes = read_file(path, |_, _| Ok(()))?;
    let items: Vec<T> =
        T::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| content(path, no_pem(&error, kind)))?;
    match items.is_empty() {
        true => Err(content(path, format!("there is no {kind} in PEM form in it"))),
        false => Ok(items),
    }
}

fn no_pem(error: &rustls::pki_types::pem::Error, kind: &str) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!("there is no {kind} in PEM form in it"),
        // The error's own text may quote the file.
        _ => format!("the PEM form of the {kind} in it is broken"),
    }
}

fn content(path: &Path, reason: String) -> LoadError {
    LoadError::Content { path: path.to_owned(), reason }
}

fn read_file(path: &Path, check: impl FnOnce(&Path, &File) -> Result<(), LoadError>) -> Result<Vec<u8>, LoadError> {
    let read_error = |source| LoadError::Read { path: path.to_owned(), source };
    let file = open(path).map_err(read_error)?;
    if !file.metadata().map_err(read_error)?.is_file() {
        return Err(LoadError::NotAFile { path: path.to_owned() });
    }
    check(path, &file)?;
    let mut bytes = Vec::new();
    file.take(IDENTITY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read_error)?;
    match bytes.len() as u64 > IDENTITY_FILE_BYTES_MAX {
        true => Err(LoadError::TooLarge { path: path.to_owned() }),
        false => Ok(bytes),
    }
}

/// Without waiting for a writer if the path is a named pipe.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn check_key_file(path: &Path, file: &File) -> Result<(), LoadError> {
    use std::os::unix::fs::MetadataExt;
    let read_error = |source| LoadError::Read { path: path.to_owned(), source };
    let us = rustix::process::geteuid().as_raw();
    let trusted = |owner| owner == us || owner == 0;

    let metadata = file.metadata().map_err(read_error)?;
    if !trusted(metadata.uid()) {
        return Err(LoadError::KeyOwner { path: path.to_owned(), owner: metadata.uid(), us });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(LoadError::KeyMode { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }

    let real = std::fs::canonicalize(path).map_err(read_error)?;
    let dir = real.parent().unwrap_or(Path::new("/")).to_owned();
    let metadata = std::fs::metadata(&dir).map_err(read_error)?;
    if !trusted(metadata.uid()) {
        return Err(LoadError::DirOwner { path: dir, owner: metadata.uid(), us });
    }
    match metadata.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(LoadError::DirMode { path: dir, mode: metadata.mode() & 0o7777 }),
    }
}

#[cfg(not(unix))]
fn check_key_file(_path: &Path, _file: &File) -> Result<(), LoadError> {
    Ok(())
}
