//! What apt could install: which packages a pattern stands for, and which version one would get.

use super::{AptArgs, State};
use crate::fnmatch::fnmatch;
use crate::module::args::Names;
use crate::module::{ModuleContext, ModuleError};
use crate::packages::dpkg::{Database, Wanted, version_order};
use crate::process::Program;

/// Names of packages that apt knows, in bytes: Debian has some 2 MiB of them.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// The arguments with names in the place of patterns, where apt-get would upgrade what is there already.
///
/// # Errors
/// Nothing fits a pattern, or nothing new enough is to be had.
pub(super) fn expanded(args: &AptArgs, database: &Database, cx: &ModuleContext<'_>) -> Result<AptArgs, ModuleError> {
    let mut args = args.clone();
    if !matches!(args.state, State::Present | State::Latest) || *args.package == ["*"] {
        return Ok(args);
    }
    let mut names = Vec::new();
    for name in args.package.iter() {
        let wanted = Wanted::parse(name);
        if let Some(lowest) = wanted.at_least().filter(|_| !database.has(&wanted)) {
            let candidate = candidate(&wanted.name, cx)?;
            if candidate.is_none_or(|candidate| version_order(&candidate, lowest).is_lt()) {
                return Err(ModuleError::new(format!("no available installation candidate for {name}")));
            }
        }
        match wanted.is_pattern() {
            true => names.extend(matching(name, &wanted, cx)?),
            false => names.push(name.clone()),
        }
    }
    args.package = Names(names);
    Ok(args)
}

/// The packages that the pattern of `text` stands for, each with what `text` says of version and architecture.
fn matching(text: &str, wanted: &Wanted, cx: &ModuleContext<'_>) -> Result<Vec<String>, ModuleError> {
    let literal: String = wanted.name.chars().take_while(|c| !"*?[".contains(*c)).collect();
    let program = Program::new("apt-cache").plain().keep(NAMES_BYTES_MAX).args(["pkgnames", "--", &literal]);
    let known = program.run_checked(cx)?;
    let known = known.stdout.text();
    let mut fits: Vec<&str> = known.lines().filter(|name| fnmatch(&wanted.name, name)).collect();
    fits.sort_unstable();
    match fits.is_empty() {
        true => Err(ModuleError::new(format!("No package(s) matching '{}' available", wanted.name))),
        false => Ok(fits.into_iter().map(|name| text.replacen(&wanted.name, name, 1)).collect()),
    }
}

/// The version that apt-get would install.
fn candidate(name: &str, cx: &ModuleContext<'_>) -> Result<Option<String>, ModuleError> {
    let policy = Program::new("apt-cache").plain().args(["policy", "--", name]).run_checked(cx)?;
    let policy = policy.stdout.text();
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(candidate.filter(|version| *version != "(none)").map(str::to_owned))
}
