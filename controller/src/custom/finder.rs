//! Finds modules in files, by name, and the folders of plug-ins.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::executor::FileModule;
use super::library::PythonLibrary;
use super::payload::Sources;
use super::plugin::{OtherPlugin, PluginFolders, PluginKind, PluginPlaces, python_files};
use super::routes::Routes;
use crate::engine::ModuleExecutor;

/// Files with these endings are no modules, whatever they are called. Ansible's list, and a few more.
const NOT_MODULES: &[&str] =
    &["pyc", "pyo", "swp", "bak", "rpm", "md", "txt", "rst", "yaml", "yml", "ini", "json", "toml", "orig"];

/// Names that one name may lead to, one after another.
const MOVES_MAX: usize = 8;

/// The folders that modules, their code and plug-ins are looked for in. Cheap to clone; all clones are one, so that a role that is
/// loaded in the middle of a run adds its own.
#[derive(Clone, Debug, Default)]
pub struct ModuleFiles(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Of playbooks and roles, and before all others.
    projects: RwLock<Folders>,
    folders: RwLock<Folders>,
    library: PythonLibrary,
    routes: Routes,
    found: Mutex<HashMap<String, Option<Arc<FileModule>>>>,
    others_found: Mutex<HashMap<(OtherPlugin, String), Option<PathBuf>>>,
}

#[derive(Clone, Debug, Default)]
struct Folders {
    modules: Vec<PathBuf>,
    module_utils: Vec<PathBuf>,
    collections: Vec<PathBuf>,
    plugins: PluginFolders,
    others: Vec<(OtherPlugin, PathBuf)>,
}

impl ModuleFiles {
    /// With the code of `library`, where it is needed.
    pub fn new(library: PythonLibrary) -> ModuleFiles {
        ModuleFiles(Arc::new(Inner { library, ..Inner::default() }))
    }

    /// Adds what a playbook or a role has in its folder: `library/`, `module_utils/`, `collections/` and the
    /// folders of plug-ins. They come before all folders that are not a project's; among them, the earlier one wins.
    pub fn add_project(&self, folder: &Path) {
        self.add(&self.0.projects, &folder.join("library"), |folders| &mut folders.modules);
        self.add(&self.0.projects, &folder.join("module_utils"), |folders| &mut folders.module_utils);
        self.add(&self.0.projects, &folder.join("collections"), |folders| &mut folders.collections);
        for kind in PluginKind::ALL {
            self.add(&self.0.projects, &folder.join(kind.folder()), |folders| folders.plugins.of_mut(kind));
        }
        OtherPlugin::ALL.into_iter().for_each(|kind| self.add_others(kind, &folder.join(kind.folder())));
    }

    /// Adds a folder of modules. An earlier folder wins. One that is not there now is never looked into.
    pub fn add_modules(&self, folder: &Path) {
        self.add(&self.0.folders, folder, |folders| &mut folders.modules);
    }

    /// Adds a folder of Python code that modules import as `ansible.module_utils`.
    pub fn add_module_utils(&self, folder: &Path) {
        self.add(&self.0.folders, folder, |folders| &mut folders.module_utils);
    }

    /// Adds a folder with an `ansible_collections/` in it.
    pub fn add_collections(&self, folder: &Path) {
        self.add(&self.0.folders, folder, |folders| &mut folders.collections);
    }

    /// Adds a folder of plug-ins in Python.
    pub fn add_plugins(&self, kind: PluginKind, folder: &Path) {
        self.add(&self.0.folders, folder, |folders| folders.plugins.of_mut(kind));
    }

    /// Adds a folder of plug-ins that are not run.
    pub(crate) fn add_others(&self, kind: OtherPlugin, folder: &Path) {
        let mut folders = self.0.projects.write().unwrap_or_else(PoisonError::into_inner);
        let known = (kind, folder.to_owned());
        if folder.is_dir() && !folders.others.contains(&known) {
            folders.others.push(known);
            self.forget();
        }
    }

