//! What surrounds a task where it stands: the keywords and variables handed down to it, its role, its files.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustle_protocol::Value;

use super::collections::Collections;
use super::document::Document;
use super::error::PlaybookError;
use super::keywords::{Keywords, Written, var_map};
use super::tree::Vars;
use crate::input::source::Place;
use crate::plan::check::ModuleCatalog;
use crate::plan::{FileSearch, RoleInfo, Within};
use crate::template::{Authored, Templar, TemplateError};
use crate::vars::{Layer, Precedence, Scope, VarMap, data_map};

/// Files that import each other endlessly end here.
const DEPTH_MAX: usize = 64;

/// What is around an entry of a list of tasks.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) document: Arc<Document>,
    pub(super) keywords: Keywords,
    pub(super) layers: Arc<[Layer]>,
    pub(super) within: Option<Within>,
    pub(super) role: Option<Arc<RoleInfo>>,
    /// The folders of the files that led here, innermost first: where files of tasks are looked for.
    pub(super) folders: Vec<PathBuf>,
    pub(super) search: FileSearch,
    pub(super) collections: Collections,
    pub(super) is_handlers: bool,
    pub(super) depth: usize,
}

impl Around {
    /// Around the tasks of a play.
    pub(super) fn play(
        document: Arc<Document>,
        keywords: Keywords,
        playbook_dir: &Path,
        collections: &Collections,
    ) -> Around {
        let folder = Path::new(&*document.source).parent().map(absolute);
        let folders: Vec<PathBuf> = folder.into_iter().filter(|folder| folder != playbook_dir).collect();
        let search = folders.iter().cloned().chain([playbook_dir.to_owned()]).collect();
        Around {
            search: FileSearch::in_folders(search, playbook_dir),
            document,
            collections: collections.within(keywords.collections.as_ref()),
            keywords,
            layers: Arc::default(),
            within: None,
            role: None,
            folders,
            is_handlers: false,
            depth: 0,
        }
    }

    /// One level further in: a block or a static import.
    pub(super) fn inside(&self, keywords: &Keywords, vars: &Vars, precedence: Precedence) -> Around {
        let mut inner = self.clone();
        inner.keywords = self.keywords.around(keywords);
        inner.collections = self.collections.within(keywords.collections.as_ref());
        inner.add(precedence, vars);
        inner
    }

    pub(super) fn add(&mut self, precedence: Precedence, vars: &Vars) {
        if !vars.is_empty() {
            self.add_layers([Layer::new(precedence, var_map(vars.clone()))]);
        }
    }

    pub(super) fn add_layers(&mut self, layers: impl IntoIterator<Item = Layer>) {
        self.layers = self.layers.iter().cloned().chain(layers.into_iter().filter(|l| !l.vars.is_empty())).collect();
    }

    /// In a file of its own.
    ///
    /// # Errors
    /// Files that lead to each other without end.
    pub(super) fn in_file(&self, at: &Place, path: &Path, document: &Arc<Document>) -> Result<Around, PlaybookError> {
        let mut inner = self.clone();
        inner.document = Arc::clone(document);
        inner.depth += 1;
        if inner.depth > DEPTH_MAX {
            let what =
                format!("imports and roles are nested deeper than {DEPTH_MAX} levels: do they lead to each other?");
            return Err(self.wrong_at(at, what));
        }
        if let Some(folder) = path.parent().map(absolute)
            && inner.folders.first() != Some(&folder)
        {
            inner.folders.insert(0, folder);
            inner.search = inner.search_path();
        }
        Ok(inner)
    }

    /// Where files of tasks are looked for: in the role and those that led to it, beside the file, beside the playbook.
    fn search_path(&self) -> FileSearch {
        let base = self.search.base();
        let roles = self.role.iter().flat_map(|role| std::iter::once(&**role).chain(role.parents()));
        let mut folders: Vec<PathBuf> = roles.map(|role| role.path.clone()).collect();
        for folder in self.folders.iter().map(PathBuf::as_path).chain([base]) {
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
        }
        FileSearch::in_folders(folders, base)
    }

