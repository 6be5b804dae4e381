//! The Python code that custom modules import: an installed ansible-core, `module_utils/` folders, collections. Nothing of
//! it is shipped with this program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// Names the folder that the Python package `ansible` is in, where no Python here would find it.
const LIBRARY_VARIABLE: &str = "ANSIBLE_CORE_LIB";

/// Prints where `ansible` is, without running any of it.
const ASK: &str = "import importlib.util as u; s = u.find_spec('ansible'); print(s.origin if s and s.origin else '')";

/// An installed ansible-core. Looked for once, when it is first needed.
#[derive(Clone, Debug, Default)]
pub struct PythonLibrary(Arc<OnceLock<Option<PathBuf>>>);

impl PythonLibrary {
    /// The folder with `ansible/` in it: what `LIBRARY_VARIABLE` names, what `ansible-playbook` in the `PATH` runs with, or
    /// what `python3` imports. May start a process; `None` if there is no ansible-core.
    pub fn root(&self) -> Option<&Path> {
        self.0.get_or_init(find).as_deref()
    }

    /// At `root`, for tests.
    #[cfg(test)]
    pub(super) fn at(root: Option<&Path>) -> PythonLibrary {
        let library = PythonLibrary::default();
        library.0.get_or_init(|| root.map(Path::to_owned));
        library
    }

    /// The version it says it has: `2.19.1`.
    pub fn version(&self) -> Option<String> {
        let release = std::fs::read_to_string(self.root()?.join("ansible/release.py")).ok()?;
        let line = release.lines().find_map(|line| line.strip_prefix("__version__"))?;
        Some(line.trim_matches([' ', '=', '\'', '"']).to_owned())
    }
}

fn find() -> Option<PathBuf> {
    let named = std::env::var_os(LIBRARY_VARIABLE).map(PathBuf::from).filter(|root| is_library(root));
    named.or_else(|| playbook_python().and_then(|python| ask(&python))).or_else(|| ask(Path::new("python3")))
}

fn is_library(root: &Path) -> bool {
    root.is_absolute() && root.join("ansible/module_utils/basic.py").is_file()
}

/// The interpreter of `ansible-playbook`, which is often in an environment of its own.
fn playbook_python() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&paths)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("ansible-playbook"))
        .find(|path| path.is_file())?;
    let words = super::kind::shebang(&std::fs::read(program).ok()?)?;
    words.first().filter(|word| word.contains("python")).map(PathBuf::from)
}

/// The Python that runs what is in Python on the controller: that of `ansible-playbook`, else the first `python3` of the
/// `PATH`.
pub fn controller_python() -> Option<PathBuf> {
    playbook_python().or_else(|| {
        let paths = std::env::var_os("PATH")?;
        let mut programs = std::env::split_paths(&paths).map(|folder| folder.join("python3"));
        programs.find(|path| path.is_absolute() && path.is_file())
    })
}

fn ask(python: &Path) -> Option<PathBuf> {
    // From the root folder, and isolated: nothing is imported from wherever the operator happens to be.
    let output = Command::new(python).args(["-I", "-c", ASK]).current_dir("/").output().ok()?;
    let origin = String::from_utf8(output.stdout).ok()?;
    let root = Path::new(origin.trim()).parent()?.parent()?;
    is_library(root).then(|| root.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_the_library_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("ansible")).unwrap();
        std::fs::write(dir.path().join("ansible/release.py"), "# x\n__version__ = '2.19.4'\n").unwrap();
        assert_eq!(PythonLibrary::at(Some(dir.path())).version().as_deref(), Some("2.19.4"));
        assert_eq!(PythonLibrary::at(None).version(), None);
    }
}
