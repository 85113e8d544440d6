//! The command line: arguments in, text or JSON out. One file per command; exit codes 0 yes, 1 no, 2 error.

pub mod backtest;
pub mod check;
pub mod dta;
pub mod history;
pub mod process;
pub mod stop;
pub mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The 911 dispatcher of a fleet of services.
#[derive(Parser)]
#[command(name = "ops", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Each command's arguments live in its own file.
#[derive(Subcommand)]
enum Command {
    Backtest(backtest::Args),
    Check(check::Args),
    Dta(dta::Args),
    Process(process::Args),
    Topics(topics::Args),
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    // Before anything can use apache-avro: a hostile count in a datum must not end the process.
    crate::codec::format::bound_allocations();
    let command = Cli::parse().command;
    crate::telemetry::log::init(if matches!(command, Command::Process(_)) { "info" } else { "warn" });
    match command {
        Command::Backtest(args) => exit(backtest::run(&args)),
        Command::Check(args) => exit(check::run(args)),
        Command::Dta(args) => exit(dta::run(args)),
        Command::Process(args) => exit(process::run(&args)),
        Command::Topics(args) => exit(topics::run(&args)),
    }
}

/// 0 yes, 1 no, 2 error: the error goes to stderr with its causes.
pub fn exit(answer: anyhow::Result<bool>) -> ExitCode {
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
