//! The configuration file, TOML. It is read from where it was named or from the user's and the system's configuration
//! folders, never from the working directory, where anybody may have put one.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::args::{ConnectionPlugin, GatherFacts, StrategyArg};
use crate::report::ProgressMode;

/// What a file may say. Every key is optional; an unknown one is an error.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    pub executor: Executor,
    pub modules: Modules,
    pub reporting: Reporting,
    pub performance: Performance,
    pub journal: JournalSection,
}

/// `[executor]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Executor {
    pub inventory: Vec<PathBuf>,
    pub identity: Option<PathBuf>,
    pub forks: Option<usize>,
    pub strategy: Option<StrategyArg>,
    pub serial: Option<String>,
    pub connection_plugin: Option<ConnectionPlugin>,
    /// Seconds.
    pub timeout: Option<u64>,
    pub retries: Option<u32>,
    /// Seconds.
    pub retry_delay: Option<f64>,
    /// Seconds.
    pub straggler_timeout: Option<u64>,
    pub continue_on_error: bool,
    pub fail_fast: bool,
    pub max_fail_percentage: Option<f64>,
    pub require_all_success: bool,
    pub gather_facts: Option<GatherFacts>,
    pub facts_cache: Option<PathBuf>,
    pub cleanup_on_failure: bool,
    pub on_disconnect: Option<rustle_protocol::message::OnDisconnect>,
    /// Seconds.
    pub disconnect_grace: Option<u64>,
    /// Seconds.
    pub reconnect_window: Option<u64>,
    pub on_busy_host: Option<crate::dispatch::session::OnBusyHost>,
}

/// `[modules]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Modules {
    pub path: Vec<PathBuf>,
}

/// `[reporting]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reporting {
    pub report_file: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    pub log_level: Option<String>,
    pub progress: Option<ProgressMode>,
    pub verbosity: Option<u8>,
}

/// `[journal]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalSection {
    /// Folder where runs are kept.
    pub state_dir: Option<PathBuf>,
    pub durability: Option<crate::journal::Durability>,
    /// Write runs down at all.
    pub enabled: Option<bool>,
}

/// `[performance]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Performance {
    /// Connections being opened at once.
    pub connects: Option<usize>,
    /// Seconds between signs of life on a quiet connection.
    pub keep_alive_s: Option<u64>,
    /// Seconds without a sign of life, or without an answer to a connect, after which an agent is gone.
    pub idle_s: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("cannot read the configuration file {}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The parser's message names line, column and key.
    #[error("{}: {message}", .path.display())]
    Parse { path: PathBuf, message: String },
}

impl ConfigFile {
    /// The file at `named`, or the first of the standard places that has one, or nothing.
    ///
    /// # Errors
    /// The file that was found cannot be read or says what it must not.
    pub fn load(named: Option<&Path>) -> Result<ConfigFile, ConfigFileError> {
        let path = match named {
            Some(path) => Some(path.to_owned()),
            None => standard_places().into_iter().find(|path| path.is_file()),
        };
        path.map_or_else(|| Ok(ConfigFile::default()), |path| read(&path))
    }
}

fn read(path: &Path) -> Result<ConfigFile, ConfigFileError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| ConfigFileError::Parse {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

fn standard_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    places.extend(user_folder().map(|folder| folder.join("config.toml")));
    places.push(PathBuf::from("/etc/rustle-exec/config.toml"));
    places
}

/// `rustle-exec` in `$XDG_CONFIG_HOME`, else in `~/.config`.
pub(super) fn user_folder() -> Option<PathBuf> {
    folder_in("XDG_CONFIG_HOME", ".config")
}

/// `rustle-exec` in `$XDG_STATE_HOME`, else in `~/.local/state`.
pub(super) fn state_folder() -> Option<PathBuf> {
    folder_in("XDG_STATE_HOME", ".local/state")
}

fn folder_in(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
        .map(|folder| folder.join("rustle-exec"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_read() {
        let text = "[executor]\nforks = 9\nstrategy = 'free'\n[modules]\npath = ['/m']\n[reporting]\nprogress = \
                    'never'\n[performance]\nidle_s = 4\n";
        let file: ConfigFile = toml::from_str(text).unwrap();
        assert_eq!(file.executor.forks, Some(9));
        assert_eq!(file.executor.strategy, Some(StrategyArg::Free));
        assert_eq!(file.performance.idle_s, Some(4));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "[executor]\nforkz = 9\n").unwrap();
        let error = ConfigFile::load(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("forkz") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        assert!(ConfigFile::load(Some(Path::new("/nonexistent/config.toml"))).is_err());
    }
}
