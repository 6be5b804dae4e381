//! What stands around an include, in a printed plan: without it nothing could be included when the plan runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::around::{Around, Known};
use super::super::collections::Collections;
use super::super::document::Document;
use super::super::includes::Context;
use super::super::keywords::Keywords;
use super::super::tree::Vars;
use super::shared::{Reader, Writer};
use crate::plan::Within;

/// A [`Context`] as it is printed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextForm {
    /// The file that it is in.
    file: String,
    playbook_dir: PathBuf,
    keywords: Keywords,
    layers: Vec<usize>,
    pub(super) within: Option<Within>,
    role: Option<usize>,
    folders: Vec<PathBuf>,
    search: usize,
    collections: Collections,
    is_handlers: bool,
    depth: usize,
    play_layers: Vec<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    apply: Option<ApplyForm>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApplyForm {
    keywords: Keywords,
    vars: Vars,
}

impl ContextForm {
    pub(super) fn of(context: &Context, writer: &mut Writer) -> ContextForm {
        let Context { around, known, playbook_dir, apply } = context;
        ContextForm {
            file: around.document.source.to_string(),
            playbook_dir: playbook_dir.to_path_buf(),
            keywords: around.keywords.clone(),
            layers: writer.layers(&around.layers),
            within: around.within,
            role: around.role.as_ref().map(|role| writer.role(role)),
            folders: around.folders.clone(),
            search: writer.search(&around.search),
            collections: around.collections.clone(),
            is_handlers: around.is_handlers,
            depth: around.depth,
            play_layers: writer.layers(&known.layers),
            apply: apply.as_ref().map(|(keywords, vars)| ApplyForm { keywords: keywords.clone(), vars: vars.clone() }),
        }
    }

    pub(super) fn playbook_dir(&self) -> &Path {
        &self.playbook_dir
    }

    /// `known` has what does not stand in the plan.
    ///
    /// # Errors
    /// A place in a table that there is not.
    pub(super) fn read(self, tables: &Reader, known: &Known, files: &mut Files) -> Result<Context, String> {
        let around = Around {
            document: files.get(&self.file),
            keywords: self.keywords,
            layers: tables.layers(&self.layers)?.into(),
            within: self.within,
            role: self.role.map(|place| tables.role(place)).transpose()?,
            folders: self.folders,
            search: tables.search(self.search)?,
            collections: self.collections,
            is_handlers: self.is_handlers,
            depth: self.depth,
        };
        let known = Known { layers: tables.layers(&self.play_layers)?, ..known.clone() };
        let apply = self.apply.map(|apply| (apply.keywords, apply.vars));
        Ok(Context { around, known, playbook_dir: self.playbook_dir.into(), apply })
    }
}

/// The files that includes stand in, for the lines that complaints show.
#[derive(Default)]
pub(super) struct Files(HashMap<String, Arc<Document>>);

impl Files {
    fn get(&mut self, name: &str) -> Arc<Document> {
        let document = self.0.entry(name.to_owned()).or_insert_with(|| Arc::new(Document::quoted(Path::new(name))));
        Arc::clone(document)
    }
}
