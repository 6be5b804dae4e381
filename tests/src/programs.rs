//! Where the programs are that these tests start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `rustle-exec`, as built from this tree.
pub fn exec_program() -> PathBuf {
    folder().join("rustle-exec")
}

/// `rustle-agent`, as built from this tree.
pub fn agent_program() -> PathBuf {
    folder().join("rustle-agent")
}

/// The folder that this test program's own build wrote into. Programs in it may be older than their sources, because
/// cargo builds no other package's programs for a test; so it is asked to, once.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let own = std::env::current_exe().expect("a process can name its program");
        let folder = own.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps").to_owned();
        if let Some(cargo) = std::env::var_os("CARGO") {
            build(Path::new(&cargo), &folder);
        }
        folder
    })
}

fn build(cargo: &Path, folder: &Path) {
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--quiet", "--target-dir"]).arg(folder.join(".."));
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(status.as_ref().is_ok_and(std::process::ExitStatus::success), "the programs cannot be built: {status:?}");
}
