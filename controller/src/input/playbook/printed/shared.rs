//! What tasks of a printed plan have in common: layers of variables, roles, folders. Each stands there once, in a table, and
//! tasks name its place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::around::Known;
use super::super::document::Document;
use super::super::prompt::{self, Prompts};
use crate::plan::{FileSearch, RoleIdentity, RoleInfo};
use crate::template::{Authored, Sealed};
use crate::vars::{Layer, Precedence, Prompt, VarMap, Variable};
use crate::vault::Vault;

/// The tables.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tables {
    layers: Vec<LayerForm>,
    roles: Vec<RoleForm>,
    searches: Vec<FileSearch>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LayerForm {
    precedence: Precedence,
    vars: VarsForm,
}

/// Variables, those of files that are encrypted as a whole by their names.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VarsForm {
    plain: IndexMap<String, Authored>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    encrypted: Vec<EncryptedFile>,
    /// Those of `vars_prompt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    asked: Vec<Prompt>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EncryptedFile {
    /// Where it was, for messages.
    place: Arc<str>,
    /// Cipher text.
    text: Arc<str>,
    names: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RoleForm {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    collection: Option<String>,
    path: PathBuf,
    /// A place in the table before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<usize>,
    instance: u32,
    identity: RoleIdentity,
    #[serde(default)]
    once: bool,
}

impl VarsForm {
    pub(super) fn of(vars: &VarMap) -> VarsForm {
        let mut form = VarsForm::default();
        for (name, variable) in vars {
            let value = match variable {
                Variable::Authored(authored) => (**authored).clone(),
                Variable::Data(data) => Authored::Unsafe((**data).clone()),
                Variable::Asked(prompt) => {
                    form.asked.push((**prompt).clone());
                    continue;
                }
            };
            match &value {
                Authored::Sealed(sealed) if sealed.known().is_some() => form.add_encrypted(name, sealed),
                _ => drop(form.plain.insert(name.clone(), value)),
            }
        }
        form
    }

    fn add_encrypted(&mut self, name: &str, sealed: &Sealed) {
        let known = self.encrypted.iter_mut().find(|file| file.text == *sealed.text());
        match known {
            Some(file) => file.names.push(name.to_owned()),
            None => self.encrypted.push(EncryptedFile {
                place: Arc::clone(sealed.place()),
                text: Arc::clone(sealed.text()),
                names: vec![name.to_owned()],
            }),
        }
    }

    /// # Errors
    /// A file that cannot be decrypted, or has lost a variable.
    pub(super) fn read(self, vault: &Vault) -> Result<VarMap, String> {
        let mut vars = self.plain;
        for file in self.encrypted {
            let document =
                Document::of_vaulted(&file.place, file.text.to_string(), vault).map_err(|error| {
                    match error.advice() {
                        Some(advice) => format!("{error}; hint: {advice}"),
                        None => error.to_string(),
                    }
                })?;
            let entries = document.root.as_ref().and_then(|root| root.as_map()).unwrap_or_default();
            let mut all = document.variables(entries).map_err(|error| error.to_string())?;
            for name in file.names {
                let value = all
                    .swap_remove(&name)
                    .ok_or_else(|| format!("{}: there is no variable `{}` in it", file.place, name.escape_debug()))?;
                vars.insert(name, value);
            }
        }
        let vars = vars.into_iter().map(|(name, value)| (name, Variable::Authored(Arc::new(value))));
        let asked = self.asked.into_iter().map(|prompt| (prompt.name.clone(), Variable::Asked(Arc::new(prompt))));
        Ok(vars.chain(asked).collect())
    }
}

/// Fills the tables while a plan is printed.
#[derive(Default)]
pub(super) struct Writer {
    layers: Vec<Layer>,
    // By the variables' place in memory: whoever shares them shares that.
    layer_places: HashMap<(*const VarMap, Precedence), usize>,
    roles: Vec<(Arc<RoleInfo>, Option<usize>)>,
    role_places: HashMap<*const RoleInfo, usize>,
    searches: indexmap::IndexSet<FileSearch>,
}

impl Writer {
    pub(super) fn layers(&mut self, layers: &[Layer]) -> Vec<usize> {
        layers.iter().map(|layer| self.layer(layer)).collect()
    }

