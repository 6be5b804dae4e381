//! A Python module and everything of `module_utils` that it imports, as one zip archive that Python imports from.
//!
//! The archive depends on the files' content alone, so equal modules are one blob, sent once to a host that keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;

use super::imports::imports;

/// Where imported code is looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    /// Folders whose files are modules of `ansible.module_utils`, before the library's own.
    pub(super) module_utils: Vec<PathBuf>,
    /// Folders with an `ansible_collections/`.
    pub(super) collections: Vec<PathBuf>,
    /// The folder with `ansible/`.
    pub(super) library: Option<PathBuf>,
}

/// Why a module cannot be packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("Could not find imported module support code for {module}. Looked for ({looked_for}){hint}")]
    Missing { module: String, looked_for: String, hint: &'static str },
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("cannot pack {module}: {cause}")]
    Zip { module: String, cause: zip::result::ZipError },
}

/// The first packages of every name that is packed; all others are the host's own Python's.
const BASIC: [&str; 3] = ["ansible", "module_utils", "basic"];

/// Makes modules of its own when it is imported, which are in no file.
const MAKES_MODULES: [&str; 3] = ["ansible", "module_utils", "six"];

/// Loaded by name at run time in ansible-core 2.19, which no reading of imports can see.
const LOADED_BY_NAME: (&str, &str) = ("ansible/module_utils/_internal/_json/__init__.py", "_profiles");

/// The archive of the module `name` (`ansible.legacy.NAME`) with this `source`.
pub(super) fn pack(name: &str, source: &str, sources: &Sources) -> Result<Vec<u8>, PackError> {
    let mut packing = Packing { name, sources, files: BTreeMap::new(), looked_at: BTreeSet::new() };
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    packing.add(&path, BASIC.map(str::to_owned).to_vec(), true)?;
    packing.add_imports(source, &path, false)?;
    packing.files.insert(format!("{}.py", path.join("/")), source.to_owned());
    packing.add_packages(&path[..path.len() - 1]);
    archive(&packing.files).map_err(|cause| PackError::Zip { module: name.to_owned(), cause })
}

struct Packing<'a> {
    name: &'a str,
    sources: &'a Sources,
    /// By path in the archive.
    files: BTreeMap<String, String>,
    looked_at: BTreeSet<Vec<String>>,
}

impl Packing<'_> {
    fn add_imports(&mut self, source: &str, module: &[String], is_package: bool) -> Result<(), PackError> {
        for import in imports(source, module, is_package) {
            self.add(module, import.path, import.required)?;
        }
        Ok(())
    }

    /// Adds what `path` names: a module, or something in a module.
    fn add(&mut self, importer: &[String], mut path: Vec<String>, required: bool) -> Result<(), PackError> {
        if path.starts_with(&MAKES_MODULES.map(str::to_owned)) {
            path.truncate(MAKES_MODULES.len());
        }
        if !is_packed(&path) || !self.looked_at.insert(path.clone()) {
            return Ok(());
        }
        for len in [path.len(), path.len() - 1] {
            if let Some(file) = self.sources.find(&path[..len]) {
                return self.add_file(&path[..len], &file);
            }
        }
        // `import ansible.module_utils.x` in a file that is about to check for it, and names of packages.
        if !required || path.len() <= 2 || self.sources.is_folder(&path) {
            return Ok(());
        }
        let whole = format!("'{}'", path.join("."));
        let part = format!("'{}'", path[..path.len() - 1].join("."));
        let hint = match (&self.sources.library, path[0].as_str()) {
            (None, "ansible") => {
                "; there is no ansible-core on this machine to take it from: install it, or name its folder in \
                 ANSIBLE_CORE_LIB"
            }
            _ => "",
        };
        let module = if importer.join(".") == self.name { self.name.to_owned() } else { importer.join(".") };
        Err(PackError::Missing { module, looked_for: format!("[{whole}, {part}]"), hint })
    }

    fn add_file(&mut self, path: &[String], file: &Path) -> Result<(), PackError> {
        let is_package = file.file_name().is_some_and(|name| name == "__init__.py");
        let inside =
            if is_package { format!("{}/__init__.py", path.join("/")) } else { format!("{}.py", path.join("/")) };
        if self.files.contains_key(&inside) {
            return Ok(());
        }
        let source = read(file)?;
        self.files.insert(inside.clone(), source.clone());
        self.add_packages(&path[..path.len() - 1]);
        self.add_imports(&source, path, is_package)?;
        if inside == LOADED_BY_NAME.0 {
            self.add_folder(&[path, &[LOADED_BY_NAME.1.to_owned()]].concat(), &file.with_file_name(LOADED_BY_NAME.1))?;
        }
        Ok(())
    }

    fn add_folder(&mut self, path: &[String], folder: &Path) -> Result<(), PackError> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|ending| ending == "py"));
        files.sort();
        for file in files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match stem.as_str() {
                "__init__" => self.add_file(path, &file)?,
                _ => self.add_file(&[path, &[stem]].concat(), &file)?,
            }
        }
        Ok(())
    }

    /// Every package above a file: its own `__init__.py` if it has one here, else an empty one.
    fn add_packages(&mut self, package: &[String]) {
        for len in 1..=package.len() {
            let inside = format!("{}/__init__.py", package[..len].join("/"));
            if self.files.contains_key(&inside) {
                continue;
            }
            // The top packages are the installation's own; a host needs nothing of them.
            let source = match self.sources.find(&package[..len]) {
                Some(file) if len > 1 => read(&file).unwrap_or_default(),
                _ => String::new(),
            };
            self.files.insert(inside, source.clone());
            // A package's own imports are for whoever wants all of it: what is missing is missed when it runs.
            let _ = self.add_imports(&source, &package[..len], true);
        }
    }
}