    /// The file of a plug-in that would have to be run, and is not: `NAME` in a folder of its kind, or of a collection, also under
    /// a name that it had before it moved.
    pub(crate) fn other_plugin(&self, kind: OtherPlugin, name: &str) -> Option<PathBuf> {
        let key = (kind, name.to_owned());
        let known = self.0.others_found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let file = self.resolved(kind.name(), name, |name| self.plugin_file(kind, name));
            self.0.others_found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, file.clone());
            file
        })
    }

    fn plugin_file(&self, kind: OtherPlugin, name: &str) -> Option<PathBuf> {
        let mut parts = name.splitn(3, '.');
        if let (Some(namespace), Some(collection), Some(short)) = (parts.next(), parts.next(), parts.next()) {
            let folder = format!("ansible_collections/{namespace}/{collection}/plugins/{}", kind.name());
            let is_own = namespace == "ansible" && matches!(collection, "builtin" | "legacy");
            let roots = if is_own { Vec::new() } else { self.sources().collections };
            return roots.iter().find_map(|root| file_of(&root.join(&folder), &short.replace('.', "/")));
        }
        self.other_in_folders(kind, name)
    }

    /// As [`other_plugin`](Self::other_plugin), of the folders alone.
    pub(crate) fn other_in_folders(&self, kind: OtherPlugin, name: &str) -> Option<PathBuf> {
        let projects = self.0.projects.read().unwrap_or_else(PoisonError::into_inner);
        let mut folders = projects.others.iter().filter(|(of, _)| *of == kind);
        folders.find_map(|(_, folder)| file_of(folder, name).filter(|file| file.extension().is_some()))
    }

    /// Callback plug-ins beside playbooks and in roles, which Ansible would load without being asked.
    pub(crate) fn callback_plugins(&self) -> Vec<PathBuf> {
        let projects = self.0.projects.read().unwrap_or_else(PoisonError::into_inner);
        let folders = projects.others.iter().filter(|(kind, _)| *kind == OtherPlugin::Callback);
        folders.flat_map(|(_, folder)| python_files(folder)).collect()
    }

    /// Where plug-ins are now. May start a process, to find an ansible-core.
    pub(crate) fn plugin_places(&self) -> PluginPlaces {
        let Sources { collections, library, .. } = self.sources();
        PluginPlaces { folders: self.folders().plugins, collections, library }
    }

    fn add(&self, to: &RwLock<Folders>, folder: &Path, list: impl Fn(&mut Folders) -> &mut Vec<PathBuf>) {
        let mut folders = to.write().unwrap_or_else(PoisonError::into_inner);
        let list = list(&mut folders);
        if folder.is_dir() && !list.iter().any(|known| known == folder) {
            list.push(folder.to_owned());
            self.forget();
        }
    }

    /// Names may mean something else from now on.
    fn forget(&self) {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.others_found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The module of a folder: `name` without a collection, or `ansible.legacy.NAME`.
    pub(crate) fn in_folders(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.cached(name, || {
            let folders = self.folders();
            let file = folders.modules.iter().find_map(|folder| file_of(folder, name))?;
            Some((format!("ansible.legacy.{name}"), file))
        })
    }

    /// The module of a collection: `NAMESPACE.COLLECTION.NAME`, also one that has moved on from there.
    pub(crate) fn in_collections(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.resolved("modules", name, |name| self.in_collection(name))
    }

    /// The module that was ansible-core's under this name, without a collection, and is in one now.
    pub(crate) fn moved(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.in_collections(&self.redirect("modules", name)?)
    }

    /// The module of ansible-core, without its collection, that `NAMESPACE.COLLECTION.NAME` leads to.
    pub(crate) fn moved_to_core(&self, name: &str) -> Option<String> {
        let core = |name: String| name.strip_prefix("ansible.builtin.").map(str::to_owned);
        self.names("modules", name).find_map(core)
    }

    /// Why there is no module that is called so any more, in Ansible's words.
    pub(crate) fn removal(&self, name: &str) -> Option<String> {
        let kinds = [("modules", "module"), ("action", "action plugin")];
        kinds.into_iter().find_map(|(kind, called)| {
            self.names(kind, name).find_map(|name| {
                let (files, short) = self.route_files(&name);
                let removal = files.iter().find_map(|file| self.0.routes.removal(file, kind, short))?;
                let full = if name.contains('.') { name.clone() } else { format!("ansible.builtin.{name}") };
                Some(removal.sentence(&full, called))
            })
        })
    }

    fn in_collection(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.cached(name, || {
            let mut parts = name.splitn(3, '.');
            let (namespace, collection, module) = (parts.next()?, parts.next()?, parts.next()?);
            let folder = format!("ansible_collections/{namespace}/{collection}/plugins/modules");
            let module = module.replace('.', "/");
            let sources = self.sources();
            let file = sources.collections.iter().find_map(|root| file_of(&root.join(&folder), &module))?;
            let python = format!("ansible_collections.{namespace}.{collection}.plugins.modules");
            Some((format!("{python}.{}", module.replace('/', ".")), file))
        })
    }

    /// The module that an installed ansible-core has under this name, without its collection.
    pub(crate) fn in_library(&self, name: &str) -> Option<Arc<dyn ModuleExecutor>> {
        self.cached(&format!("ansible.builtin.{name}"), || {
            let file = self.0.library.root()?.join("ansible/modules").join(format!("{name}.py"));
            (is_word(name) && file.is_file()).then(|| (format!("ansible.modules.{name}"), file))
        })
    }

    /// What `find` says of `name`, else of the names that it leads to.
    fn resolved<T>(&self, kind: &str, name: &str, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.names(kind, name).find_map(|name| find(&name))
    }

    /// `name` and those that it leads to, one after another.
    fn names<'a>(&'a self, kind: &'a str, name: &str) -> impl Iterator<Item = String> + use<'a> {
        std::iter::successors(Some(name.to_owned()), move |name| self.redirect(kind, name)).take(MOVES_MAX)
    }

    /// Where what is called so has moved, if it has.
    fn redirect(&self, kind: &str, name: &str) -> Option<String> {
        let (files, short) = self.route_files(name);
        files.iter().find_map(|file| self.0.routes.redirect(file, kind, short))
    }

    /// The full names of the modules in the action group `NAMESPACE.COLLECTION.NAME`, and of those in groups that it extends. One
    /// without a collection is ansible-core's.
    pub(crate) fn group(&self, name: &str) -> Vec<String> {
        let (mut seen, mut members) = (HashSet::new(), Vec::new());
        let mut left = vec![name.to_owned()];
        while let Some(name) = left.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let (files, short) = self.route_files(&name);
            let home = name.strip_suffix(short).unwrap_or_default();
            let full = |name: String| if name.contains('.') { name } else { format!("{home}{name}") };
            if let Some(group) = files.iter().find_map(|file| self.0.routes.group(file, short)) {
                members.extend(group.members.into_iter().map(full));
                left.extend(group.extended.into_iter().map(full));
            }
        }
        members
    }

    /// The files that may know of `name`, and what they call it.
    fn route_files<'n>(&self, name: &'n str) -> (Vec<PathBuf>, &'n str) {
        let mut parts = name.splitn(3, '.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some(collection), Some(short)) if (namespace, collection) != ("ansible", "builtin") => {
                let inside = format!("ansible_collections/{namespace}/{collection}/meta/runtime.yml");
                (self.sources().collections.into_iter().map(|root| root.join(&inside)).collect(), short)
            }
            (_, _, short) => {
                let own = self.0.library.root().map(|root| root.join("ansible/config/ansible_builtin_runtime.yml"));
                (own.into_iter().collect(), short.unwrap_or(name))
            }
        }
    }

    fn cached(&self, name: &str, find: impl FnOnce() -> Option<(String, PathBuf)>) -> Option<Arc<dyn ModuleExecutor>> {
        let known = |found: &Mutex<HashMap<_, _>>| {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner);
            HashMap::get(&found, name).cloned()
        };
        let module: Option<Arc<FileModule>> = match known(&self.0.found) {
            Some(module) => module,
            None => {
                let module = find().map(|(python, path)| Arc::new(FileModule::new(name, python, path, self.clone())));
                let mut found = self.0.found.lock().unwrap_or_else(PoisonError::into_inner);
                found.insert(name.to_owned(), module.clone());
                module
            }
        };
        module.map(|module| module as Arc<dyn ModuleExecutor>)
    }

    pub(super) fn sources(&self) -> Sources {
        let folders = self.folders();
        let library = self.0.library.root().map(Path::to_owned);
        // Collections installed with ansible, the community package, lie beside it.
        let collections = folders.collections.into_iter().chain(library.clone()).collect();
        Sources { module_utils: folders.module_utils, collections, library }
    }

    pub(super) fn library(&self) -> &PythonLibrary {
        &self.0.library
    }

    /// All folders, in the order in which they are looked into.
    fn folders(&self) -> Folders {
        let [mut all, shared] = [&self.0.projects, &self.0.folders]
            .map(|folders| folders.read().unwrap_or_else(PoisonError::into_inner).clone());
        all.modules.extend(shared.modules);
        all.module_utils.extend(shared.module_utils);
        all.collections.extend(shared.collections);
        all.plugins.extend(shared.plugins);
        all
    }
}

