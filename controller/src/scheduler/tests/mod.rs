//! The scheduler's specification. `rules` tells each rule as a table, `properties` holds it against random fleets and
//! random orders of events, `world` is what both check after every command, `fleet` is hosts that answer from a script.

mod fleet;
mod properties;
mod purity;
mod rules;
mod world;
