//! A playbook file, and those it imports, as a plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::PlayDefaults;
use super::around::{Around, Known, absolute};
use super::collections::{self, Collections};
use super::document::Document;
use super::error::PlaybookError;
use super::includes::{Context, Contexts, Includes};
use super::keywords::{Keywords, Written};
use super::library::{Library, Surroundings};
use super::names::is_reserved;
use super::play::{Outer, PlayMaker, magic};
use super::play_node::{ImportNode, PlaybookEntry, read};
use super::prompt::Prompts;
use super::reserved;
use super::unfold::{Made, looked};
use crate::input::inventory::Inventory;
use crate::input::source::shown;
use crate::plan::{Fragments, IncludeId, Plan, Play, PlayId};
use crate::vars::{Layer, Precedence};

/// Playbooks within playbooks.
const IMPORTS_MAX: usize = 32;

/// What is to be read, and how.
pub struct PlaybookRequest<'a> {
    /// One after another, as if they were one.
    pub paths: &'a [PathBuf],
    pub surroundings: Surroundings,
    pub inventory: &'a Inventory,
    /// What a play that says nothing of facts does; `None`: as Ansible, it gathers them.
    pub gather_facts: Option<bool>,
    pub force_handlers: bool,
    pub defaults: PlayDefaults,
    pub prompts: Prompts<'a>,
}

/// A playbook as a plan, and what its includes need while it runs.
pub struct Playbook {
    pub plan: Plan,
    pub(super) includes: Arc<Includes>,
    /// The folder of the first file.
    pub base: PathBuf,
    /// Why it cannot be run, though it can be listed.
    pub hindrance: Option<PlaybookError>,
}

impl Playbook {
    /// Reads what its tasks include.
    pub fn fragments(&self) -> Arc<dyn Fragments> {
        Arc::clone(&self.includes) as Arc<dyn Fragments>
    }
}

/// Reads playbooks.
///
/// # Errors
/// What is wrong with them, with file, line and column. Nothing was contacted.
pub fn load(mut request: PlaybookRequest<'_>) -> Result<Playbook, PlaybookError> {
    request.paths.iter().rev().for_each(|path| request.surroundings.paths.add_project(&folder_of(path)));
    let library = Library::new(request.surroundings);
    let contexts = Arc::new(Contexts::default());
    let base = request.paths.first().map_or_else(|| PathBuf::from("."), |path| folder_of(path));
    let mut loader = Loader {
        library: &library,
        inventory: request.inventory,
        contexts: &contexts,
        gather_facts: request.gather_facts,
        force_handlers: request.force_handlers,
        strategy: request.defaults.strategy.as_deref(),
        prompts: request.prompts,
        base: &base,
        plays: Vec::new(),
        made: Made::default(),
    };
    let outer = Outer { keywords: request.defaults.keywords(), ..Outer::default() };
    for path in request.paths {
        let first = loader.plays.len();
        loader.file(path, outer.clone(), 0)?;
        if let Some(play) = loader.plays.get_mut(first) {
            play.playbook = Some(path.display().to_string());
        }
    }
    let Loader { plays, made, .. } = loader;
    let mut warnings = library.take_warnings();
    let given = library.around.extra.keys().filter(|name| is_reserved(name));
    warnings.extend(given.map(|name| format!("--extra-vars: {}", reserved::sentence(name))));
    warnings.extend(made.notices());
    let plan = Plan {
        sources: request.paths.iter().map(|path| path.display().to_string()).collect(),
        plays,
        tasks: made.tasks,
        blocks: made.blocks,
        check_mode: false,
        diff: false,
        forks: None,
        digest: library.digest(),
        warnings,
    };
    let role_instances = AtomicU32::new(made.role_instances);
    let hindrance = library.take_hindrance();
    let includes = Arc::new(Includes { library, contexts, role_instances });
    Ok(Playbook { plan, includes, base, hindrance })
}

