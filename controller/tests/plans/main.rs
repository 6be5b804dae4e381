//! Every plan that the real tools made for our ten playbooks is read, and what cannot be meant is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod by_hand;
mod fixtures;
mod mutations;

use std::path::{Path, PathBuf};

use rustle_agent::module::ModuleArgs;
use rustle_exec::input::inventory::Inventory;
use rustle_exec::input::{InputError, LoadRequest, Loaded, PlanSource, load};
use rustle_exec::plan::Plan;
use rustle_exec::plan::check::{ModuleCatalog, ModuleInfo};
use rustle_protocol::HostName;

rustle_agent::arguments! {
    struct CopyArgs {
        dest: String,
        content: Option<String>,
    }
}

/// One module is enough to see text become text again.
struct Catalog;

impl ModuleCatalog for Catalog {
    fn find(&self, name: &str) -> Option<ModuleInfo> {
        (name == "copy").then_some(ModuleInfo { groups: CopyArgs::GROUPS, any_arguments: false })
    }

    fn names(&self) -> Vec<&str> {
        vec!["copy"]
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/rustle-plan")
}

fn read(plan: PlanSource, parsed: Option<&Path>, inventory: Option<&Inventory>) -> Result<Loaded, InputError> {
    load(LoadRequest { plan, parsed, inventory, modules: &Catalog })
}

fn fixture(path: &str) -> Plan {
    read(PlanSource::Path(fixtures().join(path)), None, None).unwrap().plan
}

fn bytes(text: impl Into<String>) -> PlanSource {
    PlanSource::Bytes(text.into().into_bytes())
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ")
}
