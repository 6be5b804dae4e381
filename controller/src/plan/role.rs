//! The role that a task belongs to.

use std::path::PathBuf;
use std::sync::Arc;

use rustle_protocol::Value;
use rustle_protocol::value::Map;
use serde::{Deserialize, Serialize};

/// Which role a use is of, and with what: two uses of one role with the same parameters are equal. A digest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
pub struct RoleIdentity(u64);

impl RoleIdentity {
    /// Of a text that says all that makes a use another one.
    pub fn of(text: &str) -> RoleIdentity {
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
        RoleIdentity(u64::from_le_bytes(first))
    }
}

/// A role as its tasks know it: for `role_name`, `role_path` and the names of those that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleInfo {
    /// As the playbook calls it, without its collection: `role_name`, and what stands before ` : ` in a banner.
    pub name: String,
    /// `namespace.collection`, if it is in one.
    pub collection: Option<String>,
    /// Its folder: `role_path`.
    pub path: PathBuf,
    /// The role that depends on this one or includes it.
    pub parent: Option<Arc<RoleInfo>>,
    /// Counts the uses of roles, in the order of the plan: two uses of one role differ in it. `meta: end_role` ends
    /// this one.
    pub instance: u32,
    pub identity: RoleIdentity,
    /// A host that has run its equal in this play passes it by (`allow_duplicates: false`).
    pub once: bool,
}

impl RoleInfo {
    /// With the collection, if it is in one.
    pub fn fqcn(&self) -> String {
        match &self.collection {
            Some(collection) => format!("{collection}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Ansible's variables about the role, for its tasks.
    pub fn variables(&self) -> Map {
        let path = |role: &RoleInfo| Value::from(role.path.to_string_lossy().into_owned());
        Map::from_iter([
            ("role_name".to_owned(), self.name.as_str().into()),
            ("role_path".to_owned(), path(self)),
            ("ansible_role_name".to_owned(), self.fqcn().into()),
            ("ansible_parent_role_names".to_owned(), self.parents().map(|role| Value::from(role.fqcn())).collect()),
            ("ansible_parent_role_paths".to_owned(), self.parents().map(path).collect()),
        ])
    }

    /// The roles that led to this one, the nearest first.
    pub fn parents(&self) -> impl Iterator<Item = &RoleInfo> {
        std::iter::successors(self.parent.as_deref(), |role| role.parent.as_deref())
    }
}
