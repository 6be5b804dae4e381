//! A package file on this host.

use super::plan::{Work, with_packages};
use super::{AptArgs, State};
use crate::module::{ModuleContext, ModuleError};
use crate::packages::dpkg::Database;
use crate::process::Program;

/// The run of apt-get that installs the file, with what it depends on. `Some` of none if it is installed.
///
/// # Errors
/// It is no package, or no path.
pub(super) fn work(
    args: &AptArgs,
    database: &Database,
    cx: &ModuleContext<'_>,
) -> Result<Option<Vec<Work>>, ModuleError> {
    let Some(path) = &args.deb else { return Ok(None) };
    let shown = path.display().to_string();
    if shown.contains("://") {
        let msg = format!("deb: {shown} is no file on this host; fetch it first, by get_url or copy");
        return Err(ModuleError::new(msg));
    }
    if args.state != State::Present {
        return Err(ModuleError::new("deb only supports state=present"));
    }
    let path = std::path::absolute(path).map_err(|error| ModuleError::new(format!("deb: {shown}: {error}")))?;
    let fields = Program::new("dpkg-deb").plain().arg("-f").arg(&path).args(["Package", "Version"]).run_checked(cx)?;
    let text = fields.stdout.text().into_owned();
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).next()
    };
    let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
        return Err(ModuleError::new(format!("deb: {shown} names no package and version")));
    };
    if database.version(&name) == Some(&version) && !args.force {
        return Ok(Some(Vec::new()));
    }
    Ok(Some(vec![with_packages(args, "install", vec![path.display().to_string()])]))
}
