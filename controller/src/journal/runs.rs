//! The folders of runs, one for each, below one folder of the operator's.

use std::io;
use std::path::{Path, PathBuf};

use rustle_protocol::RunId;
use rustle_protocol::private_file::{Existing, PrivateFileError, Readers, create_private_dir, write_whole};

use super::frame::MAGIC;

/// Runs that are over are kept up to this many; the oldest go first when a new one begins.
pub const RUNS_KEPT_MAX: usize = 200;

/// Ids shown where a prefix means several.
const IDS_SHOWN: usize = 5;

/// Where runs are kept.
#[derive(Clone, Debug)]
pub struct Runs {
    dir: PathBuf,
}

/// One run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    pub id: RunId,
    pub path: PathBuf,
}

/// The folder of runs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot use the folder of runs")]
    Private(#[from] PrivateFileError),
    #[error("cannot use {}", .path.display())]
    Use { path: PathBuf, source: io::Error },
}

#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("no run is kept in {}", .dir.display())]
    NoneKept { dir: PathBuf },
    #[error("there is no run `{given}` in {}", .dir.display())]
    None { given: String, dir: PathBuf },
    #[error("`{given}` may mean {} runs: {}", .count, .ids.join(", "))]
    Several { given: String, count: usize, ids: Vec<String> },
    #[error(transparent)]
    State(#[from] StateError),
}

impl Runs {
    /// `state` is the folder of everything the controller remembers.
    pub fn new(state: &Path) -> Runs {
        Runs { dir: state.join("runs") }
    }

    /// The id of a new run: it is the last one listed, whatever the clock has done since the others began.
    pub fn fresh_id(&self) -> RunId {
        let newest = self.list().ok().and_then(|folders| folders.last().map(|folder| folder.id));
        newest.map_or_else(RunId::generate, RunId::generate_after)
    }

    /// Makes the folder of a new run, for its owner alone.
    ///
    /// # Errors
    /// The folder cannot be made, or others can get into it.
    pub fn create(&self, id: RunId) -> Result<RunFolder, StateError> {
        create_private_dir(&self.dir)?;
        let folder = self.folder(id);
        create_private_dir(&folder.path)?;
        Ok(folder)
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    /// As reading the folder; one that is not there has no runs.
    pub fn list(&self) -> Result<Vec<RunFolder>, StateError> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::Use { path: self.dir.clone(), source }),
        };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RunId>().ok());
        let mut folders: Vec<_> = ids.map(|id| self.folder(id)).collect();
        // Ids begin with the time, and each is later than those it found: see `fresh_id`.
        folders.sort_by_key(|folder| folder.id);
        Ok(folders)
    }

    /// The run whose id begins with `given`, in full or not; `last` is the one that began last.
    ///
    /// # Errors
    /// None does, or several do.
    pub fn find(&self, given: &str) -> Result<RunFolder, FindError> {
        let mut found = self.list()?;
        if found.is_empty() {
            return Err(FindError::NoneKept { dir: self.dir.clone() });
        }
        if given == "last" {
            found.drain(..found.len().saturating_sub(1));
        } else {
            let wanted = given.to_ascii_lowercase();
            found.retain(|folder| !wanted.is_empty() && folder.id.to_string().starts_with(&wanted));
        }
        match (found.len(), found.pop()) {
            (1, Some(folder)) => Ok(folder),
            (_, None) => Err(FindError::None { given: given.to_owned(), dir: self.dir.clone() }),
            (count, Some(last)) => {
                found.push(last);
                let ids = found.iter().rev().take(IDS_SHOWN).map(|folder| folder.id.to_string()).collect();
                Err(FindError::Several { given: given.to_owned(), count, ids })
            }
        }
    }

    fn folder(&self, id: RunId) -> RunFolder {
        RunFolder { id, path: self.dir.join(id.to_string()) }
    }
}

impl RunFolder {
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The plan, if it was read from a pipe.
    pub fn plan_copy(&self) -> PathBuf {
        self.path.join("plan")
    }

    pub fn socket_name() -> &'static str {
        "control"
    }

    /// Makes an empty journal. It is there whole or not at all.
    ///
    /// # Errors
    /// As writing.
    pub fn create_journal(&self) -> Result<(), StateError> {
        Ok(write_whole(&self.journal(), MAGIC, Readers::OwnerOnly, Existing::Keep)?)
    }

    /// # Errors
    /// As writing.
    pub fn keep_plan(&self, plan: &[u8]) -> Result<(), StateError> {
        Ok(write_whole(&self.plan_copy(), plan, Readers::OwnerOnly, Existing::Replace)?)
    }

    /// # Errors
    /// As removing.
    pub fn remove(&self) -> Result<(), StateError> {
        std::fs::remove_dir_all(&self.path).map_err(|source| StateError::Use { path: self.path.clone(), source })
    }
}