    fn layer(&mut self, layer: &Layer) -> usize {
        let key = (Arc::as_ptr(&layer.vars), layer.precedence);
        *self.layer_places.entry(key).or_insert_with(|| {
            self.layers.push(layer.clone());
            self.layers.len() - 1
        })
    }

    pub(super) fn role(&mut self, role: &Arc<RoleInfo>) -> usize {
        if let Some(place) = self.role_places.get(&Arc::as_ptr(role)) {
            return *place;
        }
        let parent = role.parent.as_ref().map(|parent| self.role(parent));
        self.roles.push((Arc::clone(role), parent));
        self.role_places.insert(Arc::as_ptr(role), self.roles.len() - 1);
        self.roles.len() - 1
    }

    pub(super) fn search(&mut self, search: &FileSearch) -> usize {
        self.searches.insert_full(search.clone()).0
    }

    pub(super) fn finish(self) -> Tables {
        let layer = |layer: &Layer| LayerForm { precedence: layer.precedence, vars: VarsForm::of(&layer.vars) };
        let role = |(role, parent): (Arc<RoleInfo>, Option<usize>)| RoleForm {
            name: role.name.clone(),
            collection: role.collection.clone(),
            path: role.path.clone(),
            parent,
            instance: role.instance,
            identity: role.identity,
            once: role.once,
        };
        Tables {
            layers: self.layers.iter().map(layer).collect(),
            roles: self.roles.into_iter().map(role).collect(),
            searches: self.searches.into_iter().collect(),
        }
    }
}

/// The tables, read.
pub(super) struct Reader {
    layers: Vec<Layer>,
    roles: Vec<Arc<RoleInfo>>,
    searches: Vec<FileSearch>,
}

impl Reader {
    /// # Errors
    /// Variables that cannot be decrypted, a role that comes before the one that led to it.
    pub(super) fn new(tables: Tables, vault: &Vault) -> Result<Reader, String> {
        let layer = |form: LayerForm| Ok(Layer::new(form.precedence, form.vars.read(vault)?));
        let mut reader = Reader {
            layers: tables.layers.into_iter().map(layer).collect::<Result<_, String>>()?,
            roles: Vec::with_capacity(tables.roles.len()),
            searches: tables.searches,
        };
        for form in tables.roles {
            let parent = form.parent.map(|place| reader.role(place)).transpose()?;
            let RoleForm { name, collection, path, instance, identity, once, .. } = form;
            reader.roles.push(Arc::new(RoleInfo { name, collection, path, parent, instance, identity, once }));
        }
        Ok(reader)
    }

    /// Asks what the layers at `places` want to know.
    ///
    /// # Errors
    /// A place that there is not, a question that cannot be asked.
    pub(super) fn ask(&mut self, places: &[usize], known: &Known, prompts: Prompts<'_>) -> Result<(), String> {
        for place in places {
            let layer = at(&self.layers, *place, "layer")?;
            let asked = layer.vars.values().filter_map(|variable| match variable {
                Variable::Asked(prompt) => Some((**prompt).clone()),
                Variable::Authored(_) | Variable::Data(_) => None,
            });
            let asked: Vec<Prompt> = asked.collect();
            if !asked.is_empty() {
                let answered = prompt::layer(&asked, known, prompts)?;
                self.layers[*place] = answered.unwrap_or_else(|| Layer::new(layer.precedence, VarMap::new()));
            }
        }
        Ok(())
    }

    pub(super) fn layers(&self, places: &[usize]) -> Result<Vec<Layer>, String> {
        places.iter().map(|place| at(&self.layers, *place, "layer")).collect()
    }

    pub(super) fn role(&self, place: usize) -> Result<Arc<RoleInfo>, String> {
        at(&self.roles, place, "role")
    }

    pub(super) fn search(&self, place: usize) -> Result<FileSearch, String> {
        at(&self.searches, place, "search path")
    }
}

fn at<T: Clone>(table: &[T], place: usize, noun: &str) -> Result<T, String> {
    table.get(place).cloned().ok_or_else(|| format!("there is no {noun} {place}, of which there are {}", table.len()))
}
