//! The controller against agents that are no agents: what it makes of what they say, and what it sends them.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod hostile;
mod streams;
mod support;
