//! `generate_ssh_key`: a key pair in the user's home, made by `ssh-keygen` as that user owns it.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use rustle_protocol::ModuleResult;

use super::UserArgs;
use crate::accounts::User;
use crate::module::{Doing, ModuleContext, ModuleError};
use crate::process::{Program, without_starts};

pub(super) struct Key {
    pub(super) is_new: bool,
    path: PathBuf,
    fingerprint: String,
    public: String,
}

impl Key {
    pub(super) fn add_to(self, result: &mut ModuleResult) {
        result.set("ssh_key_file", self.path.display().to_string());
        result.set("ssh_fingerprint", self.fingerprint);
        result.set("ssh_public_key", self.public);
    }
}

fn path(args: &UserArgs, home: &str) -> PathBuf {
    let default = || PathBuf::from(format!(".ssh/id_{}", args.ssh_key_type));
    // An absolute path stays what it is.
    Path::new(home).join(args.ssh_key_file.clone().unwrap_or_else(default))
}

/// ssh-keygen puts `.pub` behind the whole name.
fn public_part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Whether a key is to be made: there is none, or `force` wants another.
pub(super) fn is_missing(args: &UserArgs, user: Option<&User>) -> bool {
    user.is_none_or(|user| args.force || !path(args, &user.home).exists())
}

pub(super) fn generate(args: &UserArgs, user: &User, cx: &ModuleContext<'_>) -> Result<Key, ModuleError> {
    let path = path(args, &user.home);
    let is_new = is_missing(args, Some(user));
    if is_new {
        make(args, user, &path, cx)?;
    }
    let public_path = public_part(&path);
    let public = std::fs::read_to_string(&public_path).doing(|| format!("read {}", public_path.display()))?;
    let fingerprint = Program::new("ssh-keygen").arg("-l").arg("-f").arg(&public_path).run_checked(cx)?;
    let fingerprint = fingerprint.stdout.text().trim().to_owned();
    Ok(Key { is_new, path, fingerprint, public: public.trim().to_owned() })
}

/// The user may have laid links where the keys go. So they are made where nobody else can reach, and then written to
/// files that were not there before.
fn make(args: &UserArgs, user: &User, path: &Path, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let public = public_part(path);
    for old in [path, public.as_path()].into_iter().filter(|old| old.symlink_metadata().is_ok()) {
        if !args.force {
            let msg = format!("{} already exists, use \"force: yes\" to overwrite it", old.display());
            return Err(ModuleError::new(msg));
        }
        std::fs::remove_file(old).doing(|| format!("remove {}", old.display()))?;
    }
    if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
        std::fs::DirBuilder::new().mode(0o700).create(dir).doing(|| format!("create {}", dir.display()))?;
        lchown(dir, Some(user.uid), Some(user.gid)).doing(|| format!("give {} to {}", dir.display(), user.name))?;
    }
    let private = crate::workdir::private()?;
    let made = private.path().join("key");
    make_pair(args, &made, cx)?;
    put(&made, path, 0o600, user)?;
    put(&public_part(&made), &public, 0o644, user)
}

/// Copies `from` to a file that is not there yet and will be the user's.
fn put(from: &Path, to: &Path, mode: u32, user: &User) -> Result<(), ModuleError> {
    let content = std::fs::read(from).doing(|| "read the new key".to_owned())?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(to);
    let written = file.and_then(|mut file| {
        file.write_all(&content)?;
        fchown(&file, Some(user.uid), Some(user.gid))
    });
    written.doing(|| format!("write {}", to.display()))
}

