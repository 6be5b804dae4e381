//! `rustle-agent --config FILE`: takes work from the fleet's controllers and runs it here.

use std::process::ExitCode;

use clap::Parser;
use rustle_agent::cli::{self, AgentArgs};

/// Runs rustle-exec's modules on this host
#[derive(Debug, Parser)]
#[command(name = "rustle-agent", version)]
struct Cli {
    #[command(flatten)]
    args: AgentArgs,
}

#[expect(clippy::print_stderr, reason = "before logging starts, standard error is where an operator looks")]
fn main() -> ExitCode {
    if let Some(code) = rustle_agent::run_as::serve_if_helper() {
        return code;
    }
    let Cli { args } = Cli::parse();
    match cli::prepare(&args) {
        Ok(_) if args.check_config => ExitCode::SUCCESS,
        Ok(prepared) => match cli::run(prepared) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
