//! Custom modules: files of the controller that are modules, found by name and sent to a host when a task needs them.
//!
//! [`ModuleFiles`] finds them: `--module-path`, `library/` beside a playbook or in a role, collections, and what an
//! installed ansible-core has beyond the native modules. [`FileKind`] says what such a file is; a Python module travels
//! with the `module_utils` it imports, as one archive that an agent keeps.

mod executor;
mod finder;
mod imports;
mod kind;
mod library;
mod payload;
mod plugin;
mod routes;

pub(crate) use executor::interpreter;
pub use finder::ModuleFiles;
pub use kind::FileKind;
pub use library::{PythonLibrary, controller_python};
pub use plugin::PluginKind;
pub(crate) use plugin::{OtherPlugin, PluginPlaces};
