//! A package file, on this host or on a server.

use std::path::PathBuf;
use std::time::Duration;

use rustle_protocol::Map;
use tempfile::NamedTempFile;

use super::plan::{Work, with_packages};
use super::{AptArgs, State};
use crate::http::{self, Follow, HttpArgs, Request};
use crate::module::args::parse;
use crate::module::{Doing, ModuleContext, ModuleError};
use crate::packages::dpkg::{Database, version_order};
use crate::process::Program;

/// A longer package is a mistake.
const PACKAGE_BYTES_MAX: u64 = 8 << 30;

/// For each wait for the server, as of `get_url`.
const WAIT: Duration = Duration::from_secs(10);

/// What `deb` names.
pub(super) struct File {
    path: PathBuf,
    /// It was fetched, and goes when this goes.
    _fetched: Option<NamedTempFile>,
}

impl File {
    /// Nothing if the task names none.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub(super) fn of(args: &AptArgs, cx: &ModuleContext<'_>) -> Result<Option<File>, ModuleError> {
        let Some(named) = &args.deb else { return Ok(None) };
        let named = &named.display().to_string();
        if args.state != State::Present {
            return Err(ModuleError::new("deb only supports state=present"));
        }
        if named.contains("://") {
            let fetched = fetch(named, cx)?;
            return Ok(Some(File { path: fetched.path().to_owned(), _fetched: Some(fetched) }));
        }
        let path = std::path::absolute(named).map_err(|error| ModuleError::new(format!("deb: {named}: {error}")))?;
        match std::fs::File::open(&path) {
            Ok(_) => Ok(Some(File { path, _fetched: None })),
            Err(error) => {
                let code = error.raw_os_error().unwrap_or_default();
                let why = error.to_string();
                let why = why.split(" (os error").next().unwrap_or_default();
                Err(ModuleError::new(format!(
                    "Unable to install package: E:Could not open file {named} - open ({code}: {why})"
                )))
            }
        }
    }

    /// Nothing to do if the very version is there.
    ///
    /// # Errors
    /// It is no package, or an older one than the one that is there.
    pub(super) fn work(
        &self,
        args: &AptArgs,
        database: &Database,
        cx: &ModuleContext<'_>,
    ) -> Result<Vec<Work>, ModuleError> {
        let path = self.path.display().to_string();
        let fields = Program::new("dpkg-deb").plain().arg("-f").arg(&self.path).args(["Package", "Version"]);
        let text = fields.run_checked(cx)?.stdout.text().into_owned();
        let field = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
            return Err(ModuleError::new(format!("deb: {path} names no package and version")));
        };
        let there = database.version(&name).map(|there| version_order(there, &version));
        if there.is_some_and(|order| order.is_eq()) && !args.force {
            return Ok(Vec::new());
        }
        if there.is_some_and(|order| order.is_gt()) && !args.allow_downgrade && !args.force {
            return Err(ModuleError::new("A later version is already installed"));
        }
        Ok(vec![with_packages(args, "install", vec![path])])
    }
}

/// Into a file of its own, for as long as that is needed. apt-get knows a package by the end of its name.
fn fetch(url: &str, cx: &ModuleContext<'_>) -> Result<NamedTempFile, ModuleError> {
    let args: HttpArgs = parse("apt", Map::new()).map_err(|error| ModuleError::new(error.to_string()))?;
    let request = Request {
        method: "GET",
        url,
        headers: Vec::new(),
        body: Vec::new(),
        follow: Follow::All,
        socket: None,
        timeout: WAIT,
    };
    let shown = http::presentable(url);
    let reply = http::send(&args, &request, cx)?;
    if reply.status != 200 {
        return Err(ModuleError::new(format!("Failure downloading {shown}, {}", reply.msg())));
    }
    let made = tempfile::Builder::new().prefix("rustle-").suffix(".deb").tempfile();
    let mut file = made.doing(|| "make a file for the package".to_owned())?;
    reply.copy_to(&mut file, PACKAGE_BYTES_MAX, cx)?;
    Ok(file)
}
