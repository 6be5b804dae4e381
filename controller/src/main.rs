//! `rustle-exec`: runs plans on fleets.

use clap::Parser;
use rustle_exec::cli::{self, args::Cli};
use rustle_exec::exit_code::ExitCode;

fn main() -> std::process::ExitCode {
    // The agents of a lab and `connection: local` are this program.
    if let Some(code) = rustle_agent::run_as::serve_if_helper() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is a command line that makes no sense.
            let code = if error.use_stderr() { ExitCode::InvalidInput } else { ExitCode::Success };
            // There is nowhere left to say that this cannot be said.
            let _ = error.print();
            return code.into();
        }
    };
    cli::run(cli).unwrap_or_else(|error| error.tell()).into()
}
