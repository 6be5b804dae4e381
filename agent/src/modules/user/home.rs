//! The home directory of a user who has none: what `useradd -m` would have made.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use super::UserArgs;
use crate::accounts::User as Entry;
use crate::module::{Doing, ModuleContext, ModuleError};

/// What a new home begins with, unless the task names another directory.
const SKELETON: &str = "/etc/skel";

/// Whether the user is to have a home directory, and there is none.
pub(super) fn is_missing(args: &UserArgs, entry: &Entry) -> bool {
    let home = Path::new(&entry.home);
    args.create_home && home.is_absolute() && !home.exists()
}

/// Makes the home directory of the skeleton's files. It becomes the user's when everything is in it, so that nobody can lay
/// links in the way meanwhile.
///
/// # Errors
/// What could not be made.
pub(super) fn create(args: &UserArgs, entry: &Entry, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let home = Path::new(&entry.home);
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
    }
    let skeleton = args.skeleton.as_deref().unwrap_or(Path::new(SKELETON));
    fs::DirBuilder::new().mode(0o700).create(home).doing(|| format!("make {}", home.display()))?;
    if skeleton.is_dir() {
        fill(skeleton, home, entry, cx)?;
    }
    let defaults = fs::read_to_string("/etc/login.defs").unwrap_or_default();
    let mode = mode(args.umask.as_deref(), &defaults);
    fs::set_permissions(home, PermissionsExt::from_mode(mode))
        .doing(|| format!("set the mode of {}", home.display()))?;
    own(home, entry)
}

fn fill(from: &Path, to: &Path, entry: &Entry, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let what = || format!("copy {} to {}", from.display(), to.display());
    for child in fs::read_dir(from).doing(what)? {
        if cx.cancel.is_cancelled() {
            return Err(ModuleError::new(format!("filling {} was cancelled", to.display())));
        }
        let child = child.doing(what)?;
        let (from, to) = (child.path(), to.join(child.file_name()));
        let kind = child.file_type().doing(what)?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from).doing(what)?, &to).doing(what)?;
        } else if kind.is_dir() {
            fs::create_dir(&to).doing(what)?;
            fill(&from, &to, entry, cx)?;
            fs::set_permissions(&to, fs::metadata(&from).doing(what)?.permissions()).doing(what)?;
        } else if kind.is_file() {
            fs::copy(&from, &to).doing(what)?;
        } else {
            // A pipe or a device is nothing to begin with.
            continue;
        }
        own(&to, entry)?;
    }
    Ok(())
}

fn own(path: &Path, entry: &Entry) -> Result<(), ModuleError> {
    lchown(path, Some(entry.uid), Some(entry.gid)).doing(|| format!("give {} to {}", path.display(), entry.name))
}

/// The task's umask, else `HOME_MODE` or `UMASK` of `login.defs`, else what everybody may read.
fn mode(umask: Option<&str>, defaults: &str) -> u32 {
    let octal = |text: &str| u32::from_str_radix(text, 8).ok();
    let setting = |name: &str| {
        let mut words = defaults.lines().map(str::split_whitespace);
        words.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()).flatten()).and_then(octal)
    };
    let of_task = umask.and_then(octal).map(|umask| 0o777 & !umask);
    let by_mode = || setting("HOME_MODE");
    let by_umask = || setting("UMASK").map(|umask| 0o777 & !umask);
    of_task.or_else(by_mode).or_else(by_umask).unwrap_or(0o755)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;

    #[test]
    fn a_home_is_made_of_the_skeleton_and_given_to_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let (skeleton, home) = (dir.path().join("skel"), dir.path().join("homes/app"));
        fs::create_dir_all(skeleton.join("sub")).unwrap();
        fs::write(skeleton.join("sub/file"), "x").unwrap();
        symlink("sub/file", skeleton.join("link")).unwrap();
        let args = json!({"name": "app", "skeleton": &skeleton, "umask": "027"});
        let args = Value::from(args).as_map().unwrap().clone();
        let args: UserArgs = crate::module::args::parse("user", args).unwrap();
        let me = rustix::process::geteuid().as_raw();
        let entry = Entry {
            name: "app".into(),
            uid: me,
            gid: rustix::process::getegid().as_raw(),
            gecos: String::new(),
            home: home.display().to_string(),
            shell: String::new(),
        };
        assert!(is_missing(&args, &entry));
        create(&args, &entry, &Surroundings::new().context()).unwrap();
        assert!(!is_missing(&args, &entry));
        assert_eq!(fs::read_to_string(home.join("link")).unwrap(), "x");
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o7777, 0o750);
    }

    #[test]
    fn the_mode_is_the_tasks_or_the_systems() {
        assert_eq!(mode(Some("077"), "UMASK 022"), 0o700);
        assert_eq!(mode(None, "# HOME_MODE 0700\nUMASK\t\t027\n"), 0o750);
        assert_eq!(mode(None, "UMASK 027\nHOME_MODE 0711\n"), 0o711);
        assert_eq!(mode(None, ""), 0o755);
    }
}
