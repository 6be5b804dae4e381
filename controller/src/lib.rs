//! The controller: reads plans, decides what runs where and when, carries it to the agents, tells what happened.

pub mod actions;
pub mod cli;
pub mod dispatch;
pub mod doc;
pub mod engine;
pub mod event;
pub mod exit_code;
pub mod input;
pub mod lab;
pub mod pki;
pub mod plan;
pub mod report;
pub mod scheduler;
pub mod template;
pub mod vars;