fn make_pair(args: &UserArgs, path: &Path, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let comment = args
        .ssh_key_comment
        .clone()
        .unwrap_or_else(|| format!("ansible-generated on {}", rustix::system::uname().nodename().to_string_lossy()));
    let mut program = Program::new("ssh-keygen").args(["-q", "-t", &args.ssh_key_type, "-C", &comment]);
    if let Some(bits) = args.ssh_key_bits.filter(|bits| *bits > 0) {
        program = program.arg("-b").arg(bits.to_string());
    }
    // A passphrase in an argument is seen by every user of the host, and ssh-keygen takes it from nowhere else but a
    // terminal: it is made without one, then given one by way of an askpass helper's environment.
    let program = program.arg("-N").arg("").arg("-f").arg(path).plain();
    let ended = program.run(cx)?;
    ended.not_stopped(&program)?;
    if ended.rc != 0 {
        let why = ended.stderr.text().into_owned();
        return Err(ModuleError::new(why).with("name", args.name.as_str()).with("rc", ended.rc));
    }
    match &args.ssh_key_passphrase {
        Some(passphrase) => add_passphrase(path, passphrase, cx),
        None => Ok(()),
    }
}

fn add_passphrase(path: &Path, passphrase: &str, cx: &ModuleContext<'_>) -> Result<(), ModuleError> {
    let dir = crate::workdir::private()?;
    let helper = dir.path().join("askpass");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o700);
    let script = "#!/bin/sh\nprintf '%s\\n' \"$RUSTLE_PASSPHRASE\"\n";
    without_starts(|| options.open(&helper).and_then(|mut file| file.write_all(script.as_bytes())))
        .doing(|| format!("write {}", helper.display()))?;
    let program = Program::new("ssh-keygen").args(["-q", "-p", "-P", "", "-f"]).arg(path);
    let asking = program.env("SSH_ASKPASS", &helper).env("SSH_ASKPASS_REQUIRE", "force");
    asking.env("RUSTLE_PASSPHRASE", passphrase).run_checked(cx).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::find_program;
    use crate::process::testing::Surroundings;
    use rustle_protocol::Value;
    use serde_json::json;

    #[test]
    fn a_key_is_made_once_in_the_users_home() {
        if find_program("ssh-keygen", None).is_none_or(|path| !path.exists()) {
            eprintln!("skipped: no ssh-keygen on this host");
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let args = json!({"name": "me", "ssh_key_type": "ed25519", "ssh_key_passphrase": "secret"});
        let args: UserArgs = crate::module::args::parse("user", Value::from(args).as_map().unwrap().clone()).unwrap();
        let user = User {
            name: "me".into(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            gecos: String::new(),
            home: home.path().display().to_string(),
            shell: String::new(),
        };
        let surroundings = Surroundings::new();
        let first = generate(&args, &user, &surroundings.context()).unwrap();
        let second = generate(&args, &user, &surroundings.context()).unwrap();
        assert!(first.is_new && !second.is_new);
        assert!(first.public.starts_with("ssh-ed25519 ") && first.public == second.public);
        assert_eq!(first.path, home.path().join(".ssh/id_ed25519"));
        let open = Program::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&first.path);
        assert_ne!(open.run(&surroundings.context()).unwrap().rc, 0, "the key opens without the passphrase");

        // A link in the way of the public key leads nowhere.
        let (others, public) = (home.path().join("others"), home.path().join(".ssh/id_ed25519.pub"));
        std::fs::write(&others, "theirs").unwrap();
        std::fs::remove_file(&first.path).unwrap();
        std::fs::remove_file(&public).unwrap();
        std::os::unix::fs::symlink(&others, &public).unwrap();
        let refused = generate(&args, &user, &surroundings.context()).err().unwrap().to_string();
        assert!(
            refused.ends_with(".ssh/id_ed25519.pub already exists, use \"force: yes\" to overwrite it"),
            "{refused}"
        );
        assert!(!first.path.exists());
        let forced = UserArgs { force: true, ..args };
        assert!(generate(&forced, &user, &surroundings.context()).unwrap().is_new);
        assert_eq!(std::fs::read_to_string(&others).unwrap(), "theirs");
        assert!(public.symlink_metadata().unwrap().is_file());
    }
}
