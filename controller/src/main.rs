//! `rustle-exec`: runs plans on fleets.

use clap::Parser;
use rustle_exec::cli::{self, args::Cli};

fn main() -> std::process::ExitCode {
    // The agents of a lab and `connection: local` are this program.
    if let Some(code) = rustle_agent::run_as::serve_if_helper() {
        return code;
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli::run(cli).unwrap_or_else(|error| error.tell()).into(),
        Err(error) => cli::usage::tell(&error, &arguments).into(),
    }
}