/// What tasks that stand in no playbook can include, looked for in `folder`, and the number by which they ask for it.
///
/// # Errors
/// None that are known of.
pub fn without_playbook(
    folder: &Path,
    surroundings: Surroundings,
) -> Result<(Arc<dyn Fragments>, IncludeId), PlaybookError> {
    let document = Arc::new(Document::of_text("ad-hoc", String::new())?);
    let known = Known {
        templar: surroundings.templar.clone(),
        extra: Arc::clone(&surroundings.extra),
        layers: Vec::new(),
        magic: Arc::default(),
        modules: Arc::clone(&surroundings.modules),
    };
    let around = Around::play(document, Keywords::default(), folder, &Collections::default());
    let contexts = Arc::new(Contexts::default());
    let id = contexts.keep(Context { around, known, playbook_dir: folder.into(), apply: None });
    let includes = Includes { library: Library::new(surroundings), contexts, role_instances: AtomicU32::new(0) };
    Ok((Arc::new(includes), id))
}

struct Loader<'a> {
    library: &'a Library,
    inventory: &'a Inventory,
    contexts: &'a Contexts,
    gather_facts: Option<bool>,
    force_handlers: bool,
    strategy: Option<&'a str>,
    prompts: Prompts<'a>,
    /// The folder of the first playbook.
    base: &'a Path,
    plays: Vec<Play>,
    made: Made,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, mut outer: Outer, depth: usize) -> Result<(), PlaybookError> {
        if depth > IMPORTS_MAX {
            let what =
                format!("playbooks are imported through more than {IMPORTS_MAX} levels: does one import itself?");
            return Err(PlaybookError::whole(path, what));
        }
        let document = self.library.document(path)?;
        let folder = folder_of(path);
        let Loader { library, .. } = &*self;
        library.add_project(&folder);
        let folders = self.library.around.paths.collections.iter().map(PathBuf::as_path);
        if let Some(home) = collections::of_file(path, folders) {
            outer.collections.home = Some(home);
        }
        let entries = read(&document, &*self.library.around.modules, &outer.collections)?;
        for entry in entries {
            match entry {
                PlaybookEntry::Import(import) => self.import(&import, &document, &folder, &outer, depth)?,
                PlaybookEntry::Play(node) => {
                    let maker = PlayMaker {
                        library: self.library,
                        inventory: self.inventory,
                        playbook_dir: &folder,
                        magic: magic(self.inventory, &folder),
                        contexts: self.contexts,
                        gather_facts: self.gather_facts,
                        force_handlers: self.force_handlers,
                        strategy: self.strategy,
                        prompts: self.prompts,
                    };
                    let id = PlayId(u32::try_from(self.plays.len()).expect("fewer plays than u32 counts"));
                    let play = maker.play(&node, &document, id, &outer, &mut self.made)?;
                    let playbook_dir = (folder != self.base).then(|| folder.clone());
                    self.plays.push(Play { playbook_dir, ..play });
                }
            }
        }
        Ok(())
    }

    fn import(
        &mut self,
        node: &ImportNode,
        document: &Arc<Document>,
        folder: &Path,
        outer: &Outer,
        depth: usize,
    ) -> Result<(), PlaybookError> {
        let mut vars = node.vars.clone();
        vars.extend(outer.vars.clone());
        let known = Known {
            templar: self.library.around.templar.clone(),
            extra: Arc::clone(&self.library.around.extra),
            layers: vec![Layer::new(Precedence::PlayVars, super::keywords::var_map(vars.clone()))],
            magic: magic(self.inventory, folder),
            modules: Arc::clone(&self.library.around.modules),
        };
        let around = Around::play(Arc::clone(document), outer.keywords.clone(), folder, &outer.collections);
        let written = Written { place: document.place(node.at), value: node.file.clone() };
        let name = rustle_agent::module::shown(&known.render(&written, &around)?);
        let beside = folder.join("collections");
        let in_collections = self.library.around.paths.playbooks(&name, Some(&beside));
        let places: Vec<PathBuf> = std::iter::once(folder.join(&name)).chain(in_collections).collect();
        let Some(path) = places.iter().find(|place| place.is_file()) else {
            let what = format!("could not find the playbook '{}'", shown(&name));
            return Err(document.wrong(node.at, what).hint(Some(looked(&places))));
        };
        let keywords = outer.keywords.around(&node.keywords);
        let collections = outer.collections.within(node.keywords.collections.as_ref());
        let inner = Outer { keywords, vars, collections };
        self.file(path, inner, depth + 1)
    }
}

fn folder_of(path: &Path) -> PathBuf {
    absolute(path).parent().map_or_else(|| PathBuf::from("/"), Path::to_owned)
}