    /// What is wrong at a place, which may be of another document.
    pub(super) fn wrong_at(&self, place: &Place, what: impl Into<String>) -> PlaybookError {
        match place.at {
            Some(at) if place.source == self.document.source => self.document.wrong(at, what),
            _ => super::error::complaint(place.clone(), "", what),
        }
    }
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    // The folder of a file that was named alone has no name.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    without_steps_back(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// `a/../b` is `b`, whatever `a` is: as Ansible names the folders of playbooks.
fn without_steps_back(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, step| {
        match step {
            Component::ParentDir => drop(plain.pop()),
            step => plain.push(step),
        }
        plain
    })
}

/// The variables that are known before any host is: what names of files, roles and tags may be made of.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) templar: Templar,
    /// Strongest: `-e`.
    pub(super) extra: Arc<VarMap>,
    /// Of the play.
    pub(super) layers: Vec<Layer>,
    /// Weakest: what Ansible sets itself and does not depend on a host.
    pub(super) magic: Arc<VarMap>,
    /// What names of modules lead to, and which modules belong together.
    pub(super) modules: Arc<dyn ModuleCatalog + Send + Sync>,
}

impl Known {
    pub(super) fn scope(&self, layers: &[Layer], role: Option<&RoleInfo>) -> Scope {
        let mut all: Vec<&Layer> = self.layers.iter().chain(layers).collect();
        all.sort_by_key(|layer| layer.precedence);
        let of_role = role.map(|role| Arc::new(data_map(role.variables())));
        let strongest = [Some(Arc::clone(&self.extra)), of_role].into_iter().flatten();
        let middle = all.into_iter().rev().map(|layer| Arc::clone(&layer.vars));
        Scope::of(&self.templar, strongest.chain(middle).chain([Arc::clone(&self.magic)]))
    }

    /// The value of something that has to be known before any host is.
    ///
    /// # Errors
    /// What it lacks, at its place.
    pub(super) fn render(&self, written: &Written, around: &Around) -> Result<Value, PlaybookError> {
        self.render_value(&written.value, around).map_err(|error| Known::unrendered(written, around, &error))
    }

    /// As [`render`](Self::render); none if the whole of it is `omit`.
    pub(super) fn render_optional(&self, written: &Written, around: &Around) -> Result<Option<Value>, PlaybookError> {
        match self.render_value(&written.value, around) {
            Ok(value) => Ok(Some(value)),
            Err(TemplateError::Omitted) => Ok(None),
            Err(error) => Err(Known::unrendered(written, around, &error)),
        }
    }

    /// The value of something that stands in no list of tasks.
    pub(super) fn value(&self, value: &Authored) -> Result<Value, TemplateError> {
        match value.needs_rendering() {
            true => self.templar.render(value, &self.scope(&[], None)),
            false => Ok(value.source()),
        }
    }

    /// Text to be shown, as it was written if it cannot be rendered.
    pub(super) fn shown(&self, text: &str, around: &Around) -> String {
        let rendered = self.render_value(&Authored::from_value(text.into()), around);
        rendered.map_or_else(|_| text.to_owned(), |value| rustle_agent::module::shown(&value))
    }

    fn unrendered(written: &Written, around: &Around, error: &TemplateError) -> PlaybookError {
        around.wrong_at(&written.place, error.to_string()).hint(Some(
            "this is read before any host is known: only -e, variables of the play and its roles can be used here",
        ))
    }

    fn render_value(&self, value: &Authored, around: &Around) -> Result<Value, TemplateError> {
        if !value.needs_rendering() {
            return Ok(value.source());
        }
        self.templar.render(value, &self.scope(&around.layers, around.role.as_deref()))
    }
}
