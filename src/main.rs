//! Parse, run the verb, report, choose the exit code.

use std::process::ExitCode;

use clap::Parser;
use evercert::cli::Cli;
use evercert::{command, process, report};

fn main() -> ExitCode {
    let outcome = process::harden()
        .map_err(|error| report::Failure::new(format!("cannot protect this process: {error}")))
        .and_then(|()| command::run(Cli::parse().command));
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            report::failure(&failure);
            failure.exit.into()
        }
    }
}
