//! The scheduler's specification. `rules`, `blocks`, `includes`, `playbooks`, `roles` and `turns` tell each rule as a run, `properties` holds it against random fleets and
//! random orders of events, `world` is what both check after every command, `fleet` is hosts that answer from a script,
//! `program` makes the plainest steps and plays.

mod blocks;
mod fleet;
mod includes;
mod late;
mod playbooks;
mod program;
mod properties;
mod purity;
mod roles;
mod rules;
mod turns;
mod world;