fn is_packed(path: &[String]) -> bool {
    match path {
        [first, second, ..] => (first == "ansible" && second == "module_utils") || first == "ansible_collections",
        _ => false,
    }
}

impl Sources {
    /// The file of the module or package `path`.
    fn find(&self, path: &[String]) -> Option<PathBuf> {
        let below = |folder: &Path, parts: &[String]| {
            let base = parts.iter().fold(folder.to_owned(), |base, part| base.join(part));
            let module = base.with_file_name(format!("{}.py", parts.last()?));
            [base.join("__init__.py"), module].into_iter().find(|file| file.is_file())
        };
        match path {
            [first, second, rest @ ..] if first == "ansible" && second == "module_utils" => {
                let own = self.module_utils.iter().filter(|_| !rest.is_empty()).find_map(|folder| below(folder, rest));
                own.or_else(|| below(self.library.as_ref()?, path))
            }
            [first, ..] if first == "ansible_collections" => {
                self.collections.iter().find_map(|folder| below(folder, path))
            }
            _ => None,
        }
    }

    /// Whether `path` is a folder without an `__init__.py`, which Python takes for a package all the same.
    fn is_folder(&self, path: &[String]) -> bool {
        let below = |folder: &PathBuf| path.iter().fold(folder.clone(), |base, part| base.join(part)).is_dir();
        self.collections.iter().chain(&self.library).any(below)
    }
}

fn read(file: &Path) -> Result<String, PackError> {
    let bytes = std::fs::read(file).map_err(|cause| PackError::Unreadable { path: file.to_owned(), cause })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn archive(files: &BTreeMap<String, String>) -> Result<Vec<u8>, zip::result::ZipError> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    for (path, source) in files {
        zip.start_file(path.as_str(), options)?;
        zip.write_all(source.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// A library of three files, one of which nobody imports.
    fn library() -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        put(
            dir.path(),
            &[
                ("lib/ansible/__init__.py", "raise Exception('for the controller alone')"),
                ("lib/ansible/module_utils/__init__.py", ""),
                ("lib/ansible/module_utils/basic.py", "from ansible.module_utils.common.text import to_text\n"),
                ("lib/ansible/module_utils/common/__init__.py", ""),
                ("lib/ansible/module_utils/common/text.py", "import os\n"),
                ("lib/ansible/module_utils/unused.py", ""),
                ("own/helper.py", "from . import other\n"),
                ("own/other.py", ""),
                ("col/ansible_collections/a/b/plugins/module_utils/c.py", ""),
            ],
        );
        let sources = Sources {
            module_utils: vec![dir.path().join("own")],
            collections: vec![dir.path().join("col")],
            library: Some(dir.path().join("lib")),
        };
        (dir, sources)
    }

    fn packed(name: &str, source: &str, sources: &Sources) -> Vec<String> {
        let bytes = pack(name, source, sources).unwrap();
        let zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names = zip.file_names().map(|name| name.unwrap().into_owned());
        names.filter(|name| !name.ends_with("__init__.py")).collect()
    }

    #[test]
    fn a_module_takes_along_what_it_imports_and_no_more() {
        let (_dir, sources) = library();
        let mut files = packed("ansible.legacy.m", "import json\n", &sources);
        files.sort();
        assert_eq!(
            files,
            ["ansible/legacy/m.py", "ansible/module_utils/basic.py", "ansible/module_utils/common/text.py"]
        );
    }

    #[test]
    fn own_folders_and_collections_are_looked_into() {
        let (_dir, sources) = library();
        let source =
            "from ansible.module_utils.helper import x\nfrom ansible_collections.a.b.plugins.module_utils import c\n";
        let files = packed("ansible.legacy.m", source, &sources);
        for file in ["helper.py", "other.py"] {
            assert!(files.contains(&format!("ansible/module_utils/{file}")), "{files:?}");
        }
        assert!(files.contains(&"ansible_collections/a/b/plugins/module_utils/c.py".to_owned()), "{files:?}");
        let files = packed("ansible_collections.a.b.plugins.modules.m", "from ..module_utils.c import d\n", &sources);
        assert!(files.contains(&"ansible_collections/a/b/plugins/module_utils/c.py".to_owned()), "{files:?}");
    }

    #[test]
    fn what_is_nowhere_is_an_error_unless_the_module_can_do_without() {
        let (_dir, sources) = library();
        let error = pack("ansible.legacy.m", "from ansible.module_utils.nope import X\n", &sources).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not find imported module support code for ansible.legacy.m. Looked for \
             (['ansible.module_utils.nope.X', 'ansible.module_utils.nope'])"
        );
        let source = "import ansible.module_utils.basic\nfrom ansible.module_utils.six.moves.urllib import parse\n";
        put(sources.library.as_ref().unwrap(), &[("ansible/module_utils/six/__init__.py", "")]);
        assert!(pack("ansible.legacy.m", source, &sources).is_ok(), "six makes its modules when it is imported");
        let source = "try:\n    from ansible.module_utils.nope import X\nexcept ImportError:\n    X = None\n";
        assert!(pack("ansible.legacy.m", source, &sources).is_ok());
        let none = Sources { library: None, ..sources };
        let error = pack("ansible.legacy.m", "", &none).unwrap_err().to_string();
        assert!(error.contains("no ansible-core on this machine"), "{error}");
    }

    #[test]
    fn equal_modules_are_one_archive() {
        let (_dir, sources) = library();
        let again = pack("ansible.legacy.m", "import json\n", &sources).unwrap();
        assert_eq!(pack("ansible.legacy.m", "import json\n", &sources).unwrap(), again);
    }
}
