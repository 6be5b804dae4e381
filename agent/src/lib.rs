//! The agent: takes calls from controllers it trusts, runs modules on its own host, streams results back.
//!
//! [`module`] is what a module is; [`modules`] holds them, one file each. A module sees its arguments and a
//! [`module::ModuleContext`] and nothing else: it knows neither QUIC nor tokio. [`runner`] gives a call its thread and
//! its deadline; the server carries calls in and events out.

pub mod accounts;
pub mod background;
pub mod blobs;
mod boot;
pub mod cli;
pub mod config;
pub mod encoding;
pub mod facts;
mod files;
pub mod fnmatch;
pub mod fragments;
mod http;
pub mod ledger;
pub mod module;
pub mod modules;
mod packages;
pub mod policy;
pub mod process;
pub mod python;
pub mod regex_complaint;
pub mod run_as;
pub mod runner;
pub mod script_module;
pub mod server;
mod services;
mod thread_folder;
pub mod workdir;

pub use files::beneath::Beneath;
