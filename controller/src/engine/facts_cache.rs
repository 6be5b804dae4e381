//! `--facts-cache`: facts kept between runs, one JSON file for each host.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustle_protocol::HostName;
use rustle_protocol::value::Map;

/// The largest file that is read back: facts take some 50 KiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct FactsCache {
    dir: PathBuf,
    /// What the name of each file begins with.
    prefix: String,
}

impl FactsCache {
    pub(super) fn new(dir: &Path, prefix: &str) -> FactsCache {
        FactsCache { dir: dir.to_owned(), prefix: prefix.to_owned() }
    }

    /// # Errors
    /// The folder or the file cannot be written.
    pub(super) fn store(&self, host: &HostName, facts: &Map) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        serde_json::to_writer(&mut file, facts)?;
        file.flush()?;
        file.persist(self.path(host)).map_err(|error| error.error)?;
        Ok(())
    }

    /// # Errors
    /// The file is there and cannot be read, or is not what was stored.
    pub(super) fn load(&self, host: &HostName) -> io::Result<Option<Map>> {
        let path = self.path(host);
        let size = match fs::metadata(&path) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if size > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} is too large", path.display())));
        }
        Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
    }

    /// # Errors
    /// The file is there and cannot be removed.
    pub(super) fn forget(&self, host: &HostName) -> io::Result<()> {
        match fs::remove_file(self.path(host)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, host: &HostName) -> PathBuf {
        self.dir.join(format!("{}{host}.json", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_were_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FactsCache::new(&dir.path().join("facts"), "");
        let host: HostName = "web1".parse().unwrap();
        assert_eq!(cache.load(&host).unwrap(), None);
        let facts: Map = [("ansible_system".to_owned(), "Linux".into())].into();
        cache.store(&host, &facts).unwrap();
        assert_eq!(cache.load(&host).unwrap(), Some(facts));
        cache.forget(&host).unwrap();
        assert_eq!(cache.load(&host).unwrap(), None);
        cache.forget(&host).unwrap();
    }
}
