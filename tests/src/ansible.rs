//! The real Ansible, to compare with: installed once, into a folder below `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::programs::exec_program;

/// The release whose behaviour `rustle-exec` follows, and what its filters need.
const PACKAGES: &[&str] = &["ansible-core==2.19.*", "passlib"];

/// Names a folder with a virtual environment to use instead of making one.
const VENV: &str = "RUSTLE_ANSIBLE_VENV";

/// The interpreter that has ansible-core, made by the first who asks. `None`, after a notice, where it cannot be had;
/// with `CI=true` that is a failure.
pub fn ansible_python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(prepare) {
        Ok(python) => Some(python),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("ansible-core cannot be had: {why}"),
        Err(why) => {
            #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
            {
                eprintln!("NOT TESTED: nothing was compared with ansible-core: {why}");
            }
            None
        }
    }
}

fn prepare() -> Result<PathBuf, String> {
    if let Some(venv) = std::env::var_os(VENV) {
        return Ok(Path::new(&venv).join("bin/python"));
    }
    let target = exec_program().parent().and_then(Path::parent).ok_or("the program is in no target folder")?.to_owned();
    let venv = target.join("ansible-venv");
    let (python, complete) = (venv.join("bin/python"), venv.join("complete"));
    // Several test programs may come here at once; the lock goes with the file.
    let lock = File::create(target.join("ansible-venv.lock")).map_err(|error| error.to_string())?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|error| error.to_string())?;
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
    fs::write(&complete, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
}