/// Whether `name` can be part of a file's name and nothing but that.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

/// The file of the module `name` in `folder`: with no ending, with `.py`, or the first with another. `name` may have
/// folders of its own.
fn file_of(folder: &Path, name: &str) -> Option<PathBuf> {
    if !name.split('/').all(is_word) {
        return None;
    }
    let exact = folder.join(name);
    let python = folder.join(format!("{name}.py"));
    if let Some(file) = [exact.clone(), python].into_iter().find(|file| file.is_file()) {
        return Some(file);
    }
    let stem = exact.file_name()?;
    let mut others: Vec<PathBuf> = std::fs::read_dir(exact.parent()?)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_stem() == Some(stem) && path.is_file() && !is_other(path))
        .collect();
    others.sort();
    others.into_iter().next()
}

fn is_other(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_none_or(|ending| NOT_MODULES.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
    }

    fn found(module: Option<Arc<dyn ModuleExecutor>>) -> Option<String> {
        module.map(|module| module.name().to_owned())
    }

    #[test]
    fn a_module_is_found_by_its_name_in_the_first_folder_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a/one.sh", "b/one.py", "b/two.md", "b/two.rb"] {
            put(dir.path(), file);
        }
        let files = ModuleFiles::new(PythonLibrary::at(None));
        assert!(files.in_folders("one").is_none());
        files.add_modules(&dir.path().join("a"));
        files.add_modules(&dir.path().join("b"));
        files.add_modules(&dir.path().join("not there"));
        assert_eq!(found(files.in_folders("one")).as_deref(), Some("one"), "a folder added later is looked into");
        assert!(files.in_folders("two").is_some() && files.in_folders("three").is_none());
        assert!(files.in_folders("../a/one").is_none() && files.in_folders("").is_none());
        assert_eq!(files.folders().modules, [dir.path().join("a"), dir.path().join("b")]);
        put(dir.path(), "play/library/mine.sh");
        files.add_project(&dir.path().join("play"));
        assert_eq!(
            files.folders().modules[0],
            dir.path().join("play/library"),
            "what is beside a playbook comes first"
        );
    }

    #[test]
    fn what_has_moved_is_found_under_its_old_names() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "cols/ansible_collections/acme/new/plugins/modules/fix.py");
        put(dir.path(), "cols/ansible_collections/acme/new/plugins/action/act.py");
        let routes = |path: &str, text: &str| {
            put(dir.path(), path);
            std::fs::write(dir.path().join(path), text).unwrap();
        };
        routes(
            "cols/ansible_collections/acme/old/meta/runtime.yml",
            "plugin_routing: {modules: {fix: {redirect: acme.new.fix}, loop: {redirect: acme.old.loop}}}",
        );
        routes(
            "lib/ansible/config/ansible_builtin_runtime.yml",
            "plugin_routing: {modules: {fix: {redirect: acme.old.fix}}, action: {act: {redirect: acme.new.act}}}",
        );
        let files = ModuleFiles::new(PythonLibrary::at(Some(&dir.path().join("lib"))));
        files.add_collections(&dir.path().join("cols"));
        assert_eq!(found(files.in_collections("acme.old.fix")).as_deref(), Some("acme.new.fix"));
        assert_eq!(found(files.moved("fix")).as_deref(), Some("acme.new.fix"));
        assert!(files.moved("none").is_none() && files.in_collections("acme.old.loop").is_none());
        assert!(
            files
                .other_plugin(OtherPlugin::Action, "act")
                .is_some_and(|file| file.ends_with("new/plugins/action/act.py"))
        );
    }

    #[test]
    fn collections_and_the_library_have_their_places() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "cols/ansible_collections/acme/tools/plugins/modules/fix.py");
        put(dir.path(), "cols/ansible_collections/acme/tools/plugins/modules/sub/deep.py");
        put(dir.path(), "lib/ansible/modules/git.py");
        let files = ModuleFiles::new(PythonLibrary::at(Some(&dir.path().join("lib"))));
        files.add_collections(&dir.path().join("cols"));
        assert_eq!(found(files.in_collections("acme.tools.fix")).as_deref(), Some("acme.tools.fix"));
        assert!(files.in_collections("acme.tools.sub.deep").is_some());
        assert!(files.in_collections("acme.tools.none").is_none() && files.in_collections("fix").is_none());
        assert_eq!(found(files.in_library("git")).as_deref(), Some("ansible.builtin.git"));
        assert!(files.in_library("../modules/git").is_none());
    }
}
