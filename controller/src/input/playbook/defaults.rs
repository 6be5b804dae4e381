//! What holds of every play whose author says nothing else: Ansible's settings of the same names.

use super::keywords::{Keywords, Written};
use crate::input::source::Place;
use crate::template::Authored;

/// Keywords around all plays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayDefaults {
    pub no_log: bool,
    pub any_errors_fatal: bool,
    /// A name, not checked. `None`: linear.
    pub strategy: Option<String>,
}

impl PlayDefaults {
    /// What plays, blocks and tasks inherit.
    pub(super) fn keywords(&self) -> Keywords {
        let mut keywords = Keywords::default();
        for (name, is_set) in [("any_errors_fatal", self.any_errors_fatal), ("no_log", self.no_log)] {
            if is_set {
                let place = Place::whole("Ansible's settings");
                keywords.plain.insert(name, Written { place, value: Authored::literal(true) });
            }
        }
        keywords
    }
}
