//! The agent's configuration file, TOML. Every key has a default but the identity; an unknown key is an error.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::ledger::{Durability, LedgerOptions};
use crate::policy::Policy;

/// Where the agent listens if nobody says otherwise; UDP.
pub const PORT: u16 = 7443;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and UDP port. Default: every address, port 7443.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Folder with `cert.pem`, `key.pem`, `ca.pem` and, if there is one, `crl.pem`.
    pub identity: PathBuf,
    /// Folder for what the agent keeps: received files and its ledger. Default: `/var/lib/rustle-agent`.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub ledger: LedgerConfig,
    #[serde(default)]
    pub policy: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that run at once, over all controllers. Default 16.
    pub calls: u32,
    /// Received files kept for the next use, MiB. Default 1024.
    pub blob_cache_mib: u64,
    /// Seconds that running calls get to end when the agent is told to stop. Default 60.
    pub drain_s: u64,
    /// Seconds without a sign of life after which a controller is gone. Default 8.
    pub idle_s: u64,
    /// Every run holds the host for itself: another one waits or goes without it. Default false: if both runs want that.
    pub one_run: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { calls: 16, blob_cache_mib: 1024, drain_s: 60, idle_s: 8, one_run: false }
    }
}

impl Limits {
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }

    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s)
    }
}

/// `[ledger]`: the record of calls and of results that have not been fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// What a recorded result survives. Default `process`.
    pub durability: Durability,
    /// Results kept until they are fetched, MiB; beyond it the oldest are cut to how their calls came out. Default 64.
    pub results_mib: u64,
    /// Days after which a result that nobody has fetched is forgotten. Default 7.
    pub days: u64,
}

impl Default for LedgerConfig {
    fn default() -> LedgerConfig {
        LedgerConfig { durability: Durability::default(), results_mib: 64, days: 7 }
    }
}

impl LedgerConfig {
    pub fn options(&self) -> LedgerOptions {
        LedgerOptions {
            durability: self.durability,
            bytes_max: self.results_mib * 1024 * 1024,
            age_max: Duration::from_secs(self.days * 24 * 3600),
        }
    }
}

fn default_listen() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, PORT).into()
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/rustle-agent")
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The message of the parser names line and column.
    #[error("{}: {message}", .path.display())]
    Parse { path: PathBuf, message: String },
    #[error("{}: {key} must be {wanted}", .path.display())]
    Value { path: PathBuf, key: &'static str, wanted: &'static str },
}

impl Config {
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key or a value out of bounds.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Config::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string() })?;
        let bad = |key, wanted| Err(ConfigError::Value { path: path.to_owned(), key, wanted });
        match &config.limits {
            Limits { calls: 0, .. } => bad("limits.calls", "at least 1"),
            Limits { calls: 1025.., .. } => bad("limits.calls", "at most 1024: each is a thread"),
            Limits { idle_s: 0..2, .. } => bad("limits.idle_s", "at least 2"),
            _ => match &config.ledger {
                LedgerConfig { results_mib: 0 | 4097.., .. } => bad("ledger.results_mib", "from 1 to 4096"),
                LedgerConfig { days: 0 | 367.., .. } => bad("ledger.days", "from 1 to 366"),
                _ => Ok(config),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("agent.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_but_the_identity_has_a_default() {
        let config = parse("identity = '/etc/rustle-agent/identity'").unwrap();
        assert_eq!((config.listen.port(), config.limits.calls), (PORT, 16));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = parse("identity = '/x'\n[limits]\ncals = 3").unwrap_err();
        assert!(error.contains("cals") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn a_value_out_of_bounds_is_named() {
        let error = parse("identity = '/x'\n[limits]\ncalls = 0").unwrap_err();
        assert_eq!(error, "agent.toml: limits.calls must be at least 1");
    }
}
