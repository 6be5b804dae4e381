//! The controller: reads plans, decides what runs where and when, carries it to the agents, tells what happened.

pub mod event;
pub mod input;
pub mod plan;
//! The controller as a library: inputs, templates, scheduling and dispatch.

pub mod template;
pub mod vars;
pub mod scheduler;
