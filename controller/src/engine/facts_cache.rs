//! `--facts-cache`: facts kept between runs, one file for each host, in the place and form of Ansible's `jsonfile` cache: each
//! reads what the other has kept.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustle_protocol::value::Map;
use rustle_protocol::{HostName, Value};
use serde_json::json;

/// The largest file that is read back: facts take some 50 KiB, and with what Ansible notes of each value some 200 KiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Stands in the names of the files, before the host's: the form of what is in them.
const FORM: &str = "s1_";

/// The file's one entry: the facts, as text of JSON.
const PAYLOAD: &str = "__payload__";

/// In what Ansible notes of a value: the type of the value, and the value itself.
const TYPE: &str = "__ansible_type";
const VALUE: &str = "value";

/// Where facts are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsCacheSettings {
    pub folder: PathBuf,
    /// What the name of each file in there begins with.
    pub prefix: String,
    /// Facts that were kept longer ago are not read; none for any age.
    pub age_max: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct FactsCache(FactsCacheSettings);

impl FactsCache {
    pub(super) fn new(settings: FactsCacheSettings) -> FactsCache {
        FactsCache(settings)
    }

    /// # Errors
    /// The folder or the file cannot be written.
    pub(super) fn store(&self, host: &HostName, facts: &Map) -> io::Result<()> {
        let folder = &self.0.folder;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, &json!({ PAYLOAD: serde_json::to_string(facts)? }))?;
        file.flush()?;
        file.persist(self.path(host)).map_err(|error| error.error)?;
        Ok(())
    }

    /// # Errors
    /// The file is there and cannot be read, or is not what was stored.
    pub(super) fn load(&self, host: &HostName) -> io::Result<Option<Map>> {
        let path = self.path(host);
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if meta.len() > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} is too large", path.display())));
        }
        // A file of the future is a new one.
        let age = SystemTime::now().duration_since(meta.modified()?).unwrap_or_default();
        if self.0.age_max.is_some_and(|age_max| age > age_max) {
            return Ok(None);
        }
        let file: Map = serde_json::from_slice(&fs::read(path)?)?;
        let Some(Value::String(payload)) = file.get(PAYLOAD) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("there is no `{PAYLOAD}` in it")));
        };
        let facts: Map = serde_json::from_str(payload)?;
        Ok(Some(facts.into_iter().map(|(name, value)| (name, without_notes(value))).collect()))
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
        self.0.folder.join(format!("{}{FORM}{host}", self.0.prefix))
    }
}

/// The value without what Ansible notes of it: where it came from, say.
fn without_notes(value: Value) -> Value {
    match value {
        Value::List(items) => items.into_iter().map(without_notes).collect(),
        Value::Map(mut map) => {
            let is_noted = matches!(map.get(TYPE), Some(Value::String(_)));
            match is_noted.then(|| map.shift_remove(VALUE)).flatten() {
                Some(noted) => without_notes(noted),
                None => Value::Map(map.into_iter().map(|(name, value)| (name, without_notes(value))).collect()),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: PathBuf, age_max: Option<Duration>) -> FactsCache {
        FactsCache::new(FactsCacheSettings { folder, prefix: "our-".to_owned(), age_max })
    }

    #[test]
    fn facts_come_back_as_they_were_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path().join("facts"), None);
        let host: HostName = "web1".parse().unwrap();
        assert_eq!(cache.load(&host).unwrap(), None);
        let facts: Map =
            [("ansible_system".to_owned(), "Linux".into()), ("value".to_owned(), Value::List(vec![1.into()]))].into();
        cache.store(&host, &facts).unwrap();
        assert_eq!(cache.load(&host).unwrap(), Some(facts));
        cache.forget(&host).unwrap();
        assert_eq!(cache.load(&host).unwrap(), None);
        cache.forget(&host).unwrap();
    }

    #[test]
    fn what_ansible_notes_of_values_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let payload = r#"{"system": "Linux", "list": {"value": [{"value": {"value": 1}, "tags": [], "__ansible_type": "_AnsibleTaggedDict"}],
            "tags": [{"path": "/site.yml", "__ansible_type": "Origin"}], "__ansible_type": "_AnsibleTaggedList"}}"#;
        fs::write(dir.path().join("our-s1_web1"), json!({ "__payload__": payload }).to_string()).unwrap();
        let facts = cache(dir.path().to_owned(), None).load(&"web1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(serde_json::to_value(facts).unwrap(), json!({"system": "Linux", "list": [{"value": 1}]}));
    }

    #[test]
    fn facts_that_are_too_old_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let host: HostName = "web1".parse().unwrap();
        let cache = cache(dir.path().to_owned(), Some(Duration::from_secs(60)));
        cache.store(&host, &Map::new()).unwrap();
        assert!(cache.load(&host).unwrap().is_some());
        let kept = fs::File::options().write(true).open(dir.path().join("our-s1_web1")).unwrap();
        kept.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
        assert_eq!(cache.load(&host).unwrap(), None);
    }
}
