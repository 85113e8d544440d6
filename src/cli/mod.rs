//! The command line: arguments in, text or JSON out. One file per command; exit codes 0 yes, 1 no, 2 error.

pub mod act;
pub mod act_archiver;
pub mod actions;
pub mod alive;
pub mod approve;
pub mod backtest;
pub mod bench;
pub mod channels;
pub mod check;
pub mod collect;
pub mod collect_receive;
pub mod collect_scrape;
pub mod config;
pub mod connect;
pub mod demo;
pub mod dta;
pub mod emit;
pub mod explain;
pub mod freeze;
pub mod history;
pub mod local_kafka;
pub mod local_kubernetes;
pub mod metrics;
pub mod page;
pub mod process;
pub mod progress;
pub mod register;
pub mod replay;
pub mod services;
pub mod status;
pub mod stop;
pub mod tokens;
pub mod topics;
pub mod warroom;

use std::io::IsTerminal;
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
    Act(act::Args),
    Actions(actions::Args),
    Approve(approve::Args),
    Backtest(backtest::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    BenchLimit(bench::LimitArgs),
    Check(check::Args),
    Collect(collect::Args),
    Demo(demo::Args),
    Deny(approve::DenyArgs),
    Dta(dta::Args),
    Page(page::Args),
    Process(process::Args),
    Emit(emit::Args),
    Explain(explain::Args),
    Freeze(freeze::Args),
    #[command(hide = true)]
    LocalKafka(local_kafka::Args),
    #[command(hide = true)]
    LocalKubernetes(local_kubernetes::Args),
    Register(register::Args),
    Replay(replay::Args),
    Services(services::Args),
    Status(status::Args),
    Thaw(freeze::ThawArgs),
    Topics(topics::Args),
    Unregister(services::UnregisterArgs),
    Warroom(warroom::Args),
}

/// Parses the process's arguments and runs the command.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

/// The same for arguments of the caller's; the first is the program's name.
pub fn run(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    // Before anything can use apache-avro: a hostile count in a datum must not end the process.
    crate::codec::format::bound_allocations();
    let command = Cli::parse_from(args).command;
    crate::telemetry::log::init(match command {
        Command::Process(_) | Command::Act(_) | Command::Collect(_) | Command::Warroom(_) => "info",
        // A Kafka that has just been started makes its clients wait, which is no news to who watches a story.
        Command::Demo(_) | Command::Bench(_) => "warn,hms_ops::bus=error",
        _ => "warn",
    });
    match command {
        Command::Act(args) => exit(act::run(&args)),
        Command::Actions(args) => exit(actions::run(&args)),
        Command::Approve(args) => exit(approve::run(&args)),
        Command::Backtest(args) => exit(backtest::run(&args)),
        Command::Bench(args) => exit(bench::run(args)),
        Command::BenchLimit(args) => exit(bench::run_limit(&args)),
        Command::Check(args) => exit(check::run(args)),
        Command::Collect(args) => exit(collect::run(&args)),
        Command::Demo(args) => exit(demo::run(args)),
        Command::Deny(args) => exit(approve::deny(&args)),
        Command::Dta(args) => exit(dta::run(args)),
        Command::Page(args) => exit(page::run(&args)),
        Command::Process(args) => exit(process::run(&args)),
        Command::Emit(args) => exit(emit::run(&args)),
        Command::Explain(args) => exit(explain::run(&args)),
        Command::Freeze(args) => exit(freeze::run(&args)),
        Command::LocalKafka(args) => exit(local_kafka::run(&args)),
        Command::LocalKubernetes(args) => exit(local_kubernetes::run(args)),
        Command::Replay(args) => exit(replay::run(&args)),
        Command::Register(args) => exit(register::run(&args)),
        Command::Services(args) => exit(services::run(&args)),
        Command::Status(args) => status::run(&args).unwrap_or_else(|error| exit(Err(error))),
        Command::Thaw(args) => exit(freeze::thaw(&args)),
        Command::Topics(args) => exit(topics::run(&args)),
        Command::Unregister(args) => exit(services::unregister(&args)),
        Command::Warroom(args) => exit(warroom::run(&args)),
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

/// May `stream` be coloured? Only on a terminal, and never with `NO_COLOR`.
fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
