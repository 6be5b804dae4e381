//! Numbers that name things inside one plan. They are places in the plan's lists, so looking one up cannot fail.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($name:ident, $prefix:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(PlayId, "play-", "A play's place in the plan, from 0.");
id!(TaskId, "task-", "A task's or handler's place among all tasks of all plays of the plan, from 0.");
id!(IncludeId, "include-", "A dynamic include, as the reader of its playbook knows it, from 0.");
id!(BlockId, "block-", "A place among all blocks of the plan, from 0.");
